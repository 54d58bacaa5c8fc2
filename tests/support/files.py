"""A tree of files and links, what is really there, and what a call that fails says."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from support import host_state

TREE: host_state.Tree = {
    "f": b"potatoes",
    "empty": b"",
    "text": b"one\r\ntwo\rthree\n",
    "latin": b"caf\xe9",
    "d": {"f": b"d/f", "e": {}},
    "link": "-> f",
    "dlink": "-> d",
    "chain": "-> dlink",
    "dangling": "-> missing",
    "loop": "-> loop",
    "up": "-> d/..",
}


def there(base: Path) -> host_state.Tree:
    return host_state.look(os.fspath(base))


def failure(call: Callable[[], object]) -> tuple[int | None, str, str | None]:
    """A call's errno, and the names that it gives."""
    with pytest.raises(OSError) as caught:
        call()
    error = caught.value
    assert type(error) is type(OSError(error.errno, ""))
    return error.errno, error.filename, error.filename2


def plain(tree: Path) -> str:
    """A tree's string, for os."""
    return os.fspath(tree)
