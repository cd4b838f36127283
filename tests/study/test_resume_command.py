"""`python -m study resume`: where the work goes on."""

import pytest

from study import solo
from study.record.folder import Run
from study.record.storage import open_run
from study.record.trials import Outcome
from study.spec import StudySpec
from study.tune import runner


@pytest.mark.parametrize(
    ("trials", "options", "expected"),
    [
        (1, [], ("here", {"data": None})),
        (1, ["--data", "mine"], ("here", {"data": "mine"})),
        (1, ["--address", "local"], ("here", {"data": None})),
        (1, ["--address", "head:6379"], ("Ray", {"data": None, "address": "head:6379", "wait": False, "hours": None})),
        (2, [], ("Ray", {"data": None, "address": None, "wait": False, "hours": None})),
        (
            2,
            ["--address", "head:6379", "--wait"],
            ("Ray", {"data": None, "address": "head:6379", "wait": True, "hours": None}),
        ),
    ],
)
def test_one_trial_goes_on_in_this_process_unless_a_cluster_is_named(
    raw, tmp_path, monkeypatch, command, trials, options, expected
):
    spec, run, called = StudySpec(**raw(trials=trials)), Run(tmp_path / "tiny"), []
    run.create(spec)
    open_run(run, spec, create=True)
    for where, module in (("here", solo), ("Ray", runner)):

        def resumed(run: Run, where: str = where, **given: object) -> Outcome:
            called.append((where, given))
            return Outcome(1, 0, 0)

        monkeypatch.setattr(module, "resume", resumed)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    assert command("resume", run.path, *options)[0] == 0
    where, given = expected
    assert called == [(where, {**given, "data": given["data"] and str(tmp_path / given["data"])})]
