"""The registry, and what every data set in it keeps to."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import datasets


@pytest.fixture(scope="module")
def load(root):
    loaded = {}

    def load(name):
        if name not in loaded:
            try:
                loaded[name] = datasets.load(name, root)
            except datasets.DataError as error:
                pytest.skip(str(error))
        return loaded[name]

    return load


def test_names_are_the_modules_with_an_info():
    assert datasets.names() == sorted(datasets.names())
    assert {"mnist", "mnist5k"} <= set(datasets.names())
    assert not {"base", "cache", "vision"} & set(datasets.names())


def test_a_new_module_is_a_new_data_set(tmp_path, monkeypatch):
    (tmp_path / "dots.py").write_text("INFO = 'an info'\n\ndef load(root):\n    return root\n")
    monkeypatch.setattr(datasets, "__path__", [*datasets.__path__, str(tmp_path)])
    try:
        assert "dots" in datasets.names()
        assert datasets.info("dots") == "an info"
        assert datasets.load("dots", "somewhere") == Path("somewhere")
    finally:
        sys.modules.pop("datasets.dots", None)


@pytest.mark.parametrize("ask", [datasets.info, datasets.load])
def test_an_unknown_name_gets_the_nearest_one(ask):
    known = ", ".join(datasets.names())
    with pytest.raises(datasets.DataError) as caught:
        ask("mnst")
    assert str(caught.value) == f"data set 'mnst' is not known; known: {known}. Did you mean 'mnist'?"
    with pytest.raises(datasets.DataError, match=r"'qqqq' is not known; known: .*\.$"):
        ask("qqqq")
    with pytest.raises(datasets.DataError, match="'base' is not known"):
        ask("base")


def test_naming_data_sets_loads_no_heavy_library():
    code = (
        "import sys, datasets; [datasets.info(name) for name in datasets.names()];"
        "print(sorted({'torch', 'torchvision', 'mlxtend', 'pandas', 'ray'} & set(sys.modules)))"
    )
    repository = Path(datasets.__path__[0]).parent
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_data_root(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("LATENTSWEEP_DATA", "~/here")
    assert datasets.data_root("there") == Path("there")
    assert datasets.data_root(Path("~/there")) == Path("/home/someone/there")
    assert datasets.data_root() == Path("/home/someone/here")
    monkeypatch.delenv("LATENTSWEEP_DATA")
    assert datasets.data_root(None) == Path("/home/someone/.cache/latentsweep")


@pytest.mark.parametrize("name", datasets.names())
def test_splits_are_what_info_says(name, load):
    info, splits = datasets.info(name), load(name)
    assert [len(split.images) for split in splits] == [info.train, info.valid, info.test]
    assert all(line and "\n" not in line for line in (info.description, info.files))
    for split in splits:
        assert split.images.dtype == np.uint8
        assert split.images.shape[1:] == info.image_shape
        assert split.images.flags.c_contiguous
        assert split.images.flags.writeable  # torch.from_numpy warns of any other
        for given in (split.labels, split.factors):
            assert given is None or (given.dtype == np.int64 and len(given) == len(split.images))


@pytest.mark.parametrize("name", datasets.names())
def test_splits_are_disjoint(name, load):
    images = np.concatenate([split.images for split in load(name)])
    assert len({image.tobytes() for image in images}) == len(images)


@pytest.mark.parametrize("name", datasets.names())
def test_two_loads_are_equal(name, load, root):
    for first, second in zip(load(name), datasets.load(name, root)):
        assert all(np.array_equal(a, b) for a, b in zip(first, second) if a is not None)


@pytest.mark.parametrize("name", datasets.names())
def test_order_does_not_follow_the_labels(name, load):
    for split in load(name):
        if split.labels is not None:
            assert len(np.unique(split.labels[:100])) > 1
