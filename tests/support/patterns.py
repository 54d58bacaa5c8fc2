"""Which kinds of base a table of patterns and walks runs on."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from support import host_state

TREE: host_state.Tree = {
    "a.txt": b"",
    "B.TXT": b"",
    "c.py": b"",
    ".hidden": b"",
    "[x]": b"",
    "new\nline": b"",
    "\udcff": b"",
    "d": {"a.txt": b"", ".h": {"i.py": b""}, "e": {"c.py": b"", "f": {"a.txt": b""}}, "empty": {}},
    "D2": {"a.txt": b""},
    "link": "-> a.txt",
    "dlink": "-> d",
    "abs": "-> /d/e",
    "dangling": "-> missing",
    "loop": "-> loop",
}

HAS_CASE_SENSITIVE = sys.version_info >= (3, 12)
HAS_RECURSE_SYMLINKS = sys.version_info >= (3, 13)
IN_ROOTS = ["nosymfollow", "symfollow"]


def places(pathlib_too: bool) -> list[str]:
    """The kinds of `base` for a table: pathlib's own path is among them where this Python's can do it."""
    return [*IN_ROOTS, "pathlib"] if pathlib_too else IN_ROOTS


def within(base: Path, found: Iterable[Path]) -> list[str]:
    """What was found, sorted, as the base's inhabitants would write it. What comes twice is there twice."""
    paths = list(found)
    assert {type(path) for path in paths} <= {type(base)}
    return sorted(path.relative_to(base).as_posix() for path in paths)
