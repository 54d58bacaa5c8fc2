"""What a clone costs, whatever its size, and beside what is done instead: `python3 tests/bench/clones.py`.

It writes its table into docs/how-to/checkpoints.md.
"""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests"))

from verytmp import VeryTmpRoot  # noqa: E402

PAGE = REPOSITORY / "docs/how-to/checkpoints.md"
SIZES = (10, 1_000, 10_000)
LARGE = 1 << 30  # bytes in one file; the clone of a larger one takes as long
STEPS = 100


def seconds(call: Callable[[], object], times: int) -> float:
    """The median of so many calls."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def fill(folder: str, files: int) -> None:
    for number in range(files):
        above = f"{folder}/{number // 100}"
        if number % 100 == 0:
            os.mkdir(above)
        Path(f"{above}/{number}").write_bytes(bytes(1000))


@contextmanager
def host() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="verytmp-bench-") as folder:
        yield Path(folder)


def files_of(count: int) -> tuple[float, ...]:
    """A clone, its closing, and the copies of such a tree: by this package, by shutil, by cp."""
    times = 5 if count < 10_000 else 1
    with VeryTmpRoot() as root, host() as folder:
        fill(os.fspath(root), count)
        (folder / "a").mkdir()
        fill(f"{folder}/a", count)
        by_hand = seconds(lambda: root.clone().close(), times)  # it is not frozen
        root.freeze()
        clones = []
        cloned = seconds(lambda: clones.append(root.clone()), 30)
        closed = seconds(lambda: clones.pop().close(), 30)
        names = iter(range(1000))
        copied = seconds(lambda: shutil.copytree(folder / "a", folder / str(next(names))), times)
        command = ["cp", "-a", "--reflink=auto", f"{folder}/a"]
        by_cp = seconds(lambda: subprocess.run([*command, folder / str(next(names))], check=True), times)
    return cloned, closed, by_hand, copied, by_cp


def large() -> tuple[float, ...]:
    with VeryTmpRoot() as root, host() as folder:
        with (root / "f").open("wb") as file:
            for _ in range(LARGE >> 20):
                file.write(bytes(1 << 20))
        by_hand = seconds(lambda: root.clone().close(), 1)
        root.freeze()
        clones = []
        cloned = seconds(lambda: clones.append(root.clone()), 30)
        closed = seconds(lambda: clones.pop().close(), 30)
        (folder / "a").mkdir()
        (root / "f").copy(folder / "a" / "f")
        names = iter(range(1000))

        def by(call: Callable[[Path], object]) -> float:
            target = folder / str(next(names))
            taken = seconds(lambda: call(target), 1)
            shutil.rmtree(target)
            return taken

        copied = by(lambda target: shutil.copytree(folder / "a", target))
        by_cp = by(lambda target: subprocess.run(["cp", "-a", "--reflink=auto", folder / "a", target], check=True))
    return cloned, closed, by_hand, copied, by_cp


def chain() -> tuple[float, float, float]:
    """A step (clone, change two files, freeze) after 1 and after STEPS others, and to go back to the first."""
    root = VeryTmpRoot()
    fill(os.fspath(root), 1_000)
    root.freeze()
    states = [root]
    taken = []
    for number in range(STEPS):
        start = time.perf_counter()
        clone = states[-1].clone()
        (clone / "0" / "1").write_text(str(number))
        (clone / f"new-{number}").touch()
        clone.freeze()
        taken.append(time.perf_counter() - start)
        states.append(clone)
    for number in (1, STEPS // 2, STEPS):
        assert (states[number] / "0" / "1").read_text() == str(number - 1)
        assert len(list(states[number].path.glob("new-*"))) == number
    back = seconds(lambda: states[1].clone().close(), 20)
    for state in states:
        state.close()
    return statistics.median(taken[:10]), statistics.median(taken[-10:]), back


def suite() -> tuple[float, float]:
    """200 tests on a template of 5,000 files: to get each its own, and one file of it changed."""
    with VeryTmpRoot() as root, host() as folder:
        fill(os.fspath(root), 5_000)
        (folder / "a").mkdir()
        fill(f"{folder}/a", 5_000)
        root.freeze()
        start = time.perf_counter()
        for _ in range(200):
            with root.clone() as clone:
                (clone / "0" / "1").write_text("changed")
        by_clones = time.perf_counter() - start
        start = time.perf_counter()
        for number in range(4):
            shutil.copytree(folder / "a", folder / str(number))
            (folder / str(number) / "0" / "1").write_text("changed")
            shutil.rmtree(folder / str(number))
        return by_clones, (time.perf_counter() - start) * 50


def ms(value: float) -> str:
    return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"


def lines() -> Iterator[str]:
    yield "| what is frozen | clone | close | `clone` by copying | `shutil.copytree` | `cp --reflink=auto` |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for count in SIZES:
        yield f"| {count:,} files of 1,000 bytes | {' | '.join(map(ms, files_of(count)))} |"
    yield f"| one file of {LARGE >> 30} GiB | {' | '.join(map(ms, large()))} |"
    first, last, back = chain()
    yield ""
    yield (
        f"A step (clone, change a file, add one, freeze) takes {ms(first)} at the beginning of a chain and {ms(last)} "
        f"after {STEPS}; to go back to the first, {ms(back)}."
    )
    by_clones, by_copies = suite()
    yield (
        f"200 tests that each change a file of 5,000 take {ms(by_clones)} for their clones, and {ms(by_copies)} "
        f"for copies by `shutil.copytree` (4 of them measured): {by_copies / by_clones:.0f} times as long."
    )
    yield ""
    who = "root" if os.geteuid() == 0 else "an ordinary user"
    yield f"CPython {platform.python_version()}, Linux {platform.release()}, {os.cpu_count()} cores, as {who}."
    yield "Copies are made in /dev/shm."


def main() -> None:
    made = "\n".join(lines())
    begin, end = "<!-- clones: made by tests/bench/clones.py -->\n", "<!-- end of clones -->"
    text = PAGE.read_text()
    head, _, rest = text.partition(begin)
    PAGE.write_text(f"{head}{begin}\n{made}\n\n{end}{rest.partition(end)[2]}")
    print(made)


if __name__ == "__main__":
    main()
