"""What of a confirmation is left to do, and what of that can be begun: only what is missing is ever done."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Literal, NamedTuple, cast

import torch

import imagesets
from models.measures import Measure
from study.record.confirmation import Result, Value, is_trained, keep, lacking, result, wanted
from study.record.folder import Run
from study.spec import StudySpec
from study.spec.build import build
from study.tasks import OF_CODES, Candidate, Job, forget_training

Outcome = Result | Sequence[Result] | Sequence[Collection[Value]] | str


class Task(NamedTuple):
    """What a process does at once: trainings and their tests, scores of one model's codes, or the ranking of seeds."""

    kind: Literal["work", "score", "rank"]
    jobs: tuple[Job, ...]  # one, or those of a configuration that are trained together or compared
    measures: tuple[Measure, ...]

    @property
    def key(self) -> tuple[str, str, tuple[int, ...]]:
        return self.kind, self.jobs[0].candidate.name, tuple(job.repeat for job in self.jobs)

    def parts(self, found: Outcome) -> list[tuple[Task, Outcome]]:
        """What came of it, of trainings that were done together for each by itself."""
        if self.kind != "work" or len(self.jobs) == 1:
            return [(self, found)]
        results = cast(Sequence[Result], found)
        return [(self._replace(jobs=(job,)), one) for job, one in zip(self.jobs, results, strict=True)]


class Agenda:
    """The jobs of a confirmation and their results, kept in the run folder as they come.

    Args:
        run: which this process holds.
        spec: of the study.
        jobs: each configuration on each seed.
    """

    def __init__(self, run: Run, spec: StudySpec, jobs: Sequence[Job]):
        self.run, self.spec, self.jobs = run, spec, list(jobs)
        self._results = {_key(job): result(run, *_key(job)) for job in jobs}
        self._alike: dict[str, list[Job]] = {}
        for job in jobs:
            self._alike.setdefault(job.candidate.name, []).append(job)
        self._measures = {
            name: wanted(spec, _own_measures(spec, alike[0].candidate)) for name, alike in self._alike.items()
        }
        self._begun: set[Any] = set()  # keys of tasks
        self._left_alone: set[Any] = set()  # keys of those that the machine failed, or an error
        self._apart: set[Any] = set()  # keys of jobs that are trained by themselves, whatever the specification says

    def result(self, job: Job) -> Result | None:
        """What is known of a job; None where nothing is."""
        return self._results[_key(job)]

    def measures(self, job: Job) -> list[Measure]:
        """What is wanted of a job."""
        return self._measures[job.candidate.name]

    def among(self, job: Job) -> list[int]:
        """The seeds of its configuration that ended at the budget without failing, counted from 0."""
        return [other.repeat for other in self._alike[job.candidate.name] if self._is_sound(other)]

    def forget_other_budgets(self) -> None:
        """Removes the trainings of another budget, which those of the specification's begin in the place of."""
        for job in self.jobs:
            old = self.result(job)
            if old is not None and (old.steps if old.budget is None else old.budget) != self.spec.steps:
                forget_training(self.run.confirmation(*_key(job)))
                self._results[_key(job)] = None

    def left(self) -> list[Task]:
        """All that is left to do, in an order in which it can be done."""
        by_itself = [task for job in self.jobs for task in self._of(job)]
        if self.spec.confirm.fused:
            by_itself = self._together(by_itself)
        return [task for task in (*by_itself, *self._rankings()) if task.key not in self._left_alone]

    def ready(self) -> Iterator[Task]:
        """What can be begun now, and was not; it counts as begun then. A job is in one process at a time."""
        busy: set[Any] = set()
        for task in self.left():
            free = busy.isdisjoint(map(_key, task.jobs))
            busy.update(map(_key, task.jobs))
            if free and task.key not in self._begun and (task.kind == "work" or all(map(self._is_sound, task.jobs))):
                self._begun.add(task.key)
                yield task

    def set_apart(self, task: Task) -> None:
        """Has the trainings of a task that was begun done again, each by itself."""
        self._apart.update(map(_key, task.jobs))

    def take(self, task: Task, found: Outcome) -> None:
        """Keeps what came of a task.

        Args:
            task: which was begun.
            found: of `work` its result, or that of each job, of others the values of each job, or why there are none:
                these are tried again by the next confirmation.
        """
        if len(parts := task.parts(found)) > 1:
            for part in parts:
                self.take(*part)
            return
        if isinstance(found, str) or (isinstance(found, Result) and not is_trained(found, self.spec)):
            self._left_alone.add(task.key)
        if isinstance(found, str):
            return
        if isinstance(found, Result):
            old = self.result(task.jobs[0])
            if old is not None and old.budget == found.budget:
                latents = found.latents or old.latents
                found = found._replace(values=old.values, latents=latents).having(found.values)
            self._keep(task.jobs[0], found)
            return
        for job, values in zip(task.jobs, cast(Sequence[Collection[Value]], found)):
            old = self.result(job)
            assert old is not None
            self._keep(job, old.having(values))

    def _keep(self, job: Job, found: Result) -> None:
        keep(self.run, *_key(job), found)
        self._results[_key(job)] = found

    def _is_sound(self, job: Job) -> bool:
        found = self.result(job)
        return found is not None and is_trained(found, self.spec) and not found.cause

    def _of(self, job: Job) -> Iterator[Task]:
        found = self.result(job)
        trained = found is not None and is_trained(found, self.spec)
        if (found is not None and found.cause) if trained else not self._is_open(job):
            return
        wants = [measure for measure in self.measures(job) if "seeds" not in measure.needs]
        missing = lacking(found, wants, self.spec) if trained and found is not None else wants
        light = tuple(measure for measure in missing if measure.name not in OF_CODES)
        of_codes = tuple(measure for measure in missing if measure.name in OF_CODES)
        if light or not trained:
            yield Task("work", (job,), light)
        if of_codes:
            yield Task("score", (job,), of_codes)

    def _together(self, tasks: list[Task]) -> list[Task]:
        """With the trainings of a configuration as one task, but for those that were set apart."""
        found: list[Task] = []
        places: dict[str, int] = {}
        for task in tasks:
            (job,) = task.jobs
            if task.kind != "work" or is_trained(self.result(job), self.spec) or _key(job) in self._apart:
                found.append(task)
            elif job.candidate.name in places:
                place = places[job.candidate.name]
                found[place] = found[place]._replace(jobs=(*found[place].jobs, job))
            else:
                places[job.candidate.name] = len(found)
                found.append(task)
        return found

    def _rankings(self) -> Iterator[Task]:
        """Of each configuration whose seeds are to be compared: of two at least, those that did not fail."""
        for jobs in self._alike.values():
            measures = tuple(measure for measure in self.measures(jobs[0]) if "seeds" in measure.needs)
            compared = tuple(job for job in jobs if self._is_sound(job) or self._is_open(job))
            if len(compared) > 1 and any(self._lacks(job, measures, compared) for job in compared):
                yield Task("rank", compared, measures)

    def _is_open(self, job: Job) -> bool:
        """Whether its training is still to be done."""
        return not is_trained(self.result(job), self.spec) and Task("work", (job,), ()).key not in self._left_alone

    def _lacks(self, job: Job, measures: Sequence[Measure], compared: Sequence[Job]) -> bool:
        found = self.result(job) or Result("", 0)
        return bool(lacking(found, measures, self.spec, [other.repeat for other in compared]))


def _key(job: Job) -> tuple[str, int]:
    return job.candidate.name, job.repeat


def _own_measures(spec: StudySpec, candidate: Candidate) -> list[Measure]:
    """Those that the model of a configuration adds; none of one that cannot be built, which its training tells."""
    try:
        with torch.device("meta"):
            return list(build(spec, candidate.settings).measures())
    except (ValueError, imagesets.DataError):
        return []
