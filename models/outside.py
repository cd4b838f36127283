"""Models that are not of this folder: in a file of one's own, or in a module that is installed.

`find("my.py")` or `find("package.module")` runs the file and gives the model a key, `my@3f2ab4c5d6e7`, of its name and
the beginning of its checksum: what has another text is another model. By its key it is then one of the models, for this
process; another process is handed its `Code`.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import linecache
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, TypeVar

T = TypeVar("T")

LARGEST = 1 << 20  # bytes of a file


class Code(NamedTuple):
    """A model's file."""

    origin: str  # its whole path, or the module's dotted name
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def key(self) -> str:
        """By which the model is known: "my@3f2ab4c5d6e7"."""
        return f"{_stem(self.origin)}@{self.checksum[:12]}"


class _Known(NamedTuple):
    code: Code
    module: ModuleType


_known: dict[str, _Known] = {}
_failed: dict[str, str] = {}  # why a key cannot be used in this process


def is_outside(name: str) -> bool:
    """Whether a name is a path, a dotted module or a key, which no model of the folder is called."""
    return any(mark in name for mark in "./@")


def title(name: str) -> str:
    """A model in a table: its file's name, without the folder and the checksum."""
    return name.partition("@")[0] if "@" in name else _stem(name)


def find(name: str) -> str:
    """Runs a file, or imports a module, unless its text is known already; returns the model's key.

    Args:
        name: a path that ends in .py, a module's dotted name, or a key.

    Raises:
        ValueError: there is no such file or module, running it fails, or it has no `build` as a model has one.
    """
    return code(name).key


def code(name: str) -> Code:
    """The code of a model, which is run as by `find`; arguments and errors as there."""
    if "@" in name:
        if name not in _known:
            unknown = f"model {name!r} is known by its file, which nothing has named here yet"
            raise ValueError(_failed.get(name, unknown))
        return _known[name].code
    found = _as_it_is_now(name)
    adopt(found)
    return found


def module(name: str) -> ModuleType:
    """The module of a model; arguments and errors as for `find`."""
    return _known[find(name)].module


def adopt(code: Code) -> str:
    """Makes a model known to this process by its text; returns its key. Raises ValueError as `find` does."""
    if code.key not in _known:
        try:
            module = (_imported(code) if _is_dotted(code.origin) else None) or _run(code)
            _check(module, code)
        except ValueError as error:
            _failed[code.key] = str(error)
            raise
        _known[code.key] = _Known(code, module)
    return code.key


def has_changed(code: Code) -> bool:
    """Whether the file, or the module, is there and says something else now."""
    try:
        return _as_it_is_now(code.origin).text != code.text
    except ValueError:
        return False


def _as_it_is_now(name: str) -> Code:
    """What a path or a dotted name stands for, read again."""
    return Code(name, _text_of_module(name)) if _is_dotted(name) else _read(Path(name).expanduser().absolute())


def _is_dotted(name: str) -> bool:
    return "/" not in name and not name.endswith(".py")


def _stem(origin: str) -> str:
    return origin.rpartition(".")[2] if _is_dotted(origin) else Path(origin).stem


def _read(path: Path) -> Code:
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"{path} is larger than {LARGEST} bytes; a model is a file of Python")
        return Code(str(path), path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ValueError(
            f"{path}: no such file; a model of one's own is a file of Python with a function `build`"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a text file in UTF-8"
        raise ValueError(f"{path} cannot be read: {reason}") from None


def _text_of_module(name: str) -> str:
    """The text of a module's file, which is imported for it."""
    try:
        return inspect.getsource(importlib.import_module(name))
    except ModuleNotFoundError as error:
        raise ValueError(
            f"module {name!r} cannot be imported: {error}; name a file by its path, ending in .py"
        ) from None
    except OSError:
        raise ValueError(f"module {name!r} has no file of Python") from None
    except (Exception, SystemExit) as error:
        raise ValueError(f"module {name!r} cannot be imported: {_reason(error)}") from error


def _imported(code: Code) -> ModuleType | None:
    """The module of that name, where it can be imported here and has that text."""
    try:
        return importlib.import_module(code.origin) if _text_of_module(code.origin) == code.text else None
    except ValueError:
        return None


def _run(code: Code) -> ModuleType:
    made = ModuleType(f"latentsweep_{code.key.replace('@', '_')}", f"The model {code.key}.")
    made.__file__ = code.origin
    file = f"{code.origin} ({code.checksum[:12]})"
    linecache.cache[file] = (len(code.text), None, code.text.splitlines(keepends=True), file)  # for tracebacks
    sys.modules[made.__name__] = made  # where type hints are looked up
    try:
        exec(compile(code.text, file, "exec"), made.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[made.__name__]
        raise ValueError(f"{code.origin} cannot be run: {_reason(error, file)}") from error
    return made


def _check(module: ModuleType, code: Code) -> None:
    build = getattr(module, "build", None)
    if not callable(build):
        raise ValueError(f"{code.origin} has no function build(image_shape, *, latent, ...)")
    lacking = [name for name in ("space", "DEFAULTS") if not hasattr(module, name)]
    if len(lacking) == 1:
        raise ValueError(f"{code.origin} has no {lacking[0]}; a search space is `space` and `DEFAULTS`, or neither")
    if not lacking and not isinstance(module.DEFAULTS, Mapping):
        raise ValueError(f"{code.origin}: DEFAULTS must be a dict, got {module.DEFAULTS!r}")
    parameters = list(inspect.signature(build).parameters.values())
    names = {parameter.name for parameter in parameters}
    shared = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    if "latent" not in names or not (shared or names >= {"likelihood", "sigma"}):
        raise ValueError(
            f"{code.origin}: build takes latent and what all models take: build(image_shape, *, latent=..., **shared)"
        )
    if not parameters or parameters[0].kind is inspect.Parameter.KEYWORD_ONLY:
        raise ValueError(f"{code.origin}: build takes image_shape first, then its hyperparameters by name")
    for parameter in parameters[1:]:
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        if parameter.kind is not parameter.KEYWORD_ONLY or parameter.default is parameter.empty:
            raise ValueError(
                f"{code.origin}: build's {parameter.name} must be a keyword with a default: "
                f"build(image_shape, *, {parameter.name}=...)"
            )


def _reason(error: BaseException, file: str | None = None) -> str:
    """What went wrong, and in which line of the file."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
    said = error.msg if isinstance(error, SyntaxError) else str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {said}" + (f" (line {line})" if line else "")


def guarded(name: str, call: Callable[[], T]) -> T:
    """What a call into a model's own code returns; of what it raises, a line.

    Raises:
        ValueError: with the line of the file.
    """
    try:
        return call()
    except ValueError:
        raise
    except (Exception, SystemExit) as error:
        known = code(name)
        file = f"{known.origin} ({known.checksum[:12]})"
        raise ValueError(f"{known.origin}: {_reason(error, file)}") from error
