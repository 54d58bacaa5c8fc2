"""A helper that dies or hangs: it is noticed, replaced, and named when it happens twice."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import time

import pytest
from support import kernel
from support.factories import by_helper, helpers, killed
from support.kernel import Rule

from verytmp import VeryTmpFactory, VeryTmpRoot, VeryTmpUnavailable, _helper, _resident


def test_a_dead_helper_is_replaced() -> None:
    def make() -> None:
        factory = VeryTmpFactory()
        seen = set()
        for _ in range(3):
            root = factory()
            seen.add(killed())
            (root / "f").touch()
        factory()
        assert len(seen | set(helpers())) == 4

    by_helper(make)


def test_a_helper_that_dies_in_the_middle_is_replaced() -> None:
    def make() -> None:
        factory = VeryTmpFactory()
        factory()
        [helper] = helpers()
        os.kill(int(helper), signal.SIGSTOP)
        roots: list[VeryTmpRoot] = []
        asking = threading.Thread(target=lambda: roots.append(factory()))
        asking.start()
        time.sleep(0.2)
        assert roots == []
        os.kill(int(helper), signal.SIGKILL)
        asking.join()
        assert len(roots) == 1
        assert len(helpers()) == 1

    by_helper(make)


def test_a_helper_that_hangs_is_replaced() -> None:
    def make() -> None:
        _resident.END_PATIENCE = 0.1
        factory = VeryTmpFactory()
        factory()
        [helper] = helpers()
        os.kill(int(helper), signal.SIGSTOP)
        _helper.ANSWER_PATIENCE = 2  # within which its successor has to start
        factory()
        assert helper not in helpers()

    by_helper(make)


def test_two_that_die_are_named() -> None:
    def make() -> None:
        kernel.seccomp(Rule("fsopen", 0))
        with VeryTmpFactory() as factory:
            factory()

    with pytest.raises(VeryTmpUnavailable) as caught:
        by_helper(make)
    assert (caught.value.step, caught.value.errno) == ("fsopen", errno.ENOSYS)
    assert "a seccomp filter killed the mounting child (SIGSYS)" in caught.value.reason
    assert caught.value.reason.count("before that, fsopen: the resident helper ended without an answer") == 2


def test_without_an_interpreter_to_start() -> None:
    """As in a program that embeds Python: then each root has a child of its own."""

    def make() -> str:
        sys.executable = ""
        with VeryTmpFactory() as factory:
            return repr(factory())

    assert "made by a forked child" in by_helper(make)
