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
from support import ground, moments, prey
from support.oracle import wipe
from support.prey import LOOKS, OPERATIONS, READS, WRITES, Prey

from verytmp import VeryTmpRoot

FEW = 30  # choices of moments for each operation; with --endurance, all of them

UNCHANGING = READS | LOOKS

# What an operation of many steps may meet, where it sees one tree first and another then.
TORN = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.EINVAL, errno.ELOOP}


@pytest.fixture(autouse=True)
def confined() -> None:
    """In place of the tripwire, which would see the adversary: the host itself is looked at, after each attempt."""


@pytest.fixture(params=[True, False], ids=["nosymfollow", "symfollow"])
def hunted(request: pytest.FixtureRequest, host: Path) -> Iterator[Prey]:
    with VeryTmpRoot(nosymfollow=request.param) as root, VeryTmpRoot() as other:
        yield Prey(root, host, other, random.Random(request.node.name).choice([*prey.SPELLINGS]))


@pytest.fixture
def most(pytestconfig: pytest.Config) -> int:
    return sys.maxsize if pytestconfig.getoption("--endurance") else FEW


def attempt(prey: Prey, name: str, acts: dict[int, moments.Act]) -> tuple[object, int]:
    """What an operation gives or raises while these things happen, and how many system calls it made."""
    path = prey.root / "slot"
    with moments.interposed(acts) as calls:
        try:
            result: object = OPERATIONS[name](path, prey)
        except (OSError, ValueError) as error:
            result = error
    return result, len(calls.names)


def ambushes(prey: Prey, name: str, act: moments.Act, at_once: int, most: int) -> Iterator[object]:
    """The result of an operation for each choice of up to so many moments at which this happens."""
    prey.reset()
    _, count = attempt(prey, name, {})
    for chosen in moments.choices(count + 6, at_once, most, name):  # it makes more, where it has to look again
        prey.reset(changed=act != prey.exchange or name not in UNCHANGING)
        result, made = attempt(prey, name, dict.fromkeys(chosen, act))
        assert prey.escaped(result) == "", f"{name}, interrupted before its calls {chosen}"
        if chosen[-1] < made:
            yield result


@pytest.mark.parametrize("name", OPERATIONS)
def test_exchanged_for_a_link(hunted: Prey, name: str, most: int) -> None:
    """And back, and again. What is there under both names is there at every moment, and found."""
    one = name in READS or name in WRITES
    hits = 0
    for result in ambushes(hunted, name, hunted.exchange, 3 if one else 2, most):
        hits += 1
        if isinstance(result, OSError):
            assert result.errno in (() if one else TORN), f"{name}: {result!r}"
    assert hits > 0


def move_out(prey: Prey) -> None:
    """Take a directory out of the root, to the mount's own: there ``..`` does not come by the root any more."""
    above = os.open("..", os.O_PATH, dir_fd=prey.fd)
    try:
        os.chmod("../..", 0o755, dir_fd=prey.fd)
        os.chmod("..", 0o755, dir_fd=prey.fd)
        try:
            os.rename("slot", "out", src_dir_fd=prey.fd, dst_dir_fd=above)
        except FileNotFoundError:  # it is out: back again
            os.rename("out", "slot", src_dir_fd=above, dst_dir_fd=prey.fd)
    finally:
        os.close(above)


def bring_back(prey: Prey) -> None:
    """Whatever is there by now: an operation may have made another directory in its place."""
    above = os.open("..", os.O_PATH, dir_fd=prey.fd)
    try:
        wipe(prey.fd)
        os.rename("out", "slot", src_dir_fd=above, dst_dir_fd=prey.fd)
    except FileNotFoundError:
        pass
    finally:
        os.close(above)


def remove(prey: Prey) -> None:
    wipe(prey.fd)


def put_a_file(prey: Prey) -> None:
    wipe(prey.fd)
    ground.make(prey.fd, {"slot": b"a file"})


def put_a_link_for_the_file(prey: Prey) -> None:
    try:
        os.unlink("slot/f", dir_fd=prey.fd)
        os.symlink(f"{prey.host}/f", "slot/f", dir_fd=prey.fd)
    except (FileNotFoundError, NotADirectoryError):
        pass


ACTS: dict[str, Callable[[Prey], None]] = {
    "moved out": move_out,
    "removed": remove,
    "a file": put_a_file,
    "a link": put_a_link_for_the_file,
}


@pytest.mark.parametrize("act", ACTS)
def test_taken_away(hunted: Prey, act: str, most: int) -> None:
    """Moved out from under a walk, unlinked, and made anew as something else."""
    hits = 0
    for name in OPERATIONS:
        for result in ambushes(hunted, name, partial(ACTS[act], hunted), 1, most // 4 + 1):
            bring_back(hunted)
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
                    prey = Prey(root, host, other)
                    prey.reset()
                    result, made = attempt(prey, name, {number: close})
                    assert prey.escaped(result) == "", f"{name}, closed before call {number}"
                    assert not isinstance(result, OSError), f"{name}: {result!r}"
                    hits[type(result).__name__] += number < made
                while taken:
                    os.close(taken.pop())
                if number >= made:
                    break
    assert hits["ValueError"] > len(OPERATIONS)
