"""What every data set keeps to, beforehand and when it is loaded."""

import importlib
import importlib.util
import os
import subprocess
import sys
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest

import imagesets
from imagesets import PackedImages, files, mnist5k

NAMES = imagesets.names()
REPOSITORY = Path(imagesets.__path__[0]).parent
SMALL = {"sprites": {"shape": None, "scale": 2, "orientation": [0, 9, 18, 27], "pos_x": 4, "pos_y": 4}}
IN_ROOT = {"mnist"}  # sets with sources whose files the fixture `root` has; those of others are made by layouts/
POPULATIONS = {
    "points": "every split holds copies of the same few points",
    "conjoint_points": "every split holds copies of the same few pairs",
}


def layout_of(name) -> ModuleType | None:
    """The module that makes a data set's files small and shrinks its sizes to them."""
    found = importlib.util.find_spec(f"layouts.{name}")
    return importlib.import_module(f"layouts.{name}") if found else None


@pytest.fixture(scope="module")
def folders(root, tmp_path_factory):
    """Gives the data folder of a data set: `root`, or one with small files in the layout of the publisher."""
    made = {}

    def folder(name):
        layout = layout_of(name)
        if layout is None:
            if imagesets.about(name).sources and name not in IN_ROOT:
                pytest.fail(f"{name} has source files, but neither the fixture `root` nor layouts/{name}.py has them")
            return root
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            with pytest.MonkeyPatch.context() as patch:
                layout.shrink(patch)
                layout.make(made[name])
        return made[name]

    return folder


class Case(NamedTuple):
    """A data set, small enough to be loaded often, and where its files lie."""

    name: str
    folder: Path
    options: dict[str, Any]

    def load(self, folder=None):
        return imagesets.load(self.name, folder or self.folder, **self.options)

    def info(self):
        return imagesets.info(self.name, **self.options)


@pytest.fixture
def case(request, folders, digits, monkeypatch):
    monkeypatch.setattr(mnist5k, "parse", lambda: digits)
    name = request.param
    folder = folders(name)
    if (layout := layout_of(name)) is not None:
        layout.shrink(monkeypatch)
    options = layout.options(folder) if hasattr(layout, "options") else SMALL.get(name, {})
    return Case(name, folder, options)


every = pytest.mark.parametrize("case", NAMES, indirect=True)


def arrays(splits):
    """All arrays of the splits by name; packed images are unpacked."""
    return {
        f"{part}.{kind}": values[:]
        for part, split in splits._asdict().items()
        for kind, values in split._asdict().items()
        if values is not None
    }


def assert_equal(first, second):
    first, second = arrays(first), arrays(second)
    assert first.keys() == second.keys()
    for name, values in first.items():
        assert np.array_equal(values, second[name]), name


# What is known of every data set beforehand


@pytest.mark.parametrize("name", NAMES)
def test_a_description_is_a_line(name):
    info = imagesets.about(name)
    for line in (info.description, info.files):
        assert line == line.strip() != ""
        assert "\n" not in line


@pytest.mark.parametrize("name", [name for name in NAMES if imagesets.about(name).sources])
def test_a_stand_in_needs_no_file(name):
    info = imagesets.info(name)
    assert imagesets.info(info.stand_in).sources == ()
    assert not any(Path(source).is_absolute() or ".." in Path(source).parts for source in info.sources)
    assert len(set(info.sources)) == len(info.sources)


@pytest.mark.parametrize("name", NAMES)
def test_an_option_that_no_data_set_has_is_refused(name):
    options = imagesets.options(name)
    for wrong, nearest in [(f"{option}x", option) for option in options] or [("size", None)]:
        with pytest.raises(imagesets.DataError) as caught:
            imagesets.info(name, **{wrong: 1})
        takes = f"it takes {', '.join(options)}. Did you mean {nearest!r}?" if options else "it takes none"
        assert str(caught.value) == f"{name} has no option {wrong!r}; {takes}"


@pytest.mark.parametrize("name", [name for name in NAMES if imagesets.options(name)])
def test_the_info_is_that_of_the_default_options(name):
    options = imagesets.options(name)
    if imagesets.NEEDED in options.values():
        with pytest.raises(imagesets.DataError, match=f"^{name} needs the option "):
            imagesets.info(name)
        assert imagesets.about(name).image_shape == ()
    else:
        assert imagesets.info(name, **options) == imagesets.info(name) == imagesets.about(name)


@every
def test_only_what_is_ones_own_has_a_checksum(case):
    found = imagesets.checksum(case.name, case.folder, **case.options)
    assert (found is not None) == bool(imagesets.paths(case.name))


# What every data set loads


@every
def test_splits_are_what_info_says(case):
    info, splits = case.info(), case.load()
    assert [len(split.images) for split in splits] == [info.train, info.valid, info.test]
    for split in splits:
        assert split.images.dtype == np.uint8
        assert split.images.shape[1:] == info.image_shape
        if not isinstance(split.images, PackedImages):
            assert split.images.flags.c_contiguous
            assert split.images.flags.writeable  # torch.from_numpy warns of any other
        assert split.images[:3].flags.c_contiguous
        assert split.images[:].max() > 0
        for given in (split.labels, split.factors):
            assert given is None or (given.dtype == np.int64 and len(given) == len(split.images))
        assert split.labels is None or (split.labels.ndim == 1 and split.labels.min() >= 0)


@every
def test_factors_count_the_values_that_info_names(case):
    sizes = list(case.info().factors.values())
    for split in case.load():
        assert (split.factors is not None) == bool(sizes)
        if split.factors is not None:
            assert split.factors.shape == (len(split.images), len(sizes))
            assert (split.factors >= 0).all()
            assert (split.factors < sizes).all()


@pytest.mark.parametrize("case", [name for name in NAMES if name not in POPULATIONS], indirect=True)
def test_splits_are_disjoint(case):
    hashes = [hash(image.tobytes()) for split in case.load() for image in split.images[:]]
    assert len(set(hashes)) == len(hashes)  # of 70,000 different images two have equal hashes once in 10^10 times


@pytest.mark.parametrize("case", POPULATIONS, indirect=True)
def test_splits_that_hold_a_population_say_so(case):
    assert "not disjoint" in case.info().description
    first, *others = ({image.tobytes() for image in split.images} for split in case.load())
    assert others == [first, first]


@every
def test_two_loads_are_equal(case):
    assert_equal(case.load(), case.load())


@every
def test_order_does_not_follow_the_labels(case):
    splits = case.load()
    for split in splits:
        assert split.labels is None or len(np.unique(split.labels[:100])) > 1
    for split in (splits.train, splits.valid):  # an official test split keeps its order
        if split.labels is not None:
            steps = np.diff(split.labels)
            assert (steps > 0).any()
            assert (steps < 0).any()


@every
def test_writing_to_an_array_changes_neither_the_file_nor_another_load(case):
    before = {name: values.copy() for name, values in arrays(case.load()).items()}
    kept = {path: zlib.crc32(path.read_bytes()) for path in (case.folder / "cache").rglob("*.npy")}
    assert kept
    first, second = case.load(), case.load()
    for values in arrays(first).values():
        values[:] = 77
    for values in (split.images for split in first if not isinstance(split.images, PackedImages)):
        assert (values == 77).all()  # they were written to
    for name, values in arrays(second).items():
        assert np.array_equal(values, before[name]), name
    assert {path: zlib.crc32(path.read_bytes()) for path in (case.folder / "cache").rglob("*.npy")} == kept


@every
def test_what_is_kept_is_counted(case):
    splits = case.load()
    least = sum(values.nbytes for split in splits for values in split if isinstance(values, np.ndarray))
    assert imagesets.size(case.folder, case.name) >= max(least, 1)


@every
def test_a_folder_that_cannot_be_written_loads_the_same(case, tmp_path):
    if case.info().sources:
        (tmp_path / "cache").touch()  # in the place of the folder
        for entry in case.folder.iterdir():
            if entry.name != "cache":
                (tmp_path / entry.name).symlink_to(entry)
        unwritable = tmp_path
    else:
        (tmp_path / "file").touch()
        unwritable = tmp_path / "file" / "data"
    before = sorted(os.listdir(tmp_path))
    assert_equal(case.load(), case.load(unwritable))
    assert sorted(os.listdir(tmp_path)) == before
    assert all(path.stat().st_size == 0 for path in tmp_path.iterdir() if path.name in ("cache", "file"))


@pytest.mark.parametrize("case", [name for name in NAMES if imagesets.about(name).sources], indirect=True)
def test_missing_files_without_a_network_are_one_quiet_line(case, tmp_path, capfd):
    info = case.info()
    missing = [tmp_path / source for source in info.sources]
    assert imagesets.missing(case.name, tmp_path, **case.options) == missing
    assert imagesets.missing(case.name, case.folder, **case.options) == []
    with pytest.raises(imagesets.DataError) as caught:
        case.load(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{case.name}: {missing[0]} is missing")
    assert f"under {tmp_path}" in message
    assert message.endswith(f"or use {info.stand_in}, which needs no download")
    assert "\n" not in message
    assert capfd.readouterr() == ("", "")
    assert {path.suffix for path in tmp_path.rglob("*") if not path.is_dir()} <= {".lock"}
    assert not files.show_progress.get()


MEMORY = """
import re, sys
import imagesets

def private():
    "MiB of memory that no other process shares and no file holds."
    smaps = open("/proc/self/smaps_rollup").read()
    return int(re.search("Private_Dirty: *([0-9]+) kB", smaps)[1]) / 1024

before = private()
loaded = [imagesets.load("mnist", sys.argv[1]) for _ in range(2)]
total = sum(int(split.images.sum()) for splits in loaded for split in splits)
print(total, before, private(), sorted({"torch", "torchvision"} & set(sys.modules)))
"""


def test_a_process_holds_no_copy_of_mnist(root):
    total = sum(int(split.images.sum()) for split in imagesets.load("mnist", root))
    command = [sys.executable, "-c", MEMORY, str(root)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    read, before, after, heavy = done.stdout.split(maxsplit=3)
    assert int(read) == 2 * total
    assert float(after) < 100  # MiB; each copy would be 53
    assert float(after) - float(before) < 20
    assert heavy.strip() == "[]"
