"""A storage that remembers what it writes hands out what another process reads from the file."""

import math

import numpy as np
import optuna
import pytest
import sqlalchemy
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy.orm import Session

from study.record import backend

SPACE = {
    "rate": FloatDistribution(1e-5, 1.0, log=True),
    "latent": IntDistribution(2, 64),
    "prior": CategoricalDistribution(["standard", "vamp"]),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "optuna.db"


@pytest.fixture
def study(path):
    return optuna.create_study(storage=backend.sqlite(path), study_name="s", direction="maximize")


@pytest.fixture
def as_stored(path, study):
    """The trials as Optuna's own storage reads them."""
    storage = RDBStorage(f"sqlite:///{path}")
    return lambda: storage.get_all_trials(1)


def plain(trials):
    """All that a trial has, its mappings sorted, as text, in which NaN is NaN."""
    return [
        repr([sorted(value.items()) if isinstance(value, dict) else value for value in vars(trial).values()])
        for trial in trials
    ]


def write(study, random):
    """One of the writes of a search, to one of the trials."""
    storage, running = study._storage, study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
    kind = random.integers(6) if running else 0
    if kind == 0:
        study.ask(SPACE)
        return
    trial = running[random.integers(len(running))]
    if kind == 1:
        storage.set_trial_user_attr(trial._trial_id, f"report:{random.integers(5)}", {"elbo": -1.5, "n": (1, 2)})
    elif kind == 2:
        value = float(random.choice([1.0, math.inf, math.nan, np.float32(0.1)]))
        storage.set_trial_intermediate_value(trial._trial_id, int(random.integers(5)), value)
    elif kind == 3:
        storage.set_trial_system_attr(trial._trial_id, "note", [None, {"1": 2}])
    elif kind == 4:
        study.tell(trial.number, 1 / 3)
    else:
        study.tell(trial.number, state=TrialState.PRUNED)


def test_what_it_remembers_is_what_is_stored(study, as_stored):
    random = np.random.default_rng(0)
    for _ in range(120):
        write(study, random)
        assert plain(study.get_trials()) == plain(as_stored())
    assert len({trial.state for trial in study.get_trials()}) == 3


def test_another_process_goes_on_with_what_was_left(study, path, as_stored):
    random = np.random.default_rng(1)
    for _ in range(40):
        write(study, random)
    after = optuna.load_study(storage=backend.sqlite(path), study_name="s")
    assert plain(after.get_trials()) == plain(as_stored())
    for _ in range(60):
        write(after, random)
        assert plain(after.get_trials()) == plain(as_stored())


def test_who_only_reads_sees_what_another_process_makes(study, path):
    reader = optuna.load_study(storage=backend.sqlite(path), study_name="s")
    random = np.random.default_rng(2)
    assert reader.get_trials() == []
    for _ in range(60):
        write(study, random)
        assert plain(reader.get_trials()) == plain(study.get_trials())


def test_who_read_before_writes_with_all_that_came_in_between(study, path, as_stored):
    later = optuna.load_study(storage=backend.sqlite(path), study_name="s")
    random = np.random.default_rng(3)
    assert later.get_trials() == []
    for _ in range(40):
        write(study, random)
    for _ in range(40):
        write(later, random)
        assert plain(later.get_trials()) == plain(as_stored())


def test_what_was_handed_out_does_not_change(study):
    study.ask(SPACE)
    [before] = study.get_trials(deepcopy=False)
    study._storage.set_trial_user_attr(before._trial_id, "report:1", {"elbo": -1.0})
    assert before.user_attrs == {}
    assert [trial.user_attrs for trial in study.get_trials()] == [{"report:1": {"elbo": -1.0}}]


def test_trials_that_it_wrote_are_not_read_again(study, monkeypatch):
    random, read = np.random.default_rng(0), []
    build = RDBStorage._build_frozen_trial_from_trial_model
    monkeypatch.setattr(
        RDBStorage,
        "_build_frozen_trial_from_trial_model",
        lambda self, trial: read.append(trial.trial_id) or build(self, trial),
    )
    for _ in range(100):
        write(study, random)
        study.get_trials(deepcopy=False)
    began = len(study.get_trials())
    ended = sum(trial.state.is_finished() for trial in study.get_trials())
    assert len(read) <= 2 * began + 2 * ended + 1  # as each begins, and as Optuna tells its end


def test_without_optunas_cache_it_reads_all(study, as_stored):
    for _ in range(3):
        study.ask(SPACE)
        study.get_trials()
    study.tell(0, 1.0)
    study.get_trials()
    assert plain(study._storage._backend.get_all_trials(1)) == plain(as_stored())


def test_it_refuses_what_optuna_refuses_and_stays_right(study, as_stored):
    study.ask(SPACE)
    study.tell(0, 1.0)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        study._storage.set_trial_user_attr(1, "late", 1)
    assert plain(study.get_trials()) == plain(as_stored())


def test_what_is_written_together_is_one_transaction(study, as_stored, monkeypatch):
    commits = []
    monkeypatch.setattr(Session, "commit", lambda self, commit=Session.commit: commits.append(1) or commit(self))
    study.ask()
    study.get_trials()
    commits.clear()
    with backend.together(study):
        trial = optuna.trial.Trial(study, 1)
        drawn = {name: trial._suggest(name, space) for name, space in SPACE.items()}
        study._storage.set_trial_user_attr(1, "report:1", {"elbo": -1.0})
        study._storage.set_trial_intermediate_value(1, 1, -1.0)
        assert study.get_trials(deepcopy=False)[0].params == drawn
        assert commits == []
    assert commits == [1]
    assert as_stored()[0].params == drawn
    assert plain(study.get_trials()) == plain(as_stored())


def test_an_end_is_one_transaction_with_what_is_told_beside_it(study, as_stored, monkeypatch):
    study.ask(SPACE)
    commits = []
    monkeypatch.setattr(Session, "commit", lambda self, commit=Session.commit: commits.append(1) or commit(self))
    with backend.together(study):
        study._storage.set_trial_user_attr(1, "cause", "none")
        with backend.together(study):
            study._storage.set_trial_system_attr(1, "constraint", -1.0)
        study.tell(0, 1 / 3)
        assert as_stored()[0].state == TrialState.RUNNING
        commits.clear()
    assert commits == [1]
    assert as_stored()[0].value == 1 / 3
    assert plain(study.get_trials()) == plain(as_stored())


def test_what_is_written_together_before_an_error_is_kept(study, as_stored):
    def interrupted():
        with backend.together(study):
            study._storage.set_trial_user_attr(1, "report:1", {"elbo": -1.0})
            raise KeyboardInterrupt

    study.ask(SPACE)
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert as_stored()[0].user_attrs == {"report:1": {"elbo": -1.0}}
    study._storage.set_trial_user_attr(1, "report:2", {"elbo": -2.0})  # by itself again
    assert plain(study.get_trials()) == plain(as_stored())


def test_a_finished_trial_is_refused_together_too(study, as_stored):
    study.ask(SPACE)
    study.tell(0, 1.0)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError), backend.together(study):
        study._storage.set_trial_user_attr(1, "late", 1)
    assert plain(study.get_trials()) == plain(as_stored())


def test_what_is_drawn_together_takes_few_statements_however_many_parameters(study, as_stored):
    asked = []
    with backend.together(study):
        study.ask(SPACE)
    sqlalchemy.event.listen(study._storage._backend.engine, "before_cursor_execute", lambda *_: asked.append(1))
    many = {f"{name} {i}": space for i in range(4) for name, space in SPACE.items()}
    counts = []
    for _ in range(3):
        asked.clear()
        with backend.together(study):
            study.ask(many)
        counts.append(len(asked))
    assert max(counts[1:]) <= 12 == len(many)
    assert plain(study.get_trials()) == plain(as_stored())


def test_a_parameter_of_another_kind_is_refused_together_too(study, as_stored):
    for _ in range(2):
        with backend.together(study):
            trial = study.ask({"rate": SPACE["rate"]})
    with pytest.raises(ValueError, match="different distribution kind"), backend.together(study):
        study.ask({"rate": CategoricalDistribution(["a", "b"])})
    assert trial.params == study.trials[1].params
    assert plain(study.get_trials()) == plain(as_stored())
