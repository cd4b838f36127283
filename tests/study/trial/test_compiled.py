"""Compiled training steps: the same noise and, but for rounding, the same numbers; evaluations are not compiled.

Torch's own backend takes half a minute for a loss. Where it is not what is tested, another stands for it, which runs
the operations that torch found in a loss as they are. That one needs a C++ compiler: where there is none its tests are
skipped, unless LATENTSWEEP_COMPILER=required.
"""

import os

import pytest
import torch
from torch._dynamo import config
from torch._dynamo.utils import counters
from torch.distributions import Bernoulli, kl_divergence
from trainings import identical, sizes, weights

from models.base import VAE
from study.machine import cpp_compiler
from study.trial.training import NonFiniteLossError, Training
from study.trial.trial import LOG, Trial

compiles = torch.compile


@pytest.fixture
def make(small, splits):
    """Makes a training of the little images with schedules that move; keywords are the preset's."""

    def make(model="vae", settings=None, **changes) -> Training:
        fixed = {"posterior": "gaussian", "prior": "standard"} if model == "vae" else {}
        budget = {"steps": 40, "batch": 16, "log_every": 1, "report_every": None}
        spec = small(model, budget=budget, fixed=fixed, **changes)
        given = {**sizes(model), "lr": 1e-3, "kl_warmup": 0.5, **(settings or {})}
        return Training(spec, given, splits, seed=1)

    return make


@pytest.fixture
def traced(monkeypatch):
    """Losses are traced by torch, and what it found is run as it is; which KL is whose, it has forgotten."""

    def traces(loss, dynamic, options):
        guarded = {"guard_filter_fn": options["guard_filter_fn"]}
        return compiles(loss, backend="eager", dynamic=dynamic, options=guarded)

    monkeypatch.setattr(torch, "compile", traces)
    monkeypatch.setattr(torch.distributions.kl, "_KL_MEMOIZE", {})
    counters.clear()


def losses(training: Training, steps: int) -> list[float]:
    return [value for entry in training.advance(steps) for value in entry.values.values()]


@pytest.mark.parametrize("changes", [{}, {"precision": "bf16", "deterministic": True}])
def test_a_loss_is_compiled_once_for_all_steps_of_a_warm_up(make, traced, changes):
    usual, compiled = make(**changes), make(compiled=True, **changes)
    found = losses(compiled, 1)
    with config.patch(error_on_recompile=True):
        found += losses(compiled, 5)
        kl_divergence(Bernoulli(0.5), Bernoulli(0.5))  # another pair, as an evaluation may meet one
        found += losses(compiled, 6)
    assert found == losses(usual, 12)
    assert counters["stats"]["unique_graphs"] == 1
    assert identical(usual.state_dict(), compiled.state_dict())
    assert usual.evaluate() == compiled.evaluate()
    assert compiled.notes == []


@pytest.mark.long
def test_two_optimisers_have_a_compiled_loss_each(make, traced):
    usual, compiled = (make("factor", compiled=asked) for asked in (False, True))
    assert losses(usual, 5) == losses(compiled, 5)
    assert counters["stats"]["unique_graphs"] == 2


@pytest.mark.long
def test_a_compiled_loss_that_is_exactly_0_leaves_the_weights_as_they_are(make, traced, halves):
    training = make(compiled=True)
    before = [parameter.clone() for parameter in training.parameters["decoder"]]
    training.advance(3)
    assert training.notes == []
    assert identical(before, [parameter.detach() for parameter in training.parameters["decoder"]])


def test_a_compiled_loss_that_is_not_finite_is_told_with_its_step(make, traced):
    said = []
    for compiled in (False, True):
        with pytest.raises(NonFiniteLossError) as told:
            make(settings={"lr": 1e30}, compiled=compiled).advance(10)
        said.append(str(told.value))
    assert said[0] == said[1]


@pytest.mark.long
def test_a_process_may_compile_more_trainings_than_torch_keeps_versions_of_a_function(make, traced):
    count = config.recompile_limit + 2
    for latent in range(2, 2 + count):
        make(settings={"latent": latent}, compiled=True).advance(1)
    assert counters["stats"]["unique_graphs"] == count


def test_an_evaluation_is_of_the_model_as_it_is_written(make, monkeypatch):
    kept = []
    monkeypatch.setattr(torch, "compile", lambda loss, **_: lambda *given: kept.append(loss) or loss(*given))
    training = make(compiled=True)
    training.evaluate()
    assert kept == []
    training.advance(3)
    assert len(kept) == 4  # the first one is tried before
    training.evaluate()
    assert len(kept) == 4


def test_what_cannot_be_compiled_trains_as_it_is_written_and_the_log_says_why(small, splits, monkeypatch, tmp_path):
    def refuses(*_):
        raise RuntimeError("no kernel for this\nat length")

    monkeypatch.setattr(torch, "compile", lambda loss, **_: compiles(loss, backend=refuses, dynamic=False))
    budget = {"steps": 4, "batch": 16, "log_every": 1, "report_every": 2}
    reports = []
    for compiled in (False, True):
        spec, folder = small(budget=budget, compiled=compiled), tmp_path / str(compiled)
        trial = Trial(spec, {**spec.defaults(), **sizes("vae")}, splits, seed=1, folder=folder)
        reports.append([trial.report()["train"], trial.report()["train"]])
        trial.close()
    assert reports[0] == reports[1]
    (line,) = (tmp_path / "True" / LOG).read_text().splitlines()
    assert line.endswith("the loss of 'elbo' is not compiled: RuntimeError: no kernel for this")


def test_a_mistake_in_a_loss_is_told_as_without_compiling(make, traced, monkeypatch):
    monkeypatch.setattr(VAE, "loss", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make(compiled=True).advance(1)


ROUNDING = {"rel": 2e-5, "abs": 2e-4}
"""Of losses of tens of nats in 30 steps: float32 rounds them by 4e-6, and the steps before differ by as much."""


@pytest.fixture(scope="module")
def compiler() -> None:
    """A C++ compiler is on this machine."""
    if cpp_compiler() is None and os.environ.get("LATENTSWEEP_COMPILER") != "required":
        pytest.skip("torch finds no C++ compiler; install g++")


@pytest.mark.long
@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize(
    ("model", "changes"),
    [("vae", {}), ("vsc", {}), ("hvae", {}), ("vae", {"precision": "bf16", "deterministic": True})],
)
def test_compiled_steps_are_the_others_but_for_rounding_and_go_on_from_a_checkpoint_to_the_bit(make, model, changes):
    usual, whole, first, second = (make(model, compiled=asked, **changes) for asked in (False, True, True, True))
    with config.patch(error_on_recompile=True):
        found = losses(whole, 30)
    assert whole.notes == []
    assert found == pytest.approx(losses(usual, 30), **(ROUNDING if not changes else {"rel": 0.02, "abs": 0.05}))
    first.advance(7)
    second.load_state_dict(first.state_dict())
    second.advance(23)
    assert identical(whole.state_dict(), second.state_dict())
    assert whole.evaluate() == second.evaluate()
    if not changes:
        torch.testing.assert_close(weights(whole), weights(usual), rtol=0, atol=1e-4)  # Adam's first steps: lr each
