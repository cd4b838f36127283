"""A trial's model and data go where Ray put the trial, and a wish that cannot be met is refused or fails aloud."""

import errno
import re

import pytest
import ray
import torch
from shapes import splits_for

import models
from study.trial.training import Training
from study.trial.trial import cause
from study.tune import trainable


@pytest.fixture(scope="module")
def fake_gpu(local_ray, ray_down):
    """A Ray that believes in a GPU."""
    with local_ray(num_gpus=1):
        yield


@pytest.mark.long
def test_a_worker_has_no_more_of_a_card_than_ray_gave_it_and_one_without_is_on_the_cpu(fake_gpu):
    def taken(deterministic: bool) -> tuple[torch.device, list[float]]:
        shares = []
        torch.cuda.is_available = lambda: True
        torch.cuda.set_per_process_memory_fraction = lambda share, _: shares.append(share)
        return trainable.device(deterministic), shares

    asked = [{"num_gpus": 0.25}, {"num_gpus": 0.5}, {"num_gpus": 1}, {"num_gpus": 0}]
    found = ray.get([ray.remote(**resources, num_cpus=0)(taken).remote(False) for resources in asked])
    card, cpu = torch.device("cuda:0"), torch.device("cpu")
    assert found == [(card, [0.25]), (card, [0.5]), (card, []), (cpu, [])]


@pytest.mark.long
@pytest.mark.skipif(torch.cuda.is_available(), reason="torch finds a GPU")
def test_a_gpu_of_ray_s_that_torch_does_not_find_is_told_before_the_first_trial(
    fake_gpu, command, preset, tmp_path, listing
):
    for gpus in (0.5, "auto"):
        path = preset(tmp_path, resources={"gpus": gpus})
        before = listing()
        code, _, err = command("run", path, "--root", tmp_path / "runs")
        assert code == 2
        assert re.fullmatch(
            r"tiny: \S+ \(\S+\): trials are given a GPU, and torch \S+ (was built without CUDA, and|for CUDA) "
            r".*finds no GPU.*; add --set resources.gpus=0 to run on CPUs\n",
            err,
        ), err
        assert listing() == before


def test_more_than_the_cluster_has_is_refused_before_anything_is_written(
    fake_gpu, command, preset, tmp_path, monkeypatch, listing
):
    monkeypatch.chdir(tmp_path)
    path = preset(tmp_path, resources={"gpus": 2, "cpus": 99})
    before = listing()
    code, _, err = command("run", path)
    assert code == 2
    assert "tiny: resources.gpus: a trial asks for 2 GPUs, this cluster has 1; add --set resources.gpus=0" in err
    assert "tiny: resources.cpus: a trial asks for 99 CPUs, this cluster has 2" in err
    assert listing() == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_training_alone_without_the_gpu_it_asks_for_is_refused(command, preset, tmp_path, monkeypatch, listing):
    monkeypatch.chdir(tmp_path)
    path = preset(tmp_path, resources={"gpus": 1})
    before = listing()
    code, _, err = command("train", path)
    assert code == 2
    assert "tiny: resources.gpus: a trial asks for 1 GPU, this machine has none; add --set resources.gpus=0" in err
    assert listing() == before


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "logistic"])
@pytest.mark.parametrize("network", ["mlp", "conv"])
@pytest.mark.parametrize("model", models.names())
def test_everything_is_on_the_device_that_training_is_given(small, splits, model, network, likelihood):
    """The meta device computes shapes only, and refuses to mix with another one."""
    pins = {"posterior": "gaussian", "prior": "standard"} if model == "vae" else {}
    changes = {"likelihood": likelihood, "sigma": 0.3 if likelihood == "gaussian" else "learned", "fixed": pins}
    if model == "vlae" and likelihood == "logistic":
        with pytest.raises(ValueError, match="a Laplace posterior takes bernoulli pixels"):
            small(model, **changes)
        return
    spec = small(model, **changes)
    settings = {"latent": 4, "hidden": 12, "network": network, "lr": 1e-3, "lr_drop": 0.5, "grad_clip": 1.0}
    training = Training(spec, settings, splits_for(model, splits), seed=0, device="meta")
    x = training.images_of(0)
    held = [*training.model.parameters(), *training.model.buffers(), *training.valid_images]
    assert {tensor.device.type for tensor in [*held, x]} == {"meta"}
    for update in training.model.updates():
        value = update.loss(x, 0)
        assert value.device.type == "meta"
        training._apply(update.optimiser, value)
    look = training.model.look(x)
    assert look.elbo.log_lik.device.type == look.codes.device.type == "meta"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 4 bytes."),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_what_says_that_the_memory_is_spent_is_oom(error):
    assert cause(error).startswith("oom: ")


def test_a_cause_does_nothing_to_the_terminal_that_shows_it():
    assert cause(RuntimeError("no \x1b[31mroom\x1b[0m\a at [/data/x]\nmore")) == (
        r"crash: RuntimeError: no \x1b[31mroom\x1b[0m\x07 at [/data/x]"
    )
