"""How the built-in `open` would open a file: by its mode and the like, which are checked before anything is opened."""

from __future__ import annotations

import os
import sys
from io import DEFAULT_BUFFER_SIZE, BufferedRandom, BufferedReader, BufferedWriter, TextIOWrapper
from io import open as io_open  # as pathlib has it: a test that replaces the built-in one means strings
from itertools import permutations
from operator import index

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container
    from typing import Any

    # openat(2)'s flags and FileIO's mode, both as arguments of map(); the class of the buffer; the mode that a text
    # file reports, or None for a binary one; and the encodings that need no check.
    _How = tuple[tuple[int], tuple[str], Any, str | None, Container[str | None]]

DEFAULT = -1  # of *buffering*

FLAGS = {"r": os.O_RDONLY, "w": os.O_CREAT | os.O_TRUNC, "a": os.O_CREAT | os.O_APPEND, "x": os.O_CREAT | os.O_EXCL}
NONE = frozenset((None,))
ENCODINGS = frozenset(("locale", "utf-8", "utf8", "UTF-8", "utf-8-sig", "ascii", "latin-1"))


def of_mode(mode: str) -> _How:
    """How a valid mode opens a file."""
    letter = next(letter for letter in mode if letter in FLAGS)
    flags = FLAGS[letter] | os.O_WRONLY
    buffered: Any = BufferedWriter
    if "+" in mode:
        flags, buffered = FLAGS[letter] | os.O_RDWR, BufferedRandom
    elif letter == "r":
        flags, buffered = os.O_RDONLY, BufferedReader
    text = None if "b" in mode else str(mode)
    return (flags,), (letter + "+" * ("+" in mode),), buffered, text, ENCODINGS if text else NONE


# The modes of nearly all calls, which need no check.
FAST_MODES = {
    "".join(letters): of_mode("".join(letters))
    for opening in FLAGS
    for others in ("", "b", "t", "+", "b+", "t+")
    for letters in permutations(opening + others)
}
NO_FAST_MODE: _How = (0,), ("",), None, None, ()
ERRORS = frozenset((None, "strict", "ignore", "replace", "surrogateescape", "backslashreplace", "xmlcharrefreplace"))
NEWLINES = frozenset((None, "", "\n", "\r", "\r\n"))


class _Validated(Exception):
    """Ends the built-in `open` where it would open a file."""


def how_to_open(
    name: str, mode: str, buffering: int, encoding: str | None, errors: str | None, newline: str | None
) -> _How:
    """What a file is opened with. Raises what the built-in `open` does for its arguments."""
    how = FAST_MODES.get(mode, NO_FAST_MODE)
    if (
        buffering is DEFAULT
        and encoding in how[4]
        and (errors is newline is None or (how[3] and errors in ERRORS and newline in NEWLINES))
    ):
        return how
    validate_with_builtin_open(name, mode, buffering, encoding, errors, newline)
    return of_mode(mode)


def validate_with_builtin_open(
    name: str, mode: str, buffering: int, encoding: str | None, errors: str | None, newline: str | None
) -> None:
    """Check arguments by the built-in `open`, with its errors and warnings, without opening anything."""

    def stop_before_open(_: str, flags: int) -> int:
        raise _Validated

    try:
        io_open(name, mode, buffering, encoding, errors, newline, opener=stop_before_open)  # noqa: SIM115  # it opens nothing
    except _Validated:
        pass
    if not index(buffering) and "b" not in mode:
        raise ValueError("can't have unbuffered text I/O")


def wrapped(
    raw: Any,
    buffered: Any,
    text: str | None,
    buffering: int,
    encoding: str | None,
    errors: str | None,
    newline: str | None,
) -> Any:
    """The file object around a FileIO: with a *buffered* of the io module, and for text if there is a *text* mode."""
    layer: Any = raw
    lines = False
    if buffering is DEFAULT and BLOCKS:  # without a call, where that will do: 0.1 us
        layer = buffered(raw, raw._blksize)
    elif size := index(buffering):
        lines = size == 1
        layer = buffered(raw, size if size > 1 else default_size(raw))
    if text:
        layer = TextIOWrapper(layer, encoding, errors, newline, lines)
        layer.mode = text
    return layer


BLOCKS = sys.version_info < (3, 14)  # a buffer has the size of one of the file system's blocks


def default_size(raw: Any) -> int:
    """The size of a file's buffer, unless it is given."""
    return raw._blksize if BLOCKS else max(min(raw._blksize, 1 << 23), DEFAULT_BUFFER_SIZE)  # type: ignore[no-any-return]  # FileIO's
