"""Directories that are exchanged, moved or removed between any two system calls of an operation: nothing gets out."""

from __future__ import annotations

import errno
import os
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from support import host_state, race_targets, syscall_hooks
from support.oracle import wipe
from support.race_targets import LOOKS, OPERATIONS, READS, WRITES, RaceTarget

from verytmp import VeryTmpRoot

pytestmark = pytest.mark.slow

FEW = 30  # choices of moments for each operation; with --endurance, all of them

UNCHANGING = READS | LOOKS

# What an operation of many steps may meet, where it sees one tree first and another then.
TORN = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.EINVAL, errno.ELOOP}


@pytest.fixture(autouse=True)
def confined() -> None:
    """In place of the tripwire, which would see the adversary: the host itself is looked at, after each attempt."""


@pytest.fixture(params=[True, False], ids=["nosymfollow", "symfollow"])
def target(request: pytest.FixtureRequest, host: Path) -> Iterator[RaceTarget]:
    with VeryTmpRoot(nosymfollow=request.param) as root, VeryTmpRoot() as other:
        yield RaceTarget(root, host, other, random.Random(request.node.name).choice([*race_targets.SPELLINGS]))


@pytest.fixture
def most(pytestconfig: pytest.Config) -> int:
    return sys.maxsize if pytestconfig.getoption("--endurance") else FEW


def attempt(target: RaceTarget, name: str, acts: dict[int, syscall_hooks.Act]) -> tuple[object, int]:
    """What an operation gives or raises while these things happen, and how many system calls it made."""
    path = target.root / "slot"
    with syscall_hooks.interposed(acts) as calls:
        try:
            result: object = OPERATIONS[name](path, target)
        except (OSError, ValueError) as error:
            result = error
    return result, len(calls.names)


def ambushes(target: RaceTarget, name: str, act: syscall_hooks.Act, at_once: int, most: int) -> Iterator[object]:
    """The result of an operation for each choice of up to so many moments at which this happens."""
    target.reset()
    _, count = attempt(target, name, {})
    for chosen in syscall_hooks.choices(count + 6, at_once, most, name):  # it makes more, where it has to look again
        target.reset(changed=act != target.exchange or name not in UNCHANGING)
        result, made = attempt(target, name, dict.fromkeys(chosen, act))
        assert target.escaped(result) == "", f"{name}, interrupted before its calls {chosen}"
        if chosen[-1] < made:
            yield result


@pytest.mark.parametrize("name", OPERATIONS)
def test_exchanged_for_a_link(target: RaceTarget, name: str, most: int) -> None:
    """And back, and again. What is there under both names is there at every moment, and found."""
    one = name in READS or name in WRITES
    hits = 0
    for result in ambushes(target, name, target.exchange, 3 if one else 2, most):
        hits += 1
        if isinstance(result, OSError):
            assert result.errno in (() if one else TORN), f"{name}: {result!r}"
    assert hits > 0


def move_out(target: RaceTarget) -> None:
    """Take a directory out of the root, to the mount's own: there ``..`` does not come by the root any more."""
    above = os.open("..", os.O_PATH, dir_fd=target.fd)
    try:
        os.chmod("../..", 0o755, dir_fd=target.fd)
        os.chmod("..", 0o755, dir_fd=target.fd)
        try:
            os.rename("slot", "out", src_dir_fd=target.fd, dst_dir_fd=above)
        except FileNotFoundError:  # it is out: back again
            os.rename("out", "slot", src_dir_fd=above, dst_dir_fd=target.fd)
    finally:
        os.close(above)


def bring_back(target: RaceTarget) -> None:
    """Whatever is there by now: an operation may have made another directory in its place."""
    above = os.open("..", os.O_PATH, dir_fd=target.fd)
    try:
        wipe(target.fd)
        os.rename("out", "slot", src_dir_fd=above, dst_dir_fd=target.fd)
    except FileNotFoundError:
        pass
    finally:
        os.close(above)


def remove(target: RaceTarget) -> None:
    wipe(target.fd)


def put_a_file(target: RaceTarget) -> None:
    wipe(target.fd)
    host_state.make(target.fd, {"slot": b"a file"})


def put_a_link_for_the_file(target: RaceTarget) -> None:
    try:
        os.unlink("slot/f", dir_fd=target.fd)
        os.symlink(f"{target.host}/f", "slot/f", dir_fd=target.fd)
    except (FileNotFoundError, NotADirectoryError):
        pass


ACTS: dict[str, Callable[[RaceTarget], None]] = {
    "moved out": move_out,
    "removed": remove,
    "a file": put_a_file,
    "a link": put_a_link_for_the_file,
}


@pytest.mark.parametrize("act", ACTS)
def test_taken_away(target: RaceTarget, act: str, most: int) -> None:
    """Moved out from under a walk, unlinked, and made anew as something else."""
    hits = 0
    for name in OPERATIONS:
        for result in ambushes(target, name, partial(ACTS[act], target), 1, most // 4 + 1):
            bring_back(target)
            hits += 1
            if isinstance(result, OSError):
                assert result.errno in TORN, f"{name}: {result!r}"
            else:
                assert not isinstance(result, ValueError), f"{name}: {result!r}"
    assert hits > 2 * len(OPERATIONS)


@pytest.mark.tmpfs  # a directory that is open when its root is closed is still full
def test_closed(host: Path, most: int) -> None:
    """And the number is wanted at once by somebody who opens directories of the host."""
    hits: Counter[str] = Counter()
    taken: list[int] = []

    def close() -> None:
        root.close()
        taken.extend(os.open(host, os.O_PATH) for _ in range(8))

    with VeryTmpRoot() as other:
        for index, name in enumerate(OPERATIONS):
            for number in range(most // 5):
                with VeryTmpRoot(nosymfollow=(index + number) % 2 == 0) as root:
                    target = RaceTarget(root, host, other)
                    target.reset()
                    result, made = attempt(target, name, {number: close})
                    assert target.escaped(result) == "", f"{name}, closed before call {number}"
                    assert not isinstance(result, OSError), f"{name}: {result!r}"
                    hits[type(result).__name__] += number < made
                while taken:
                    os.close(taken.pop())
                if number >= made:
                    break
    assert hits["ValueError"] > len(OPERATIONS)
