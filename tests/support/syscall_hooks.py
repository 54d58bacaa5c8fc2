"""Adversaries that are on time: something happens just before the n-th system call of an operation, for every n.

A thread that races is seldom between two certain calls; here each gap between two calls has its turn. What happens is
real, and so is what the kernel answers then: only the moment is chosen.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import combinations
from typing import Any

from verytmp._confined.tree import Tree

Act = Callable[[], object]

# All functions of os that the modules of paths call, and that make system calls.
READING = ("fstat", "getxattr", "listdir", "listxattr", "lseek", "open", "pread", "read", "readlink", "scandir", "stat")
WRITING = (
    "chmod",
    "fchmod",
    "fsync",
    "ftruncate",
    "link",
    "mkdir",
    "pwrite",
    "rename",
    "rmdir",
    "symlink",
    "unlink",
    "write",
)
CALLS = (*READING, *WRITING, "copy_file_range", "dup", "sendfile", "setxattr", "statvfs", "utime")


class Calls:
    """The system calls of one operation: how many there were so far."""

    def __init__(self, acts: Mapping[int, Act]) -> None:
        self.names: list[str] = []
        self._acts = acts
        self._busy = False

    def before(self, name: str) -> None:
        if self._busy:
            return
        self.names.append(name)
        act = self._acts.get(len(self.names) - 1)
        if act:
            self._busy = True
            try:
                act()
            finally:
                self._busy = False


@contextmanager
def interposed(acts: Mapping[int, Act]) -> Iterator[Calls]:
    """While this is entered, an act of the mapping runs just before the system call of its number (from 0)."""
    calls = Calls(acts)
    originals = {name: getattr(os, name) for name in CALLS}
    for name, original in originals.items():
        setattr(os, name, _preceded(original, calls, name))
    rebind_openers()
    try:
        yield calls
    finally:
        for name, original in originals.items():
            setattr(os, name, original)
        rebind_openers()


def rebind_openers() -> None:
    """Trees keep an open(2) that is prepared once: prepare it anew."""
    for here in list(Tree.by_key.values()):
        if isinstance(tree := here(), Tree):
            tree._open = partial(os.open, dir_fd=tree.fd)
            tree._opener = partial(os.open, mode=0o666, dir_fd=tree.fd)


def _preceded(original: Callable[..., Any], calls: Calls, name: str) -> Callable[..., Any]:
    def call(*arguments: Any, **keywords: Any) -> Any:
        calls.before(name)
        return original(*arguments, **keywords)

    return call


def choices(count: int, acts: int, most: int, seed: str) -> list[tuple[int, ...]]:
    """All choices of up to so many among *count* moments, or as many of them as are wanted, the same ones each time."""
    found = [chosen for number in range(1, acts + 1) for chosen in combinations(range(count), number)]
    return found if len(found) <= most else random.Random(seed).sample(found, most)
