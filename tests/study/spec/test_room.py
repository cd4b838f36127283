"""What this machine has no room for is told before anything is started or written."""

import pytest

from study import machine
from study.record.folder import Run
from study.spec import SpecError, StudySpec
from study.spec.room import check_room
from study.tune import cluster, runner


@pytest.fixture(autouse=True)
def small_machine(monkeypatch) -> None:
    monkeypatch.setattr(machine, "cpus", lambda: 2)
    monkeypatch.setattr(machine, "gpus", lambda: 0)
    monkeypatch.setattr(machine, "memory", lambda: 10**9)


TOO_MUCH = [
    ({"resources": {"cpus": 3}}, "resources.cpus: a trial asks for 3 CPUs, this machine has 2"),
    ({"resources": {"gpus": 0.5}}, "resources.gpus: a trial asks for 0.5 GPUs, this machine has none; add --set"),
    ({"fixed": {"latent": 10**9}}, "fixed, space: a model with latent 1000000000, hidden 16 has 5e\\+10 parameters"),
    (
        {"fixed": {"hidden": [10**9] * 2}},
        "has 2e\\+18 parameters, whose training takes 3.2e\\+10 GB; this",
    ),
    ({"fixed": {}, "space": {"latent": {"high": 10**9}}}, "a model with latent 1000000000, .*; pin less, or lower"),
    ({"space": {"decoder_hidden": {"choices": [10, 10**9]}}}, "decoder_hidden 1000000000 has"),
]


@pytest.mark.parametrize(("changes", "says"), TOO_MUCH, ids=[says[:30] for _, says in TOO_MUCH])
def test_it_is_a_line(raw, changes, says):
    given = {**raw(**changes), **({"fixed": {}} if changes.get("fixed") == {} else {})}
    with pytest.raises(SpecError, match=says):
        check_room(StudySpec(**given))


def test_compiling_for_cpus_needs_a_compiler(raw, monkeypatch):
    monkeypatch.setattr(machine, "cpp_compiler", lambda: None)
    with pytest.raises(SpecError, match="compiled: torch compiles for CPUs with a C\\+\\+ compiler, and this machine"):
        check_room(StudySpec(**raw(compiled=True)))
    check_room(StudySpec(**raw()))
    monkeypatch.setattr(machine, "gpus", lambda: 1)
    check_room(StudySpec(**raw(compiled=True, resources={"gpus": "auto"})))


def test_what_fits_passes(raw):
    check_room(StudySpec(**raw(resources={"cpus": 2})))


@pytest.mark.parametrize("how", [["run"], ["run", "--dry-run"], ["train"], ["seeds"], ["seeds", "--dry-run"]])
def test_every_command_that_trains_tells_it_before_it_writes(command, preset, tmp_path, listing, how, ray_down):
    path = preset(tmp_path, resources={"cpus": 3})
    before = listing()
    code, _, err = command(how[0], path, *how[1:], "--root", tmp_path / "runs")
    assert code == 2
    assert "resources.cpus: a trial asks for 3 CPUs, this machine has 2" in err
    assert listing() == before


def test_a_run_keeps_its_specification_where_there_is_no_room_for_another(command, run, ray_down, listing):
    for words in (["run", "tiny", "--trials", "+1"], ["run", run.path, "--trials", "+2"]):
        before = run.study_yaml.read_text()
        code, _, err = command(*words, "--set", "resources.cpus=3")
        assert (code, "this machine has 2" in err) == (2, True)
        assert run.study_yaml.read_text() == before


def test_of_a_cluster_ray_knows_it(raw, monkeypatch, tmp_path, ray_down):
    monkeypatch.setattr(cluster, "join", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        runner.run(StudySpec(**raw(resources={"cpus": 3})), Run(tmp_path / "tiny"), address="somewhere:6379")


@pytest.mark.parametrize(("said", "has"), [("max\n", None), ("1000\n", 1000), ("9" * 19, None)])
def test_a_container_has_the_memory_that_it_is_given(tmp_path, monkeypatch, said, has):
    monkeypatch.undo()
    (tmp_path / "memory.max").write_text(said)
    whole = machine.memory(tmp_path / "nothing")
    assert machine.memory(tmp_path / "memory.max") == (has or whole)
