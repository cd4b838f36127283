"""What runs come to: bests, spreads, Pareto sets, ends and costs by hand, and that docs/tables.md has every column."""

import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.summaries import TABLES, best, front, spread, studies, unbeaten
from analysis.tables import by_kind, confirmation, ranking

NAN = math.nan
DOCS = Path(__file__).resolve().parents[2] / "docs" / "tables.md"
GREY, BINARY = "soft cross-entropy", "bound"


def trials(**columns) -> pd.DataFrame:
    """As `analysis.trials` gives them; one value stands for all rows."""
    n = max(len(column) for column in columns.values() if isinstance(column, list))
    about = {"study": "one", "model": "vae", "dataset": "mnist5k", "preprocessing": "grey", "likelihood": "bernoulli"}
    ended = {"kind": GREY, "objective": "elbo", "objectives": "elbo", "state": "COMPLETE", "cause": ""}
    took = {"number": [*range(n)], "steps": 100, "budget": 100, "seconds": 2.0, "cpu_seconds": 3.0, "drawn": "lr"}
    times = {"started": pd.Timestamp("2026-01-02 03:04:05"), "ended": pd.Timestamp("2026-01-02 03:05:05")}
    numbers = {"metrics.elbo": -1.0, "metrics.kl": 5.0, "metrics.zero_fraction": 0.5, "params.lr": 0.001}
    return pd.DataFrame({**about, **ended, **took, **times, **numbers, **columns}, index=range(n))


def confirmed(**columns) -> pd.DataFrame:
    """As `analysis.confirmed` gives them."""
    n = max(len(column) for column in columns.values() if isinstance(column, list))
    about = {"study": "one", "model": "vae", "dataset": "mnist5k", "preprocessing": "grey", "likelihood": "bernoulli"}
    given = {"kind": GREY, "configuration": "defaults", "repeat": [*range(n)], "cause": "", "samples": 50, "images": 30}
    numbers = {"seconds": 4.0, "cpu_seconds": 5.0, "metrics.elbo": -1.0, "metrics.effective_samples": 20.0}
    return pd.DataFrame({**about, **given, **numbers, **columns}, index=range(n))


def test_the_best_is_a_complete_trial_of_each_model_and_data_set_over_all_studies():
    found = best(
        trials(
            study=["one", "two", "two", "two", "two"],
            number=[0, 0, 1, 2, 3],
            dataset=["mnist5k"] * 4 + ["sprites"],
            state=["COMPLETE", "COMPLETE", "PRUNED", "COMPLETE", "COMPLETE"],
            **{"metrics.elbo": [-9.0, -8.0, -1.0, NAN, -2.0]},
        )
    )
    rows = found[["dataset", "study", "number", "among", "settings", "elbo_soft_cross_entropy"]].to_numpy().tolist()
    assert rows == [["mnist5k", "two", 0, 3, "lr 0.001", -8.0], ["sprites", "two", 3, 1, "lr 0.001", -2.0]]
    assert len(best(trials(state=["PRUNED", "FAIL"]))) == 0


def test_a_setting_that_is_none_is_shown_as_such():
    found = best(trials(drawn="lr, grad_clip", **{"metrics.elbo": [-9.0, -8.0], "params.grad_clip": [5.0, NAN]}))
    assert found["settings"].tolist() == ["lr 0.001, grad_clip None"]


def test_the_best_is_by_the_first_objective():
    found = best(trials(objective="hoyer", **{"metrics.hoyer": [0.1, 0.3], "metrics.elbo": [-1.0, -2.0]}))
    assert found[["number", "hoyer", "elbo_soft_cross_entropy"]].to_numpy().tolist() == [[1, 0.3, -2.0]]


@pytest.mark.parametrize(
    "table",
    [
        best(trials(kind=[GREY, BINARY], **{"metrics.elbo": [-3.0, -1.0]})),
        spread(confirmed(kind=[GREY, BINARY], study=["one", "two"], **{"metrics.elbo": [-3.0, -1.0]})),
        ranking(trials(kind=[GREY, BINARY], **{"metrics.elbo": [-3.0, -1.0]})).sort_values("number"),
    ],
    ids=["best", "confirmed", "ranking"],
)
def test_numbers_of_different_kinds_never_share_a_column(table):
    assert "elbo" not in table
    assert table["elbo_soft_cross_entropy"].fillna(0).tolist() == [-3.0, 0]
    assert table["elbo_bound"].fillna(0).tolist() == [0, -1.0]


def test_nor_do_means_with_their_spreads():
    found = confirmation(
        confirmed(kind=[GREY, GREY, BINARY], study=["a", "a", "b"], **{"metrics.elbo": [-1.0, -3.0, 5.0]})
    )
    assert found["elbo_soft_cross_entropy"].tolist()[0] == "-2.00 ± 1.41"
    assert found["elbo_bound"].tolist()[1] == "5.00"
    same = pd.DataFrame({"kind": [GREY], "elbo": [1.0]})
    assert list(by_kind(same)) == ["kind", "elbo"]


def test_mean_and_spread_over_seeds_by_hand():
    values = {"metrics.elbo": [-10.0, -14.0, -1e9, -20.0], "metrics.effective_samples": [20.0, 20.0, 1.0, 2.0]}
    found = spread(
        confirmed(configuration=["defaults"] * 3 + ["trial-3"], cause=["", "", "nan: ...", ""], **values)
    ).set_index("configuration")
    assert found.loc["defaults", ["seeds", "failed", "too_few_samples"]].tolist() == [2, 1, False]
    assert found.loc["defaults", "elbo_soft_cross_entropy"] == -12.0
    assert found.loc["defaults", "elbo_soft_cross_entropy_sd"] == pytest.approx(math.sqrt(8))
    assert found.loc["trial-3", ["seeds", "failed", "too_few_samples"]].tolist() == [1, 0, True]
    assert math.isnan(found.loc["trial-3", "elbo_soft_cross_entropy_sd"])


def test_a_pareto_set_holds_what_no_other_trial_beats():
    given = trials(
        objectives="elbo, zero_fraction",
        state=["COMPLETE"] * 5 + ["PRUNED"],
        **{"metrics.elbo": [-3.0, -1.0, -2.0, -3.0, NAN, 0.0], "metrics.zero_fraction": [0.9, 0.1, 0.5, 0.2, 1.0, 1.0]},
    )
    found = front(given)
    assert found[["number", "elbo_soft_cross_entropy", "zero_fraction"]].to_numpy().tolist() == [
        [1, -1.0, 0.1],
        [2, -2.0, 0.5],
        [0, -3.0, 0.9],
    ]
    assert len(front(trials(number=[0, 1]))) == 0  # a single objective has a best trial


def test_unbeaten_as_one_finds_them_one_by_one():
    values = np.random.default_rng(0).integers(0, 6, (60, 3)).astype(float)  # with ties
    values[3, 1] = NAN
    for i, kept in enumerate(unbeaten(values)):
        beaten = any((values[j] >= values[i]).all() and (values[j] > values[i]).any() for j in range(60) if j != 3)
        assert kept == (not beaten and i != 3)


def test_a_study_is_a_row_with_its_ends_and_its_cost():
    given = trials(
        state=["COMPLETE", "PRUNED", "PRUNED", "FAIL", "RUNNING"], steps=[100, 20, 50, 30, 10], study=["one"] * 5
    )
    found = studies(given, confirmed(study=["one", "alone"], cause=["", "oom: ..."])).set_index("study")
    one, alone = found.loc["one"], found.loc["alone"]
    assert one[["trials", "complete", "pruned", "failed", "unfinished"]].tolist() == [5, 1, 2, 1, 1]
    assert one[["pruned_share", "failed_share"]].tolist() == [0.5, 0.25]
    assert one[["steps", "seconds", "cpu_seconds"]].tolist() == [210, 10.0, 15.0]
    assert one["saved_share"] == pytest.approx(130 / 300)
    assert one[["confirmed", "confirmed_failed", "confirmed_seconds", "confirmed_cpu_seconds"]].tolist() == [1, 0, 4, 5]
    assert alone[["trials", "confirmed", "confirmed_failed"]].tolist() == [0, 1, 1]
    assert math.isnan(alone["pruned_share"])
    assert studies(given, pd.DataFrame())["confirmed"].tolist() == [0]


def test_pathologies_have_shares_and_are_never_the_best_unless_all_have_one():
    given = trials(
        study=["one"] * 4 + ["two", "three"],
        state=["COMPLETE", "COMPLETE", "PRUNED", "FAIL", "COMPLETE", "COMPLETE"],
        pathology=["collapsed", "", "collapsed, dead", "", "", "dead"],
        objectives="elbo, zero_fraction",
        dataset=["mnist5k"] * 5 + ["sprites"],
        number=[0, 1, 2, 3, 0, 0],
        **{"metrics.elbo": [-1.0, -2.0, -3.0, NAN, -5.0, -6.0]},
    )
    shares = studies(given, pd.DataFrame())[["collapsed_share", "dead_share"]].to_numpy().tolist()
    assert shares == [[0.5, 0.25], [0.0, 0.0], [0.0, 1.0]]
    found = best(given)[["study", "number", "among"]].to_numpy().tolist()
    assert found == [["one", 1, 2], ["three", 0, 1]]
    assert front(given)[["study", "number"]].to_numpy().tolist() == [["one", 1], ["two", 0], ["three", 0]]
    assert ranking(given)["pathology"].tolist()[:2] == ["collapsed", ""]
    assert "pathology" not in ranking(given.assign(pathology=""))


# What docs/tables.md says.


def documented(name: str) -> list[str]:
    """The columns of a summary in the page, in order."""
    page = DOCS.read_text(encoding="utf-8")
    [part] = re.findall(rf"^### `{name}`:[^\n]*\n(.*?)(?=^#|\Z)", page, re.M | re.S)
    return [column for cell in re.findall(r"^\| (`.+?`) \|", part, re.M) for column in re.findall("`([^`]+)`", cell)]


def matches(column: str, patterns: list[str]) -> bool:
    return any(re.fullmatch(re.escape(pattern).replace(r"\*", ".+"), column) for pattern in patterns)


@pytest.mark.parametrize("name", [name for name in TABLES if name != "trials"])
def test_every_column_is_documented_and_no_other(name):
    measures = {"metrics.reconstruction": -2.0, "metrics.log_likelihood": -1.0, "metrics.active_units": 3.0}
    given = trials(objectives="elbo, zero_fraction", number=[0, 1], **measures, **{"metrics.adversarial_elbo": 1.0})
    given = given.assign(objective=["elbo", "log_likelihood"], pathology=["collapsed, dead", "saturated"])
    table = TABLES[name].whole(given, confirmed(repeat=[0, 1]))
    patterns = documented(name)
    assert all(matches(column, patterns) for column in table), [c for c in table if not matches(c, patterns)]
    plain = [pattern for pattern in patterns if "*" not in pattern]
    assert [column for column in table if column in plain] == [c for c in plain if c in table.columns]
    assert all(any(matches(column, [pattern]) for column in table) for pattern in patterns)


def test_every_table_has_its_place_in_the_page():
    page = DOCS.read_text(encoding="utf-8")
    assert set(re.findall(r"^### `(\w+)`:", page, re.M)) == set(TABLES)
