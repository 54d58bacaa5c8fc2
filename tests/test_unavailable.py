"""Each way in which a root can be refused, made real in a child: step, errno and reason come out, and nothing stays."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import unprivileged as unprivileged_tests
from support import host_state, kernel
from support.children import in_child
from support.kernel import Rule

from verytmp import VeryTmpCause, VeryTmpFactory, VeryTmpRoot, VeryTmpUnavailable
from verytmp._mounting import child, child_process, namespaces

NEW_API = ("fsopen", "fsconfig", "fsmount")
USER_AND_MOUNT = "unshare(CLONE_NEWUSER|CLONE_NEWNS)"


def refused(*set_up: Callable[[], object], threads: int = 1) -> VeryTmpUnavailable:
    """The error of making a root in a child that was set up so, and proof that nothing is left there."""

    def make() -> Any:
        for step in set_up:
            step()
        stop = threading.Event()
        for _ in range(threads - 1):
            threading.Thread(target=stop.wait, daemon=True).start()
        proc = os.path.exists("/proc/self/fd")
        before = host_state.descriptors() if proc else {}
        mounts = host_state.mounts() if proc else []
        try:
            VeryTmpRoot()
        except VeryTmpUnavailable as error:
            stop.set()
            # What Python itself opens once, as ctypes' library, comes with the first call and stays.
            left = (
                {path for number, path in host_state.descriptors().items() if number not in before} if proc else set()
            )
            grown = [path for path in left if not path.startswith(("/lib", "/usr"))]
            try:
                os.waitpid(-1, os.WNOHANG)
                grown.append("a child")
            except ChildProcessError:
                pass
            grown += [line for line in host_state.mounts() if line not in mounts] if proc else []
            return error, grown
        return "a root was made", []

    error, left = in_child(make)
    assert isinstance(error, VeryTmpUnavailable), error
    assert left == []
    return error


def unprivileged() -> None:
    """Nobody's capabilities, whoever runs the tests. (Root keeps its number, and may map it: it has CAP_SETFCAP.)"""
    kernel.drop_capabilities(kernel.CAP_SYS_ADMIN)


def seccomp(*rules: Rule) -> Callable[[], None]:
    return lambda: kernel.seccomp(*rules)


WAYS = pytest.mark.parametrize("threads", [1, 3], ids=["forked", "fresh"])


@WAYS
@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS, errno.EACCES, errno.EINVAL, errno.ENOSPC, errno.EUSERS])
def test_unshare_is_refused(number: int, threads: int) -> None:
    error = refused(unprivileged, seccomp(Rule("unshare", number)), threads=threads)
    assert (error.step, error.errno) == (USER_AND_MOUNT, number)
    assert os.strerror(number) in str(error)
    assert errno.errorcode[number] in str(error)


@WAYS
def test_unshare_kills(threads: int) -> None:
    error = refused(unprivileged, seccomp(Rule("unshare", 0)), threads=threads)
    assert (error.step, error.errno) == ("unshare(CLONE_NEWNS)", errno.ENOSYS)
    assert "a seccomp filter killed the one-shot child (SIGSYS)" in error.reason


@WAYS
@pytest.mark.parametrize("call", NEW_API)
def test_the_mount_api_kills(call: str, threads: int) -> None:
    error = refused(seccomp(Rule(call, 0)), threads=threads)
    assert error.step.startswith(call)
    assert "SIGSYS" in error.reason


def test_nothing_may_mount() -> None:
    everything = [Rule(call, errno.EPERM) for call in (*NEW_API, "mount", "umount2")]
    error = refused(seccomp(*everything))
    assert (error.step, error.errno) == ("mount(MS_PRIVATE)", errno.EPERM)
    assert "before that, fsopen: Operation not permitted" in error.reason


@pytest.mark.parametrize("call", ["fsconfig", "fsmount"])
@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_a_step_of_the_mount_is_refused(call: str, number: int) -> None:
    error = refused(seccomp(Rule(call, number)))
    assert error.errno == number
    assert error.step.startswith(call)


@WAYS
def test_no_user_namespaces_left(threads: int) -> None:
    error = refused(lambda: kernel.limit_namespaces("user", 0), threads=threads)
    assert (error.step, error.errno) == (USER_AND_MOUNT, errno.ENOSPC)
    assert "max_user_namespaces" in error.remedy


def test_no_mount_namespaces_left() -> None:
    error = refused(lambda: kernel.limit_namespaces("mnt", 0))
    assert (error.step, error.errno) == (USER_AND_MOUNT, errno.ENOSPC)


def no_mounts_even_directly() -> None:
    kernel.mounting_namespaces()
    kernel.most_namespaces("mnt", 0)


@pytest.mark.parametrize(
    "limit",
    [
        partial(kernel.limit_namespaces, "user", 0),
        partial(kernel.limit_namespaces, "mnt", 0),
        no_mounts_even_directly,
    ],
    ids=["user", "mnt", "directly"],
)
def test_what_none_is_allowed_of_is_not_waited_for(limit: Callable[[], None]) -> None:
    def impatient() -> None:
        namespaces.NAMESPACE_PATIENCE = 20.0  # in the forked child, too
        limit()

    start = time.monotonic()
    assert refused(impatient).errno == errno.ENOSPC
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("threads", [1, 3], ids=["forked", "fresh"])
def test_a_limit_that_is_reached_is_waited_for(threads: int) -> None:
    """Namespaces come back late."""

    def reach() -> None:
        kernel.limit_namespaces("mnt", 2)  # a child's own, and a root's
        kept.append(VeryTmpRoot())

    kept: list[VeryTmpRoot] = []
    start = time.monotonic()
    assert refused(reach, threads=threads).errno == errno.ENOSPC
    assert time.monotonic() - start > 0.2


def test_a_namespace_that_is_being_freed_is_waited_for() -> None:
    """With room for one root, one after the other can be made, though the kernel frees a namespace late."""

    def make() -> int:
        kernel.limit_namespaces("mnt", 2)  # a child's own, and a root's
        for _ in range(10):
            VeryTmpRoot().close()
        with VeryTmpRoot(), pytest.raises(VeryTmpUnavailable) as caught:
            VeryTmpRoot()
        return caught.value.errno or 0

    assert in_child(make) == errno.ENOSPC


@WAYS
@pytest.mark.parametrize("room", range(8))
def test_the_descriptor_table_is_full(room: int, threads: int) -> None:
    """With room for so many descriptors and no more; the modules are there."""

    def fill() -> None:
        VeryTmpRoot().close()
        taken.extend(kernel.fill_descriptor_table(room))

    taken: list[int] = []

    def make() -> tuple[int, str] | str:
        unprivileged()
        stop = threading.Event()
        for _ in range(threads - 1):
            threading.Thread(target=stop.wait, daemon=True).start()
        fill()
        before = len(os.listdir("/proc/self/fd")) if room else 0
        try:
            VeryTmpRoot().close()
        except VeryTmpUnavailable as error:
            if room:
                assert len(os.listdir("/proc/self/fd")) == before
            return error.errno or 0, error.remedy
        return "made"

    result = in_child(make)
    if result != "made":
        assert result[0] == errno.EMFILE
        assert "ulimit -n" in result[1]
    assert result != "made" if room == 0 else result == "made" if room >= 5 else True


def test_no_proc() -> None:
    error = refused(kernel.hide_proc)
    assert (error.step, error.errno) == ("/proc/thread-self/status", errno.ENOENT)
    assert "/proc" in error.remedy


@pytest.mark.skipif(os.geteuid() == 0, reason="root is beyond RLIMIT_NPROC")
def test_no_more_processes() -> None:
    error = refused(lambda: resource.setrlimit(resource.RLIMIT_NPROC, (1, 1)))
    assert (error.step, error.errno) == ("fork", errno.EAGAIN)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_the_helper_is_killed_midway(number: signal.Signals) -> None:
    """After its namespaces are made, in the middle of mounting."""

    def die_in_the_mount() -> None:
        unprivileged()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

        def die(*_: object, **__: object) -> Any:
            os.kill(os.getpid(), number)
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            time.sleep(60)

        child_process.OPERATIONS["tmpfs"] = die  # which the direct way does not look up

    error = refused(die_in_the_mount)
    assert error.errno == errno.ECONNRESET
    assert error.reason == f"the one-shot child was killed by {number.name}"


def test_the_helper_hangs() -> None:
    def hang() -> None:
        unprivileged()
        child.ANSWER_PATIENCE = 0.2
        child_process.OPERATIONS["tmpfs"] = lambda *_, **__: time.sleep(60)  # type: ignore[assignment]

    assert refused(hang).errno == errno.ETIMEDOUT


def test_an_interpreter_that_is_none(host: Path) -> None:
    """A program that is there, and cannot be started. (Of one that is gone, a copy of the process does without.)"""

    def no_python() -> None:
        unprivileged()
        sys.executable = str(host / "python3")
        Path(sys.executable).touch(0o600)

    error = refused(no_python, threads=2)
    assert (error.step, error.errno) == ("posix_spawn", errno.EACCES)


def test_an_interpreter_that_says_nothing(host: Path) -> None:
    def false_python() -> None:
        unprivileged()
        sys.executable = str(host / "python3")
        shutil.copy("/bin/false", sys.executable)

    error = refused(false_python, threads=2)
    assert error.reason == "the one-shot child ended with status 1"


def test_without_an_interpreter_it_forks() -> None:
    """Embedded and frozen Pythons have threads and no program to start afresh."""

    def make() -> str:
        unprivileged()
        sys.executable = "/usr/bin/uwsgi"
        stop = threading.Event()
        thread = threading.Thread(target=stop.wait)
        thread.start()
        made = repr(VeryTmpRoot())
        stop.set()
        thread.join()
        return made

    assert "child" in in_child(make)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
@pytest.mark.parametrize("change", [(65534, 65534), (65534, 0)], ids=["user and group", "user"])
def test_a_root_of_whom_root_has_become_for_a_while(change: tuple[int, int]) -> None:
    """As servers do by seteuid(2). exec(2) then makes the fresh child's files in /proc root's."""

    def make() -> list[tuple[int, bytes]]:
        kernel.libc.unshare(kernel.CLONE_NEWNS)
        unprivileged_tests.mount("none", "/", 0x4000 | 0x4_0000)
        unprivileged_tests.open_up([Path(path).resolve() for path in {sys.base_prefix, sys.prefix, os.getcwd()}])
        os.chdir("/")
        with VeryTmpFactory() as factory:
            os.setegid(change[1])
            os.seteuid(change[0])
            made = []
            for root in (VeryTmpRoot(), factory()):
                (root / "f").write_bytes(b"hello")
                made.append((root.path.stat().st_uid, (root / "f").read_bytes()))
        return made

    assert in_child(make) == [(65534, b"hello")] * 2


def test_a_forked_child_whose_files_in_proc_are_root_s() -> None:
    def hide() -> None:
        if os.geteuid() == 0:
            os.setresuid(65534, 65534, 65534)
        sys.executable = "/usr/bin/uwsgi"
        kernel.libc.prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE

    error = refused(hide)
    assert (error.step, error.errno, error.cause) == ("setgroups", errno.EACCES, VeryTmpCause.PROC)
    assert error.evidence == ("owner of /proc/self/uid_map: 0", "euid: 65534")
    assert "set sys.executable" in error.remedy


def test_errors_without_a_filter_are_not_asked_twice() -> None:
    """A refusal that a child would only repeat comes at once, from the direct way."""

    def make() -> tuple[int, str]:
        VeryTmpRoot().close()
        resource.setrlimit(resource.RLIMIT_FSIZE, resource.getrlimit(resource.RLIMIT_FSIZE))
        taken = kernel.fill_descriptor_table(1)
        try:
            VeryTmpRoot()
        except VeryTmpUnavailable as error:
            for descriptor in taken:
                os.close(descriptor)
            return error.errno or 0, error.step
        return 0, ""

    number, _ = in_child(make)
    assert number == errno.EMFILE
