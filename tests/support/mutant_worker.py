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
GLANCE = 0.02  # seconds
MEMORY = 4 << 30  # bytes of address space: a mutant may loop for ever, and collect something


def main() -> None:
    for module in LOADED.split():
        importlib.import_module(module)
    for line in sys.stdin:
        arguments, patience = json.loads(line)
        print(outcome(arguments, patience), flush=True)


class Noticed:
    """Tells which test noticed."""

    def __init__(self, told: int) -> None:
        self.told = told

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            os.write(self.told, f"{report.nodeid} {report.when}".replace("\n", " ").encode())


def outcome(arguments: list[str], patience: float) -> str:
    heard, told = os.pipe()
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(nothing, number)
        os._exit(pytest.main(arguments, [Noticed(told)]))
    os.close(told)
    end = "hung"
    deadline = time.monotonic() + patience
    while end == "hung" and time.monotonic() < deadline:
        time.sleep(GLANCE)
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            end = f"failed: {os.read(heard, 4096).decode()}" if status else "passed"
    os.close(heard)
    try:
        os.kill(-1, signal.SIGKILL)  # all but this process
        while True:
            os.wait()
    except (ChildProcessError, ProcessLookupError):
        return end


if __name__ == "__main__":
    main()
