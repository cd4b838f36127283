"""Real runs, made trial by trial without Ray."""

from pathlib import Path
from typing import NamedTuple

import imagesets
from study.record.folder import Run
from study.record.storage import KIND, open_run
from study.record.trials import fail, finish, store_report
from study.spec import StudySpec
from study.trial.seeds import derived_seed
from study.trial.trial import Trial


class Ending(NamedTuple):
    """How a trial ends: at which step, and why if it fails."""

    steps: int
    cause: str = ""


FULL = Ending(20)
ENDINGS = (FULL, Ending(10), FULL, Ending(0, "nan: the loss of 'elbo' was not finite at step 3"), FULL)


def search(spec: StudySpec, folder: Path, endings: tuple[Ending, ...], half_drawn: bool = False) -> Run:
    """A real run, made trial by trial without Ray."""
    run, splits = Run(folder / spec.name), imagesets.load(spec.dataset)
    run.create(spec)
    opened = open_run(run, spec, create=True)
    study = opened.study
    study.set_user_attr(KIND, "soft cross-entropy")
    for ending in endings:
        stored = study.ask()
        seed, where = derived_seed(spec.seed, stored.number), run.trial(stored.number)
        trial, report = Trial(spec, spec.draw(stored), splits, seed=seed, folder=where), None
        while trial.training.step < ending.steps:
            report = trial.report()
            store_report(study, stored._trial_id, report)
        trial.close()
        if ending.cause:
            fail(opened, stored.number, ending.cause)
        else:
            finish(opened, stored.number, {**report, "cause": ""})
    if half_drawn:
        study.ask()
    return run
