"""The faster parts of TPE give what Optuna's give."""

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator, _ParzenEstimatorParameters
from optuna.samplers._tpe.sampler import default_weights
from optuna.search_space import IntersectionSearchSpace
from optuna.trial import TrialState, create_trial

from study.record.parzen import Intersection, Parzen
from study.record.sampling import Tpe

SPACE = {
    "float": FloatDistribution(-2.0, 3.0),
    "log": FloatDistribution(1e-6, 10.0, log=True),
    "stepped": FloatDistribution(0.0, 1.0, step=0.25),
    "int": IntDistribution(1, 64),
    "log int": IntDistribution(8, 1024, log=True),
    "stepped int": IntDistribution(0, 30, step=5),
    "category": CategoricalDistribution(["a", "b", "c"]),
}
HOW = _ParzenEstimatorParameters(1.0, True, False, default_weights, True)


def points(random, count, space=SPACE):
    """Internal values, some of them at the ends."""
    drawn = {name: np.empty(count) for name in space}
    sampler = optuna.samplers.RandomSampler(seed=int(random.integers(2**31)))
    study = optuna.create_study(sampler=sampler)
    for i in range(count):
        for name, value in study.ask(space).params.items():
            drawn[name][i] = space[name].to_internal_repr(value)
    for name, distribution in space.items():
        if not isinstance(distribution, CategoricalDistribution) and count > 2:
            drawn[name][:2] = distribution.low, distribution.high
    return drawn


@pytest.mark.parametrize("kernels", [0, 1, 30, 200])
@pytest.mark.parametrize("names", [*([name] for name in SPACE), list(SPACE)], ids=lambda names: "+".join(names))
def test_a_density_is_optunas(names, kernels):
    random, space = np.random.default_rng(kernels), {name: SPACE[name] for name in names}
    seen, asked = points(random, kernels, space), points(random, 24, space)
    optunas = _ParzenEstimator(seen, space, HOW).log_pdf(asked)
    np.testing.assert_allclose(Parzen(seen, space, HOW).log_pdf(asked), optunas, rtol=1e-9, atol=1e-9)


def ended(random, state):
    space = {name: SPACE[name] for name in ("log", "log int", "category") if random.random() < 0.95}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=int(random.integers(2**31))))
    value = float(random.normal())
    given = {} if state == TrialState.PRUNED else {"value": value}
    params = study.ask(space).params
    return create_trial(state=state, params=params, distributions=space, intermediate_values={1: value}, **given)


def test_the_common_parameters_are_optunas():
    random, study = np.random.default_rng(0), optuna.create_study()
    ours, optunas = Intersection(), IntersectionSearchSpace(include_pruned=True)
    sizes = set()
    for i in range(60):
        state = TrialState.PRUNED if i % 3 else TrialState.COMPLETE
        if i % 5 == 0:
            study.ask(SPACE)  # runs from here on
        study.add_trial(ended(random, state))
        found = ours.calculate(study)
        assert list(found.items()) == list(optunas.calculate(study).items())
        sizes.add(len(found))
    assert len(sizes) > 1


@pytest.mark.parametrize("directions", [1, 2])
def test_a_search_with_many_at_once_draws_what_optunas_does(directions):
    def drawn(sampler):
        random = np.random.default_rng(0)
        study = optuna.create_study(directions=["maximize"] * directions, sampler=sampler)
        running = []
        for _ in range(60):
            running.append(study.ask(SPACE))
            if len(running) > 8:
                trial = running.pop(random.integers(len(running)))
                if directions == 1 and random.random() < 0.5:
                    trial.report(random.normal(), 1)
                    study.tell(trial, state=TrialState.PRUNED)
                else:
                    study.tell(trial, list(random.normal(size=directions)))
        return [trial.params for trial in study.get_trials()]

    assert drawn(Tpe(seed=1)) == drawn(optuna.samplers.TPESampler(seed=1))
