"""Directories of tests: how they are numbered, left, and removed, whatever a test has done to them.

A test may have put others in the place of os's functions, and a later one must not suffer from it: some are bound at
import.
"""

from __future__ import annotations

import os
from posix import chdir, readlink

from .._confined.removal import remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

GONE = " (deleted)"  # what the kernel says after the path of a directory that is


def make_directory(base: Path, name: str, numbered: bool, numbers: dict[str, int]) -> Path:
    """Make a directory as pytest's `mktemp` does, with a number after its name that no other has had in this run.

    Args:
        base: where to make it.
        name: as `mktemp` takes it. `ValueError` if it is none of a directory right there.
        numbered: whether it gets a number.
        numbers: the next ones, by name.
    """
    name = os.path.normpath(name)
    if "/" in name or name in (".", ".."):
        raise ValueError(f"{name} is not a normalized and relative path")
    if not numbered:
        path = base / name
        path.mkdir(0o700)
        return path
    key = name.lower()  # as pytest has it
    while True:
        number = numbers.get(key, 0)
        numbers[key] = number + 1
        path = base / f"{name}{number}"
        try:
            path.mkdir(0o700)
        except FileExistsError:
            continue
        return path


def bring_back(top: str, home: str) -> None:
    """If the working directory is in a directory that goes, change to *home*."""
    try:
        here = readlink("/proc/self/cwd").removesuffix(GONE)
        if f"{here}/".startswith(f"{top}/"):
            chdir(home)
    except OSError:  # that is gone as well
        pass


def remove(path: Path) -> bool:
    """Remove a directory, whatever permissions are in it. Whether it is gone: a test may have made that impossible."""
    try:
        remove_tree(os.fspath(path.parent), path.name)
    except Exception:  # of the functions that a test has put in the place of os's, too
        return False
    return True
