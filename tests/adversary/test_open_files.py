"""The machine's table of open files is full: ENFILE, wherever a file would be opened. A filter says so in a child."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import pytest
from support import host_state, kernel
from support.children import in_child
from support.kernel import Rule
from support.race_targets import ANSWERS, OPERATIONS, TREES, RaceTarget

from verytmp import VeryTmpCause, VeryTmpFactory, VeryTmpRoot, VeryTmpUnavailable

pytestmark = pytest.mark.slow

# Which open(2) fails with ENFILE: each, or those of one step of an operation.
STEPS = {"any": 0, "a new file": os.O_CREAT, "a place": os.O_PATH, "a directory": os.O_DIRECTORY}


@pytest.fixture(autouse=True)
def confined() -> None:
    """No tripwire: before Python 3.13, what it reads of a frame lives on, and with it the descriptors of a failure."""


def numbers() -> list[int]:
    """This process's descriptors, for which nothing has to be opened."""
    return [number for number in range(256) if _is_open(number)]


def _is_open(number: int) -> bool:
    try:
        os.get_inheritable(number)
    except OSError:
        return False
    return True


def refused(call: Callable[[], object], *rules: Rule) -> tuple[str, bool]:
    """The error's name, if there was one, and whether a descriptor was lost; in a child."""

    def run() -> tuple[str, bool]:
        kernel.seccomp(*rules)
        before = numbers()
        try:
            call()
        except OSError as error:
            return errno.errorcode[error.errno or 0], numbers() != before
        return "", numbers() != before

    found: tuple[str, bool] = in_child(run)
    return found


@pytest.mark.parametrize("step", STEPS)
def test_in_an_operation(target: RaceTarget, step: str) -> None:
    """The tree is as it was, until the file is there that an operation was to make."""
    wrong: list[object] = []
    met: set[str] = set()
    rule = Rule("openat", errno.ENFILE, argument=2, mask=STEPS[step])
    for name, operation in OPERATIONS.items():
        target.reset()
        operation(target.root / "slot", target)  # what is loaded once is there
        target.reset()
        before = host_state.look(target.fd)
        error, lost = refused(lambda operation=operation: operation(target.root / "slot", target), rule)  # type: ignore[misc]
        if error:
            met.add(name)
        if error not in ("", "ENOENT" if name in ANSWERS else "ENFILE") or lost:
            wrong.append((name, error, lost))
        if error and name not in TREES and host_state.look(target.fd) != before:  # a tree is copied as far as it goes
            wrong.append((name, error, "it changed something"))
    assert wrong == []
    expected = {
        "any": {"open rb f", "read_bytes f", "write_text f", "iterdir", "copy f"},
        "a new file": {"open x+b new"},
    }
    assert expected.get(step, set()) <= met


CALLS = ["openat", "fsopen", "fsmount", "open_tree", "socketpair", "pipe2", "epoll_create1", "pidfd_open"]


def one() -> None:
    VeryTmpRoot().close()


def several() -> None:
    with VeryTmpFactory() as factory:
        for _ in range(4):
            factory.root().close()


WAYS: dict[str, Callable[[], None]] = {"a root": one, "a factory's": several}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("child", [False, True], ids=["as it comes", "by a child"])
def test_while_a_root_is_made(call: str, way: str, child: bool) -> None:
    """It is made without that call, or the error says whose table is full, and how to make it larger."""

    def make() -> tuple[object, set[int]]:
        WAYS[way]()
        if child:
            kernel.drop_capabilities(kernel.CAP_SYS_ADMIN)
        kernel.seccomp(Rule(call, errno.ENFILE))
        before = set(numbers())
        found: object = "made"
        try:
            WAYS[way]()
        except VeryTmpUnavailable as error:
            found = error.errno, error.cause, "fs.file-max" in error.remedy
        return found, set(numbers()) - before

    assert in_child(make) in (("made", set()), ((errno.ENFILE, VeryTmpCause.DESCRIPTORS, True), set()))
