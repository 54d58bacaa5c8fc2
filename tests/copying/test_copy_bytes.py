"""Bytes and holes, whatever the kernel says against its own calls."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from support import kernel
from support.children import in_child
from support.copies import REFUSED, SIZE, bring_in, refuse, sparse, there

from verytmp import VeryTmpRoot
from verytmp._confined import copy_fd

LAYOUTS = {
    "holes between": [(0, 70_000), (1 << 20, 4096), ((4 << 20) - 100, 300_000), (SIZE - 9, 9)],
    "a hole at both ends": [(2 << 20, 1 << 20)],
    "no hole": [(0, SIZE)],
    "nothing but a hole": [],
}


@pytest.mark.parametrize("refused", REFUSED)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_bytes_and_holes(root: VeryTmpRoot, elsewhere: Path, layout: str, refused: str) -> None:
    source, target = os.fspath(root / "big"), os.fspath(elsewhere / "copy")
    sparse(source, LAYOUTS[layout])

    def copy() -> None:
        refuse(REFUSED[refused], errno.EPERM)
        (root / "big").copy(elsewhere / "copy")

    copy() if refused == "nothing" else in_child(copy)
    assert Path(target).read_bytes() == Path(source).read_bytes()
    assert os.stat(target).st_blocks <= os.stat(source).st_blocks


@pytest.mark.parametrize("layout", LAYOUTS)
def test_holes_are_looked_for_once(
    root: VeryTmpRoot, elsewhere: Path, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not for each part: the kernel looks at all pages up to the next hole, which took as long as the copy."""
    calls: list[int] = []

    def next_data(reading: int, position: int, size: int) -> tuple[int, int]:
        calls.append(position)
        return find(reading, position, size)

    find = copy_fd.next_data
    monkeypatch.setattr(copy_fd, "next_data", next_data)
    monkeypatch.setattr(copy_fd, "REPORTED", 4096)
    sparse(os.fspath(root / "big"), LAYOUTS[layout])
    (root / "big").copy(elsewhere / "copy")
    assert (elsewhere / "copy").read_bytes() == (root / "big").read_bytes()
    assert len(calls) <= len(LAYOUTS[layout]) + 1


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF])
def test_whatever_the_kernel_says_against_its_own_calls(host: Path, number: int) -> None:
    data = os.urandom(3_000_000)
    with VeryTmpRoot() as root:
        (root / "f").write_bytes(data)
        for calls in (("copy_file_range",), ("sendfile",), ("copy_file_range", "sendfile")):

            def copy(calls: tuple[str, ...] = calls) -> None:
                refuse(calls, number)
                (root / "f").copy("g")
                (root / "f").copy(host / "g")

            in_child(copy)
            assert there(root)["g"] == there(host)["g"] == data


def test_a_file_system_that_does_not_tell_of_holes(host: Path) -> None:
    """/proc's answers EINVAL. It is shorter than it says too."""
    with (host / "large").open("wb") as file:
        file.truncate(1 << 20)
    with open("/proc/self/maps", "rb", 0) as reading, (host / "copy").open("wb") as writing:
        copy_fd.copy_bytes(reading.fileno(), writing.fileno(), (host / "large").stat())
        with pytest.raises(OSError):
            copy_fd.copy_bytes(writing.fileno(), writing.fileno(), (host / "large").stat())
    assert b"r-xp" in (host / "copy").read_bytes()


def test_a_file_that_cannot_be_read_on(host: Path) -> None:
    """Which is told, and not taken for a file system that does not tell of holes."""

    def copy() -> int | None:
        kernel.seccomp(kernel.Rule("lseek", errno.EIO))
        with open(host / "file", "rb", 0) as reading, open(host / "copy", "wb", 0) as writing:
            try:
                copy_fd.copy_bytes(reading.fileno(), writing.fileno(), os.fstat(reading.fileno()))
            except OSError as error:
                return error.errno
        return None

    (host / "file").write_bytes(bytes(1 << 20))
    assert in_child(copy) == errno.EIO


def test_holes_come_in(root: VeryTmpRoot, host: Path) -> None:
    sparse(str(host / "big"), LAYOUTS["holes between"])
    bring_in(host / "big", root / "big")
    assert Path(root / "big").read_bytes() == (host / "big").read_bytes()
    assert os.stat(root / "big").st_blocks <= os.stat(host / "big").st_blocks


@pytest.mark.usefixtures("few_bytes")
def test_a_hole_of_five_gigabytes(root: VeryTmpRoot, elsewhere: Path) -> None:
    size = 5 << 30
    sparse(os.fspath(root / "big"), [(size - 10, 5)], size)
    target = os.fspath((root / "big").copy(elsewhere / "copy"))
    assert os.stat(target).st_size == size
    assert os.stat(target).st_blocks <= os.stat(root / "big").st_blocks
    with open(target, "rb") as copied, open(root / "big", "rb") as file:
        for end in (copied, file):
            end.seek(size - 4096)
        assert copied.read() == file.read()


def test_a_longer_file_is_replaced(root: VeryTmpRoot, elsewhere: Path) -> None:
    for name, size in (("big", SIZE), ("small", 100_000), ("hole", 0)):
        sparse(os.fspath(root / name), [(0, size)], max(size, 5000))
    for name in ("big", "small", "hole", "f", "empty"):
        (root / name).copy(elsewhere / "x")
        assert there(elsewhere)["x"] == there(root)[name]
