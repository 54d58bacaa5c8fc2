"""How costs grow: each sweep gives, for each of its steps, what ours takes and what its twin does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from bench import creation
from bench.machine import field
from bench.measure import CPU, WALL, Clock, compared
from bench.trees import pair

MIB, GIB = 1 << 20, 1 << 30
TWIN = "pathlib"


class Sweep(NamedTuple):
    name: str
    unit: str
    steps: Callable[[int], Iterator[tuple[float, dict[str, float]]]]
    straight: bool = False  # a chart with straight axes, not logarithmic ones


def seconds(
    calls: Mapping[str, Callable[[], object]], rounds: int, once: bool = False, clock: Clock = CPU
) -> dict[str, float]:
    return {name: result.median for name, result in compared(calls, rounds, once, clock).items()}


def depth(rounds: int) -> Iterator[tuple[float, dict[str, float]]]:
    with pair() as bases:
        for level in range(1, 17):
            paths = {}
            for name, base in bases.items():
                path = base.joinpath(*["level"] * level)
                path.mkdir()
                paths[name] = path
            yield level, seconds({name: path.stat for name, path in paths.items()}, rounds)


def links(rounds: int) -> Iterator[tuple[float, dict[str, float]]]:
    """A path of nine names, so many of which are links to directories."""
    with pair() as bases:
        for name, base in bases.items():
            folder = base
            for level in range(9):
                (folder / "folder").mkdir()
                (folder / "link").symlink_to("folder")
                folder = folder / "folder"
                assert level < 9, name
        for count in range(9):
            names = ["link"] * count + ["folder"] * (9 - count)
            yield count, seconds({name: base.joinpath(*names).stat for name, base in bases.items()}, rounds)


def directory_size(operation: Callable[[Any], object]) -> Callable[[int], Iterator[tuple[float, dict[str, float]]]]:
    def steps(rounds: int) -> Iterator[tuple[float, dict[str, float]]]:
        with pair() as bases:
            made = 0
            for size in (1, 10, 100, 1000, 10_000, 100_000):
                for base in bases.values():
                    for number in range(made, size):
                        (base / f"{number}.txt").touch()
                made = size
                calls = {name: partial(operation, base) for name, base in bases.items()}
                yield size, seconds(calls, min(rounds, 7) if size > 1000 else rounds, once=size > 10_000)

    return steps


def file_size(operation: Callable[[Any, bytes], object]) -> Callable[[int], Iterator[tuple[float, dict[str, float]]]]:
    def steps(rounds: int) -> Iterator[tuple[float, dict[str, float]]]:
        with pair() as bases:
            for size in (0, 1 << 10, 1 << 14, 1 << 18, MIB, 16 * MIB, 64 * MIB, 256 * MIB):
                data = bytes(size)
                for base in bases.values():
                    (base / "f").write_bytes(data)
                calls = {
                    name: (lambda base=base, data=data: operation(base / "f", data)) for name, base in bases.items()
                }
                yield max(size, 1), seconds(calls, 7 if size >= 16 * MIB else rounds, once=size >= 16 * MIB)

    return steps


def heap(rounds: int) -> Iterator[tuple[float, dict[str, float]]]:
    """A root where the process may not mount: the memory that it has is copied by a fork, and not by a factory."""
    available = int(field("/proc/meminfo", "MemAvailable").split()[0]) << 10
    for gib in (0, 1, 2, 4):
        if gib * GIB < available // 2:
            yield (
                gib,
                {
                    "by a factory": creation.by_factory(rounds, gib * GIB, twins=False)["verytmp"].median,
                    "by a child": creation.by_child(rounds, gib * GIB, twins=False)["verytmp"].median,
                },
            )


def threads(rounds: int) -> Iterator[tuple[float, dict[str, float]]]:
    """2,000 reads of a small file, shared out among so many threads."""
    with pair() as bases:
        for base in bases.values():
            (base / "f").write_bytes(b"potatoes")
        for count in (1, 2, 4, 8):
            calls = {name: partial(shared_out(count), base / "f") for name, base in bases.items()}
            times = seconds(calls, rounds, once=True, clock=WALL)
            yield count, {name: time / 2000 for name, time in times.items()}


def shared_out(count: int) -> Callable[[Any], None]:
    def read(path: Any) -> None:
        for _ in range(2000 // count):
            path.read_bytes()

    def run(path: Any) -> None:
        running = [threading.Thread(target=read, args=(path,)) for _ in range(count)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()

    return run


SWEEPS = [
    Sweep("stat, by depth", "directories above", depth, straight=True),
    Sweep("stat, by symlinks", "links among nine names", links, straight=True),
    Sweep("iterdir, by size", "files in the directory", directory_size(lambda base: sum(1 for _ in base.iterdir()))),
    Sweep("glob, by size", "files in the directory", directory_size(lambda base: sum(1 for _ in base.glob("*.txt")))),
    Sweep("read_bytes, by size", "bytes", file_size(lambda path, data: path.read_bytes())),
    Sweep("write_bytes, by size", "bytes", file_size(lambda path, data: path.write_bytes(data))),
    Sweep("a root, by the caller's memory", "GiB", heap),
    Sweep("read_bytes, by threads", "threads", threads, straight=True),
]
