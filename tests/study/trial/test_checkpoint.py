"""Checkpoints: whole or not at all, damage found and stepped back from, and a full disk that costs nothing."""

import errno
import io
import os
import re
import zipfile
from pathlib import Path

import pytest
import torch
from optuna.trial import TrialState

import imagesets
from study import solo
from study.record.folder import Run
from study.record.storage import open_run
from study.record.trials import reports, store_report
from study.spec import StudySpec
from study.trial import checkpoint
from study.trial.checkpoint import BEST, LAST, PREVIOUS, CheckpointError
from study.trial.seeds import derived_seed
from study.trial.trial import LOG, Trial

LR = 3e-3


@pytest.fixture
def spec(raw) -> StudySpec:
    return StudySpec(**raw(budget={"steps": 50, "report_every": 10}))


@pytest.fixture
def begin(spec, tmp_path):
    """Starts a trial, or goes on with the one that is in the folder."""
    begun = []

    def start(folder: str = "trial", seed: int = 1, **settings) -> Trial:
        given = {**spec.fixed, "lr": LR, **settings}
        begun.append(Trial(spec, given, imagesets.load("mnist5k"), seed=seed, folder=tmp_path / folder))
        return begun[-1]

    yield start
    for trial in begun:
        trial.close()


@pytest.fixture
def straight(begin) -> list[dict]:
    """The reports that an undisturbed training makes."""
    trial, made = begin("straight"), []
    while not trial.done:
        made.append(trial.report())
    return made


def rest(trial: Trial) -> list[dict]:
    made = []
    while not trial.done:
        made.append(trial.report())
    return made


def timeless(made: list[dict]) -> list[dict]:
    return [{**report, "seconds": 0.0, "cpu_seconds": 0.0, "reported": 0.0, "peak_memory": 0} for report in made]


def steps(folder: Path) -> dict[str, int]:
    return {path.name: checkpoint.load(path)["training"]["step"] for path in sorted(folder.glob("*.pt"))}


def log(folder: Path) -> str:
    return (folder / LOG).read_text() if (folder / LOG).is_file() else ""


# What is kept.


def test_the_last_two_and_the_best_are_kept(begin, tmp_path, monkeypatch):
    trial = begin()
    elbos = iter([-9.0, -5.0, -7.0, -6.0, -8.0])
    evaluate = trial.training.evaluate
    monkeypatch.setattr(trial.training, "evaluate", lambda: {**evaluate(), "elbo": next(elbos)})
    seen = []
    while not trial.done:
        trial.report()
        seen.append(steps(tmp_path / "trial"))
    assert seen == [
        {LAST: 10, BEST: 10},
        {LAST: 20, PREVIOUS: 10, BEST: 20},
        {LAST: 30, PREVIOUS: 20, BEST: 20},
        {LAST: 40, PREVIOUS: 30, BEST: 20},
        {LAST: 50, PREVIOUS: 40, BEST: 20},
    ]
    best = checkpoint.load(tmp_path / "trial" / BEST)
    assert (best["report"]["elbo"], best["best"]) == (-5.0, -5.0)
    assert [path.name for path in (tmp_path / "trial").glob(".*")] == []


# Damage.


def regions(content: bytes) -> dict[str, int]:
    """A byte of each kind of record: the first header, a tensor's middle, the directory, the end."""
    directory = content.rindex(b"PK\x01\x02")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        largest = max(archive.infolist(), key=lambda info: info.file_size)
        pickled = next(info for info in archive.infolist() if info.filename.endswith("data.pkl"))
    return {
        "start": 0,
        "first name": 30,
        "pickle": pickled.header_offset + 30 + len(pickled.filename) + 200,
        "tensor": largest.header_offset + 30 + len(largest.filename) + 200 + largest.file_size // 2,
        "directory": directory + 20,
        "end": len(content) - 22,
    }


def damages(content: bytes) -> dict[str, bytes]:
    flipped = {
        name: content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :] for name, at in regions(content).items()
    }
    half = len(content) // 2
    cut = {"half": content[:half], "a byte short": content[:-1], "empty": b"", "text": b"not a checkpoint"}
    return {**flipped, **cut, "zeros": content[:half] + bytes(4096) + content[half + 4096 :]}


DAMAGES = (
    "start",
    "first name",
    "pickle",
    "tensor",
    "directory",
    "end",
    "half",
    "a byte short",
    "empty",
    "text",
    "zeros",
)
every_damage = pytest.mark.parametrize("damage", DAMAGES)


@every_damage
def test_a_damaged_last_checkpoint_gives_way_to_the_one_before(begin, straight, tmp_path, damage):
    folder = tmp_path / "trial"
    first = begin()
    made = [first.report() for _ in range(3)]
    (folder / LAST).write_bytes(damages((folder / LAST).read_bytes())[damage])

    second = begin()
    assert second.training.step == 20
    said = second.take_notes()
    assert len(said) == 2
    assert said[0].startswith(f"{folder / LAST} is damaged (")
    assert said[0].endswith(f"); it is put aside as {LAST}.damaged")
    assert said[1] == "goes on from step 20"
    assert second.take_notes() == []  # told once
    lines = log(folder).splitlines()
    assert [re.sub(r"^[0-9-]+ [0-9:]+ ", "", line) for line in lines] == said
    assert timeless(made[:1] + rest(second)) == timeless(straight)
    assert steps(folder) == {LAST: 50, PREVIOUS: 40, BEST: max(straight, key=lambda r: r["elbo"])["steps"]}


@every_damage
def test_two_damaged_ones_and_the_trial_starts_from_the_beginning(begin, straight, tmp_path, damage):
    folder = tmp_path / "trial"
    first = begin()
    for _ in range(3):
        first.report()
    for name in (LAST, PREVIOUS):
        (folder / name).write_bytes(damages((folder / name).read_bytes())[damage])
    second = begin()
    assert second.training.step == 0
    assert [line.split(" is damaged (")[0] for line in second.take_notes()] == [
        str(folder / LAST),
        str(folder / PREVIOUS),
    ]
    assert timeless(rest(second)) == timeless(straight)


def test_every_byte_of_a_tensor_is_under_a_checksum(tmp_path):
    path = tmp_path / LAST
    checkpoint.save(path, {"a": torch.arange(64.0)})
    content = path.read_bytes()
    data = torch.arange(64.0).numpy().tobytes()
    at = content.index(data)
    for offset in range(0, len(data), 5):
        path.write_bytes(
            content[: at + offset] + bytes([content[at + offset] ^ 1]) + content[at + offset + 1 :],
        )
        with pytest.raises(CheckpointError, match="is damaged"):
            checkpoint.load(path)
    path.write_bytes(content)
    assert torch.equal(checkpoint.load(path)["a"], torch.arange(64.0))


def test_a_folder_that_is_gone_is_a_trial_from_the_beginning(begin, straight):
    trial = begin("new")
    assert trial.training.step == 0
    assert trial.take_notes() == []
    assert timeless(rest(trial)) == timeless(straight)


def test_a_death_between_the_two_renames_leaves_the_one_before(begin, straight, tmp_path, monkeypatch):
    folder = tmp_path / "trial"
    first = begin()
    made = [first.report(), first.report()]

    class Killed(BaseException):
        """Not an Exception: nothing on the way may deal with it."""

    replace = os.replace

    def killed(source, target):
        replace(source, target)
        if Path(target).name == PREVIOUS:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(Killed):
            first.report()
    assert steps(folder) == {PREVIOUS: 20, BEST: steps(folder)[BEST]}
    second = begin()
    assert second.training.step == 20
    assert second.take_notes() == ["goes on from step 20"]
    assert timeless(made[:1] + rest(second)) == timeless(straight)


@pytest.mark.parametrize(("seed", "settings"), [(2, {}), (1, {"lr": 2 * LR}), (1, {"hidden": 8})])
def test_the_checkpoint_of_another_trial_is_left_out(begin, tmp_path, seed, settings):
    first = begin()
    first.report()
    other = begin(seed=seed, **settings)
    assert other.training.step == 0
    line = f"{tmp_path / 'trial'} holds the checkpoint of another trial; it is left out"
    assert other.take_notes() == [line]
    expected = begin("elsewhere", seed=seed, **settings)
    assert timeless(rest(other)) == timeless(rest(expected))


def test_a_checkpoint_that_is_not_there_is_none(tmp_path):
    assert checkpoint.load(tmp_path / LAST) is None


# A full disk.

full_disk = pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])


@pytest.mark.parametrize("failing", ["fsync", "open"])
def test_where_there_is_no_room_the_old_files_stay(tmp_path, monkeypatch, failing):
    for value in (1, 2):
        checkpoint.save_last(tmp_path, {"value": value})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        if failing == "fsync":
            patch.setattr(os, "fsync", full)
        else:
            patch.setattr(checkpoint, "open", full, raising=False)
        with pytest.raises(OSError, match="No space left on device") as caught:
            checkpoint.save_last(tmp_path, {"value": 3})
        assert caught.value.errno == errno.ENOSPC
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    checkpoint.save_last(tmp_path, {"value": 3})
    assert (checkpoint.load(tmp_path / LAST), checkpoint.load(tmp_path / PREVIOUS)) == ({"value": 3}, {"value": 2})


def test_a_device_that_is_full_is_an_os_error():
    with pytest.raises(OSError, match="No space left on device"):
        checkpoint._write(Path("/dev/full"), memoryview(bytes(4000)))


@full_disk
def test_a_full_disk_halts_a_training_and_resume_finishes_it(command, preset, tmp_path, monkeypatch, code):
    path = preset(tmp_path, budget={"steps": 40})
    assert command("train", path, "--root", tmp_path / "whole")[0] == 0
    whole = Run(tmp_path / "whole" / "tiny")
    run = Run(tmp_path / "runs" / "tiny")

    save_last, saved = checkpoint.save_last, []

    def full(folder, state, is_best):
        if len(saved) == 2:
            raise OSError(code, os.strerror(code), str(folder / LAST))
        saved.append(save_last(folder, state, is_best))

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_last", full)
        ended, out, err = command("train", path, "--root", tmp_path / "runs")
    assert ended == 1
    assert err.startswith(f"disk: [Errno {code}] {os.strerror(code)}: ")
    assert err.endswith(f"\ngo on with: python -m study resume {run.path}\n")
    assert "Traceback" not in out + err
    (stored,) = open_run(run).study.get_trials()
    assert (stored.state, list(reports(stored))) == (TrialState.RUNNING, [10, 20])
    assert "cause" not in stored.user_attrs

    ended, out, err = command("resume", run.path)
    assert (ended, err) == (0, "")
    (stored,) = open_run(run).study.get_trials()
    (expected,) = open_run(whole).study.get_trials()
    assert stored.state == TrialState.COMPLETE
    made, wanted = reports(stored), reports(expected)
    assert timeless(list(made.values())) == timeless(list(wanted.values()))
    assert list(made) == [10, 20, 30, 40]


@pytest.mark.parametrize(("name", "goes_on_from"), [(LAST, 20), (PREVIOUS, 30), (BEST, 30)])
def test_a_run_goes_on_from_what_is_left_and_the_storage_stays_as_it_is(raw, tmp_path, name, goes_on_from):
    """The storage may be ahead of the checkpoint that is left."""
    spec = StudySpec(**raw(trials=1, budget={"steps": 50}))
    whole, run = Run(tmp_path / "whole"), Run(tmp_path / "tiny")
    solo.train(spec, whole)
    (expected,) = open_run(whole, spec).study.get_trials()
    run.create(spec)
    study = open_run(run, spec, create=True).study
    study.enqueue_trial(expected.params)
    drawn = study.ask()
    settings, seed = spec.draw(drawn), derived_seed(spec.seed, 0)
    trial = Trial(spec, settings, imagesets.load("mnist5k"), seed=seed, folder=run.trial(0))
    for _ in range(3):
        store_report(study, drawn._trial_id, trial.report())
    trial.close()
    before = list(reports(study.get_trials()[0]).values())
    (run.trial(0) / name).write_bytes((run.trial(0) / name).read_bytes()[:-100])

    solo.resume(run)
    (stored,) = open_run(run).study.get_trials()
    after = list(reports(stored).values())
    assert timeless(after) == timeless(list(reports(expected).values()))
    assert timeless(after[:3]) == timeless(before)
    assert (f"{LAST} is damaged" in log(run.trial(0))) == (name == LAST)
    assert f"goes on from step {goes_on_from}" in log(run.trial(0))
    assert (stored.state, stored.value) == (TrialState.COMPLETE, expected.value)


def test_settings_of_a_part_that_came_since_do_not_make_it_another_trial():
    kept = {"lr": 1e-3, "latent": 4}
    assert checkpoint.same(kept, {**kept, "degrees": 5.0})
    assert checkpoint.same({**kept, "degrees": 5.0}, kept)
    assert not checkpoint.same(kept, {**kept, "lr": 2e-3})


class Evil:
    def __reduce__(self):
        return os.system, ("touch evil",)


def test_code_in_a_checkpoint_is_not_run_and_is_a_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"training": Evil()}, tmp_path / "best.pt")
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(tmp_path / "best.pt")
    path = tmp_path / "best.pt"
    assert str(caught.value) == f"{path} is damaged (it holds more than tensors and numbers; none of it was run)"
    assert not (tmp_path / "evil").exists()
