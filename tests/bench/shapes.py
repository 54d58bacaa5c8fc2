"""Trees of several shapes: what is fast on one of them may be slow on another one."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from bench.measure import Result, compared, results
from bench.trees import copied, pair, walked
from verytmp import VeryTmpRoot

LARGE = 20_000  # names in a tree, from which on a round takes seconds
LARGE_ROUNDS = 3


class Shape(NamedTuple):
    """So many directories with so many entries each; or one directory in another one, with one file in the last."""

    directories: int
    entries: int
    name: str = "{}.txt"
    target: str = ""  # the entries are symlinks to this
    nested: bool = False


SHAPES = {
    "2,000 files in 400 directories": Shape(400, 5),
    "100,000 files in one": Shape(1, 100_000),
    "100,000 files in 20,000": Shape(20_000, 5),
    "1,000 levels": Shape(1_000, 1, nested=True),
    "2,000 long names in 20": Shape(20, 100, name="{:0>255}"),
    "2,000 symlinks in 20": Shape(20, 100, target="../../file"),
}


def planted(base: Any, shape: Shape) -> Any:
    folder = os.open(base, os.O_RDONLY | os.O_DIRECTORY)
    os.mkdir("tree", dir_fd=folder)
    for number in range(shape.directories):
        name = f"tree/{'/'.join(['d'] * (number + 1)) if shape.nested else number}"
        os.mkdir(name, dir_fd=folder)
        for entry in range(0 if shape.nested and number < shape.directories - 1 else shape.entries):
            file = f"{name}/{shape.name.format(entry)}"
            if shape.target:
                os.symlink(shape.target, file, dir_fd=folder)
            else:
                os.close(os.open(file, os.O_WRONLY | os.O_CREAT, dir_fd=folder))
    if shape.target:
        os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=folder))
    os.close(folder)
    return base / "tree"


def listed(base: Any) -> int:
    """The directories one level down, each by `iterdir`."""
    return sum(1 for folder in base.iterdir() for _ in folder.iterdir())


OPERATIONS: dict[str, Callable[[Any], object]] = {
    "walk": walked,
    "rglob('*')": lambda base: sum(1 for _ in base.rglob("*")),
    "glob('*/*')": lambda base: sum(1 for _ in base.glob("*/*")),
    "iterdir": listed,
}


def shapes(rounds: int) -> Iterator[tuple[str, dict[str, Result]]]:
    sys.setrecursionlimit(20_000)  # pathlib and shutil recurse for each level
    for name, shape in SHAPES.items():
        few = min(rounds, LARGE_ROUNDS) if shape.directories * shape.entries > LARGE else rounds
        with pair() as bases:
            planted_at = {ground: planted(base, shape) for ground, base in bases.items()}
            for operation, call in OPERATIONS.items():
                calls = {ground: partial(call, base) for ground, base in planted_at.items()}
                yield f"{operation}: {name}", compared(calls, few, once=True)
        yield f"copy: {name}", copies(shape, few)
        yield f"removal: {name}", removals(shape, few)


def copies(shape: Shape, rounds: int) -> dict[str, Result]:
    times: dict[str, list[float]] = {"verytmp": [], "pathlib": []}
    for _ in range(rounds):
        with pair() as bases:
            calls = {ground: partial(copied, planted(base, shape)) for ground, base in bases.items()}
            for ground, result in compared(calls, 1, once=True).items():
                times[ground].append(result.median)
    return results(times)


def removals(shape: Shape, rounds: int) -> dict[str, Result]:
    """Dropping a root, against rmtree."""
    times: dict[str, list[float]] = {"verytmp": [], "pathlib": []}
    for _ in range(rounds):
        root = VeryTmpRoot()
        planted(root.path, shape)
        folder = tempfile.mkdtemp(prefix="verytmp-bench-", dir="/dev/shm")
        planted(Path(folder), shape)
        calls: dict[str, Callable[[], object]] = {"verytmp": root.close, "pathlib": partial(shutil.rmtree, folder)}
        for ground, result in compared(calls, 1, once=True).items():
            times[ground].append(result.median)
    return results(times)
