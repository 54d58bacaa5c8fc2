"""The factory's one helper, which is gone when it is not needed."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from support import host_state, kernel
from support.children import HIGH, ChildFailed, in_child
from support.factories import MARK, by_helper, goes, helpers

from verytmp import VeryTmpFactory
from verytmp._confined.owned_fd import KeptFds, owner
from verytmp._mounting import helper as _resident

PR_SET_CHILD_SUBREAPER = 36
CLONE_NEWPID = 0x2000_0000


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
        before = host_state.descriptors()
        said: list[object] = []
        sys.unraisablehook = said.append
        factory = VeryTmpFactory()
        root = factory()
        mark = os.environ[MARK]
        del factory
        assert goes(mark)
        del root
        assert said == []
        assert set(host_state.new_descriptors(before).values()) <= {"anon_inode:[eventpoll]"}

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
factory._helper.use_helper = True  # as where it may not mount
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


def nobody_to_wait_for() -> None:
    for end in (VeryTmpFactory.close, lambda factory: None):
        factory = VeryTmpFactory()
        root = factory()
        assert host_state.children() == []
        pid = os.posix_spawn("/bin/true", ["true"], {})
        assert os.wait()[0] == pid
        with pytest.raises(ChildProcessError):
            os.wait()
        end(factory)
        del factory, root
    assert goes(os.environ[MARK])
    assert host_state.children() == []


@pytest.mark.parametrize("end", ["close", "garbage", "fork"])
def test_a_program_that_closes_all_descriptors_loses_nothing_of_its_own(end: str) -> None:
    """Its files have the numbers then that the helper's socket had."""

    def make() -> None:
        factory = VeryTmpFactory()
        factory().close()
        highest = max(fd for fd in host_state.descriptors() if fd < HIGH)
        os.closerange(3, HIGH)
        while os.open("/", os.O_PATH) < highest:
            pass
        before = host_state.descriptors()
        if end == "fork":
            in_child(assert_none_lost, before)
        if end == "close":
            factory.close()
        del factory
        assert_none_lost(before)

    by_helper(make)


def assert_none_lost(before: dict[int, str]) -> None:
    assert before.items() <= host_state.descriptors().items()


def adopt() -> None:
    kernel.libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@pytest.mark.parametrize("subreaper", [False, True])
def test_it_is_nobody_to_wait_for(subreaper: bool) -> None:
    """A program that waits for all of its children does not wait for it, though it adopts orphans."""

    def make() -> None:
        if subreaper:
            adopt()
        nobody_to_wait_for()
        with VeryTmpFactory() as factory:
            assert ("via a helper process" in repr(factory())) is not subreaper

    by_helper(make)


def test_the_first_process_of_a_container() -> None:
    def make() -> None:
        def first() -> None:
            assert os.getpid() == 1
            kernel.libc.mount(b"proc", b"/proc", b"proc", 0, None)
            kernel.drop_capabilities(kernel.CAP_SYS_ADMIN)
            nobody_to_wait_for()

        kernel.mounting_namespaces()
        assert kernel.libc.mount(None, b"/", None, 0x4000 | 0x4_0000, None) == 0
        assert kernel.libc.unshare(CLONE_NEWPID) == 0
        os.environ[MARK] = uuid.uuid4().hex
        in_child(first)

    in_child(make)


@pytest.mark.slow
def test_adopting_begins_while_helpers_start() -> None:
    """Between the look at that and the helper's start. In many threads, none is left alive or dead."""

    def make() -> None:
        waitid = os.waitid

        def slow(*args: Any) -> Any:  # other threads start and end helpers meanwhile
            found = waitid(*args)
            time.sleep(0.01)
            return found

        os.waitid = slow
        _resident.adopts_orphans = lambda: False
        adopt()
        made: list[str] = []

        def several() -> None:
            for _ in range(5):
                with VeryTmpFactory() as factory:
                    made.append(repr(factory()))

        threads = [threading.Thread(target=several) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(made), host_state.children()) == (20, [])

    by_helper(make)


def test_another_child_is_not_reaped_in_its_place() -> None:
    """The helper's descriptor is another child's, as after a program has closed all that there are."""

    def make() -> None:
        adopt()
        pid = os.posix_spawn("/bin/true", ["true"], {})
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection = _resident.Connection(ours.detach(), KeptFds(owner(os.pidfd_open(pid))), pid + 1)
        connection.end()
        theirs.close()
        assert os.waitpid(pid, 0) == (pid, 0)

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


@pytest.mark.parametrize("kind", ["VeryTmpRoot", "VeryTmpFactory"])
def test_a_root_at_the_interpreters_end(kind: str) -> None:
    """No other thread runs any more then: to wait for one, or for what one holds, takes for ever."""
    code = '''
import gc, os, sys, threading, verytmp
factory = verytmp.VeryTmpFactory()
factory._helper.use_helper = True  # as where it may not mount
make = factory if KIND == "VeryTmpFactory" else verytmp.VeryTmpRoot
(make() / "f").write_text("x")  # nothing can be imported later
started = threading.Event()
elsewhere = {"make": make, "started": started}  # what runs in a module's own globals would keep all that is in them
exec("""
def forever():
    while True:
        make().close()
        started.set()
""", elsewhere)
threading.Thread(target=elsewhere["forever"], daemon=True).start()
started.wait()
class Late:
    def __del__(self):
        assert sys.is_finalizing()
        with make() as root:
            os.write(1, b"made" if (root / "f").write_text("x") else b"")
        factory.close()
gc.set_threshold(0)
late = Late()
late.itself = late
del late  # the last collection finds it
'''
    for _ in range(3):
        command = [sys.executable, "-c", code.replace("KIND", repr(kind))]
        result = subprocess.run(command, capture_output=True, text=True, timeout=20)
        assert (result.returncode, result.stdout, result.stderr) == (0, "made", "")
