"""What a temporary directory costs a test suite: ``python tests/bench/plugin.py [ROUNDS]``, by hand.

Suites of tests that each write one file are run with pytest's tmp_path, as it is and with the settings that make it
faster, with pyfakefs (if it is installed), and with --verytmp: in turns, so that a busy machine is as busy for each.
The medians are printed: the wall time, the processor's, the process's peak of memory, and how much the machine's shared
memory grew, which is what the files in memory took.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

ROUNDS = 5
SUITES = {"1,000 tests of 4 KiB": (1000, 4096), "200 tests of 1 MiB": (200, 1 << 20)}

REAL = """
import pytest

@pytest.mark.parametrize("number", range({tests}))
def test_it(tmp_path, number):
    (tmp_path / "f").write_bytes(bytes({size}))
    assert (tmp_path / "f").stat().st_size == {size}
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


def ways(folder: Path) -> dict[str, tuple[str, list[str]]]:
    """What is compared: the suite, and the options."""
    found = {
        "tmp_path": (REAL, []),
        "tmp_path_retention_policy=none": (REAL, ["-o", "tmp_path_retention_policy=none"]),
        "--basetemp in /dev/shm": (REAL, [f"--basetemp={folder}/base"]),
        "--verytmp": (REAL, ["-p", "verytmp.pytest_plugin", "--verytmp"]),
    }
    if importlib.util.find_spec("pyfakefs"):
        found["pyfakefs"] = FAKE, ["-p", "pyfakefs.pytest_plugin"]
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


def measure(folder: Path, code: str, options: list[str]) -> tuple[float, ...]:
    """Seconds, seconds of the processor, and MiB of the process and of shared memory."""
    (folder / "test_it.py").write_text(code)
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_DEBUG_TEMPROOT": f"{folder}/disk"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # who installs packages has them compiled
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), *options]
    sampler = Sampler()
    sampler.start()
    start = time.perf_counter()
    silent = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    pid = os.posix_spawn(sys.executable, [*command, str(folder / "test_it.py")], environment, file_actions=silent)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - start
    sampler.done.set()
    sampler.join()
    if status:
        raise SystemExit(f"{command}: {status}")
    shared = (sampler.peak - sampler.start_value) / (1 << 20)
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, shared


def main(rounds: int) -> None:
    # Sources on disk, as usual; what is below PYTEST_DEBUG_TEMPROOT too.
    folder = Path(tempfile.mkdtemp(prefix="verytmp-bench-", dir="/var/tmp"))
    memory = Path(tempfile.mkdtemp(prefix="verytmp-bench-", dir="/dev/shm"))
    (folder / "disk").mkdir()
    try:
        for title, (tests, size) in SUITES.items():
            compared = ways(memory)
            taken: dict[str, list[tuple[float, ...]]] = {name: [] for name in compared}
            for _ in range(rounds):
                for name, (code, options) in compared.items():
                    taken[name].append(measure(folder, code.format(tests=tests, size=size), options))
                    shutil.rmtree(memory / "base", ignore_errors=True)
            print(f"\n{title}, Python {sys.version.split()[0]}, {rounds} rounds\n")
            print("| | seconds | of the processor | process, MiB | shared memory, MiB |\n|---|---|---|---|---|")
            for name, figures in taken.items():
                seconds, processor, process, shared = (
                    statistics.median(column) for column in zip(*figures, strict=True)
                )
                print(f"| {name} | {seconds:.2f} | {processor:.2f} | {process:.0f} | {shared:.0f} |")
    finally:
        shutil.rmtree(folder)
        shutil.rmtree(memory)


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else ROUNDS)
