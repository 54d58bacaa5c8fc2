"""What the built-in `open` makes of a file that is open: by its mode and the like, which it judges beforehand."""

from __future__ import annotations

import os
import sys
from io import DEFAULT_BUFFER_SIZE, BufferedRandom, BufferedReader, BufferedWriter
from io import open as io_open  # as pathlib has it: who puts something in the place of the built-in one means strings
from itertools import permutations
from operator import index

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container
    from typing import Any

    # What openat(2) is told, FileIO's mode, what reads or writes through that, the mode that a file of texts tells
    # (None for one of bytes), and the encodings that need no judge.
    _How = tuple[tuple[int], tuple[str], Any, str | None, Container[str | None]]

DEFAULT = -1  # of *buffering*

FLAGS = {"r": os.O_RDONLY, "w": os.O_CREAT | os.O_TRUNC, "a": os.O_CREAT | os.O_APPEND, "x": os.O_CREAT | os.O_EXCL}
NONE = frozenset((None,))
ENCODINGS = frozenset(("locale", "utf-8", "utf8", "UTF-8", "utf-8-sig", "ascii", "latin-1"))


def of_mode(mode: str) -> _How:
    """Of a mode that is one."""
    letter = next(letter for letter in mode if letter in FLAGS)
    flags = FLAGS[letter] | os.O_WRONLY
    buffered: Any = BufferedWriter
    if "+" in mode:
        flags, buffered = FLAGS[letter] | os.O_RDWR, BufferedRandom
    elif letter == "r":
        flags, buffered = os.O_RDONLY, BufferedReader
    text = None if "b" in mode else str(mode)
    return (flags,), (letter + "+" * ("+" in mode),), buffered, text, ENCODINGS if text else NONE


# How nearly all files are opened: nobody has to be asked whether these can be.
USUAL = {
    "".join(letters): of_mode("".join(letters))
    for opening in FLAGS
    for others in ("", "b", "t", "+", "b+", "t+")
    for letters in permutations(opening + others)
}
UNUSUAL: _How = (0,), ("",), None, None, ()
ERRORS = frozenset((None, "strict", "ignore", "replace", "surrogateescape", "backslashreplace", "xmlcharrefreplace"))
NEWLINES = frozenset((None, "", "\n", "\r", "\r\n"))


class _Judged(Exception):
    """What ends the built-in `open` where it would open a file."""


def judged(name: str, mode: str, buffering: int, encoding: str | None, errors: str | None, newline: str | None) -> _How:
    """What is unusual, or cannot be, as the built-in `open` judges it, with its warnings: before anything is opened."""

    def judge(_: str, flags: int) -> int:
        raise _Judged

    try:
        io_open(name, mode, buffering, encoding, errors, newline, opener=judge)  # noqa: SIM115  # it opens nothing
    except _Judged:
        pass
    if not index(buffering) and "b" not in mode:
        raise ValueError("can't have unbuffered text I/O")
    return of_mode(mode)


BLOCKS = sys.version_info < (3, 14)  # a buffer is of one of the file system's blocks


def usual_size(raw: Any) -> int:
    """Of its buffer, unless it is told."""
    return raw._blksize if BLOCKS else max(min(raw._blksize, 1 << 23), DEFAULT_BUFFER_SIZE)  # type: ignore[no-any-return]  # FileIO's
