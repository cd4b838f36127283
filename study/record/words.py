"""A study in words: one trial in a line, a run in a few, and what it will do. Knows nothing of Ray."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from optuna.trial import FrozenTrial, TrialState

from study.record import packed, pathologies, pauses
from study.record.confirmation import standing
from study.record.first import outside
from study.record.folder import OpenRun, Run
from study.record.progress import SESSIONS, TIME, Forecast, Pace, Progress, expected_of, memory
from study.record.samplers import left_to_others
from study.record.sampling import grid
from study.record.storage import KIND
from study.record.trials import TAKEN_UP, Outcome, best_trial, outcome, owed, reports
from study.spec import StudySpec
from study.spec.checks.judged import LEARN_AFTER
from study.spec.measures import measure, number_text
from study.spec.ranges import text
from study.spec.text import counted

if TYPE_CHECKING:
    import pandas as pd

UNFINISHED = "UNFINISHED"  # what a trial is that has not ended


def describe(trial: FrozenTrial, spec: StudySpec) -> str:
    """One trial in a line: number, how it ended, steps, and its objectives or the cause of its failure."""
    made = reports(trial)
    steps = max(made, default=0)
    state = "paused" if pauses.paused_at(trial) is not None else ending(trial.state.name).lower()
    ended = f"trial {trial.number:<4d} {state:<10s} at step {steps:>6d}"
    if trial.state == TrialState.FAIL:
        return f"{ended}   {trial.user_attrs.get('cause', '')}"
    if not made:
        return ended
    said = [measured(name, made[steps].get(name)) for name in spec.objectives]
    return "   ".join([ended, *said, *filter(None, [", ".join(pathologies.standing(made))])])


def ending(state: str) -> str:
    """An Optuna state, in which a trial is RUNNING or WAITING whether a process is at work on it or not."""
    return UNFINISHED if state in ("RUNNING", "WAITING") else state


def measured(name: str, value: float | None) -> str:
    """A measure in a line of text."""
    return f"{name} {'not finite' if value is None else number_text(value, measure(name).unit)}"


def pixels_of(preprocessing: str, likelihood: str, kind: str | None) -> str:
    """What the pixels of a kind of number are: of images that are black and white themselves, as sprites are, a
    Bernoulli likelihood has a bound without preprocessing.
    """
    return (
        "binary" if kind == "bound" and likelihood == "bernoulli" and "binary" not in preprocessing else preprocessing
    )


def how_scored(confirmed: pd.DataFrame) -> str:
    """How the scores of codes in rows of confirm.parquet were taken; empty where there are none."""
    taken = [f"metrics.{name}" for name in ("mig", "dci_disentanglement", "factor_vae")]
    if "votes" not in confirmed or not any(name in confirmed and confirmed[name].notna().any() for name in taken):
        return ""
    how = confirmed.iloc[0]
    whose = "the test set" if how["codes_of"] == "test" else "the whole data set"
    return f"scores are of posterior means of {whose}: {scored_with(how['votes'], how['examples'], how['trees'])}"


def scored_with(votes: int, examples: int, trees: str) -> str:
    return f"{votes:,} votes, {examples:,} examples, DCI of {trees}'s trees"


ARITHMETIC = {"full": "float32", "tf32": "TF32", "bf16": "bfloat16"}


def in_words(spec: StudySpec) -> str:
    """The arithmetic of training steps."""
    by = ", by deterministic kernels" if spec.deterministic else ""
    return ARITHMETIC[spec.precision] + by + (", compiled" if spec.compiled else "")


def duration(seconds: float) -> str:
    """Seconds as a person says them: "40 s", "12 min", "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def pace(at: Progress, ahead: Forecast | None = None) -> str:
    """How far the work is, how fast it goes, and how long it still takes, as expected and at most."""
    starts = f" of {at.sessions} starts" if at.sessions > 1 else ""
    rate = f"{at.rate:.0f}" if at.rate >= 10 else f"{at.rate:.2g}"
    most, about = duration(at.left), duration(at.left if ahead is None else ahead.left)
    left = f"; at most {most} left" if about == most else f"; about {about} left, at most {most}"
    return (
        f"{counted(at.steps, 'step', ',')} in {duration(at.elapsed)}{starts}, {rate} a second{left if at.left else ''}"
    )


def cost(at: Progress, ahead: Forecast, memory: int) -> str:
    """What a search is expected to take as a whole.

    Args:
        at: where it stands.
        ahead: what is ahead.
        memory: of the processes at work, in bytes; 0 where it is not known.
    """
    about, most = duration(at.elapsed + ahead.left), duration(at.elapsed + at.left)
    taken = f"{about}, at most {most}" if about != most else about
    room = f", in {size(memory)} of memory" if memory else ""
    at_once = counted(max(1, round(ahead.at_once)), "trial")
    return f"the search is expected to take {taken}, {at_once} at once{room}"


def size(bytes_: float) -> str:
    """Memory as a person says it: "640 MB", "1.2 GB"."""
    return f"{bytes_ / 1e6:.0f} MB" if bytes_ < 1e9 else f"{bytes_ / 1e9:.1f} GB"


def by_the_clock(opened: OpenRun) -> str:
    """That a run ended by its time, where it did; with more trials since, that is past."""
    ended = opened.study.user_attrs.get(TIME, [])
    if not ended or ended[-1]["begun"] != opened.spec.trials:
        return ""
    last = ended[-1]
    return f"ended by its time, {last['hours']:g} h: of {counted(last['asked'], 'trial')} {last['begun']} were begun"


def at_work(opened: OpenRun) -> str:
    """Whether a run that has something left to do is alive: its unfinished trials, each with its last sign of life.

    Empty where nothing is left to do.
    """
    run, spec, study = opened
    if not owed(opened):
        return ""
    held, now = run.is_held(), time.time()
    lines = [] if held else [f"no process is at work on it; it goes on with `{run.goes_on(spec)}`"]
    session = next(reversed(study.user_attrs.get(SESSIONS, [])), 0.0)
    for trial in pauses.at_work(study):
        begun, last = trial.user_attrs.get(TAKEN_UP), next(reversed(reports(trial).values()), {}).get("reported")
        line = describe(trial, spec)
        sign, when = ("begun", begun) if last is None else ("reported", last)
        if when is not None:
            line += f"   {sign} {duration(max(0.0, now - when))} ago"
        lines.append(f"{line}   not yet at work" if held and max(begun or 0.0, last or 0.0) < session else line)
    return "\n".join(lines)


def summary(opened: OpenRun) -> str:
    """Where a study stands, in a few lines."""
    run, spec, study = opened
    if not spec.trials:
        return f"{run.name}: {standing(run, spec)}"
    counts: Outcome = outcome(study)
    trials, pausing = study.get_trials(deepcopy=False), len(pauses.paused(study))
    running = pauses.at_work(study)
    unfinished = len(trials) - counts.complete - counts.pruned - counts.failed - pausing
    line = (
        f"{run.name}: {counts.complete} complete, {counts.pruned} pruned, {counts.failed} failed, "
        f"{f'{pausing} paused, ' if pausing else ''}{unfinished} unfinished, of {counted(spec.trials, 'trial')}"
    )
    if len(trials) < spec.trials:
        line += f"; {spec.trials - len(trials)} not begun"
    if said := pathologies.counts(map(pathologies.pathology, trials)):
        line += f"\npathologies: {said}"
    kept = Pace(opened)
    if at := kept.progress(time.time() if run.is_held() else kept.last or 0.0):
        line += f"\n{pace(at, kept.forecast())}"
        last = [list(made.values())[-1] for trial in running if (made := reports(trial))]
        if run.is_held() and (taken := memory(last)):
            line += f", {size(taken)} of memory"
    if ended := by_the_clock(opened):
        line += f"\n{ended}"
    if (shared := packed.kept(opened)) is not None:
        line += f"\n{shared.told()}"
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
    """What a run will do, for people, and where."""
    return "\n".join([*planned(spec), f"  writes {run.path}"])


def planned(spec: StudySpec, alone: bool = False) -> list[str]:
    """What a study does, a line each; `alone` of one that is a single training of the defaults."""
    ranges = spec.distributions()
    named = {name: f"{name} ({text(drawn)})" if name in spec.space else name for name, drawn in ranges.items()}
    drawn = ", ".join(named.values()) or "nothing"
    pinned = ", ".join(f"{key}={value}" for key, value in spec.fixed.items()) or "nothing"
    each = (
        f"of {counted(spec.steps, 'step')} (batch {spec.budget.batch}, report every {spec.report_every}), "
        f"each on {spec.resources.text}"
    )
    lines = [f"{spec.name}: {spec.title} on {spec.data}, {spec.pixels} images, {spec.likelihood} likelihood"]
    if alone:
        lines.append(f"  no search: one training of the defaults {each}; seed {spec.seed}")
    elif spec.trials:
        lines += [
            f"  {counted(spec.trials, 'trial')} {each}",
            f"  maximises {', '.join(spec.objectives)}; sampler {spec.sampler}, seed {spec.seed}",
            f"  draws {drawn}",
            *_beginning(spec),
        ]
        if spec.sampler == "grid" and (points := math.prod(map(len, grid(ranges, spec.trials).values()))) < spec.trials:
            more = spec.trials - points
            again = f"{counted(more, 'trial')} {'repeats one' if more == 1 else 'repeat some'} over other seeds"
            lines.append(f"  its grid has {counted(points, 'point')}; {again}")
    else:
        lines += [
            f"  no search: the defaults over {counted(spec.confirm.seeds, 'fresh seed')}, trainings {each}",
            f"  tests the checkpoint of each that is best by {spec.objectives[0]}; study's seed {spec.seed}",
        ]
    if (spec.precision, spec.deterministic, spec.compiled) != ("full", False, False):
        lines.append(f"  training steps in {in_words(spec)}; evaluated in float32")
    lines += [f"  pins {pinned}", *cautions(spec)]
    if spec.validated is not None:
        lines.append(f"  reports on {counted(spec.validated, 'validation image')}, always the same ones")
    if spec.pathologies is not None or spec.stop_on:
        watched = "all pathologies" if spec.pathologies is None else ", ".join(spec.pathologies) or "no pathology"
        lines.append(f"  watches for {watched}" + (f"; {', '.join(spec.stop_on)} ends a trial" if spec.stop_on else ""))
    if spec.asha is not None:
        lines.append(f"  ASHA {at_rungs(spec)}")
        if spec.trials:
            share, low, high = expected_of(spec)
            of = f"{spec.trials * spec.steps:,} steps, {low:.0%} to {high:.0%} in nine of ten searches"
            lines.append(f"  expects to make {share:.0%} of {of}; more where later trials are better")
        if spec.rungs[0] > spec.asha.grace:
            lines.append("  rungs before the end of the longest KL warm-up are left out")
    return lines


def _beginning(spec: StudySpec) -> list[str]:
    """How a search begins, where it is not drawn at random as a whole."""
    lines = []
    if spec.first == "defaults":
        nearest = [f"{name}={value} for {usual}" for name, (value, usual) in outside(spec).items()]
        in_range = f", as near as its ranges allow: {', '.join(nearest)}" if nearest else ""
        lines.append(f"  begins with the defaults{in_range}")
    if spec.sampler in LEARN_AFTER:
        lines.append(f"  draws at random until {counted(spec.random_first, 'trial')} have ended")
    if spec.sampler == "gp" and spec.asha is not None:
        lines.append("  gp learns of complete trials alone: of those that ASHA stops it learns nothing")
    if spec.sampler in ("gp", "cmaes") and (others := left_to_others(spec)):
        lines.append(f"  {spec.sampler} leaves {', '.join(others)} to {'tpe' if spec.sampler == 'cmaes' else 'chance'}")
    return lines


def at_rungs(spec: StudySpec) -> str:
    """What ASHA does with the trials of a study."""
    assert spec.asha is not None
    does = "keeps" if spec.asha.mode == "stop" else "pauses all and takes up"
    line = f"{does} 1 in {spec.asha.reduction} at steps {', '.join(map(str, spec.rungs))}"
    return f"{line}; {spec.least_complete} complete at least" if spec.least_complete else line


def cautions(spec: StudySpec) -> list[str]:
    """What a study's numbers will not be, where a search would reward it, in a line each."""
    if spec.likelihood != "gaussian" or spec.preprocessing.dequantise or not isinstance(spec.sigma, str):
        return []
    sigma = spec.sigma.replace("_", "-")
    return [
        f"  its ELBO is a density of pixels that are not dequantised, no bound; with a {sigma} sigma it grows without "
        "limit where pixels are met exactly, which a search rewards: preprocessing: {dequantise: true} makes it a bound"
    ]
