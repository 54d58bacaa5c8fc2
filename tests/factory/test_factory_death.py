"""A helper that dies or hangs: it is noticed, replaced, and named when it happens twice."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import time
from typing import Any

import pytest
from support import kernel
from support.factories import by_helper, helpers, killed
from support.kernel import Rule

from verytmp import VeryTmpFactory, VeryTmpRoot, VeryTmpUnavailable
from verytmp._mounting import child as _helper

pytestmark = pytest.mark.slow


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
        _helper.STOPPED_GLANCES = 1000
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


def test_a_helper_that_is_stopped_is_replaced() -> None:
    """Soon, for all threads that wait for it; and so is one that is stopped when the factory is closed."""

    def make() -> None:
        factory = VeryTmpFactory()
        factory()
        [helper] = helpers()
        os.kill(int(helper), signal.SIGSTOP)
        begin = time.monotonic()
        roots: list[VeryTmpRoot] = []
        asking = [threading.Thread(target=lambda: roots.append(factory())) for _ in range(4)]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
        assert len(roots) == 4
        [successor] = helpers()
        assert successor != helper
        os.kill(int(successor), signal.SIGSTOP)
        factory.close()
        assert helpers() == []
        assert time.monotonic() - begin < 15  # half a second, where the machine has time for it

    by_helper(make)


def test_a_child_that_is_stopped_is_given_up() -> None:
    def make() -> None:
        start = _helper.start

        def stopped(*args: Any) -> _helper.Child:
            child = start(*args)
            os.kill(child.pid, signal.SIGSTOP)
            return child

        _helper.start = stopped  # type: ignore[assignment]
        VeryTmpRoot()

    begin = time.monotonic()
    with pytest.raises(VeryTmpUnavailable, match="the one-shot child was stopped"):
        by_helper(make)
    assert time.monotonic() - begin < 5


def test_two_that_die_are_named() -> None:
    def make() -> None:
        kernel.seccomp(Rule("fsopen", 0))
        with VeryTmpFactory() as factory:
            factory()

    with pytest.raises(VeryTmpUnavailable) as caught:
        by_helper(make)
    assert (caught.value.step, caught.value.errno) == ("fsopen", errno.ENOSYS)
    assert "a seccomp filter killed the one-shot child (SIGSYS)" in caught.value.reason
    assert caught.value.reason.count("before that, fsopen: the helper ended without an answer") == 2


def test_without_an_interpreter_to_start() -> None:
    """As in a program that embeds Python: then each root has a child of its own."""

    def make() -> str:
        sys.executable = ""
        with VeryTmpFactory() as factory:
            return repr(factory())

    assert "made via a forked child" in by_helper(make)
