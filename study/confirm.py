"""Confirms what a search found: the paper's defaults and the best configurations, each trained afresh over new seeds at
full budget, whose best checkpoint is read once on the test set: what `export` ships of a search is its best one, too.

A search's own numbers flatter its winner. Only confirmed numbers go into a paper's table.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from optuna.study._multi_objective import _get_pareto_front_trials_by_trials
from optuna.trial import TrialState

import imagesets
from study.agenda import Agenda, Outcome, Task
from study.record.confirmation import DEFAULTS, LATENTS, Result, in_columns
from study.record.folder import OpenRun, Run, RunError
from study.record.packed import as_packed, kept
from study.record.pathologies import sound
from study.record.seeds import with_more
from study.record.storage import (
    KIND,
    SPEC,
    check_data,
    check_space,
    check_storage_is_new,
    create,
    describe_data,
    open_run,
    reopen,
)
from study.record.tables import cell, of_one_type, to_parquet
from study.record.trials import is_oom, owed
from study.record.words import duration, measured
from study.signals import Stop, stopping_on_signals
from study.spec import StudySpec, dump
from study.spec.measures import in_order
from study.spec.problems import MachineError
from study.spec.text import command
from study.tasks import Candidate, Job, rank, score, work, work_together
from study.trial import arithmetic
from study.trial.files import write_whole
from study.trial.seeds import derived_seed
from study.trial.trial import cause, load_data

SEEDS = 1_000_003  # sets the seeds of confirmation apart from those of trials, which are (study's seed, number)
HEADLINE = ("mig", "dci_disentanglement", "factor_vae", "udr")  # of the scores, in a line


def candidates(opened: OpenRun) -> list[Candidate]:
    """The defaults, though the search may have stopped them, and the best `confirm.top` complete trials of the others.

    With several objectives the best are those of the Pareto front, by the first objective. What has a pathology is none
    of them, unless all have one.
    """
    _, spec, study = opened
    complete = sound(study.get_trials(deepcopy=False, states=[TrialState.COMPLETE]))
    if len(spec.objectives) > 1:
        complete = _get_pareto_front_trials_by_trials(complete, study.directions)
    best = sorted(complete, key=lambda trial: trial.values[0], reverse=True)
    usual = spec.defaults()
    drawn = (Candidate(f"trial-{trial.number}", spec.settings_of(trial.params)) for trial in best)
    others = (candidate for candidate in drawn if candidate.settings != usual)
    return [Candidate(DEFAULTS, usual), *islice(others, spec.confirm.top)]


def jobs(opened: OpenRun) -> list[Job]:
    """Every candidate over the same fresh seeds."""
    spec = opened.spec
    return [
        Job(candidate, repeat, derived_seed(spec.seed, SEEDS, repeat))
        for repeat in range(spec.confirm.seeds)
        for candidate in candidates(opened)
    ]


def confirm(
    run: Run,
    *,
    spec: StudySpec | None = None,
    data: str | None = None,
    address: str | None = None,
    wait: bool = False,
    say: Callable[[str], None] = print,
    stop: Stop | None = None,
) -> int | None:
    """Does what is missing of all jobs, as Ray tasks, and writes confirm.parquet.

    Scores of codes are tasks of their own, which no training waits for.

    Args:
        run: whose search is finished, or which has none.
        spec: takes the place of the run's own, with other settings of the confirmation.
        data: root of the data sets; None is the default one.
        address: of a Ray cluster; None is the one that RAY_ADDRESS names, or else a Ray that is started here.
        wait: for a machine of the cluster that has room for a trial.
        say: is given a line for each finished job.
        stop: of a caller who has started Ray and watches for signals already.

    Returns:
        The signal that stopped it, or None.

    Raises:
        RunError: the search is not finished, or the run is in use.
        SpecError, DataError, MachineError: as for a search.
    """
    with run.locked():
        opened = open_run(run, spec, create=not run.spec().trials)
        if owed(opened):
            raise RunError(f"the search is not finished; go on with `{command('resume', run.argument)}` first")
        check_space(opened)
        if spec is not None:
            run.rewrite(spec)
            opened.study.set_user_attr(SPEC, dump(spec))
        spec = opened.spec
        if not spec.trials and KIND not in opened.study.user_attrs:
            describe_data(opened, load_data(spec, data))
        agenda = Agenda(run, spec, jobs(opened))
        if agenda.left():
            check_data(opened)
        signum = _work_all(agenda, imagesets.data_root(data), address, wait, say, stop, opened)
        results = [(job, found) for job in agenda.jobs if (found := agenda.result(job)) and found.budget == spec.steps]
        table = of_one_type(pd.DataFrame([_row(opened, agenda, job, found) for job, found in results]))
        if len(table):
            write_whole(run.table("confirm"), lambda path: to_parquet(table, path))
        return signum


def confirm_defaults(
    spec: StudySpec,
    run: Run,
    *,
    data: str | None = None,
    address: str | None = None,
    wait: bool = False,
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
        with _at_work(run, wanted, address, wait) as stop:  # which knows whether there is room
            stop.leave_if_asked()
            with run.locked():
                opened = reopen(run, wanted)
                run.rewrite(wanted)
                opened.study.set_user_attr(SPEC, dump(wanted))
            return confirm(run, data=data, say=say, stop=stop)
    run.check_new()
    check_storage_is_new(spec)
    load_data(spec, data)  # what is not there is told before a folder is made
    with _at_work(run, spec, address, wait) as stop:
        stop.leave_if_asked()
        create(run, spec)
        return confirm(run, data=data, say=say, stop=stop)


@contextmanager
def _at_work(run: Run, spec: StudySpec, address: str | None, wait: bool) -> Iterator[Stop]:
    from study.tune.cluster import ray_started

    go_on = command("confirm", run.argument)
    how = stopping_on_signals(lambda: go_on if run.study_yaml.is_file() else "the same command, nothing is written")
    with how as stop, ray_started(spec, run.path, address, wait, stop):
        yield stop


def _work_all(
    agenda: Agenda,
    data: Path,
    address: str | None,
    wait: bool,
    say: Callable[[str], None],
    given: Stop | None,
    opened: OpenRun,
) -> int | None:
    if not agenda.left():
        return None
    run, spec = agenda.run, as_packed(agenda.spec, kept(opened))
    with nullcontext(given) if given else _at_work(run, spec, address, wait) as stop:
        import ray

        from study.tune.cards import placed
        from study.tune.trainable import device

        spec, mark = placed(opened, str(data), stop), run.mark()
        gpus = spec.resources.least_gpus

        @ray.remote(num_cpus=spec.resources.cpus, num_gpus=gpus, max_retries=3)
        def done(task: Task) -> Outcome:
            run.check_seen(mark)
            return do(task, run, spec, str(data), device(spec.deterministic))

        agenda.forget_other_budgets()
        pending: dict[Any, Task] = {}
        put_off: set[Any] = set()  # keys of what ran out of memory beside others
        again: list[Task] = []  # those of them that are still to be tried again, alone, when the others have ended
        started, ended = time.monotonic(), 0
        while stop.signal is None:
            pending |= {done.options(num_gpus=_share(gpus, task)).remote(task): task for task in agenda.ready()}
            if not pending and again:
                task = again.pop(0)
                pending = {done.options(num_gpus=math.ceil(gpus)).remote(task): task}
            if not pending:
                break
            finished, _ = ray.wait(list(pending), timeout=0.5)
            for reference in finished:
                task = pending.pop(reference)
                for part, found in task.parts(_got(reference, task, spec, stop)):
                    came_of_it = _outcome(agenda, part, found)
                    if _ran_out(found) and part is not task:
                        agenda.set_apart(part)
                        say(f"{came_of_it}; it is tried again, not fused with others")
                    elif _ran_out(found) and part.key not in put_off:
                        put_off.add(part.key)
                        again.append(part)
                        say(f"{came_of_it}; it is tried again alone, when the others have ended")
                    else:
                        agenda.take(part, found)
                        ended += 1
                        say(f"{came_of_it}   ({_how_far(ended, agenda.left(), time.monotonic() - started)})")
        for reference in pending:
            ray.cancel(reference, force=True)
        return stop.signal


def _check_seen(error: Exception, stop: Stop) -> None:
    """Raises MachineError where a task was sent to a machine that does not see the run."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, OSError):  # of `Run.check_seen`
        raise MachineError(f"{cause.strerror}\ngo on with: {stop.how_to_go_on()}")


def do(task: Task, run: Run, spec: StudySpec, data: str | None, device: torch.device) -> Outcome:
    """Does a task; what `Agenda.take` takes."""
    job = task.jobs[0]
    with arithmetic.evaluating(spec.deterministic):
        if task.kind == "work" and len(task.jobs) > 1:
            return work_together(run, spec, task.jobs, data, device, task.measures)
        if task.kind == "work":
            return work(run, spec, job, data, device, task.measures)
        try:
            if task.kind == "score":
                return [score(run, spec, job, data, device, task.measures)]
            return rank(run, spec, task.jobs, data, device)
        except Exception as error:
            return cause(error)


def _got(reference: Any, task: Task, spec: StudySpec, stop: Stop) -> Outcome:
    """What came of a task, be it that its process was lost.

    Raises:
        MachineError: the task was sent to a machine that does not see the run.
    """
    import ray

    try:
        found: Outcome = ray.get(reference)
        return found
    except ray.exceptions.RayError as error:
        _check_seen(error, stop)
        why = f"lost: {type(error).__name__}"
        if task.kind != "work":
            return why
        lost = Result(why, 0, spec.steps)
        return lost if len(task.jobs) == 1 else [lost] * len(task.jobs)


def _share(gpus: float, task: Task) -> float:
    """The GPUs of a task: what is trained together has the shares of all its seeds, a whole card at most."""
    return min(gpus * len(task.jobs), math.ceil(gpus)) if task.kind == "work" else gpus


def _how_far(ended: int, tasks: Sequence[Task], seconds: float) -> str:
    """How many have ended, and how long the others take at that pace; trainings count by themselves."""
    left = sum(len(task.jobs) if task.kind == "work" else 1 for task in tasks)
    rest = f", about {duration(seconds / ended * left)} left" if left else ""
    return f"{ended} of {ended + left}{rest}"


def _ran_out(found: Outcome) -> bool:
    return is_oom(found.cause if isinstance(found, Result) else found if isinstance(found, str) else "")


def _outcome(agenda: Agenda, task: Task, found: Outcome) -> str:
    """What came of a task, in a line."""
    spec, job = agenda.spec, task.jobs[0]
    if task.kind == "rank":
        who = f"{job.candidate.name}, {len(task.jobs)} seeds"
    else:
        who = f"{job.candidate.name}, seed {job.repeat + 1} of {spec.confirm.seeds}"
    if isinstance(found, str):
        return f"{who}: no {task.kind}, {found}"
    if isinstance(found, Result):
        known = in_columns(found, spec)
        by = next((name for name in (spec.objectives[0], "elbo") if name in known), "log_likelihood")
        return f"{who}: {found.cause or f'test {measured(by, known.get(by))}, {found.seconds:.0f} s'}"
    means = {value.measure: np.mean([one.value for one in alike]) for alike in zip(*found) for value in alike[:1]}
    shown = [name for name in HEADLINE if name in means] or list(means)[:2]
    return f"{who}: {', '.join(measured(name, means[name]) for name in shown)}"


def _row(opened: OpenRun, agenda: Agenda, job: Job, found: Result) -> dict[str, Any]:
    """One row of confirm.parquet; `metrics.*` are those of the test set."""
    _, spec, study = opened
    known = {} if found.cause else in_columns(found, spec, agenda.among(job))
    names = in_order({*known, *(measure.name for measure in agenda.measures(job))})
    return {
        "study": spec.name,
        "model": spec.title,
        "dataset": spec.data,
        "preprocessing": spec.pixels,
        "likelihood": spec.likelihood,
        "kind": study.user_attrs.get(KIND),
        "precision": spec.precision,
        "deterministic": spec.deterministic,
        "compiled": spec.compiled,
        "configuration": job.candidate.name,
        "repeat": job.repeat,
        "seed": job.seed,
        "cause": found.cause,
        "steps": found.steps,
        "seconds": found.seconds,
        "cpu_seconds": found.cpu_seconds,
        "fused": found.fused,
        "samples": spec.confirm.samples,
        "images": spec.tested,
        **{key: getattr(spec.confirm, key) for key in ("votes", "examples", "trees", "codes_of")},
        "checkpoint": "best",
        "valid_elbo": found.valid_elbo,
        **{f"metrics.{key}": known.get(key, math.nan) for key in names},
        **{f"{LATENTS}.{key}": values for key, values in (found.latents or {}).items()},
        **{f"params.{key}": cell(value) for key, value in job.candidate.settings.items()},
    }
