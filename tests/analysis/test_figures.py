"""Figures: their data against numbers found by hand, what is drawn against the axes, and whole runs as files."""

import math
import shutil
import struct
import sys
import xml.etree.ElementTree as ElementTree
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imread
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

import analysis.__main__
import imagesets
import models
import searchspaces
from analysis import figures
from analysis.figures import (
    BLUE,
    GREY,
    VERMILION,
    Codes,
    Curve,
    Parameter,
    best_complete,
    code_sparsity,
    draw_all,
    draw_code_sparsity,
    draw_confirmed,
    draw_elbo_against_sparsity,
    draw_learning_curves,
    draw_parameter,
    draw_pictures,
    elbo_against_sparsity,
    learning_curves,
    parameters,
)
from imagesets import Split
from study import cli
from study.record.folder import Run, RunError
from study.record.storage import KIND, fail, finish, open_study, store_report
from study.spec import StudySpec
from study.trial.images import Images
from study.trial.training import derived_seed
from study.trial.trial import Trial

pytestmark = pytest.mark.filterwarnings("error")  # what matplotlib warns of is seen in the picture
NAN = math.nan
ELBO = "validation ELBO [nats / image]"


@pytest.fixture(scope="module", autouse=True)
def data(tmp_path_factory) -> Iterator[Path]:
    """A data folder of the tests' own, which is the default one."""
    folder = tmp_path_factory.mktemp("data")
    imagesets.load("mnist5k", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LATENTSWEEP_DATA", str(folder))
        yield folder


@pytest.fixture
def ax() -> Axes:
    return Figure().add_subplot()


def trials(**columns: list[Any]) -> pd.DataFrame:
    """Trials as `analysis.trials` returns them, numbered from 0."""
    n = len(next(iter(columns.values())))
    base = {"number": list(range(n)), "state": ["COMPLETE"] * n, "metrics.elbo": [-100.0] * n}
    base |= {"metrics.zero_fraction": [0.0] * n, "metrics.hoyer": [0.3] * n}
    return pd.DataFrame({**base, **columns})


def written(ax: Axes) -> tuple[str, str, str]:
    return ax.get_title(), ax.get_xlabel(), ax.get_ylabel()


def legend(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


# Learning curves.


def test_curves_are_in_order_and_the_best_complete_one_is_last():
    curves = pd.DataFrame(
        {
            "number": [2, 0, 1, 0, 2, 1, 0, 2],
            "steps": [20, 30, 10, 10, 10, 20, 20, 30],
            "elbo": [-7.0, -3.0, -9.0, -5.0, -8.0, -1.0, None, -2.0],
        }
    )
    given = trials(state=["COMPLETE", "PRUNED", "COMPLETE", "FAIL"], **{"metrics.elbo": [-2.0, -1.0, -3.0, NAN]})
    found = learning_curves(curves, given)
    assert [(curve.number, curve.state) for curve in found] == [(1, "PRUNED"), (2, "COMPLETE"), (0, "COMPLETE")]
    assert [curve.steps.tolist() for curve in found] == [[10, 20], [10, 20, 30], [10, 20, 30]]
    np.testing.assert_array_equal(found[0].elbo, [-9, -1])
    np.testing.assert_array_equal(found[1].elbo, [-8, -7, -2])
    np.testing.assert_array_equal(found[2].elbo, [-5, NAN, -3])
    assert found[2].elbo.dtype == float


def test_the_best_is_complete():
    assert best_complete(trials(state=["PRUNED", "COMPLETE"], **{"metrics.elbo": [-1.0, -50.0]})) == 1
    assert best_complete(trials(number=[7, 9, 8], **{"metrics.elbo": [-3.0, -2.0, -4.0]})) == 9
    assert best_complete(trials(state=["PRUNED", "FAIL"])) is None


@pytest.fixture
def curves() -> list[Curve]:
    ten = np.array([10, 20, 30])
    return [
        Curve(3, "PRUNED", ten[:1], np.array([-500.0])),
        Curve(1, "PRUNED", ten[:2], np.array([-200.0, -150.0])),
        Curve(4, "FAIL", ten[:2], np.array([-210.0, NAN])),
        Curve(0, "COMPLETE", ten, np.array([-180.0, -140.0, -120.0])),
        Curve(5, "COMPLETE", ten, np.array([-185.0, -145.0, -125.0])),
        Curve(2, "COMPLETE", ten, np.array([-170.0, -130.0, -110.0])),
    ]


def test_learning_curves_are_drawn_as_what_they_are(ax, curves):
    draw_learning_curves(ax, curves, [10, 20], best_number=2)
    assert written(ax) == ("Learning curves; a cross marks where a trial was stopped", "optimiser steps", ELBO)
    assert legend(ax) == ["stopped early", "complete", "best, trial 2", "rung"]
    lines = [line for line in ax.lines if line.get_marker() == "."]
    colours = [GREY, GREY, GREY, BLUE, BLUE, VERMILION]
    assert [to_hex(line.get_color()).upper() for line in lines] == colours
    for line, curve in zip(lines, curves):
        np.testing.assert_array_equal(line.get_xdata(), curve.steps)
        np.testing.assert_array_equal(line.get_ydata(), curve.elbo)
    crosses = [(line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines if line.get_marker() == "x"]
    assert crosses == [(10, -500), (20, -150)]
    rungs = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "None"]
    assert rungs == [10, 20]
    low, high = ax.get_ylim()
    assert high > -110
    assert -500 < low < -200  # one bad start does not flatten the others
    assert ax.get_xlim()[0] == 0


@pytest.mark.parametrize("elbo", [[-120.0], [-120.0, -120.0], [-120.0, NAN]])
def test_a_single_curve_that_is_flat_can_be_drawn(ax, elbo):
    curve = Curve(0, "COMPLETE", np.arange(1, len(elbo) + 1) * 10, np.array(elbo))
    draw_learning_curves(ax, [curve], [], best_number=0)
    low, high = ax.get_ylim()
    assert low < -120 < high
    assert legend(ax) == ["best, trial 0"]


# Hyperparameters.


@pytest.fixture
def make(tmp_path_factory) -> Callable[..., StudySpec]:
    """A small specification; a model's trade-offs are pinned unless `fixed` is given."""

    def spec(model: str = "vae", fixed: dict[str, Any] | None = None, **changes: Any) -> StudySpec:
        pins = {"hidden": 12, "latent": 4, **dict.fromkeys(searchspaces.trade_offs(model), 0.3)}
        small = {"steps": 20, "batch": 16, "report_every": 10, "log_every": 10}
        given = {"name": "tiny", "model": model, "dataset": "mnist5k", "sampler": "random", "budget": small, "seed": 4}
        return StudySpec(**{**given, "fixed": pins if fixed is None else fixed, "trials": 4, **changes})

    return spec


def test_parameters_are_what_was_drawn_in_the_order_of_the_space(make):
    given = trials(
        state=["COMPLETE", "PRUNED", "COMPLETE", "FAIL", "RUNNING"],
        **{
            "metrics.elbo": [-3.0, -1.0, -2.0, NAN, -1.0],
            "params.lr": [1e-3, 2e-3, 3e-3, 4e-3, NAN],
            "params.beta": [0.5, 1.0, 2.0, 4.0, 0.25],
            "params.hidden": [12] * 5,
        },
    )
    spec = make("vae")
    found = parameters(given, spec)
    assert [parameter.name for parameter in found] == ["beta", "lr"]  # kl_warmup has no column, hidden was pinned
    beta, lr = found
    assert lr.distribution == FloatDistribution(1e-4, 1e-2, log=True)
    np.testing.assert_array_equal(lr.values, [1e-3, 3e-3])
    np.testing.assert_array_equal(lr.elbo, [-3, -2])
    np.testing.assert_array_equal(lr.stopped, [2e-3, 4e-3])
    np.testing.assert_array_equal(beta.values, [0.5, 2.0])
    np.testing.assert_array_equal(beta.stopped, [1.0, 4.0, 0.25])


def test_categories_are_parameters_too(make):
    given = trials(state=["COMPLETE", "PRUNED"], **{"params.gate": ["concrete", "sigmoid"]})
    [found] = parameters(given, make("vsc"))
    assert set(found.distribution.choices) == {"sigmoid", "concrete", "straight_through"}
    assert (list(found.values), list(found.stopped)) == (["concrete"], ["sigmoid"])


def test_nothing_drawn_is_no_parameter(make):
    given = trials(**{"params.lr": [1e-3, 1e-3]})
    assert parameters(given, make("vae", fixed=searchspaces.defaults("vae"))) == []


@pytest.mark.parametrize(
    ("distribution", "scale", "ticks", "labels"),
    [
        (FloatDistribution(1e-4, 1e-2, log=True), "log", [1e-4, 1e-3, 1e-2], ["0.0001", "0.001", "0.01"]),
        (FloatDistribution(0.0, 0.3), "linear", [0, 0.15, 0.3], ["0", "0.15", "0.3"]),
        (IntDistribution(2, 200, log=True), "log", [2, 20, 200], ["2", "20", "200"]),
        (IntDistribution(0, 1000), "linear", [0, 500, 1000], ["0", "500", "1000"]),
    ],
)
def test_numbers_are_drawn_over_their_whole_range(ax, distribution, scale, ticks, labels):
    low, high = distribution.low, distribution.high
    middle = math.sqrt(low * high) if distribution.log else (low + high) / 2
    draw_parameter(
        ax, Parameter("name", distribution, np.array([low, middle]), np.array([-2.0, -1.0]), np.array([high]))
    )
    assert ax.get_xlabel() == "name"
    assert ax.get_xscale() == scale
    np.testing.assert_allclose(ax.get_xticks(), ticks)
    assert [label.get_text() for label in ax.get_xticklabels()] == labels
    left, right = ax.get_xlim()
    assert left < low < high < right
    np.testing.assert_allclose(ax.collections[0].get_offsets(), [(low, -2), (middle, -1)])
    [marks] = ax.lines
    np.testing.assert_allclose(marks.get_xdata(), [high])
    assert marks.get_transform() == ax.get_xaxis_transform()  # they have no ELBO: they stand on the axis
    assert (marks.get_ydata() < 0.1).all()


def test_categories_are_drawn_side_by_side(ax):
    drawn = CategoricalDistribution(["sigmoid", "straight_through", "concrete"])
    values, stopped = np.array(["concrete", "sigmoid"], object), np.array(["straight_through"] * 2, object)
    draw_parameter(ax, Parameter("gate", drawn, values, np.array([-1.0, -2.0]), stopped))
    assert [label.get_text() for label in ax.get_xticklabels()] == ["sigmoid", "straight_\nthrough", "concrete"]
    np.testing.assert_array_equal(ax.collections[0].get_offsets(), [(2, -1), (0, -2)])
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), [1, 1])
    assert ax.get_xlim() == (-0.5, 2.5)


def test_a_parameter_without_stopped_trials_can_be_drawn(ax):
    nothing = np.array([])
    draw_parameter(ax, Parameter("lr", FloatDistribution(0, 1), np.array([0.5]), np.array([-1.0]), nothing))
    draw_parameter(ax, Parameter("lr", CategoricalDistribution([1, 2]), np.array([2]), np.array([-1.0]), nothing))


# ELBO against sparsity.


def front(sparsity: np.ndarray, elbo: np.ndarray) -> list[int]:
    """Those that no other trial beats: at least as good in both, better in one."""

    def beaten(i: int) -> bool:
        for j in range(len(elbo)):
            as_good = sparsity[j] >= sparsity[i] and elbo[j] >= elbo[i]
            if as_good and (sparsity[j] > sparsity[i] or elbo[j] > elbo[i]):
                return True
        return False

    return sorted((i for i in range(len(elbo)) if not beaten(i)), key=lambda i: sparsity[i])


@pytest.mark.parametrize("seed", range(5))
def test_the_front_is_that_of_brute_force(seed):
    random = np.random.default_rng(seed)
    zeros, elbo = random.integers(0, 8, (2, 40)) / 8.0  # with ties
    found = elbo_against_sparsity(trials(**{"metrics.zero_fraction": zeros, "metrics.elbo": elbo}))
    assert found.measure == "share of exact zeros in codes"
    assert sorted(found.front) == sorted(front(zeros, elbo))
    assert (np.diff(found.sparsity[found.front]) >= 0).all()
    assert (np.diff(found.elbo[found.front]) <= 0).all()


def test_only_complete_trials_are_on_it():
    given = trials(
        state=["COMPLETE", "PRUNED", "COMPLETE"],
        **{"metrics.zero_fraction": [0.5, 0.9, 0.1], "metrics.elbo": [-3.0, -1.0, -2.0]},
    )
    found = elbo_against_sparsity(given)
    assert list(zip(found.sparsity, found.elbo)) == [(0.5, -3.0), (0.1, -2.0)]
    assert found.front.tolist() == [1, 0]


def test_codes_without_exact_zeros_are_measured_by_hoyer():
    given = trials(**{"metrics.hoyer": [0.2, 0.6, 0.4], "metrics.elbo": [-2.0, -1.0, -3.0]})
    found = elbo_against_sparsity(given)
    assert found.measure == "Hoyer sparsity of codes"
    assert found.sparsity.tolist() == [0.2, 0.6, 0.4]
    assert found.front.tolist() == [1]
    pruned = given.assign(state=["COMPLETE", "COMPLETE", "PRUNED"], **{"metrics.zero_fraction": [0.0, 0.0, 0.9]})
    assert elbo_against_sparsity(pruned).measure == "Hoyer sparsity of codes"


def test_trials_whose_measure_is_not_defined_are_left_out():
    given = trials(**{"metrics.hoyer": [None, 0.4, NAN], "metrics.elbo": [-2.0, -1.0, -3.0]})
    found = elbo_against_sparsity(given)
    assert (found.sparsity.tolist(), found.elbo.tolist(), found.front.tolist()) == ([0.4], [-1.0], [0])
    assert len(elbo_against_sparsity(given.assign(**{"metrics.hoyer": None})).elbo) == 0


def test_elbo_against_sparsity_is_drawn_with_its_front(ax):
    given = trials(**{"metrics.zero_fraction": [0.2, 0.6, 0.1], "metrics.elbo": [-2.0, -3.0, -9.0]})
    draw_elbo_against_sparsity(ax, elbo_against_sparsity(given))
    assert written(ax) == ("ELBO against sparsity", "share of exact zeros in codes", ELBO)
    assert legend(ax) == ["front", "complete trial"]
    assert list(zip(*ax.lines[0].get_data())) == [(0.2, -2.0), (0.6, -3.0)]
    np.testing.assert_array_equal(ax.collections[0].get_offsets(), [(0.2, -2), (0.6, -3), (0.1, -9)])


# Confirmed numbers.


def test_every_seed_is_a_dot_and_the_spread_stands_beside_it(ax):
    frame = pd.DataFrame(
        {
            "configuration": ["defaults", "trial-3", "trial-1", "defaults", "trial-3", "trial-1"],
            "metrics.elbo": [-10.0, -20.0, NAN, -14.0, NAN, NAN],
        }
    )
    draw_confirmed(ax, frame)
    title = "Confirmed over fresh seeds; diamond: mean ± standard deviation"
    assert written(ax) == (title, "test ELBO [nats / image]", "")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["defaults", "trial-3", "trial-1"]
    dots = [part.get_offsets().tolist() for part in ax.collections if isinstance(part, PathCollection)]
    assert dots == [[[-10.0, 0.0], [-14.0, 0.0]], [[-20.0, 1.0]], []]
    diamonds = {bar.lines[0].get_xdata()[0]: bar.lines[2][0].get_segments()[0][:, 0] for bar in ax.containers}
    assert sorted(diamonds) == [-20, -12]  # none for the configuration whose every seed failed
    np.testing.assert_allclose(diamonds[-12], [-12 - math.sqrt(8), -12 + math.sqrt(8)])
    np.testing.assert_allclose(diamonds[-20], [-20, -20])


# What the best model does.


def test_codes_are_counted_image_by_image():
    counts = torch.arange(1100) % 5

    class Model:
        def __init__(self, **hyperparameters: float):
            self.hyperparameters, self.seen = hyperparameters, 0

        def codes(self, x: torch.Tensor) -> torch.Tensor:
            part = counts[self.seen : self.seen + len(x)]
            self.seen += len(x)
            return -0.1 * (torch.arange(8) < part[:, None])

    found = code_sparsity(Model(alpha=0.25), Images(Split(np.zeros((1100, 1, 2, 2), np.uint8))))
    np.testing.assert_array_equal(found.counts, counts.numpy())
    assert (found.latent, found.expected) == (8, 2.0)
    assert code_sparsity(Model(), Images(Split(np.zeros((3, 1, 2, 2), np.uint8)))).expected is None


def test_counts_of_a_real_model_are_those_of_its_codes(make):
    torch.manual_seed(0)
    model = models.build("vsc", (1, 28, 28), latent=6, hidden=8, alpha=0.5)
    images = imagesets.load("mnist5k").valid.images
    found = code_sparsity(model, Images(Split(images)))
    with torch.no_grad():
        codes = model.codes(torch.from_numpy(images).float() / 255).numpy()
    np.testing.assert_array_equal(found.counts, (codes != 0).sum(1))
    assert (found.latent, found.expected) == (6, 3.0)


def test_bars_are_shares_of_images(ax):
    draw_code_sparsity(ax, Codes(np.array([2, 2, 2, 5]), 9, 1.8))
    label = "coordinates that are not zero, of 9"
    assert written(ax) == ("How sparse the codes are", label, "share of validation images")
    bars = {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in ax.patches}
    assert bars == {2: 0.75, 3: 0.0, 4: 0.0, 5: 0.25}
    assert [line.get_xdata()[0] for line in ax.lines] == [2.75, 1.8]
    assert legend(ax) == ["mean 2.8", "prior's mean 1.8"]


def test_without_zeros_in_the_prior_there_is_no_line_for_it(ax):
    draw_code_sparsity(ax, Codes(np.array([0, 1]), 1, None))
    assert legend(ax) == ["mean 0.5"]


def test_pictures_are_tiles_and_rows_have_names(ax):
    tiles = np.random.default_rng(0).integers(0, 256, (2, 3, 1, 5, 4), dtype=np.uint8)
    draw_pictures(ax, tiles, "Title")
    figures._label_rows(ax, ["upper", "lower"], height=5)
    [image] = ax.images
    assert image.get_array().shape == (2 * 7 + 2, 3 * 6 + 2, 3)
    np.testing.assert_array_equal(image.get_array()[9:14, 14:18, 0], tiles[1, 2, 0])
    assert written(ax) == ("Title", "", "")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["upper", "lower"]
    assert ax.get_yticks().tolist() == [2 + 2.5, 9 + 2.5]
    assert len(ax.get_xticks()) == 0


def test_draws_from_the_prior_are_the_same_at_each_call():
    model = models.build("vae", (1, 28, 28), latent=3, hidden=8)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = figures._samples(model, rows=2, columns=3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    np.testing.assert_array_equal(figures._samples(model, rows=2, columns=3), first)
    assert (first.shape, first.dtype) == ((2, 3, 1, 28, 28), np.uint8)
    assert len({tile.tobytes() for tile in first.reshape(6, -1)}) == 6


# Whole runs.


class Ending(NamedTuple):
    """How a trial ends: at which step, and why if it fails."""

    steps: int
    cause: str = ""


FULL = Ending(20)
ENDINGS = (FULL, Ending(10), FULL, Ending(0, "nan: the loss of 'elbo' was not finite at step 3"), FULL)
ALWAYS = ["learning_curves", "elbo_sparsity", "reconstructions", "samples", "traversal"]


def search(spec: StudySpec, folder: Path, endings: tuple[Ending, ...], half_drawn: bool = False) -> Run:
    """A real run, made trial by trial without Ray."""
    run, splits = Run(folder / spec.name), imagesets.load("mnist5k")
    run.create(spec)
    study = open_study(run, spec, create=True)
    study.set_user_attr(KIND, "soft cross-entropy")
    for ending in endings:
        stored = study.ask()
        seed, where = derived_seed(spec.seed, stored.number), run.trial(stored.number)
        trial, report = Trial(spec, spec.space(stored), splits, seed=seed, folder=where), None
        while trial.training.step < ending.steps:
            report = trial.report()
            store_report(study, stored._trial_id, report)
        trial.close()
        if ending.cause:
            fail(study, stored.number, ending.cause)
        else:
            finish(study, stored.number, {**report, "cause": ""}, spec)
    if half_drawn:
        study.ask()
    return run


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Trials set the number of threads; the rest of the session gets its own back."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Callable[[str], Run]:
    """A run of a model with complete, pruned, failed and half drawn trials; it is made once."""
    made: dict[str, Run] = {}

    def run(model: str) -> Run:
        if model not in made:
            pins = {"hidden": 12, "latent": 4, **dict.fromkeys(searchspaces.trade_offs(model), 0.3)}
            pins |= {"posterior": "gaussian", "prior": "standard"} if model == "vae" else {}
            budget = {"steps": 20, "batch": 16, "report_every": 10, "log_every": 10}
            given = {"name": f"tiny-{model}", "model": model, "dataset": "mnist5k", "fixed": pins, "budget": budget}
            spec = StudySpec(**given, sampler="random", trials=6, asha={"grace": 10, "reduction": 2})
            spec = spec.model_copy(update={"fixed": {**spec.fixed, "kl_warmup": 0.0}})
            made[model] = search(spec, tmp_path_factory.mktemp(model), ENDINGS, half_drawn=True)
        return made[model]

    return run


def check_png(path: Path) -> tuple[int, int]:
    """Reads every chunk of the file; its width and height."""
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    position, kinds = 8, []
    while position < len(content):
        length, kind = struct.unpack(">I4s", content[position : position + 8])
        body = content[position + 4 : position + 8 + length]
        [crc] = struct.unpack(">I", content[position + 8 + length : position + 12 + length])
        assert zlib.crc32(body) == crc
        kinds.append(kind)
        position += 12 + length
    assert (kinds[0], kinds[-1]) == (b"IHDR", b"IEND")
    pixels = imread(path)
    assert pixels[..., :3].std() > 0.02  # something is drawn
    return pixels.shape[1], pixels.shape[0]


@pytest.mark.parametrize("model", models.names())
def test_a_run_gets_all_figures_that_it_has_the_data_for(runs, model):
    run = runs(model)
    found = draw_all(run)
    # Only a sparse coder has exact zeros.
    sparse = ["code_sparsity"] if model == "vsc" else []
    expected = ["learning_curves", "hyperparameters", *ALWAYS[1:], *sparse]
    assert found == [run.path / "figures" / f"{name}.png" for name in expected]
    assert sorted(path.name for path in (run.path / "figures").iterdir()) == sorted(path.name for path in found)
    for path in found:
        width, height = check_png(path)
        assert width == 1300  # 6.5 inches at 200 dots
        assert height > 300


@pytest.fixture
def drawn(monkeypatch) -> Callable[..., dict[str, Figure]]:
    """Draws a run and keeps the figures, by name; nothing is rendered."""

    def draw(run: Run) -> dict[str, Figure]:
        made: list[Figure] = []
        monkeypatch.setattr(Figure, "savefig", lambda figure, path, **_: (made.append(figure), path.write_bytes(b"")))
        names = [path.stem for path in draw_all(run)]
        return dict(zip(names, made, strict=True))

    return draw


@pytest.mark.parametrize("model", models.names())
def test_every_figure_says_what_it_shows(runs, drawn, model):
    run = runs(model)
    figures_ = drawn(run)
    [curves] = figures_["learning_curves"].axes
    assert curves.get_ylabel() == ELBO
    assert curves.get_xlabel() == "optimiser steps"
    assert len([line for line in curves.lines if line.get_marker() == "."]) == 4  # the failed one made no report
    assert len([line for line in curves.lines if line.get_marker() == "x"]) == 1
    hyperparameters = figures_["hyperparameters"]
    assert hyperparameters.get_supylabel() == ELBO
    assert hyperparameters.get_suptitle() == "ELBO of complete trials; ticks: what stopped trials had drawn"
    visible = [ax for ax in hyperparameters.axes if ax.get_visible()]
    assert [ax.get_xlabel() for ax in visible] == list(run.spec().distributions())
    assert all(len(ax.collections[0].get_offsets()) == 3 for ax in visible)
    assert all(len(ax.lines[0].get_xdata()) == 2 for ax in visible)
    [sparsity] = figures_["elbo_sparsity"].axes
    measure = "share of exact zeros in codes" if model == "vsc" else "Hoyer sparsity of codes"
    assert written(sparsity) == ("ELBO against sparsity", measure, ELBO)
    number = best_complete(analysis.trials(run.path))
    titles = {name: figures_[name].axes[0].get_title() for name in ("reconstructions", "samples", "traversal")}
    which = f"trial {number} of tiny-{model}"
    assert titles == {
        "reconstructions": f"Reconstructions, {which}",
        "samples": f"Draws from the prior, decoded; {which}",
        "traversal": f"One coordinate of a code, smallest to largest value; {which}",
    }
    names = {label.get_text() for label in figures_["traversal"].axes[0].get_yticklabels()}
    assert names == {"z 0", "z 1", "z 2", "z 3"}


def test_a_confirmed_run_shows_it(runs, tmp_path, drawn):
    run = Run(shutil.copytree(runs("vae").path, tmp_path / "tiny-vae"))
    frame = pd.DataFrame({"configuration": ["defaults", "trial-0"] * 2, "metrics.elbo": [-9.0, NAN, -8.0, NAN]})
    frame.to_parquet(run.table("confirm"))
    [ax] = drawn(run)["confirmed"].axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["defaults", "trial-0"]


@pytest.mark.parametrize("suffix", ["pdf", "svg"])
def test_other_formats_are_whole_files_too(make, tmp_path, suffix, command):
    run = search(make("vsc", fixed={**make("vsc").fixed, "kl_warmup": 0.0}), tmp_path, (FULL,))
    code, out, err = command("figures", run.path, "--format", suffix)
    assert (code, err) == (0, "")
    found = [Path(line) for line in out.splitlines()]
    assert {path.stem for path in found} >= {*ALWAYS, "hyperparameters"}
    for path in found:
        content = path.read_bytes()
        if suffix == "pdf":
            assert content.startswith(b"%PDF-")
            assert content.rstrip().endswith(b"%%EOF")
        else:
            assert ElementTree.fromstring(content).tag.endswith("svg")


@pytest.mark.parametrize("latent", [1, 2])
def test_one_complete_trial_and_nothing_drawn_is_enough(make, tmp_path, latent):
    """With a single coordinate Hoyer's measure is not defined."""
    spec = make(fixed={**searchspaces.defaults("vae"), "hidden": 8, "latent": latent}, trials=1)
    run = search(spec, tmp_path, (FULL,))
    expected = [name for name in ALWAYS if latent > 1 or name != "elbo_sparsity"]
    found = draw_all(run)
    assert [path.stem for path in found] == expected
    for path in found:
        check_png(path)


def test_a_run_without_a_complete_trial_is_refused(make, tmp_path, command):
    run = search(make(), tmp_path, ENDINGS[1:2] + ENDINGS[3:4])
    with pytest.raises(RunError, match="no complete trial"):
        draw_all(run)
    code, out, err = command("figures", run.path)
    assert (code, out) == (2, "")
    assert err == f"tiny has no complete trial yet; go on with `python -m study resume {run.path}`\n"
    assert not (run.path / "figures").exists()


def test_figures_do_not_read_the_test_set(runs, monkeypatch):
    splits = imagesets.load("mnist5k")
    monkeypatch.setattr(imagesets, "load", lambda *_: SimpleNamespace(train=splits.train, valid=splits.valid))
    assert draw_all(runs("vae"))


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


def test_a_format_that_is_none_is_refused(runs, command, tmp_path):
    code, out, err = command("figures", runs("vae").path, "--format", "jpeg")
    assert (code, out) == (2, "")
    assert "--format" in err
    assert "must be png, pdf or svg, got 'jpeg'" in " ".join(err.replace("│", " ").split())


def test_a_run_that_is_not_there_is_refused_before_anything_is_drawn(runs, command, tmp_path):
    code, out, err = command("figures", runs("vsc").path, "nothing", "--root", tmp_path)
    assert (code, out) == (2, "")
    assert err.startswith("no run 'nothing'; ")
