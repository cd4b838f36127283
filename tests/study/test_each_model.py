"""Each model from a preset that comes with the project to a confirmed table, on a few images, with one Ray for all."""

import pytest

import analysis
import analysis.__main__
import models
from study.record.folder import Run
from study.spec import presets
from study.spec.preset import read

SMALL = {  # data sets that a preset may be tried on here, and with what; the quickest first
    "points": [],
    "conjoint_points": [],
    "mnist5k": [],
    "mnist": ["dataset=mnist5k", "fixed.hidden=16", "fixed.latent=4"],
    "sprites": ["dataset_options={scale: 2, orientation: 6, pos_x: 4, pos_y: 4}"],
}
OWN = {"savae": ["fixed.svi_clip=5.0"]}  # without which it may draw steps so large that it diverges
SHORT = [
    *("trials=2", "asha=null", "budget.steps=4", "budget.report_every=2", "budget.batch=8"),
    *("confirm.top=1", "confirm.seeds=1", "confirm.samples=2", "confirm.images=8", "confirm.scores=[]"),
    *("validation.images=20", "validation.samples=5"),
]


def tried(model: str) -> tuple[str, str]:
    """A preset of the model, and its data set."""
    said = {name: read(name)[1] for name in presets()}
    found = [(name, raw["dataset"]) for name, raw in said.items() if raw["model"] == model and raw["dataset"] in SMALL]
    assert found, f"{model} has no preset on one of {', '.join(SMALL)}"
    return min(found, key=lambda each: [*SMALL].index(each[1]))


@pytest.mark.long
@pytest.mark.parametrize("model", models.names())
def test_a_preset_a_search_a_confirmation_and_a_table(model, ray_up, command, tmp_path):
    name, dataset = tried(model)
    changes = [part for change in (*SMALL[dataset], *SHORT, *OWN.get(model, ())) for part in ("--set", change)]
    assert command("run", name, *changes, "--root", tmp_path / "runs")[::2] == (0, "")
    run = Run(tmp_path / "runs" / name)
    trials = analysis.trials(run.path)
    assert list(trials["state"]) == ["COMPLETE"] * 2
    assert trials[[f"metrics.{objective}" for objective in run.spec().objectives]].notna().all(axis=None)

    assert command("confirm", run.path)[::2] == (0, "")
    confirmed = analysis.confirmed(run.path)
    assert len(confirmed) == 2
    assert set(confirmed["model"]) == {model}
    assert confirmed["metrics.log_likelihood"].notna().all()

    code, out, err = command("table", run.path, app=analysis.__main__.app)
    assert (code, err) == (0, "")
    _, _, of_seeds = out.partition("Confirmed over fresh seeds, on the test set")
    assert [configuration in of_seeds for configuration in confirmed["configuration"]] == [True, True]
