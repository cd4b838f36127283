"""TensorBoard's HPARAMS page has each trial that ended, once."""

import pytest
from damage import study_of
from events import events, hparams, scalars
from google.protobuf.json_format import MessageToDict
from tensorboardX.proto.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS

from study.record.hparams import FILE, write
from study.record.storage import open_run, reopen
from study.record.trials import store_report


def entry(folder) -> tuple[dict, int]:
    """The configuration and the status of the only entry."""
    (start_tag, start), (end_tag, end) = hparams(folder)
    assert (start_tag, end_tag) == ("_hparams_/session_start_info", "_hparams_/session_end_info")
    said = MessageToDict(start.session_start_info)["hparams"]
    return said, end.session_end_info.status


def test_each_ended_trial_has_one_beside_its_curves(run):
    opened = open_run(run)
    complete, pruned, failed, running = opened.study.trials
    for trial, status in ((complete, STATUS_SUCCESS), (pruned, STATUS_SUCCESS), (failed, STATUS_FAILURE)):
        settings, said = entry(run.trial(trial.number))
        assert said == status
        assert settings == opened.spec.settings_of(trial.params)
        assert settings["lr"] == trial.params["lr"]
        assert scalars(run.trial(trial.number))["valid/elbo"]
    assert hparams(run.trial(running.number)) == []


def test_one_whose_driver_died_before_its_end_was_told_is_ended_once(run):
    study = study_of(run)
    report = {"steps": 60, "measures": ["elbo"], "elbo": -1.0, "seconds": 1.0, "train": [], "done": True}
    store_report(study, study.trials[3]._trial_id, report)
    write(run.trial(3), {"lr": 7.0}, failed=True)  # as another death left it
    opened = reopen(run)
    assert opened.study.trials[3].state.name == "COMPLETE"
    settings, status = entry(run.trial(3))
    assert (settings["lr"], status) == (opened.study.trials[3].params["lr"], STATUS_SUCCESS)
    reopen(run)
    assert len(hparams(run.trial(3))) == 2


@pytest.mark.parametrize(
    ("value", "said"),
    [(True, True), (3, 3.0), (1e-3, 1e-3), ("conv", "conv"), ([300, 300], "[300, 300]"), (None, "null")],
)
def test_each_kind_of_hyperparameter(tmp_path, value, said):
    write(tmp_path / "made", {"x": value}, failed=False)
    assert entry(tmp_path / "made")[0] == {"x": said}


def test_it_is_read_after_the_curves(run):
    tags = [value.tag for event in events(run.trial(0)) for value in event.summary.value]
    assert tags[-2:] == ["_hparams_/session_start_info", "_hparams_/session_end_info"]
    assert (run.trial(0) / FILE).stat().st_size < 4096


def test_a_full_disk_does_not_keep_a_trial_from_its_end(run, monkeypatch):
    def full(*_, **how) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("study.record.hparams.write", full)
    study = study_of(run)
    report = {"steps": 60, "measures": ["elbo"], "elbo": -1.0, "seconds": 1.0, "train": [], "done": True}
    store_report(study, study.trials[3]._trial_id, report)
    assert reopen(run).study.trials[3].state.name == "COMPLETE"
