"""What the tests of figures share: data, runs with trials of every ending, and ways to draw them."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from searches import ENDINGS, search
from shapes import data_set_for

import analysis.__main__
import imagesets
import searchspaces
from analysis import figures
from analysis.figures import latent_space, style
from study import cli
from study.record.folder import Run
from study.spec import StudySpec

ONE_WAY = {  # what leaves one way through a space, so that every trial draws the same, in a code of four
    "conjoint": {"private": 1, "latent": 2},
    "vae": {"posterior": "gaussian", "prior": "standard"},
    "vampprior": {"prior": "standard", "network": "mlp"},
    "hvae": {"prior": "standard", "network": "mlp"},
    "avb": {"adaptive_contrast": True, "noises": 4, "noise_hidden": 16, "discriminator_hidden": 16},
}


@pytest.fixture(scope="package", autouse=True)
def data(tmp_path_factory) -> Iterator[Path]:
    """A data folder of the tests' own, which is the default one."""
    folder = tmp_path_factory.mktemp("data")
    imagesets.load("mnist5k", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LATENTSWEEP_DATA", str(folder))
        yield folder


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Trials set the number of threads; the rest of the session gets its own back."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def few_codes(monkeypatch) -> None:
    """What is embedded of a whole run, by t-SNE: UMAP compiles itself for ten seconds in each process."""
    monkeypatch.setattr(latent_space, "EMBEDDED", 40)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *of: None if name == "umap" else find(name, *of))


@pytest.fixture
def ax() -> Axes:
    return Figure().add_subplot()


@pytest.fixture
def make() -> Callable[..., StudySpec]:
    """A small specification; a model's trade-offs are pinned unless `fixed` is given."""

    def spec(model: str = "vae", fixed: dict[str, Any] | None = None, **changes: Any) -> StudySpec:
        pins = {"hidden": 12, "latent": 4, **dict.fromkeys(searchspaces.trade_offs(model), 0.3)}
        small = {"steps": 20, "batch": 16, "report_every": 10, "log_every": 10}
        given = {"name": "tiny", "model": model, "dataset": data_set_for(model), "sampler": "random", "budget": small}
        return StudySpec(**{**given, "seed": 4, "fixed": pins if fixed is None else fixed, "trials": 4, **changes})

    return spec


@pytest.fixture(scope="package")
def runs(tmp_path_factory) -> Callable[[str], Run]:
    """A run of a model with complete, pruned, failed and half drawn trials; it is made once."""
    made: dict[str, Run] = {}

    def run(model: str) -> Run:
        if model not in made:
            pins = {"hidden": 12, "latent": 4, **dict.fromkeys(searchspaces.trade_offs(model), 0.3)}
            pins |= ONE_WAY.get(model, {})
            budget = {"steps": 20, "batch": 16, "report_every": 10, "log_every": 10}
            given = {"name": f"tiny-{model}", "model": model, "likelihood": "bernoulli"}
            given["dataset"] = data_set_for(model)
            given["validation"] = {"samples": 10}
            asha = {"grace": 10, "reduction": 2}
            spec = StudySpec(**given, fixed=pins, budget=budget, sampler="random", trials=6, asha=asha)
            spec = spec.model_copy(update={"fixed": {**spec.fixed, "kl_warmup": 0.0}})
            made[model] = search(spec, tmp_path_factory.mktemp(model), ENDINGS, half_drawn=True)
        return made[model]

    return run


@pytest.fixture
def unrendered(monkeypatch) -> list[Figure]:
    """The figures that do not move, in the order they are drawn: their files are empty, which takes no time."""
    made: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **_: (made.append(figure), path.write_bytes(b"")))
    monkeypatch.setattr(style, "rendered", lambda _, changes: [np.zeros((1, 1, 3), np.uint8) for _ in changes])
    return made


@pytest.fixture
def drawn(unrendered) -> Callable[..., dict[str, Figure]]:
    """Draws a run, or what compares several, and keeps the figures that do not move by name; nothing is rendered."""

    def draw(*runs: Run) -> dict[str, Figure]:
        unrendered.clear()
        several, some = figures.beside(runs), ("png", "gif")
        paths = figures.draw(several[0], some) if len(several) == 1 else figures.draw_compared(several, some)
        names = [path.stem for path in paths if path.suffix == ".png"]
        return dict(zip(names, unrendered, strict=True))

    return draw


@pytest.fixture
def command(monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """Calls `python -m analysis` in this process: (exit code, standard output, standard error)."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["analysis", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main(analysis.__main__.app)
        return (ended.value.code or 0, *capsys.readouterr())

    return call
