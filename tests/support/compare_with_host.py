"""The same call in a tree in a root and in one on the host."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from support import host_state
from support.archives import data_filter, tar_filter
from verytmp import VeryTmpRoot

TREE: host_state.Tree = {
    "f": b"potatoes",
    "g": b"more potatoes",
    "d": {"f": b"d/f", "e": {"deep": b"deep"}, "s.py": b"x = 1\n"},
    "empty": {},
}
LINKED = TREE | {"link": "-> f", "dlink": "-> d", "dangling": "-> missing"}
UP = "/".join([".."] * 30)

FILTERS = [data_filter, tar_filter, "fully_trusted"]


def string(root: VeryTmpRoot) -> str:
    return os.fspath(root)


def same(call: Callable[[Path], object], root: VeryTmpRoot, host: Path, tree: host_state.Tree = TREE) -> object:
    """Make a call in a tree in the root and in one on the host: its result, and what it leaves, must be the same."""
    plain = host / "tree"
    plain.mkdir()
    host_state.make(root.fileno(), tree)
    host_state.make(str(plain), tree)
    result = call(root.path)
    assert result == call(plain)
    assert host_state.look(root.fileno()) == host_state.look(str(plain))
    assert permissions(string(root)) == permissions(str(plain))
    return result


def permissions(folder: str) -> dict[str, object]:
    """Of all that there is; and owners, links, sizes."""
    paths = [os.path.join(top, name) for top, dirs, files in os.walk(folder) for name in (*dirs, *files)]
    return {path.removeprefix(folder): about(path) for path in paths}


def about(path: str | Path) -> tuple[object, ...]:
    status = os.lstat(path)
    size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
    return stat.filemode(status.st_mode), status.st_nlink, size, status.st_uid, status.st_gid


def steps(*calls: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda base: [call(base) for call in calls]
