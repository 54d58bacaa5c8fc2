"""A memory cgroup of a test's own, as a container has one: cgroups(7), of either version."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 10  # seconds for processes that were killed to be gone

# Version 1: the limit, the limit with swap, what is used, and where the kills are counted; then version 2.
ONE = Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.usage_in_bytes"
TWO = Path("/sys/fs/cgroup"), "memory.max", "memory.swap.max", "memory.current"
KILLS = "memory.oom_control", "memory.events"


class Cgroup:
    def __init__(self, path: Path, used: str) -> None:
        self.path = path
        self._used = used

    def enter(self) -> None:
        """This process, and those that it forks from now on. What it has already is counted where it was."""
        (self.path / "cgroup.procs").write_text(str(os.getpid()))

    def used(self) -> int:
        """The bytes that are counted, those in the files of a tmpfs among them."""
        return int((self.path / self._used).read_text())

    def kills(self) -> int:
        """How many of its processes the kernel has killed for want of memory."""
        text = next((self.path / name).read_text() for name in KILLS if (self.path / name).exists())
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill "))

    def processes(self) -> list[int]:
        return [int(number) for number in (self.path / "cgroup.procs").read_text().split()]


def missing() -> str:
    """Why none can be made here; empty if one can be."""
    if os.geteuid():
        return "only root may make a memory cgroup"
    return "" if place() else "there is no memory cgroup that more can be made in"


def place() -> tuple[Path, str, str, str] | None:
    if (ONE[0] / ONE[1]).exists() and os.access(ONE[0], os.W_OK):
        return ONE
    control = TWO[0] / "cgroup.subtree_control"
    return TWO if control.exists() and "memory" in control.read_text().split() and os.access(TWO[0], os.W_OK) else None


@contextmanager
def limited(most: int) -> Iterator[Cgroup]:
    """One that may have so many bytes, and no swap. It is gone in the end, with all that runs in it."""
    found = place()
    assert found
    folder, limit, swap, used = found
    cgroup = Cgroup(folder / f"verytmp-tests-{os.getpid()}", used)
    cgroup.path.mkdir()
    try:
        (cgroup.path / limit).write_text(str(most))
        if (cgroup.path / swap).exists():
            (cgroup.path / swap).write_text(str(most if found is ONE else 0))
        yield cgroup
    finally:
        remove(cgroup)


def remove(cgroup: Cgroup) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        for number in cgroup.processes():
            os.kill(number, signal.SIGKILL)
        try:
            return cgroup.path.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.01)
