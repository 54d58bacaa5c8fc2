"""How long it takes to unpack given archives: ``python tests/bench/archives.py [--rounds N] ARCHIVE...``.

Each by `unpack` into a root, by Python's own `extractall` and by bsdtar, if there is one, into directories on /dev/shm.
In turns; it prints a table, which docs/how-to/unpack.md has of some archives that are not in this repository.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.machine import described
from bench.trees import extracted
from verytmp import VeryTmpRoot

ROUNDS = 3


def by_unpack(archive: Path) -> float:
    with VeryTmpRoot() as root:
        start = time.perf_counter()
        root.path.unpack(archive)
        return time.perf_counter() - start


def in_shm(unpack: Callable[[Path, Path], object]) -> Callable[[Path], float]:
    def run(archive: Path) -> float:
        with tempfile.TemporaryDirectory(prefix="verytmp-bench-", dir="/dev/shm") as folder:
            start = time.perf_counter()
            unpack(archive, Path(folder))
            return time.perf_counter() - start

    return run


def bsdtar(archive: Path, folder: Path) -> None:
    subprocess.run(["bsdtar", "-xf", archive, "-C", folder], check=True)


def row(archive: Path, rounds: int) -> str:
    ways = {"unpack": by_unpack, "extractall": in_shm(extracted)}
    if shutil.which("bsdtar"):
        ways["bsdtar"] = in_shm(bsdtar)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, unpack in ways.items():
            times[name].append(unpack(archive))
    cells = [f"{statistics.median(times['unpack']):.2f} s"]
    for name in list(ways)[1:]:
        ratio = statistics.median(a / b for a, b in zip(times["unpack"], times[name], strict=True))
        cells.append(f"{statistics.median(times[name]):.2f} s ({ratio:.2f})")
    return f"| {archive.name}, {members(archive):,} members | {' | '.join(cells)} |"


def members(archive: Path) -> int:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            return len(opened.infolist())
    with tarfile.open(archive) as tar:
        return len(tar.getmembers())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python tests/bench/archives.py", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("archives", type=Path, nargs="+", metavar="ARCHIVE")
    arguments = parser.parse_args()
    print("|  | `unpack` | `extractall` | bsdtar |\n| --- | --- | --- | --- |")
    for archive in arguments.archives:
        print(row(archive, arguments.rounds), flush=True)
    print(f"\nThe median of {arguments.rounds} rounds; {', '.join(described().values())}.")


if __name__ == "__main__":
    main()
