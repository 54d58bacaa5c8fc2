"""Processes killed at any moment of their lives, and a long life: nothing of them is left, or grows."""

from __future__ import annotations

import gc
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from support import ground, kernel
from support.children import in_child
from support.kernel import libc
from support.prey import OPERATIONS, Prey

from verytmp import VeryTmpRoot

PR_SET_CHILD_SUBREAPER = 36
KILLS = 60
ROOMS = 24  # user namespaces that there are for all of a storm: a lost one would soon be missed
MIB = 1 << 20
MUCH = 64 * MIB  # less than what is left, if anything is; others on this machine have files in memory too
PATIENCE = 20  # seconds


@pytest.fixture(autouse=True)
def confined() -> None:
    """No tripwire in processes that are killed, or in what is to go on for an hour."""


def live(ready: int, threads: int) -> None:
    """A life: it makes roots, fills them, and has them filled by threads and a child, until it is killed."""
    stop = threading.Event()
    for _ in range(threads - 1):
        threading.Thread(target=stop.wait, daemon=True).start()
    os.write(ready, b"x")
    while True:
        with VeryTmpRoot(nosymfollow=random.random() < 0.5) as root, VeryTmpRoot() as other:
            (root / "d").mkdir()
            (root / "d" / "f").write_bytes(b"x" * MIB)
            (root / "d").copy(other / "d")
            (root / "l").symlink_to("d")
            (root / "l" / "f").rename("g")
            if threads == 1 and os.fork() == 0:
                (root / "g").copy(other / "g")
                os._exit(0)
            (root / "d").move(other / "e")


def storm(kills: int, threads: int) -> tuple[Counter[str], list[str], dict[int, str], int]:
    """Start so many lives, and end each at a random moment; whom they leave behind comes to this process."""
    kernel.limit_namespaces("user", ROOMS)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before, mounts = ground.descriptors(), ground.mounts()
    ends: Counter[str] = Counter()
    for _ in range(kills):
        receiver, sender = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                live(sender, threads)
            finally:
                os._exit(1)
        os.close(sender)
        os.read(receiver, 1)
        os.close(receiver)
        time.sleep(random.random() * 0.03)
        os.kill(pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        ends["killed" if status == -signal.SIGKILL else f"ended with {status}"] += 1
        deadline = time.monotonic() + PATIENCE
        while ground.children():  # helpers and children, which end by themselves
            ends["bereaved"] += os.waitpid(-1, os.WNOHANG)[0] > 0
            assert time.monotonic() < deadline
            time.sleep(0.001)
    new_mounts = [line for line in ground.mounts() if line not in mounts]
    VeryTmpRoot().close()
    return ends, new_mounts, ground.new_descriptors(before), ground.shared_memory()


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("threads", [1, 2])
def test_killed_at_any_moment(
    threads: int, pytestconfig: pytest.Config, record_property: Callable[[str, object], None]
) -> None:
    """No file, mount, helper, namespace or memory is left of any of them."""
    kills = pytestconfig.getoption("--kills") or KILLS // (
        1 if threads == 1 else 6
    )  # an interpreter takes long to start
    memory = ground.shared_memory()
    ends, mounts, left, _ = in_child(storm, kills, threads)
    record_property("processes killed", kills)
    assert (mounts, left) == ([], {})
    assert ends["killed"] == kills
    assert falls(memory + MUCH)


def falls(most: int) -> bool:
    """Whether shared memory is this low within some seconds: others on this machine use it too."""
    deadline = time.monotonic() + PATIENCE
    while ground.shared_memory() > most:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def endure(seconds: float, host: Path) -> tuple[int, Counter[str], list[tuple[int, int, int]], list[str]]:
    """Make, fill, race, close, for so long: how often, what came of it, and what there was at each tenth of that."""
    outcomes: Counter[str] = Counter()
    marks: list[tuple[int, int, int]] = []
    rounds = 0

    def one(number: int) -> None:
        with VeryTmpRoot(nosymfollow=number % 2 == 0, size="8m") as root, VeryTmpRoot(size="1m") as other:
            prey = Prey(root, host, other)
            prey.reset()
            over = threading.Event()

            def exchange() -> None:
                while not over.is_set():
                    try:
                        prey.exchange()
                    except FileNotFoundError:
                        pass

            swapper = threading.Thread(target=exchange)
            swapper.start()
            try:
                for name in random.sample([*OPERATIONS], 10):
                    try:
                        result: object = OPERATIONS[name](root / "slot", prey)
                        outcomes["done"] += 1
                    except OSError as error:
                        result = error
                        outcomes["error"] += 1
                    if prey.escaped(result):
                        outcomes["escaped"] += 1
            finally:
                over.set()
                swapper.join()
            try:
                (other / "big").write_bytes(b"x" * 2 * MIB)
            except OSError:
                outcomes["full"] += 1
            root.close() if number % 3 else None
        if number % 16 == 0:
            pid = os.fork()
            if pid == 0:
                os._exit(len(ground.children()))
            os.waitpid(pid, 0)

    while rounds < 30:
        one(rounds)
        rounds += 1
    gc.collect()
    before = ground.descriptors()
    start = time.monotonic()
    while len(marks) <= 10:
        if time.monotonic() >= start + len(marks) * seconds / 10:
            gc.collect()
            marks.append((len(ground.descriptors()), ground.resident(), len(ground.children())))
        one(rounds)
        rounds += 1
    gc.collect()  # errors that hold their own tracebacks
    left = [path for path in ground.new_descriptors(before).values() if "/verytmp" in path or "event" in path]
    return rounds, outcomes, marks, left


@pytest.mark.usefixtures("machine")
def test_a_long_life(host: Path, pytestconfig: pytest.Config, record_property: Callable[[str, object], None]) -> None:
    """Descriptors, memory, children: as many after the last as after the first."""
    memory = ground.shared_memory()
    rounds, outcomes, marks, left = in_child(endure, pytestconfig.getoption("--endurance") or 2, host)
    growth = marks[-1][1] - marks[0][1]
    record_property("roots made, filled, raced and closed", rounds)
    assert left == []
    assert outcomes["escaped"] == 0
    assert outcomes["full"] == rounds
    assert {(descriptors, children) for descriptors, _, children in marks} == {(marks[0][0], 0)}
    assert growth < 8 * MIB
    assert falls(memory + MUCH)
