"""A path among the options of a data set: what it is relative to, and what is said where there is nothing."""

import shutil

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from study import spec
from study.record.folder import Run
from study.spec import SpecError, StudySpec, check, load

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 6, 10, 3), np.uint8)


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Two folders, each with an own.npz; the current folder is `here`."""
    for number, name in enumerate(("here", "presets"), 1):
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "own.npz", images=IMAGES[: 20 * number])
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


@pytest.fixture
def own(raw):
    """A small specification of one's own images; of a path none, where none is given."""

    def make(path=None, **changes):
        options = {} if path is None else {"path": path}
        return raw(dataset="images", **{"dataset_options": options, **changes})

    return make


@pytest.fixture
def written(places, own):
    """Writes a preset beside the images in `presets`."""

    def make(path="own.npz", name="mine", **changes):
        file = places / "presets" / f"{name}.yaml"
        file.write_text(yaml.safe_dump({**own(path), **changes}))
        return file

    return make


def path_of(found: StudySpec) -> str:
    return found.dataset_options["path"]


def test_in_a_preset_it_is_relative_to_the_presets_folder(written, places):
    found = load(written())
    assert path_of(found) == str(places / "presets" / "own.npz")
    assert (found.images.image_shape, found.images.train) == ((3, 6, 10), 32)
    assert path_of(load(written("../here/own.npz"))) == str(places / "here" / "own.npz")
    assert path_of(load(written(str(places / "here" / "own.npz")))) == str(places / "here" / "own.npz")


def test_what_is_set_on_the_command_line_is_relative_to_the_current_folder(written, places):
    for path in (written(), written(path=None)):
        assert path_of(load(path, ["dataset_options.path=own.npz"])) == str(places / "here" / "own.npz")
    found = load("vae-mnist", ["dataset=images", "dataset_options.path=../presets/own.npz"])
    assert path_of(found) == str(places / "presets" / "own.npz")


def test_in_python_it_is_relative_to_the_current_folder(own, places):
    assert path_of(StudySpec(**own("own.npz"))) == str(places / "here" / "own.npz")
    assert path_of(StudySpec(**own(places / "presets" / "own.npz"))) == str(places / "presets" / "own.npz")


def test_home_is_home_everywhere(written, own, places, monkeypatch):
    monkeypatch.setenv("HOME", str(places / "here"))
    found = [
        load(written("~/own.npz")),
        load(written(), ["dataset_options.path=~/own.npz"]),
        StudySpec(**own("~/own.npz")),
    ]
    assert {path_of(one) for one in found} == {str(places / "here" / "own.npz")}


def test_a_base_names_what_lies_beside_it(written, places, own):
    base = written(name="base")
    mine = places / "here" / "mine.yaml"
    mine.write_text(yaml.safe_dump({"base": str(base), "trials": 3}))
    assert path_of(load(mine)) == str(places / "presets" / "own.npz")
    mine.write_text(yaml.safe_dump({"base": str(base), "dataset_options": {"path": "own.npz", "size": 4}}))
    found = load(mine)
    assert path_of(found) == str(places / "here" / "own.npz")
    assert found.images.image_shape == (3, 4, 4)
    mine.write_text(yaml.safe_dump({"base": "vae-mnist", "dataset": "images", "dataset_options": {"path": "own.npz"}}))
    assert path_of(load(mine)) == str(places / "here" / "own.npz")


def test_the_resolved_specification_is_read_the_same_from_anywhere(written, places, monkeypatch):
    found = load(written())
    (places / "run").mkdir()
    (places / "run" / "study.yaml").write_text(spec.dump(found))
    monkeypatch.chdir("/")
    assert load(places / "run" / "study.yaml") == found


def test_a_table_names_the_file_and_not_its_folders(written):
    assert load(written()).data == "images (own.npz)"
    assert load(written(), ["dataset_options.size=[4, 8]", "dataset_options.grey=true"]).data == (
        "images (own.npz, grey True, size [4, 8])"
    )


def test_paths_of_no_data_set_stay_as_they_are(raw, write):
    assert load(write(yaml.safe_dump(raw(dataset="points", dataset_options={"n": 3})))).dataset_options == {"n": 3}
    (line,) = check(raw(dataset_options={"path": "own.npz"}))
    assert line == "dataset_options: mnist5k has no option 'path'; it takes none"


# What is wrong with it.


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (None, "dataset_options: images needs the option path: the npz or npy file, or the folder of pictures, that"),
        (3, "dataset_options: images: path is 3, where that of an npz or npy file or of a folder is needed"),
        ("none.npz", "dataset_options: images: {presets}/none.npz cannot be read (No such file or directory)"),
        ("mine.yaml", "dataset_options: images: {presets}/mine.yaml is neither npz nor npy, nor a folder of pictures"),
    ],
)
@pytest.mark.parametrize("budget", [{"steps": 60, "report_every": 10}, {"epochs": 2}])
def test_a_mistake_is_one_line_among_others(written, places, path, message, budget):
    with pytest.raises(SpecError) as caught:
        load(written(path, asha={"grace": 10}, budget=budget, trials="8", pairing="targets"))
    first, second = sorted(str(caught.value).splitlines())
    assert first.startswith(f"mine.yaml: {message.format(presets=places / 'presets')}")
    assert second == "mine.yaml: trials: input should be a valid integer, got '8'"


def test_wrong_options_are_no_specification_but_a_missing_file_is_none_of_its_mistakes(own, places):
    for wrong in ({}, {"path": "own.npz", "size": 0}, {"path": "own.npz", "siez": 3}):
        with pytest.raises(ValidationError):
            StudySpec(**own(dataset_options=wrong))
    assert StudySpec(**own("none.npz")).data == "images (none.npz)"


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_networks_take_images_that_are_not_square(own, places, network):
    assert check(own("own.npz", fixed={"network": network})) == []


def test_images_are_single(own, places):
    (line,) = check(own("own.npz", pairing="targets"))
    assert line == "pairing: targets is for data sets of pairs; an image of images is single"


def test_a_run_whose_images_are_gone_can_still_be_read(written, places):
    found = load(written())
    run = Run(places / "runs" / "tiny")
    run.create(found)
    shutil.move(places / "presets" / "own.npz", places / "elsewhere.npz")
    assert run.spec() == found
    assert run.spec().data == "images (own.npz)"
    with pytest.raises(SpecError, match="No such file or directory"):
        load(run.study_yaml)
