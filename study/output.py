"""Standard output and standard error: all lines go through here; and what may be in a text that leaves the machine.

Either may go, as a closed pipe, a dead terminal, or none from the start; no password gets through, wherever it was
given; and what a file or an argument holds does nothing to a terminal when an error line quotes it.

What is sent or shown to others, as a report, a card, the dashboard's pages and tables, has no place of this machine
either, see `without_places`.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from typing import Any, TextIO


def outlive() -> None:
    """Lets this process go on without its standard output and error, should these go; what is printed then is lost."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, _Outliving):
            continue
        shown = printable if name == "stderr" else masked  # the display moves the cursor of a terminal
        setattr(sys, name, open(os.devnull, "w") if stream is None else _Outliving(stream, shown))  # noqa: SIM115


IN_URL = re.compile(  # user:password@, with : / and @ in it, also where the scheme was left out
    r"(\b(?:[A-Za-z][\w+.-]*:/{1,3})?[^\s:@/]{0,200}:)[^\s/]\S*@"
)
SPACED_IN_URL = re.compile(  # the same with spaces in it, which only a scheme tells from a sentence; and no port
    r"(\b[A-Za-z][\w+.-]{0,30}:/{2,3}[^\s:@/]{0,200}:)(?!\d{1,5}(?:[\s/,;)]|$))[^\s/][^@\n'\"`<>]{0,200}@"
)
NAMED = re.compile(  # PGPASSWORD=, 'token': and the like; of `pass`, which is a word of sentences, no bare colon
    r"""((?:passw(?:or)?d|passphrase|pwd|token|secret|(?:api|access|private|secret)[_-]?key)\\*['"]?[ \t]*(?::|=+|%3d)
    |(?<![a-z])pass(?:\\*['"][ \t]*:|[ \t]*=+|%3d))([ \t]*\\*)(?:(['"])(?:(?!\\*\3).)+|[^\s&;,'"\]})]+)""",
    re.IGNORECASE | re.VERBOSE,
)
CONTROLS = re.compile(r"[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
BREAKS = re.compile(r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
PLACE = re.compile(  # of a server or a file, in a URL; that of a paper is none
    r"\b(?!https://(?:arxiv|doi)\.org/)([A-Za-z][\w+.-]{0,30}:/{2,})[^\s'\"`<>]+"
)
QUOTED = re.compile(  # a path with anything in it
    r"""(["'])(?:(?:~[\w.-]*|\.\.)?/|[A-Za-z]:[\\/]|\\{2,}(?=[^\\]+\\))((?:(?!\1).)+)\1"""
)
BACKSLASH = "\\"
IN_NAMES = r"[^\s/'\"`<>|;,()]"
OF_SENTENCES = "and|as|at|by|for|from|in|into|is|not|of|on|or|s|the|to|was|with"
FOLDER = rf"(?:{IN_NAMES}+|[\w-]+(?:[ ](?!(?:{OF_SENTENCES})\b)[A-Za-z][\w.-]*){{1,3}})/+"  # spaces: `without_places`
PATH = re.compile(
    rf"(?<![\w.~/\\])(?:(?:[A-Za-z]:|(?:(?<!:)/+)?)/(?:{FOLDER})+|(?:~(?:[A-Za-z_][\w.-]*)?/+|(?:\.\./+)+)(?:{FOLDER})*)"
    rf"(?={IN_NAMES})"
)
IN_WINDOWS = r"[^\s\\/:'\"`<>|;,()]+"
WINDOWS = re.compile(  # a space before a backslash can be in a name only
    rf"(?<![\w\\])(?:[A-Za-z]:|\\(?=\\))\\+(?:{IN_WINDOWS}(?:[ ]{IN_WINDOWS}){{0,3}}\\+)+(?={IN_WINDOWS})"
)
SURROGATES = re.compile(r"[\ud800-\udfff]")  # bytes of a path or an argument that are no UTF-8


def masked(text: str) -> str:
    """The text with stars in the place of whatever looks like a password."""
    text = SURROGATES.sub(_escaped, text)
    if "@" in text:
        text = SPACED_IN_URL.sub(r"\1***@", IN_URL.sub(r"\1***@", text))
    return NAMED.sub(r"\1\2\3***", text) if "=" in text or ":" in text or "%3" in text else text


def printable(text: str) -> str:
    """The same, with what would move a terminal's cursor, colour it or turn its text around as an escape sequence."""
    return CONTROLS.sub(_escaped, masked(text))


def in_a_line(text: str) -> str:
    """The text with what would begin another line as an escape sequence: a key in YAML may have such in it."""
    return BREAKS.sub(_escaped, text)


def without_places(text: str) -> str:
    """The text without passwords, and in which a path is the name of its file or folder, and a URL its scheme.

    A path is one of the root, a home, a folder above, a drive or a share. In quotes it ends with them. Elsewhere a name
    with spaces is told by the slash behind its last word, where it has at most four words, none of OF_SENTENCES, and no
    dot in the first: of "/a/my data/x.py" "x.py" is left, of "/a/b.txt in c/d", which is a sentence, "b.txt in c/d".
    What cannot be told: the words behind a space in the last name; more words than that, or such; an apostrophe or a
    comma in a name without quotes; `pass: ...` without quotes; what is called by none of the words in NAMED.
    """
    return WINDOWS.sub("", PATH.sub("", QUOTED.sub(_name, PLACE.sub(r"\1...", masked(text)))))


def _name(path: re.Match[str]) -> str:
    quote, parts = path.groups()
    name = parts.replace(BACKSLASH, "/").rstrip("/").rpartition("/")[2]
    return f"{quote}{name}{quote}"


def _escaped(found: re.Match[str]) -> str:
    return found.group().encode("unicode_escape").decode()


class _Outliving:
    """A text stream, whose file becomes the null device at the first error of writing to it.

    Args:
        stream: that is written to.
        shown: makes of a text what is written of it.
    """

    def __init__(self, stream: TextIO, shown: Callable[[str], str]):
        self._stream, self._shown = stream, shown

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            self._stream.write(self._shown(text))
        except OSError:
            self._let_go()
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            self._let_go()

    def _let_go(self) -> None:
        """What waits in the buffer goes to the null device, too: else the interpreter complains at its end."""
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self._stream.fileno())
        os.close(null)
