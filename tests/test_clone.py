"""Clones of frozen roots: by overlayfs, and by copying where that cannot be."""

from __future__ import annotations

import errno
import gc
import itertools
import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from support import clones, features, host_state, kernel
from support.children import in_child
from support.kernel import Rule
from support.makers import WAYS, made

from verytmp import VeryTmpFactory, VeryTmpRoot, VeryTmpUnavailable, _clone, _syscalls
from verytmp._confined.tree import Tree
from verytmp._mounting import changer
from verytmp._mounting.protocol import Refused

Make = Callable[..., VeryTmpRoot]

pytestmark = pytest.mark.tmpfs

MIB = 1 << 20
KIND = features.clone_kind()  # of the clones on this kernel
TREE: host_state.Tree = {"f": b"potatoes", "g": b"", "d": {"f": b"d/f", "e": {}}, "link": "-> f", "up": "-> /d/f"}


def frozen(make: Make = VeryTmpRoot, tree: host_state.Tree = TREE, **options: Any) -> VeryTmpRoot:
    root = make(**options)
    host_state.make(root.fileno(), tree)
    root.freeze()
    return root


@pytest.fixture
def template() -> Iterator[VeryTmpRoot]:
    with frozen() as root:
        yield root


def tree_of(root: VeryTmpRoot) -> Any:
    inside: Any = root
    return inside._tree


# -- what a clone is ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_it_begins_as_the_frozen_root_and_goes_its_own_way(way: str) -> None:
    def body(make: Make) -> None:
        with frozen(make) as root, root.clone() as one, root.clone() as two:
            assert ("as a clone by overlayfs" in repr(one)) == (KIND == "overlay")
            assert (one.kind, one.frozen) == (KIND, False)
            assert host_state.look(one.fileno()) == TREE
            (one / "f").write_text("changed")
            (one / "d" / "e" / "new").touch()
            (one / "g").unlink()
            (one / "link").unlink()
            (one / "link").mkdir()
            changed = {**TREE, "f": b"changed", "d": {"f": b"d/f", "e": {"new": b""}}, "link": {}}
            del changed["g"]
            assert host_state.look(one.fileno()) == changed
            assert host_state.look(two.fileno()) == TREE
            assert host_state.look(root.fileno()) == TREE
            assert (one / "up").read_bytes() == b"d/f"
            one.clear()
            assert host_state.look(one.fileno()) == {}
            root.close()
            assert host_state.look(two.fileno()) == TREE
            assert str(two.path) != str(one.path)

    made(way, body)


@pytest.mark.parametrize("way", WAYS)
def test_a_clone_of_a_clone(way: str) -> None:
    """Each is one overlay of more layers, and goes on when those that it comes from are closed."""

    def body(make: Make) -> None:
        root = frozen(make)
        expected = dict(TREE)
        for number in range(12):
            clone = root.clone()
            assert clone.kind == KIND
            root.close()
            (clone / str(number)).write_text("new")
            (clone / "f").write_text(str(number))
            (clone / "d" / str(number)).mkdir()
            expected = {**expected, str(number): b"new", "f": str(number).encode()}
            expected["d"] = {**expected["d"], str(number): {}}  # type: ignore[dict-item]
            if number:
                (clone / str(number - 1)).unlink()
                del expected[str(number - 1)]
            root = clone
            root.freeze()
            assert root.frozen
            with pytest.raises(OSError) as caught:
                (root / "f").touch()
            assert caught.value.errno == errno.EROFS
            assert host_state.look(root.fileno()) == expected
        assert KIND == "tmpfs" or len(tree_of(root).lower) == 12
        root.close()

    made(way, body)


@pytest.mark.needs("clone")
def test_it_has_limits_of_its_own(template: VeryTmpRoot) -> None:
    with template.clone(size="64k", nr_inodes=20) as clone:
        assert clone.usage() == (65536, 0, 65536)
        assert clone.usage().inodes == (20, 1, 19)
        (clone / "new").write_bytes(bytes(8192))
        assert clone.usage().used == 8192
        with pytest.raises(OSError) as caught:
            (clone / "new").write_bytes(bytes(MIB))
        assert caught.value.errno == errno.ENOSPC
        clone.resize(size="2m")
        (clone / "new").write_bytes(bytes(MIB))
        for number in range(30):
            try:
                (clone / f"{number}").touch()
            except OSError as error:
                refused = error.errno
                break
        assert refused == errno.ENOSPC


@pytest.mark.needs("clone")
@pytest.mark.parametrize("way", ["here", "child"])
@pytest.mark.parametrize("inodes", [1, 2, 3])
def test_as_few_inodes_as_in_any_root(inodes: int, way: str) -> None:
    """What overlayfs takes is added, also what it tries and removes again."""

    def body(make: Make) -> None:
        with frozen(make) as root, root.clone(nr_inodes=inodes) as clone, make(nr_inodes=inodes) as plain:
            assert clone.kind == "overlay"
            for place in (clone, plain):
                assert place.usage().inodes == (inodes, 1, inodes - 1)
                for number in range(1, inodes):
                    (place / f"new {number}").touch()
                with pytest.raises(OSError) as caught:
                    (place / "one more").touch()
                assert caught.value.errno == errno.ENOSPC
                place.resize(nr_inodes=inodes + 1)
                (place / "one more").touch()

    made(way, body)


LARGE = 256 * MIB  # other programs on this machine may well make and remove some dozens of MiB meanwhile


@pytest.mark.needs("clone")
def test_the_frozen_memory_is_shared_and_freed_after_the_last(machine: None) -> None:
    """By the whole machine's figure, which another program may change meanwhile: not three times, though."""
    for attempt in range(3):
        try:
            return share_and_free()
        except AssertionError:
            if attempt == 2:
                raise
    return None


def share_and_free() -> None:
    with VeryTmpRoot() as root:
        (root / "large").write_bytes(bytes(LARGE))
        root.freeze()
        before = host_state.shared_memory()
        clones = [root.clone() for _ in range(20)]
        assert host_state.shared_memory() - before < LARGE // 2
        assert all(clone.usage().used == 0 for clone in clones)
    for clone in clones[1:]:
        clone.close()
    assert len((clones[0] / "large").read_bytes()) == LARGE
    assert before - host_state.shared_memory() < LARGE // 2
    clones[0].close()
    assert before - host_state.shared_memory() > LARGE // 2


def test_each_costs_two_descriptors(template: VeryTmpRoot) -> None:
    template.clone().close()  # the frozen root keeps one more from now on
    before = host_state.descriptors()
    clones = [template.clone() for _ in range(10)]
    assert len(host_state.new_descriptors(before)) == 20
    for clone in clones:
        clone.close()
    assert host_state.new_descriptors(before) == {}


@pytest.mark.parametrize("way", WAYS)
def test_a_clone_without_a_name_costs_two_as_well(way: str) -> None:
    def body(make: Make) -> int:
        with frozen(make) as root, root.clone(at=False):  # all copies share a user namespace's descriptor
            before = host_state.descriptors()
            with root.clone(at=False) as clone:
                assert clone.kind == KIND
                return len(host_state.new_descriptors(before))

    assert made(way, body) == 2


def test_nothing_is_kept_when_all_are_gone() -> None:
    before = host_state.descriptors()
    root = frozen()
    path = root.clone().path / "f"
    with root.clone() as clone:
        clone.freeze()
        again = clone.clone()
    del root, clone
    assert path.read_bytes() == (again / "f").read_bytes() == b"potatoes"
    del path, again
    gc.collect()
    assert host_state.new_descriptors(before) == {}


@pytest.mark.needs("user.* attributes")
@pytest.mark.parametrize("mode", [0o700, 0o750, 0o500, 0o1777])
def test_the_root_directory_is_as_the_frozen_one(mode: int) -> None:
    with VeryTmpRoot(mode=0o700) as root:
        os.setxattr(f"/proc/self/fd/{root.fileno()}", "user.colour", b"red")
        (root / "f").touch()
        root.path.chmod(mode)
        os.utime(root, (1, 2))
        root.freeze()
        for _ in range(3):
            with root.clone() as clone:
                status = clone.path.stat()
                assert stat.S_IMODE(status.st_mode) == mode
                assert (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid())
                assert status.st_mtime == 2
                assert os.getxattr(f"/proc/self/fd/{clone.fileno()}", "user.colour") == b"red"
                assert not [name for name in os.listxattr(f"/proc/self/fd/{clone.fileno()}") if "overlay" in name]
            with root.clone(mode=0o711) as clone:
                assert stat.S_IMODE(clone.path.stat().st_mode) == 0o711


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
@pytest.mark.parametrize("copied", [False, True])
def test_owners_are_kept(copied: bool) -> None:
    with VeryTmpRoot(uid=7, gid=8) as root:
        (root / "f").write_text("x")
        os.chown(root / "f", 5, 6)
        os.chmod(root / "f", 0o4755)
        if not copied:
            root.freeze()
        with root.clone() as clone:
            for path, owner in ((clone.path, (7, 8)), (clone / "f", (5, 6))):
                assert (path.stat().st_uid, path.stat().st_gid) == owner
            (clone / "f").touch()
            status = (clone / "f").stat()
            assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (5, 6, 0o4755)


@pytest.mark.parametrize("nosymfollow", [True, False])
@pytest.mark.parametrize("noexec", [True, False])
def test_options_are_the_clones(template: VeryTmpRoot, nosymfollow: bool, noexec: bool) -> None:
    with template.clone(nosymfollow=nosymfollow, noexec=noexec) as clone:
        flags = os.statvfs(f"{os.fspath(clone)}/f").f_flag
        assert bool(flags & os.ST_NOEXEC) == noexec
        assert flags & os.ST_NOSUID
        assert flags & os.ST_NODEV
        assert clone.nosymfollow == nosymfollow
        followed = True
        try:
            os.stat(f"{os.fspath(clone)}/link")
        except OSError:
            followed = False
        assert followed != nosymfollow
        assert (clone / "link").read_bytes() == b"potatoes"


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"size": "x"}, ValueError, "asked for: .*size=x"),
        ({"sise": 1}, TypeError, "'sise' is not an option"),
        ({"at": "work"}, ValueError, "at must be an absolute path"),
        ({"at": "/tmp/verytmp-none/x"}, FileNotFoundError, "right below /"),
        ({"fstype": "ext4"}, ValueError, "fstype must be"),
        ({"host": "ro"}, ValueError, "a root with a name"),
    ],
)
def test_what_is_no_option(template: VeryTmpRoot, options: Any, error: type[Exception], words: str) -> None:
    before = host_state.descriptors()
    with pytest.raises(error, match=words):
        template.clone(**options)
    # The frozen root keeps one for its clones, from the first one on.
    assert [path for path in host_state.new_descriptors(before).values() if path != "/"] == []
    with template.clone() as clone:
        assert host_state.look(clone.fileno()) == TREE


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("at", ["/work", True])
def test_a_clone_with_a_name(way: str, at: Any) -> None:
    def body(make: Make) -> None:
        with frozen(make) as root, root.clone(at=at) as clone, root.clone(at=True) as other:
            done = clone.run(["sh", "-c", "pwd; cat link; echo new > n"], capture_output=True, text=True, check=True)
            assert done.stdout == f"{clone.at}\npotatoes"
            assert (clone / "n").read_text() == "new\n"
            (clone / "m").write_text("seen")
            assert clone.run(["cat", clone / "m"], capture_output=True).stdout == b"seen"
            assert not (other / "n").exists()
            clone.freeze()
            assert clone.run(["touch", "x"], stderr=subprocess.DEVNULL).returncode
            with clone.clone(at=True) as again:
                assert again.run(["cat", "n"], capture_output=True).stdout == b"new\n"

    made(way, body)


def test_a_clone_of_a_root_with_a_name() -> None:
    with frozen(at="/work") as root, root.clone() as clone:
        assert clone.kind == KIND
        assert host_state.look(clone.fileno()) == TREE
        with pytest.raises(ValueError, match="no name"):
            _ = clone.at


@pytest.mark.needs("read_only")
def test_a_view_of_a_clone(template: VeryTmpRoot) -> None:
    with template.clone() as clone, clone.read_only() as view:
        (clone / "f").write_text("changed")
        assert (view / "f").read_text() == "changed"
        with pytest.raises(OSError) as caught:
            (view / "f").write_text("no")
        assert caught.value.errno == errno.EROFS
        with view.clone() as copy:
            assert "as a copy (it is not frozen)" in repr(copy)
            assert (copy / "f").read_text() == "changed"


@pytest.mark.needs("clone")
@pytest.mark.parametrize("way", WAYS)
def test_a_clone_of_a_view(way: str) -> None:
    """A view of what is frozen is as good as the root itself, and may be all that there is of it."""

    def body(make: Make) -> None:
        with frozen(make) as root, root.clone(at=False) as clone:
            (clone / "new").touch()
            clone.freeze()
            for shown in (root, clone):
                expected = host_state.look(shown.fileno())
                view = shown.read_only()
                shown.close()
                with view, view.clone() as own, view.clone(at=True) as named:
                    assert (own.kind, named.kind) == ("overlay", "overlay")
                    assert host_state.look(own.fileno()) == host_state.look(named.fileno()) == expected
                    (own / "f").write_text("changed")
                    (own / "d" / "e").rmdir()
                    assert host_state.look(view.fileno()) == host_state.look(named.fileno()) == expected

    made(way, body)


def test_a_fork_has_it_too(template: VeryTmpRoot) -> None:
    with template.clone() as clone:

        def child() -> str:
            with template.clone() as own:
                (own / "f").write_text("its own")
            (clone / "f").write_text("from the child")
            clone.freeze()
            with clone.clone() as again:
                return again.kind + (again / "f").read_text()

        assert in_child(child) == f"{KIND}from the child"
        assert (clone / "f").read_text() == "from the child"
        assert clone.frozen


# -- what overlayfs does otherwise -------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["here", "child"])
def test_a_directory_of_the_frozen_root_is_renamed(way: str) -> None:
    """As an ordinary user by copying, with all that is in it; it appears whole, over an empty directory too."""

    def body(make: Make) -> None:
        root = make()
        host_state.make(root.fileno(), {"d": TREE, "empty": {}, "full": {"x": b""}})
        os.link(root / "d" / "f", root / "d" / "same")
        os.mkfifo(root / "d" / "fifo")
        (root / "d" / "d").chmod(0o750)
        os.utime(root / "d", (1, 2))
        root.freeze()
        with root.clone() as clone:
            assert (clone / "d").rename("e") == clone / "e"
            expected = {**TREE, "same": b"potatoes", "fifo": "prw-r--r--"}
            assert host_state.look(clone.fileno()) == {"e": expected, "empty": {}, "full": {"x": b""}}
            assert (clone / "e").stat().st_mtime == 2
            assert (clone / "e" / "d").stat().st_mode & 0o777 == 0o750
            (clone / "e").rename(clone / "empty")
            assert host_state.look(clone.fileno()) == {"empty": expected, "full": {"x": b""}}
        with root.clone() as clone:
            for target, number in (
                ("full", errno.ENOTEMPTY),
                ("d/d/x", errno.EINVAL),
                ("full/x", errno.ENOTDIR),
                ("no/x", errno.ENOENT),
            ):
                with pytest.raises(OSError) as caught:
                    (clone / "d").rename(target)
                assert caught.value.errno == number
                assert host_state.look(clone.fileno())["d"] == expected
                assert set(os.listdir(clone)) == {"d", "empty", "full"}
            (clone / "empty").rename(clone / "d" / "e")
            (clone / "d").replace("n")
            assert set(os.listdir(clone)) == {"n", "full"}
        root.close()

    made(way, body)


@pytest.mark.needs("clone")
def test_no_half_of_a_directory_is_renamed() -> None:
    """Where there is no room for the copy, all stays as it was."""

    def body(make: Make) -> None:
        with make() as root:
            host_state.make(root.fileno(), {"d": {str(each): bytes(8192) for each in range(20)}})
            root.freeze()
            with root.clone(size="64k") as clone:
                with pytest.raises(OSError) as caught:
                    (clone / "d").rename("e")
                assert caught.value.errno == errno.ENOSPC
                assert os.listdir(clone) == ["d"]
                assert len(os.listdir(clone / "d")) == 20
                assert clone.usage().used == 0

    made("child", body)


@pytest.mark.needs("clone")
def test_the_root_directory_is_not_removed_with_what_is_in_it() -> None:
    """rmdir(2) does not look at mounts of other namespaces, and would take the whole clone away."""

    def body(make: Make) -> None:
        with frozen(make) as root, root.clone() as clone:
            (clone / "a" / "b").mkdir(parents=True)
            for call in (os.rmdir, lambda path: os.removedirs(f"{path}/a/b")):
                try:
                    call(os.fspath(clone))
                except OSError as error:
                    refused = error.errno
                assert host_state.look(clone.fileno()).keys() >= TREE.keys()
            assert refused == errno.ENOTEMPTY
            with pytest.raises(OSError):
                shutil.rmtree(clone)
            assert host_state.look(clone.fileno()) == {}
            (clone / "new").touch()
            os.rename(os.fspath(clone), f"{os.fspath(clone)}-x")
            assert os.listdir(f"{os.fspath(clone)}-x") == ["new"]
            os.rename(f"{os.fspath(clone)}-x", os.fspath(clone))
            assert [path.name for path in clone.path.iterdir()] == ["new"]

    for way in ("here", "child"):
        made(way, body)


def test_one_device_and_lasting_numbers(template: VeryTmpRoot) -> None:
    """Programs tell files by these, and so do copies and deletions of whole trees."""
    with template.clone() as clone:
        paths = [clone.path, *clone.path.rglob("*")]
        before = {path: path.lstat() for path in paths}
        assert len({status.st_dev for status in before.values()}) == 1
        assert len({status.st_ino for status in before.values()}) == len(paths)
        (clone / "f").write_text("changed")
        (clone / "d" / "f").chmod(0o600)
        (clone / "d").chmod(0o700)
        assert {path: path.lstat().st_ino for path in paths} == {path: each.st_ino for path, each in before.items()}
        assert {entry.name: entry.inode() for entry in os.scandir(clone)} == {
            path.name: path.lstat().st_ino for path in clone.path.iterdir()
        }


@pytest.mark.needs("clone")
def test_a_hard_link_of_the_frozen_root_breaks_when_it_is_written(template: VeryTmpRoot) -> None:
    """It is documented: one name gets the new contents."""
    with VeryTmpRoot() as root:
        (root / "a").write_text("one")
        os.link(root / "a", root / "b")
        root.freeze()
        with root.clone() as clone:
            (clone / "a").write_text("two")
            assert ((clone / "a").read_text(), (clone / "b").read_text()) == ("two", "one")
            os.link(clone / "a", clone / "c")
            (clone / "c").write_text("three")
            assert (clone / "a").read_text() == "three"


def test_a_hard_link_that_is_made_to_a_file_of_the_frozen_root() -> None:
    """It is documented: they are one file, whatever an ordinary user's stat and rename say."""

    def body(make: Make) -> None:
        with frozen(make) as root, root.clone() as clone:
            (clone / "link to f").hardlink_to(clone / "f")
            known = (clone / "link to f").samefile(clone / "f")
            if known:
                (clone / "link to f").rename("f")
            else:
                with pytest.raises(OSError) as caught:
                    (clone / "link to f").rename("f")
                assert caught.value.errno == errno.ESTALE
            (clone / "f").write_text("changed")
            assert (clone / "link to f").read_text() == "changed"
            assert (clone / "f").stat().st_nlink == 2

    for way in ("here", "child"):
        made(way, body)


# -- copies ------------------------------------------------------------------------------------------------------------


def test_a_root_that_is_not_frozen_is_copied() -> None:
    with VeryTmpRoot() as root:
        host_state.make(root.fileno(), TREE)
        with root.clone(size="1m", mode=0o750) as clone:
            assert "as a copy (it is not frozen)" in repr(clone)
            assert (clone.kind, clone.usage().total) == ("tmpfs", MIB)
            assert host_state.look(clone.fileno()) == TREE
            assert clone.path.stat().st_mode & 0o777 == 0o750


@pytest.mark.needs("user.* attributes")
def test_a_copy_has_all_that_a_clone_has() -> None:
    with VeryTmpRoot(mode=0o750) as root:
        host_state.make(root.fileno(), TREE)
        os.mkfifo(root / "d" / "fifo", 0o640)
        with closing(socket.socket(socket.AF_UNIX)) as bound:
            bound.bind(f"/proc/self/fd/{root.fileno()}/socket")
        with (root / "sparse").open("wb") as file:
            file.truncate(64 * MIB)
        os.setxattr(root / "f", "user.colour", b"red")
        (root / "d" / "e").chmod(0o500)
        for path in root.path.rglob("*"):
            os.utime(path, (3, 4), follow_symlinks=False)
        os.utime(root, (1, 2))
        root.freeze()
        with root.clone(fstype="ramfs") as copy, root.clone() as clone:
            assert "as a copy (a ramfs has no extended attributes" in repr(copy)
            assert (copy / "sparse").stat().st_blocks == 0  # to read a hole takes pages in a ramfs
            for other in (copy, clone):
                assert host_state.look(other.fileno()) == host_state.look(root.fileno())
            for path in (root.path, *root.path.rglob("*")):
                mine, there = path.lstat(), (copy / path.relative_to(root.path)).lstat()
                assert (mine.st_mode, mine.st_mtime) == (there.st_mode, there.st_mtime)
                assert path.is_dir() or mine.st_size == there.st_size
        with root.clone(fallback="none") as clone:
            assert os.getxattr(clone / "f", "user.colour") == b"red"


@pytest.mark.needs("clone")
@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM, errno.EINVAL])
def test_where_a_filter_refuses_it_is_copied(number: int) -> None:
    """Before Linux 6.15, move_mount(2) knows no detached target: which is remembered."""

    def ask() -> list[object]:
        kernel.seccomp(Rule("move_mount", number))
        root = frozen()
        found: list[object] = []
        for _ in range(2):
            with root.clone() as clone:
                found += [repr(clone).partition("made ")[2].partition("),")[0], host_state.look(clone.fileno()) == TREE]
        return [*found, bool(_clone.absent)]

    reason = f"as a copy (move_mount(overlay): {os.strerror(number)}"
    assert in_child(ask) == [reason, True, reason, True, number != errno.EPERM]


@pytest.mark.needs("clone")
def test_a_full_table_is_no_reason_to_copy(template: VeryTmpRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise Refused([("fsmount(overlay)", errno.EMFILE, os.strerror(errno.EMFILE))])

    monkeypatch.setattr(changer, "clone", full)
    with pytest.raises(VeryTmpUnavailable, match="raise the limit on open files") as caught:
        template.clone()
    assert caught.value.errno == errno.EMFILE


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EBADF])  # of Linux 6.1, and of 6.12
def test_an_overlay_that_takes_no_descriptor_is_asked_once(
    template: VeryTmpRoot, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    asked = []

    def older(*_: object) -> None:
        asked.append(number)
        raise Refused([("fsconfig(overlay, lowerdir+)", number, os.strerror(number))])

    monkeypatch.setattr(changer, "clone", older)
    monkeypatch.setattr(_clone, "absent", "")
    for _ in range(2):
        with template.clone() as clone:
            assert (clone.kind, host_state.look(clone.fileno())) == ("tmpfs", TREE)
    assert asked == [number]


@pytest.mark.needs("clone")
def test_too_many_layers_become_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_clone, "LAYERS_MAX", 3)
    root = frozen()
    kinds = []
    for number in range(8):
        clone = root.clone()
        root.close()
        (clone / str(number)).touch()
        clone.freeze()
        root = clone
        kinds.append(root.kind)
    assert kinds == ["overlay", "overlay", "overlay", "tmpfs"] * 2
    assert host_state.look(root.fileno()) == TREE | {str(number): b"" for number in range(8)}
    root.close()


def test_a_copy_that_fails_leaves_nothing() -> None:
    with VeryTmpRoot() as root:
        (root / "f").write_bytes(bytes(MIB))
        before = host_state.descriptors()
        with pytest.raises(OSError) as caught:
            root.clone(size="64k")
        assert caught.value.errno == errno.ENOSPC
        del caught
        gc.collect()
        assert host_state.new_descriptors(before) == {}


# -- what goes wrong ---------------------------------------------------------------------------------------------------

CALLS = ("fsopen", "fsconfig", "fsmount", "fspick", "move_mount", "open_tree", "mount_setattr")


@pytest.mark.parametrize(
    "change",
    [
        "freeze",
        pytest.param("clone", marks=pytest.mark.needs("clone")),
        pytest.param("clone of a clone", marks=[pytest.mark.needs("clone"), pytest.mark.slow]),
        pytest.param("read_only", marks=pytest.mark.needs("read_only")),
        "resize",
    ],
)
def test_nothing_is_half_made_whichever_step_fails(change: str) -> None:
    """Here, or in the child that is forked: a call in turn fails, of the kernel's mounting calls and of os's."""
    in_child(fail_each_step, change)  # which has one thread: its own child is forked


def fail_each_step(change: str) -> None:
    root = VeryTmpRoot()
    host_state.make(root.fileno(), TREE)
    if change.startswith("clone"):
        root.freeze()
    if change == "clone of a clone":
        below, root = root, root.clone()
        below.close()
        root.freeze()
    target = change.partition(" ")[0]
    state = {"left": -1, "calls": 0}

    def failing(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **keywords: Any) -> Any:
            state["calls"] += 1
            if state["calls"] == state["left"]:
                raise OSError(errno.EIO, "planted")
            return original(*args, **keywords)

        return call

    def do() -> object:
        call: Callable[..., object] = getattr(root, target)
        return call(size="1m") if target == "resize" else call()

    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(_syscalls, name, failing(getattr(_syscalls, name)))
        for name in ("mkdir", "setxattr", "removexattr", "fchmod", "utime", "listxattr", "fstat"):
            patch.setattr(os, name, failing(getattr(os, name)))
        if target == "clone":  # what stays open from the first one on
            root.clone().close()
        before = host_state.descriptors()
        for step in range(1, 100):
            state["left"], state["calls"] = step, 0
            done: object = None
            try:
                done = do()
            except OSError as error:
                done = str(error)
            state["left"] = -1
            finished = done is None or (isinstance(done, VeryTmpRoot) and done.kind != "tmpfs")
            finished |= target == "read_only" and isinstance(done, VeryTmpRoot)
            if isinstance(done, VeryTmpRoot):  # or a copy
                with done:
                    assert host_state.look(done.fileno()) == TREE
            elif not finished:
                assert "planted" in str(done)
                assert not root.frozen or target == "clone"
                assert root.usage().total != MIB
            del done
            gc.collect()
            assert host_state.new_descriptors(before) == {}, step
            if finished:
                break
        assert 2 < step < 99
    root.close()


@pytest.mark.slow
def test_close_while_clones_are_made(template: VeryTmpRoot) -> None:
    """In another thread: each clone is whole, or refused because the root is closed."""
    for _ in range(30):
        root = frozen()
        wrong: list[object] = []
        started = threading.Barrier(2)

        def clone(root: VeryTmpRoot = root, started: threading.Barrier = started, wrong: Any = wrong) -> None:
            started.wait()
            try:
                while True:
                    with root.clone() as found:
                        if host_state.look(found.fileno()) != TREE:
                            wrong.append(host_state.look(found.fileno()))
            except ValueError:
                pass
            except OSError as error:
                if error.errno != errno.EBADF:
                    wrong.append(error)

        thread = threading.Thread(target=clone)
        thread.start()
        started.wait()
        root.close()
        thread.join()
        assert wrong == []


@pytest.mark.slow
def test_nothing_done_to_one_is_seen_in_another(pytestconfig: pytest.Config) -> None:
    """Random operations of all kinds, in threads, on clones of one root: each ends as its own operations have it.

    One of them is a clone of a clone; and one is made while the others work.
    """
    end = time.monotonic() + pytestconfig.getoption("--endurance")
    rounds = 0
    while not rounds or time.monotonic() < end:
        rounds += 1
        with frozen() as root, root.clone() as above:
            above.freeze()
            wrong: list[object] = []

            def live(seed: str, root: VeryTmpRoot = root, above: VeryTmpRoot = above, wrong: Any = wrong) -> None:
                chance = random.Random(seed)
                for length in (30, 120):
                    with (above if chance.random() < 0.3 else root).clone() as clone, VeryTmpRoot() as alike:
                        host_state.make(alike.fileno(), TREE)
                        for _ in range(length):
                            change, answers = clones.change(chance, clone, alike, hard_links=os.geteuid() == 0)
                            found, expected = host_state.look(clone.fileno()), host_state.look(alike.fileno())
                            if answers[0] != answers[1] or found != expected:
                                wrong.append((seed, change, answers, found, expected))
                                return

            threads = [threading.Thread(target=live, args=(f"{rounds} {number}",)) for number in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert wrong == []
            assert host_state.look(root.fileno()) == host_state.look(above.fileno()) == TREE


@pytest.mark.slow
def test_a_hundred_checkpoints() -> None:
    """Each is changed, and any of them can be gone back to: it is as a copy that was made then."""
    chance = random.Random(0)
    states = [frozen()]
    with VeryTmpRoot() as alike:
        host_state.make(alike.fileno(), TREE)
        pictures = [TREE]
        for number in range(100):
            states.append(states[-1].clone())
            for _ in range(6):
                clones.change(chance, states[-1], alike)
            for each in (states[-1], alike):
                (each / f"step {number}").touch()
            states[-1].freeze()
            pictures.append(host_state.look(alike.fileno()))
    assert {each.kind for each in states[1:]} == {"overlay"}
    for number in chance.sample(range(101), 101):
        with states[number].clone() as again:
            assert host_state.look(again.fileno()) == pictures[number]
            again.clear()
    for state, picture in zip(states, pictures, strict=True):
        assert host_state.look(state.fileno()) == picture
        state.close()


OWNERS = ("template", "clone", "clone of a clone")
ORDERS: list[Any] = [("here", OWNERS), ("here", OWNERS[::-1])]
MORE = [("here", order) for order in [*itertools.permutations(OWNERS)][1:-1]]
MORE += [(way, order) for way in ("child", "entered") for order in (OWNERS, OWNERS[::-1])]
ORDERS += [pytest.param(*each, marks=pytest.mark.slow) for each in MORE]


@pytest.mark.parametrize(
    ("way", "order"), ORDERS, ids=lambda value: value if isinstance(value, str) else "-".join(value)
)
def test_a_kill_leaves_nothing(way: str, order: tuple[str, ...], machine: None) -> None:
    """Owners of a frozen root, of its clone and of a clone of that, killed in every order: the memory comes back.

    Each of them reads what it has, when the one before it is dead.
    """
    before = host_state.shared_memory()

    def body(make: Make) -> None:
        roots = {"template": make()}
        (roots["template"] / "large").write_bytes(bytes(128 * MIB))
        for name, above in itertools.pairwise(OWNERS):
            roots[name].freeze()
            roots[above] = roots[name].clone()
            (roots[above] / above).write_bytes(bytes(8 * MIB))
        owners = {name: Owner(root) for name, root in roots.items()}
        for root in roots.values():
            root.close()
        try:
            for number, name in enumerate(order):
                assert owners[name].reads() == 128 * MIB, (number, name)
                owners[name].kill()
        finally:
            for owner in owners.values():
                owner.kill()

    made(way, body)
    for _ in range(500):
        if host_state.shared_memory() - before < 64 * MIB:
            break
        time.sleep(0.01)
    assert host_state.shared_memory() - before < 64 * MIB


class Owner:
    """A process that has a root, and reads a file of it when it is asked to."""

    def __init__(self, root: VeryTmpRoot) -> None:
        self.socket, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self.socket.close()
                while theirs.recv(1):
                    theirs.send(str(len((root / "large").read_bytes())).encode())
            finally:
                os._exit(1)
        theirs.close()

    def reads(self) -> int:
        self.socket.send(b"?")
        return int(self.socket.recv(100))

    def kill(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.socket.close()
            self.pid = 0


def test_a_factory_that_is_gone_leaves_roots_that_can_be_cloned() -> None:
    def ask() -> str:
        kernel.drop_capabilities(kernel.CAP_SYS_ADMIN)
        factory = VeryTmpFactory()
        root = frozen(factory)
        root.clone().close()
        factory.close()
        with root.clone() as clone:
            assert host_state.look(clone.fileno()) == TREE
            return repr(clone)

    assert "child" in in_child(ask)


@pytest.mark.needs("read_only")
def test_a_subclass_makes_its_own_kind() -> None:
    class Own(VeryTmpRoot):
        pass

    with Own() as root:
        root.freeze()
        with root.clone() as clone, root.read_only() as view:
            assert (type(clone), type(view)) == (Own, Own)


def test_programs_see_no_more_than_the_root(template: VeryTmpRoot) -> None:
    """The string's directories above lead nowhere on the host, and the token is a new one for each clone."""
    with template.clone() as one, template.clone() as two:
        tokens = {tree_of(root).token for root in (template, one, two)}
        assert len(tokens) == 3
        code = "import os, sys; print(os.path.samefile(sys.argv[1] + '/' + '../' * 20, '/'))"
        done = subprocess.run([sys.executable, "-c", code, one], capture_output=True, text=True)
        assert done.stdout == "False\n"
        assert Tree.by_key[tree_of(one).token]() is tree_of(one)


def test_hard_links_are_copied() -> None:
    with VeryTmpRoot() as root:
        host_state.make(root.fileno(), {"a": b"one", "d": {}, "e": {}})
        os.link(root / "a", root / "b")
        os.link(root / "a", root / "d" / "c")
        with root.clone() as clone:
            assert "as a copy" in repr(clone)
            assert (clone / "a").stat().st_nlink == 3
            (clone / "d" / "c").write_text("two")
            assert (clone / "a").read_text() == (clone / "b").read_text() == "two"


@pytest.mark.needs("clone")
def test_a_clone_that_cannot_be_frozen_stays_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is two file systems. Where the second one is refused, the first is written to again."""

    def body(make: Make) -> None:
        with frozen(make) as root, root.clone() as clone:
            original = _syscalls.fspick
            outcomes = ["made", "refused", "made"]  # in the process that may, whichever it is

            def fspick(fd: int) -> int:
                if outcomes[0] == "refused":
                    del outcomes[0]
                    raise OSError(errno.EIO, "planted")
                found = original(fd)
                del outcomes[0]
                return found

            monkeypatch.setattr(_syscalls, "fspick", fspick)
            with pytest.raises(OSError, match="planted"):
                clone.freeze()
            monkeypatch.setattr(_syscalls, "fspick", original)
            assert not os.statvfs(f"{os.fspath(clone)}/../../../upper").f_flag & (os.ST_RDONLY | os.ST_SYNCHRONOUS)
            (clone / "still").touch()
            clone.freeze()
            assert clone.frozen

    for way in ("here", "child"):
        in_child(made, way, body)  # where its own child is forked: it has one thread


@pytest.mark.needs("clone")
def test_what_overlayfs_notes_of_a_layer_is_not_copied(template: VeryTmpRoot) -> None:
    """Two file systems would have one UUID."""

    def uuid(root: VeryTmpRoot) -> bytes:
        upper = f"{os.fspath(root)}/../../../upper"
        [name] = [name for name in os.listxattr(upper) if name.endswith(".overlay.uuid")]
        return os.getxattr(upper, name)

    with template.clone() as clone:
        (clone / "f").write_text("changed")
        clone.freeze()
        with clone.clone() as again:
            (again / "f").write_text("changed again")
            assert uuid(again) != uuid(clone)
