"""The factory among threads, forks and signals."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from support import host_state
from support.children import in_child
from support.factories import by_helper, helpers

from verytmp import VeryTmpFactory, VeryTmpRoot
from verytmp._mounting import child as _helper
from verytmp._mounting import helper

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("way", [in_child, by_helper])
def test_threads(way: Callable[..., Any]) -> None:
    def make() -> tuple[int, list[object]]:
        factory = VeryTmpFactory(size="1m")
        roots: list[VeryTmpRoot] = []
        errors: list[object] = []
        threading.excepthook = errors.append

        def several() -> None:
            for number in range(40):
                if number % 10 == 5:
                    with contextlib.suppress(ValueError):
                        factory(huge="nonsense")
                root = factory()
                (root / "f").write_text(str(number))
                roots.append(root)

        threads = [threading.Thread(target=several) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if way is by_helper:
            assert len(helpers()) == 1
        assert sorted(int((root / "f").read_text()) for root in roots) == sorted(list(range(40)) * 8)
        return len({root.path.stat().st_dev for root in roots}), errors

    assert way(make) == (320, [])


def test_closing_comes_between() -> None:
    def make() -> None:
        for _ in range(5):
            factory = VeryTmpFactory()
            factory()
            made: list[VeryTmpRoot] = []
            refused: list[str] = []

            def ask(factory: VeryTmpFactory = factory, made: Any = made, refused: Any = refused) -> None:
                try:
                    while True:
                        made.append(factory())
                except ValueError as error:
                    refused.append(str(error))

            asking = [threading.Thread(target=ask) for _ in range(3)]
            for thread in asking:
                thread.start()
            while len(made) < 20:
                time.sleep(0.001)
            factory.close()
            assert helpers() == []
            for thread in asking:
                thread.join()
            assert refused == ["operation on a closed VeryTmpFactory"] * 3
            for root in made:
                root.close()

    by_helper(make)


@pytest.mark.parametrize("way", [in_child, by_helper])
def test_closing_races_the_first_root(way: Callable[..., Any]) -> None:
    """There is a root or that one error, and nothing is left: no descriptor, no helper, no child."""

    def make() -> tuple[set[str], dict[int, str]]:
        with VeryTmpFactory() as factory:
            factory().close()
        before = host_state.descriptors()
        others: set[str] = set()
        for _ in range(15):
            factory = VeryTmpFactory(size="1m")
            begin = threading.Barrier(4)

            def ask(factory: VeryTmpFactory = factory, begin: threading.Barrier = begin) -> None:
                try:
                    begin.wait()
                    for _ in range(5):
                        factory().close()
                except Exception as error:
                    others.add(repr(error))

            asking = [threading.Thread(target=ask) for _ in range(3)]
            for thread in asking:
                thread.start()
            begin.wait()
            time.sleep(random.uniform(0, 0.06))
            factory.close()
            for thread in asking:
                thread.join()
            if way is by_helper:
                assert helpers() == []
            assert host_state.children() == []
        del factory, ask, asking, thread
        left = host_state.new_descriptors(before)
        return others, {number: path for number, path in left.items() if "eventpoll" not in path}

    others, left = way(make)
    assert left == {}
    assert others <= {"ValueError('operation on a closed VeryTmpFactory')"}


class Turn:
    """A lock that tells how many threads have come to it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.came = threading.Semaphore(0)

    def __enter__(self) -> None:
        self.came.release()
        self._lock.acquire()

    def __exit__(self, *exception: object) -> None:
        self._lock.release()


def test_closing_comes_while_one_thread_asks_and_another_waits() -> None:
    """Who asks gets its root. Who waits for its turn gets none, and no helper is left when `close` returns."""

    def make() -> None:
        factory = VeryTmpFactory()
        factory().close()
        turn: Any = Turn()
        factory._helper._turn = turn
        asking, go_on, closed = threading.Event(), threading.Event(), threading.Event()
        ask = helper.Connection.ask
        outcomes: list[str] = []

        def paused(*args: Any) -> Any:
            asking.set()
            assert go_on.wait(20)
            assert not closed.is_set()  # or the helper would be there still
            return ask(*args)

        def want() -> None:
            try:
                factory()
                outcomes.append("a root")
            except ValueError as error:
                outcomes.append(str(error))

        def close() -> None:
            factory.close()
            closed.set()
            outcomes.append(f"left: {helpers()}")

        helper.Connection.ask = paused  # type: ignore[assignment, method-assign]
        threads = [threading.Thread(target=target) for target in (want, want, close)]
        for thread in threads:
            thread.start()
            assert turn.came.acquire(timeout=10)
            assert asking.wait(10)
        assert not closed.wait(0.05)
        go_on.set()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["a root", "left: []", "operation on a closed VeryTmpFactory"]

    by_helper(make)


def test_a_forked_child_has_a_helper_of_its_own() -> None:
    def make() -> None:
        factory = VeryTmpFactory()
        first = factory()
        [parents] = helpers()

        def child() -> tuple[list[str], list[str], int]:
            sockets = [path for path in host_state.descriptors().values() if path.startswith("socket:")]
            unused = helpers()
            root = factory()
            (root / "f").touch()
            return sockets, unused, len(set(helpers()) - {parents})

        for _ in range(2):
            assert in_child(child) == ([], [parents], 1)
        (first / "f").touch()
        factory()
        assert parents in helpers()

    by_helper(make)


def test_a_fork_in_the_middle_of_a_request() -> None:
    """The lock is another thread's then, which is not there in the child."""

    def make() -> None:
        factory = VeryTmpFactory()
        factory()
        [parents] = helpers()
        _helper.STOPPED_GLANCES = 1000
        os.kill(int(parents), signal.SIGSTOP)
        roots: list[VeryTmpRoot] = []
        asking = threading.Thread(target=lambda: roots.append(factory()))
        asking.start()
        time.sleep(0.1)

        def child() -> tuple[list[str], int]:
            sockets = [path for path in host_state.descriptors().values() if path.startswith("socket:")]
            factory()
            return sockets, len(set(helpers()) - {parents})

        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of fork with threads
            assert in_child(child) == ([], 1)
        os.kill(int(parents), signal.SIGCONT)
        asking.join()
        assert len(roots) == 1
        assert parents in helpers()

    by_helper(make)


def test_another_group_has_a_helper_of_its_own() -> None:
    """For a root's files are of its helper's user and group, and of no others (EOVERFLOW)."""
    if os.geteuid() != 0:
        pytest.skip("only root may take another group")

    def make() -> None:
        factory = VeryTmpFactory()
        factory()
        before = helpers()
        os.setegid(12345)
        (factory() / "f").touch()
        assert len(helpers()) == 1
        assert helpers() != before

    by_helper(make)


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("starting", [True, False])  # in the middle of starting a helper, or of talking to it
def test_signals_lose_nothing(starting: bool, threads: int) -> None:
    def make() -> tuple[dict[int, str], list[str], int]:
        # pytest's own keeps an exception that came in a finalizer, and so the frames around that, and what is in them.
        sys.unraisablehook = bool
        stop = threading.Event()
        if threads > 1:  # which the kernel gives signals to as well
            threading.Thread(target=stop.wait).start()
        VeryTmpRoot().close()
        begin = time.monotonic()
        factory = VeryTmpFactory()
        factory()
        latest = 0.02 if starting else max(0.2, 4 * (time.monotonic() - begin))
        factory.close()
        factory = VeryTmpFactory(size="1m")
        before = host_state.descriptors()
        caught = made = 0
        armed = False
        others = []

        def interrupt(*_: object) -> None:
            nonlocal caught, armed
            signal.setitimer(signal.ITIMER_REAL, random.uniform(0.001, latest))
            if armed:
                caught, armed = caught + 1, False
                raise Interrupted

        signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, latest)
        while caught < 60:
            try:
                armed = True
                factory().close()
                armed = False
                made += 1
            except Interrupted:
                pass
            except Exception as error:
                others.append(repr(error))
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert factory(size="2m").usage().total == 2 << 20  # and not an answer that was meant for another question
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()
        factory.close()
        stop.set()
        for _ in range(100):  # what a thread has begun goes on for a moment
            gc.collect()  # an exception that came in may be in a circle with what it interrupted
            left = {
                number: path for number, path in host_state.new_descriptors(before).items() if "eventpoll" not in path
            }
            if not left:
                break
            time.sleep(0.05)
        return left, others, made

    left, others, made = by_helper(make)
    assert (left, others) == ({}, [])
    assert made > 100 or starting


def test_a_signal_handler_makes_a_root_in_the_middle() -> None:
    def make() -> int:
        factory = VeryTmpFactory(size="1m")
        inner: list[int] = []

        def handler(*_: object) -> None:
            inner.append(factory(size="2m").usage().total >> 20)
            signal.setitimer(signal.ITIMER_REAL, 0.01)

        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        while len(inner) < 20:
            assert factory().usage().total >> 20 == 1
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert set(inner) == {2}
        factory.close()
        assert helpers() == []
        return len(inner)

    assert by_helper(make) >= 20


def test_a_signal_handler_closes_it_in_the_middle() -> None:
    def make() -> None:
        factory = VeryTmpFactory()
        signal.signal(signal.SIGALRM, lambda *_: factory.close())
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        made: list[VeryTmpRoot] = []

        def go_on() -> None:
            while True:
                made[:] = [factory()]

        with pytest.raises(ValueError, match="closed VeryTmpFactory"):
            go_on()
        (made[0] / "f").touch()
        assert helpers() == []

    for _ in range(5):
        by_helper(make)
