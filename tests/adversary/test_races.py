"""Races that are run: another process exchanges names as fast as it can, threads close what 32 others use."""

from __future__ import annotations

import errno
import mmap
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.race_targets import LOOKS, OPERATIONS, READS, TREES, WRITES, RaceTarget

from verytmp import VeryTmpPath, VeryTmpRoot

pytestmark = pytest.mark.slow

BRIEF = 0.02  # seconds for each operation; --endurance is shared out among them
LONGER = 0.1  # where an operation was not hit yet
THREADS = 32

# What an operation of many steps may meet, where it sees one tree first and another then. One of one step finds what is
# there under both names.
TORN = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.EINVAL, errno.ELOOP}


@pytest.fixture(autouse=True)
def confined() -> None:
    """In place of the tripwire, which slows a race down: the host itself is looked at."""


class Swapper:
    """A process that does a thing again and again, while it is not asked to pause."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._shared = mmap.mmap(-1, 24)
        self._state = memoryview(self._shared).cast("Q")  # how often; the pause that is wanted; the one that is made
        self._pauses = 0
        self.pid = os.fork()
        if self.pid == 0:
            try:
                while True:
                    if wanted := self._state[1]:
                        self._state[2] = wanted
                        time.sleep(0)
                        continue
                    try:
                        act()
                    except FileNotFoundError:  # an operation has moved it
                        continue
                    self._state[0] += 1
            finally:
                os._exit(1)

    @property
    def count(self) -> int:
        return self._state[0]

    @contextmanager
    def paused(self) -> Iterator[None]:
        self._pauses += 1
        self._state[1] = self._pauses
        while self._state[2] != self._pauses:
            time.sleep(0)
        yield
        self._state[1] = 0

    def end(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self._state.release()
        self._shared.close()


@pytest.mark.parametrize(("nosymfollow", "spelling"), [(True, "absolute"), (False, "up")])
def test_a_process_exchanges_directory_and_link(
    nosymfollow: bool,
    spelling: str,
    host: Path,
    pytestconfig: pytest.Config,
    record_property: Callable[[str, object], None],
) -> None:
    brief = pytestconfig.getoption("--endurance") / len(OPERATIONS) or BRIEF
    hits: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    with VeryTmpRoot(nosymfollow=nosymfollow) as root, VeryTmpRoot() as other:
        target = RaceTarget(root, host, other, spelling)
        target.reset()
        swapper = Swapper(target.exchange)
        try:
            for name, operation in OPERATIONS.items():
                end = time.monotonic() + brief
                result: object = None  # where a busy machine gives this process no turn until then
                with swapper.paused():
                    target.reset()
                while time.monotonic() < end or (not hits[name] and time.monotonic() < end + LONGER):
                    before = swapper.count
                    try:
                        result = operation(root / "slot", target)
                    except OSError as error:
                        if error.errno not in (TORN if name in TREES or name in LOOKS else ()):
                            raise
                        result = error
                    hits[name] += swapper.count > before
                    outcomes[errno.errorcode[result.errno or 0] if isinstance(result, OSError) else "done"] += 1
                    if name in WRITES or name in TREES:
                        with swapper.paused():
                            assert target.escaped(result) == "", name
                            target.reset()
                assert target.escaped(result) == "", name
            swaps = swapper.count
        finally:
            swapper.end()
    record_property("operations", outcomes.total())
    record_property("exchanges", swaps)
    record_property("operations hit by one", hits.total())
    assert sum(count > 0 for count in hits.values()) > len(OPERATIONS) / 4
    assert outcomes["done"] > outcomes.total() / 2


@pytest.mark.parametrize("nosymfollow", [True, False], ids=["nosymfollow", "symfollow"])
def test_close_races_against_operations(
    nosymfollow: bool, host: Path, pytestconfig: pytest.Config, record_property: Callable[[str, object], None]
) -> None:
    """While threads work in a root, it is closed, and others open a directory of the host as fast as they can.

    Whatever an operation answers, it is about the root's files. On the host there are files of the same names.
    """
    outcomes: Counter[str] = Counter()
    trouble: list[str] = []
    done = threading.Event()
    end = time.monotonic() + (pytestconfig.getoption("--endurance") or 0.3)

    def open_host_directories() -> None:
        while not done.is_set():
            for descriptor in [os.open(host, os.O_PATH) for _ in range(8)]:
                os.close(descriptor)

    def work(target: RaceTarget, path: VeryTmpPath, names: list[str]) -> None:
        while True:
            for name in names:
                try:
                    result = OPERATIONS[name](path, target)
                    outcomes["open"] += 1
                except ValueError:
                    outcomes["closed"] += 1
                    return
                except OSError as error:
                    outcomes["error"] += 1
                    result = error
                    if name in READS:
                        trouble.append(f"{name}: {error!r}")
                        return
                if escaped := target.read_outside(result):
                    trouble.append(f"{name}: {escaped}")

    openers = [threading.Thread(target=open_host_directories) for _ in range(3)]
    for thread in openers:
        thread.start()
    rounds = 0
    try:
        while time.monotonic() < end or not rounds:
            rounds += 1
            root, other = VeryTmpRoot(nosymfollow=nosymfollow), VeryTmpRoot()
            target = RaceTarget(root, host, other)
            target.reset()
            workers = []
            for number in range(THREADS):
                path, names = (root / host, [*READS]) if number % 2 else (root / "slot", [*WRITES])
                workers.append(threading.Thread(target=work, args=(target, path, random.sample(names, 5))))
            for thread in workers:
                thread.start()
            time.sleep(random.random() * 0.01)
            root.close()
            for thread in workers:
                thread.join()
            assert target.escaped(None) == ""
            other.close()
            del root, other, target, workers, path
    finally:
        done.set()
        for thread in openers:
            thread.join()
    record_property(f"roots closed under {THREADS} threads", rounds)
    record_property("operations that it met", outcomes.total())
    assert trouble == []
    assert outcomes["closed"] == rounds * THREADS
