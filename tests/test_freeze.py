"""What is done to a root later: other limits, frozen, seen read-only; and a root that is a ramfs."""

from __future__ import annotations

import errno
import mmap
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from support import host_state, kernel
from support.children import in_child
from support.kernel import Rule
from support.makers import WAYS, made

from verytmp import VeryTmpError, VeryTmpFactory, VeryTmpRoot, _clone

Make = Callable[..., VeryTmpRoot]

pytestmark = pytest.mark.tmpfs

TREE: host_state.Tree = {"f": b"potatoes", "d": {"f": b"d/f", "e": {}}, "link": "-> f"}


def planted(make: Make, **options: Any) -> VeryTmpRoot:
    root = make(**options)
    host_state.make(root.fileno(), TREE)
    return root


# -- other limits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_resize(way: str) -> None:
    def body(make: Make) -> list[object]:
        with make(size="1m", nr_inodes=100) as root:
            found: list[object] = []
            root.resize(size="2m")
            found.append((root.usage().total, root.usage().inodes.total))
            root.resize(nr_inodes="1k")
            found.append((root.usage().total, root.usage().inodes))
            (root / "f").write_bytes(bytes(8192))
            root.resize(nr_blocks=2)
            found.append((root.usage().free, (root / "f").stat().st_size))
            return found

    assert made(way, body) == [(2 << 20, 100), (2 << 20, (1024, 1, 1023)), (0, 8192)]


@pytest.mark.parametrize("way", WAYS)
def test_less_than_is_used_is_refused_in_the_kernels_words(way: str) -> None:
    def body(make: Make) -> tuple[str, int]:
        with make(size="1m") as root:
            (root / "f").write_bytes(bytes(8192))
            with pytest.raises(ValueError) as caught:
                root.resize(size=4096)
            return str(caught.value), root.usage().total

    words, total = made(way, body)
    assert words == "tmpfs: Too small a size for current use (asked for: size=4096)"
    assert total == 1 << 20


@pytest.mark.parametrize(
    ("made_with", "given", "error", "words"),
    [
        ({}, {}, TypeError, "takes size="),
        ({}, {"size": 1.5}, TypeError, "size must be"),
        ({}, {"size": "1\0"}, ValueError, "null byte"),
        ({}, {"size": "x"}, ValueError, "Bad value for 'size'"),
        ({}, {"size": 1, "nr_blocks": 1}, ValueError, "give one of them"),
        ({}, {"size": 1 << 63}, ValueError, "larger than"),
        ({"nr_inodes": 0}, {"nr_inodes": 9}, ValueError, r"\(asked for: nr_inodes=9\)"),
        ({"size": 0}, {"size": "1m"}, ValueError, "Cannot retroactively limit size"),
        ({"fstype": "ramfs"}, {"size": "1m"}, ValueError, "a ramfs has no limits"),
    ],
)
def test_what_is_no_limit(made_with: Any, given: Any, error: type[Exception], words: str) -> None:
    with VeryTmpRoot(**made_with) as root:
        before = root.usage()
        with pytest.raises(error, match=words):
            root.resize(**given)
        assert root.usage() == before


def test_resize_while_threads_write() -> None:
    """Each write is done, or ENOSPC; what is there is as long as it was said to be."""
    with VeryTmpFactory() as factory, factory(size="1m") as root:
        ended = threading.Event()
        wrong: list[object] = []

        def write(number: int) -> None:
            path = root / str(number)
            while not ended.is_set():
                try:
                    path.write_bytes(bytes(64 << 10))
                    if path.stat().st_size != 64 << 10:
                        wrong.append(path.stat())
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        wrong.append(error)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        try:
            for number in range(40):
                try:
                    root.resize(size=("128k", "1m")[number % 2])
                except ValueError:  # as much is used
                    continue
        finally:
            ended.set()
            for thread in threads:
                thread.join()
        root.resize(size="1m")
        assert wrong == []
        assert root.usage().total == 1 << 20


# -- frozen ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"at": "/work"}, {"fstype": "ramfs"}], ids=["plain", "named", "ramfs"])
@pytest.mark.parametrize("way", WAYS)
def test_nobody_can_write_to_a_frozen_root(way: str, options: dict[str, Any]) -> None:
    def body(make: Make) -> None:
        with planted(make, **options) as root:
            reading = os.open(root / "f", os.O_RDONLY)
            assert [root.frozen] == [False]
            root.freeze()
            root.freeze()
            assert root.frozen
            for call in (
                lambda: (root / "f").write_bytes(b""),
                lambda: (root / "new").touch(),
                lambda: (root / "f").chmod(0o600),
                lambda: (root / "f").unlink(),
                lambda: (root / "d").rename("x"),
                lambda: os.utime(f"/proc/self/fd/{reading}"),
                lambda: os.open(root / "f", os.O_WRONLY),
                root.clear,
            ):
                with pytest.raises(OSError) as caught:
                    call()
                assert caught.value.errno == errno.EROFS
            child = subprocess.run(
                [sys.executable, "-c", "open(__import__('sys').argv[1], 'w')", root / "f"], stderr=-1
            )
            assert b"Read-only file system" in child.stderr
            os.close(reading)
            assert host_state.look(root.fileno()) == TREE

    made(way, body)


@pytest.mark.parametrize("way", WAYS)
def test_what_is_open_to_be_written_to_is_not_frozen(way: str) -> None:
    def body(make: Make) -> None:
        with planted(make) as root:

            def refused() -> None:
                with pytest.raises(OSError, match="the root is not frozen: a file in the root is open") as caught:
                    root.freeze()
                assert caught.value.errno == errno.EBUSY
                assert not root.frozen
                (root / "still").touch()

            with (root / "f").open("r+b") as file:
                refused()
                mapped = mmap.mmap(file.fileno(), 0)
            refused()
            mapped.close()
            with (root / "f").open("rb"):
                (root / "f").unlink()
                refused()
            root.freeze()
            assert root.frozen

    made(way, body)


@pytest.mark.slow
def test_freeze_while_threads_write() -> None:
    """It is refused, or all is there that was written, and no more comes."""
    for _ in range(8):
        with VeryTmpRoot() as root:
            written: dict[int, int] = {}
            started = threading.Barrier(9)
            wrong: list[object] = []

            def write(number: int, root: VeryTmpRoot = root, written: Any = written, wrong: Any = wrong) -> None:
                started.wait()  # noqa: B023  # of this very round
                try:
                    for count in range(200):
                        (root / f"{number}-{count}").write_bytes(b"x")
                        written[number] = count
                except OSError as error:
                    if error.errno != errno.EROFS:
                        wrong.append(error)

            threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
            for thread in threads:
                thread.start()
            started.wait()
            names = []
            try:
                root.freeze()
                names = sorted(os.listdir(root))
            except OSError as error:
                wrong += [error] if error.errno != errno.EBUSY else []
            for thread in threads:
                thread.join()
            assert wrong == []
            if root.frozen:
                assert sorted(os.listdir(root)) == names
            for number, count in written.items():
                for each in range(count + 1):
                    assert (root / f"{number}-{each}").read_bytes() == b"x"


def test_what_can_be_done_to_a_closed_root() -> None:
    root = VeryTmpRoot()
    root.close()
    calls: list[Callable[[], object]] = [root.freeze, root.clone, root.read_only, lambda: root.resize(size=1)]
    calls.append(lambda: root.frozen)
    for call in calls:
        with pytest.raises(ValueError, match="closed"):
            call()


VIEWED = pytest.param("read_only", marks=pytest.mark.needs("read_only"))


@pytest.mark.parametrize("call", ["freeze", pytest.param("clone", marks=pytest.mark.needs("clone")), VIEWED, "resize"])
def test_a_root_that_is_closed_meanwhile(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another root that gets its descriptors' numbers is not changed in its place, and not shown."""
    root = planted(VeryTmpRoot)
    numbers = {*root._tree.filenos}
    others: list[VeryTmpRoot] = []
    if call == "clone":
        root.freeze()
    before = _clone.mounter_of

    def late(tree: Any) -> Any:
        """What another thread does, in the moment before the kernel is asked."""
        found = before(tree)
        root.close()
        others.append(VeryTmpRoot(size="1m"))
        return found

    monkeypatch.setattr(_clone, "mounter_of", late)
    done = getattr(root, call)(**({"size": "2m"} if call == "resize" else {}))
    monkeypatch.undo()
    (other,) = others
    assert set(other._tree.filenos) & numbers
    assert (other.frozen, other.usage().total) == (False, 1 << 20)
    if isinstance(done, VeryTmpRoot):
        assert host_state.look(done.fileno()) == TREE
        done.close()
    other.close()


@pytest.mark.needs("clone")
def test_a_clone_of_a_root_that_is_closed_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of another root, which gets the numbers, is in it."""
    template = planted(VeryTmpRoot)
    template.freeze()
    root = template.clone()
    root.freeze()
    others: list[VeryTmpRoot] = []

    class Late(_clone.Layer):
        __slots__ = ()

        def __init__(self, tree: Any) -> None:
            root.close()
            others.append(template.clone())
            super().__init__(tree)

    template.clone().close()  # its own layers are there
    monkeypatch.setattr(_clone, "Layer", Late)
    with pytest.raises(ValueError, match="closed"):
        root.clone()
    assert {*others[0]._tree.filenos} & {*root._tree.filenos}
    others[0].close()
    template.close()


@pytest.mark.parametrize("call", ["freeze", "clone", "read_only", "resize", "frozen"])
def test_a_program_that_closes_all_descriptors(call: str) -> None:
    """Nothing of the program's own is changed, or taken for a root."""

    def ask() -> list[object]:
        root = VeryTmpRoot()
        root.freeze()
        other = VeryTmpRoot()
        other_fds = other._tree.filenos
        duplicates = [os.dup(fd) for fd in other_fds]
        for number, fd in zip(root._tree.filenos, duplicates, strict=True):
            os.dup2(fd, number)  # another root's, in their place
        found: list[object] = []
        try:
            done: Any = getattr(root, call)
            done = done(size="4k") if call == "resize" else done() if callable(done) else done
            found.append(done)
        except OSError as error:
            found.append(error.errno)
        except ValueError:  # it counts as closed
            found.append(errno.EBADF)
        found += [os.statvfs(other_fds[1]).f_flag & os.ST_RDONLY, other.usage().total == 4096]
        return found

    assert in_child(ask) in ([errno.EBADF, 0, False], [errno.ENOENT, 0, False])


# -- seen read-only ----------------------------------------------------------------------------------------------------


@pytest.mark.needs("read_only")
@pytest.mark.parametrize("options", [{}, {"at": "/work"}, {"fstype": "ramfs"}], ids=["plain", "named", "ramfs"])
@pytest.mark.parametrize("way", WAYS)
def test_a_read_only_view(way: str, options: dict[str, Any]) -> None:
    def body(make: Make) -> None:
        with planted(make, **options) as root:
            view = root.read_only()
            assert "as a read-only view" in repr(view)
            assert view.path != root.path
            with pytest.raises(ValueError, match="no name"):
                _ = view.at
            (root / "new").write_text("seen")
            assert (view / "new").read_text() == "seen"
            assert (view / "link").read_bytes() == b"potatoes"
            for path in (view / "f", view / "d" / "x"):
                with pytest.raises(OSError) as caught:
                    path.write_bytes(b"")
                assert caught.value.errno == errno.EROFS
            with pytest.raises(OSError):
                os.open(f"{os.fspath(view)}/f", os.O_WRONLY)
            with pytest.raises(OSError, match="freeze the root that it shows"):
                view.freeze()
            with pytest.raises(OSError, match="resize the root that it shows") as caught:
                view.resize(size="1m")
            assert caught.value.errno == errno.EROFS
            assert [view.frozen] == [False]
            held = (root / "f").open("ab")
            with pytest.raises(OSError, match="is open to be written to"):
                root.freeze()
            held.close()
            assert [view.frozen] == [False]
            root.freeze()
            assert (view.frozen, root.frozen) == (True, True)
            view.freeze()
            root.close()
            assert view.frozen
            assert (view / "f").read_bytes() == b"potatoes"
            again = view.read_only()
            view.close()
            assert (again / "f").read_bytes() == b"potatoes"
            again.close()

    made(way, body)


@pytest.mark.needs("read_only")
def test_what_another_process_freezes_is_seen_by_a_view() -> None:
    with VeryTmpRoot() as root, root.read_only() as view:
        in_child(root.freeze)
        assert (root.frozen, view.frozen) == (True, True)


def test_before_linux_6_15_there_is_no_view(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr("verytmp._syscalls.open_tree", refused)
    with VeryTmpRoot() as root, pytest.raises(VeryTmpError, match=r"before Linux 6\.15"):
        root.read_only()


# -- refused -----------------------------------------------------------------------------------------------------------


def test_another_process_may_not_change_it() -> None:
    """A root of a user namespace that this process is not in: it says so, and nothing is half done."""

    def ask() -> list[str]:
        kernel.drop_capabilities(kernel.CAP_SYS_ADMIN)
        root = VeryTmpRoot()
        root._tree.mounter = None  # as it comes from another process
        said = []
        for call in (root.freeze, lambda: root.resize(size="1m")):
            with pytest.raises(OSError) as caught:
                call()
            said.append(str(caught.value))
        (root / "f").touch()
        return said

    said = in_child(ask)
    assert len(said) == 2
    assert all("another process has made it" in words for words in said)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM])
@pytest.mark.parametrize(
    "call", ["fspick", "open_tree", pytest.param("mount_setattr", marks=pytest.mark.needs("read_only"))]
)
def test_a_filter_is_reported(call: str, number: int) -> None:
    def ask() -> list[str]:
        kernel.seccomp(Rule(call, number))
        root = VeryTmpRoot()
        said = []
        for change in [root.read_only] if call != "fspick" else [root.freeze, lambda: root.resize(size="1m")]:
            with pytest.raises(VeryTmpError) as caught:
                change()
            assert caught.value.errno == number
            said.append(str(caught.value))
        (root / "f").touch()
        return said

    said = in_child(ask)
    assert all(call in words for words in said)
    assert all(("allow fspick, open_tree" in words) == (number == errno.EPERM) for words in said)


# -- a ramfs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_a_ramfs(way: str) -> None:
    def body(make: Make) -> None:
        with planted(make, fstype="ramfs", mode=0o750, nosymfollow=True) as root:
            assert root.kind == "ramfs"
            assert root.path.stat().st_mode & 0o7777 == 0o750
            assert root.usage() == (0, 0, 0)
            assert kind_of(root) == 0x858458F6
            assert host_state.look(root.fileno()) == TREE
            with pytest.raises(OSError):
                os.stat(f"{os.fspath(root)}/link")

    made(way, body)


def kind_of(root: VeryTmpRoot) -> int:
    """f_type of statfs(2)."""
    return int(subprocess.run(["stat", "-fc", "0x%t", root], capture_output=True, check=True).stdout, 16)


@pytest.mark.parametrize("option", ["size", "nr_blocks", "nr_inodes", "huge", "mpol", "inode64"])
def test_a_ramfs_refuses_what_it_would_ignore(option: str) -> None:
    value: Any = True if option == "inode64" else "never" if option == "huge" else "1"
    with pytest.raises(ValueError, match=f"{option}: a ramfs has no limits and no options"):
        VeryTmpRoot(fstype="ramfs", **{option: value})


def test_a_ramfs_is_never_swapped_by_nature() -> None:
    with VeryTmpRoot(fstype="ramfs", noswap=True) as root:
        assert kind_of(root) == 0x858458F6


@pytest.mark.parametrize("fstype", ["ext4", "", "tmpfs\0", 1])
def test_another_file_system(fstype: Any) -> None:
    with pytest.raises(ValueError, match="fstype must be 'tmpfs' or 'ramfs'"):
        VeryTmpRoot(fstype=fstype)


def test_the_fallback_is_no_ramfs() -> None:
    with pytest.raises(ValueError, match="fstype cannot be kept"):
        VeryTmpRoot(fstype="ramfs", fallback="shm")


def test_a_factory_has_them_too() -> None:
    with VeryTmpFactory(fstype="ramfs") as factory, factory() as root, factory(fstype="tmpfs", size="1m") as other:
        assert (root.kind, other.kind) == ("ramfs", "tmpfs")
        other.resize(size="2m")
        with factory(fstype="tmpfs", size="1m") as third:
            assert (other.usage().total, third.usage().total) == (2 << 20, 1 << 20)
