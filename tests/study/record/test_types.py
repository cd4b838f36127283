"""A column of a table has one type, whatever its trials drew: numbers, or where one is none, text."""

import pandas as pd
import pytest
from ended import searched
from optuna.distributions import CategoricalDistribution

import analysis
from analysis.figures import hyperparameters
from study.record import tables
from study.record.folder import Run
from study.spec import StudySpec

ONE_OR_TWO = """
from models.vae import build

DEFAULTS = {"hidden": 32, "lr": 1e-3}


def space(trial):
    lr = trial.suggest_float("lr", 1e-4, 1e-2, log=True)
    return {"hidden": 32 if lr > 2.5e-3 else [32, 32], "lr": lr}
"""


@pytest.fixture
def run(make, tmp_path) -> Run:
    """A search of a model of one's own, whose networks have one layer in trials 1, 3 and 4, and two in the others."""
    (tmp_path / "own.py").write_text(ONE_OR_TWO)
    given = make().model_dump(mode="json")
    spec = StudySpec(**{**given, "model": str(tmp_path / "own.py"), "fixed": {}, "name": "own"})
    run = Run(tmp_path / "runs" / "own")
    searched(spec, run)
    return run


def test_a_column_of_numbers_and_lists_is_text(run):
    tables.write(run)
    assert pd.read_parquet(run.table("results"))["params.hidden"].tolist() == ["[32, 32]", "32", "[32, 32]", "32", "32"]
    assert analysis.trials(run.path)["params.lr"].dtype == float


def test_it_is_text_beside_another_run_too_and_as_a_file(run, make, tmp_path, command):
    import analysis.__main__

    other = Run(tmp_path / "runs" / "tiny")
    searched(make(), other)  # of one width
    assert analysis.trials(other.path)["params.hidden"].tolist() == [16] * 5
    both = analysis.trials(run.path, other.path)
    assert both["params.hidden"].tolist() == ["[32, 32]", "32", "[32, 32]", "32", "32", *["16"] * 5]
    both.to_parquet(tmp_path / "both.parquet")
    csv = tmp_path / "both.csv"
    code, _, err = command("table", run.path, other.path, "--csv", csv, app=analysis.__main__.app)
    assert (code, err) == (0, "")
    assert pd.read_csv(csv, dtype=str)["params.hidden"].tolist() == both["params.hidden"].tolist()
    code, out, err = command("table", run.path, other.path, app=analysis.__main__.app)
    assert (code, err) == (0, "")
    assert "[32, 32]" in out


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([32, [32, 32], None], ["32", "[32, 32]", None]),
        ([(1, 2), None], ["[1, 2]", None]),
        ([0.1, "learned"], ["0.1", "learned"]),
        ([True, 2], ["true", "2"]),
        (["a", "b"], ["a", "b"]),
        ([1, 2.5], [1.0, 2.5]),
        ([True, None], [True, None]),
        ([], []),
    ],
)
def test_every_column_can_be_written_and_read(values, expected, tmp_path):
    frame = tables.of_one_type(pd.DataFrame({"params.x": [tables.cell(value) for value in values]}))
    frame.to_parquet(tmp_path / "x.parquet")
    read = pd.read_parquet(tmp_path / "x.parquet")["params.x"]
    assert [None if pd.isna(value) else value for value in read] == expected


def test_choices_of_several_types_are_drawn():
    column = pd.Series(["32", "two layers", None])
    drawn = hyperparameters.values_of(column, CategoricalDistribution([32, "two layers", None]))
    assert drawn.tolist() == [32, "two layers", None]
