"""What the README shows, for tests that do as it says."""

import re
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
README = (PROJECT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The README's blocks in a language: console, python or yaml."""
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def the_one(language: str, holding: str) -> str:
    """The block that holds a text."""
    (found,) = [block for block in blocks(language) if holding in block]
    return found


def of_a_run() -> set[str]:
    """What the table of files says that a run's folder holds."""
    rows = [line.split("|")[1] for line in README.splitlines() if line.startswith("| `")]
    (first,) = [i for i, row in enumerate(rows) if "`study.yaml`" in row]
    (last,) = [i for i, row in enumerate(rows) if "`figures/`" in row]
    return {path.partition("/")[0] for row in rows[first : last + 1] for path in re.findall("`([^`]+)`", row)}


def write_own(folder: Path) -> None:
    """Writes the model of one's own that the README shows, few.py, and its preset, few.yaml."""
    (folder / "few.py").write_text(the_one("python", "# few.py").removeprefix("# few.py\n"))
    (folder / "few.yaml").write_text(the_one("yaml", "model: few.py"))


IMAGES = the_one("python", "np.savez")
"""What saves digits.npz in the current folder."""
