"""ENOSPC: each operation in a root whose free pages or inodes are enough for none of its steps, for one, for two...

What it leaves behind is what plain pathlib leaves in a root that is as full.
"""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support import host_state

from verytmp import VeryTmpRoot

PAGE = os.sysconf("SC_PAGE_SIZE")
SIZE = 64 * PAGE
LONG = "x" * 200  # a symlink's target that needs a page of its own
TREE: host_state.Tree = {"f": b"potatoes" * 2000, "d": {"1": b"one", "2": b"two", "e": {"3": b"three"}}, "l": "-> f"}

# What makes something; those that plain pathlib has too, on every Python.
PLAIN: dict[str, Callable[[Path], object]] = {
    "write_bytes": lambda p: (p / "new").write_bytes(b"n" * 5 * PAGE),
    "write_bytes over": lambda p: (p / "f").write_bytes(b"n" * 7 * PAGE),
    "write_text": lambda p: (p / "new").write_text("n" * 3 * PAGE, encoding="ascii"),
    "append": lambda p: appended(p / "f", b"n" * 3 * PAGE),
    "open": lambda p: (p / "new").open("x").close(),
    "touch": lambda p: (p / "new").touch(),
    "mkdir": lambda p: (p / "new").mkdir(),
    "mkdir parents": lambda p: (p / "a" / "b" / "c" / "e").mkdir(parents=True),
    "symlink_to": lambda p: (p / "new").symlink_to("f"),
    "symlink_to long": lambda p: (p / "new").symlink_to(LONG),
    "hardlink_to": lambda p: (p / "new").hardlink_to(p / "f"),
    "rename": lambda p: (p / "f").rename(p / "new"),
    "replace": lambda p: (p / "f").replace(p / "d" / "1"),
    "chmod": lambda p: (p / "f").chmod(0o600),
    "unlink": lambda p: (p / "f").unlink(),
    "by a link": lambda p: (p / "l").write_bytes(b"n" * 7 * PAGE),
    "from above": lambda p: (p / "d" / ".." / "new").write_bytes(b"n" * 2 * PAGE),
}
OURS: dict[str, Callable[[Any], object]] = {
    "copy": lambda p: (p / "f").copy(p / "new"),
    "copy tree": lambda p: (p / "d").copy(p / "new"),
    "move within": lambda p: (p / "d").move(p / "new"),
}


class Outcome(NamedTuple):
    errno: int
    filename: str
    tree: host_state.Tree
    used: int


def appended(path: Path, data: bytes) -> None:
    with path.open("ab", buffering=0) as file:
        while data:
            data = data[file.write(data) or 0 :]


def fill(root: VeryTmpRoot, what: str, left: int) -> None:
    """Leave so many pages, or inodes."""
    directory = root.fileno()
    os.mkdir("ballast", dir_fd=directory)
    ballast = os.open("ballast", os.O_RDONLY, dir_fd=directory)
    status = os.statvfs(directory)
    try:
        if what == "pages":
            file = os.open("full", os.O_CREAT | os.O_WRONLY, dir_fd=ballast)
            os.write(file, b"b" * PAGE * max(0, status.f_bfree - left))
            os.close(file)
        else:
            for number in range(status.f_ffree - left):
                os.close(os.open(str(number), os.O_CREAT | os.O_WRONLY, dir_fd=ballast))
    finally:
        os.close(ballast)


def outcome(call: Callable[[Any], object], what: str, left: int, plain: bool, nosymfollow: bool) -> Outcome:
    with VeryTmpRoot(size=SIZE, nr_inodes=40, nosymfollow=nosymfollow and not plain) as root:
        host_state.make(root.fileno(), TREE)
        fill(root, what, left)
        number, filename = 0, ""
        before = os.fspath(root)
        try:
            call(Path(before) if plain else root.path)
        except OSError as error:
            number, filename = error.errno or 0, os.fsdecode(error.filename or "").removeprefix(before)
        return Outcome(number, filename, host_state.look(root.fileno()), root.usage().used)


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("what", ["pages", "inodes"])
@pytest.mark.parametrize("nosymfollow", [True, False], ids=["nosymfollow", "symfollow"])
def test_as_plain_pathlib_in_a_full_root(name: str, what: str, nosymfollow: bool) -> None:
    refused = 0
    for left in itertools.count():
        ours, theirs = (outcome(PLAIN[name], what, left, plain, nosymfollow) for plain in (False, True))
        assert ours._replace(filename="") == theirs._replace(filename="")
        if not ours.errno:
            break
        refused += 1
        assert ours.errno == errno.ENOSPC
        assert ours.filename or name == "append"  # an open file's own write, which names none
        assert "ballast" in ours.tree
    assert left < 30
    if name in ("write_bytes", "append", "by a link") and what == "pages":
        assert refused >= 2


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("what", ["pages", "inodes"])
@pytest.mark.parametrize("nosymfollow", [True, False], ids=["nosymfollow", "symfollow"])
def test_a_copy_in_a_full_root(name: str, what: str, nosymfollow: bool) -> None:
    """What was there is there; what is new is whole."""
    for left in itertools.count():
        found = outcome(OURS[name], what, left, False, nosymfollow)
        new = found.tree.pop("new", {})
        if not found.errno:
            break
        assert found.errno == errno.ENOSPC
        assert {key: found.tree[key] for key in TREE} == TREE
        assert new == {} or part_of(new, TREE["d"])
    assert left < 30
    assert new in (TREE["f"], TREE["d"])


def part_of(some: object, whole: object) -> bool:
    """Whether each file that is there is all there."""
    if isinstance(some, dict) and isinstance(whole, dict):
        return all(name in whole and part_of(some[name], whole[name]) for name in some)
    return some == whole


@pytest.mark.parametrize("name", ["f", "d", "l"])
@pytest.mark.parametrize("what", ["pages", "inodes"])
def test_a_move_to_a_full_root(name: str, what: str) -> None:
    """It is here, or there, and never in neither place."""
    for left in itertools.count():
        with VeryTmpRoot() as root, VeryTmpRoot(size=SIZE, nr_inodes=40) as other:
            host_state.make(root.fileno(), TREE)
            fill(other, what, left)
            number = refusal(lambda root=root, other=other: (root / name).move(other / "new"))  # type: ignore[misc]
            here, there = host_state.look(root.fileno()), host_state.look(other.fileno()).get("new", {})
        if not number:
            break
        assert number == errno.ENOSPC
        assert here == TREE
        assert there == {} or part_of(there, TREE[name])
    assert left < 30
    assert name not in here
    assert there == TREE[name]


def test_what_was_written_is_there() -> None:
    """Other files, while a writer fills the root page by page."""
    with VeryTmpRoot(size=SIZE) as full:
        for number in itertools.count():
            path, data = full / str(number), bytes([number]) * PAGE
            if refused := refusal(lambda path=path, data=data: path.write_bytes(data)):  # type: ignore[misc]
                break
        assert refused == errno.ENOSPC
        assert number >= SIZE // PAGE - 8
        assert all((full / str(one)).read_bytes() == bytes([one]) * PAGE for one in range(number))


def refusal(call: Callable[[], object]) -> int:
    try:
        call()
    except OSError as error:
        return error.errno or 0
    return 0
