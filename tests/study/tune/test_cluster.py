"""Ray is started or joined so that its workers find the project's packages, and no others under their names."""

import fnmatch
import logging
import os
from pathlib import Path

import optuna
import pytest
from ray import cloudpickle

import analysis
import study
from study.record.folder import OpenRun, Run
from study.signals import Stop
from study.spec import StudySpec
from study.spec.problems import MachineError
from study.tune import cluster, runner
from study.tune.searcher import HandOut
from study.tune.trainable import Trainable

pytestmark = pytest.mark.alone

PROJECT = Path(study.__file__).parents[1]


@pytest.fixture
def elsewhere(tmp_path, monkeypatch) -> None:
    """A current folder with packages of somebody's that are called like ours."""
    for name in cluster.PACKAGES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('not ours')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)


def found(spec: StudySpec, address: str | None) -> dict[str, Path]:
    """Where the packages lie for a worker, and its current folder."""

    def look(names: tuple[str, ...]) -> dict[str, Path]:
        import importlib

        for name in ("study.tune.trainable", "study.confirm"):  # whose work is done there
            importlib.import_module(name)
        return {name: Path(importlib.import_module(name).__file__) for name in names} | {"": Path.cwd()}

    with cluster.ray_started(spec, Path("tiny"), address, False, Stop()):
        assert "PYTHONPATH" not in os.environ
        return cluster.ray.get(cluster.ray.remote(look).remote(cluster.PACKAGES))


def test_workers_here_find_what_the_driver_finds(ray_down, ray_folder, elsewhere, raw):
    with ray_folder():
        files = found(StudySpec(**raw()), None)
    assert files == {name: PROJECT / name / "__init__.py" for name in cluster.PACKAGES} | {"": Path.cwd()}


@pytest.mark.parametrize(
    ("said", "given"), [("max 100000\n", 8), ("200000 100000\n", 2), ("50000 100000\n", 1), ("1600000 100000\n", 8)]
)
def test_a_container_has_as_many_cpus_as_it_has_the_time_of(tmp_path, monkeypatch, said, given):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    (tmp_path / "cpu.max").write_text(said)
    assert cluster.cpus(tmp_path / "cpu.max") == given
    assert cluster.cpus(tmp_path / "nothing") == 8


def test_ray_warns_of_nothing_while_a_cluster_is_joined(ray_down, caplog, monkeypatch, raw):
    """That its token is asked for, among others."""
    caplog.set_level(logging.INFO, "ray")
    heard = []

    def join(*_, **__):
        heard.append(logging.getLogger("ray._private.authentication").isEnabledFor(logging.WARNING))
        raise MachineError("it cannot be joined")

    monkeypatch.setattr(cluster, "join", join)
    with pytest.raises(MachineError), cluster.ray_started(StudySpec(**raw()), Path("tiny"), "head:6379", False, Stop()):
        raise AssertionError("it was joined")
    assert heard == [False]


def test_what_travels_to_a_cluster_is_small(tmp_path):
    sent = cluster.packages_alone(str(tmp_path))
    folders = [Path(folder) for folder in sent["py_modules"]]
    assert (sent["working_dir"], folders) == (str(tmp_path), [PROJECT / name for name in cluster.PACKAGES])
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    parts = {path: path.relative_to(PROJECT).parts for path in files}
    of = {p: {path for path in files if fnmatch.filter(parts[path], p)} for p in sent["excludes"]}
    assert all(of[pattern] for pattern in of if pattern != "__pycache__")  # none is left out that has gone
    travel = set(files).difference(*of.values())
    assert sum(path.stat().st_size for path in travel) < 0.95 * 2**20


def test_no_password_travels_to_a_trial(raw, tmp_path):
    """Which writes no study."""
    spec = StudySpec(**raw(storage="postgresql://user:a-secret@host/studies"))
    opened = OpenRun(Run(tmp_path / "tiny"), spec, optuna.create_study(direction="maximize"))
    sent = cloudpickle.dumps((Trainable, HandOut(opened, None, []).suggest("of Ray's")))
    assert b"postgresql://user@host/studies" in sent
    assert b"a-secret" not in sent


@pytest.mark.long
def test_to_a_cluster_travel_the_packages_alone(ray_down, ray_folder, elsewhere, raw):
    from ray.cluster_utils import Cluster

    with ray_folder() as folder:
        joined = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        try:
            files = found(StudySpec(**raw()), joined.address)
        finally:
            joined.shutdown()
        current = files.pop("")
        assert all(file.is_relative_to(folder.path) for file in [current, *files.values()])
        assert {file.parent.name for file in files.values()} == set(cluster.PACKAGES)
        assert not files["study"].with_name("presets").exists()


@pytest.mark.long
def test_a_model_of_ones_own_reaches_a_cluster_that_has_not_its_file(ray_down, ray_folder, raw, tmp_path):
    from ray.cluster_utils import Cluster

    from study import confirm

    text = "from models.vae import build as vae\n\n\ndef build(image_shape, *, latent=2, **shared):\n"
    (tmp_path / "own.py").write_text(f"{text}    return vae(image_shape, latent=latent, **shared)\n")
    given = raw(model=str(tmp_path / "own.py"), trials=2, confirm={"top": 0, "seeds": 1, "samples": 2, "images": 4})
    spec, run = StudySpec(**{**given, "fixed": {"hidden": 8}}), Run(tmp_path / "runs" / "tiny")
    (tmp_path / "own.py").unlink()
    with ray_folder():
        joined = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
        try:
            assert runner.run(spec, run, address=joined.address).complete == 2
            assert confirm.confirm(run, address=joined.address) is None
        finally:
            joined.shutdown()
    (row,) = analysis.confirmed(run.path).to_dict("records")
    assert (row["model"], row["cause"]) == ("own", "")
