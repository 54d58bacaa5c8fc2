"""The fallback's directories, attacked: planted names, a /dev/shm that is none, strings in others' hands."""

from __future__ import annotations

import errno
import os
import tarfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import host_state, kernel, tripwire
from support.archives import data_filter, member, needs_filters, tar
from support.canary import Canary
from support.children import in_child
from support.fallback import DEAD, error, made, refused
from support.kernel import libc

from verytmp import VeryTmpCause, VeryTmpFallbackWarning, VeryTmpRoot, VeryTmpUnavailable, _shm

# -- names that are planted --------------------------------------------------------------------------------------------


def test_what_is_planted_among_the_roots(home: Path, planted: Canary) -> None:
    """Links are not followed, and what bears no root's name is not removed: whatever the names hold."""

    def sweep() -> tuple[list[str], list[str]]:
        home.mkdir(0o700)
        host_state.make(
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


@needs_filters
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


@pytest.mark.slow
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
