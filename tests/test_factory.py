"""The factory: its roots, and its one helper, which is there when it is needed and gone when it is not."""

from __future__ import annotations

import contextlib
import copy
import ctypes
import errno
import gc
import os
import pickle
import random
import resource
import signal
import statistics
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import ground, kernel
from support.children import HIGH, ChildFailed, in_child, processes_with
from support.kernel import Rule

import verytmp
from verytmp import VeryTmpFactory, VeryTmpRoot, VeryTmpUnavailable, _helper, _resident

MARK = "VERYTMP_TEST_MARK"
PR_SET_CHILD_SUBREAPER = 36


def by_helper(function: Callable[..., Any], *args: object) -> Any:
    """What a function returns in a child that may not mount. None of its `helpers` is there afterwards."""
    mark = uuid.uuid4().hex

    def run() -> Any:
        os.environ[MARK] = mark  # of the helpers: this child's own, which /proc shows, stays as it was
        kernel.drop_capabilities(kernel.CAP_SYS_ADMIN)
        return function(*args)

    try:
        return in_child(run)
    finally:
        assert goes(mark)


def helpers() -> list[str]:
    return processes_with(os.environ[MARK])


def goes(mark: str) -> bool:
    deadline = time.monotonic() + 10
    while processes_with(mark):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


# -- roots -------------------------------------------------------------------------------------------------------------


def test_it_is_loaded_when_it_is_asked_for() -> None:
    code = "import sys, verytmp; early = 'verytmp._factory' in sys.modules; verytmp.VeryTmpFactory"
    code += "; print(early, 'verytmp._factory' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False True\n"
    with pytest.raises(AttributeError, match="module 'verytmp' has no attribute 'VeryTmpFactories'"):
        _ = verytmp.VeryTmpFactories


def test_roots_are_made_directly_where_they_can_be() -> None:
    with VeryTmpRoot() as alone, VeryTmpFactory() as factory, factory() as root:
        assert ("directly" in repr(alone)) == ("directly" in repr(root))
        assert ("a resident helper" in repr(root)) == ("child" in repr(alone))


@pytest.mark.parametrize("way", [in_child, by_helper])
def test_roots(way: Callable[..., Any]) -> None:
    def make() -> None:
        with VeryTmpFactory(size="1m", nr_inodes=10) as factory:
            roots = [factory(), factory.root(), factory(size="2m"), factory(size=None, mode=0o750)]
            assert [root.usage().total >> 20 for root in roots[:3]] == [1, 1, 2]
            assert roots[3].usage().total > 16 << 20
            assert [oct(root.path.stat().st_mode & 0o7777) for root in roots] == ["0o700"] * 3 + ["0o750"]
            assert len({root.path.stat().st_dev for root in roots}) == 4
            for root in roots:
                assert type(root) is VeryTmpRoot
                assert root.nosymfollow
                assert not os.get_inheritable(root.fileno())
                assert os.readlink(f"/proc/self/fd/{root.fileno()}") == "/dev/null/verytmp"
                for number in range(9):
                    (root / str(number)).touch()
                with pytest.raises(OSError, match="No space left"):
                    (root / "tenth").touch()

    way(make)


def test_one_helper_makes_them_all() -> None:
    def make() -> tuple[int, int, int, str]:
        factory = VeryTmpFactory()
        before = len(helpers())
        roots = [factory() for _ in range(20)]
        return before, len({root.path.stat().st_dev for root in roots}), len(helpers()), repr(roots[19])

    before, roots, after, how = by_helper(make)
    assert (before, roots, after) == (0, 20, 1)
    assert "made by a resident helper, by fsopen(2)" in how


def test_a_root_that_was_made_beforehand_is_as_new() -> None:
    """From the second request of one kind on, the helper makes the next ones before it is asked to."""

    def make() -> None:
        with VeryTmpFactory(size="1m") as factory:
            roots = []
            for size in (1, 1, 1, 2, 2, 1, 1, 1, 2, 2, 2, 2):
                time.sleep(0.02)
                now = time.time() - 0.01  # the kernel's clock for files goes by ticks
                root = factory(size=f"{size}m")
                assert root.usage().total >> 20 == size
                status = root.path.stat()
                assert min(status.st_mtime, status.st_atime, status.st_ctime) > now
                assert list(root.path.iterdir()) == []
                (root / "f").touch()
                roots.append(root)
            assert len({root.path.stat().st_dev for root in roots}) == len(roots)
            [helper] = helpers()
            paths = [os.readlink(f"/proc/{helper}/fd/{number}") for number in os.listdir(f"/proc/{helper}/fd")]
            assert "/dev/null/verytmp" not in paths  # the next ones are on their way

    by_helper(make)


def test_roots_outlive_their_factory() -> None:
    def make() -> str:
        with VeryTmpFactory() as factory:
            root = factory()
            (root / "f").write_text("potatoes")
        assert factory.closed
        del factory
        assert helpers() == []
        (root / "g").write_text((root / "f").read_text())
        return (root / "g").read_text()

    assert by_helper(make) == "potatoes"


def test_a_refused_option_is_the_roots_affair() -> None:
    def make() -> None:
        with VeryTmpFactory(huge="nonsense") as factory:
            said = set()
            refusing: list[Callable[[], VeryTmpRoot]] = [factory, factory, lambda: VeryTmpRoot(huge="nonsense")]
            for refuse in refusing:
                with pytest.raises(ValueError, match="huge") as refusal:
                    refuse()
                said.add(str(refusal.value))
            assert len(said) == 1
            [helper] = helpers()
            factory(huge=None)
            assert helpers() == [helper]

    by_helper(make)


def test_what_cannot_be_right_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="size must be"):
        VeryTmpFactory(size=1.5)
    with pytest.raises(ValueError, match="size and nr_blocks"):
        VeryTmpFactory(size=1, nr_blocks=1)
    with pytest.raises(TypeError, match="'colour' is no option of a root"):
        VeryTmpFactory(colour="red")
    factory = VeryTmpFactory()
    with pytest.raises(TypeError, match="'colour' is no option of a root"):
        factory(colour="red")
    with pytest.raises(TypeError, match="noexec must be a bool"):
        factory(noexec=1)
    with pytest.raises(TypeError):
        factory("1m")  # type: ignore[call-arg]


def test_it_is_not_copied() -> None:
    factory = VeryTmpFactory(size="1m")
    for call in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be copied or sent"):
            call(factory)
    assert repr(factory) == "<VeryTmpFactory size='1m'>"
    factory.close()
    assert repr(factory) == "<VeryTmpFactory size='1m' closed>"


@pytest.mark.parametrize("way", [in_child, by_helper])
def test_a_closed_factory(way: Callable[..., Any]) -> None:
    def make() -> None:
        used, unused = VeryTmpFactory(), VeryTmpFactory()
        used()
        for factory in (used, unused):
            seen = [factory.closed]
            factory.close()
            factory.close()
            assert [*seen, factory.closed] == [False, True]
            for call in (factory, factory.root, factory.__enter__):
                with pytest.raises(ValueError, match="operation on a closed VeryTmpFactory"):
                    call()

    way(make)


# -- the helper's end --------------------------------------------------------------------------------------------------


def test_it_is_gone_when_close_returns() -> None:
    def make() -> None:
        factory = VeryTmpFactory()
        factory()
        assert len(helpers()) == 1
        factory.close()
        assert helpers() == []

    by_helper(make)


def test_garbage() -> None:
    """Without a collection, and without a word."""

    def make() -> None:
        before = ground.descriptors()
        said: list[object] = []
        sys.unraisablehook = said.append
        factory = VeryTmpFactory()
        root = factory()
        mark = os.environ[MARK]
        del factory
        assert goes(mark)
        del root
        assert said == []
        assert set(ground.new_descriptors(before).values()) <= {"anon_inode:[eventpoll]"}

    by_helper(make)


@pytest.mark.parametrize(
    "end", ["pass", "os._exit(0)", "sys.exit()", "raise SystemExit", "os.execv('/bin/true', ['t'])"]
)
def test_exit(end: str) -> None:
    """It is not waited for, and nothing is said, though the factory lives until the end and a thread is using it."""
    code = """
import ctypes, os, sys, threading
from verytmp import VeryTmpFactory
factory = VeryTmpFactory()
factory._resident.needed = True  # as where it may not mount
root = factory()
def make():
    while True:
        factory().close()
threading.Thread(target=make, daemon=True).start()
"""
    mark = uuid.uuid4().hex
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", code + end]
    start = time.monotonic()
    result = subprocess.run(command, capture_output=True, text=True, env=os.environ | {MARK: mark})
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert time.monotonic() - start < 10
    assert goes(mark)


@pytest.mark.parametrize("fork", ["none", "os.fork", "fork(3)"])
@pytest.mark.parametrize("end", ["kill -9", "close"])
def test_the_owner_ends_first(fork: str, end: str) -> None:
    """Also where a child of the owner's lives on. It may hold a copy of the socket: C's fork does not tell Python."""
    over, hold = os.pipe()

    def make() -> None:
        factory = VeryTmpFactory()
        factory()
        calls: dict[str, Callable[[], int]] = {
            "none": lambda: 1,
            "os.fork": os.fork,
            "fork(3)": ctypes.PyDLL(None).fork,
        }
        if calls[fork]() == 0:
            os.close(hold)
            os.closerange(HIGH, HIGH + 100)  # what `in_child` listens to
            os.read(over, 1)
            os._exit(0)
        if end == "kill -9":
            os.kill(os.getpid(), signal.SIGKILL)
        start = time.monotonic()
        factory.close()
        assert time.monotonic() - start < _resident.END_PATIENCE  # after which it would be killed
        assert helpers() == []

    try:
        if end == "close":
            by_helper(make)
        else:
            with pytest.raises(ChildFailed) as failed:
                by_helper(make)
            assert failed.value.exitcode == -signal.SIGKILL
    finally:
        os.close(hold)
        os.close(over)


@pytest.mark.parametrize("subreaper", [False, True])
def test_it_is_nobody_to_wait_for(subreaper: bool) -> None:
    """A program that waits for all of its children does not wait for it; nor is one left when that adopts orphans."""

    def make() -> None:
        if subreaper:
            kernel.libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        for end in (VeryTmpFactory.close, lambda factory: None):
            factory = VeryTmpFactory()
            root = factory()
            if not subreaper:
                assert ground.children() == []
                pid = os.posix_spawn("/bin/true", ["true"], {})
                assert os.wait()[0] == pid
                with pytest.raises(ChildProcessError):
                    os.wait()
            end(factory)
            del factory, root
        assert goes(os.environ[MARK]) or subreaper  # one that is garbage is reaped when the next one is started
        with VeryTmpFactory() as factory:
            factory()
        assert ground.children() == []

    by_helper(make)


def holdings(helper: str) -> list[str]:
    found = []
    for number in os.listdir(f"/proc/{helper}/fd"):
        try:
            found.append(os.readlink(f"/proc/{helper}/fd/{number}"))
        except FileNotFoundError:  # it was closed meanwhile
            pass
    return found


def holds_little(held: list[str]) -> bool:
    kinds = [path.partition(":")[0] for path in held]
    return set(kinds) <= {"socket", "anon_inode", "pipe", "/"} and kinds.count("pipe") == 1


def test_it_holds_nothing_and_heeds_no_signal() -> None:
    """No file that its owner lets children inherit, no directory; and Ctrl-C at a terminal reaches all there."""

    def make() -> None:
        reader, writer = os.pipe()
        os.set_inheritable(writer, True)
        os.chdir("/dev/shm")
        factory = VeryTmpFactory()
        factory()
        os.close(writer)
        assert os.read(reader, 1) == b""
        [helper] = helpers()
        assert os.readlink(f"/proc/{helper}/cwd") == "/"
        deadline = time.monotonic() + _resident.END_PATIENCE
        while not holds_little(held := holdings(helper)) and time.monotonic() < deadline:
            time.sleep(0.01)  # it answers, and then lets go of what it answered with
        assert holds_little(held), held
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP):
            os.kill(int(helper), number)
        factory()
        assert helpers() == [helper]

    by_helper(make)


# -- the helper's death ------------------------------------------------------------------------------------------------


def killed() -> str:
    [helper] = helpers()
    os.kill(int(helper), signal.SIGKILL)
    assert goes(os.environ[MARK])
    return helper


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


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "step"),
    [
        (Rule("unshare", errno.EPERM), "unshare(CLONE_NEWUSER|CLONE_NEWNS)"),
        (Rule("unshare", 0), "unshare(CLONE_NEWNS)"),
    ],
)
def test_refusals_are_those_of_a_root(rule: Rule, step: str) -> None:
    def make(kind: Callable[[], VeryTmpRoot]) -> None:
        kernel.seccomp(rule)
        kind()

    said = []
    for kind in (VeryTmpRoot, lambda: VeryTmpFactory()()):
        with pytest.raises(VeryTmpUnavailable) as caught:
            by_helper(make, kind)
        said.append((caught.value.step, caught.value.errno, caught.value.reason, caught.value.remedy))
    assert said[0] == said[1]
    assert said[0][0] == step


@pytest.mark.parametrize("name", ["user", "mnt"])
def test_limits(name: str) -> None:
    def make() -> None:
        kernel.limit_namespaces(name, 0)
        VeryTmpFactory()()

    with pytest.raises(VeryTmpUnavailable) as caught:
        in_child(make)
    assert caught.value.errno == errno.ENOSPC


def test_a_hundred_roots_in_one_namespace() -> None:
    """Where each root by a child of its own takes one."""

    def make() -> None:
        kernel.limit_namespaces("user", 1)
        with VeryTmpFactory() as factory:
            roots = [factory() for _ in range(100)]
            assert len({root.path.stat().st_dev for root in roots}) == 100
            with pytest.raises(VeryTmpUnavailable, match="ENOSPC"):
                VeryTmpRoot()

    in_child(make)


def test_a_full_descriptor_table() -> None:
    def make() -> None:
        factory = VeryTmpFactory()
        before = len(ground.descriptors())
        for spare in range(12):
            taken = kernel.fill_descriptor_table(spare)
            with contextlib.suppress(VeryTmpUnavailable):
                factory().close()
            for descriptor in taken:
                os.close(descriptor)
            known = factory(nr_inodes=100 + spare)  # it can go on; of another kind, for which it has to be asked
            [helper] = helpers()
            gc.collect()  # or it would find something to close when the table is full
            taken = kernel.fill_descriptor_table(0)
            with pytest.raises(VeryTmpUnavailable) as caught:
                factory()
            assert caught.value.errno == errno.EMFILE
            for descriptor in taken:
                os.close(descriptor)
            assert helpers() == [helper]
            known.close()
            del known
            if spare % 2:
                killed()
        factory.close()
        assert len(ground.descriptors()) <= before + 1

    by_helper(make)


# -- threads, forks, signals -------------------------------------------------------------------------------------------


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


def test_a_forked_child_has_a_helper_of_its_own() -> None:
    def make() -> None:
        factory = VeryTmpFactory()
        first = factory()
        [parents] = helpers()

        def child() -> tuple[list[str], list[str], int]:
            sockets = [path for path in ground.descriptors().values() if path.startswith("socket:")]
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
        os.kill(int(parents), signal.SIGSTOP)
        roots: list[VeryTmpRoot] = []
        asking = threading.Thread(target=lambda: roots.append(factory()))
        asking.start()
        time.sleep(0.1)

        def child() -> tuple[list[str], int]:
            sockets = [path for path in ground.descriptors().values() if path.startswith("socket:")]
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
        before = ground.descriptors()
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
            left = {number: path for number, path in ground.new_descriptors(before).items() if "eventpoll" not in path}
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


# -- cost --------------------------------------------------------------------------------------------------------------


def resident_memory(process: str) -> int:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * resource.getpagesize()


def test_two_thousand_roots_cost_no_more() -> None:
    def make() -> None:
        factory = VeryTmpFactory(size="1m")
        sizes = []
        for number in range(2000):
            with contextlib.suppress(ValueError):
                factory(huge="nonsense" if number % 10 == 0 else None).close()
            if number in (200, 1999):
                [helper] = helpers()
                sizes.append((resident_memory(helper), resident_memory("self"), len(ground.descriptors())))
                deadline = time.monotonic() + 10
                while len(os.listdir(f"/proc/{helper}/fd")) > 7:  # it may be making some that nobody waits for
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
        (helper_before, owner_before, before), (helper_after, owner_after, after) = sizes
        assert helper_after - helper_before < 1 << 20
        assert owner_after - owner_before < 2 << 20
        assert after == before

    by_helper(make)


def test_the_callers_memory_costs_nothing() -> None:
    """A fork would take 40 ms for each GiB."""

    def make() -> tuple[float, float]:
        medians = []
        heap = bytearray()
        for size in (0, 1 << 30):
            heap = bytearray(b"\1") * size
            factory = VeryTmpFactory(size="1m")
            factory()
            times = []
            for _ in range(101):
                start = time.perf_counter()
                root = factory()
                times.append(time.perf_counter() - start)
                root.close()
            medians.append(statistics.median(times))
        assert len(heap) == 1 << 30
        return medians[0], medians[1]

    without, with_heap = by_helper(make)
    assert with_heap < max(3 * without, 0.005)
