"""The best checkpoint of a run, in a form that loads without Ray and Optuna: `models.load(folder)`."""

from __future__ import annotations

import json
import math
import os
import shlex
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import save

import imagesets
import models
from models.base import VAE
from models.export import NAMES
from study.card import card
from study.record import tables
from study.record.confirmation import DEFAULTS, seeds
from study.record.folder import OpenRun, Run, RunError
from study.record.storage import IMAGES, KIND, open_run
from study.record.trials import best_trial, owed
from study.spec.build import build
from study.spec.measures import current, taken
from study.spec.settings import is_setting
from study.spec.text import command, counted
from study.trial import checkpoint
from study.trial.checkpoint import CheckpointError
from study.trial.evaluation import SEED
from study.trial.files import folder_written_whole, unwritable
from study.trial.seeds import derived_seed

CODE = "model.py"  # in an export, the file of a model of one's own


class NoneCompleteError(RunError):
    """No trial of a run is complete, or where there was no search, no seed."""


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
        NoneCompleteError: no trial is complete, or no seed.
        RunError: a checkpoint is gone or damaged.
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
        if owed(opened):
            raise NoneCompleteError(f"{run.name} has no complete trial yet; go on with `{run.goes_on(spec)}`")
        more = command("run", run.argument, "--trials", f"+{spec.trials}")
        raise NoneCompleteError(
            f"of {run.name}'s {counted(spec.trials, 'trial')} none is complete; `{more}` adds as many"
        )
    state = _checkpoint("the best trial", run.trial(trial.number))
    return trial.number, derived_seed(spec.seed, trial.number), state


def _best_seed(opened: OpenRun) -> tuple[int, int, dict[str, Any]]:
    run, spec, _ = opened
    best: tuple[int, int, dict[str, Any]] | None = None
    sound, failed = seeds(run, spec)
    if len(failed) == spec.confirm.seeds:
        raise NoneCompleteError(f"all seeds of {run.name} failed")
    for repeat in sound:
        state = _checkpoint(f"seed {repeat + 1}", run.confirmation(DEFAULTS, repeat))
        if best is None or state["best"] > best[2]["best"]:
            best = repeat, state["seed"], state
    if best is None:
        raise NoneCompleteError(f"{run.name} has no complete seed yet; go on with `{run.goes_on(spec)}`")
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
    out = Path(os.path.expanduser(out))
    if os.path.lexists(out):
        raise RunError(f"{out} exists already; name another folder with --out")
    if obstacle := unwritable(out):
        raise RunError(f"cannot write {out}: {obstacle}; name another folder with --out")
    opened = open_run(run)
    spec, study = opened.spec, opened.study
    number, seed, model, settings, report = best(opened)
    config = {
        "model": spec.model,
        "image_shape": list(model.image_shape),
        "hyperparameters": models.in_use(model),
        "dataset": spec.dataset,
        "dataset_options": imagesets.without_folders(spec.dataset, spec.dataset_options),
        "dataset_checksum": study.user_attrs.get(IMAGES),
        "preprocessing": spec.preprocessing.model_dump(),
        "pairing": spec.pairing,
        "training": {key: value for key, value in settings.items() if is_setting(key)},
        "precision": spec.precision,
        "deterministic": spec.deterministic,
        "compiled": spec.compiled,
        "study": spec.name,
        "trial" if spec.trials else "repeat": number,
        "seed": seed,
        "steps": report["steps"],
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        **_made_with(run),
    }
    if spec.code is not None:
        config["code"] = {"file": CODE, "origin": spec.code.name, "checksum": spec.code.checksum}
    found = {
        "kind": study.user_attrs.get(KIND),
        "split": "valid",
        "images": spec.validated,
        "seed": SEED,
        **{key: report[key] if math.isfinite(report[key]) else None for key in taken([report])},  # JSON has no NaN
    }
    readme = card(
        config,
        found,
        model,
        spec,
        among=len(study.trials) if spec.trials else len(seeds(run, spec).sound),
        configuration=f"trial-{number}" if spec.trials and settings != spec.defaults() else DEFAULTS,
        table=tables.confirmed(run),
        run=shlex.quote(run.name),
    )
    try:
        with folder_written_whole(out) as made:
            weights = save(model.state_dict(), {NAMES: json.dumps([*config["hyperparameters"]])})
            (made / "model.safetensors").write_bytes(weights)  # as the umask says; save_file lets its owner alone read
            _write_json(made / "config.json", config)
            if spec.code is not None:
                (made / CODE).write_text(spec.code.text, encoding="utf-8")
            _write_json(made / "metrics.json", found)
            (made / "README.md").write_text(readme, encoding="utf-8")
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RunError(f"cannot write {out}: {reason}; name another folder with --out") from None
    return out


def _made_with(run: Run) -> dict[str, Any]:
    """Commit and versions that the run was started with; empty of what environment.json does not say any more."""
    said = run.made_with()
    packages = {"python": said.get("python"), **said.get("packages", {})}
    return {
        "commit": said.get("commit"),
        "changed": said.get("changed"),
        "versions": {name: version for name, version in packages.items() if version},
    }


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
