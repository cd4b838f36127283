"""Figures of a run. Each has a data function, from frames or a model to numbers, and a draw function that only draws.

Colours are those of Okabe & Ito (2008), which the colour-blind can tell apart; marks differ in shape too, for print.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution

from analysis import tables
from models.base import VAE
from study.export import best
from study.record import folder
from study.spec import StudySpec
from study.trial import snapshot
from study.trial.files import write_whole
from study.trial.images import Images, images_of
from study.trial.trial import load_data

BLUE, ORANGE, GREEN, VERMILION, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#8C8C8C"
NATS = "validation ELBO [nats / image]"
WIDTH = 6.5  # inches: a page's text


# Learning curves.


class Curve(NamedTuple):
    """One trial's validation ELBO over its training."""

    number: int
    state: str
    steps: NDArray[np.int64]
    elbo: NDArray[np.float64]


def learning_curves(curves: pd.DataFrame, trials: pd.DataFrame) -> list[Curve]:
    """A curve for each trial that made a report, the best complete one last.

    Args:
        curves: one row a report, of one study.
        trials: one row a trial, of the same.
    """
    rows = trials.set_index("number")
    found = [
        Curve(int(number), rows.state[number], group.steps.to_numpy(), group.elbo.to_numpy(float))
        for number, group in curves.sort_values("steps").groupby("number")
    ]
    best_number = best_complete(trials)
    return sorted(found, key=lambda curve: curve.number == best_number)


def best_complete(trials: pd.DataFrame) -> int | None:
    """Number of the complete trial with the highest validation ELBO; None if none is complete."""
    complete = trials[trials.state == "COMPLETE"]
    return None if complete.empty else int(complete.loc[complete["metrics.elbo"].idxmax(), "number"])


def draw_learning_curves(ax: Axes, curves: Sequence[Curve], rungs: Sequence[int], best_number: int | None) -> None:
    """Lines of ELBO over steps; a cross where ASHA stopped a trial, dashed lines at its rungs."""
    named: set[str] = set()

    def once(label: str) -> str:
        label, _ = ("_" + label if label in named else label), named.add(label)
        return label

    for curve in curves:
        if curve.number == best_number:
            style = {"color": VERMILION, "linewidth": 2.2, "label": once(f"best, trial {curve.number}"), "zorder": 4}
        elif curve.state == "COMPLETE":
            style = {"color": BLUE, "linewidth": 1.2, "label": once("complete"), "zorder": 3}
        else:
            style = {"color": GREY, "linewidth": 0.9, "label": once("stopped early"), "zorder": 2}
        ax.plot(curve.steps, curve.elbo, marker=".", markersize=3, **style)
        if curve.state == "PRUNED":
            ax.plot(curve.steps[-1], curve.elbo[-1], marker="x", color="black", markersize=5, linestyle="", zorder=5)
    for rung in rungs:
        ax.axvline(rung, color="black", linewidth=0.6, linestyle=(0, (4, 4)), label=once("rung"), zorder=1)
    values = np.concatenate([curve.elbo for curve in curves])
    values = values[np.isfinite(values)]
    low, high = np.quantile(values, 0.05), values.max()
    height = (high - low) or 1.0
    ax.set_ylim(low - 0.05 * height, high + 0.08 * height)
    ax.set_xlim(left=0)
    ax.set(xlabel="optimiser steps", ylabel=NATS)
    ax.set_title("Learning curves; a cross marks where a trial was stopped", pad=22)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 0.99), ncols=4, frameon=False)  # above: no curve is hidden


# ELBO against hyperparameters.


class Parameter(NamedTuple):
    """One drawn hyperparameter: complete trials with their ELBO, and where the stopped ones were."""

    name: str
    distribution: BaseDistribution
    values: NDArray  # of the complete trials
    elbo: NDArray[np.float64]
    stopped: NDArray  # values of the trials that were stopped or failed


def parameters(trials: pd.DataFrame, spec: StudySpec) -> list[Parameter]:
    """What the study drew, in the order of its space."""
    found = []
    for name, distribution in spec.distributions().items():
        column = f"params.{name}"
        if column in trials:
            drew = trials["drawn"] if "drawn" in trials else [name] * len(trials)
            rows = trials[[name in names.split(", ") for names in drew]]  # some are drawn in some trials only
            complete, others = rows[rows.state == "COMPLETE"], rows[rows.state != "COMPLETE"]
            values, stopped = (_values(part[column], distribution) for part in (complete, others))
            found.append(Parameter(name, distribution, values, complete["metrics.elbo"].to_numpy(float), stopped))
    return found


def _values(column: pd.Series, distribution: BaseDistribution) -> NDArray:
    """A column as numbers, or as the choices that it holds, None among them."""
    if not isinstance(distribution, CategoricalDistribution):
        return column.dropna().to_numpy(float)
    return np.array([None if pd.isna(value) else value for value in column], object)


def draw_parameter(ax: Axes, parameter: Parameter) -> None:
    """Complete trials as dots; the others, whose ELBO does not compare, as ticks on the axis."""
    values, stopped, drawn = parameter.values, parameter.stopped, parameter.distribution
    if isinstance(drawn, CategoricalDistribution):
        choices = list(drawn.choices)
        values, stopped = (np.array([choices.index(v) for v in part], float) for part in (values, stopped))
        ax.set_xticks(range(len(choices)), [str(choice).replace("_", "_\n") for choice in choices], fontsize="small")
        ax.set_xlim(-0.5, len(choices) - 0.5)
    else:
        low, high = drawn.low, drawn.high
        ticks = np.geomspace(low, high, 3) if drawn.log else np.linspace(low, high, 3)
        margin = 0.05
        if drawn.log:
            ax.set_xscale("log")
            ax.set_xlim(low * (low / high) ** margin, high * (high / low) ** margin)
        else:
            ax.set_xlim(low - margin * (high - low), high + margin * (high - low))
        ax.set_xticks(ticks, [f"{tick:.2g}" if tick < 10 else f"{tick:.0f}" for tick in ticks], fontsize="small")
        ax.xaxis.set_minor_locator(NullLocator())
    ax.scatter(values, parameter.elbo, s=18, color=BLUE, edgecolors="white", linewidths=0.4, zorder=3)
    ax.plot(stopped, np.full(len(stopped), 0.02), "|", color=GREY, transform=ax.get_xaxis_transform(), markersize=7)
    ax.set_xlabel(parameter.name)


# ELBO against sparsity.


class Sparsity(NamedTuple):
    """Complete trials: a measure of their codes' sparsity, and their ELBO."""

    measure: str
    sparsity: NDArray[np.float64]
    elbo: NDArray[np.float64]
    front: NDArray[np.int64]  # indices of the trials that no other one beats on both, by sparsity


def elbo_against_sparsity(trials: pd.DataFrame) -> Sparsity:
    """Exact zeros where the codes have any, else Hoyer's measure, for the trials where it is defined."""
    complete = trials[trials.state == "COMPLETE"]
    zeros = complete["metrics.zero_fraction"].to_numpy(float)
    exact = bool((zeros > 0).any())
    sparsity = zeros if exact else complete["metrics.hoyer"].to_numpy(float)
    defined = np.isfinite(sparsity)
    sparsity, elbo = sparsity[defined], complete["metrics.elbo"].to_numpy(float)[defined]
    beaten = [
        bool(((sparsity >= s) & (elbo >= e) & ((sparsity > s) | (elbo > e))).any()) for s, e in zip(sparsity, elbo)
    ]
    kept = np.flatnonzero(~np.array(beaten, bool))
    measure = "share of exact zeros in codes" if exact else "Hoyer sparsity of codes"
    return Sparsity(measure, sparsity, elbo, kept[np.argsort(sparsity[kept])])


def draw_elbo_against_sparsity(ax: Axes, data: Sparsity) -> None:
    """Dots, and the front of those that are best in both."""
    ax.plot(data.sparsity[data.front], data.elbo[data.front], color=ORANGE, linewidth=1.5, label="front", zorder=2)
    ax.scatter(data.sparsity, data.elbo, color=BLUE, s=24, edgecolors="white", linewidths=0.4, label="complete trial")
    ax.set(xlabel=data.measure, ylabel=NATS, title="ELBO against sparsity")
    ax.legend(frameon=False)


# Confirmed numbers.


def draw_confirmed(ax: Axes, confirmed: pd.DataFrame) -> None:
    """Every seed as a dot, mean and standard deviation beside it, one row a configuration."""
    names = list(dict.fromkeys(confirmed.configuration))
    for row, name in enumerate(names):
        values = confirmed.loc[confirmed.configuration == name, "metrics.elbo"].dropna()
        ax.scatter(values, np.full(len(values), row), color=BLUE, s=20, zorder=3)
        if len(values):
            spread = values.std(ddof=1) if len(values) > 1 else 0.0
            ax.errorbar(
                values.mean(), row + 0.18, xerr=spread, fmt="D", color=VERMILION, markersize=5, capsize=4, zorder=4
            )
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(-0.6, len(names) - 0.4)
    ax.xaxis.set_major_locator(MaxNLocator(6))
    ax.grid(axis="x", color="0.9")
    ax.set(xlabel="test ELBO [nats / image]", title="Confirmed over fresh seeds; diamond: mean ± standard deviation")


# What the best model does.


class Codes(NamedTuple):
    """How many coordinates of an image's code are not zero."""

    counts: NDArray[np.int64]  # [N]
    latent: int
    expected: float | None  # by the prior, where it has exact zeros


@torch.no_grad()
def code_sparsity(model: VAE, images: Images) -> Codes:
    """Counts over the images of a split."""
    codes = torch.cat([model.codes(x) for x in images])
    alpha = model.hyperparameters.get("alpha")
    expected = None if alpha is None else alpha * codes.shape[1]
    return Codes((codes != 0).sum(1).numpy(), codes.shape[1], expected)


def draw_code_sparsity(ax: Axes, codes: Codes) -> None:
    """A bar for each count."""
    low, high = int(codes.counts.min()), int(codes.counts.max())
    counts = np.bincount(codes.counts, minlength=high + 1)[low:]
    ax.bar(np.arange(low, high + 1), counts / counts.sum(), width=0.85, color=BLUE)
    ax.axvline(codes.counts.mean(), color=VERMILION, linewidth=1.8, label=f"mean {codes.counts.mean():.1f}")
    if codes.expected is not None:
        label = f"prior's mean {codes.expected:.1f}"
        ax.axvline(codes.expected, color="black", linewidth=1.2, linestyle="--", label=label)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(
        xlabel=f"coordinates that are not zero, of {codes.latent}",
        ylabel="share of validation images",
        title="How sparse the codes are",
    )
    ax.legend(frameon=False)


def draw_pictures(ax: Axes, pictures: NDArray[np.uint8], title: str) -> None:
    """Images as tiles, [rows, columns, C, H, W]."""
    ax.imshow(snapshot.sheet(pictures, gap=2), interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    ax.set_title(title)


def _label_rows(ax: Axes, labels: Sequence[str], height: int, gap: int = 2) -> None:
    ax.set_yticks([gap + row * (height + gap) + height / 2 for row in range(len(labels))], labels)
    ax.tick_params(length=0)


# All of a run's figures.


def draw_all(run: folder.Run, data: str | None = None, suffix: str = "png") -> list[Path]:
    """Draws every figure that the run has the data for, into its folder `figures`.

    Args:
        run: its folder.
        data: root of the data sets; None is the default one.
        suffix: of the files: png, pdf or svg.

    Returns:
        The files, in the order of a report.

    Raises:
        RunError: no trial is complete.
        DataError: the data set is not there.
    """
    spec = run.spec()
    trials, curves = tables.trials(run.path), tables.curves(run.path)
    winner = best(run)
    valid = images_of(load_data(spec, data), "valid", spec.preprocessing, spec.pairing)
    out = run.path / "figures"
    out.mkdir(exist_ok=True)
    written = []

    kind = f"{spec.name}: ELBO is a {trials['kind'].iloc[0]} of {spec.preprocessing} images"

    def save(figure: Figure, name: str, note: str = "") -> None:
        if note:
            figure.supxlabel(note, x=0.99, ha="right", fontsize="x-small", color=GREY)
        path = out / f"{name}.{suffix}"
        write_whole(path, lambda temporary: figure.savefig(temporary, format=suffix, dpi=200))
        written.append(path)

    figure, ax = _figure(4.0)
    draw_learning_curves(ax, learning_curves(curves, trials), spec.rungs, best_complete(trials))
    save(figure, "learning_curves", kind)
    if drawn := parameters(trials, spec):
        save(_parameter_figure(drawn), "hyperparameters", kind)
    if len((sparsity := elbo_against_sparsity(trials)).elbo):
        figure, ax = _figure(4.0)
        draw_elbo_against_sparsity(ax, sparsity)
        save(figure, "elbo_sparsity", kind)
    if run.table("confirm").is_file():
        confirmed = tables.confirmed(run.path)
        figure, ax = _figure(1.4 + 0.45 * confirmed.configuration.nunique())
        draw_confirmed(ax, confirmed)
        save(figure, "confirmed", kind)

    seen = snapshot.take(winner.model, valid)
    which = f"trial {winner.number} of {spec.name}"
    figure, ax = _figure(2.3)
    draw_pictures(ax, np.stack([seen["originals"], seen["reconstructions"]]), f"Reconstructions, {which}")
    _label_rows(ax, ["image", "model"], valid.image_shape[1])
    save(figure, "reconstructions")
    figure, ax = _figure(4.2)
    draw_pictures(ax, _samples(winner.model, rows=6, columns=10), f"Draws from the prior, decoded; {which}")
    save(figure, "samples")
    figure, ax = _figure(5.2)
    draw_pictures(ax, seen["traversal"], f"One coordinate of a code, smallest to largest value; {which}")
    _label_rows(ax, [f"z {j}" for j in seen["coordinates"]], valid.image_shape[1])
    save(figure, "traversal")
    codes = code_sparsity(winner.model, valid)
    if (codes.counts < codes.latent).any():
        figure, ax = _figure(3.6)
        draw_code_sparsity(ax, codes)
        save(figure, "code_sparsity")
    return written


def _samples(model: VAE, rows: int, columns: int, seed: int = 0) -> NDArray[np.uint8]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        images = model.sample(rows * columns)
    return (images * 255).round().to(torch.uint8).numpy().reshape(rows, columns, *images.shape[1:])


def _figure(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    ax = figure.add_subplot()
    ax.spines[["top", "right"]].set_visible(False)
    return figure, ax


def _parameter_figure(drawn: Sequence[Parameter], columns: int = 3) -> Figure:
    rows = -(-len(drawn) // columns)
    figure = Figure(figsize=(WIDTH, 0.5 + 1.9 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for ax, parameter in zip(axes.flat, drawn):
        draw_parameter(ax, parameter)
        ax.spines[["top", "right"]].set_visible(False)
    for ax in axes.flat[len(drawn) :]:
        ax.set_visible(False)
    figure.supylabel(NATS, fontsize="medium")
    figure.suptitle("ELBO of complete trials; ticks: what stopped trials had drawn", fontsize="large")
    return figure
