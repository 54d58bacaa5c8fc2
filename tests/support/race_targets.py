"""What adversaries attack: a tree of which one directory is exchanged for a link to the host, and all operations on it.

The root holds ``slot``, a directory, and ``link``, which for the host leads to a directory of its own. That path exists
in the root too, with the same names in it. So whichever of the two is called ``slot``, an operation finds what it looks
for, and finds it in the root; what the host has under these names is a secret.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from support import all_operations, host_state, kernel
from support.all_operations import INSIDE, Kind, Operation, looked_at
from support.oracle import wipe
from verytmp import VeryTmpPath, VeryTmpRoot

SECRET = b"the host's secret"
NAMES = {"f", "d", "empty", "l"}
UP = "/".join([".."] * 30)

# How the link spells the host's directory.
SPELLINGS: dict[str, Callable[[Path], str]] = {
    "absolute": str,
    "up": lambda host: f"{UP}{host}",
    "slashes": lambda host: f"//{host}//",
}


def tree(content: bytes) -> host_state.Tree:
    return {"f": content, "d": {"f": content}, "empty": {}, "l": "-> f"}


class RaceTarget:
    """A root and a directory of the host, with what an operation must not touch in it."""

    def __init__(self, root: VeryTmpRoot, host: Path, other: VeryTmpRoot, spelling: str = "absolute") -> None:
        self.root, self.host, self.other = root, host, other
        self.link_target = SPELLINGS[spelling](host)
        self.devices = {os.stat(each.fileno()).st_dev for each in (root, other)}
        self.fd = root.fileno()
        if not os.listdir(host):
            host_state.make(str(host), tree(SECRET) | {"host only": SECRET, "slot": tree(SECRET)})
        self.untouched = self.look_at_host()

    @property
    def file(self) -> VeryTmpPath:
        return self.root / "f"

    @property
    def new(self) -> VeryTmpPath:
        return self.root / "new"

    def reset(self, changed: bool = True) -> None:
        """Put everything back; where an operation has *changed* nothing, an adversary has exchanged names at most."""
        if not changed:
            if os.path.islink(f"{os.fspath(self.root)}/slot"):
                self.exchange()
            return
        for root in (self.root, self.other):
            wipe(root.fileno())
        inside: host_state.Tree = tree(INSIDE)
        for name in reversed(self.host.parts[1:]):
            inside = {name: inside}
        host_state.make(
            self.fd, {"slot": tree(INSIDE), "link": f"-> {self.link_target}", "f": INSIDE, "empty": {}, **inside}
        )

    def look_at_host(self) -> list[Any]:
        """Everything there, each with its times and numbers of links: whatever is done to it changes one of them."""
        return list(_statuses(str(self.host)))

    def exchange(self) -> None:
        kernel.exchange(self.fd, "slot", "link")

    def escaped(self, result: object) -> str:
        """How a result, or the host, tells that an operation got out; empty if none did."""
        return "the host was changed" if self.look_at_host() != self.untouched else self.read_outside(result)

    def read_outside(self, result: object) -> str:
        text = repr(result)
        if SECRET.decode() in text or "host only" in text:
            return f"the host was read: {text}"
        if isinstance(result, os.stat_result) and result.st_dev not in self.devices:
            return f"the host was looked at: {text}"
        return next(filter(None, map(self.read_outside, result)), "") if isinstance(result, list) else ""


def _statuses(folder: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        status = os.lstat(entry.path)
        yield entry.path, (status.st_mode, status.st_nlink, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if entry.is_dir(follow_symlinks=False):
            yield from _statuses(entry.path)
    status = os.lstat(folder)
    yield folder, (status.st_mode, status.st_nlink, status.st_mtime_ns, status.st_ctime_ns)


def run_at(operation: Operation, relative: str) -> Callable[[VeryTmpPath, RaceTarget], object]:
    """An operation on a path below ``slot``. What is not found, though it is there at every moment, is an error."""

    def run(slot: VeryTmpPath, target: RaceTarget) -> object:
        result: Any = operation.call(slot / relative, target)
        if result is False or (relative == "" and operation is ITERDIR and not {path.name for path in result} >= NAMES):
            raise FileNotFoundError(errno.ENOENT, "it was there at every moment")
        return [looked_at(result), *map(looked_at, result.walk())] if isinstance(result, VeryTmpPath) else result

    return run


ITERDIR = all_operations.OPERATIONS["iterdir"]


def raced(*kinds: Kind) -> dict[str, Callable[[VeryTmpPath, RaceTarget], object]]:
    """The operations of these kinds, each on the paths that it is raced on."""
    return {
        f"{name} {relative}".rstrip(): run_at(operation, relative)
        for name, operation in all_operations.OPERATIONS.items()
        if operation.kind in kinds
        for relative in operation.raced
    }


READS = raced(Kind.READ)
LOOKS = raced(Kind.READ_MANY)
WRITES = raced(Kind.WRITE)
TREES = raced(Kind.WRITE_MANY)
OPERATIONS = READS | LOOKS | WRITES | TREES
# What answers "there is nothing" for all that cannot be looked at, as pathlib does.
EXISTS = {name for name in READS if name.startswith(("exists", "is_"))} if sys.version_info >= (3, 14) else set[str]()
ANSWERS = {"info d"} | EXISTS
