"""Where there is much of it: ``python tests/bench/large.py [--part OF_ALL] [--write]``.

A file of 10 GiB; 100,000 roots one after the other; 1,000 roots at once; a million paths in memory. What is looked for
is a cliff: so the first part of each is shown beside the last. By hand, for it takes 12 GiB of memory; *part* makes all
of it so many times smaller.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from support import kernel

from bench import machine
from bench.page import write_apart
from verytmp import VeryTmpFactory, VeryTmpRoot

DOCS = Path(__file__).parents[2] / "docs"
SHM = "/dev/shm"
PIECE = 1 << 20
GIB = 1 << 30


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def ends(times: list[float]) -> tuple[float, float]:
    """The medians of the first and of the last tenth."""
    tenth = max(1, len(times) // 10)
    return statistics.median(times[:tenth]), statistics.median(times[-tenth:])


def large_file(size: int) -> Iterator[list[str]]:
    """In the root, and then the same on /dev/shm: not both at once."""
    found: dict[str, list[tuple[float, float]]] = {}
    pieces = size // PIECE
    block = os.urandom(PIECE)

    def measure(folder: Any, ground: str) -> None:
        path = folder / "large"
        with path.open("wb", buffering=0) as file:
            written = [seconds(lambda: file.write(block)) for _ in range(pieces)]
        with path.open("rb", buffering=0) as file:
            held = bytearray(PIECE)
            read = [seconds(lambda: file.readinto(held)) for _ in range(pieces)]
        assert path.stat().st_size == pieces * PIECE
        assert held == block
        path.unlink()
        found[ground] = [ends(written), ends(read)]

    for _ in range(2):  # what is measured first finds memory that the machine has not used yet
        with VeryTmpRoot(size=size + GIB) as root:
            measure(root.path, "verytmp")
        with tempfile.TemporaryDirectory(dir=SHM) as folder:
            measure(Path(folder), SHM)
    for at, what in enumerate(("write", "read")):
        rates = [[PIECE / time / GIB for time in times[at]] for times in found.values()]
        cells = [f"{first:.2f}, {last:.2f} GiB/s" for first, last in rates]
        yield [f"{what} a file of {size / GIB:.3g} GiB by MiB: first tenth, last", *cells]


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def one_after_the_other(count: int) -> Iterator[list[str]]:
    def one(make: Callable[[], Any]) -> Callable[[], None]:
        def call() -> None:
            with make() as root:
                (root / "f").write_bytes(b"x")

        return call

    def directory() -> None:
        with tempfile.TemporaryDirectory(dir=SHM) as name:
            (Path(name) / "f").write_bytes(b"x")

    with VeryTmpFactory(size="64m") as factory:
        ours, theirs = ([0.0 + number for number in range(count)] for _ in range(2))  # each a number of its own
        one(factory)()
        before, descriptors = resident(), len(os.listdir("/proc/self/fd"))
        for number in range(count):
            ours[number] = seconds(one(factory))
        grown, more = resident() - before, len(os.listdir("/proc/self/fd")) - descriptors
    for number in range(count):
        theirs[number] = seconds(directory)
    cells = [f"{first * 1e6:.0f}, {last * 1e6:.0f} µs each" for first, last in map(ends, (ours, theirs))]
    yield [f"make {count:,} roots with a file, one after the other: first tenth, last", *cells]
    yield ["memory and descriptors that are left of them", f"{grown >> 10} KiB, {more}", ""]


def at_once(count: int) -> Iterator[list[str]]:
    with VeryTmpFactory(size="64m") as factory:
        first = factory()
        (first / "f").write_bytes(b"x")
        alone = [seconds((first / "f").read_bytes) for _ in range(1000)]
        tracemalloc.start()
        some = [factory() for _ in range(count // 10)]
        grown = tracemalloc.get_traced_memory()[0] / len(some)
        tracemalloc.stop()
        roots = [first, *some]
        made = [seconds(lambda: roots.append(factory())) for _ in range(count - len(roots))]
        for root in roots:
            (root / "f").write_bytes(b"x")
        among = [seconds((root / "f").read_bytes) for root in roots]
        closed = [seconds(root.close) for root in roots]
    (first_made, last_made), (first_closed, last_closed) = ends(made), ends(closed)
    by_itself, one_of_all = statistics.median(alone), statistics.median(among)
    said = {
        f"make {count:,} roots, all open: first tenth, last": f"{first_made * 1e6:.0f}, {last_made * 1e6:.0f} µs each",
        "memory for each, beside what the kernel takes": f"{grown / 1024:.1f} KiB",
        "read a file in one of them: by itself, among all": f"{by_itself * 1e6:.1f}, {one_of_all * 1e6:.1f} µs",
        "close them: first tenth, last": f"{first_closed * 1e6:.0f}, {last_closed * 1e6:.0f} µs each",
    }
    for row, cell in said.items():
        yield [row, cell, ""]


def paths(count: int) -> Iterator[list[str]]:
    names = [f"file{number * 7919 % count}.txt" for number in range(count)]
    rows = ["bytes of each", "make them", "sort them", "put them into a set", "relative_to of each"]
    for row, ours, theirs in zip(
        rows, paths_of(VeryTmpRoot() / "hello", names), paths_of(Path("/hello"), names), strict=True
    ):
        yield [f"{count:,} paths: {row}", ours, theirs]


def paths_of(base: Any, names: list[str]) -> list[str]:
    tracemalloc.start()
    made = [base / name for name in names]
    size = tracemalloc.get_traced_memory()[0] / len(made)
    tracemalloc.stop()
    made.clear()
    steps: list[Callable[[], object]] = [
        lambda: made.extend(base / name for name in names),
        made.sort,
        lambda: set(made),
        lambda: [path.relative_to(base) for path in made],
    ]
    return [f"{size:.0f}", *(f"{seconds(step):.2f} s" for step in steps)]


def table(part: int) -> Iterator[str]:
    about = machine.described()
    way = "" if kernel.may_mount() else "; roots by a helper"
    yield f"{about['processor']}, {about['memory']}, {about['kernel']}; {about['python']}{way}:\n"
    yield "|  | verytmp | pathlib, /dev/shm |\n| --- | --- | --- |"
    for measure, size in ((large_file, 10 * GIB), (one_after_the_other, 100_000), (at_once, 1_000), (paths, 1_000_000)):
        print(f"measuring {measure.__name__} ...", file=sys.stderr, flush=True)
        for row in measure(size // part):
            yield f"| {' | '.join(row)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", type=int, default=1, metavar="OF_ALL", help="by what all sizes are divided")
    parser.add_argument("--write", action="store_true", help="write a part of docs/performance.md")
    arguments = parser.parse_args()
    text = "\n".join(table(arguments.part)) + "\n"
    print(text)
    if arguments.write:
        write_apart(DOCS, "large", machine.python(), text)


if __name__ == "__main__":
    main()
