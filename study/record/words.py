"""A study in words: one trial in a line, a run in a few, and what it will do. Knows nothing of Ray."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from optuna.trial import FrozenTrial, TrialState

from study.record.confirmation import standing
from study.record.folder import OpenRun, Run
from study.record.progress import Pace, Progress
from study.record.sampling import grid
from study.record.storage import KIND
from study.record.trials import Outcome, best_trial, outcome, owed, reports
from study.spec import StudySpec
from study.spec.measures import measure, number_text
from study.spec.ranges import text

if TYPE_CHECKING:
    import pandas as pd


def describe(trial: FrozenTrial, spec: StudySpec) -> str:
    """One trial in a line: number, state, steps, and its objectives or the cause of its failure."""
    made = reports(trial)
    steps = max(made, default=0)
    ended = f"trial {trial.number:<4d} {trial.state.name.lower():<9s} at step {steps:>6d}"
    if trial.state == TrialState.FAIL:
        return f"{ended}   {trial.user_attrs.get('cause', '')}"
    if not made:
        return ended
    return f"{ended}   " + "   ".join(measured(name, made[steps].get(name)) for name in spec.objectives)


def measured(name: str, value: float | None) -> str:
    """A measure in a line of text."""
    return f"{name} {'not finite' if value is None else number_text(value, measure(name).unit)}"


def how_scored(confirmed: pd.DataFrame) -> str:
    """How the scores of codes in rows of confirm.parquet were taken; empty where there are none."""
    taken = [f"metrics.{name}" for name in ("mig", "dci_disentanglement", "factor_vae")]
    if "votes" not in confirmed or not any(name in confirmed and confirmed[name].notna().any() for name in taken):
        return ""
    how = confirmed.iloc[0]
    whose = "the test set" if how["codes_of"] == "test" else "the whole data set"
    given = f"{how['votes']} votes, {how['examples']} examples, DCI of {how['trees']}'s trees"
    return f"scores are of posterior means of {whose}: {given}"


def duration(seconds: float) -> str:
    """Seconds as a person says them: "40 s", "12 min", "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def pace(at: Progress) -> str:
    """How far the work is, how fast it goes, and how long it still takes."""
    starts = f" of {at.sessions} starts" if at.sessions > 1 else ""
    rate = f"{at.rate:.0f}" if at.rate >= 10 else f"{at.rate:.2g}"
    left = f"; at most {duration(at.left)} left" if at.left else ""
    return f"{at.steps:,} steps in {duration(at.elapsed)}{starts}, {rate} a second{left}"


def at_work(opened: OpenRun) -> str:
    """Whether a run that has something left to do is alive: its unfinished trials, each with its last sign of life.

    Empty where nothing is left to do.
    """
    run, spec, study = opened
    if not owed(opened):
        return ""
    lines = [] if run.is_held() else [f"no process is at work on it; it goes on with `{run.goes_on(spec)}`"]
    now = time.time()
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        last = next(reversed(reports(trial).values()), {}).get("reported")
        assert trial.datetime_start is not None  # it was handed out
        sign, when = ("begun", trial.datetime_start.timestamp()) if last is None else ("reported", last)
        lines.append(f"{describe(trial, spec)}   {sign} {duration(max(0.0, now - when))} ago")
    return "\n".join(lines)


def summary(opened: OpenRun) -> str:
    """Where a study stands, in a few lines."""
    run, spec, study = opened
    if not spec.trials:
        return f"{spec.name}: {standing(run, spec)}"
    counts: Outcome = outcome(study)
    running = len(study.get_trials(deepcopy=False, states=[TrialState.RUNNING]))
    line = (
        f"{spec.name}: {counts.complete} complete, {counts.pruned} pruned, {counts.failed} failed, "
        f"{running} unfinished, of {spec.trials} trials"
    )
    made = Pace(opened)
    if at := made.progress(time.time() if run.is_held() else made.last or 0.0):
        line += f"\n{pace(at)}"
    best = best_trial(study)
    if best is None:
        return line
    settings = spec.settings_of(best.params)  # of what was drawn, a space may make something else
    values = {name: settings.get(name, value) for name, value in best.params.items()}
    drawn = ", ".join(
        f"{key} {number_text(value) if isinstance(value, float) else value}" for key, value in values.items()
    )
    return f"{line}\nbest: {describe(best, spec)}{_kind(opened)}" + (f"\n      {drawn}" if drawn else "")


def _kind(opened: OpenRun) -> str:
    """What the ELBOs of a study are, where they are no bounds."""
    kind = opened.study.user_attrs.get(KIND)
    return "" if kind in (None, "bound") or "elbo" not in opened.spec.objectives else f"   (elbo: {kind}, no bound)"


def plan(spec: StudySpec, run: Run) -> str:
    """What a run will do, for people."""
    ranges = spec.distributions()
    named = {name: f"{name} ({text(drawn)})" if name in spec.space else name for name, drawn in ranges.items()}
    drawn = ", ".join(named.values()) or "nothing"
    pinned = ", ".join(f"{key}={value}" for key, value in spec.fixed.items()) or "nothing"
    each = (
        f"of {spec.steps} steps (batch {spec.budget.batch}, report every {spec.report_every}), "
        f"each on {spec.resources.cpus} CPU and {spec.resources.gpus:g} GPU"
    )
    lines = [f"{spec.name}: {spec.title} on {spec.data}, {spec.pixels} images, {spec.likelihood} likelihood"]
    if spec.trials:
        lines += [
            f"  {spec.trials} trials {each}",
            f"  maximises {', '.join(spec.objectives)}; sampler {spec.sampler}, seed {spec.seed}",
            f"  draws {drawn}",
        ]
        if spec.sampler == "grid" and (points := math.prod(map(len, grid(ranges, spec.trials).values()))) < spec.trials:
            lines.append(f"  its grid has {points} points; {spec.trials - points} trials repeat some over other seeds")
    else:
        lines += [
            f"  no search: the defaults over {spec.confirm.seeds} fresh seeds, trainings {each}",
            f"  tests the checkpoint of each that is best by {spec.objectives[0]}; study's seed {spec.seed}",
        ]
    lines += [f"  pins {pinned}", *cautions(spec)]
    if spec.validated is not None:
        lines.append(f"  reports on {spec.validated} validation images, always the same ones")
    if spec.asha is not None:
        lines.append(f"  ASHA keeps 1 in {spec.asha.reduction} at steps {', '.join(map(str, spec.rungs))}")
        if spec.rungs[0] > spec.asha.grace:
            lines.append("  rungs before the end of the longest KL warm-up are left out")
    return "\n".join([*lines, f"  writes {run.path}"])


def cautions(spec: StudySpec) -> list[str]:
    """What a study's numbers will not be, where a search would reward it, in a line each."""
    if spec.likelihood != "gaussian" or spec.preprocessing.dequantise or not isinstance(spec.sigma, str):
        return []
    sigma = spec.sigma.replace("_", "-")
    return [
        f"  its ELBO is a density of pixels that are not dequantised, no bound; with a {sigma} sigma it grows without "
        "limit where pixels are met exactly, which a search rewards: preprocessing: {dequantise: true} makes it a bound"
    ]
