"""What many cores make of it: ``python tests/bench/cores.py [--most N] [--seconds S] [--write]``.

Each of N processes, or of N threads of one, works in a root of its own, and then all in one, beside directories of
/dev/shm: at 1, 2, 4, ... workers. And the neighbours: what a process that uses only the host's files loses meanwhile.
The times are microseconds of each operation, on average over all workers; each round is the median of several.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import machine
from bench.page import write_apart
from verytmp import VeryTmpRoot

SHM = "/dev/shm"
DOCS = Path(__file__).parents[2] / "docs"
ROUNDS = 5
LOOKUPS = "/usr/lib"  # the host's, which a neighbour looks up names in


def write(path: Path) -> None:
    path.write_bytes(b"x" * 100)


def read(path: Path) -> None:
    path.read_bytes()


def stat(path: Path) -> None:
    path.stat()


def open_and_close(path: Path) -> None:
    path.open("rb").close()


OPERATIONS: dict[str, Callable[[Path], object]] = {
    "write": write,
    "read": read,
    "stat": stat,
    "open, close": open_and_close,
}


def make_and_close() -> None:
    VeryTmpRoot().close()


def make_directory() -> None:
    os.rmdir(tempfile.mkdtemp(dir=SHM))


def rate(call: Callable[[], object], until: float) -> float:
    """Microseconds that a call takes, on average until a moment of the clock."""
    count, start = 0, time.perf_counter()
    while (now := time.perf_counter()) < until:
        for _ in range(50):
            call()
        count += 50
    return (now - start) / max(count, 1) * 1e6


@contextmanager
def place(ground: str) -> Iterator[Path]:
    if ground == "verytmp":
        with VeryTmpRoot() as root:
            yield root.path
    else:
        with tempfile.TemporaryDirectory(dir=SHM) as folder:
            yield Path(folder)


def work(ground: str, operation: str, shared: Path | None, number: int, barrier: Any, seconds: float) -> float:
    if operation == "make, close":
        barrier.wait()
        return rate(make_and_close if ground == "verytmp" else make_directory, time.perf_counter() + seconds)
    with place(ground) as own:
        folder = (shared or own) / f"worker{number}"
        folder.mkdir()
        path = folder / "f"
        path.write_bytes(b"x" * 100)
        call = OPERATIONS[operation]
        barrier.wait()
        return rate(lambda: call(path), time.perf_counter() + seconds)


def lookups(seconds: float) -> float:
    """A neighbour's: names of the host's file system, which it looks up."""
    names = [f"{LOOKUPS}/{name}" for name in os.listdir(LOOKUPS)[:20]]

    def look() -> None:
        for name in names:
            os.stat(name)

    return rate(look, time.perf_counter() + seconds) / len(names)


def in_processes(count: int, *arguments: Any) -> float:
    context = get_context("fork")
    barrier, results = context.Barrier(count), context.SimpleQueue()
    ground, operation, shared, seconds = arguments

    def run(number: int) -> None:
        results.put(work(ground, operation, shared, number, barrier, seconds))

    processes = [context.Process(target=run, args=(number,)) for number in range(count)]
    for process in processes:
        process.start()
    times: list[float] = [results.get() for _ in processes]
    for process in processes:
        process.join()
    return float(statistics.mean(times))


def in_threads(count: int, *arguments: Any) -> float:
    barrier, times = threading.Barrier(count), list[float]()
    ground, operation, shared, seconds = arguments

    def run(number: int) -> None:
        times.append(work(ground, operation, shared, number, barrier, seconds))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return float(statistics.mean(times))


def measured(how: Callable[..., float], count: int, operation: str, together: bool, seconds: float) -> list[float]:
    """Of verytmp and of /dev/shm, in turn: the medians."""
    rounds: dict[str, list[float]] = {"verytmp": [], "/dev/shm": []}
    for _ in range(ROUNDS):
        for ground, times in rounds.items():
            with place(ground) as shared:
                times.append(how(count, ground, operation, shared if together else None, seconds))
    return [statistics.median(times) for times in rounds.values()]


def neighbours(busy: int, seconds: float) -> list[float]:
    """A lookup's microseconds: alone, beside busy roots, and beside busy directories of /dev/shm."""
    context = get_context("fork")
    found: dict[str, list[float]] = {"": [], "verytmp": [], "/dev/shm": []}
    for _ in range(ROUNDS):
        for ground, times in found.items():
            barrier = context.Barrier(busy + 1)
            processes = [
                context.Process(target=work, args=(ground, "read", None, number, barrier, 2 * seconds))
                for number in range(busy if ground else 0)
            ]
            for process in processes:
                process.start()
            if ground:
                barrier.wait()
            times.append(lookups(seconds))
            for process in processes:
                process.join()
    return [statistics.median(times) for times in found.values()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--most", type=int, default=cores, help="workers, at the most (by default as many as cores)")
    parser.add_argument("--seconds", type=float, default=0.2, help="for each measurement")
    parser.add_argument("--write", action="store_true", help="write a part of docs/performance.md")
    arguments = parser.parse_args()
    counts = [1 << power for power in range(arguments.most.bit_length()) if 1 << power <= arguments.most]
    text = "\n".join(table(counts, arguments.seconds)) + "\n"
    print(text)
    if arguments.write:
        write_apart(DOCS, "cores", label(), text)


def label() -> str:
    """This Python's version, with a "t" if it has no global interpreter lock."""
    return machine.python() + ("" if getattr(sys, "_is_gil_enabled", lambda: True)() else "t")


def table(counts: list[int], seconds: float) -> Iterator[str]:
    about = machine.described()
    lock = "without" if label().endswith("t") else "with"
    yield f"{about['processor']}, {about['kernel']}; {about['python']}, {lock} a global interpreter lock:\n"
    heads = ["1 worker", *(f"{count} workers" for count in counts[1:])]
    yield f"|  | {' | '.join(heads)} | company |"
    yield f"| --- |{' --- |' * len(heads)} --- |"
    for how, name in ((in_processes, "processes"), (in_threads, "threads")):
        for together in (False, True):
            for operation in [*OPERATIONS, *([] if together else ["make, close"])]:
                say = f"{operation}: {name}, {'in one root' if together else 'a root each'}"
                print(f"measuring {say} ...", file=sys.stderr, flush=True)
                times = [measured(how, count, operation, together, seconds) for count in counts]
                cells = [f"{ours:.3g} µs ({ours / theirs:.2f})" for ours, theirs in times]
                ratios = [ours / theirs for ours, theirs in times]
                yield f"| {say} | {' | '.join(cells)} | {ratios[-1] / ratios[0]:.2f} |"
    busy = max(1, counts[-1] - 1)
    alone, roots, shm = neighbours(busy, seconds)
    others = "another process reads" if busy == 1 else f"{busy} other processes read"
    yield f"\nLooking up a name on the host takes {alone:.2f} µs alone; while {others} files, it takes"
    yield f"{roots:.2f} µs if those are in roots, and {shm:.2f} µs if they are in `/dev/shm`."


if __name__ == "__main__":
    main()
