"""What the tests of copies share: a tree, its metadata, holes, and a kernel that refuses its own calls."""

from __future__ import annotations

import os
import signal
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support import host_state, kernel
from support.children import in_child
from verytmp import VeryTmpPath, VeryTmpRoot

TREE: host_state.Tree = {
    "f": b"potatoes",
    "empty": b"",
    "link": "-> f",
    "dlink": "-> d",
    "dangling": "-> missing",
    "d": {"f": b"d/f", "e": {"g": b"g"}, "up": "-> ../f", "in": "-> e", "é \udcff\n": b"odd"},
}

D: Any = TREE["d"]
FOLLOWED = D | {"up": b"potatoes", "in": {"g": b"g"}}

# Later than any ctime, so that reading does not change it (relatime); and nanoseconds that a float would lose.
ACCESSED, MODIFIED = 4_102_444_800_123_456_789, 1_000_000_000_987_654_321

on_both_mounts = pytest.mark.parametrize("root", [True, False], ids=["nosymfollow", "symfollow"], indirect=True)


def there(path: Path | VeryTmpRoot) -> host_state.Tree:
    return host_state.look(os.fspath(path))


def failure(call: Callable[[], object]) -> tuple[int | None, str, str | None, list[str]]:
    """A call's errno, the names that it gives, and its notes."""
    with pytest.raises(OSError) as caught:
        call()
    error = caught.value
    assert type(error) is type(OSError(error.errno, ""))
    return error.errno, error.filename, error.filename2, getattr(error, "__notes__", [])


def bring_in(source: Path, target: VeryTmpPath, **keywords: bool) -> None:
    """What `source.copy(target)`, of Python 3.14, asks of its target."""
    target._copy_from(source, **keywords)


PLACES = ["nosymfollow", "symfollow", *(["pathlib"] if hasattr(Path, "copy") else [])]


def special(root: VeryTmpRoot) -> None:
    """What is no file, directory or symlink; and a second name for a file."""
    os.mkfifo(f"{os.fspath(root)}/fifo")
    os.mkfifo(f"{os.fspath(root)}/d/e/fifo")
    os.link(f"{os.fspath(root)}/f", f"{os.fspath(root)}/hard")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{os.fspath(root)}/socket")


def within_seconds(call: Callable[[], object]) -> Any:
    """What it does in a child that is killed if it waits for the other end of something, or finds no end.

    The names of an error are as this process would write them.
    """

    def run() -> Any:
        signal.alarm(20)
        try:
            call()
        except OSError as error:
            return error.errno, named(error.filename), named(error.filename2), getattr(error, "__notes__", [])
        return "done"

    parent = os.getpid()

    def named(path: str | None) -> str | None:
        return path and path.replace(f"/proc/{os.getpid()}/", f"/proc/{parent}/")

    return in_child(run)


def age(directory: str) -> None:
    for name in ("d/e/g", "d/e", "d/f", "d/up", "d/in", "d/é \udcff\n", "d", "f", "empty", "link", "dlink", "dangling"):
        os.utime(f"{directory}/{name}", ns=(ACCESSED, MODIFIED), follow_symlinks=False)


def metadata(path: Path) -> dict[str, tuple[str, int, int]]:
    """What is there, with permissions and times."""
    top = os.fspath(path)
    found = {}
    for name in [".", *(os.path.join(place, each) for place, dirs, files in os.walk(top) for each in dirs + files)]:
        status = os.lstat(os.path.join(top, name))
        found[os.path.relpath(os.path.join(top, name), top)] = (
            stat.filemode(status.st_mode),
            status.st_atime_ns,
            status.st_mtime_ns,
        )
    return found


SIZE = (8 << 20) + 5

REFUSED = {
    "nothing": (),
    "copy_file_range": ("copy_file_range",),
    "both calls": ("copy_file_range", "sendfile"),
}


def sparse(path: str, pieces: list[tuple[int, int]], size: int = SIZE) -> None:
    with open(path, "wb") as file:
        file.truncate(size)
        for start, length in pieces:
            os.pwrite(file.fileno(), os.urandom(length), start)


def refuse(calls: tuple[str, ...], number: int) -> None:
    """Have the kernel refuse these calls in this process, and see that it does."""
    if calls:
        kernel.seccomp(*(kernel.Rule(call, number) for call in calls))
    for name in calls:
        with pytest.raises(OSError):
            getattr(os, name)(0, 1, 0, 0) if name == "sendfile" else getattr(os, name)(0, 1, 0)
