"""Failures: the kernel's errno, and the path's own string; and corners."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from support import host_state, kernel
from support.children import in_child
from support.files import TREE, failure, plain, there

from verytmp import VeryTmpPath, VeryTmpRoot

# -- failures: the kernel's errno, and the path's own string -----------------------------------------------------------

FAILURES: list[tuple[str, Callable[[Path], object], int]] = [
    ("missing", lambda p: p.stat(), errno.ENOENT),
    ("missing", lambda p: p.lstat(), errno.ENOENT),
    ("missing/x", lambda p: p.stat(), errno.ENOENT),
    ("f/x", lambda p: p.stat(), errno.ENOTDIR),
    ("loop", lambda p: p.stat(), errno.ELOOP),
    ("loop/x", lambda p: p.stat(), errno.ELOOP),
    ("dangling", lambda p: p.stat(), errno.ENOENT),
    ("x" * 256, lambda p: p.stat(), errno.ENAMETOOLONG),
    ("d/../missing", lambda p: p.stat(), errno.ENOENT),
    ("f/..", lambda p: p.stat(), errno.ENOTDIR),
    ("missing", lambda p: p.open(), errno.ENOENT),
    ("missing/x", lambda p: p.open("w"), errno.ENOENT),
    ("d", lambda p: p.open(), errno.EISDIR),
    ("d", lambda p: p.open("w"), errno.EISDIR),
    ("d", lambda p: p.read_bytes(), errno.EISDIR),
    ("dlink", lambda p: p.read_text(), errno.EISDIR),
    ("d", lambda p: p.write_bytes(b""), errno.EISDIR),
    ("loop", lambda p: p.write_text(""), errno.ELOOP),
    ("missing/x", lambda p: p.write_bytes(b""), errno.ENOENT),
    ("f", lambda p: p.mkdir(), errno.EEXIST),
    ("f", lambda p: p.mkdir(exist_ok=True), errno.EEXIST),
    ("f", lambda p: p.mkdir(parents=True, exist_ok=True), errno.EEXIST),
    ("d", lambda p: p.mkdir(), errno.EEXIST),
    ("link", lambda p: p.mkdir(exist_ok=True), errno.EEXIST),
    ("dangling", lambda p: p.mkdir(exist_ok=True), errno.EEXIST),
    ("missing/x", lambda p: p.mkdir(), errno.ENOENT),
    ("f/x", lambda p: p.mkdir(parents=True), errno.ENOTDIR),
    ("missing", lambda p: p.unlink(), errno.ENOENT),
    ("d", lambda p: p.unlink(), errno.EISDIR),
    ("f/x", lambda p: p.unlink(missing_ok=True), errno.ENOTDIR),
    ("d", lambda p: p.rmdir(), errno.ENOTEMPTY),
    ("f", lambda p: p.rmdir(), errno.ENOTDIR),
    ("dlink", lambda p: p.rmdir(), errno.ENOTDIR),
    ("missing", lambda p: p.rmdir(), errno.ENOENT),
    ("d/..", lambda p: p.rmdir(), errno.ENOTEMPTY),
    ("missing", lambda p: list(p.iterdir()), errno.ENOENT),
    ("f", lambda p: list(p.iterdir()), errno.ENOTDIR),
    ("loop", lambda p: list(p.iterdir()), errno.ELOOP),
    ("missing/x", lambda p: p.touch(), errno.ENOENT),
    ("f", lambda p: p.touch(exist_ok=False), errno.EEXIST),
    (".", lambda p: p.touch(exist_ok=False), errno.EEXIST),
    (".", lambda p: p.open("x"), errno.EEXIST),
    (".", lambda p: p.open("w"), errno.EISDIR),
    (".", lambda p: p.write_bytes(b""), errno.EISDIR),
]


@pytest.mark.parametrize(
    ("name", "call", "number"), FAILURES, ids=[f"{name[:9]}-{index}" for index, (name, *_) in enumerate(FAILURES)]
)
def test_failures(tree: Path, name: str, call: Callable[[Path], object], number: int) -> None:
    path = tree / name
    said = failure(lambda: call(path))
    assert said[0] == number
    assert said[1] == str(path)
    assert there(tree) == TREE


@pytest.mark.parametrize(
    ("source", "target", "number"),
    [
        ("missing", "x", errno.ENOENT),
        ("f", "missing/x", errno.ENOENT),
        ("f", "d", errno.EISDIR),
        ("d", "f", errno.ENOTDIR),
        ("d", "d/e/x", errno.EINVAL),
        ("f", "f/x", errno.ENOTDIR),
        ("d/e", "d", errno.ENOTEMPTY),
        ("d/..", "x", errno.EBUSY),
    ],
)
def test_rename_failures(tree: Path, source: str, target: str, number: int) -> None:
    said = failure(lambda: (tree / source).rename(tree / target))
    assert said == (number, str(tree / source), str(tree / target))
    assert there(tree) == TREE


def test_the_root_itself_is_no_entry(root: VeryTmpRoot) -> None:
    """As "/" is none after chroot(2)."""
    host_state.make(root.fileno(), TREE)
    path = root.path
    for call, number in (
        (lambda: path.rmdir(), errno.EBUSY),
        (lambda: path.unlink(), errno.EISDIR),
        (lambda: path.mkdir(), errno.EEXIST),
        (lambda: path.rename("x"), errno.EBUSY),
        (lambda: (root / "d").rename("/"), errno.EBUSY),
        (lambda: path.write_bytes(b""), errno.EISDIR),
        (lambda: (root / "..").rmdir(), errno.ENOTEMPTY),
        (lambda: (root / "..").rename("x"), errno.EBUSY),
    ):
        assert failure(call)[0] == number
    assert there(path) == TREE


@pytest.mark.parametrize("name", ["nul\0", "\ud800"])
def test_no_name_for_a_file(tree: Path, name: str) -> None:
    path = tree / name
    for call in (
        path.stat,
        path.open,
        path.read_bytes,
        path.mkdir,
        path.unlink,
        path.rmdir,
        lambda: path.rename(tree / "x"),
    ):
        with pytest.raises(ValueError):
            call()
    with pytest.raises(ValueError):
        (tree / "f").rename(path)
    assert there(tree) == TREE


def test_names_that_are_no_text(base: Path) -> None:
    path = base / os.fsdecode(b"\xff\xfe")
    path.write_text("x")
    assert os.listdir(os.fsencode(plain(base))) == [b"\xff\xfe"]
    assert [file.read_text() for file in base.iterdir()] == ["x"]


def test_a_full_root_says_so() -> None:
    with VeryTmpRoot(size="16k", nr_inodes=3) as root:
        path = root / "f"
        assert failure(lambda: path.write_bytes(b"x" * 20_000)) == (errno.ENOSPC, str(path), None)
        assert path.read_bytes() == b"x" * 16384  # what fitted is there, as with any file system
        path.write_bytes(b"y" * 16384)
        (root / "g").touch()
        assert failure((root / "h").touch) == (errno.ENOSPC, str(root / "h"), None)
        assert failure((root / "h").mkdir) == (errno.ENOSPC, str(root / "h"), None)
        assert path.read_bytes() == b"y" * 16384


# -- corners -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["..", "../..", "d/../..", "dlink/../.."])
def test_above_the_root_is_the_root(root: VeryTmpRoot, name: str) -> None:
    host_state.make(root.fileno(), TREE)
    for status in (
        (root / name).stat(),
        (root / name).lstat(),
        (root / name).stat(follow_symlinks=False),
    ):
        assert os.path.samestat(status, os.stat(root.fileno()))
    assert (root / name).exists(follow_symlinks=False)
    assert (root / name).is_dir(follow_symlinks=False)


def test_a_closed_root_comes_before_another_file_system(root: VeryTmpRoot, host: Path) -> None:
    path = root / "f"
    with VeryTmpRoot() as other:
        root.close()
        for target in (host / "x", other / "x", "/x"):
            with pytest.raises(ValueError, match="closed"):
                path.rename(target)


@pytest.mark.parametrize("name", ["missing/../f\0", "f/../\0", "..\0"])
def test_a_null_byte_comes_before_what_is_missing(tree: Path, name: str) -> None:
    with pytest.raises(ValueError, match="embedded null"):
        (tree / name).stat()


def test_bytes_that_do_not_lie_together(tree: Path) -> None:
    with pytest.raises(BufferError):
        (tree / "f").write_bytes(memoryview(b"abcdef")[::2])
    assert there(tree)["f"] in (b"potatoes", b"")  # pathlib has truncated it


@pytest.mark.parametrize("way", ["chmod", "lchmod", "nofollow"])
def test_permissions(tree: Path, way: str) -> None:
    if isinstance(tree, VeryTmpPath):  # pathlib can only do the first on Linux
        changes: dict[str, Callable[[Path], None]] = {
            "chmod": lambda path: path.chmod(0o640),
            "lchmod": lambda path: path.lchmod(0o640),
            "nofollow": lambda path: path.chmod(0o640, follow_symlinks=False),
        }
        change = changes[way]
        for name in ("f", "d/../f") + (("link",) if way == "chmod" else ()):
            os.chmod(f"{plain(tree)}/f", 0o600)
            change(tree / name)
            assert stat.S_IMODE(os.stat(f"{plain(tree)}/f").st_mode) == 0o640
        if way != "chmod":
            with pytest.raises(NotImplementedError):
                change(tree / "link")
    else:
        (tree / "f").chmod(0o640)
        assert stat.S_IMODE(os.stat(tree / "f").st_mode) == 0o640


@pytest.mark.tmpfs
def test_without_proc() -> None:
    """In a chroot without one, what needs no name goes on."""

    def elsewhere() -> tuple[float, list[str], list[str], str]:
        root = VeryTmpRoot()
        (root / "d").mkdir()
        (root / "f").write_text("potatoes")
        os.utime("f", (1, 1), dir_fd=root.fileno())
        kernel.hide_proc()
        (root / "f").touch()
        names = sorted(path.name for path in root.path.iterdir())
        above = sorted(path.name for path in (root / "d" / "..").iterdir())
        return os.stat("f", dir_fd=root.fileno()).st_mtime, names, above, (root / "d" / ".." / "f").read_text()

    modified, names, above, text = in_child(elsewhere)
    assert modified > 1
    assert names == above == ["d", "f"]
    assert text == "potatoes"
