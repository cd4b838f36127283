"""Preset files: each says what differs from its base and from the defaults, and nothing else."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from pydantic_core import PydanticUndefined

from study import spec
from study.spec import Asha, Budget, Confirm, Preprocessing, Resources, SpecError, StudySpec, load, preset

GROUPS = {"asha": Asha, "budget": Budget, "confirm": Confirm, "preprocessing": Preprocessing, "resources": Resources}
BASE = {
    "name": "base",
    "model": "vae",
    "dataset": "mnist5k",
    "fixed": {"posterior": "gaussian", "prior": "standard", "latent": 4, "hidden": 16},
    "trials": 3,
    "asha": {"grace": 20},
    "budget": {"steps": 60, "batch": 32, "report_every": 10},
}


@pytest.fixture
def write(tmp_path):
    """Writes a preset to a file in a folder of the test's own."""

    def make(stem: str, /, **keys: Any):
        path = tmp_path / f"{stem}.yaml"
        path.write_text(yaml.safe_dump(keys, sort_keys=False), encoding="utf-8")
        return path

    return make


@pytest.fixture
def on_base(write):
    """Loads a preset on top of BASE."""

    def make(**keys: Any) -> StudySpec:
        write("base", **BASE)
        return load(write("mine", base="base.yaml", **keys))

    return make


# A base.


def test_what_is_not_said_is_the_bases_but_for_the_name(on_base):
    expected = StudySpec(**{**BASE, "name": "mine"})
    assert on_base() == expected
    assert on_base(name="other") == expected.model_copy(update={"name": "other"})


def test_groups_are_merged_and_other_values_replaced(on_base):
    found = on_base(
        fixed={"hidden": [8, 8], "beta": 2.0}, budget={"steps": 80}, confirm={"top": 1}, objective=["elbo", "hoyer"]
    )
    assert found.fixed == {**BASE["fixed"], "hidden": [8, 8], "beta": 2.0}
    assert (found.budget.steps, found.budget.batch, found.report_every) == (80, 32, 10)
    assert (found.confirm, found.objectives, found.trials) == (spec.Confirm(top=1), ("elbo", "hoyer"), 3)


def test_null_takes_away_what_the_base_says(on_base):
    found = on_base(trials=None, asha=None, fixed={"latent": None}, budget={"steps": None, "epochs": 2})
    assert (found.trials, found.asha) == (64, None)
    assert found.fixed == {key: value for key, value in BASE["fixed"].items() if key != "latent"}
    assert (found.budget.steps, found.budget.epochs, found.budget.batch) == (None, 2, 32)


def test_null_is_a_value_where_the_base_says_nothing(on_base):
    assert on_base(fixed={"grad_clip": None}).fixed["grad_clip"] is None


def test_a_base_may_be_a_preset_of_the_project(write):
    expected = load("quickstart", ["name=mine", "trials=4", "fixed.latent=9"])
    assert load(write("mine", base="quickstart", trials=4, fixed={"latent": 9})) == expected


def test_what_is_set_on_the_command_line_is_set_last(on_base, tmp_path):
    on_base()
    found = load(tmp_path / "mine.yaml", ["budget.steps=90", "fixed.latent=9"])
    assert (found.steps, found.fixed["latent"], found.fixed["hidden"]) == (90, 9, 16)


def test_the_resolved_specification_names_no_base(on_base):
    assert "base" not in yaml.safe_load(spec.dump(on_base()))


def test_a_file_without_a_name_is_called_as_its_file(write):
    keys = {key: value for key, value in BASE.items() if key != "name"}
    assert load(write("alone", **keys)).name == "alone"
    with pytest.raises(SpecError, match=r"my study\.yaml: name: must do for a folder.*got 'my study'"):
        load(write("my study", **keys))


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("quickstrat", r"mine\.yaml: base: quickstrat: no such preset or file; .*Did you mean 'quickstart'\?"),
        ("none/base.yaml", r"mine\.yaml: base: none/base\.yaml: no such preset or file"),
        (5, r"mine\.yaml: base: must be the name of a preset, or the path of a YAML file, got 5"),
        (["quickstart"], r"mine\.yaml: base: must be the name of a preset"),
        ("iaf-mnist", r"mine\.yaml: base: iaf-mnist has a base itself, vlae-mnist; start from vlae-mnist"),
        ("mine.yaml", r"mine\.yaml: base: mine\.yaml has a base itself, mine\.yaml"),
        (".", r"mine\.yaml: base: \.: cannot be read: Is a directory"),
    ],
)
def test_a_base_that_is_none_is_refused(write, base, message):
    with pytest.raises(SpecError, match=message):
        load(write("mine", base=base))


def test_a_base_is_not_set_on_the_command_line():
    with pytest.raises(SpecError, match=r"--set 'base=vae-mnist': a base is named in a file; give that preset"):
        load("quickstart", ["base=vae-mnist"])


def test_a_misspelt_base_is_a_key_that_is_not_there(write):
    with pytest.raises(SpecError, match=r"bsae: there is no such key; .*Did you mean 'base'\?"):
        load(write("mine", bsae="quickstart"))


# The project's own presets.


def leaves(raw: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """The keys of a preset, those of a group each by itself."""
    for key, value in raw.items():
        if isinstance(value, dict):
            yield from ((key, inner) for inner in value)
        else:
            yield (key,)


def without(raw: dict[str, Any], leaf: tuple[str, ...]) -> dict[str, Any]:
    key, *inner = leaf
    if not inner:
        return {k: value for k, value in raw.items() if k != key}
    return {**raw, key: {k: value for k, value in raw[key].items() if k != inner[0]}}


def whole(raw: dict[str, Any]) -> dict[str, Any]:
    """With every default; a group that is not whole stays as it is."""
    fields = StudySpec.model_fields.items()
    found = {key: field.get_default(call_default_factory=True, validated_data=raw) for key, field in fields}
    found = {key: value for key, value in found.items() if value is not PydanticUndefined} | raw
    for key, group in GROUPS.items():
        try:
            found[key] = group(**found[key]) if isinstance(found[key], dict) else found[key]
        except (ValidationError, KeyError):
            continue
    return found


@pytest.mark.parametrize("name", spec.presets())
def test_no_preset_says_what_is_so_without_it(name, tmp_path):
    path = preset.PRESETS / f"{name}.yaml"
    own = spec.parse(path.read_text(encoding="utf-8"))
    full = whole(preset.read(name)[1])
    assert "name" not in own
    for leaf in leaves(own):
        shorter = tmp_path / f"{name}.yaml"
        shorter.write_text(yaml.safe_dump(without(own, leaf)), encoding="utf-8")
        assert whole(preset.read(shorter)[1]) != full, leaf


@pytest.mark.parametrize("name", spec.presets())
def test_every_preset_says_what_it_is_for_and_how_it_is_run(name):
    first, second, *_ = (preset.PRESETS / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    assert preset.purpose(name) == first.removeprefix("# ") != ""
    assert second == f"#     python -m study run {name}"
