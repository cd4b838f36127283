"""The best checkpoint of a run, in a form that loads without Ray and Optuna: `models.load(folder)`."""

from __future__ import annotations

import json
import math
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import save_file

from models.base import VAE
from study.record.confirmation import DEFAULTS, seeds
from study.record.folder import OpenRun, Run, RunError
from study.record.storage import KIND, open_run
from study.record.trials import best_trial
from study.spec.build import build
from study.spec.measures import current, measure, taken
from study.spec.settings import is_setting
from study.trial import checkpoint
from study.trial.checkpoint import CheckpointError
from study.trial.evaluation import SEED
from study.trial.training import derived_seed


class Best(NamedTuple):
    """The best checkpoint of a run."""

    number: int  # of the trial; of a run without a search, of the seed, counted from 0
    seed: int
    model: VAE  # on the CPU, in evaluation mode
    settings: dict[str, Any]
    report: dict[str, Any]  # the validation metrics that it was best by


def best(opened: OpenRun) -> Best:
    """The best checkpoint of the best complete trial, or where there was no search, seed, both by the first objective.

    Raises:
        RunError: no trial is complete, or no seed, or a checkpoint is gone or damaged.
    """
    spec = opened.spec
    number, seed, state = _best_trial(opened) if spec.trials else _best_seed(opened)
    model = build(spec, state["settings"])
    model.load_state_dict(state["training"]["model"])
    return Best(number, seed, model.eval(), state["settings"], current(state["report"]))


def _best_trial(opened: OpenRun) -> tuple[int, int, dict[str, Any]]:
    run, spec, study = opened
    trial = best_trial(study)
    if trial is None:
        raise RunError(f"{run.name} has no complete trial yet; go on with `{run.goes_on(spec)}`")
    state = _checkpoint("the best trial", run.trial(trial.number))
    return trial.number, derived_seed(spec.seed, trial.number), state


def _best_seed(opened: OpenRun) -> tuple[int, int, dict[str, Any]]:
    run, spec, _ = opened
    best: tuple[int, int, dict[str, Any]] | None = None
    sound, failed = seeds(run, spec)
    if len(failed) == spec.confirm.seeds:
        raise RunError(f"all seeds of {run.name} failed")
    for repeat in sound:
        state = _checkpoint(f"seed {repeat + 1}", run.confirmation(DEFAULTS, repeat))
        if best is None or state["best"] > best[2]["best"]:
            best = repeat, state["seed"], state
    if best is None:
        raise RunError(f"{run.name} has no complete seed yet; go on with `{run.goes_on(spec)}`")
    return best


def _checkpoint(whose: str, folder: Path) -> dict[str, Any]:
    path = folder / checkpoint.BEST
    try:
        state = checkpoint.load(path)
    except CheckpointError as error:
        raise RunError(str(error)) from error
    if state is None:
        raise RunError(f"the checkpoint of {whose}, {path}, is gone")
    return state


def export(run: Run, out: Path) -> Path:
    """Writes the best checkpoint: model.safetensors, config.json, metrics.json and a model card, README.md.

    Args:
        run: a run with at least one complete trial, or seed where there was no search.
        out: the folder to make.

    Returns:
        `out`.

    Raises:
        RunError: `out` exists, no trial or seed is complete, or its checkpoint is gone.
    """
    out = Path(out)
    if out.exists():
        raise RunError(f"{out} exists already; name another folder with --out")
    opened = open_run(run)
    spec, study = opened.spec, opened.study
    number, seed, model, settings, report = best(opened)
    config = {
        "model": spec.model,
        "image_shape": list(model.image_shape),
        "hyperparameters": model.hyperparameters,
        "dataset": spec.dataset,
        "dataset_options": spec.dataset_options,
        "preprocessing": spec.preprocessing.model_dump(),
        "pairing": spec.pairing,
        "training": {key: value for key, value in settings.items() if is_setting(key)},
        "study": spec.name,
        "trial" if spec.trials else "repeat": number,
        "seed": seed,
        "steps": report["steps"],
    }
    found = {
        "kind": study.user_attrs.get(KIND),
        "split": "valid",
        "seed": SEED,
        **{key: report[key] if math.isfinite(report[key]) else None for key in taken([report])},  # JSON has no NaN
    }
    among = len(study.trials) if spec.trials else len(seeds(run, spec).sound)
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        temporary.mkdir(parents=True)
        save_file(model.state_dict(), temporary / "model.safetensors")
        _write_json(temporary / "config.json", config)
        _write_json(temporary / "metrics.json", found)
        (temporary / "README.md").write_text(_model_card(run, config, found, among), encoding="utf-8")
        os.rename(temporary, out)
    except OSError as error:
        raise RunError(f"cannot write {out}: {error.strerror}; name another folder with --out") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return out


def _title(name: str) -> str:
    known = measure(name)
    return f"{known.title} (nats an image)" if known.unit == "nats" else known.title


def _text(value: float | None, decimals: int) -> str:
    return "not defined" if value is None else f"{value:.{decimals}f}"


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _model_card(run: Run, config: dict[str, Any], found: dict[str, Any], among: int) -> str:
    which = f"Trial {config.get('trial')} of {among}"
    caution = """of the configuration that won a
search on them, and so a little optimistic; confirmed numbers come from `python -m study confirm {run}`,
which tests the best checkpoints of trainings over fresh seeds; this is the best checkpoint of the search's training."""
    if "repeat" in config:
        which = f"Seed {config['repeat'] + 1}, the best of {among},"
        caution = """of the seed that was best on
them, and so a little optimistic; mean and spread over all seeds, on the test set, are printed by
`python -m analysis table {run}`."""
    measured = "\n".join(
        f"| {_title(key)} | {_text(found[key], 0 if measure(key).unit == 'units' else 4)} |"
        for key in found
        if key not in ("kind", "split", "seed")
    )
    rows = "\n".join(f"| {key} | {value} |" for key, value in config["hyperparameters"].items())
    training = "\n".join(f"| {key} | {value} |" for key, value in config["training"].items())
    meaning = {
        "bound": "The ELBO is a lower bound on the log-likelihood of the images.",
        "soft cross-entropy": (
            "The images are grey and the likelihood is Bernoulli: the value is a soft cross-entropy plus KL, "
            "comparable between models on the same data, but no bound on a log-likelihood."
        ),
        "density of grey levels": (
            "The likelihood is a density over 256 grey levels that were not dequantised: comparable between models on "
            "the same data, but it has no upper limit and is no bound on a log-likelihood."
        ),
    }.get(found["kind"], "")
    return f"""# {config["model"]} on {config["dataset"]}

{which} in the study `{config["study"]}`, after {config["steps"]} optimiser steps.

    import models
    model = models.load("this folder")
    codes = model.codes(x)              # x: floats in [0, 1], [B, {", ".join(map(str, config["image_shape"]))}]
    images = model.sample(16)

## Validation metrics

| metric | value |
| --- | --- |
{measured}

Kind: {found["kind"]}. {meaning}
One draw from the exact posterior an image, KL weight 1. These are validation numbers {caution.format(run=run.argument)}

## Hyperparameters

| name | value |
| --- | --- |
{rows}
{training}
| seed | {config["seed"]} |
"""
