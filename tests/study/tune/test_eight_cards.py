"""Trials on eight cards that Ray believes in, four on each; no GPU is needed."""

import os
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ray import tune

from study import confirm
from study.record import packed
from study.record.confirmation import Result
from study.record.folder import Run
from study.record.packed import Packed
from study.record.storage import open_run
from study.signals import Stop
from study.spec import SpecError, StudySpec
from study.trial.cards import Look
from study.tune import cards, cluster, machines, runner, trainable
from study.tune.trainable import Trainable

GB = 10**9


# Without Ray.


@pytest.fixture
def looks(monkeypatch):
    """Lets machines answer so, by name."""

    def say(answers: dict[str, Look]) -> None:
        nodes = [
            {"NodeManagerHostname": name, "NodeManagerAddress": "10.0.0.2", "Resources": {"CPU": 4, "GPU": 1}}
            for name in answers
        ]
        monkeypatch.setattr(cards, "alive", lambda: nodes)
        task = lambda _, node, __: SimpleNamespace(remote=lambda *_: answers[node["NodeManagerHostname"]])  # noqa: E731
        monkeypatch.setattr(cards, "_task", task)
        monkeypatch.setattr(cards.ray, "wait", lambda given, **_: (given, []))
        monkeypatch.setattr(cards, "_got", lambda found, _: found)

    return say


def test_machines_without_a_card_for_trials_are_named_and_none_is_asked_where_trials_are_on_cpus(looks, raw):
    looks({"one": Look("", "H100", 80 * GB), "two": Look("trials are given a GPU, and torch finds none")})
    with pytest.raises(SpecError) as refused:
        cards.check(StudySpec(**raw(resources={"gpus": 0.5})), Stop())
    assert str(refused.value) == "tiny: two (10.0.0.2): trials are given a GPU, and torch finds none"
    assert cards.check(StudySpec(**raw()), Stop()) == []


def test_an_automatic_share_is_measured_on_the_smallest_card_once_a_run(looks, raw, tmp_path, monkeypatch, capsys):
    looks({"one": Look("", "H100", 80 * GB), "two": Look("", "L4", 24 * GB)})
    asked = []

    def task(function: Any, node: dict[str, Any], gpus: float) -> Any:
        if function is not cards._peak:
            return SimpleNamespace(
                remote=lambda *_: Look(
                    "", *{"one": ("H100", 80 * GB), "two": ("L4", 24 * GB)}[node["NodeManagerHostname"]]
                )
            )
        asked.append((node["NodeManagerHostname"], gpus))
        return SimpleNamespace(remote=lambda *_: 4 * GB)

    monkeypatch.setattr(cards, "_task", task)
    spec, run = StudySpec(**raw(resources={"gpus": "auto"})), Run(tmp_path / "tiny")
    run.create(spec)
    for _ in range(2):  # as by `run`, and by `resume`
        placed = cards.placed(open_run(run, spec, create=True), None, Stop())
        assert placed.resources.gpus == 0.25  # 4 GB and a quarter, and what CUDA takes, four times on 24 GB
        assert runner.placement(placed) == {"cpu": 1, "gpu": 0.25}
        assert runner.placement(placed, alone=True) == {"cpu": 1, "gpu": 1}
    assert asked == [("two", 1.0)]
    assert capsys.readouterr().out.count("auto is 0.25, 4 trials a card: the largest took 4 GB of 24 (L4)") == 2
    assert open_run(run).spec.resources.gpus == "auto"


def test_without_a_gpu_an_automatic_share_is_0_and_a_run_keeps_that(raw, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cards, "alive", lambda: [{"Resources": {"CPU": 2}}])
    spec, run = StudySpec(**raw(resources={"gpus": "auto"})), Run(tmp_path / "tiny")
    run.create(spec)
    opened = open_run(run, spec, create=True)
    assert cards.placed(opened, None, Stop()).resources.gpus == 0
    assert capsys.readouterr().out == "resources.gpus: auto is 0, for there is no GPU; trials are on CPUs\n"
    assert packed.kept(opened) == Packed(0.0)
    with pytest.raises(SpecError, match="precision: tf32 is of GPUs, and there is none"):
        cards.measured(spec.model_copy(update={"precision": "tf32"}), None, Stop())


# With it.


@pytest.fixture(scope="module")
def eight_cards(local_ray, ray_down):
    """A Ray that believes in eight cards and 32 CPUs."""
    with local_ray(num_gpus=8, num_cpus=32):
        yield


def told_of_its_card() -> type[tune.Trainable]:
    """A trainable that leaves word which card it was given, and is done when all have; it needs no torch."""

    class Told(tune.Trainable):  # in a function, so that it travels to the workers whole
        def setup(self, config: dict[str, Any]) -> None:
            self.folder, self.all = Path(config["folder"]), config["all"]
            (self.folder / str(config["number"])).write_text(os.environ["CUDA_VISIBLE_DEVICES"])

        def step(self) -> dict[str, Any]:
            time.sleep(0.5)
            return {"done": len(list(self.folder.iterdir())) == self.all}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            """Nothing."""

    return Told


@pytest.mark.long
def test_32_trials_of_a_quarter_card_are_at_work_at_once_four_on_each_of_eight(eight_cards, raw, tmp_path):
    folder = tmp_path / "seen"
    folder.mkdir()
    spec = StudySpec(**raw(resources={"gpus": 0.25}))
    tuner = tune.Tuner(
        tune.with_resources(told_of_its_card(), runner.placement(spec)),
        param_space={"number": tune.grid_search(list(range(32))), "folder": str(folder), "all": 32},
        run_config=tune.RunConfig(name="ray", storage_path=str(tmp_path), verbose=0),
    )
    found = tuner.fit()  # which ends only if all are placed together
    assert [result.error for result in found] == [None] * 32
    seen = Counter((folder / str(number)).read_text() for number in range(32))
    assert seen == dict.fromkeys(map(str, range(8)), 4)


def on_the_cpu(spent: Path | None = None) -> type[Trainable]:
    """A trainable that is placed on a card and trains on the CPU; beside others, it is out of memory at step 20.

    Args:
        spent: where it leaves word what it was given then.
    """

    class Placed(Trainable):  # in a function, so that it travels to the workers whole
        def setup(self, config: dict[str, Any]) -> None:
            import ray
            import torch

            import study.tune.trainable as at_work

            self.share = ray.get_runtime_context().get_assigned_resources()["GPU"]
            at_work.device = lambda _: torch.device("cpu")
            super().setup(config)

        def step(self) -> dict[str, Any]:
            import torch

            from study.trial.trial import failed

            steps = self.trial.training.step
            if spent is not None and steps == 20:
                with open(spent, "a") as file:
                    file.write(f"{self.share:g}\n")
                if self.share < 1:
                    return {**failed(torch.OutOfMemoryError("CUDA out of memory"), steps, self.spec), "done": True}
            return super().step()

    return Placed


@pytest.fixture
def found_cards(monkeypatch):
    """The cards are taken for sound."""
    monkeypatch.setattr(cluster.cards, "check", lambda *_: [])


@pytest.mark.long
def test_two_trainings_of_half_a_card_run_to_their_end_and_one_without_room_has_a_card_to_itself(
    eight_cards, command, preset, tmp_path, monkeypatch, found_cards
):
    spent = tmp_path / "spent"
    monkeypatch.setattr(runner, "Trainable", on_the_cpu(spent))
    path = preset(tmp_path, resources={"gpus": 0.5}, max_failed=0.0)
    code, out, err = command("run", path, "--root", tmp_path / "runs")
    assert (code, err) == (0, "")
    trials = open_run(Run(tmp_path / "runs" / "tiny")).study.get_trials()
    assert [trial.state.name for trial in trials] == ["COMPLETE", "COMPLETE"]
    # Alone, each repeats the report of step 20, and goes on from there.
    assert Counter(spent.read_text().split()) == {"0.5": 2, "1": 4}
    for number in (0, 1):
        said = f"trial {number}: oom: CUDA out of memory; it is tried again alone, when the others have ended\n"
        assert out.count(said) == 1
        assert f"trial {number}: goes on from step 20\n" in out


@pytest.mark.long
def test_more_of_a_card_than_the_cluster_has_is_refused_and_waited_for_where_that_is_asked(
    eight_cards, command, preset, tmp_path, monkeypatch
):
    path = preset(tmp_path, resources={"gpus": 9})
    code, _, err = command("run", path, "--root", tmp_path / "runs")
    assert (code, err) == (
        2,
        "tiny: resources.gpus: a trial asks for 9 GPUs, this cluster has 8; add --set resources.gpus=0 to run on CPUs; "
        "--wait waits for a machine that has it\n",
    )
    assert not (tmp_path / "runs").exists()
    monkeypatch.setattr(machines, "alive", lambda: [{"Alive": True, "Resources": {"CPU": 4}}])
    path = preset(tmp_path, resources={"gpus": 0.25})
    code, _, err = command("run", path, "--root", tmp_path / "runs")
    assert (code, "a trial asks for 0.25 GPUs, this cluster has none" in err) == (2, True)


@pytest.mark.long
def test_a_confirmation_tries_what_runs_out_of_memory_beside_others_once_more_alone(
    eight_cards, command, preset, tmp_path, monkeypatch, found_cards
):
    whole = confirm.do

    def beside_others_without_room(*given: Any) -> Any:
        import ray

        share = ray.get_runtime_context().get_assigned_resources()["GPU"]
        return whole(*given) if share == 1 else Result("oom: CUDA out of memory", 0, 20)

    monkeypatch.setattr(confirm, "do", beside_others_without_room)
    monkeypatch.setattr(trainable, "device", lambda _: torch.device("cpu"))
    how = {"samples": 4, "images": 20, "scores": []}
    path = preset(tmp_path, resources={"gpus": 0.5}, budget={"steps": 20}, confirm=how)
    code, out, err = command("seeds", path, "--seeds", "2", "--root", tmp_path / "runs")
    assert (code, err) == (0, "")
    again = "oom: CUDA out of memory; it is tried again alone, when the others have ended\n"
    assert [out.count(f"defaults, seed {seed} of 2: {again}") for seed in (1, 2)] == [1, 1]
    assert out.count("test elbo") == 2
