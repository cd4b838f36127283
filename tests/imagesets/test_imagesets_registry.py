"""The registry of data sets: names, options, mistakes, and the data folder."""

import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import imagesets

NAMES = imagesets.names()
REPOSITORY = Path(imagesets.__path__[0]).parent


def test_names_are_the_modules_with_an_info():
    assert sorted(NAMES) == NAMES
    assert {"fashion_mnist", "mnist", "mnist5k"} <= set(NAMES)
    assert not {"base", "cache", "files", "idx", "packed", "vision"} & set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_info_has_its_modules_name(name):
    assert imagesets.about(name).name == name
    assert importlib.import_module(f"imagesets.{name}").INFO.name == name


DOTS = """
from imagesets.base import DataError

INFO = "an info"

def info(*, size=3, colour="red"):
    if size < 0:
        raise DataError(f"dots: size is {size}, where a number that is not negative is needed")
    return f"an info of size {size} in {colour}"

def load(root, *, size=3, colour="red"):
    return root, size, colour
"""


@pytest.fixture
def add(tmp_path, monkeypatch):
    """Adds a module to the registry."""
    added = []

    def add(name, source):
        (tmp_path / f"{name}.py").write_text(source)
        added.append(name)

    monkeypatch.setattr(imagesets, "__path__", [*imagesets.__path__, str(tmp_path)])
    yield add
    for name in added:
        sys.modules.pop(f"imagesets.{name}", None)
        vars(imagesets).pop(name, None)


def test_a_new_module_is_a_new_data_set(add):
    add("dots", "INFO = 'an info'\n\ndef load(root):\n    return root\n")
    assert "dots" in imagesets.names()
    assert imagesets.info("dots") == "an info"
    assert imagesets.options("dots") == {}
    for load in (imagesets.load, imagesets.get):
        assert load("dots", "somewhere") == Path.cwd() / "somewhere"


def test_a_new_module_without_an_info_is_none(add):
    add("dots", "def load(root):\n    return root\n")
    assert "dots" not in imagesets.names()


def test_options_are_the_keywords_of_load(add):
    add("dots", DOTS)
    assert imagesets.options("dots") == {"size": 3, "colour": "red"}
    assert imagesets.info("dots", size=4) == "an info of size 4 in red"
    for load in (imagesets.load, imagesets.get):
        assert load("dots", "there", colour="blue") == (Path.cwd() / "there", 3, "blue")
        with pytest.raises(
            imagesets.DataError, match="dots: size is -1, where a number that is not negative is needed"
        ):
            load("dots", "there", size=-1)


@pytest.mark.parametrize("ask", [imagesets.info, imagesets.load, imagesets.get, imagesets.missing])
def test_an_unknown_option_gets_the_nearest_one(add, ask):
    add("dots", DOTS)
    with pytest.raises(imagesets.DataError) as caught:
        ask("dots", color="blue")
    assert str(caught.value) == "dots has no option 'color'; it takes size, colour. Did you mean 'colour'?"
    with pytest.raises(imagesets.DataError, match=r"^dots has no option 'qqq'; it takes size, colour$"):
        ask("dots", qqq=1)
    with pytest.raises(imagesets.DataError, match=r"^mnist has no option 'size'; it takes none$"):
        ask("mnist", size=1)


NEEDING = """
from pathlib import Path

INFO = type("Info", (), {"files": "the file that `path` names"})

def load(root, *, path: Path, n=3):
    return path, n
"""


def test_an_option_without_a_default_is_needed(add):
    add("dots", NEEDING)
    assert imagesets.options("dots") == {"path": imagesets.NEEDED, "n": 3}
    for ask in (imagesets.info, imagesets.load, imagesets.missing):
        with pytest.raises(imagesets.DataError, match=r"^dots needs the option path: the file that `path` names$"):
            ask("dots", n=4)


def test_a_path_is_relative_to_the_current_folder(add, tmp_path, monkeypatch):
    add("dots", NEEDING)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert (imagesets.paths("dots"), imagesets.paths("mnist")) == (["path"], [])
    for given, expected in [("a.npz", tmp_path / "a.npz"), (Path("../b"), tmp_path.parent / "b"), ("/c", Path("/c"))]:
        assert imagesets.load("dots", path=given) == (expected, 3)
    assert imagesets.located("dots", {"path": "~/x", "n": "y"}, "/d") == {"path": f"{tmp_path}/home/x", "n": "y"}
    assert imagesets.located("dots", {"path": "x/../z"}, "/d/e") == {"path": "/d/e/z"}
    assert imagesets.located("dots", {"path": 3}, "/d") == {"path": 3}


ASK = [imagesets.info, imagesets.load, imagesets.get, imagesets.options, imagesets.missing]


@pytest.mark.parametrize("ask", ASK)
def test_an_unknown_name_gets_the_nearest_one(ask):
    known = ", ".join(NAMES)
    for given in ("mnst", "MNST"):
        with pytest.raises(imagesets.DataError) as caught:
            ask(given)
        assert str(caught.value) == f"data set {given!r} is not known; known: {known}. Did you mean 'mnist'?"
    with pytest.raises(imagesets.DataError, match=r"'qqqq' is not known; known: .*\.$"):
        ask("qqqq")
    with pytest.raises(imagesets.DataError, match="'base' is not known"):
        ask("base")


def test_naming_data_sets_loads_no_heavy_library():
    heavy = {"PIL", "matplotlib", "mlxtend", "pandas", "ray", "scipy", "sklearn", "torch", "torchvision"}
    code = (
        "import sys, imagesets; [(imagesets.about(name), imagesets.options(name)) for name in imagesets.names()];"
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_data_root(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LATENTSWEEP_DATA", "~/here")
    assert imagesets.data_root("there") == Path.cwd() / "there"
    assert imagesets.data_root(Path("~/there")) == tmp_path / "there"
    assert imagesets.data_root() == tmp_path / "here"
    monkeypatch.delenv("LATENTSWEEP_DATA")
    assert imagesets.data_root(None) == tmp_path / ".cache" / "latentsweep"


def test_missing_lists_what_is_not_there(tmp_path, monkeypatch):
    sources = imagesets.info("mnist").sources
    (tmp_path / sources[1]).parent.mkdir(parents=True)
    (tmp_path / sources[1]).touch()
    right = [tmp_path / sources[i] for i in (0, 2, 3)]
    assert imagesets.missing("mnist", tmp_path) == right
    monkeypatch.setenv("LATENTSWEEP_DATA", str(tmp_path))
    assert imagesets.missing("mnist") == right
    assert imagesets.missing("mnist5k", tmp_path) == []
