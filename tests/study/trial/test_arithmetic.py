"""Training steps in the arithmetic that the preset names, and evaluation in float32 whatever it names."""

import pytest
import torch
from shapes import every_model, splits_for
from torch import nn
from trainings import identical, sizes

from models.base import VAE
from study.trial import arithmetic
from study.trial.training import Training


@pytest.fixture
def make(small, splits):
    """Makes a training of the little images; keywords are the preset's."""

    def make(model="vae", network="mlp", **changes) -> Training:
        fixed = {"posterior": "gaussian", "prior": "standard"} if model == "vae" else {}
        budget = {"steps": 20, "batch": 16, "log_every": 1, "report_every": None}
        spec = small(model, budget=budget, fixed=fixed, **changes)
        settings = {**sizes(model), "lr": 1e-3, "network": network}
        return Training(spec, settings, splits_for(model, splits), seed=1)

    return make


def losses(training: Training, steps: int = 3) -> list[float]:
    return [value for entry in training.advance(steps) for value in entry.values.values()]


@pytest.mark.parametrize("network", ["mlp", "conv"])
@every_model("model", "vae", "vsc", "vlae", "savae", "factor", "avb")
def test_bfloat16_changes_the_steps_by_as_much_as_it_rounds_and_nothing_that_is_kept(make, model, network):
    full, low = make(model, network), make(model, network, precision="bf16")
    assert full.evaluate() == low.evaluate()  # of the same weights the same number, to the bit
    exact, rounded = losses(full), losses(low)
    assert exact != rounded
    assert rounded == pytest.approx(exact, rel=0.02, abs=0.05)  # bfloat16 rounds by 1/256 of a number at most
    state = low.state_dict()
    held = [*low.model.parameters(), *low.model.buffers(), *state["model"].values()]
    moments = [
        moment for adam in state["optimisers"].values() for one in adam["state"].values() for moment in one.values()
    ]
    assert not {tensor.dtype for tensor in [*held, *moments]} & {torch.bfloat16, torch.float16}
    assert not any("forward" in vars(module) for module in low.model.modules())


def test_a_training_in_bfloat16_goes_on_from_a_checkpoint_to_the_bit(make):
    whole, first, second = (make("vsc", precision="bf16") for _ in range(3))
    whole.advance(20)
    first.advance(7)
    second.load_state_dict(first.state_dict())
    second.advance(13)
    assert identical(whole.state_dict(), second.state_dict())
    assert whole.evaluate() == second.evaluate()


class Seen(nn.Linear):
    """A layer that keeps in what arithmetic it was used."""

    def forward(self, x):
        found = super().forward(x)
        flags = torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision
        self.seen = found.dtype, *flags, torch.are_deterministic_algorithms_enabled()
        return found


@pytest.mark.parametrize(
    ("changes", "step"),
    [
        ({}, (torch.float32, "ieee", "ieee", False)),
        ({"precision": "tf32", "resources": {"gpus": 1}}, (torch.float32, "tf32", "tf32", False)),
        ({"precision": "bf16"}, (torch.bfloat16, "ieee", "ieee", False)),
        ({"deterministic": True}, (torch.float32, "ieee", "ieee", True)),
    ],
)
def test_a_step_has_the_arithmetic_that_is_named_and_an_evaluation_float32(make, monkeypatch, changes, step):
    monkeypatch.setattr(arithmetic, "obstacle", lambda *_: "")  # TF32 is set here, and does nothing on a CPU
    training = make(**changes)
    layer = next(module for module in training.model.modules() if type(module) is nn.Linear)
    layer.__class__ = Seen
    before = flags()
    training.advance(1)
    assert layer.seen == step
    assert flags() == before
    training.evaluate()
    assert layer.seen == (torch.float32, "ieee", "ieee", step[3])
    assert flags() == before


def flags() -> tuple:
    return (
        torch.backends.cuda.matmul.fp32_precision,
        torch.backends.cudnn.conv.fp32_precision,
        torch.are_deterministic_algorithms_enabled(),
    )


def test_an_error_in_a_step_leaves_the_process_as_it_was(make, monkeypatch):
    before, training = flags(), make(precision="bf16", deterministic=True)
    monkeypatch.setattr(VAE, "loss", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        training.advance(1)
    assert flags() == before
    assert not any("forward" in vars(module) for module in training.model.modules())


def test_deterministic_kernels_change_no_bit_on_a_cpu_and_cublas_is_told_before_cuda_starts(make, monkeypatch):
    monkeypatch.delenv(arithmetic.WORKSPACE, raising=False)
    usual = make()
    assert arithmetic.WORKSPACE not in arithmetic.os.environ
    sure = make(deterministic=True)
    assert arithmetic.os.environ[arithmetic.WORKSPACE] == ":4096:8"
    assert losses(usual, 20) == losses(sure, 20)
    assert identical(usual.state_dict(), sure.state_dict())


def test_what_is_set_for_cublas_already_stays(monkeypatch):
    monkeypatch.setenv(arithmetic.WORKSPACE, ":16:8")
    arithmetic.prepare(deterministic=True)
    assert arithmetic.os.environ[arithmetic.WORKSPACE] == ":16:8"


@pytest.mark.parametrize(
    ("precision", "device", "capability", "said"),
    [
        ("full", "cpu", None, ""),
        ("bf16", "cpu", None, ""),
        ("tf32", "cpu", None, "precision: tf32 is of GPUs, and this training is on the CPU; take full, or bf16"),
        ("full", "cuda", (7, 0), ""),
        ("tf32", "cuda", (8, 0), ""),
        ("bf16", "cuda", (9, 0), ""),
        (
            "bf16",
            "cuda",
            (7, 5),
            "precision: bf16 needs a GPU of compute capability 8.0 or newer; Tesla T4, of compute capability 7.5, has "
            "none; take full",
        ),
    ],
)
def test_where_a_precision_cannot_be_had_it_is_said(monkeypatch, precision, device, capability, said):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    assert arithmetic.obstacle(precision, torch.device(device)) == said


def test_a_training_on_a_device_without_its_precision_is_refused(make):
    with pytest.raises(ValueError, match=r"^precision: tf32 is of GPUs, and this training is on the CPU"):
        make(precision="tf32", resources={"gpus": 1})
