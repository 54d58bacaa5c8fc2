"""Runs the tests of one mutant after another, for `tests/mutants.py`: what they need is loaded once, each run a fork.

It is process 1 of a pid namespace, so that nothing which a mutant has started is left running.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
import time

import pytest

# What takes time to load, and has nothing of ours in it.
LOADED = "_pytest.pytester asyncio ctypes doctest hypothesis.strategies multiprocessing socket subprocess unittest.mock"
GLANCE = 0.05  # seconds
IDLE = 15.0  # seconds: no test waits for that long
NOTHING = os.open(os.devnull, os.O_RDWR)
MEMORY = 4 << 30  # bytes of address space: a mutant may loop for ever, and collect something


def main() -> None:
    for module in LOADED.split():
        importlib.import_module(module)
    for line in sys.stdin:
        arguments, patience = json.loads(line)
        print(json.dumps(outcome(arguments, patience)), flush=True)


class Noticed:
    """Tells which test noticed."""

    def __init__(self, told: int) -> None:
        self.told = told

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            os.write(self.told, f"{report.nodeid} {report.when}".replace("\n", " ").encode())


def outcome(arguments: list[str], patience: float) -> tuple[str, float]:
    """How the tests ended, and their CPU time in seconds.

    They have hung if that is more than `patience`, or nothing has run for a while. How long they took is not asked:
    other programs may have had the processors.
    """
    heard, told = os.pipe()
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        for number in range(3):
            os.dup2(NOTHING, number)
        os._exit(pytest.main(arguments, [Noticed(told)]))
    os.close(told)
    before, end, seconds = reaped(), "hung", 0.0
    active = time.monotonic()
    while seconds < patience and time.monotonic() < active + IDLE:
        time.sleep(GLANCE)
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            end = f"failed: {os.read(heard, 4096).decode()}" if status else "passed"
            break
        running, seconds = observed()
        if running:
            active = time.monotonic()
    os.close(heard)
    try:
        os.kill(-1, signal.SIGKILL)  # all but this process
        while True:
            os.wait()
    except (ChildProcessError, ProcessLookupError):
        return end, reaped() - before


def observed() -> tuple[bool, float]:
    """Whether another process runs, or could if it had a processor; and the CPU time of all others, in seconds."""
    running, ticks = False, 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) != os.getpid():
            try:
                with open(f"/proc/{pid}/stat") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:  # it has ended
                continue
            running |= fields[0] in "RD"
            ticks += sum(map(int, fields[11:15]))
    return running, ticks / os.sysconf("SC_CLK_TCK")


def reaped() -> float:
    times = os.times()
    return times.children_user + times.children_system


if __name__ == "__main__":
    main()
