"""Every column of every table is documented, in the code and in docs/tables.md alike."""

import re
from pathlib import Path

import pandas as pd
import pytest

from models.measures import Measure
from study import confirm
from study.confirm import TEST, Candidate, Job
from study.record import tables
from study.record.columns import COLUMNS
from study.record.folder import OpenRun, Run
from study.record.storage import open_run
from study.record.trials import finish, store_report
from study.spec import StudySpec
from study.spec.measures import MEASURES, METRICS

DOCS = Path(__file__).resolve().parents[3] / "docs" / "tables.md"


@pytest.fixture
def opened(raw, tmp_path) -> OpenRun:
    """A run with a complete trial and one that is at work."""
    spec = StudySpec(**raw())
    run = Run(tmp_path / "tiny")
    run.create(spec)
    opened = open_run(run, spec, create=True)
    report = {**dict.fromkeys(METRICS, 0.5), "measures": list(METRICS), "steps": spec.steps, "cause": ""}
    report |= {"seconds": 2.0, "cpu_seconds": 1.5, "reported": 1.8e9, "train": [[0, {"elbo": 3.0}]]}
    for _ in range(2):
        trial = opened.study.ask()
        spec.draw(trial)
    store_report(opened.study, 1, report)
    finish(opened, 0, report)
    return opened


def frame(opened: OpenRun, name: str) -> pd.DataFrame:
    if name in tables.TABLES:
        return tables.TABLES[name](opened)
    job = Job(Candidate("defaults", opened.spec.defaults()), 0, 1)
    made = {**dict.fromkeys(TEST, 0.5), **confirm.made_with(opened.spec), "cause": "", "steps": 60, "seconds": 2.0}
    return pd.DataFrame([confirm._row(opened, job, {**made, "cpu_seconds": 1.5, "valid_elbo": -1.0})])


def family(table: str, column: str) -> str:
    """A column's name in COLUMNS."""
    if table == "curves" and column in METRICS:
        return "*"
    return re.sub(r"^(params\.|metrics\.|loss_).+", r"\1*", column)


@pytest.mark.parametrize("name", COLUMNS)
def test_a_table_has_the_columns_that_are_documented_in_their_order(opened, name):
    assert list(dict.fromkeys(family(name, column) for column in frame(opened, name))) == list(COLUMNS[name])


def test_every_table_is_documented():
    assert COLUMNS.keys() == {*tables.TABLES, "confirm"}


def rows(heading: str) -> dict[str, str]:
    """The rows of the table below a heading of the page: name -> the rest."""
    [part] = re.findall(rf"^## `?{heading}`?[^\n]*\n(.*?)(?=^## |\Z)", DOCS.read_text(encoding="utf-8"), re.M | re.S)
    return dict(re.findall(r"^\| `([^`]+)` \| (.*) \|$", part, re.M))


@pytest.mark.parametrize("name", COLUMNS)
def test_the_page_shows_them(name):
    assert rows(f"{name}.parquet") == COLUMNS[name]


def test_the_page_shows_every_measure():
    when = {
        "report": "each report, test set",
        "asked": "reports of a preset that names it, test set",
        "confirm": "test set",
    }

    def say(measure: Measure) -> str:
        return f"{measure.title} | {measure.unit} | {when[measure.when]}"

    assert rows("Measures") == {measure.name: say(measure) for measure in MEASURES}


def test_times_and_costs_of_trials(opened):
    ended, at_work = tables.results(opened).to_dict("records")
    stored = opened.study.get_trials()[0]
    assert ended["started"] == pd.Timestamp(stored.datetime_start).floor("s")
    assert ended["ended"] == pd.Timestamp(stored.datetime_complete).floor("s")
    assert (ended["seconds"], ended["cpu_seconds"], ended["budget"]) == (2.0, 1.5, opened.spec.steps)
    assert pd.isna(at_work["ended"])
    assert not pd.isna(at_work["started"])
    [report] = tables.curves(opened).to_dict("records")
    assert report["reported"].timestamp() == pd.Timestamp.fromtimestamp(1.8e9).timestamp()


def test_a_column_of_times_has_one_type_wherever_it_is_read(opened, tmp_path):
    made = tables.results(opened)
    made.to_parquet(tmp_path / "results.parquet")
    read = pd.read_parquet(tmp_path / "results.parquet")
    for name in ("started", "ended", "cpu_seconds"):
        assert read[name].dtype == made[name].dtype == made.iloc[1:][name].dtype
        assert made[name].dtype.kind in "Mf"
