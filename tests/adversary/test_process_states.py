"""States that a process can be in, and roots in it: not dumpable, another user, in a chroot, under Landlock, ending."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest
from support import host_state, kernel
from support.children import in_child
from support.kernel import libc

from verytmp import VeryTmpRoot, VeryTmpUnavailable
from verytmp._mounting import child

PR_SET_DUMPABLE = 4
NOBODY = 65534


def used(root: VeryTmpRoot) -> str:
    """What becomes of a file in it."""
    (root / "d").mkdir()
    (root / "d" / "f").write_text("potatoes")
    (root / "l").symlink_to("/d")
    return (root / "l" / ".." / "d" / "f").read_text()


@pytest.mark.parametrize("threads", [1, 2])
def test_not_dumpable(threads: int) -> None:
    """/proc shows such a process's files as root's. A child that is a copy could not write its maps."""

    def make() -> tuple[str, str, int]:
        kernel.drop_capabilities(kernel.CAP_SYS_ADMIN)
        libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
        stop = threading.Event()
        for _ in range(threads - 1):
            threading.Thread(target=stop.wait, daemon=True).start()
        with VeryTmpRoot() as root:
            return repr(root), used(root), libc.prctl(3, 0, 0, 0, 0)

    made, text, dumpable = in_child(make)
    assert "via a fresh child" in made or "in /dev/shm" in made
    assert text == "potatoes"
    assert dumpable == 0


@pytest.mark.tmpfs  # which is refused
@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to files that are shown as root's")
def test_not_dumpable_and_no_interpreter() -> None:
    """Then there is a refusal: the copy is not made dumpable, for it holds what its parent hides."""

    def make() -> tuple[str, int]:
        libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
        sys.executable = "/usr/bin/uwsgi"
        try:
            VeryTmpRoot()
        except VeryTmpUnavailable as error:
            return error.step, error.errno or 0
        return "", 0

    assert in_child(make) == ("setgroups", errno.EACCES)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_another_user() -> None:
    """After setuid(2), a root that root made is root's: EACCES, no more; and the new user can have its own."""

    def change() -> tuple[int, bool, str, str]:
        ours = VeryTmpRoot()
        used(ours)
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        number = 0
        try:
            (ours / "d" / "f").read_text()
        except PermissionError as error:
            number = error.errno or 0
        ours.close()
        try:
            with VeryTmpRoot() as root:
                return number, ours.closed, repr(root), used(root)
        except VeryTmpUnavailable as error:  # the interpreter is where only root may go
            return number, ours.closed, error.step, ""

    number, closed, made, text = in_child(change)
    assert number == errno.EACCES
    assert closed
    own = "via a fresh child" in made or "in /dev/shm" in made
    assert (own and text == "potatoes") or made == "posix_spawn"


def test_a_chroot(host: Path, pytestconfig: pytest.Config) -> None:
    """Without /proc: a root goes on, and no new one can be made; the error says what is missing."""
    if os.geteuid() and pytestconfig.getoption("--way") == "shm":
        pytest.skip("an ordinary user needs a namespace to get into a chroot, and is refused one")

    def change() -> tuple[str, str, int, str]:
        root = VeryTmpRoot()
        before = used(root)
        if os.geteuid():
            kernel.user_namespace()
        os.chroot(host)
        os.chdir("/")
        after = (root / "l" / "f").read_text()
        (root / "new").write_text(after)
        (root / "new").rename("d/new")
        listed = host_state.look(root.fileno())
        assert listed["d"] == {"f": b"potatoes", "new": b"potatoes"}
        assert os.listdir("/") == []
        try:
            VeryTmpRoot()
        except VeryTmpUnavailable as error:
            return before, after, error.errno or 0, error.remedy
        return before, after, 0, ""

    before, after, number, remedy = in_child(change)
    assert before == after == "potatoes"
    assert number == errno.ENOENT
    assert "/proc" in remedy


LANDLOCK_CREATE_RULESET, LANDLOCK_RESTRICT_SELF = 444, 446
LANDLOCK_VERSION = 1
LANDLOCK_FILES = (1 << 13) - 1  # every right over files of its first version
PR_SET_NO_NEW_PRIVS = 38


@pytest.mark.skipif(
    libc.syscall(LANDLOCK_CREATE_RULESET, None, 0, LANDLOCK_VERSION) < 0, reason="this kernel has no Landlock"
)
def test_landlock() -> None:
    """A domain that allows no file at all has none in roots either, old or new: EACCES, and nothing is lost."""

    def change() -> tuple[list[int], dict[int, str]]:
        old = VeryTmpRoot()
        used(old)
        before = host_state.descriptors()
        rights = (ctypes.c_uint64 * 1)(LANDLOCK_FILES)
        ruleset = libc.syscall(LANDLOCK_CREATE_RULESET, rights, 8, 0)
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        assert libc.syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0) == 0
        os.close(ruleset)
        numbers = []
        for call in (
            (old / "d" / "f").read_text,
            (old / "new").touch,
            (old / "d" / "f").unlink,
            VeryTmpRoot,
        ):
            try:
                call()
                numbers.append(0)
            except OSError as error:
                numbers.append(error.errno or 0)
        status = (old / "d" / "f").stat()  # which Landlock leaves alone
        assert status.st_size == len("potatoes")
        left = {number for number in range(3, 64) if number not in before and is_open(number)}
        old.close()
        return numbers, dict.fromkeys(left, "")

    numbers, left = in_child(change)
    assert set(numbers) <= {errno.EACCES, errno.EPERM}
    assert left == {}


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


@pytest.mark.parametrize("interpreter", [sys.executable, "/usr/bin/uwsgi"], ids=["python", "embedded"])
def test_a_fork_while_another_thread_makes_roots(interpreter: str) -> None:
    """The children find nothing held, and make roots of their own."""

    def race() -> list[object]:
        sys.executable = interpreter
        warnings.simplefilter("ignore", DeprecationWarning)  # of what this is about
        kernel.drop_capabilities(kernel.CAP_SYS_ADMIN)
        over = threading.Event()
        made = 0
        outcomes: list[object] = []

        def work() -> None:
            nonlocal made
            while not over.is_set():
                VeryTmpRoot().close()
                made += 1

        thread = threading.Thread(target=work)
        thread.start()
        for _ in range(12):
            time.sleep(0.002)
            pid = os.fork()
            if pid == 0:
                signal.alarm(20)
                status = 1
                try:
                    with VeryTmpRoot() as root:
                        status = 0 if used(root) == "potatoes" else 2
                finally:
                    os._exit(status)
            outcomes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        over.set()
        thread.join()
        return [made > 0, set(outcomes)]

    assert in_child(race) == [True, {0}]


def test_a_fork_in_the_moment_of_a_fork() -> None:
    """What one thread's fork must remember does not bind a child that another thread forks meanwhile."""

    def race() -> bool:
        kernel.drop_capabilities(kernel.CAP_SYS_ADMIN)
        child._forking = os.getppid(), threading.get_ident() + 1  # as it is in such a child
        VeryTmpRoot().close()
        return True

    assert in_child(race)


LATE = """
import atexit, threading, time, warnings
from verytmp import VeryTmpFallbackWarning, VeryTmpRoot
warnings.simplefilter("ignore", VeryTmpFallbackWarning)
root = VeryTmpRoot()
path = root / "f"
path.write_bytes(b"x" * 100)
def work():
    while True:
        path.read_bytes()
        path.write_bytes(b"x" * 100)
for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
@atexit.register
def late():
    with VeryTmpRoot() as other:
        (other / "f").write_text("made at the end")
        print((other / "f").read_text(), flush=True)
time.sleep(0.1)
"""


@pytest.mark.slow
def test_the_interpreters_end_with_threads_at_work(root: VeryTmpRoot) -> None:
    """Roots alive, threads in the middle of them, and one more root made when no thread can be started any more."""
    result = subprocess.run([sys.executable, "-X", "dev", "-W", "error", "-c", LATE], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "made at the end\n")
    assert result.stderr == "" or root.kind == "shm"  # where the files are removed before the threads end
