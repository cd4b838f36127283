"""Confirmed numbers: means and spreads over seeds by hand, failures counted, and what the command line says of them."""

import io
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import analysis
import analysis.__main__
from analysis import tables
from analysis.notes import notes
from analysis.summaries import TABLES
from analysis.tables import CONFIRMED, MARK, confirmation, text
from study import cli
from study.record.folder import Run, RunError
from study.record.storage import KIND, open_run
from study.record.trials import finish, store_report
from study.spec import StudySpec

NAN = math.nan


def row(configuration: str, repeat: int, elbo: float = NAN, cause: str = "", **more: Any) -> dict[str, Any]:
    """A row of confirm.parquet; every metric but the ELBO is a tenth of it, and its draws count half."""
    metrics = {f"metrics.{metric}": elbo / 10 for metric in CONFIRMED} | {"metrics.effective_samples": 25.0}
    about = {"study": "one", "configuration": configuration, "repeat": repeat, "cause": cause}
    return {**about, "samples": 50, "images": 30, **metrics, "metrics.elbo": elbo, **more}


def by_configuration(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return confirmation(pd.DataFrame(rows)).set_index("configuration")


def test_mean_and_standard_deviation_by_hand():
    found = by_configuration([row("defaults", i, elbo) for i, elbo in enumerate((-101.0, -103.0, -108.0))])
    assert found.loc["defaults", "elbo"] == "-104.00 ± 3.61"  # sqrt((9 + 1 + 16) / 2)
    assert found.loc["defaults", "kl"] == "-10.40 ± 0.36"
    assert list(found.columns) == ["study", "seeds", "failed", *CONFIRMED]


def test_a_models_own_measure_stands_after_those_that_all_have():
    rows = [row("defaults", i, -100.0, **{"metrics.spread": spread}) for i, spread in enumerate((2.0, 4.0))]
    found = by_configuration(rows)
    assert list(found.columns) == ["study", "seeds", "failed", *CONFIRMED, "spread"]
    assert found.loc["defaults", "spread"] == "3 ± 1.414"


def test_a_measure_that_only_one_of_several_models_has_is_left_out():
    alone = [row("defaults", i, -100.0, study="two", **{"metrics.spread": 2.0, "metrics.both": 1.0}) for i in range(2)]
    rows = [row("defaults", 0, -100.0, **{"metrics.both": 1.0}), *alone, row("defaults", 0, cause="nan", study="three")]
    assert list(confirmation(pd.DataFrame(rows))) == ["study", "configuration", "seeds", "failed", *CONFIRMED, "both"]
    assert list(confirmation(pd.DataFrame(alone)))[-2:] == ["spread", "both"]


def test_what_the_first_of_several_studies_lacks_keeps_its_place():
    lacking = {"metrics.elbo": NAN, "metrics.kl": NAN}
    rows = [row("defaults", 0, -100.0, **lacking), row("defaults", 0, -100.0, study="two")]
    assert list(confirmation(pd.DataFrame(rows)))[4:] == [*CONFIRMED]


@pytest.mark.parametrize(("effective", "marked"), [((9.0, 10.8), True), ((9.0, 11.0), False), ((1.0, 19.0), False)])
def test_a_log_likelihood_of_too_few_effective_samples_is_marked(effective, marked):
    rows = [row("defaults", i, -100.0, **{"metrics.effective_samples": n}) for i, n in enumerate(effective)]
    rows.append(row("defaults", 2, cause="nan: ...", **{"metrics.effective_samples": 1.0}))  # does not count
    rows.append(row("trial-4", 0, -100.0))
    frame = pd.DataFrame(rows).assign(kind="bound", preprocessing="grey", likelihood="bernoulli")
    found = confirmation(frame).set_index("configuration")
    assert found.loc["defaults", "log_likelihood"] == "-10.00 ± 0.00" + (" *" if marked else "")
    assert found.loc["trial-4", "log_likelihood"] == "-10.00"
    assert found.loc["trial-4", "effective_samples"] == "25.0"
    explained = [line for line in notes(pd.DataFrame({"study": []}), frame) if line.startswith("* ")]
    assert len(explained) == marked
    if marked:
        assert "* fewer than 10 effective samples an image on average" in explained[0]
        header, *lines = text(confirmation(frame)).splitlines()
        end = header.index("log_likelihood") + len("log_likelihood")
        assert [line[:end].rstrip()[-6:] for line in lines] == ["0.00 *", "-10.00"]
        assert lines[1][:end].endswith("-10.00  ")  # below the digits of the other


def test_failures_are_counted_and_leave_the_mean_alone():
    rows = [
        row("defaults", 0, cause="nan: the loss of 'elbo' was not finite at step 3"),
        row("trial-4", 0, -100.0),
        row("defaults", 1, cause="oom: not enough memory"),
        row("trial-4", 1, cause="lost: WorkerCrashedError"),
        row("trial-4", 2, -102.0),
    ]
    found = by_configuration(rows)
    assert list(found.index) == ["defaults", "trial-4"]  # the order they were given in
    assert found[["seeds", "failed"]].to_numpy().tolist() == [[0, 2], [2, 1]]
    assert found.loc["trial-4", "elbo"] == "-101.00 ± 1.41"
    assert pd.isna(found.loc["defaults", "elbo"])


def test_a_number_beside_a_cause_does_not_count():
    found = by_configuration([row("defaults", 0, -100.0), row("defaults", 1, -1e9, cause="crash: ...")])
    assert found.loc["defaults", "elbo"].startswith("-100.00")


def test_one_seed_has_no_spread():
    found = by_configuration([row("defaults", 0, -100.0)])
    assert found.loc["defaults", "elbo"] == "-100.00"


def test_what_no_configuration_has_is_left_out():
    found = by_configuration([row("defaults", i, -100.0, **{"metrics.accuracy": None}) for i in range(2)])
    assert "accuracy" not in found
    assert "log_likelihood" in found


def test_the_same_configuration_of_two_studies_is_two():
    rows = [
        row("defaults", 0, -100.0),
        row("defaults", 0, -200.0, study="two"),
        row("defaults", 1, -202.0, study="two"),
    ]
    found = confirmation(pd.DataFrame(rows))
    assert found[["study", "seeds"]].to_numpy().tolist() == [["one", 1], ["two", 2]]
    assert found["elbo"][1] == "-201.00 ± 1.41"


def test_the_given_frame_is_left_alone():
    frame = pd.DataFrame([row("defaults", 0, -100.0)])
    before = frame.copy()
    confirmation(frame)
    pd.testing.assert_frame_equal(frame, before)


# From run folders.


@pytest.fixture
def make(tmp_path) -> Callable[..., Run]:
    """A run of one complete trial, with a confirmation if rows are given."""

    def run(name: str, rows: list[dict[str, Any]] | None = None) -> Run:
        budget = {"steps": 20, "report_every": 20}
        spec = StudySpec(name=name, model="vae", dataset="mnist5k", budget=budget, trials=1, sampler="random")
        made = Run(tmp_path / name)
        made.create(spec)
        opened = open_run(made, spec, create=True)
        study = opened.study
        study.set_user_attr(KIND, "soft cross-entropy")
        trial = study.ask()
        spec.draw(trial)
        metrics = {
            "elbo": -90.0,
            "reconstruction": -80.0,
            "kl": 10.0,
            "zero_fraction": 0.0,
            "hoyer": 0.2,
            "active_units": 7.0,
        }
        report = {**metrics, "measures": list(metrics), "steps": 20, "seconds": 1.0, "train": [], "cause": ""}
        store_report(study, trial._trial_id, report)
        finish(opened, trial.number, report)
        if rows is not None:
            pd.DataFrame(rows).assign(study=name).to_parquet(made.table("confirm"))
        return made

    return run


@pytest.fixture
def table(monkeypatch, capsys, tmp_path) -> Callable[..., str]:
    """What `python -m analysis table` prints."""

    def call(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["analysis", "table", *arguments, "--root", str(tmp_path)])
        with pytest.raises(SystemExit) as ended:
            cli.main(analysis.__main__.app)
        assert not ended.value.code
        return capsys.readouterr().out

    return call


def test_runs_without_a_confirmation_add_nothing(make, tmp_path):
    rows = [row("defaults", i, -100.0 - i) for i in range(2)]
    make("plain"), make("sure", rows)
    assert len(analysis.confirmed("plain", root=tmp_path)) == 0
    found = analysis.confirmed("plain", "sure", root=tmp_path)
    assert list(found["study"]) == ["sure", "sure"]
    assert list(found["metrics.elbo"]) == [-100.0, -101.0]
    with pytest.raises(RunError, match="no run 'gone'"):
        analysis.confirmed("sure", "gone", root=tmp_path)


def test_the_command_line_shows_means_spreads_failures_and_what_they_are(make, table):
    rows = [
        row("defaults", 0, -100.0),
        row("defaults", 1, -102.0),
        row("trial-0", 0, cause="nan: ..."),
        row("trial-0", 1, -90.0),
    ]
    make("sure", rows)
    text = table("sure")
    assert "Confirmed over fresh seeds, on the test set, mean ± standard deviation:" in text
    lines = {words[1]: words for line in text.splitlines() if len(words := line.split()) > 4 and words[0] == "sure"}
    assert lines["defaults"][2:7] == ["2", "0", "-101.00", "±", "1.41"]
    assert lines["trial-0"][2:5] == ["1", "1", "-90.00"]
    assert "nan" not in text.lower()
    assert "sure: confirmed numbers are those of the last state of each training on the test set; " in text
    assert text.count("log_likelihood is importance-weighted, S 50, on 30 images, where effective_samples of the") == 1
    assert "* fewer than" not in text
    make("new", [{**rows[0], "study": "new", "checkpoint": "best"}])
    assert "new: confirmed numbers are those of the best checkpoint of each training" in table("new")


def test_the_command_line_shows_none_where_there_is_none(make, table):
    make("plain")
    text = table("plain")
    assert "-90.00" in text
    assert "Confirmed" not in text


def test_a_table_as_csv_holds_the_trials_only(make, table, tmp_path):
    make("sure", [row("defaults", 0, -100.0)])
    assert table("sure", "--csv", str(tmp_path / "all.csv")) == ""
    assert len(pd.read_csv(Path(tmp_path / "all.csv"))) == 1


def test_a_table_as_csv_goes_to_standard_output_at_a_dash(make, table, tmp_path, monkeypatch):
    make("sure")
    monkeypatch.chdir(tmp_path)
    assert len(pd.read_csv(io.StringIO(table("sure", "--csv", "-")))) == 1
    assert not (tmp_path / "-").exists()


def test_a_damaged_confirmation_is_left_out_and_named(make, table, capsys, monkeypatch, tmp_path):
    for name in ("torn", "sure"):
        make(name, [row("defaults", 0, -100.0)])
    torn = tmp_path / "torn" / "confirm.parquet"
    torn.write_bytes(torn.read_bytes()[:-100])
    said = f"left out is what was confirmed: {torn} cannot be read; "
    for arguments, shown in ((["--only", "trials"], "-90.00"), ([], "-100.00"), (["--only", "confirmed"], "-100.00")):
        monkeypatch.setattr(sys, "argv", ["analysis", "table", "torn", "sure", *arguments, "--root", str(tmp_path)])
        with pytest.raises(SystemExit) as ended:
            cli.main(analysis.__main__.app)
        out, err = capsys.readouterr()
        assert (ended.value.code or 0, err.startswith(said), len(err.splitlines())) == (0, True, 1)
        assert shown in out
    monkeypatch.setattr(sys, "argv", ["analysis", "table", "torn", "--only", "confirmed", "--root", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        cli.main(analysis.__main__.app)
    assert (ended.value.code, capsys.readouterr().out) == (2, "")


@pytest.fixture
def sure(make, monkeypatch, tmp_path) -> Run:
    monkeypatch.chdir(tmp_path)
    rows = [row("defaults", i, -100.0 - i, **dict.fromkeys(("model", "dataset"), "x_1")) for i in range(2)]
    return make("sure", [{**each, **dict.fromkeys(("preprocessing", "likelihood", "kind"), "y")} for each in rows])


def test_tables_for_people_go_to_standard_output_or_a_file(sure, table, tmp_path):
    page = table("sure", "--format", "md")
    titles = ["How trials ended and what they took", "Best trials, on the validation set"]
    titles += ["Confirmed over fresh seeds, on the test set, mean ± standard deviation", "Trials"]  # and no Pareto set
    assert [line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")] == titles
    assert "| sure | defaults | 2 | 0 | -100.50 ± 0.71 |" in page
    assert "sure: metrics of the last report on the validation set; " in page
    assert table("sure", "--format", "md", "--out", "page.md") == ""
    assert Path("page.md").read_text() == page
    latex = table("sure", "--format", "latex", "--only", "best", "--out", "-")
    assert latex.startswith(r"\begin{tabular}")
    assert r"elbo\_soft\_cross\_entropy" in latex
    assert r"$-90.00$" in latex
    assert table("sure", "--only", "studies").splitlines()[1].split()[0] == "sure"


@pytest.mark.parametrize("name", ["studies", "best", "confirmed", "trials"])
def test_tables_for_programs_are_the_frames(sure, table, tmp_path, name):
    whole = TABLES[name].whole(analysis.trials(sure.path), analysis.confirmed(sure.path))
    assert table("sure", "--only", name, "--format", "parquet", "--out", "one.parquet") == ""
    found = pd.read_parquet("one.parquet")
    pd.testing.assert_frame_equal(found, whole, check_dtype=False)
    csv = pd.read_csv(io.StringIO(table("sure", "--only", name, "--format", "csv")))
    assert (list(csv), len(csv)) == (list(whole), len(whole))
    if name == "trials":
        assert table("sure", "--format", "csv") == table("sure", "--csv", "-")


def test_a_table_without_rows_says_so(sure, table, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["analysis", "table", "sure", "--only", "front", "--root", str(tmp_path)])
    with pytest.raises(SystemExit):
        cli.main(analysis.__main__.app)
    assert capsys.readouterr() == ("", "no rows: Pareto sets\n")


def test_a_table_of_its_own_says_below_what_it_is(sure, table):
    whole = table("sure", "--format", "md")
    for only, said in (("confirmed", "confirmed numbers are those of the"), ("best", "sure: metrics of the last")):
        text = table("sure", "--format", "md", "--only", only)
        [note] = [line for line in text.splitlines() if said in line]
        assert TABLES[only].title in text
        assert note.endswith(".")
        assert note.replace("nats an image; elbo is a y of y images, y likelihood; ", "") in whole
    assert "% Confirmed over fresh seeds" in table("sure", "--format", "latex", "--only", "confirmed")


@pytest.mark.parametrize("name", [name for name in TABLES if name != "trials"])
def test_a_file_without_rows_has_its_columns(sure, table, name):
    rows = table("sure", "--only", name, "--format", "csv").splitlines()[0].split(",")
    none = TABLES[name].whole(analysis.trials(sure.path).iloc[:0], analysis.confirmed(sure.path).iloc[:0])
    assert (len(none), none.columns[0]) == (0, {"best": "model"}.get(name, "study"))
    assert name == "front" or {*none} <= {*rows}
    if name == "front":
        assert rows == [*none]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--format", "parquet"], "--format parquet: is no text for standard output; name a file with --out"),
        (["--format", "parquet", "--out", "-"], "--format parquet: is no text for standard output"),
        (["--format", "xlsx"], "must be md, latex, csv or parquet, got 'xlsx'"),
        (["--only", "worst"], "must be studies, best, confirmed, front or trials, got 'worst'"),
        (["--csv", "a.csv", "--format", "md"], "--csv: stands for --format csv --only trials --out"),
        (["--format", "md", "--out", "none/x.md"], "--out: there is no folder none"),
    ],
)
def test_a_mistake_in_how_a_table_is_asked_for_is_a_line(sure, capsys, monkeypatch, tmp_path, arguments, says):
    monkeypatch.setattr(sys, "argv", ["analysis", "table", "sure", *arguments, "--root", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        cli.main(analysis.__main__.app)
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert says in " ".join(err.split())


def test_a_run_that_is_named_twice_counts_once_and_one_without_a_study_has_no_rows(make, tmp_path):
    rows = [row("defaults", i, -100.0) for i in range(2)]
    made, died = make("sure", rows), make("died")
    assert len(analysis.trials("sure", str(made.path), root=tmp_path)) == 1
    assert len(analysis.confirmed("sure", "sure", root=tmp_path)) == 2
    died.database.unlink()
    died.table("results").unlink(missing_ok=True)
    assert len(analysis.trials("died", root=tmp_path)) == 0
    assert list(analysis.trials("died", "sure", root=tmp_path)["study"]) == ["sure"]
    assert len(analysis.curves("died", root=tmp_path)) == 0


def test_a_latent_is_a_row_but_of_what_failed_and_of_earlier_releases(monkeypatch):
    each = {"latents.kl": [3.0, 0.1], "latents.variance": [0.9, 0.0], "latents.zero_fraction": [0.0, 1.0]}
    shorter = {name: np.array([values[0]]) for name, values in each.items()}  # parquet gives arrays
    rows = [row("defaults", 0, -1.0, **each), row("trial-3", 1, -1.0, **shorter), row("trial-4", 0, cause="nan")]
    frame = pd.DataFrame(rows).assign(model="vae", seed=5)
    monkeypatch.setattr(tables, "confirmed", lambda *runs, root: frame)
    found = tables.latents("one")
    assert list(zip(found.configuration, found.latent, found.kl)) == [
        ("defaults", 0, 3.0),
        ("defaults", 1, 0.1),
        ("trial-3", 0, 3.0),
    ]
    assert (found.variance.dtype, found.latent.dtype) == (float, int)
    for earlier in (frame[["study", "configuration"]], pd.DataFrame()):
        monkeypatch.setattr(tables, "confirmed", lambda *runs, root, earlier=earlier: earlier)
        assert (len(tables.latents("one")), list(tables.latents("one"))) == (0, list(found))


def test_bits_are_marked_as_the_log_likelihood_is():
    found = by_configuration([row("defaults", i, -100.0, **{"metrics.effective_samples": 3.0}) for i in range(2)])
    assert found.loc["defaults", "bits"].endswith(MARK)
    assert found.loc["defaults", "log_likelihood"].endswith(MARK)
    assert not found.loc["defaults", "accuracy"].endswith(MARK)


def test_a_table_shows_the_scores_that_tell_most_and_says_how_they_were_taken():
    how = {"votes": 90, "examples": 70, "trees": "lightgbm", "codes_of": "all", "checkpoint": "best"}
    scores = {"metrics.mig_sampled": 0.1, "metrics.sap": 0.2}
    frame = pd.DataFrame([row("defaults", i, -100.0, **how, **scores) for i in range(2)])
    frame = frame.assign(kind="bound", preprocessing="grey", likelihood="bernoulli")
    shown = confirmation(frame)
    assert {"mig", "dci_disentanglement", "factor_vae", "udr"} <= {*shown}
    assert {"mig_sampled", "sap"}.isdisjoint(shown)
    said = "scores are of posterior means of the whole data set: 90 votes, 70 examples, DCI of lightgbm's trees"
    [line] = notes(pd.DataFrame({"study": []}), frame)
    assert line.endswith(f"{said}.")
    assert said not in "".join(notes(pd.DataFrame({"study": []}), frame.drop(columns=[*how])))
