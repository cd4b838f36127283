"""How a study draws its configurations: Optuna's samplers, seeded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator
from optuna.samplers._tpe.sampler import _split_trials
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from study.record import samplers
from study.record.parzen import Intersection, Parzen
from study.record.pauses import as_stopped, paused_at

if TYPE_CHECKING:
    from study.spec import StudySpec


def sampler(spec: StudySpec, stored: int, earlier: Sequence[FrozenTrial] = ()) -> optuna.samplers.BaseSampler:
    """The study's sampler.

    Args:
        spec: of the study.
        stored: trials in the storage already. They enter the seed: with the study's alone, a second process would
            draw the first one's points again.
        earlier: trials of another study, which tpe learns of first.
    """
    seed = int(np.random.SeedSequence([spec.seed, stored]).generate_state(1)[0])
    if spec.sampler == "random":
        return optuna.samplers.RandomSampler(seed)
    if spec.sampler == "nsga2":
        return optuna.samplers.NSGAIISampler(seed=seed)
    if spec.sampler == "grid":
        own = spec.seed % 2**32  # numpy's old generators take no more
        return Grid(grid(spec.distributions(), spec.trials), seed=own)
    if spec.sampler == "gp":
        return samplers.gp(seed, spec.random_first)
    if spec.sampler == "cmaes":
        return samplers.cmaes(seed, spec.random_first)
    return Tpe(earlier, spec.pauses, seed=seed, n_startup_trials=spec.random_first)


class Tpe(optuna.samplers.TPESampler):
    """Optuna's, which of a long history takes HISTORY ended trials, and the last RUNNING that run.

    The best are among them, and of the others as many as fit, evenly over the study; they are chosen anew whenever the
    ended trials have become 2 % more. A suggestion then takes no longer, however many there are. Of a shorter history
    it draws what Optuna's does, in a fraction of the time. A trial that pauses is to it as one that was stopped.
    """

    HISTORY, RUNNING = 500, 200

    def __init__(self, earlier: Sequence[FrozenTrial] = (), pauses: bool = False, **given: Any):
        super().__init__(**given)
        self._parzen_estimator_cls, self._search_space = Parzen, Intersection()
        self._earlier = earlier  # of another study, numbered below 0
        self._pauses = pauses  # whether trials of the study do
        self._ended: list[FrozenTrial] = []  # of the study's trials so far
        self._known, self._unended = 0, list[int]()  # how many those are, and the numbers of the others among them
        self._chosen: list[FrozenTrial] = []
        self._chosen_of = 0  # so many ended trials
        self._internal: dict[tuple[str, ...], dict[int, list[float]]] = {}  # what ended trials drew, by parameters
        self._seen: tuple[int, Study] | None = None  # the trial that is drawn, and what is seen for it

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return super().infer_relative_search_space(self._excerpt(study, trial.number), trial)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> Any:
        return super().sample_relative(self._excerpt(study, trial.number), trial, search_space)

    def sample_independent(self, study: Study, trial: FrozenTrial, *of: Any) -> Any:
        return super().sample_independent(self._excerpt(study, trial.number), trial, *of)

    def _compute_acquisition_func(self, samples: dict[str, Any], below: Any, above: Any) -> Any:
        found = super()._compute_acquisition_func(samples, below, above)
        (tied,) = np.nonzero(found > found.max() - 1e-9)
        if len(tied) > 1:  # as discrete points do: the rounding decides, and so Optuna's must
            points = {name: values[tied] for name, values in samples.items()}
            found[tied] = _ParzenEstimator.log_pdf(below, points) - _ParzenEstimator.log_pdf(above, points)
        return found

    def _get_internal_repr(
        self, trials: list[FrozenTrial], search_space: dict[str, BaseDistribution], study: Study
    ) -> dict[str, Any]:
        known, rows = self._internal.setdefault(tuple(search_space), {}), []
        for trial in trials:
            row = known.get(trial.number)
            if row is None and search_space.keys() <= (params := self._get_params(trial, study)).keys():
                row = [space.to_internal_repr(params[name]) for name, space in search_space.items()]
                if trial.state.is_finished():
                    known[trial.number] = row
            if row is not None:
                rows.append(row)
        return dict(zip(search_space, np.array(rows).reshape(-1, len(search_space)).T))

    def _excerpt(self, study: Study, number: int) -> Study:
        """The study as far as the sampler sees it for one trial."""
        if self._seen is None or self._seen[0] != number:
            self._seen = number, self._made(study)
        return self._seen[1]

    def _made(self, study: Study) -> Study:
        trials = study.get_trials(deepcopy=False)
        unended = [trials[number] for number in (*self._unended, *range(self._known, len(trials)))]
        self._known, self._unended = len(trials), [t.number for t in unended if not t.state.is_finished()]
        self._ended += [trial for trial in unended if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
        running = [trial for trial in unended if trial.state == TrialState.RUNNING]
        ended = [*self._earlier, *self._ended]
        if self._pauses:
            ended += [as_stopped(trial) for trial in running if paused_at(trial) is not None]
            running = [trial for trial in running if paused_at(trial) is None]
        chosen = ended
        if len(ended) > self.HISTORY:
            if len(ended) > 1.02 * self._chosen_of:
                self._chosen, self._chosen_of = self._choose(study, ended), len(ended)
            chosen = self._chosen
        last = running[-self.RUNNING :]  # one of them may have been chosen while it paused
        seen = [trial for _, trial in sorted({trial.number: trial for trial in [*chosen, *last]}.items())]

        return samplers.excerpt(
            study, lambda states: [trial for trial in seen if states is None or trial.state in states]
        )

    def _choose(self, study: Study, ended: list[FrozenTrial]) -> list[FrozenTrial]:
        best, others = _split_trials(study, ended, math.ceil(0.1 * self.HISTORY))
        even = np.linspace(0, len(others) - 1, self.HISTORY - len(best)).astype(int)
        return [*best, *(others[i] for i in even)]


class Grid(optuna.samplers.GridSampler):
    """Optuna's, for a search that asks and tells: the number of trials ends it, not the last point of the grid."""

    def after_trial(self, *args: Any) -> None:
        """Nothing: Optuna's stops the loop of `Study.optimize`, and raises where there is none."""


def grid(distributions: Mapping[str, BaseDistribution], trials: int) -> dict[str, list[Any]]:
    """A grid: all categories, and for every number equally many values across its range, at least two.

    As many values as `trials` points allow; a grid of more points than trials is visited in part, in random order.
    """
    categories = {k: d for k, d in distributions.items() if isinstance(d, CategoricalDistribution)}
    numbers = {k: d for k, d in distributions.items() if isinstance(d, FloatDistribution | IntDistribution)}
    combinations = int(np.prod([len(d.choices) for d in categories.values()], dtype=int))
    values = 2
    while (values + 1) ** len(numbers) * combinations <= trials and numbers:
        values += 1
    return {k: list(d.choices) for k, d in categories.items()} | {k: _spread(d, values) for k, d in numbers.items()}


def _spread(distribution: FloatDistribution | IntDistribution, values: int) -> list[Any]:
    low, high, step = distribution.low, distribution.high, distribution.step
    points = [float(p) for p in (np.geomspace if distribution.log else np.linspace)(low, high, values)]
    if step is not None:
        points = [low + round((p - low) / step) * step for p in points]
    return sorted({min(max(p, low), high) for p in points})
