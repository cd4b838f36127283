"""The benchmark of the disentangling models: its settings are all that could matter, its shares, what it owes."""

import numpy as np
import pytest

import searchspaces
from analysis.figures import mean_activations as activations
from benchmarks import disentangling
from benchmarks.disentangling import COLUMNS, COMMON, GRID, SETTINGS, missing, shares, tables
from benchmarks.kept import record, rows


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_pins_all_that_its_models_space_draws(name):
    model, config = SETTINGS[name]
    of_parts = {"hidden", "top_m"} | (set(searchspaces.defaults("vae")) if model == "vae" else set())
    assert set(searchspaces.defaults(model)) - of_parts <= {*config, *COMMON}
    assert {"beta", "kl_warmup", "posterior", "prior"} <= set(config) or model != "vae"


def test_shares_of_latents_that_show_one_factor_two_or_none_or_are_not_active():
    sizes = (3, 4, 5)
    grid = np.meshgrid(*(np.arange(n) for n in sizes), indexing="ij")
    first, second, third = ((values - values.mean()) / values.std() for values in grid)
    means = np.stack([first, 5 * second, second + 2 * third, first * third, 0.01 * first], axis=-1)
    expected = [[1, 0, 0], [0, 1, 0], [0, 0.2, 0.8], [0, 0, 0], [0, 0, 0]]
    np.testing.assert_allclose(shares(means), expected, atol=1e-12)


def test_scores_of_a_latent_for_each_factor_and_of_latents_that_show_nothing(tmp_path):
    perfect = np.stack(np.meshgrid(*(np.arange(n) for n in (5, 6, 7)), indexing="ij"), axis=-1).astype(np.float32)
    useless = np.random.default_rng(0).normal(size=perfect.shape).astype(np.float32)
    np.save(disentangling.means_file(tmp_path, "vae", 1), perfect)
    np.save(disentangling.means_file(tmp_path, "vae", 2), useless)
    best, worst = (disentangling.with_scores({"setting": "vae", "seed": seed}, tmp_path) for seed in "12")
    names = ("mig", "factor_vae", "disentanglement", "completeness")
    assert all(float(best[name]) > 0.9 for name in names), best
    assert all(float(worst[name]) < 0.7 for name in names), worst
    scored = tables([{**row, "elbo": "1", "steps": "10"} for row in (best, worst)], 10).split("\n\n")[1]
    assert "| vae | 2 | 0." in scored
    assert " ± " in scored


def test_what_is_recorded_is_not_owed_again_and_is_what_the_tables_show(tmp_path):
    table = tmp_path / "disentangling.csv"
    names = list(SETTINGS)[:2]
    assert missing(rows(table), names, [1, 2], 10) == [(names[0], 1), (names[1], 1), (names[0], 2), (names[1], 2)]
    for seed, elbo in ((1, -100.0), (2, -104.0)):
        record(
            table,
            COLUMNS,
            {"setting": names[0], "seed": seed, "steps": 10, "elbo": elbo, "kl": 3.0, "best_scale": 0.25},
        )
    assert missing(rows(table), names, [1, 2], 10) == [(names[1], 1), (names[1], 2)]
    assert missing(rows(table), names, [1], 20) == [(names[0], 1), (names[1], 1)]
    numbers, _, best = tables(rows(table), 10).split("\n\n")
    assert numbers.splitlines()[2] == "| vae | 2 | 102.0 ± 2.8 |  | 3.0 ± 0.0 |  |  |  |  |"
    assert best.splitlines()[2] == "| vae | 2 |  | 0.25 ± 0.00 |  |  |  |"


def test_a_picture_is_of_all_values_of_the_grid():
    means = np.random.default_rng(0).normal(size=(*GRID.values(), 2))
    figure = activations.picture(activations.Activations(disentangling.SHOWN, means, ["z 0", "z 1"]), "Title")
    assert [len(ax.lines[0].get_xdata()) for ax in figure.axes[1:3]] == [GRID["scale"], GRID["orientation"]]
