"""Models of the papers, one file each; the folder is the registry.

A model is a module of this folder with a function `build(image_shape, *, ...)`: `models.build("vsc", ...)` calls
`build` in models/vsc.py. Its keyword arguments are its hyperparameters, their types the domains. With `**shared` it
takes those that all models share, `models.base.Shared`, of which its `PAPER` may hold the paper's own values. With
`PAIRS = True` it is a model of pairs of images.

A model outside the folder is named by its path or its dotted module, see `models.outside`.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import json
import os
import typing
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from models import outline, outside
from models.export import Built, Code, check_names
from models.export import read as read_config

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from models.base import VAE
    from models.parts import Part

P = TypeVar("P", bound="Part")


class ModelError(ValueError):
    """A model that is not known, a hyperparameter outside its domain, an export that cannot be read, or images or codes
    that the model does not take.
    """


class NotRunError(ModelError):
    """An export has code of its own, which was not run."""


@cache
def names() -> list[str]:
    """Names of all models."""
    return [name for name, file in outline.files().items() if hasattr(file, "build")]


def module(name: str) -> ModuleType:
    """The model's file, as a module.

    Raises:
        ModelError: no model has that name, or a file of one's own cannot be run.
    """
    if outside.is_outside(name):
        try:
            return outside.module(name)
        except ValueError as error:
            raise ModelError(str(error)) from error
    _check_known(name)
    return importlib.import_module(f"models.{name}")


def described(name: str) -> ModuleType:
    """The model's file for what it says of itself, without torch, see `models.outline`; errors as for `module`."""
    if outside.is_outside(name):
        return module(name)
    _check_known(name)
    return outline.files()[name]


def _check_known(name: str) -> None:
    if name not in names():
        raise ModelError(f"model {name!r} is not known; known: {', '.join(names())}{_did_you_mean(name, names())}")


def parts_of(kind: type[P]) -> dict[str, type[P]]:
    """The parts of a kind that have a name, wherever in the folder they are, by their names."""
    return outline.parts_among(outline.imported().values(), kind)


def takes_pairs(name: str) -> bool:
    """Whether a model is one of pairs of images, [2, C, H, W]: its file says `PAIRS`. Errors as for `described`."""
    return bool(getattr(described(name), "PAIRS", False))


def hyperparameters(name: str) -> dict[str, Any]:
    """The model's hyperparameters and their defaults: its own, then those that all models share."""
    return {key: default for key, (_, default) in _fields(described(name)).items()}


@cache
def _fields(of: ModuleType) -> dict[str, tuple[Any, Any]]:
    """The model's hyperparameters: name -> (domain, default)."""
    own = keywords(of.build)
    further: dict[str, tuple[Any, Any]] = of.settings() if hasattr(of, "settings") else {}
    return {**own, **further, **{key: field for key, field in _shared(of).items() if key not in own}}


@cache
def keywords(function: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    """The keyword-only arguments of a function: name -> (domain, default)."""
    hints = typing.get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters.values()
    return {p.name: (hints.get(p.name, Any), p.default) for p in parameters if p.kind is p.KEYWORD_ONLY}


@cache
def _shared(of: ModuleType) -> dict[str, tuple[Any, Any]]:
    """The settings that every model takes, with the paper's own defaults; none where `build` does not hand them on."""
    if not any(p.kind is p.VAR_KEYWORD for p in inspect.signature(of.build).parameters.values()):
        return {}
    base = outline.files()["base"]
    domains, defaults = typing.get_type_hints(base.Shared, vars(base), include_extras=True), keywords(base.assemble)
    paper = getattr(of, "PAPER", {})
    return {key: (domain, paper.get(key, defaults[key][1])) for key, domain in domains.items()}


@cache
def _schema(of: ModuleType) -> type[BaseModel]:
    fields: dict[str, Any] = _fields(of)
    return create_model(of.__name__, __config__=ConfigDict(strict=True, extra="forbid", allow_inf_nan=False), **fields)


def check(name: str, settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is wrong with these hyperparameters, (key, message) each; empty if nothing is.

    Raises:
        ModelError: no model has that name.
    """
    try:
        _schema(described(name))(**settings)
    except ValidationError as error:
        known = list(hyperparameters(name))
        found: dict[str, str] = {}
        for e in error.errors():
            key = str(e["loc"][0])
            if e["type"] == "extra_forbidden":
                close = _did_you_mean(key, known)
                found[key] = f"{outside.title(name)} has no such hyperparameter; it has: {', '.join(known)}{close}"
            elif key in found:  # a further member of a union that the value is not either
                found[key] += f", or: {_lower(e['msg'])}"
            else:
                found[key] = f"{_lower(e['msg'])}, got {e['input']!r}"
        return list(found.items())
    return []


def build(name: str, image_shape: Sequence[int], **settings: Any) -> VAE:
    """Builds a model for images of a shape.

    Args:
        name: one of `names()`, or a model outside the folder: the path of its file, or its dotted module.
        image_shape: [C, H, W]; a pair model takes [2, C, H, W].
        **settings: hyperparameters that depart from the model's defaults.

    Returns:
        The module, with `name` and all its `hyperparameters` as attributes.

    Raises:
        ModelError: the model or a hyperparameter is not known, or a value is outside its domain; all are named.
    """
    problems = check(name, settings)
    if problems:
        raise ModelError("; ".join(f"{outside.title(name)}: {key}: {message}" for key, message in problems))
    if len(image_shape) not in (3, 4):
        raise ModelError(f"images are [C, H, W], or [2, C, H, W] in pairs, got the shape {[*image_shape]}")
    make = functools.partial(module(name).build, tuple(image_shape), **settings)
    try:
        model = outside.guarded(name, make) if outside.is_outside(name) else make()
    except ValueError as error:
        raise ModelError(f"{outside.title(name)}: {error}") from error
    from models.base import VAE

    if not isinstance(model, VAE):
        raise ModelError(f"{outside.title(name)}: build must return a models.base.VAE, got a {type(model).__name__}")
    model.name = outside.code(name).key if outside.is_outside(name) else name
    model.hyperparameters = {**hyperparameters(name), **settings}
    return model


def in_use(model: VAE) -> dict[str, Any]:
    """Of a model's hyperparameters, those that do something beside the others."""
    nothing = idle(model.name, model.hyperparameters)
    return {key: value for key, value in model.hyperparameters.items() if key not in nothing}


def idle(name: str, settings: Mapping[str, Any]) -> set[str]:
    """The hyperparameters that do nothing beside these and the model's defaults: its file's `idle` names them, and of
    those that all models share, the network says which it reads; `BESIDE_NETWORK` of the file, what else reads such.
    """
    of, given = described(name), {**hyperparameters(name), **settings}
    nothing = set(getattr(of, "idle", lambda given: ())(given))
    if "network" in _shared(of):
        networks = outline.files()["networks"]
        nothing |= networks.unread(given["network"]) - set(getattr(of, "BESIDE_NETWORK", ()))
    return nothing


def objective(name: str, settings: Mapping[str, Any] = MappingProxyType({})) -> str:
    """The measure that a model's trainings are compared on: its file's `OBJECTIVE`, else the ELBO.

    Where that depends on hyperparameters, the file has a function `objective` of them.

    Raises:
        ModelError: no model has that name.
    """
    file = described(name)
    if hasattr(file, "objective"):
        return str(file.objective({**hyperparameters(name), **settings}))
    return str(getattr(file, "OBJECTIVE", "elbo"))


def load(path: str | Path, *, device: str | torch.device = "cpu", code: bool = False) -> VAE:
    """Restores an exported model: `config.json` says what to build, `model.safetensors` holds its state.

    Args:
        path: the folder that `python -m study export` wrote.
        device: where the model shall be, such as "cuda".
        code: run the model's own file, where the export has one: it can do whatever you can.

    Returns:
        The model in evaluation mode, with what config.json says as its attribute `config`.

    Raises:
        ModelError: the folder is not a whole export, it has code that is not to be run, or there is no such device.
    """
    folder = Path(os.path.expanduser(path))
    lacking = [file for file in ("config.json", "model.safetensors") if not os.path.isfile(folder / file)]
    if lacking:
        there = f"it has no {lacking[0]}" if os.path.lexists(folder) else "there is no such folder"
        made = "name a folder that `python -m study export RUN --out FOLDER` made"
        remedy = made if lacking[1:] else "export the study again"
        raise ModelError(f"{folder} is not an exported model: {there}; {remedy}")
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    weights = folder / "model.safetensors"
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        said = read_config(Built, config)
        if said.code is not None:
            config["model"] = said.model = _own_code(folder, said.code, code)
        settings = {key: value for key, value in said.hyperparameters.items() if key != "steps"}  # once was one
        with safe_open(weights, "pt") as opened:
            check_names(opened.metadata(), said.hyperparameters)
        model = _as_configured(said, settings)  # which one it does not name came since: its default is what was done
        _fill(model, load_file(weights))
    except NotRunError:
        raise
    except (ValueError, TypeError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"{folder} is a damaged export ({reason}); export the study again") from error
    model.config = config
    return model.to(_usable(device)).eval()


def _as_configured(said: Built, settings: Mapping[str, Any]) -> VAE:
    try:
        return build(said.model, said.image_shape, **settings)
    except ModelError as error:
        raise ModelError(f"config.json: model, image_shape or hyperparameters: {error}") from error


def _fill(model: VAE, state: Mapping[str, Tensor]) -> None:
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        wrong = str(error).splitlines()[-1].strip()
        unfit = "model.safetensors does not fit config.json's model, image_shape and hyperparameters"
        raise ModelError(f"{unfit}: {wrong}") from error


def _usable(device: str | torch.device) -> torch.device:
    import torch

    try:
        return torch.zeros(1, device=device).device
    except (RuntimeError, AssertionError) as error:  # a name that torch does not know; no such device, or no driver
        reason = str(error).splitlines()[0].partition(". ")[0]
        raise ModelError(f"device {str(device)!r} cannot be used ({reason}); the CPU is device='cpu'") from error


def _own_code(folder: Path, said: Code, run: bool) -> str:
    """Runs the model's file in an export, and returns the model's key."""
    file = folder / Path(said.file).name
    if not file.is_file():
        raise NotRunError(f"{folder} is a damaged export: it has no {file.name}; export the study again")
    own = outside.Code(said.origin, file.read_text(encoding="utf-8"))
    if own.checksum != said.checksum:
        raise NotRunError(f"{file} is not the file that was exported: its checksum is another; export the study again")
    if not run:
        raise NotRunError(f"{folder} is a model with code of its own; read {file}; models.load(..., code=True) runs it")
    return outside.adopt(own)


def _did_you_mean(given: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(given, known, n=1)
    return f". Did you mean {close[0]!r}?" if close else ""


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]
