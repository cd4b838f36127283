"""Confirms what a search found: the paper's defaults and the best configurations, each trained afresh over new seeds at
full budget, whose best checkpoint is read once on the test set: what `export` ships of a search is its best one, too.

A search's own numbers flatter its winner. Only confirmed numbers go into a paper's table.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import optuna
import pandas as pd
import torch
from optuna.trial import TrialState

import imagesets
from study.record.confirmation import DEFAULTS, RESULT, is_as_wanted, made_with, result
from study.record.folder import OpenRun, Run, RunError
from study.record.seeds import with_more
from study.record.storage import (
    KIND,
    SPEC,
    check_data,
    check_space,
    check_storage_is_new,
    describe_data,
    open_run,
    reopen,
)
from study.record.tables import cell, of_one_type, to_parquet
from study.record.trials import owed
from study.record.words import duration, measured
from study.signals import Stop, stopping_on_signals
from study.spec import StudySpec, dump
from study.spec.measures import EDITION, LATEST, MEASURES, in_order
from study.spec.text import command
from study.trial import checkpoint
from study.trial.checkpoint import CheckpointError
from study.trial.evaluation import evaluate, importance_weighted, probe_accuracy
from study.trial.files import write_whole
from study.trial.images import images_of
from study.trial.seeds import derived_seed
from study.trial.trial import Trial, failed, load_data

SEEDS = 1_000_003  # sets the seeds of confirmation apart from those of trials, which are (study's seed, number)
TEST = tuple(measure.name for measure in MEASURES)
# in a result, besides measures
BESIDE = ("valid_elbo", "steps", "seconds", "cpu_seconds", "cause", "samples", "images", "budget", EDITION)


class Candidate(NamedTuple):
    """A configuration to confirm."""

    name: str  # "defaults", or "trial-12"
    settings: dict[str, Any]


class Job(NamedTuple):
    """One configuration on one fresh seed."""

    candidate: Candidate
    repeat: int
    seed: int


def candidates(opened: OpenRun) -> list[Candidate]:
    """The defaults, though the search may have stopped them, and the best `confirm.top` complete trials.

    With several objectives the best are those of the Pareto front, by the first objective.
    """
    _, spec, study = opened
    complete = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    if len(spec.objectives) > 1 and complete:
        complete = study.best_trials
    best = sorted(complete, key=lambda trial: trial.values[0], reverse=True)[: spec.confirm.top]
    drawn = [Candidate(f"trial-{trial.number}", spec.draw(optuna.trial.FixedTrial(trial.params))) for trial in best]
    return [Candidate(DEFAULTS, spec.defaults()), *drawn]


def jobs(opened: OpenRun) -> list[Job]:
    """Every candidate over the same fresh seeds."""
    spec = opened.spec
    return [
        Job(candidate, repeat, derived_seed(spec.seed, SEEDS, repeat))
        for repeat in range(spec.confirm.seeds)
        for candidate in candidates(opened)
    ]


def work(run: Run, spec: StudySpec, job: Job, data: str | None, device: torch.device) -> dict[str, Any]:
    """Trains one configuration on one seed at full budget, and reads the test set with its best checkpoint.

    It goes on where it was interrupted; after the end of the training only the test set is read.

    Returns:
        `TEST` by name, `valid_elbo`, `steps`, `seconds`, `cpu_seconds` and `cause`, which is empty unless the training
        failed.
    """
    trial = None
    try:
        splits = load_data(spec, data)
        folder = run.confirmation(job.candidate.name, job.repeat)
        if not _has_best(folder):
            _forget_training(folder)
        trial = Trial(spec, job.candidate.settings, splits, seed=job.seed, folder=folder, device=device)
        while not trial.done:
            report = trial.report()
        best = checkpoint.load(folder / checkpoint.BEST)
        assert best is not None
        model = trial.training.model
        model.load_state_dict(best["training"]["model"])
        test = images_of(splits, "test", spec.preprocessing, spec.pairing, device)
        weighted = importance_weighted(model, test, spec.confirm.samples, first=spec.confirm.images)
        return {
            **evaluate(model, test, test=True),
            "log_likelihood": float(weighted.log_likelihood.mean()),
            "effective_samples": float(weighted.effective_samples.mean()),
            "accuracy": probe_accuracy(model, trial.training.train_images, test),
            "valid_elbo": best["report"].get("elbo", math.nan),  # of a posterior without a density
            "steps": report["steps"],
            "seconds": report["seconds"],
            "cpu_seconds": report.get("cpu_seconds", math.nan),  # a checkpoint of an earlier release
            "cause": "",
        }
    except Exception as error:
        lost = failed(error, trial.training.step if trial else 0, spec)
        return {
            **dict.fromkeys((*TEST, "valid_elbo", "seconds", "cpu_seconds"), math.nan),
            "steps": lost["steps"],
            "cause": lost["cause"],
        }
    finally:
        if trial is not None:
            trial.close()


def confirm(
    run: Run,
    *,
    data: str | None = None,
    address: str | None = None,
    say: Callable[[str], None] = print,
    stop: Stop | None = None,
) -> int | None:
    """Does all jobs that have no result as the specification wants it, as Ray tasks, and writes confirm.parquet.

    Args:
        run: whose search is finished, or which has none.
        data: root of the data sets; None is the default one.
        address: of a Ray cluster; None starts Ray on this machine.
        say: is given a line for each finished job.
        stop: of a caller who has started Ray and watches for signals already.

    Returns:
        The signal that stopped it, or None.

    Raises:
        RunError: the search is not finished, or the run is in use.
        SpecError, DataError, MachineError: as for a search.
    """
    with run.locked():
        opened = open_run(run, create=not run.spec().trials)
        if owed(opened):
            raise RunError(f"the search is not finished; go on with `{command('resume', run.argument)}` first")
        check_space(opened)
        spec, wanted = opened.spec, jobs(opened)
        if not spec.trials and KIND not in opened.study.user_attrs:
            describe_data(opened, load_data(spec, data))
        missing = [job for job in wanted if not _is_done(run, spec, job)]
        if missing:
            check_data(opened)
        signum = _work_all(run, spec, missing, imagesets.data_root(data), address, say, stop)
        results = [(job, found) for job in wanted if (found := _result(run, job)) and is_as_wanted(found, spec)]
        table = of_one_type(pd.DataFrame([_row(opened, job, found) for job, found in results]))
        if len(table):
            write_whole(run.table("confirm"), lambda path: to_parquet(table, path))
        return signum


def confirm_defaults(
    spec: StudySpec,
    run: Run,
    *,
    data: str | None = None,
    address: str | None = None,
    say: Callable[[str], None] = print,
) -> int | None:
    """Confirms the defaults of a specification without a search; in a run that is there, over the seeds it lacks.

    Arguments, return and errors as for `confirm`.

    Raises:
        RunError: the run has nothing to be added, or another configuration.
    """
    if run.study_yaml.is_file():
        wanted = with_more(run, spec)
        with run.locked():
            reopen(run, wanted)
        with _at_work(run, wanted, address) as stop:  # which knows whether there is room
            stop.leave_if_asked()
            with run.locked():
                opened = reopen(run, wanted)
                run.rewrite(wanted)
                opened.study.set_user_attr(SPEC, dump(wanted))
            return confirm(run, data=data, say=say, stop=stop)
    run.check_new()
    check_storage_is_new(spec)
    load_data(spec, data)  # what is not there is told before a folder is made
    with _at_work(run, spec, address) as stop:
        stop.leave_if_asked()
        run.create(spec)
        return confirm(run, data=data, say=say, stop=stop)


@contextmanager
def _at_work(run: Run, spec: StudySpec, address: str | None) -> Iterator[Stop]:
    from study.tune.cluster import ray_started

    go_on = command("confirm", run.argument)
    how = stopping_on_signals(lambda: go_on if run.study_yaml.is_file() else "the same command, nothing is written")
    with how as stop, ray_started(spec, address, stop):
        yield stop


def _work_all(
    run: Run,
    spec: StudySpec,
    missing: list[Job],
    data: Path,
    address: str | None,
    say: Callable[[str], None],
    given: Stop | None,
) -> int | None:
    if not missing:
        return None
    with nullcontext(given) if given else _at_work(run, spec, address) as stop:
        import ray

        from study.tune.trainable import device

        @ray.remote(num_cpus=spec.resources.cpus, num_gpus=spec.resources.gpus, max_retries=3)
        def task(job: Job) -> dict[str, Any]:
            return work(run, spec, job, str(data), device())

        for job in missing:
            if (old := _result(run, job)) and old.get("budget", old["steps"]) != spec.steps:
                _forget_training(run.confirmation(job.candidate.name, job.repeat))
        pending = {task.remote(job): job for job in missing}
        started, done = time.monotonic(), 0
        while pending and stop.signal is None:
            finished, _ = ray.wait(list(pending), timeout=0.5)
            for reference in finished:
                job = pending.pop(reference)
                try:
                    found = ray.get(reference)
                except ray.exceptions.RayError as error:
                    found = {**failed(error, 0), "cause": f"lost: {type(error).__name__}"}
                _keep(run, job, {**found, **made_with(spec)})
                by = spec.objectives[0]
                outcome = found["cause"] or f"test {measured(by, found[by])}, {found['seconds']:.0f} s"
                done += 1
                how_far = f"{done} of {len(missing)}"
                if pending:
                    left = (time.monotonic() - started) / done * len(pending)
                    how_far += f", about {duration(left)} left"
                say(f"{job.candidate.name}, seed {job.repeat + 1} of {spec.confirm.seeds}: {outcome}   ({how_far})")
        for reference in pending:
            ray.cancel(reference, force=True)
        return stop.signal


def _has_best(folder: Path) -> bool:
    """Whether a training's best checkpoint is there and sound."""
    try:
        return checkpoint.load(folder / checkpoint.BEST) is not None
    except CheckpointError:
        return False


def _forget_training(folder: Path) -> None:
    """Removes a training's checkpoints, so that it starts again, and then its result."""
    for name in (checkpoint.LAST, checkpoint.PREVIOUS, checkpoint.BEST, RESULT):
        (folder / name).unlink(missing_ok=True)


def _keep(run: Run, job: Job, found: dict[str, Any]) -> None:
    path = run.confirmation(job.candidate.name, job.repeat) / RESULT
    write_whole(path, lambda temporary: temporary.write_text(json.dumps({**found, EDITION: LATEST})))


def _result(run: Run, job: Job) -> dict[str, Any] | None:
    return result(run, job.candidate.name, job.repeat)


def _is_done(run: Run, spec: StudySpec, job: Job) -> bool:
    """Whether the job has a result that doing it again would not change: not if its process was lost, or the disk."""
    found = _result(run, job)
    return found is not None and is_as_wanted(found, spec) and not found["cause"].startswith(("lost", "disk"))


def _row(opened: OpenRun, job: Job, found: dict[str, Any]) -> dict[str, Any]:
    """One row of confirm.parquet; `metrics.*` are those of the test set."""
    _, spec, study = opened
    return {
        "study": spec.name,
        "model": spec.title,
        "dataset": spec.data,
        "preprocessing": spec.pixels,
        "likelihood": spec.likelihood,
        "kind": study.user_attrs.get(KIND),
        "configuration": job.candidate.name,
        "repeat": job.repeat,
        "seed": job.seed,
        "cause": found["cause"],
        "steps": found["steps"],
        "seconds": found.get("seconds"),
        "cpu_seconds": found.get("cpu_seconds"),
        "samples": found["samples"],
        "images": min(found["images"], spec.tested),
        "checkpoint": "best",
        "valid_elbo": found.get("valid_elbo"),
        **{f"metrics.{key}": found.get(key) for key in in_order({*TEST, *found} - {*BESIDE})},
        **{f"params.{key}": cell(value) for key, value in job.candidate.settings.items()},
    }
