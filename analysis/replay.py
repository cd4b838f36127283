"""A search as a simulator of itself: what other rungs would have cost, and how often they would have lost the best.

The stored curves of a study are handed to N workers in random orders and judged by the rule that a search decides by,
`study.spec.halving`. Nothing is made up: a trial that was stopped has a part of its curve only, and where a setting
goes on past it the trial ends as unknown, and is counted. A study without ASHA has no such trials.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from analysis import tables
from analysis.formats import FORMATS, plain
from analysis.simulation import ENDED, Curve, in_order, own_decisions, simulate
from study.record import pauses
from study.record.folder import Run, RunError
from study.record.pauses import Turn
from study.record.storage import open_run
from study.spec import Asha, SpecError, StudySpec, load
from study.spec.halving import RULES, Rule
from study.spec.measures import measure, number_text
from study.spec.text import command, counted

Mode = Literal["full", "stop", "promote"]
MODES: tuple[Mode, ...] = ("stop", "promote")
GRACES, REDUCTIONS = 3, (2, 3, 4)  # if none are given: how many, each twice the one before; and which
SEED = 0  # of the orders
INTERVAL = 0.9
QUANTITIES = ("steps", "steps_share", "seconds", "complete", "regret", "unknown", "unknown_steps")
NEVER = 10**18  # a reduction that is not used


class Search(NamedTuple):
    """A study to be replayed."""

    run: Run
    spec: StudySpec
    curves: list[Curve]  # of the trials that made a report or failed, by number
    reports: pd.DataFrame  # one row a report, as `analysis.curves` has them
    idle: int  # trials without a report, which cannot be replayed
    turns: Sequence[Turn] | None = ()  # where trials pause: when each was handed out; None where that cannot be read


def best_of(curves: Iterable[Curve]) -> Curve | None:
    """The best of the trials that made their full budget, if one did."""
    return max((c for c in curves if c.state == "COMPLETE"), key=lambda curve: curve.values[-1], default=None)


def full_steps(curves: Iterable[Curve], budget: int) -> int:
    """Steps of a search that stops nobody; what failed or has a pathology that ends it, ends there too."""
    return sum(sum(curve.steps[-1:]) if curve.state in ("FAIL", ENDED) else budget for curve in curves)


class Setting(NamedTuple):
    """How trials are stopped: at which rungs, and whether for good."""

    mode: Mode
    grace: int | None = None
    reduction: int | None = None
    rungs: tuple[int, ...] = ()  # steps, ascending; those in a KL warm-up left out
    least: int = 0  # so many trials make their full budget, if there are as many

    def rule(self) -> Rule:
        """Rungs that nobody has reached yet."""
        return RULES["stop" if self.mode == "full" else self.mode](self.rungs, self.reduction or NEVER, self.least)


FULL = Setting("full")


def searched(run: Run) -> Search:
    """Reads a study.

    Raises:
        RunError: it made no report, or no trial made its full budget, which the others would be compared with.
    """
    spec, trials, reports = run.spec(), tables.trials(run.path), tables.curves(run.path)
    if reports.empty:
        raise RunError(f"{run.path} has no learning curves to replay: none of its trials made a report")
    made = dict(list(reports.sort_values("steps").groupby("number")))
    curves, objective = [], spec.objectives[0]
    for number, state, ill in zip(trials["number"], trials["state"], tables.pathologies(trials)):
        if state == "PRUNED" and not {*spec.stop_on}.isdisjoint(ill.split(", ")):
            state = ENDED
        rows = made.get(number, reports.iloc[:0])
        columns = (rows["steps"], rows[objective].astype(float), rows["seconds"].astype(float))
        if len(rows) or state == "FAIL":
            curves.append(Curve(number, state, *(tuple(column.tolist()) for column in columns)))
    if best_of(curves) is None:
        raise RunError(f"{run.path} has no complete trial yet, which a replay could lose or keep")
    return Search(run, spec, curves, reports, len(trials) - len(curves), _turns(run, spec))


def _turns(run: Run, spec: StudySpec) -> Sequence[Turn] | None:
    """When each trial was handed out; tables are there without the study, this is not."""
    if not spec.pauses:
        return ()
    try:
        return pauses.turns(open_run(run, spec).study.get_trials(deepcopy=False))
    except RunError:
        return None


def settings(
    run: Run,
    spec: StudySpec,
    graces: Sequence[int] = (),
    reductions: Sequence[int] = (),
    modes: Sequence[Mode] = (),
    complete: int | None = None,
) -> list[Setting]:
    """The full budget, and each combination of what is given; where nothing is, of a few usual ones and the study's.

    Args:
        run: of the study.
        spec: of the study.
        graces, reductions, modes: of the settings.
        complete: at least so many trials make their full budget; if not given, as many as in a search of that mode.

    Raises:
        SpecError: a combination that a preset could not have either.
    """
    _check(run, spec, graces, reductions)
    own = [] if spec.asha is None else [spec.asha]
    doubled = (spec.report_every * 2**k for k in range(GRACES))
    usual = [grace for grace in doubled if 2 * grace <= spec.steps] or [spec.report_every]
    combined = [
        Asha(grace=grace, reduction=reduction)
        for grace in sorted({*(graces or [*usual, *(asha.grace for asha in own)])})
        for reduction in sorted({*(reductions or [*REDUCTIONS, *(asha.reduction for asha in own)])})
    ]
    warmup, found = spec.longest_warmup, [FULL]
    if complete is None and spec.asha is not None:
        complete = spec.asha.complete
    for mode in modes or MODES:
        for asha in combined:
            if rungs := asha.rungs(spec.steps, warmup):
                asked = asha.model_copy(update={"mode": mode, "complete": complete})
                least = spec.model_copy(update={"asha": asked}).least_complete
                found.append(Setting(mode, asha.grace, asha.reduction, tuple(rungs), least))
    return found


def _check(run: Run, spec: StudySpec, graces: Sequence[int], reductions: Sequence[int]) -> None:
    """What is given, is held against all that a preset is held against."""
    every, steps = spec.report_every, spec.steps
    needed = f"must be a multiple of {every}, at which trials report, and at most their {counted(steps, 'step', ',')}"
    problems = [f"--grace {grace}: {needed}" for grace in graces if grace % every or not every <= grace <= steps]
    problems += [f"--reduction {one}: must be 2 or more: one in so many goes on" for one in reductions if one < 2]
    if problems:
        raise SpecError(run.name, problems)
    for grace, reduction in itertools.product(graces, reductions or (None,)):
        one_in = f", reduction: {reduction}" if reduction else ""
        try:
            load(run.study_yaml, [f"asha={{grace: {grace}{one_in}}}"], kept=True)
        except SpecError as error:
            said = f"{run.name} with --grace {grace}" + (f" --reduction {reduction}" if reduction else "")
            raise SpecError(said, error.problems) from None


def replay(
    search: Search, settings: Sequence[Setting], workers: int = 1, orders: int = 100, trials: int | None = None
) -> pd.DataFrame:
    """Replays a study in random orders, the same ones under each setting.

    Args:
        search: the study.
        settings: how trials are stopped.
        workers: how many trials are at work at once.
        orders: how many.
        trials: how many of each order's trials are replayed, as a smaller search; all if not given.

    Returns:
        One row a (setting, order): what it cost; `complete` trials; whether the best trial was lost; `regret`, by how
        much the best that it found is worse than that, NaN where it found none; how many trials are unknown, and how
        many steps at most those would have made. Seconds are NaN where the study did not keep them, and what is of the
        best where a smaller search has none that is complete.
    """
    timed = all(np.isfinite(curve.seconds).all() for curve in search.curves)
    curves = search.curves if timed else [curve._replace(seconds=curve.steps) for curve in search.curves]
    generator, budget = np.random.default_rng(SEED), search.spec.steps
    rows = []
    for order in range(orders):
        given = [curves[i] for i in generator.permutation(len(curves))[:trials]]
        best, full = best_of(given), full_steps(given, budget)
        value = {curve.number: curve.values[-1] for curve in given if curve.state == "COMPLETE"}
        for setting in settings:
            found = simulate(given, setting.rule(), workers)
            reached = max((value[number] for number in found.complete), default=np.nan)
            rows.append(
                {
                    **setting._asdict(),
                    "order": order,
                    "trials": len(given),
                    "steps": found.steps,
                    "steps_share": found.steps / full if full else np.nan,  # all failed before a report
                    "seconds": found.seconds if timed else np.nan,
                    "complete": len(found.complete),
                    "best_lost": float(best.number not in found.complete) if best else np.nan,
                    "regret": best.values[-1] - reached if best else np.nan,
                    "unknown": len(found.unknown),
                    "unknown_steps": sum(budget - steps for steps in found.unknown.values()),
                }
            )
    return pd.DataFrame(rows)


def summary(study: str, replayed: pd.DataFrame, workers: int) -> pd.DataFrame:
    """Mean of each quantity over the orders, and between which values nine of ten lie (`_low`, `_high`).

    Args:
        study: its name.
        replayed: from `replay`.
        workers: as given there.

    Returns:
        One row a setting. Of `best_lost`, a share of the orders, the interval is Wilson's for its probability; `regret`
        is over the orders that found a complete trial, and `none_complete` is the share of those that did not.
    """
    rows = []
    columns: list[str] = list(Setting._fields)
    for setting, group in replayed.groupby(columns, sort=False, dropna=False):
        low = group[[*QUANTITIES]].quantile((1 - INTERVAL) / 2, interpolation="lower")
        high = group[[*QUANTITIES]].quantile((1 + INTERVAL) / 2, interpolation="higher")
        lost = group["best_lost"].dropna()
        bounds = (np.nan, np.nan)
        if len(lost):
            found = stats.binomtest(int(lost.sum()), len(lost)).proportion_ci(INTERVAL, method="wilson")
            bounds = (0.0, 0.0) if setting[0] == "full" else (found.low, found.high)  # who stops nobody, loses nobody
        row: dict[str, Any] = {"study": study, **dict(zip(columns, setting))}
        row |= {"workers": workers, "orders": len(group), "trials": group["trials"].iloc[0]}
        row["rungs"] = ", ".join(map(str, row["rungs"]))
        for name in QUANTITIES:
            row |= {name: group[name].mean(), f"{name}_low": low[name], f"{name}_high": high[name]}
        row |= dict(zip(("best_lost", "best_lost_low", "best_lost_high"), (lost.mean(), *bounds)))
        rows.append({**row, "none_complete": (group["complete"] == 0).mean()})
    return pd.DataFrame(rows).astype({"grace": "Int64", "reduction": "Int64"})


def shown(summary: pd.DataFrame, objective: str) -> pd.DataFrame:
    """The table that people read: each mean with its interval; what says nothing is left out.

    Args:
        summary: of one study or several.
        objective: the first one, whose unit regret has.
    """
    unit = measure(objective).unit
    share, count = "{:.0%}".format, "{:.1f}".format
    columns: dict[str, Any] = {"study": summary["study"]} if summary["study"].nunique() > 1 else {}
    columns |= {name: summary[name] for name in ("mode", "grace", "reduction", "rungs")}
    if summary["least"].any():
        columns["least"] = summary["least"]
    columns["steps"] = _spread(summary, "steps_share", share)
    if summary["seconds"].notna().any():
        columns["seconds"] = _spread(summary, "seconds", "{:,.0f}".format)
    columns |= {"complete": _spread(summary, "complete", count), "best_lost": _spread(summary, "best_lost", share)}
    columns["regret"] = _spread(summary, "regret", lambda value: number_text(value, unit))
    if summary["none_complete"].any():
        columns["none_complete"] = summary["none_complete"].map(share)
    if summary["unknown"].any():
        columns["unknown"] = _spread(summary, "unknown", count)
        columns["unknown_steps"] = _spread(summary, "unknown_steps", "{:,.0f}".format)
    return pd.DataFrame(columns).astype({"grace": object, "reduction": object})


def _spread(summary: pd.DataFrame, name: str, written: Any) -> list[str]:
    def cell(mean: float, low: float, high: float) -> str:
        if np.isnan(mean):
            return ""
        return written(mean) if low == mean == high else f"{written(mean)} [{written(low)}, {written(high)}]"

    return [cell(*row) for row in zip(summary[name], summary[f"{name}_low"], summary[f"{name}_high"])]


def notes(search: Search, workers: int, orders: int, trials: int | None = None) -> Iterator[str]:
    """What stands below the table: what was replayed, what its numbers are, and what they cannot know.

    Arguments as for `replay`.
    """
    spec, best, name = search.spec, best_of(search.curves), search.run.name
    assert best is not None
    states = pd.Series([curve.state for curve in search.curves])
    objective = spec.objectives[0]
    drawn = "" if trials is None else f" of {trials} of them each"
    yield (
        f"{name}: {counted(len(search.curves), 'trial')} of {counted(spec.steps, 'step', ',')}, of which "
        f"{(states == 'COMPLETE').sum()} are complete; the best is trial {best.number}, {objective} "
        f"{number_text(best.values[-1], measure(objective).unit)}; {counted(orders, 'random order')}{drawn}, "
        f"{counted(workers, 'trial')} at a time, each as fast as it was, and without the time to start one or to go on "
        "with one that paused."
    )
    yield (
        f"{name}: mean [5 %, 95 %] over the orders; steps are a share of the full budget's; best_lost is the share of "
        "orders in which the best trial did not become complete, with Wilson's 90 % interval; regret is by how much "
        f"the best complete trial's {objective} is less than the best's. All are of these trials: others would give "
        "other numbers."
    )
    cut = sum(not curve.whole for curve in search.curves)
    if cut:
        yield (
            f"{name}: not known is how {counted(cut, 'trial')} that ended early would have gone on: only a part of the "
            "curve is stored. Where a setting goes on past it, the trial ends there and counts as unknown; "
            "unknown_steps are those that it would have made besides, at most. The best is that of the complete ones, "
            f"and one of these may have been better. `{command('run', 'PRESET', '--set asha=null')}` knows them all."
        )
    if search.idle:
        yield f"{name}: {counted(search.idle, 'trial')} without a report: left out."
    if spec.sampler in ("random", "grid"):
        yield f"{name}: the sampler, {spec.sampler}, drew no trial by what others had reached: any order is as likely."
    else:
        yield (
            f"{name}: not known is what the sampler, {spec.sampler}, would have drawn in another order or after other "
            "stops: the replay has the trials that it drew, early ones from all of the space and later ones near the "
            "best of those before."
        )
    if spec.asha is not None and search.turns is not None:
        pruned = {c.number: c.steps[-1] for c in search.curves if c.state == "PRUNED"}
        ended = [curve.number for curve in search.curves if curve.state == ENDED]
        again = own_decisions(spec, search.reports, search.turns, ended)
        same = sum(pruned.get(curve.number) == again.get(curve.number) for curve in search.curves)
        how = "" if in_order(search.reports) else ", which is known to the second only"
        asha = [f"grace {spec.asha.grace}", f"reduction {spec.asha.reduction}"]
        if spec.pauses:
            asha += [f"mode {spec.asha.mode}", f"{spec.least_complete} complete at least"]
        yield (
            f"{name}: under its own setting, {', '.join(asha[:-1])} and {asha[-1]}, and in the order of its "
            f"reports{how}, {same} of {counted(len(search.curves), 'trial')} end where they did."
        )


def joined(summaries: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The summaries of several studies as one table."""
    return pd.concat(summaries, ignore_index=True)


def document(
    format_: str,
    searches: Sequence[Search],
    summaries: Sequence[pd.DataFrame],
    workers: int,
    orders: int,
    trials: int | None = None,
) -> str:
    """The tables as people read them, and what stands below; studies of one objective share a table.

    Args:
        format_: text, md or latex.
        searches: what was replayed.
        summaries: of each.
        workers, orders, trials: as they were replayed.
    """
    how = FORMATS[format_]
    alike: dict[str, list[pd.DataFrame]] = {}
    for search, summary in zip(searches, summaries):
        alike.setdefault(search.spec.objectives[0], []).append(summary)
    parts = [how.table(shown(joined(several), objective)) for objective, several in alike.items()]
    said = [note for search in searches for note in notes(search, workers, orders, trials)]
    return "\n".join([*parts, *(how.note.format(plain(note, format_)) for note in said)])
