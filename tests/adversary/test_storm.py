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
from typing import Any, NamedTuple

import pytest
from support import host_state, kernel
from support.children import in_child
from support.kernel import libc
from support.race_targets import OPERATIONS, RaceTarget

from verytmp import VeryTmpFactory, VeryTmpRoot, _shm

pytestmark = pytest.mark.slow

PR_SET_CHILD_SUBREAPER = 36
KILLS = 60
NAMESPACES = 24  # the limit of user namespaces during a storm: soon hit if one is lost each time
MIB = 1 << 20
MANY_ROOMS = 500  # far fewer than a long life takes
MUCH = 64 * MIB  # less than what is left, if anything is; others on this machine have files in memory too
PATIENCE = 20  # seconds


@pytest.fixture(autouse=True)
def confined() -> None:
    """No tripwire in processes that are killed, or in what is to go on for an hour."""


def live(ready: int, threads: int, programs: bool) -> None:
    """A life: it makes roots, fills them, has a child and *programs* fill them, until it is killed."""
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
            if programs:
                root.run(["sh", "-c", "cp g h; sleep 0.02 & sleep 0.01"])
            (root / "d").move(other / "e")


def storm(kills: int, threads: int, way: str | None) -> tuple[Counter[str], list[str], dict[int, str], list[str]]:
    """Start so many lives, and end each at a random moment; whom they leave behind comes to this process."""
    fallback = way == "shm"
    if not fallback:
        kernel.limit_namespaces("user", NAMESPACES)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before, mounts = host_state.descriptors(), host_state.mounts()
    life = (
        (0.5 if threads > 1 else 0.1) if way in ("named", "shm") else 0.03
    )  # seconds: the cause of a refusal is looked for first
    ends: Counter[str] = Counter()
    for _ in range(kills):
        receiver, sender = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                live(sender, threads, way == "named")
            finally:
                os._exit(1)
        os.close(sender)
        os.read(receiver, 1)
        os.close(receiver)
        time.sleep(random.random() * life)
        os.kill(pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        ends["killed" if status == -signal.SIGKILL else f"ended with {status}"] += 1
        deadline = time.monotonic() + PATIENCE
        while host_state.children():  # helpers and children, which end by themselves
            ends["bereaved"] += os.waitpid(-1, os.WNOHANG)[0] > 0
            assert time.monotonic() < deadline
            time.sleep(0.001)
        if fallback:
            ends["found in /dev/shm"] += len(list(Path(_shm.PLACE).glob("*/*/*")))
    new_mounts = [line for line in host_state.mounts() if line not in mounts]
    VeryTmpRoot().close()
    return ends, new_mounts, host_state.new_descriptors(before), os.listdir(_shm.PLACE)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("threads", [1, 2])
def test_killed_at_any_moment(
    threads: int,
    host: Path,
    pytestconfig: pytest.Config,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    """No file, mount, helper, namespace or memory is left of any of them; the next root sweeps /dev/shm."""
    monkeypatch.setattr(_shm, "PLACE", str(host))
    kills = pytestconfig.getoption("--kills") or KILLS // (
        1 if threads == 1 else 6
    )  # an interpreter takes long to start
    way = pytestconfig.getoption("--way")
    memory = host_state.shared_memory()
    ends, mounts, left, files = in_child(storm, kills, threads, way, patience=PATIENCE + kills)
    record_property("processes killed", kills)
    assert (mounts, left, files) == ([], {}, [])
    assert ends["killed"] == kills
    assert way != "shm" or ends["found in /dev/shm"] > 0
    assert falls(memory + MUCH)


def falls(most: int) -> bool:
    """Whether shared memory is this low within some seconds: others on this machine use it too."""
    deadline = time.monotonic() + PATIENCE
    while host_state.shared_memory() > most:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


class Mark(NamedTuple):
    """What there is of this process, and of its helper, at one moment."""

    descriptors: int
    resident: int
    children: int
    helpers_descriptors: int
    helpers_resident: int

    @classmethod
    def now(cls, factory: VeryTmpFactory) -> Mark:
        gc.collect()
        connection = factory._helper._idle
        helper = connection and host_state.of_pidfd(connection._end.fileno())
        of_helper = (len(host_state.descriptors(helper)), host_state.resident(helper)) if helper else (0, 0)
        return cls(len(host_state.descriptors()), host_state.resident(), len(host_state.children()), *of_helper)


def endure(seconds: float, host: Path, fallback: bool) -> tuple[int, Counter[str], list[Mark], list[str]]:
    """Make, fill, race, close, for so long: how often, what came of it, and what there was at each tenth of that."""
    outcomes: Counter[str] = Counter()
    marks: list[Mark] = []
    rounds = 0
    factory = VeryTmpFactory()
    if not fallback:
        kernel.mounting_namespaces()
        kernel.most_namespaces("user", MANY_ROOMS)
        kernel.most_namespaces("mnt", MANY_ROOMS)

    def made(number: int, **options: Any) -> VeryTmpRoot:
        """Directly, by a child that is a copy, by one that is a fresh interpreter, or by the helper."""
        if fallback:
            return VeryTmpRoot()
        stop, threads = threading.Event(), []
        kernel.use_capability(kernel.CAP_SYS_ADMIN, number % 3 == 0)
        if number % 60 == 1:
            threads.append(threading.Thread(target=stop.wait))
            threads[0].start()
        root = factory(**options) if number % 3 == 2 else VeryTmpRoot(**options)
        stop.set()
        for thread in threads:
            thread.join()
        outcomes[repr(root).partition("made ")[2].partition(",")[0]] += 1
        return root

    def one(number: int) -> None:
        with made(number, nosymfollow=number % 2 == 0, size="8m") as root, made(number, size="1m") as other:
            target = RaceTarget(root, host, other)
            target.reset()
            over = threading.Event()

            def exchange() -> None:
                while not over.is_set():
                    try:
                        target.exchange()
                    except FileNotFoundError:
                        pass

            swapper = threading.Thread(target=exchange)
            swapper.start()
            try:
                for name in random.sample([*OPERATIONS], 10):
                    try:
                        result: object = OPERATIONS[name](root / "slot", target)
                        outcomes["done"] += 1
                    except OSError as error:
                        result = error
                        outcomes["error"] += 1
                    if target.escaped(result):
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
                os._exit(len(host_state.children()))
            os.waitpid(pid, 0)

    while rounds < 60:
        one(rounds)
        rounds += 1
    gc.collect()
    before = host_state.descriptors()
    start = time.monotonic()
    while len(marks) <= 10:
        if time.monotonic() >= start + len(marks) * seconds / 10:
            marks.append(Mark.now(factory))
            print(f"after {rounds} rounds: {marks[-1]}", flush=True)
        one(rounds)
        rounds += 1
    gc.collect()  # errors that hold their own tracebacks
    left = [path for path in host_state.new_descriptors(before).values() if "/verytmp" in path or "event" in path]
    return rounds, outcomes, marks, left


@pytest.mark.usefixtures("machine")
def test_a_long_life(host: Path, pytestconfig: pytest.Config, record_property: Callable[[str, object], None]) -> None:
    """Descriptors, memory, children, namespaces: as many after the last as after the first, made in whichever way."""
    memory = host_state.shared_memory()
    seconds = pytestconfig.getoption("--endurance") or 2
    fallback = pytestconfig.getoption("--way") == "shm"
    rounds, outcomes, marks, left = in_child(endure, seconds, host, fallback, patience=seconds + PATIENCE)
    print(dict(outcomes))
    record_property("roots made, filled, raced and closed", rounds)
    assert left == []
    assert outcomes["escaped"] == 0
    assert outcomes["full"] == (0 if fallback else rounds)
    assert fallback or min(outcomes[way] for way in WAYS) > 0
    first, last = marks[0], marks[-1]
    assert {mark._replace(resident=0, helpers_resident=0) for mark in marks} == {
        first._replace(resident=0, helpers_resident=0, children=0)
    }
    assert last.resident - first.resident < 8 * MIB
    assert last.helpers_resident - first.helpers_resident < 8 * MIB
    assert falls(memory + MUCH)


WAYS = ("directly", "via a forked child", "via a fresh child", "via a helper process")
