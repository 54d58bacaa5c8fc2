"""How a root ends, and what else it lives through: kills, crashes, forks, threads, thousands of its kind."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import host_state
from support.children import in_child, processes_with

from verytmp import VeryTmpRoot

pytestmark = pytest.mark.slow

MIB = 1 << 20
HELD = 200 * MIB

HOLDER = """
import os, signal, sys
from verytmp import VeryTmpRoot

root = VeryTmpRoot()
for number in range(200):
    (root / str(number)).write_bytes(b"x" * (1 << 20))
print("held", flush=True)
sys.stdin.readline()
"""

ENDS = {
    "kill -9": "os.kill(os.getpid(), signal.SIGKILL)",
    "an exception": "raise ValueError('this traceback is expected')",
    "os._exit": "os._exit(1)",
    "a segmentation fault": "import ctypes; ctypes.string_at(0)",
    "sys.exit": "sys.exit()",
    "close": "root.close(); print('closed', flush=True); sys.stdin.readline()",
    "del": "del root; print('closed', flush=True); sys.stdin.readline()",
}


def falls(before: int) -> bool:
    """Whether shared memory is back near *before* within some seconds: others on this machine use it too."""
    for _ in range(200):
        if host_state.shared_memory() < before + HELD // 4:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("how", ENDS)
def test_nothing_is_left(how: str) -> None:
    mark = uuid.uuid4().hex
    before, mounts = host_state.shared_memory(), host_state.mounts()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER + ENDS[how]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"VERYTMP_TEST_MARK": mark},
    )
    assert holder.stdin
    assert holder.stdout
    try:
        assert holder.stdout.readline() == "held\n"
        assert host_state.shared_memory() > before + HELD // 2
        assert processes_with(mark) == [str(holder.pid)]  # the helper is gone by now
        holder.stdin.write("\n")
        holder.stdin.flush()
        if how in ("close", "del"):
            assert holder.stdout.readline() == "closed\n"
        else:
            holder.wait(timeout=60)
        assert falls(before)
    finally:
        holder.kill()
        holder.communicate()
    assert processes_with(mark) == []
    assert host_state.mounts() == mounts


def test_a_child_that_exits_first_takes_nothing(root: VeryTmpRoot) -> None:
    (root / "f").write_text("potatoes")
    ends: list[Callable[[], object]] = [
        lambda: None,
        sys.exit,
        root.close,
        lambda: os.kill(os.getpid(), signal.SIGKILL),
    ]
    for end in ends:
        pid = os.fork()
        if pid == 0:
            try:
                end()
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        assert (root / "f").read_text() == "potatoes"


@pytest.mark.usefixtures("machine")
def test_a_child_that_outlives_its_parent_keeps_it() -> None:
    before = host_state.shared_memory()

    def parent_and_child() -> int:
        root = VeryTmpRoot()
        (root / "f").write_bytes(b"x" * HELD)
        pid = os.fork()
        if pid == 0:
            time.sleep(1)
            os._exit(0 if len((root / "f").read_bytes()) == HELD else 1)
        return pid

    pid = in_child(parent_and_child)
    assert host_state.shared_memory() > before + HELD // 2
    while os.path.exists(f"/proc/{pid}/fd"):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                break
        except OSError:
            break
        time.sleep(0.05)
    assert falls(before)


def test_strings_are_right_after_a_fork(root: VeryTmpRoot) -> None:
    path = root / "f"
    path.write_text("potatoes")
    ours = str(path)
    ending = f"fd/{root.path._tree.fd}/{root.path._tree.token}/f"
    assert ours == f"/proc/{os.getpid()}/{ending}"

    def child() -> tuple[str, str, str, str, bool]:
        return (
            str(path),
            f"/proc/{os.getpid()}/{ending}",
            path.read_text(),
            open(path).read(),
            root / str(path) == path,
        )

    theirs, expected, *read, joined = in_child(child)
    assert theirs == expected != ours
    assert read == ["potatoes", "potatoes"]
    assert joined
    assert str(path) == ours


def test_strings_are_right_in_a_pid_namespace(root: VeryTmpRoot) -> None:
    """The child is process 1 there, but /proc is the old one, whose process 1 is another."""
    from support.kernel import libc, user_namespace

    path = root / "f"
    path.write_text("potatoes")

    def child() -> Any:
        if os.geteuid():
            user_namespace()
        assert libc.unshare(0x2000_0000) == 0  # CLONE_NEWPID
        return in_child(
            lambda: (
                os.getpid(),
                str(path),
                path.read_text(),
                os.path.samefile(path, f"/proc/self/fd/{root.fileno()}/f"),
            )
        )

    pid, string, text, same = in_child(child)
    assert pid == 1
    assert not string.startswith("/proc/1/")
    assert text == "potatoes"
    assert same


def test_a_root_made_in_a_forked_child() -> None:
    with VeryTmpRoot() as ours:

        def child() -> tuple[list[str], list[str]]:
            with VeryTmpRoot() as theirs:
                (theirs / "f").touch()
                return os.listdir(os.fspath(ours)), os.listdir(os.fspath(theirs))

        assert in_child(child) == ([], ["f"])


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("how", ["close", "del", "with"])
def test_thousands_of_roots(how: str) -> None:
    """Hundreds, one after the other: no descriptor, no child, no memory is left of them."""

    def one() -> None:
        if how == "with":
            with VeryTmpRoot() as root:
                (root / "f").touch()
            return
        root = VeryTmpRoot()
        (root / "f").write_text("x")
        if how == "close":
            root.close()

    for _ in range(50):
        one()
    descriptors, memory, shmem = host_state.descriptors(), host_state.resident(), host_state.shared_memory()
    for _ in range(600 if how == "del" else 200):
        one()
    assert host_state.new_descriptors(descriptors) == {}
    assert host_state.children() == []
    assert host_state.resident() < memory + 2 * MIB
    assert falls(shmem)


def test_many_at_once() -> None:
    """As many as a program may need; each is empty, and each its own."""
    roots = [VeryTmpRoot() for _ in range(100)]
    for number, root in enumerate(roots):
        (root / "f").write_text(str(number))
    assert [(root / "f").read_text() for root in roots] == [str(number) for number in range(100)]
    assert len({os.stat(root.fileno()).st_dev for root in roots}) == 100


def test_roots_are_made_while_thirty_threads_work(caplog: pytest.LogCaptureFixture) -> None:
    """Threads that allocate, log and stat, so that some lock is held at any time: nothing hangs, and nothing warns."""
    done = threading.Event()
    trouble: list[BaseException] = []
    shared = VeryTmpRoot()
    (shared / "f").write_text("x")
    logger = logging.getLogger("verytmp.tests")
    logger.propagate = False
    logger.addHandler(logging.NullHandler())

    def work(step: Callable[[], object]) -> None:
        try:
            while not done.wait(0.0005):
                step()
        except BaseException as error:
            trouble.append(error)

    steps: list[Callable[[], object]] = [
        lambda: [bytearray(1000) for _ in range(100)],
        lambda: logger.warning("%s", "words"),
        lambda: (shared / "f").stat(),
    ]
    threads = [threading.Thread(target=work, args=(steps[number % 3],)) for number in range(30)]
    for thread in threads:
        thread.start()
    try:
        start = time.monotonic()
        for _ in range(50):
            with VeryTmpRoot() as root:
                (root / "f").write_text("x")
        assert time.monotonic() - start < 100
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert trouble == []
    assert host_state.children() == []


def test_threads_make_roots_at_the_same_time() -> None:
    trouble: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for _ in range(5):
                with VeryTmpRoot() as root:
                    (root / "f").write_text(str(number))
                    assert (root / "f").read_text() == str(number)
        except BaseException as error:
            trouble.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert trouble == []


def test_no_warning_and_no_word_at_the_interpreters_end() -> None:
    code = """
from verytmp import VeryTmpRoot
root = VeryTmpRoot()
path = root / "f"
path.write_text("x")
class Late:
    def __del__(self, root=VeryTmpRoot()):
        pass
late = Late()
"""
    result = subprocess.run([sys.executable, "-X", "dev", "-W", "error", "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_programs_that_are_started_inherit_nothing(root: VeryTmpRoot) -> None:
    result = subprocess.run(["ls", "-l", "/proc/self/fd"], capture_output=True, text=True, close_fds=False)
    assert "verytmp" not in result.stdout
    assert "eventpoll" not in result.stdout
