"""The fallback's directories, attacked: forks and kills at the wrong moment, planted names, a /dev/shm that is none."""

from __future__ import annotations

import errno
import os
import signal
import sys
import tarfile
import threading
import time
import warnings
from collections.abc import Callable
from fcntl import LOCK_EX, LOCK_SH, LOCK_UN, flock
from pathlib import Path
from typing import Any

import pytest
from support import ground, kernel, tripwire
from support.archives import data_filter, member, tar
from support.canary import Canary
from support.children import in_child
from support.fallback import refused
from support.kernel import libc

from verytmp import VeryTmpCause, VeryTmpFallbackWarning, VeryTmpRoot, VeryTmpUnavailable, _shm

AT_ONCE = 0.5  # seconds: a fraction of what a lock is waited for
DEAD = "0123456789abcdef"  # a name that a root might have


@pytest.fixture(autouse=True)
def place(host: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /dev/shm of this test's own."""
    monkeypatch.setattr(_shm, "PLACE", str(host))
    return host


@pytest.fixture
def home(place: Path) -> Path:
    return place / f"verytmp-{os.geteuid()}"


def made() -> VeryTmpRoot:
    root = VeryTmpRoot(fallback="shm")
    assert root.kind == "shm"
    return root


def error() -> VeryTmpUnavailable:
    with pytest.raises(VeryTmpUnavailable) as caught:
        made()
    return caught.value


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

    monkeypatch.setattr(_shm, "_told", set())
    monkeypatch.setattr(os, "urandom", remove_and_call)
    refusal = VeryTmpUnavailable(errno.EPERM, "unshare", "it says no")
    said = []
    with pytest.warns(VeryTmpFallbackWarning):
        said.append(outcome(refusal))
    assert said == [[] if times < _shm.ATTEMPTS else f"{_shm.OFTEN}; and before that, unshare: it says no"]
    assert (left, os.listdir(home.parent)) == (0, [])


def outcome(refusal: VeryTmpUnavailable) -> list[str] | str:
    """What is in a new root that is gone again, or why there is none."""
    try:
        tree, end = _shm.directory(refusal, ["mode=700"])
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
        _shm.users_own(str(home))


def test_nobody_sweeps_while_a_root_is_made(home: Path) -> None:
    (home / DEAD).mkdir(parents=True)
    home.chmod(0o700)
    with _shm.users_own(str(home)) as user:
        flock(user, LOCK_SH)
        _shm.sweep(str(home))
        assert (home / DEAD).exists()
    _shm.sweep(str(home))
    assert not (home / DEAD).exists()


def test_a_lock_is_waited_for_and_not_for_ever(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with _shm.users_own(str(home)) as user, _shm.users_own(str(home)) as sweeper:
        flock(sweeper, LOCK_EX)
        timer = threading.Timer(0.05, flock, [sweeper, LOCK_UN])
        timer.start()
        _shm.lock(user, LOCK_SH)
        timer.join()
        flock(user, LOCK_EX)
        monkeypatch.setattr(_shm, "PATIENCE", 0.05)
        with pytest.raises(BlockingIOError):
            _shm.lock(sweeper, LOCK_SH)


def test_what_lies_there_instead_stays(home: Path) -> None:
    (home / DEAD / "f").mkdir(parents=True)
    with pytest.raises(OSError) as caught:
        _shm.discard(str(home / DEAD), os.stat(home))
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
    _shm.discard(str(home / DEAD), os.stat(home / DEAD))
    assert late == []
    assert os.listdir(home) == []


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
        text = (home / name / "root" / "f").read_text()
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


def test_another_process_sweeps_all_the_time(home: Path) -> None:
    """While roots are made, filled, killed: what lives is never taken for dead."""

    def race() -> tuple[int, int]:
        sweeper = os.fork()
        if sweeper == 0:
            while True:
                _shm.sweep(str(home))
                time.sleep(0.0005)
        swept = lost = 0
        try:
            for number in range(20):
                with made() as root:
                    ground.make(root.fileno(), {"d": {"f": b"potatoes", "a\nb": {"-rf": b"", "\udcff": b""}}})
                    pid = os.fork()
                    if pid == 0:
                        made()
                        os.kill(os.getpid(), signal.SIGKILL)
                    os.waitpid(pid, 0)
                    time.sleep(0.001 * (number % 4))
                    lost += ground.look(root.fileno())["d"] != {"f": b"potatoes", "a\nb": {"-rf": b"", "\udcff": b""}}
                    swept += len(os.listdir(home)) == 1
        finally:
            os.kill(sweeper, signal.SIGKILL)
            os.waitpid(sweeper, 0)
        return swept, lost

    swept, lost = refused(race)
    assert lost == 0
    assert swept > 0


# -- names that are planted --------------------------------------------------------------------------------------------


def test_what_is_planted_among_the_roots(home: Path, planted: Canary) -> None:
    """Links are not followed, and what bears no root's name is not removed: whatever the names hold."""

    def sweep() -> tuple[list[str], list[str]]:
        home.mkdir(0o700)
        ground.make(
            str(home),
            {
                DEAD: {"root": {"l": f"-> {planted.vault}", "a\nb": {"\udcff": b"x", "-rf": {"u": "-> ../../../.."}}}},
                DEAD[::-1]: f"-> {planted.vault}",
                "f" * 16: b"a file",
                "notes": {"kept": b"kept"},
                f"{DEAD}\n": {"kept": b"kept"},
                "...": {"kept": b"kept"},
            },
        )
        os.chmod(home / DEAD / "root" / "a\nb", 0)
        with made():
            pass
        return sorted(os.listdir(home)), sorted(os.listdir(home / "notes"))

    there, notes = refused(sweep)
    assert there == sorted([DEAD[::-1], "f" * 16, "notes", f"{DEAD}\n", "..."])
    assert notes == ["kept"]


def test_a_mount_among_the_roots(home: Path) -> None:
    """A directory of another file system is not a root of ours, and nothing is removed there."""

    def sweep() -> list[str]:
        home.mkdir(0o700)
        (home / DEAD / "root").mkdir(parents=True)
        kernel.mounting_namespaces()
        assert libc.mount(b"none", str(home / DEAD).encode(), b"tmpfs", 0, b"") == 0
        (home / DEAD / "precious").mkdir()
        (home / DEAD / "precious" / "f").touch()
        refused_root = in_child(lambda: refused(lambda: made().close()))
        assert refused_root is None
        return os.listdir(home / DEAD / "precious")

    assert in_child(sweep) == ["f"]


def test_a_set_group_id_place(place: Path) -> None:
    """Kubernetes makes a pod's volumes so (fsGroup); each directory in it has the bit too."""

    def use() -> str:
        place.chmod(0o2777)
        with made() as root:
            (root / "f").write_text("potatoes")
            return (root / "f").read_text()

    assert refused(use) == "potatoes"


@pytest.mark.parametrize("mode", [0o777, 0o750, 0o701, 0o1777, 0o500])
def test_a_directory_that_others_may_enter(home: Path, mode: int) -> None:
    def use() -> VeryTmpUnavailable:
        home.mkdir()
        home.chmod(mode)
        return error()

    found = refused(use)
    assert (found.errno, found.cause) == (errno.EPERM, VeryTmpCause.FALLBACK)
    assert f"Look at {home}" in found.remedy


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_a_directory_of_another_user(home: Path) -> None:
    """Who was there first: it is refused, though root could use it; and nothing is put or removed there."""

    def use() -> tuple[VeryTmpUnavailable, list[str]]:
        (home / DEAD).mkdir(parents=True)
        home.chmod(0o700)
        os.chown(home, 65534, 65534)
        return error(), os.listdir(home)

    found, there = refused(use)
    assert found.errno == errno.EPERM
    assert there == [DEAD]


# -- a /dev/shm that is none -------------------------------------------------------------------------------------------


def on_a_mount(place: Path, options: str, flags: int, use: Callable[[], Any]) -> Any:
    """Do it where /dev/shm is a tmpfs with these options."""

    def mounted() -> Any:
        kernel.mounting_namespaces()
        assert libc.mount(b"none", str(place).encode(), b"tmpfs", flags, options.encode()) == 0
        return refused(use)

    return in_child(mounted)


MS_RDONLY, MS_NOEXEC = 1, 8


def test_a_place_that_is_missing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_shm, "PLACE", str(place / "missing"))
    found = refused(error)
    assert (found.errno, found.cause) == (errno.ENOENT, VeryTmpCause.FALLBACK)
    assert "There is no /dev/shm" in found.remedy


def test_a_place_that_can_only_be_read(place: Path) -> None:
    found = on_a_mount(place, "", MS_RDONLY, error)
    assert (found.errno, found.cause) == (errno.EROFS, VeryTmpCause.FALLBACK)
    assert "/dev/shm can only be read" in found.remedy


def test_a_place_with_no_inode_left(place: Path) -> None:
    """For the user's directory, the root's, the root: the remedy names the container's limit, and nothing stays."""
    for inodes in range(1, 4):
        found, left = on_a_mount(place, f"nr_inodes={inodes}", 0, lambda: (error(), os.listdir(place)))
        assert (found.errno, found.cause) == (errno.ENOSPC, VeryTmpCause.FALLBACK)
        assert "--shm-size" in found.remedy
        assert left == []
    assert on_a_mount(place, "nr_inodes=4", 0, lambda: made().close()) is None


def test_a_place_that_is_full(place: Path) -> None:
    """As in Docker, whose /dev/shm has 64 MiB: what was written stays as it was, and goes with the root."""

    def fill() -> tuple[object, ...]:
        root = made()
        for number in range(100):
            try:
                (root / str(number)).write_bytes(b"x" * 100_000)
            except OSError as caught:
                whole = all((root / str(one)).read_bytes() == b"x" * 100_000 for one in range(number))
                root.close()
                return caught.errno, whole, number > 5, os.listdir(place)
        return ()

    assert on_a_mount(place, "size=1m", 0, fill) == (errno.ENOSPC, True, True, [])


def test_a_place_from_which_nothing_is_started(place: Path) -> None:
    """As in Docker: a root in it can be used, and its programs cannot be run."""

    def use() -> tuple[int, str]:
        with made() as root:
            (root / "f").write_text("#!/bin/sh\nexit 0\n")
            (root / "f").chmod(0o700)
            try:
                os.spawnv(os.P_WAIT, root / "f", ["f"])
                os.posix_spawn(root / "f", ["f"], {})
            except PermissionError as caught:
                return caught.errno or 0, (root / "f").read_text()[:9]
        return 0, ""

    assert on_a_mount(place, "", MS_NOEXEC, use) == (errno.EACCES, "#!/bin/sh")


def test_without_proc(home: Path) -> None:
    """A root can be made and removed there too, and dead ones are swept: nothing needs /proc that can do without."""

    def use() -> tuple[str, list[str]]:
        tripwire.unwatch()
        kernel.hide_proc()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", VeryTmpFallbackWarning)
            root = made()
            (home / DEAD / "root" / "d").mkdir(parents=True)
            (root / "d" / "e").mkdir(parents=True)
            (root / "d" / "f").write_text("potatoes")
            text = (root / "d" / ".." / "d" / "f").read_text()
            made().close()
            swept = os.listdir(home)
            root.close()
        assert DEAD not in swept
        return text, os.listdir(home.parent)

    assert in_child(use) == ("potatoes", [])


# -- strings in others' hands ------------------------------------------------------------------------------------------


def test_the_filter_that_a_root_needs_does_not_serve(planted: Canary, host: Path) -> None:
    """It looks at names alone, for in a tmpfs the kernel sees to the links. Here tarfile's own has to see to them."""
    vault = host / "vault"
    vault.mkdir()
    up = "../" * 40
    links = [member("d/l", tarfile.SYMTYPE, ".."), member("d/l/" * 20 + "x", tarfile.SYMTYPE, up + str(vault)[1:])]

    def unpack() -> list[list[str]]:
        left = []
        for how in ("data", data_filter):
            with made() as root, tar(*links, member("x/new")) as archive:
                try:
                    archive.extractall(root.path, filter=how)
                except tarfile.FilterError:
                    pass
            left.append(os.listdir(vault))
        return left

    assert refused(unpack) == [[], ["new"]]


def test_threads_write_while_it_is_closed(home: Path) -> None:
    """Whatever they make meanwhile goes with it, or with the next."""

    def race() -> list[str]:
        for _ in range(10):
            root = made()
            over = threading.Event()

            def write(root: VeryTmpRoot = root, over: threading.Event = over) -> None:
                number = 0
                while not over.is_set():
                    try:
                        (root / f"d{number}" / "e").mkdir(parents=True)
                        (root / f"d{number}" / "f").touch()
                    except (OSError, ValueError):
                        pass
                    number += 1

            threads = [threading.Thread(target=write) for _ in range(3)]
            for thread in threads:
                thread.start()
            time.sleep(0.01)
            root.close()
            over.set()
            for thread in threads:
                thread.join()
        with made():
            pass
        return os.listdir(home.parent)

    assert refused(race) == []
