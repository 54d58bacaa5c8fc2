"""What a clone costs, whatever its size, and beside what is done instead: ``python tests/bench/clones.py [SCALE]``.

All trees are in roots: none is written to the host. The largest part takes 9 GiB of memory, and all of it 4 minutes.
By hand; the tables take their place in docs/how-to/checkpoints.md, but not with a SCALE, as 0.01, by which all that is
large is multiplied.
"""

from __future__ import annotations

import os
import random
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support import clones, host_state

from bench.machine import described
from verytmp import VeryTmpRoot

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "checkpoints.md"
BEGIN, END = "<!-- clones: made by tests/bench/clones.py -->\n", "<!-- end of clones -->"

SIZES = (10, 1_000, 100_000)  # files
FILE_BYTES = 1000
LARGE = 4 << 30  # bytes in one file
TIMES = 200  # clones in a row, and at the same time
ALIVE = 10_000
SPARE = 200  # descriptors for all else
STEPS = 100
STEP_FILES = 1_000
TEST_FILES = 5_000
TESTS, TESTS_COPIED = 200, 40
GIT = ["git", "-c", "user.name=x", "-c", "user.email=x", "-c", "gc.auto=0"]

COLUMNS = (
    "what is frozen", "clone", "close", "memory of a clone", "`clone()` by copying", "`VeryTmpPath.copy`",
    "`shutil.copytree`", "`cp -a --reflink=auto`", "`git worktree add`", "`git stash`, and `pop`",
)  # fmt: skip


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def fill(folder: str, files: int) -> None:
    for number in range(files):
        above = f"{folder}/{number // 100}"
        if number % 100 == 0:
            os.mkdir(above)
        descriptor = os.open(f"{above}/{number}", os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, b"%*d" % (FILE_BYTES, number))
        os.close(descriptor)


def fill_large(folder: str, size: int) -> None:
    with open(f"{folder}/f", "wb") as file:
        file.writelines(os.urandom(1 << 10) * (1 << 10) for _ in range(size >> 20))


def memory() -> int:
    """The bytes that clones may take: what tmpfs has, and the kernel's own. /proc/meminfo."""
    found = re.findall(r"^(?:Shmem|Slab|Percpu): +(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return sum(map(int, found)) << 10


def cloned(template: VeryTmpRoot) -> tuple[str, str, str]:
    """A clone's time and its closing's, the median of TIMES, all of which are alive; and the memory of each."""
    template.clone().close()
    before = memory()
    alive: list[VeryTmpRoot] = []
    made = [seconds(lambda: alive.append(template.clone())) for _ in range(TIMES)]
    taken = memory() - before
    closed = [seconds(alive.pop().close) for _ in range(TIMES)]
    return ms(statistics.median(made)), ms(statistics.median(closed)), kib(taken / TIMES)


def copied(template: VeryTmpRoot) -> Iterator[str]:
    """What is done instead, each into a root of its own, which is not counted."""
    source = os.fspath(template)
    ways: list[Callable[[str, VeryTmpRoot], object]] = [
        lambda _, root: template.path.copy(root / "copy"),
        lambda target, _: shutil.copytree(source, target, symlinks=True),
        lambda target, _: subprocess.run(["cp", "-a", "--reflink=auto", source, target], check=True),
    ]
    for way in ways:
        with VeryTmpRoot(size=0) as root:
            yield ms(seconds(lambda way=way, root=root: way(f"{root}/copy", root)))  # type: ignore[misc]


def by_git(fill_it: Callable[[str], None]) -> tuple[str, str]:
    """A second worktree of a repository; and to put a changed file away, and to get it back."""
    with VeryTmpRoot(size=0, at=True) as root:

        def git(*words: str) -> None:
            root.run([*GIT, *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="r")

        (root / "r").mkdir()
        fill_it(f"{root}/r")
        git("init")
        git("add", ".")
        git("commit", "-m", "x")
        added = seconds(lambda: git("worktree", "add", "../w"))
        Path(f"{root}/r/0/1").write_text("changed")
        return ms(added), ms(seconds(lambda: (git("stash"), git("stash", "pop"))))  # type: ignore[func-returns-value]


def row(name: str, fill_it: Callable[[str], None], *, git: bool) -> str:
    with VeryTmpRoot(size=0) as root:
        fill_it(os.fspath(root))
        by_copying = ms(seconds(lambda: root.clone(size=0).close()))  # it is not frozen
        root.freeze()
        cells = [name, *cloned(root), by_copying, *copied(root)]
    return f"| {' | '.join([*cells, *(by_git(fill_it) if git else ('', ''))])} |"


def alive(wanted: int) -> str:
    """As many clones at the same time as may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(wanted, (hard - SPARE) // 2)
    with VeryTmpRoot() as root:
        fill(os.fspath(root), 10)
        root.freeze()
        before = memory()
        made: list[VeryTmpRoot] = []
        taken = [seconds(lambda: made.append(root.clone(size="1m"))) for _ in range(count)]
        used = memory() - before
        assert (made[-1] / "0" / "1").read_bytes() == b"%*d" % (FILE_BYTES, 1)
        tenth = max(1, count // 10)
        ends = ms(statistics.median(taken[:tenth])), ms(statistics.median(taken[-tenth:]))
        start = time.perf_counter()
        for each in made:
            each.close()
        closing = (time.perf_counter() - start) / count
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return (
        f"{count:,} clones alive at the same time (the process may have {hard:,} descriptors open): {ends[0]} each for "
        f"the first tenth, {ends[1]} for the last one, {ms(closing)} to close one, and {kib(used / count)} of memory "
        "each, the kernel's own included."
    )


def chain(steps: int, files: int) -> str:
    """Checkpoints, each of which is changed, and compared as a whole with a copy when it is gone back to."""
    chance = random.Random(0)
    root, alike = VeryTmpRoot(), VeryTmpRoot()
    for each in (root, alike):
        fill(os.fspath(each), files)
    root.freeze()
    states, pictures = [root], [host_state.look(alike.fileno())]
    taken = []
    for _ in range(steps):
        start = time.perf_counter()
        clone = states[-1].clone()
        taken.append(time.perf_counter() - start)
        for _ in range(5):
            clones.change(chance, clone, alike)
        (clone / "step").write_text(str(len(states)))
        (alike / "step").write_text(str(len(states)))
        taken[-1] += seconds(clone.freeze)
        states.append(clone)
        pictures.append(host_state.look(alike.fileno()))
    back = []
    for number in chance.sample(range(steps + 1), steps + 1):
        start = time.perf_counter()
        with states[number].clone() as again:
            back.append(time.perf_counter() - start)
            assert host_state.look(again.fileno()) == pictures[number], number
    for each in (*states, alike):
        each.close()
    return (
        f"A chain of {steps} checkpoints of {files:,} files, six changes in each: a step (clone, freeze) takes "
        f"{ms(statistics.median(taken[:10]))} at the beginning and {ms(statistics.median(taken[-10:]))} at the end; to "
        f"go back to any of them, {ms(statistics.median(back))}. Each checkpoint was compared with a copy."
    )


CONFTEST = """
import itertools, os, shutil, sys, time
import pytest
from verytmp import VeryTmpRoot
sys.path.insert(0, {tests!r})
from bench.clones import fill

@pytest.fixture(scope="session")
def verytmp_template():
    with VeryTmpRoot() as root:
        fill(os.fspath(root), {files})
        yield root

@pytest.fixture(scope="session")
def folder():
    with VeryTmpRoot(size=0) as root:
        yield root

@pytest.fixture
def copied(verytmp_template, folder, number):
    target = f"{{folder}}/{{number}}"
    shutil.copytree(os.fspath(verytmp_template), target)
    yield target
    shutil.rmtree(target)

spent = []

@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    start = time.perf_counter()
    try:
        return (yield)
    finally:
        spent.append(time.perf_counter() - start)

def pytest_sessionfinish():
    print("spent", sum(spent[1:]) / len(spent[1:]))  # the first one makes the template
"""
TEST = """
import os, pytest
@pytest.mark.parametrize("number", range({count} + 1))
def test_it({fixture}, number):
    path = os.fspath({fixture}) + "/0/1"
    with open(path, "w") as file:
        file.write("changed")
    assert os.listdir(os.fspath({fixture}) + "/0")
"""


def suite(fixture: str, count: int, files: int) -> float:
    """What a test of so many takes, with a tree of its own of which it changes one file."""
    with tempfile.TemporaryDirectory() as folder:
        conftest = CONFTEST.format(tests=str(Path(__file__).parents[1]), files=files)
        Path(folder, "conftest.py").write_text(conftest)
        Path(folder, "test_it.py").write_text(TEST.format(count=count, fixture=fixture))
        command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert f"{count + 1} passed" in done.stdout, done.stdout[-2000:]
    return float(re.findall(r"spent (\S+)$", done.stdout, re.MULTILINE)[0])


def suites(tests: int, copies: int, files: int) -> str:
    by_clones, by_copies = suite("verytmp_clone", tests, files), suite("copied", copies, files)
    return (
        f"{tests} tests on a template of {files:,} files, each of which changes one file in its own tree: "
        f"{ms(by_clones * tests)} by `verytmp_clone`, and {ms(by_copies * tests)} by `shutil.copytree` in a fixture "
        f"({copies} of them run), {by_copies / by_clones:.0f} times as long."
    )


def ms(value: float) -> str:
    return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"


def kib(value: float) -> str:
    return f"{value / 1024:.0f} KiB"


def lines(scale: float) -> Iterator[str]:
    def scaled(number: int) -> int:
        return max(number // 100, int(number * scale)) if number > 1000 else number

    yield f"| {' | '.join(COLUMNS)} |"
    yield f"|{' --- |' * len(COLUMNS)}"
    for count in map(scaled, SIZES):
        yield row(f"{count:,} files of {FILE_BYTES:,} bytes", partial(fill, files=count), git=True)
    size = scaled(LARGE)
    yield row(f"one file of {size >> 20:,} MiB", partial(fill_large, size=size), git=False)
    yield ""
    yield f"- {alive(scaled(ALIVE))}"
    yield f"- {chain(STEPS, STEP_FILES)}"
    yield f"- {suites(TESTS, TESTS_COPIED, scaled(TEST_FILES))}"
    yield ""
    who = "root" if os.geteuid() == 0 else "an ordinary user"
    yield f"{', '.join(described().values())}, as {who}, load {os.getloadavg()[0]:.0f}. All is in tmpfs."


def main(arguments: list[str]) -> None:
    made = []
    for line in lines(float(arguments[0]) if arguments else 1):
        print(line, flush=True)
        made.append(line)
    if not arguments:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        text = "\n".join(made)
        PAGE.write_text(f"{before}{BEGIN}\n{text}\n\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main(sys.argv[1:])
