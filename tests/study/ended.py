"""A search that ended, of which nothing was trained, to be confirmed."""

import math
from typing import NamedTuple

from optuna.trial import TrialState

from study.record.folder import OpenRun, Run
from study.record.storage import KIND, open_run
from study.record.trials import fail, finish, store_report
from study.spec import StudySpec
from study.spec.measures import METRICS

FULL, EVERY, SEEDS = 40, 20, 2


class Given(NamedTuple):
    """How one trial of a search ended, and what it had drawn."""

    lr: float
    state: TrialState
    elbo: float


SEARCH = (
    Given(1e-3, TrialState.PRUNED, -100.0),  # the defaults, stopped though they were the best
    Given(4e-3, TrialState.COMPLETE, -190.0),
    Given(2e-3, TrialState.COMPLETE, -180.0),
    Given(9e-3, TrialState.FAIL, math.nan),
    Given(3e-3, TrialState.COMPLETE, -200.0),
)


def searched(spec: StudySpec, run: Run, given: tuple[Given, ...] = SEARCH) -> OpenRun:
    """Makes the run folder of a search that ended so; nothing is trained."""
    run.create(spec)
    opened = open_run(run, spec, create=True)
    study = opened.study
    study.set_user_attr(KIND, "soft cross-entropy")
    for lr, state, elbo in given:
        study.enqueue_trial({"lr": lr})
        trial = study.ask()
        spec.draw(trial)
        if state == TrialState.FAIL:
            fail(opened, trial.number, "nan: the loss of 'elbo' was not finite at step 3")
        elif state != TrialState.RUNNING:
            steps = FULL if state == TrialState.COMPLETE else EVERY
            report = {
                **dict.fromkeys(METRICS, 0.5),
                "measures": list(METRICS),
                "elbo": elbo,
                "steps": steps,
                "seconds": 1.0,
                "train": [],
            }
            store_report(study, trial._trial_id, report)
            finish(opened, trial.number, {**report, "cause": ""})
    return opened
