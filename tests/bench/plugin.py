"""What a temporary directory costs a test suite, and what stays of it: ``python tests/bench/plugin.py [ROUNDS]``.

Suites of tests that each write one file, or wait for the disk, are run with pytest's tmp_path, as it is and with the
settings that make it faster, with pytest-shm and pyfakefs (where they are installed), and with --verytmp: in turns, so
that a busy machine is as busy for each.
The medians are what counts: of the wall time, the processor's (helpers' included), the process's peak of memory, and
how much the machine's shared memory grew, which is what the files in memory took. Then each run is killed in the
middle, and what it has left is counted. By hand; without ROUNDS, it takes its place in docs/pytest.md.
"""

from __future__ import annotations

import getpass
import importlib.util
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from support import kernel
from support.children import processes_with

from bench.machine import described

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "pytest.md"
BEGIN, END = "<!-- written by tests/bench/plugin.py -->\n", "<!-- to here -->"

PR_SET_CHILD_SUBREAPER = 36
ROUNDS = 9
SUITES = {
    "1,000 tests that write 4 KiB": (1000, 4096, False),
    "200 tests that write 1 MiB": (200, 1 << 20, False),
    "100 tests that commit and replace": (100, 4096, True),
}
KILLED = (20, 1 << 20)
TWIN = "`--basetemp` in /dev/shm"

REAL = """
import os
import pytest

@pytest.mark.parametrize("number", range({tests}))
def test_it(tmp_path, number):
    (tmp_path / "f").write_bytes(bytes({size}))
    assert (tmp_path / "f").stat().st_size == {size}
    if number == {killed}:
        os.kill(os.getpid(), 9)
"""

# As programs do that must not lose anything: SQLite, and files that are replaced.
SYNCS = """
import os
import sqlite3
import pytest

@pytest.mark.parametrize("number", range({tests}))
def test_it(tmp_path, number):
    connection = sqlite3.connect(tmp_path / "d.db")
    connection.execute("create table t (a)")
    for value in range(5):
        connection.execute("insert into t values (?)", (value,))
        connection.commit()
        with open(tmp_path / "new", "w") as file:
            file.write("x" * {size})
            file.flush()
            os.fsync(file.fileno())
        os.replace(tmp_path / "new", tmp_path / "f")
    connection.close()
    if number == {killed}:
        os.kill(os.getpid(), 9)
"""

FAKE = """
import pathlib
import pytest

@pytest.mark.parametrize("number", range({tests}))
def test_it(fs, number):
    folder = pathlib.Path("/folder")
    folder.mkdir()
    (folder / "f").write_bytes(bytes({size}))
    assert (folder / "f").stat().st_size == {size}
"""


# pytest, in a process that may mount, or is not to.
START = f"""
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored, where this is run in the background
sys.path.insert(0, {str(TESTS)!r})
from support import kernel
if sys.argv[1] == "mounts not":
    kernel.drop_capabilities(kernel.CAP_SYS_ADMIN)
import pytest
sys.exit(pytest.main(sys.argv[2:]))
"""


class Way(NamedTuple):
    """What is compared: the suite, and how it is run."""

    code: str
    options: tuple[str, ...] = ()
    start: str = "may mount"
    on_disk: bool = True  # whether pytest is told which directory on disk to take


def ways(folder: Path, syncs: bool = False) -> dict[str, Way]:
    real = SYNCS if syncs else REAL
    ours = ("-p", "verytmp.pytest_plugin", "--verytmp")
    confined = ("-p", "verytmp.pytest_plugin", "--verytmp=confined")
    found = {
        "`tmp_path`": Way(real),
        "`tmp_path_retention_policy=none`": Way(real, ("-o", "tmp_path_retention_policy=none")),
        TWIN: Way(real, (f"--basetemp={folder}/base",)),
    }
    if importlib.util.find_spec("pytest_shm"):
        found["pytest-shm"] = Way(real, ("-p", "pytest_shm.plugin"), on_disk=False)
    if os.geteuid() == 0:
        found["`--verytmp`, as root"] = Way(real, ours)
    found["`--verytmp`"] = Way(real, ours, "mounts not")
    if not syncs:  # SQLite asks for a name
        found["`--verytmp=confined`"] = Way(real, confined, "mounts not")
        if importlib.util.find_spec("pyfakefs"):
            found["pyfakefs"] = Way(FAKE, ("-p", "pyfakefs.pytest_plugin"))
    return found


class Sampler(threading.Thread):
    """Watches the machine's shared memory."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.start_value = self.peak = shared_memory()
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.01):
            self.peak = max(self.peak, shared_memory())


def shared_memory() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("Shmem:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no Shmem in /proc/meminfo")


def started(folder: Path, way: Way, tests: int, size: int, killed: int = -1, mark: str = "") -> int:
    """The process of a run, in a folder on disk, as sources are; what is below PYTEST_DEBUG_TEMPROOT is there too."""
    (folder / "test_it.py").write_text(way.code.format(tests=tests, size=size, killed=killed))
    environment = {
        **os.environ,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "VERYTMP_BENCH": mark,
    }
    if way.on_disk:
        environment["PYTEST_DEBUG_TEMPROOT"] = f"{folder}/disk"
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # who installs packages has them compiled
    options = ["-q", "-p", "no:cacheprovider", "--rootdir", str(folder), *way.options, str(folder / "test_it.py")]
    silent = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    command = [sys.executable, "-c", START, way.start, *options]
    return os.posix_spawn(sys.executable, command, environment, file_actions=silent)


def measured(folder: Path, way: Way, tests: int, size: int) -> tuple[float, ...]:
    """Seconds, seconds of the processor, and MiB of the process and of shared memory."""
    sampler = Sampler()
    sampler.start()
    start = time.perf_counter()
    _, status, usage = os.wait4(started(folder, way, tests, size), 0)
    seconds = time.perf_counter() - start
    processor = usage.ru_utime + usage.ru_stime + helpers_time()
    sampler.done.set()
    sampler.join()
    if status:
        raise SystemExit(f"{way}: {status}")
    shared = (sampler.peak - sampler.start_value) / (1 << 20)
    return seconds, processor, usage.ru_maxrss / 1024, shared


def helpers_time() -> float:
    """Of the processor; this process has what theirs leave behind for children, and waits until they are gone."""
    seconds = 0.0
    while True:
        try:
            usage = os.wait4(-1, 0)[2]
        except ChildProcessError:
            return seconds
        seconds += usage.ru_utime + usage.ru_stime


def costs(folder: Path, memory: Path, rounds: int) -> Iterator[str]:
    for title, (tests, size, syncs) in SUITES.items():
        compared = ways(memory, syncs)
        taken: dict[str, list[tuple[float, ...]]] = {name: [] for name in compared}
        for _ in range(rounds):
            for name, way in compared.items():
                taken[name].append(measured(folder, way, tests, size))
                clear(folder, memory)
        yield f"| {title} | seconds | compared with `/dev/shm` | CPU seconds | process, MiB | shared memory, MiB |"
        yield "|---|---|---|---|---|---|"
        for name, figures in taken.items():
            ratio = statistics.median(ours[0] / twin[0] for ours, twin in zip(figures, taken[TWIN], strict=True))
            seconds, processor, process, shared = map(statistics.median, zip(*figures, strict=True))
            yield f"| {name} | {seconds:.2f} | {ratio:.2f} | {processor:.2f} | {process:.0f} | {shared:.0f} |"
        yield ""


def leftovers(folder: Path, memory: Path) -> Iterator[str]:
    """Each run, killed in its middle by the kernel, and what there is a second later."""
    tests, size = KILLED
    yield "| after `kill -9` | directories | files | MiB | mounts | processes |"
    yield "|---|---|---|---|---|---|"
    for number, (name, way) in enumerate(ways(memory).items()):
        if way.code == FAKE:
            continue
        mounts = Path("/proc/self/mounts").read_text().count("\n")
        mark = f"{os.getpid()}-{number}"
        _, status = os.waitpid(started(folder, way, tests, size, tests // 2, mark), 0)
        if status != signal.SIGKILL:
            raise SystemExit(f"{name}: {status}")
        time.sleep(1)
        directories, files = remains(folder, memory)
        held = sum(path.stat().st_size for path in files) >> 20
        mounts = Path("/proc/self/mounts").read_text().count("\n") - mounts
        processes = len(processes_with(f"VERYTMP_BENCH={mark}"))
        yield f"| {name} | {len(directories)} | {len(files)} | {held} | {mounts} | {processes} |"
        clear(folder, memory)


HANGS = """
import os, time

def test_it(tmp_path, tmp_path_factory):
    for place in tmp_path, tmp_path_factory.mktemp("x"):
        (place / "f").write_bytes(bytes(1 << 20))
    open("there", "w").close()
    time.sleep(60)
"""
ENDS = {
    "`kill -9`": (signal.SIGKILL,),
    "SIGTERM": (signal.SIGTERM,),
    "Ctrl-C": (signal.SIGINT,),
    "Ctrl-C twice": (signal.SIGINT, signal.SIGINT),
}
BEFORE = [*Path("/dev/shm").glob("pytest-of-*")]  # others' own
ENDED = 10.0  # seconds: whatever is left then stays
KEY = "VERYTMP_BENCH"  # in the environment of a run, whose processes are looked for


def ends(folder: Path, memory: Path) -> Iterator[str]:
    """What is left of a run that is interrupted, alone and with two workers: files, and processes."""
    columns = [(name, xdist) for xdist in ("", "`-n 2`, ") for name in ENDS]
    yield f"| files left after | {' | '.join(xdist + name for name, xdist in columns)} |"
    yield f"|---{'|---' * len(columns)}|"
    compared = {name: way for name, way in ways(memory).items() if way.code == REAL and "retention" not in name}
    for row, way in compared.items():
        cells = [str(left(folder, memory, way, ENDS[name], bool(xdist))) for name, xdist in columns]
        yield f"| {row} | {' | '.join(cells)} |"


def left(folder: Path, memory: Path, way: Way, signals: tuple[int, ...], xdist: bool) -> int:
    """How many files are left; each process that is, too, counts as one."""
    there = folder / "there"
    there.unlink(missing_ok=True)
    (folder / "test_it.py").write_text(HANGS)
    mark = f"{os.getpid()}-ends"
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", KEY: mark}
    if way.on_disk:
        environment["PYTEST_DEBUG_TEMPROOT"] = f"{folder}/disk"
    workers = ("-p", "xdist.plugin", "-n", "2") if xdist else ()
    command = [sys.executable, "-c", START, way.start, "-q", "-p", "no:cacheprovider", *workers, *way.options]
    with subprocess.Popen(
        [*command, "test_it.py"],
        cwd=folder,
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        while not there.exists():
            if process.poll() is not None:
                raise SystemExit(f"{command}: {process.returncode}")
            time.sleep(0.01)
        time.sleep(0.2)
        for number in signals:
            if number == signal.SIGINT:  # a terminal sends it to all processes that it has
                os.killpg(process.pid, number)
            else:
                process.send_signal(number)
            time.sleep(0.1)
        process.wait(60)
    deadline = time.monotonic() + ENDED
    while (processes := processes_with(f"{KEY}={mark}")) and time.monotonic() < deadline:
        time.sleep(0.1)
    found = len(remains(folder, memory)[1]) + len(processes)
    for each in processes:
        os.kill(int(each), signal.SIGKILL)
    clear(folder, memory)
    return found


def other_places() -> list[Path]:
    """Where pytest-shm makes this user's directories."""
    return [found for found in Path("/dev/shm").glob(f"pytest-of-{getpass.getuser()}") if found not in BEFORE]


def remains(folder: Path, memory: Path) -> tuple[list[Path], list[Path]]:
    """What is left on disk and in memory: directories, and files."""
    places = (folder / "disk", memory, *other_places())
    found = [path for place in places for path in place.rglob("*") if not path.is_symlink()]
    files = [path for path in found if path.is_file() and path.name != ".lock"]
    return [path for path in found if not path.is_file()], files


def clear(folder: Path, memory: Path) -> None:
    shutil.rmtree(memory / "base", ignore_errors=True)
    for found in other_places():
        shutil.rmtree(found)
    for found in (folder / "disk").iterdir():
        shutil.rmtree(found)


def tables(rounds: int) -> str:
    folder = Path(tempfile.mkdtemp(prefix="verytmp-bench-", dir="/var/tmp"))
    memory = Path(tempfile.mkdtemp(prefix="verytmp-bench-", dir="/dev/shm"))
    (folder / "disk").mkdir()
    kernel.libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        lines = [*costs(folder, memory, rounds), *leftovers(folder, memory), "", *ends(folder, memory), ""]
    finally:
        shutil.rmtree(folder)
        shutil.rmtree(memory)
    about = described()
    lines.append(f"The median of {rounds} round{'s' * (rounds > 1)}; {', '.join(about.values())}, ")
    lines[-1] += f"pytest {pytest.__version__}, load {os.getloadavg()[2]:.0f}."
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> None:
    text = tables(int(arguments[0]) if arguments else ROUNDS)
    print(text)
    if not arguments:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}{text}{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main(sys.argv[1:])
