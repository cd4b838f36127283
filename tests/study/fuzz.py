"""Bad input, made by a seed: specifications and command lines, each of which is wrong for a reason that is known.

A specification is a preset of the project in which one to three things are wrong. A command line is one that would be
taken, of any command that there is, in which one thing is. What might be right is not made: see `MAY_BE`.
"""

import datetime
import math
import random
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import typer
import yaml

from study.spec import preset as preset_files

BOUND = 2**31 - 1  # beyond it nothing is taken; below it, what is too much depends on the machine


class Bad(NamedTuple):
    """What is given, and why it is wrong."""

    given: Any
    why: str


# Specifications.

VALUES = [
    *(None, True, False, 0, -1, 3, 2.5, -0.5, 10**13, -(10**20), 10**40, 1e308, math.inf, -math.inf, math.nan),
    *("", " ", "text", "3", "1e3", "sigma \u03c3", "\u202e\u2066", "\x1b[31mred", "\0", "\ud7ff", "a" * 5000, "~"),
    *("../..", "/etc/passwd", "sqlite://", "[bold]", "%s %d {}", "null", "-1"),
    *([], [1], [None], ["elbo", 3], [[]], [[[[1]]]], {}, {"a": 1}, {"low": 1}, {"": {}}),
    *(datetime.date(2020, 2, 2), datetime.datetime(2020, 2, 2, 2, 2), b"\xff\xfe", {"set"}),
]


def _whole(low: int, high: int = 10**6) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and low <= value <= high


def _number(low: float, high: float) -> Callable[[Any], bool]:
    return lambda value: type(value) in (int, float) and low <= value <= high


def _never(value: Any) -> bool:
    return False


def _empty(value: Any) -> bool:
    return value == {}


def _nothing(value: Any) -> bool:
    return value is None


MAY_BE: dict[str, Callable[[Any], bool]] = {
    "name": lambda value: isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}", value),
    **dict.fromkeys(("model", "dataset", "pairing", "likelihood", "objective", "sampler", "first", "budget"), _never),
    **dict.fromkeys(("dataset_options", "preprocessing", "fixed", "space"), _empty),
    **dict.fromkeys(("validation", "confirm", "resources"), _empty),
    **dict.fromkeys(("asha", "storage", "code"), _nothing),
    "pathologies": lambda value: value in (None, []),
    "stop_on": lambda value: value == [],
    "sigma": lambda value: type(value) in (int, float) and 0 < value < math.inf,  # of the gaussian likelihood
    "trials": _whole(1),
    "max_failed": _number(0, 1),
    "seed": _whole(0, 2**63 - 1),
    **dict.fromkeys(("budget.steps", "budget.epochs", "budget.batch", "budget.log_every"), _whole(1)),
    **dict.fromkeys(
        ("budget.report_every", "validation.images", "startup"), lambda value: value is None or _whole(1)(value)
    ),
    **dict.fromkeys(("asha.grace", "asha.reduction", "confirm.seeds"), _whole(1)),
    **dict.fromkeys(("confirm.samples", "confirm.images", "resources.cpus"), _whole(1)),
    "confirm.top": _whole(0),
    "resources.gpus": _number(0, 3),
    "preprocessing.binarise": _nothing,
    "preprocessing.threshold": _number(0.5, 0.5),
    "preprocessing.dequantise": lambda value: value is False,
    "preprocessing.logit": _nothing,
}
"""Whether a value may be right for a key; one that is not surely wrong is not given."""

NO_PIN = [{"a": 1}, [[]], "text", math.nan, math.inf, datetime.date(2020, 2, 2), b"\xff", [1, "a"], {"set"}, 10**400]
"""What no hyperparameter takes."""

NO_RANGE = [
    *({}, None, 3, "text", [1, 2], {"lower": 1}, {"low": 2, "high": 1}, {"low": math.nan, "high": 1}, {"step": 0}),
    *({"choices": []}, {"choices": [[1]]}, {"choices": [1, 1]}, {"low": 1, "choices": [1]}, {"log": "yes"}),
    *({"low": -math.inf, "high": 1}, {"low": "1", "high": 2}, {"choices": {"a": 1}}, {"low": 1, "high": 10**400}),
]

UNKNOWN = ["trails", "lernrate", "\u03b2", "", "a.b", "__class__", "\x1b[2J", "x" * 3000, "budget ", "model_config"]
GROUPS = ["budget", "asha", "confirm", "resources", "validation", "preprocessing", "fixed", "space"]

NO_YAML = [
    *(b"\n[1, 2", b"\n\t- x", b"\nk: \x07", b"\nk: 'x", b"\nk: \xe9", b"\n\xff\xfe", b"\n\0", b"\nk: 2020-13-45"),
    *(b"\nk: !!python/object/apply:os.system ['true']", b"\nk: !mine 3", b"\n---\nk: 1", b"\nk: &a 1\nl: *a"),
    *(b"\nk: " + b"[" * 2000, b"\nk: " + b"{a: " * 900 + b"1", b"\nk: 1\nk: 2", b"\n? {a: 1}\n: 2", b"\n<<: [1]"),
    *(b"\nk: " + b"9" * 5000, b"\nk: 0x" + b"f" * 5000, b"\nk: " + b"1:" * 3000 + b"1", b"\nk: 0b" + b"1" * 20000),
    *(b"\nk: !!binary '#'", b"\nk: !!int x", b"\nk: !!float x", b"\nk: !!timestamp x", b"\n!!map [1]", b"\n%YAML 9"),
]
"""What makes a file none that can be read, or gives it a key that there is not, when it is added at its end."""

WHOLE = [b"", b"null", b"3", b"text", b"- a\n- b", b"[[[[]]]]", b"---", b"...", b"\xef\xbb\xbf", b"PK\x03\x04", b"{}"]
"""Files that hold no preset at all."""


def specifications(seed: int, count: int) -> Iterator[Bad]:
    """Bad presets, as the bytes of their files."""
    source = random.Random(seed)
    for _ in range(count):
        yield _specification(source)


def _specification(source: random.Random) -> Bad:
    kind = source.random()
    if kind < 0.05:
        text = source.choice(WHOLE)
        return Bad(text, f"it is {text!r}")
    raw = preset_files.read(source.choice(preset_files.presets()))[1]
    if kind < 0.25:
        added = source.choice(NO_YAML)
        return Bad(yaml.safe_dump(raw, allow_unicode=True).encode() + added, f"{added[:40]!r} is added")
    why = [source.choice(MISTAKES)(source, raw) for _ in range(source.randint(1, 3))]
    return Bad(yaml.safe_dump(raw, allow_unicode=source.random() < 0.5).encode(), "; ".join(why))


def _wrong_value(source: random.Random, raw: dict[str, Any]) -> str:
    key = source.choice(list(MAY_BE))
    value = source.choice([value for value in VALUES if not MAY_BE[key](value)])
    group, _, name = key.rpartition(".")
    if not group:
        raw[name] = value
    elif isinstance(raw.setdefault(group, {}), dict):
        raw[group][name] = value
    else:  # which is wrong already
        return f"{group}: {raw[group]!r:.60}"
    if group == "asha":
        raw["asha"].setdefault("grace", 10**9)
    return f"{key}: {value!r:.60}"


def _unknown_key(source: random.Random, raw: dict[str, Any]) -> str:
    group, key = source.choice(["", *GROUPS]), source.choice(UNKNOWN)
    target = raw if not group else raw.setdefault(group, {})
    if not isinstance(target, dict):
        return f"{group}: {target!r:.60}"
    target[source.choice([key, key, 3, None, 2.5, True])] = source.choice(VALUES)
    return f"an unknown key in {group or 'the preset'}"


def _wrong_pin(source: random.Random, raw: dict[str, Any]) -> str:
    key, value = (
        source.choice(["latent", "hidden", "beta", "kl_warmup", "lr", "network", "init"]),
        source.choice(NO_PIN),
    )
    raw["fixed"] = {**(raw.get("fixed") if isinstance(raw.get("fixed"), dict) else {}), key: value}
    return f"fixed.{key}: {value!r:.60}"


def _wrong_range(source: random.Random, raw: dict[str, Any]) -> str:
    key, value = source.choice(["latent", "hidden", "beta", "kl_warmup", "lr", "weight_decay"]), source.choice(NO_RANGE)
    if isinstance(raw.get("fixed"), dict):
        raw["fixed"].pop(key, None)
    raw["space"] = {key: value}
    return f"space.{key}: {value!r:.60}"


def _wrong_base(source: random.Random, raw: dict[str, Any]) -> str:
    raw["base"] = source.choice(["nowhere", "../../../etc/passwd", "/", 3, ["a"], {"a": 1}, "", "\0", "a" * 5000])
    return f"base: {raw['base']!r:.60}"


MISTAKES = [_wrong_value] * 5 + [_unknown_key, _wrong_pin, _wrong_range, _wrong_base]


# Command lines.

TAKEN: dict[str, list[str]] = {
    "preset": ["quickstart"],
    "given": ["tiny"],
    "runs": ["tiny"],
    "export": ["exported"],
    "names": ["points"],
    "out": ["--out", "best"],
}
"""What a command takes for what it needs."""

NAMES = [
    *("nowhere", "", " ", ".", "..", "/", "/dev/null", "/etc/passwd", "a/b/c", "\u202eevil", "\x1b[31mred", "x" * 300),
    *("x" * 5000, "~", "~nobody/x", "[bold]", "%2F", "a\nb", "'quoted'", "\udcff", "-", "quickstrat", "study.yaml"),
]
"""Which are no preset, run or export."""

NUMBERS = ["x", "", "1.5", "-1", "nan", "inf", "1e400", "\u0663.5", "9" * 5000, str(10**20), "--", "1 2"]

WRONG: dict[str, list[list[str]]] = {
    "preset": [[name] for name in NAMES],
    "given": [[name] for name in NAMES if name not in (".", "..")],
    "runs": [[name] for name in NAMES] + [["tiny", "nowhere"]],
    "export": [[name] for name in NAMES],
    "names": [[name] for name in NAMES] + [["points", "mnst"]],
    "set_": [
        ["--set", pair]
        for pair in (
            *("", "=", "trials", "=3", "a.b.c=3", "trials=", "trials=x", "trials=-1", "budget=3", "budget.steps=0"),
            *("fixed=[1", "fixed.latent=x", "fixed.latent=-1", "fixed.nonsense=1", "budget.batch=10000000000000"),
            *("name=a/b", "name=..", "name=\x1b[31m", f"name={'x' * 300}", "model=vcs", "dataset=mnst", "base=x"),
            *(f"seed={10**30}", f"trials={10**30}", "resources.cpus=1000000000000000000000", "resources.gpus=1.5"),
            *("fixed.lr=.nan", "max_failed=.inf", "budget.steps=1_000_000_000_000", "objective=[]"),
            *("space.lr=3", "space.lr.low=x", "storage=sqlite://", "storage=nonsense", "storage=3", "a=&x [*x]"),
            *(f"fixed.latent={10**9}", f"fixed.hidden={10**9}", f"confirm.samples={10**20}", f"confirm.seeds={10**20}"),
            *("k=" + "[" * 2000, "k=!!python/name:os.system", "trials=0x" + "f" * 5000, "budget.epochs=3"),
        )
    ],
    "trials": [["--trials", number] for number in [*NUMBERS, "0", "+0", "+x", "+", "+-3", "+" + "9" * 30, "++1"]],
    "seeds": [["--seeds", number] for number in [*NUMBERS, "0", "true", "[1]", "null"]],
    "storage": [
        ["--storage", url]
        for url in (
            "",
            "x",
            "sqlite://",
            "sqlite:///",
            "sqlite:////none/at/all/x.db",
            "oracle://x",
            "a#b",
            "a: b",
            "://",
        )
    ],
    "format_": [["--format", word] for word in ("", "bmp", "PNG ", "../x", "\x1b")],
    "option": [["--option", pair] for pair in ("", "=", "n", "n=x", "n=-1", f"n={10**30}", "n=[", "m=3", "path=1")],
    "root": [["--root"]],
    "data": [["--data"]],
    "out": [["--out"]],
}
"""What is wrong for a command's parameter, whatever else is given."""

STRAY = ["--nonsense", "--set=x=", "-x", "--versions", "--no-root", "--dry-runs", "\u2014\u2014root"]


def commands(app: typer.Typer) -> dict[tuple[str, ...], Any]:
    """Every command of an application by the words that name it; a group that does something by itself is one."""

    def under(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
        if hasattr(command, "commands"):
            if words and getattr(command, "invoke_without_command", False):
                yield words, command
            for name, inner in command.commands.items():
                yield from under(inner, (*words, name))
        else:
            yield words, command

    return dict(under(typer.main.get_command(app), ()))


def command_lines(app: typer.Typer, seed: int, count: int) -> Iterator[Bad]:
    """Bad command lines of an application, as lists of words, over all of its commands in turn."""
    source, known = random.Random(seed), commands(app)
    for number in range(count):
        words, command = list(known.items())[number % len(known)]
        yield _command_line(source, words, command)


def _command_line(source: random.Random, words: tuple[str, ...], command: Any) -> Bad:
    needed = {p.name: TAKEN.get(p.name, ["nowhere"]) for p in command.params if p.required}
    line: list[str] = []
    ways: list[tuple[str, Callable[[], None]]] = [("stray", lambda: line.append(source.choice(STRAY)))]
    if needed and not hasattr(command, "commands"):
        ways.append(("lacking", lambda: needed.pop(source.choice(list(needed)))))
    if not any(p.nargs == -1 for p in command.params):
        ways.append(("too many", lambda: line.extend(["one", "more"])))
    for p in command.params:
        if p.name in WRONG:
            wrong = WRONG[p.name]
        elif getattr(p, "min", None) is not None:  # a whole number
            wrong = [[p.opts[0], number] for number in NUMBERS]
        else:
            continue
        ways += [(p.name, lambda name=p.name, wrong=wrong: _put(source.choice(wrong), name))] * 3

    def _put(what: list[str], name: str) -> None:
        needed.pop(name, None)
        line.extend(what)

    why, spoil = source.choice(ways)
    spoil()
    given = [*words, *(word for some in needed.values() for word in some), *line]
    return Bad(given, why)
