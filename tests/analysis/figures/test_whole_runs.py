"""Whole runs as files: which figures they get, and what stands in them."""

import math
import re
import shutil
import struct
import xml.etree.ElementTree as ElementTree
import zlib
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from marks import ELBO, legend, written
from matplotlib.image import imread
from PIL import Image
from searches import ENDINGS, FULL, search
from shapes import every_model

import analysis
import imagesets
import models
import searchspaces
from analysis import figures
from analysis.figures import style
from analysis.figures.learning_curves import best_complete
from analysis.tables import sound
from study.record.folder import Run

pytestmark = pytest.mark.filterwarnings("error")  # what matplotlib warns of is seen in the picture
NAN = math.nan
ALWAYS = ["learning_curves", "elbo_sparsity", "reconstructions", "samples", "traversal"]
MOVING = ("training_progress", "animated_traversal")
TRANSFERS = {f"background_transfer_{where}" for where in ("pixels", "shared", "private")}
OF_ALL = [  # a search over single images with labels, in which more than one trial is complete, by four latents
    *(*ALWAYS, "training_losses", "loss_history", "hyperparameters", "parallel_coordinates", "rungs", "cost"),
    *("class_reconstructions", "interpolation", "latent_space", "kl_by_latent", "latent_sheet", *MOVING),
]
COMPARED = [  # of runs that compare, of whichever model
    *("learning_curves", "loss_history", "training_losses", "elbo_sparsity", "reconstructions"),
    *("class_reconstructions", "samples", "interpolation", "latent_space"),
]
TIED = ("avb", "householder", "hvae", "iaf", "vlae")  # posteriors whose coordinates depend on each other
SEARCHING = ("vlae", "savae")  # for the mode
PENALISED = ("avb", "disentangled", "factor", "nonsyn")  # whose loss is not the ELBO alone


def expected_of(model: str) -> set[str]:
    """The figures of a model's run."""
    found = {*OF_ALL}
    if model == "vsc":
        found |= {"code_sparsity", "largest_codes", "modified_code", "conditional_samples"}
    if model == "conjoint":
        found = found - {"parallel_coordinates"} | {"conjoint_latents", "background_transfer"} | TRANSFERS
    if model in TIED:
        found = found - {"kl_by_latent"} | {"posterior_covariances"}
    if model in SEARCHING:
        found |= {"mode_search", "updates"}
    if model in PENALISED:
        found -= {"loss_history"}
    return found - {"latent_sheet"} if model in ("vsc", "hvae") else found  # for a Gaussian prior


def draw_all(run: Run, suffixes: Sequence[str] = figures.FORMATS) -> list[Path]:
    return figures.draw(figures.Results(run), suffixes)


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


def check_gif(path: Path) -> None:
    with Image.open(path) as animation:
        assert animation.n_frames > 1
        assert animation.info["loop"] == 0
        first = np.asarray(animation.convert("RGB"))
        animation.seek(animation.n_frames // 2)
        later = np.asarray(animation.convert("RGB"))
    assert first.std() > 5
    assert (first != later).any()


def check_pdf(path: Path) -> None:
    content = path.read_bytes()
    assert content.startswith(b"%PDF-")
    assert content.rstrip().endswith(b"%%EOF")


@every_model("model", "vae")
def test_a_runs_figures_are_whole_files(runs, model):
    run = runs(model)
    suffixes = figures.FORMATS if model == "vae" else ("png",)
    found = draw_all(run, suffixes)
    expected = [
        run.path / "figures" / f"{name}.{suffix}"
        for name in expected_of(model)
        for suffix in (["gif"] if name in {*MOVING, *TRANSFERS} else ["png", "pdf"])
        if suffix in suffixes
    ]
    assert sorted(found) == sorted(expected)
    assert sorted(path.name for path in (run.path / "figures").iterdir()) == sorted(path.name for path in found)
    for path in found:
        if path.suffix == ".pdf":
            check_pdf(path)
        elif path.suffix == ".gif":
            check_gif(path)
        else:
            width, height = check_png(path)
            assert width == 1300  # 6.5 inches at 200 dots
            assert height > 300


@every_model("model", "vae", "vsc")
def test_every_figure_says_what_it_shows(runs, drawn, model):
    run = runs(model)
    figures_ = drawn(run)
    assert {*figures_} == expected_of(model) - {*MOVING, *TRANSFERS}
    assert [*figures_] == [name for name in figures.names() if name in figures_]
    [curves] = figures_["learning_curves"].axes
    word, label = style.word(models.objective(model)), style.label(models.objective(model))
    assert (word, label) == (("log p(x)", "validation log p(x) [nats / image]") if model == "avb" else ("ELBO", ELBO))
    assert curves.get_ylabel() == label
    assert curves.get_xlabel() == "optimiser steps"
    assert len([line for line in curves.lines if line.get_marker() == "."]) == 4  # the failed one made no report
    assert len([line for line in curves.lines if line.get_marker() in ("x", "v")]) == 1
    hyperparameters = figures_["hyperparameters"]
    assert hyperparameters.get_supylabel() == label
    title = f"{word} of complete trials; ticks: what the others had drawn"
    assert hyperparameters.get_suptitle().splitlines()[0] == title
    visible = [ax for ax in hyperparameters.axes if ax.get_visible()]
    names = [ax.get_xlabel().removesuffix(" (log scale)") for ax in visible]
    assert names == list(run.spec().distributions())
    marks = {marker: [line for ax in visible for line in ax.lines if line.get_marker() == marker] for marker in "v|"}
    dots = sum(len(ax.collections[0].get_offsets()) for ax in visible)
    trials = analysis.trials(run.path)
    complete, stopped = (
        [sum(name in drawn.split(", ") for drawn in trials[trials["state"].isin(states)]["drawn"]) for name in names]
        for states in (["COMPLETE"], ["PRUNED", "FAIL"])
    )
    assert dots + sum(len(line.get_xdata()) for line in marks["v"]) == sum(complete)
    assert [len(line.get_xdata()) for line in marks["|"]] == stopped
    [sparsity] = figures_["elbo_sparsity"].axes
    measure = "share of exact zeros in codes" if model == "vsc" else "Hoyer sparsity of codes"
    assert written(sparsity) == (f"{word} against sparsity", measure, label)
    number = best_complete(analysis.trials(run.path), models.objective(model))
    titles = {name: figures_[name].axes[0].get_title() for name in ("reconstructions", "traversal")}
    titles["samples"] = figures_["samples"].get_suptitle()
    which = f"trial {number} of tiny-{model}"
    assert titles == {
        "reconstructions": f"Reconstructions, {which}",
        "samples": f"Draws, decoded; {which}",
        "traversal": f"One coordinate of a code, smallest to largest value; triangle: zero\n{which}",
    }
    names = {label.get_text() for label in figures_["traversal"].axes[0].get_yticklabels()}
    parts = {"conjoint": {"z1 0", "z2 0", "zs 0", "zs 1"}}
    assert names == parts.get(model, {"z 0", "z 1", "z 2", "z 3"}) or model == "hvae"  # whose sizes were drawn
    assert model != "hvae" or {"z1 0", "z2 0"} < names


def confirm(run, configurations, elbos):
    """Gives a run the table of a confirmation, in which what has no ELBO failed."""
    causes = ["" if math.isfinite(elbo) else "crash" for elbo in elbos]
    rows = {"study": run.name, "configuration": configurations, "cause": causes, "samples": 10, "images": 10}
    pd.DataFrame({**rows, "metrics.elbo": elbos}).to_parquet(run.table("confirm"))


def test_a_confirmed_run_shows_it(runs, tmp_path, drawn):
    run = Run(shutil.copytree(runs("vae").path, tmp_path / "tiny-vae"))
    confirm(run, ["defaults", "trial-0"] * 2, [-9.0, NAN, -8.0, NAN])
    [ax] = drawn(run)["confirmed"].axes
    labels = ["defaults\nn = 2", "trial-0\nn = 0, 2 failed"]
    assert [label.get_text() for label in ax.get_yticklabels()] == labels


def test_another_format_is_that_of_all_that_does_not_move(make, tmp_path, command):
    run = search(make("vsc", fixed={**make("vsc").fixed, "kl_warmup": 0.0}), tmp_path, (FULL,))
    code, out, err = command("figures", run.path, "--format", "svg")
    assert (code, err) == (0, "")
    found = [Path(line) for line in out.splitlines()]
    assert {path.stem for path in found} >= {*ALWAYS} - {"elbo_sparsity"}
    for path in found:
        assert ElementTree.fromstring(path.read_bytes()).tag.endswith("svg")


@pytest.mark.parametrize("latent", [1, 2])
def test_one_complete_trial_and_nothing_drawn_is_enough(make, tmp_path, latent, drawn):
    spec = make(fixed={**searchspaces.defaults("vae"), "hidden": 8, "latent": latent}, trials=1)
    run = search(spec, tmp_path, (FULL,))
    of_several_trials = {"hyperparameters", "elbo_sparsity", "parallel_coordinates", "rungs", "cost"}
    of_a_plane = {"latent_space", "posteriors", "manifold"}
    expected = {*OF_ALL, *of_a_plane} - of_several_trials - {*MOVING} - (of_a_plane if latent == 1 else set())
    assert {*drawn(run)} == expected


def test_of_a_run_without_a_complete_trial_what_needs_no_model_is_drawn(make, tmp_path, command):
    run = search(make(), tmp_path, ENDINGS[1:2] + ENDINGS[3:4])
    for step in (10, 20):  # what a longer training would have left
        shutil.copy(next(run.trial(0).glob("snapshots/*.npz")), run.trial(0) / "snapshots" / f"{step + 1:07d}.npz")
    code, out, err = command("figures", run.path)
    assert code == 0
    drawn = ["learning_curves", "loss_history", "training_losses", "training_progress", "cost"]
    assert list(dict.fromkeys(Path(line).stem for line in out.splitlines())) == drawn
    lacking = f"tiny has no complete trial yet; go on with `python -m study resume {run.path}`"
    assert err == f"tiny: what needs its best model is not drawn: {lacking}\n"


def test_a_run_without_any_report_is_refused(make, tmp_path, command):
    run = search(make(), tmp_path, ())
    code, out, err = command("figures", run.path)
    assert (code, out) == (2, "")
    lacking = f"tiny has no complete trial yet; go on with `python -m study resume {run.path}`"
    assert err == f"tiny: what needs its best model is not drawn: {lacking}\n"
    assert not (run.path / "figures").exists()


def test_what_is_damaged_keeps_only_what_needs_it_from_being_drawn(runs, tmp_path, command, unrendered):
    """Of that run and of one beside it."""
    damaged, whole = (Run(shutil.copytree(runs(model).path, tmp_path / f"tiny-{model}")) for model in ("vae", "vsc"))
    for path in damaged.path.glob("trials/*/best.pt"):
        path.write_bytes(b"PK no archive")
    confirm(whole, ["defaults"], [-9.0])
    confirm(damaged, ["defaults"], [-9.0])
    damaged.table("confirm").write_bytes(damaged.table("confirm").read_bytes()[:-100])
    code, out, err = command("figures", damaged.path, whole.path, "--format", "png")
    lines = err.splitlines()
    assert (code, len(lines)) == (0, 2)
    assert re.match("tiny-vae: what needs its best model is not drawn: .*best.pt", lines[1])
    assert re.match("tiny-vae: what was confirmed is not drawn: .*confirm.parquet cannot be read; .*--fix", lines[0])
    drawn = {path.parent: set() for path in map(Path, out.splitlines())}
    for path in map(Path, out.splitlines()):
        drawn[path.parent].add(path.stem)
    of_no_model = {"learning_curves", "elbo_sparsity", "hyperparameters", "parallel_coordinates", "rungs", "cost"}
    assert drawn[damaged.path / "figures"] == of_no_model | {"loss_history", "training_losses"}
    assert drawn[whole.path / "figures"] == expected_of("vsc") - {*MOVING} | {"confirmed"}
    assert drawn[damaged.path / "figures" / "compared"] == {
        *("learning_curves", "loss_history", "training_losses", "elbo_sparsity")
    }


def test_figures_do_not_read_the_test_set(runs, monkeypatch, unrendered):
    splits = imagesets.load("mnist5k")
    monkeypatch.setattr(imagesets, "load", lambda *_: SimpleNamespace(train=splits.train, valid=splits.valid))
    assert draw_all(runs("vae"))


def test_a_format_that_is_none_is_refused(runs, command, tmp_path):
    code, out, err = command("figures", runs("vae").path, "--format", "jpeg")
    assert (code, out) == (2, "")
    assert "--format" in err
    assert "must be png, pdf or svg, got 'jpeg'" in " ".join(err.replace("│", " ").split())


def test_a_run_that_is_not_there_is_refused_before_anything_is_drawn(runs, command, tmp_path):
    code, out, err = command("figures", runs("vsc").path, "nothing", "--root", tmp_path)
    assert (code, out) == (2, "")
    assert err.startswith("no run 'nothing'; ")


# Several runs.


def test_what_compares_several_runs_lies_with_the_first(runs, command, tmp_path, unrendered):
    first, second = (Run(shutil.copytree(runs(name).path, tmp_path / f"tiny-{name}")) for name in ("vsc", "vae"))
    code, out, err = command("figures", first.path, second.path, first.path)
    assert (code, err) == (0, "")
    folder, names = first.path / "figures" / "compared", [*COMPARED, "kl_by_latent", "posterior_covariances"]
    compared = [folder / f"{name}.{suffix}" for name in names for suffix in ("png", "pdf")]
    found = [Path(line) for line in out.splitlines()]
    assert found[-len(compared) :] == compared
    assert {path.parent for path in found} == {compared[0].parent, first.path / "figures", second.path / "figures"}
    assert len(found) == len(set(found))
    assert not (second.path / "figures" / "compared").exists()


def test_a_comparison_shows_every_run_that_has_the_data(runs, tmp_path, drawn):
    copies = [Run(shutil.copytree(runs(name).path, tmp_path / f"tiny-{name}")) for name in ("vsc", "vae", "iaf")]
    for run in copies[1:]:
        confirm(run, ["defaults", "trial-0"], [-9.0, NAN])
    found = drawn(*copies)
    assert {*found} == {*COMPARED, "confirmed", "kl_by_latent", "latent_sheet", "posterior_covariances"}
    assert [len(found[name].axes) for name in ("kl_by_latent", "latent_sheet")] == [1, 2]  # of two runs each
    assert legend(found["learning_curves"].axes[0]) == ["tiny-vsc", "tiny-vae", "tiny-iaf"]
    [sparsity] = found["elbo_sparsity"].axes
    assert legend(sparsity) == ["tiny-vsc", "tiny-vae", "tiny-iaf"]
    assert sparsity.get_xlabel() == "share of exact zeros in codes"  # one axis for all, though iaf's codes have none
    rows = [label.get_text() for label in found["confirmed"].axes[0].get_yticklabels()]
    seeds = {"defaults": "n = 1", "trial-0": "n = 0, 1 failed"}
    assert rows == [f"tiny-{name}, {row}\n{n}" for name in ("vae", "iaf") for row, n in seeds.items()]
    assert found["elbo_sparsity"].get_supxlabel().startswith("tiny-vsc, tiny-vae, tiny-iaf: ELBO is a ")


def test_two_runs_of_one_study_are_two(runs, tmp_path, command, unrendered):
    """Copies, or the same preset under two roots."""
    copies = [Run(shutil.copytree(runs("vae").path, tmp_path / place / "tiny-vae")) for place in ("before", "after")]
    names = ["before/tiny-vae", "after/tiny-vae"]
    for run in copies:
        confirm(run, ["defaults"], [-9.0])
    out = tmp_path / "out"
    code, printed, err = command("figures", *(run.path for run in copies), "--format", "png", "--out", out)
    assert (code, err) == (0, "")
    paths = [Path(line) for line in printed.splitlines()]
    assert {path.parent for path in paths} == {out / "compared", *(out / name for name in names)}
    found = {
        path.stem: figure for path, figure in zip(paths, unrendered, strict=True) if path.parent.name == "compared"
    }
    assert legend(found["learning_curves"].axes[0]) == names
    rows = [label.get_text() for label in found["confirmed"].axes[0].get_yticklabels()]
    assert rows == [f"{name}, defaults\nn = 1" for name in names]
    assert found["confirmed"].get_supxlabel().startswith(f"{', '.join(names)}: ")


def test_a_run_that_is_called_compared_keeps_its_figures(runs, tmp_path, command, unrendered):
    copies = [Run(shutil.copytree(runs("vae").path, tmp_path / name)) for name in ("compared", "other")]
    code, printed, _ = command("figures", *(run.path for run in copies), "--format", "png", "--out", tmp_path / "out")
    paths = [Path(line) for line in printed.splitlines()]
    assert code == 0
    assert len(paths) == len({*paths})
    assert {path.parent.name for path in paths} == {"compared", "other", "compared-2"}


def test_runs_whose_numbers_do_not_compare_are_drawn_alone(runs, make, tmp_path, command, unrendered):
    binary = make(
        fixed=make().fixed | {"kl_warmup": 0.0}, preprocessing={"binarise": "static"}, objective=["hoyer", "elbo"]
    )
    other = search(binary, tmp_path, (FULL,))
    first = Run(shutil.copytree(runs("vae").path, tmp_path / "tiny-vae"))
    code, out, err = command("figures", first.path, other.path)
    assert code == 0
    assert err == "not compared in one figure: the runs differ in preprocessing, objective\n"
    assert not (first.path / "figures" / "compared").exists()
    assert str(other.path / "figures" / "traversal.png") in out


def test_figures_go_by_the_first_objective(make, tmp_path, drawn):
    spec = make(fixed=make().fixed | {"kl_warmup": 0.0}, objective=["hoyer", "elbo"])
    run = search(spec, tmp_path, (FULL, FULL))
    found = drawn(run)
    rows = analysis.trials(run.path)
    best = rows.loc[sound(rows)["metrics.hoyer"].idxmax(), "number"]
    [curves] = found["learning_curves"].axes
    assert curves.get_ylabel() == "validation Hoyer sparsity of codes"
    assert f"best, trial {best}" in legend(curves)
    assert found["hyperparameters"].get_suptitle().startswith("Hoyer sparsity of codes of complete trials")
    assert found["elbo_sparsity"].axes[0].get_ylabel() == ELBO  # not hoyer against itself
    assert f"trial {best} of tiny" in found["samples"].get_suptitle()


def test_the_folder_is_the_registry():
    shared = {"__init__", "replayed", "results", "style", "transfers"}
    expected = {path.stem for path in Path(figures.__file__).parent.glob("*.py")} - shared
    assert set(figures.names()) == expected
    assert figures.names()[0] == "learning_curves"
    for name in figures.names():
        module = figures.module(name)
        whole = "animation" if name in {*MOVING, *TRANSFERS} else "figure"
        assert all(callable(getattr(module, part)) for part in ("fits", "data", "draw", whole)), name
        assert module.__doc__
