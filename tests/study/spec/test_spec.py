"""A specification as it is read: from presets, from files, with overrides, and back."""

import pytest
import shapes
import yaml

import study
from study import spec
from study.record.folder import Run
from study.record.words import plan
from study.spec import SpecError, StudySpec, check, load

every_preset = pytest.mark.parametrize("name", spec.presets())


# What is sound.


@every_preset
def test_every_preset_is_sound(name):
    found = load(name)
    assert found.name == name
    assert found.steps >= found.report_every > 0
    if found.asha is not None:
        assert found.rungs
        assert all(rung % found.report_every == 0 for rung in found.rungs)


def test_there_is_a_preset_to_begin_with():
    assert "quickstart" in spec.presets()
    assert study.load("quickstart").dataset == "mnist5k"  # needs no network


@shapes.every_preset("name")
def test_a_dumped_specification_loads_to_the_same(name, write):
    found = load(name)
    assert load(write(spec.dump(found))) == found


def test_every_value_survives_the_dump(raw, write):
    given = StudySpec(
        **raw(
            name="1e5",
            likelihood="gaussian",
            sigma=1,
            objective=["elbo", "hoyer"],
            asha={"grace": 20, "reduction": 4},
            fixed={"hidden": [20, 30], "lr": 1e-7, "betas": [0.5, 0.9], "grad_clip": None, "network": "conv"},
            confirm={"top": 0},
            resources={"gpus": 0.25},
            storage="sqlite:////tmp/ä.db",
        )
    )
    text = spec.dump(given)
    assert load(write(text)) == given
    assert yaml.safe_load(text)["confirm"]["seeds"] == 5  # defaults are written out


def test_a_specification_survives_the_way_to_a_worker(raw):
    given = StudySpec(**raw(asha={"grace": 10}, fixed={"hidden": (20, 30)}))
    assert StudySpec(**given.model_dump()) == given


def test_numbers_may_be_written_as_people_write_them(write, raw):
    text = yaml.safe_dump(raw()) + "seed: 7\n"
    found = load(write(text), ["fixed.lr=1e-3", "fixed.beta=2", "fixed.weight_decay=1E-4", "confirm.top=2"])
    assert found.fixed["lr"] == 1e-3
    assert found.fixed["beta"] == 2
    assert found.fixed["weight_decay"] == 1e-4
    assert found.seed == 7


def test_overrides_replace_add_and_empty_keys():
    found = load(
        "quickstart",
        [
            "trials=3",
            "budget.steps=600",
            "asha=null",
            "fixed.lr=0.002",
            "objective=[elbo, zero_fraction]",
            "confirm={top: 2}",
            "name=other",
            "budget.steps=800",
        ],
    )
    assert (found.trials, found.steps, found.asha, found.name) == (3, 800, None, "other")
    assert found.fixed["lr"] == 0.002
    assert found.fixed["latent"] == 50
    assert found.objectives == ("elbo", "zero_fraction")
    assert found.confirm == spec.Confirm(top=2)


def test_a_group_that_a_preset_lacks_can_be_added(write, raw):
    assert load(write(yaml.safe_dump(raw())), ["asha.grace=20"]).rungs == [20]


def test_a_path_is_told_from_a_presets_name(write, raw, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quickstart").write_text("name: never read")
    assert load("quickstart").name == "quickstart"
    write(yaml.safe_dump(raw()))
    assert load("mine.yaml").name == "tiny"


def test_reports_are_a_twentieth_of_the_budget_unless_said_otherwise(raw):
    def every(**budget) -> int:
        return StudySpec(**raw(budget={"report_every": None, **budget})).report_every

    assert every(steps=2000) == 100
    assert every(steps=7) == 1
    assert every(steps=2000, report_every=300) == 300


# Files and overrides.


@pytest.mark.parametrize(
    ("content", "holds"),
    [
        ("", "mine.yaml: holds nothing; a preset is a mapping of keys"),
        ("# only a remark\n", "mine.yaml: holds nothing"),
        ("- a\n- b\n", "mine.yaml: holds a list; a preset is a mapping of keys"),
        ("just text", "mine.yaml: holds a str; a preset is a mapping"),
        ("name: [1, 2\nmodel: vae\n", "mine.yaml: is not YAML (line "),
        ("name: tiny\n\tmodel: vae\n", "mine.yaml: is not YAML (line 2): "),
        ("name: \x07", "mine.yaml: is not YAML: unreadable characters"),
        ("seed: 2020-13-45", "mine.yaml: is not YAML"),
        (bytes(range(256)), "cannot be read: it is not a text file in UTF-8; a preset is a YAML file"),
        ("{[1]: 2}", "mine.yaml: is not YAML (line 1)"),
        ("1: 2", "mine.yaml: 1: there is no such key"),
        ("seed: 1\nseed: 2\n", "mine.yaml: is not YAML (line 2): 'seed' stands twice"),
        ("fixed: {lr: 1, lr: 2}", "mine.yaml: is not YAML (line 1): 'lr' stands twice"),
        ("a: &a [1]\nb: [*a, *a]\n", "mine.yaml: is not YAML (line 2): aliases are not taken"),
        ("[" * 10_000, "mine.yaml: is not YAML"),
    ],
)
def test_a_file_that_is_no_preset_is_refused(write, content, holds):
    with pytest.raises(SpecError) as caught:
        load(write(content))
    assert holds in str(caught.value)


def test_a_file_that_is_not_there_is_met_with_the_presets(tmp_path):
    with pytest.raises(SpecError, match=r"quickstrat: no such preset or file; presets: .*Did you mean 'quickstart'\?"):
        load("quickstrat")
    with pytest.raises(SpecError, match="no such preset or file"):
        load(tmp_path / "none" / "mine.yaml")
    with pytest.raises(SpecError, match="cannot be read: Is a directory; a preset is a YAML file"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trials", "--set 'trials': must be key=value, for example --set budget.steps=500"),
        ("=5", "--set '=5': must be key=value"),
        ("budget..steps=5", "--set 'budget..steps=5': must be key=value"),
        ("", "--set '': must be key=value"),
        ("fixed=[1", "--set 'fixed=[1': the value is not YAML"),
        ("seed=2020-13-45", "--set 'seed=2020-13-45': the value is not YAML"),
        ("name.first=x", "--set 'name.first=x': name is not a group of keys"),
        ("trails=4", "trails: there is no such key"),
        ("trials=", "trials: input should be a valid integer, got None"),
    ],
)
def test_an_override_that_cannot_be_is_refused(override, message):
    with pytest.raises(SpecError) as caught:
        load("quickstart", [override])
    assert message in str(caught.value)


def test_a_run_of_an_earlier_release_may_ask_for_more_images_than_there_are(raw):
    given = raw(validation={"images": 5000}, confirm={"images": 700})
    kept = StudySpec.model_validate(given, context="kept")
    assert (kept.validated, kept.tested) == (500, 500)
    assert "reports on 500 validation images" in plan(kept, Run("tiny"))


def test_a_run_of_an_earlier_release_may_pin_what_nothing_reads(raw):
    given = raw(dataset="sprites", fixed={"network": "celeba", "hidden": 256})
    assert check(given)
    assert check(given, kept=True) == []


@pytest.mark.parametrize("name", spec.presets())
def test_no_preset_asks_for_more_images_than_there_are(name):
    found = load(name)
    assert found.validated in (None, found.validation.images)
    assert found.tested == min(found.confirm.images, found.images.test)
