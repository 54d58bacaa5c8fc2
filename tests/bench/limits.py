"""The least that could be had: the system calls alone, by os and with nothing around them, for what they dominate."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from bench.creation import root
from bench.measure import WALL, Result, compared, results
from bench.trees import pair, planted, walked
from verytmp import VeryTmpRoot
from verytmp._mounting import tmpfs
from verytmp._mounting.protocol import CallLog
from verytmp._mounting.spec import MountSpec

BARE = "system calls alone"
CONFINED = "the built-in open, confined"


def limits(rounds: int) -> Iterator[tuple[str, dict[str, Result]]]:
    with pair() as bases:
        tree = planted(bases["verytmp"] / "tree")
        path, directory = tree / "folder0" / "0.txt", os.open(tree, os.O_RDONLY)
        name = "folder0/0.txt"
        opener = partial(os.open, dir_fd=directory)
        yield "stat", compared({"verytmp": path.stat, BARE: lambda: os.stat(name, dir_fd=directory)}, rounds)
        yield (
            "open and close",
            compared(
                {
                    "verytmp": lambda: path.open("rb").close(),
                    CONFINED: lambda: open(name, "rb", opener=opener).close(),
                    BARE: lambda: os.close(os.open(name, os.O_RDONLY, dir_fd=directory)),
                },
                rounds,
            ),
        )
        calls: dict[str, Callable[[], object]] = {
            "verytmp": partial(walked, tree),
            BARE: partial(listed, directory, os.listdir(directory)),
        }
        yield "walk of 10,000 files", compared(calls, rounds, once=True)
        os.close(directory)
    if "directly" in repr(VeryTmpRoot()):
        yield "removal of 10,000 files", removals(rounds)
        yield "a root, directly", compared({"verytmp": root, BARE: lambda: os.close(mounted())}, rounds, clock=WALL)


def listed(above: int, names: list[str]) -> None:
    for name in names:
        directory = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=above)
        os.listdir(directory)
        os.close(directory)


def mounted() -> int:
    """A mount's descriptor, by the calls that make it."""
    spec = MountSpec((("size", "64m"),), directory="dev/null", token="verytmp")
    [above, descriptor], _ = tmpfs.make_tmpfs(spec, CallLog(), private=False)
    os.close(above)
    return descriptor


def removals(rounds: int) -> dict[str, Result]:
    """close(2) of the last descriptor: all that the kernel does for it is in there."""
    times: dict[str, list[float]] = {"verytmp": [], BARE: []}
    for _ in range(rounds):
        made, descriptor = VeryTmpRoot(size="64m"), mounted()
        planted(made / "tree")
        planted(Path(f"/proc/self/fd/{descriptor}/tree"))
        calls: dict[str, Callable[[], object]] = {"verytmp": made.close, BARE: partial(os.close, descriptor)}
        for name, result in compared(calls, 1, once=True).items():
            times[name].append(result.median)
    return results(times)
