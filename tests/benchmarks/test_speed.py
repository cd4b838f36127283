"""The benchmark of speed compares like with like and prints every row; no time is asserted."""

import io
import math
import sys
import time

import numpy as np
import pytest
import torch

import models
from benchmarks import bare, measured, processes, speed
from benchmarks.flops import count
from benchmarks.measured import Row, Sides, in_turns
from benchmarks.serving import Pace, serve
from benchmarks.steps import pinned, specification

NAMES = {"likelihood_part.log_var": "log_noise", "likelihood_part.mean_image": "mean_image"}


def renamed(key: str) -> str:
    """What a parameter of ours is called in the straightforward model."""
    return NAMES.get(key, key.removeprefix("posterior_part.").removeprefix("amortised."))


@pytest.mark.parametrize("name", bare.MODELS)
def test_a_training_of_ours_has_the_same_settings(name):
    config = specification(name, None).defaults()
    assert {key: config[key] for key in pinned(name)} == pinned(name)


@pytest.mark.parametrize("name", bare.MODELS)
def test_the_straightforward_loss_is_ours(name):
    torch.manual_seed(0)
    ours, theirs = models.build(name, (1, 28, 28), **pinned(name)), bare.MODELS[name]()
    images = torch.rand(40, 1, 28, 28)
    ours.fit_statistics(images)
    theirs.see(images)
    theirs.load_state_dict({renamed(key): value for key, value in ours.state_dict().items()})
    ours.double()
    theirs.double()
    x, losses = images[:8].double(), []
    for loss in (lambda: ours.loss(x, 0), lambda: theirs.loss(x)):
        torch.manual_seed(1)
        losses.append(loss())
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-6)
    gradients = [torch.autograd.grad(loss, model.encoder[1].weight) for loss, model in zip(losses, (ours, theirs))]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-8)


def test_a_data_set_that_transforms_each_image_hands_out_the_same_images():
    images = torch.randint(0, 256, (130, 28, 28), dtype=torch.uint8)
    data = bare.PerImage(images.numpy(), lambda picture: torch.from_numpy(np.array(picture))[None] / 255)
    batch = next(bare.loaded(data))
    assert batch.shape == (bare.BATCH, 1, 28, 28)
    there = {tuple(image.flatten().tolist()) for image in images.float() / 255}
    assert all(tuple(image.flatten().tolist()) in there for image in batch)


def test_a_process_makes_as_many_steps_as_it_is_told():
    made, told = [], io.StringIO()
    serve(made.append, io.StringIO("3\n10\n"), told)
    assert made == [3, 10]
    ready, *seconds = told.getvalue().split()
    assert ready == "ready"
    assert len([float(each) for each in seconds]) == 2


class Paced:
    """Stands for trainings that are always as fast."""

    def __init__(self, name: str, pace: Pace, log: list[str]):
        self.name, self.pace, self.log = name, pace, log

    def go(self, steps: int) -> Pace:
        self.log.append(f"{self.name}{steps}")
        return self.pace


def test_two_sides_take_turns_after_a_few_steps_that_do_not_count():
    log: list[str] = []
    ours, theirs = Paced("a", Pace(40.0, 44.0), log), Paced("b", Pace(20.0, 11.0), log)
    found = Sides(in_turns(ours, theirs, 10, 3))
    assert log == ["a2", "b2", "a10", "b10", "b10", "a10", "a10", "b10"]
    assert found.ratios() == Pace(2.0, 4.0)


@pytest.mark.parametrize(
    ("asked", "limit", "by", "held"),
    [
        ("at least", 2.0, "clock", "yes"),
        ("at least", 2.5, "clock", "no"),
        ("at least", 2.5, "cpu", "yes"),
        ("at most", 3.0, "both", "no"),
        ("at most", 4.0, "both", "yes"),
    ],
)
def test_a_row_says_whether_what_is_asked_of_its_ratio_holds(asked, limit, by, held):
    row = Row("pair", "steps/s", "a loop", asked, limit, by, lambda _: "")
    cells = row.cells(Sides([(Pace(40.0, 44.0), Pace(20.0, 11.0))]))
    assert cells[2:6] == ["40 (44)", "a loop", "20 (11)", "2 (4)"]
    assert cells[-1] == held
    assert len(cells) == len(measured.HEADS)


def test_a_figure_without_another_is_held_against_the_limit_itself():
    row = Row("wait", "s", "", "at most", 90.0, "clock", lambda _: "")
    assert row.cells(Sides([(Pace(20.0, math.nan), None)]))[2:] == ["20", "", "", "", "at most 90", "yes"]


def test_every_row_is_printed_one_that_cannot_be_measured_with_its_reason(monkeypatch, capsys):
    sides = Sides([(Pace(40.0, 44.0), Pace(20.0, 22.0))], note="a remark")
    found = dict.fromkeys(speed.ROWS, sides) | {"pair-pythae": "not measured: nowhere"}
    rows = {name: row._replace(measure=lambda _, name=name: found[name]) for name, row in speed.ROWS.items()}
    monkeypatch.setattr(speed, "ROWS", rows)
    assert speed.main(["--quick"]) == 1  # not all of these ratios are what is asked
    printed = capsys.readouterr().out
    assert [line.split(" | ")[0] for line in printed.splitlines() if line.startswith("| ")][2:] == [
        f"| {n}" for n in rows
    ]
    assert "not measured: nowhere" in printed
    assert "memory: a remark" in printed
    assert speed.main(["--only", "bare-vae", "pair-pythae"]) == 0


@pytest.mark.long
def test_a_row_on_steps_trains_both_sides(capsys):
    assert speed.main(["--only", "papers-vae", "--quick"]) in (0, 1)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| papers-vae")]
    assert all(float(figure.strip("()")) > 0 for cell in line.split(" | ")[2:6:2] for figure in cell.split())


def test_a_step_of_vlae_takes_more_operations_than_one_of_vae():
    forward = 2 * bare.BATCH * (2 * 784 * 500 + 2 * 500**2 + 3 * 500 * 50)
    of_vae, of_vlae = (count(model).step for model in ("vae", "vlae"))
    assert 2.5 * forward < of_vae < 3.5 * forward
    assert of_vlae > 10 * of_vae


def test_what_a_command_and_its_children_take_is_counted(tmp_path):
    busy = "import time\nwhile time.process_time() < 0.6: pass"
    starts = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}])"
    with processes.Watched([sys.executable, "-c", starts], tmp_path / "log") as watched:
        watched.wait()
        time.sleep(2 * processes.EVERY)
    alone, of_all = watched.cpu(watched.began, time.time())
    assert alone < 0.6 / 2 < of_all


def test_memory_is_that_of_a_process_and_its_children():
    assert 10 < processes.memory([processes.os.getpid()]) < 10_000


@pytest.mark.long
def test_all_rows_are_measured(capsys):
    compiling = [name for name in speed.ROWS if name.startswith("compiled-")]
    rows = [name for name in speed.ROWS if name not in compiling[1:]]  # half a minute each
    speed.main(["--quick", "--only", *rows])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][2:]
    assert [line.split(" | ")[0] for line in lines] == [f"| {name}" for name in rows]
    assert [line for line in lines if "not measured" in line] == [line for line in lines if "pair-pythae" in line]
