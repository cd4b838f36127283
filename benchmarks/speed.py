"""How fast trainings, trials and studies are, beside what people would otherwise run, as a table of ratios:

    python -m benchmarks.speed --data DIR --pythae FOLDER             # all rows, half an hour on two cores
    python -m benchmarks.speed --only bare-vae papers-vae             # some
    python -m benchmarks.speed --quick                                # that all of them run; the numbers mean nothing

A row's two sides take turns in one run, and the figures are medians over these, by the clock and, in brackets, of CPU.
DIR is the folder that holds MNIST/raw; without it, the 5,000 digits are taken that are there in any case. What each
side is: `benchmarks.steps`, `benchmarks.pythae_loop` and `benchmarks.stock`. The exit code is 0 if all that was
measured holds. benchmarks/README.md says where the time goes, docs/benchmarks.md has the tables that came out.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks import study_speed, training_speed
from benchmarks.markdown import table
from benchmarks.measured import HEADS, Asked, Row, Sides
from benchmarks.serving import SideError
from benchmarks.steps import rooted
from study.machine import cpus

ROWS = {row.name: row for row in (*training_speed.ROWS, *study_speed.ROWS)}


def measured(rows: Sequence[Row], asked: Asked) -> bool:
    """Measures and prints rows; whether all that could be measured holds."""
    lines, notes, holds = [], [], True
    for row in rows:
        try:
            found = row.measure(asked)
        except SideError as error:
            print(error, file=sys.stderr)
            found, holds = "failed, see above", False
        lines.append(row.cells(found))
        print(*lines[-1], sep="   ", file=sys.stderr, flush=True)
        if isinstance(found, Sides):
            holds &= row.holds(found)
            notes += [f"{row.name}: {found.note}"] if found.note else []
    print(table(HEADS, lines))
    for note in notes:
        print(f"\n{note}")
    return holds


def machine() -> str:
    """On what this is measured, and when, in a line."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "ray", "optuna"))
    processor = names[0] if names else platform.processor()
    return f"{time.strftime('%Y-%m-%d')}, {cpus()} CPUs ({processor}), Python {platform.python_version()}, {versions}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=ROWS, default=[*ROWS], metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--data", type=Path, help="the folder that holds MNIST/raw")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--trials", type=int, default=1000, help="of the studies whose driver is measured")
    parser.add_argument("--pythae", type=Path, help="folder of its environment, which is made where it is not there")
    parser.add_argument("--quick", action="store_true", help="tiny sizes")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="speed", ignore_cleanup_errors=True) as path:
        root = rooted(given.data, Path(path))
        repeats = 1 if given.quick else given.repeats
        asked = Asked(root, Path(path), repeats, given.quick, given.trials, given.pythae)
        print(machine(), end="\n\n")
        return 0 if measured([ROWS[name] for name in given.only], asked) else 1


if __name__ == "__main__":
    sys.exit(main())
