"""The fallback's directories, attacked: forks, kills, and others at the same time."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from fcntl import LOCK_EX, LOCK_SH, LOCK_UN, flock
from pathlib import Path
from typing import Any

import pytest
from support import host_state
from support.children import in_child
from support.fallback import DEAD, made, refused
from support.kernel import libc

from verytmp import VeryTmpFallbackWarning, VeryTmpUnavailable, _shm
from verytmp._mounting.spec import MountSpec

AT_ONCE = 0.5  # seconds: a fraction of what a lock is waited for


# -- forks, kills, others at the same time -----------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["urandom", "listdir"])  # the user's directory is locked: to make a root, to sweep
def test_a_child_that_is_forked_while_a_lock_is_held(home: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """It has a copy of the lock, and must not keep the user's processes from making roots or sweeping, all its life."""
    pids: list[int] = []
    real: Callable[..., Any] = getattr(os, moment)

    def fork_and_call(*args: Any) -> Any:
        if not pids and sys._getframe(1).f_globals is vars(_shm):
            pids.append(os.fork())
            if pids[0] == 0:
                signal.alarm(20)
                signal.pause()
        return real(*args)

    def race() -> tuple[float, bool, list[str]]:
        with made():  # so that the user's directory stays the same
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(os, moment, fork_and_call)
                made().close()
            (home / DEAD).mkdir()
            start = time.monotonic()
            with made():
                taken, there = time.monotonic() - start, (home / DEAD).exists()
        os.kill(pids[0], signal.SIGKILL)
        os.waitpid(pids[0], 0)
        return taken, there, os.listdir(home.parent)

    taken, there, left = refused(race)
    assert taken < AT_ONCE
    assert not there
    assert left == []


@pytest.mark.parametrize("times", [1, 5])
def test_the_last_other_root_goes_meanwhile(home: Path, times: int) -> None:
    """And takes the user's directory along, between any two calls: it is made again."""
    left = times
    real = os.mkdir

    def mkdir_and_remove(path: str, *args: Any, **keywords: Any) -> None:
        nonlocal left
        try:
            real(path, *args, **keywords)
        finally:
            if path == str(home) and left:
                left -= 1
                os.rmdir(home)

    def race() -> tuple[int, list[str]]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "mkdir", mkdir_and_remove)
            with made():
                pass
        return left, os.listdir(home.parent)

    assert refused(race) == (0, [])


@pytest.mark.parametrize("times", [1, _shm.ATTEMPTS])
def test_it_goes_before_there_is_anything_in_it(home: Path, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    left = times
    real = os.urandom

    def remove_and_call(count: int) -> bytes:
        nonlocal left
        if left and home.exists():
            left -= 1
            home.rmdir()
        return real(count)

    monkeypatch.setattr(_shm, "_warned", set())
    monkeypatch.setattr(os, "urandom", remove_and_call)
    refusal = VeryTmpUnavailable(errno.EPERM, "unshare", "it says no")
    said = []
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        said.append(outcome(refusal))
    assert [warning.category for warning in warned] == [VeryTmpFallbackWarning] * (times < _shm.ATTEMPTS)
    assert said == [[] if times < _shm.ATTEMPTS else f"{_shm.OFTEN}; before that, unshare: it says no"]
    assert (left, os.listdir(home.parent)) == (0, [])


def outcome(refusal: VeryTmpUnavailable) -> list[str] | str:
    """What is in a new root that is gone again, or why there is none."""
    try:
        tree, end = _shm.directory(refusal, MountSpec())
    except VeryTmpUnavailable as error:
        return error.reason
    names = tree.listdir("")
    end()
    return names


def test_it_goes_as_soon_as_it_is_made(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.mkdir

    def mkdir_and_remove(path: str, mode: int) -> None:
        real(path, mode)
        os.rmdir(path)

    monkeypatch.setattr(os, "mkdir", mkdir_and_remove)
    with pytest.raises(BlockingIOError, match=_shm.OFTEN):
        _shm.open_user_dir(str(home))


def test_nobody_sweeps_while_a_root_is_made(home: Path) -> None:
    (home / DEAD).mkdir(parents=True)
    home.chmod(0o700)
    with _shm.open_user_dir(str(home)) as user:
        flock(user, LOCK_SH)
        _shm.remove_stale(str(home))
        assert (home / DEAD).exists()
    _shm.remove_stale(str(home))
    assert not (home / DEAD).exists()


def test_a_lock_is_waited_for_and_not_for_ever(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with _shm.open_user_dir(str(home)) as user, _shm.open_user_dir(str(home)) as sweeper:
        flock(sweeper, LOCK_EX)
        timer = threading.Timer(0.05, flock, [sweeper, LOCK_UN])
        timer.start()
        _shm.lock(user, LOCK_SH)
        timer.join()
        flock(user, LOCK_EX)
        monkeypatch.setattr(_shm, "PATIENCE", 0.05)
        with pytest.raises(BlockingIOError):
            _shm.lock(sweeper, LOCK_SH)


def identity_of(directory: Path) -> tuple[int, int]:
    status = directory.stat()
    return status.st_dev, status.st_ino


def test_what_lies_there_instead_stays(home: Path) -> None:
    (home / DEAD / "f").mkdir(parents=True)
    with pytest.raises(OSError) as caught:
        _shm.remove_root_dir(str(home / DEAD), identity_of(home))
    assert caught.value.errno == errno.ESTALE
    assert (home / DEAD / "f").exists()


def test_something_is_written_while_it_is_removed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.rmdir
    late = [home / DEAD / name for name in "abc"]

    def write_and_rmdir(path: str, **keywords: Any) -> None:
        if path == str(home / DEAD) and late:
            late.pop().touch()
        real(path, **keywords)

    (home / DEAD).mkdir(parents=True)
    monkeypatch.setattr(os, "rmdir", write_and_rmdir)
    _shm.remove_root_dir(str(home / DEAD), identity_of(home / DEAD))
    assert late == []
    assert os.listdir(home) == []


@pytest.mark.parametrize("mode", [0o700, 0])
def test_what_a_killed_process_has_left_is_removed_level_by_level(home: Path, mode: int) -> None:
    """However deep it is, each level costs the same. 900 of them took 27 s."""
    costs = []
    for count in (300, 600, 900):
        (home / DEAD).mkdir(parents=True)
        home.chmod(0o700)
        here = os.open(home / DEAD, os.O_PATH)
        for level in range(count):
            os.mkdir("d", dir_fd=here)
            os.close(os.open("f", os.O_CREAT, dir_fd=here))
            below = os.open("d", os.O_PATH, dir_fd=here)
            if level:
                os.chmod(f"/proc/self/fd/{here}", mode)
            os.close(here)
            here = below
        os.close(here)

        def sweep() -> int:
            events: list[str] = []
            sys.addaudithook(lambda event, _: events.append(event))
            _shm.remove_stale(str(home))
            return len(events)

        costs.append(in_child(sweep))
        assert os.listdir(home) == []
    less, some, more = costs
    assert more - some == some - less
    assert some - less < 300 * 40


def test_a_parent_is_killed_and_its_forked_child_goes_on(home: Path) -> None:
    """The child has the lock too: nobody sweeps what it uses, and somebody does when it has ended."""

    def live() -> tuple[object, ...]:
        ready, other = os.pipe()
        parent = os.fork()
        if parent == 0:
            root = made()
            (root / "f").write_text("potatoes")
            pid = os.fork()
            if pid == 0:
                os.write(other, f"{os.getpid()} ".encode())
                while os.getppid() != 1 and not (root / "go").exists():
                    time.sleep(0.001)
                signal.alarm(20)
                signal.pause()
            signal.pause()
        child = int(os.read(ready, 100))
        os.kill(parent, signal.SIGKILL)
        os.waitpid(parent, 0)
        with made():
            pass
        [name] = os.listdir(home)
        [token] = os.listdir(home / name)
        text = (home / name / token / "f").read_text()
        end = os.pidfd_open(child)
        os.kill(child, signal.SIGKILL)
        os.waitid(os.P_PIDFD, end, os.WEXITED)
        with made():
            pass
        return text, os.path.exists(home)

    def adopt() -> tuple[object, ...]:
        libc.prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
        return live()

    assert refused(adopt) == ("potatoes", False)


@pytest.mark.slow
def test_processes_that_start_and_end_at_the_same_time(home: Path) -> None:
    """Each makes the user's directory and removes it again: nobody is refused a root, or loses one to the others."""

    def race() -> tuple[list[int], list[str]]:
        held, start = os.pipe()
        pids = []
        for number in range(6):
            pid = os.fork()
            if pid == 0:
                os.close(start)
                os.read(held, 1)
                status = 1
                try:
                    for _ in range(12):
                        with made() as root:
                            (root / "f").write_text(str(number))
                            assert (root / "f").read_text() == str(number)
                    status = 0
                finally:
                    os._exit(status)
            pids.append(pid)
        os.close(held)
        os.close(start)
        return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids], os.listdir(home.parent)

    assert refused(race) == ([0] * 6, [])


@pytest.mark.slow
def test_another_process_sweeps_all_the_time(home: Path) -> None:
    """While roots are made, filled, killed: what lives is never taken for dead."""

    def race() -> tuple[int, int]:
        sweeper = os.fork()
        if sweeper == 0:
            while True:
                _shm.remove_stale(str(home))
                time.sleep(0.0005)
        swept = lost = 0
        try:
            for number in range(20):
                with made() as root:
                    host_state.make(root.fileno(), {"d": {"f": b"potatoes", "a\nb": {"-rf": b"", "\udcff": b""}}})
                    pid = os.fork()
                    if pid == 0:
                        made()
                        os.kill(os.getpid(), signal.SIGKILL)
                    os.waitpid(pid, 0)
                    time.sleep(0.001 * (number % 4))
                    lost += host_state.look(root.fileno())["d"] != {
                        "f": b"potatoes",
                        "a\nb": {"-rf": b"", "\udcff": b""},
                    }
                    swept += len(os.listdir(home)) == 1
        finally:
            os.kill(sweeper, signal.SIGKILL)
            os.waitpid(sweeper, 0)
        return swept, lost

    swept, lost = refused(race)
    assert lost == 0
    assert swept > 0
