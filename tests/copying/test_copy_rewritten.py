"""Copies of a file that is being rewritten: they may hold parts of each version, and nothing that no version held."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.children import in_child
from support.copies import REFUSED, bring_in, refuse

from verytmp import VeryTmpRoot

SIZE = 300_000  # more than is read by one call
SECONDS = 0.3  # for each race: the copies before were wrong one time in ten


def truncate_and_write(path: str, content: bytes) -> None:
    """As `open(path, "wb")` and `write` do."""
    file = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CREAT)
    os.write(file, content)
    os.close(file)


def truncate_and_write_in_pieces(path: str, content: bytes) -> None:
    with open(path, "wb", buffering=0) as file:
        file.writelines(content[start : start + 50_000] for start in range(0, len(content), 50_000))


def overwrite(path: str, content: bytes) -> None:
    file = os.open(path, os.O_WRONLY)
    os.write(file, content)
    os.close(file)


def replace(path: str, content: bytes) -> None:
    truncate_and_write(f"{path}.new", content)
    os.rename(f"{path}.new", path)


@contextmanager
def rewriting(path: str, way: Callable[[str, bytes], None]) -> Iterator[None]:
    """Another process writes two versions in turn."""
    truncate_and_write(path, b"A" * SIZE)
    pid = os.fork()
    if pid == 0:
        try:
            while True:
                for letter in b"BA":
                    way(path, bytes([letter]) * SIZE)
        finally:
            os._exit(1)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.mark.parametrize("way", [truncate_and_write, truncate_and_write_in_pieces, overwrite, replace])
def test_a_file_that_is_rewritten_meanwhile(
    root: VeryTmpRoot, elsewhere: Path, way: Callable[[str, bytes], None]
) -> None:
    wrong = copies = 0
    with rewriting(os.fspath(root / "big"), way):
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            (root / "big").copy(elsewhere / "copy")
            copies += 1
            wrong += not set(Path(elsewhere / "copy").read_bytes()) <= set(b"AB")
    assert wrong == 0, f"of {copies}"
    assert copies


def test_a_file_of_the_host_that_is_rewritten_meanwhile(root: VeryTmpRoot, host: Path) -> None:
    with rewriting(str(host / "big"), truncate_and_write):
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            bring_in(host / "big", root / "copy")
            assert set((root / "copy").read_bytes()) <= set(b"AB")


# The moments at which a file is truncated, and is written again: before and after which of the questions about holes.
MOMENTS = [(truncated, written) for truncated in range(5) for written in range(truncated, 6)]


@pytest.mark.parametrize("refused", REFUSED)
@pytest.mark.parametrize(("truncated", "written"), MOMENTS)
def test_at_each_moment(root: VeryTmpRoot, truncated: int, written: int, refused: str) -> None:
    path = os.fspath(root / "big")
    truncate_and_write(path, b"A" * SIZE)
    lseek = os.lseek
    asked = 0

    def interrupted(file: int, offset: int, whence: int) -> int:
        nonlocal asked
        if whence == os.SEEK_SET:
            return lseek(file, offset, whence)
        if asked == truncated:
            os.truncate(path, 0)
        if asked == written:
            overwrite(path, b"B" * SIZE)
        asked += 1
        return lseek(file, offset, whence)

    def copy() -> bytes:
        refuse(REFUSED[refused], 1)
        os.lseek = interrupted
        try:
            (root / "big").copy("copy")
        finally:
            os.lseek = lseek
        return (root / "copy").read_bytes()

    assert set(in_child(copy)) <= set(b"AB")


def test_a_sparse_file_that_becomes_dense(root: VeryTmpRoot) -> None:
    """The answers to one question are of the one version, those to the next of the other."""
    path = os.fspath(root / "big")
    lseek = os.lseek
    for moment in range(4):
        with open(path, "wb") as file:
            file.truncate(SIZE)
        asked = 0

        def interrupted(file: int, offset: int, whence: int, moment: int = moment) -> int:
            nonlocal asked
            if asked == moment:
                truncate_and_write(path, b"B" * SIZE)
            asked += 1
            return lseek(file, offset, whence)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "lseek", interrupted)
            (root / "big").copy("copy")
        assert (root / "copy").read_bytes() in (bytes(SIZE), b"B" * SIZE)


LARGEST = (1 << 63) - 1  # bytes: the largest offset that there is


@pytest.mark.parametrize("size", [LARGEST, LARGEST - 1, LARGEST - 4095, 1 << 62])
@pytest.mark.usefixtures("few_bytes")
def test_a_hole_as_large_as_can_be(root: VeryTmpRoot, elsewhere: Path, size: int) -> None:
    for pieces in ([], [(0, b"first")], [(size - 5, b"last!")], [(0, b"first"), (1 << 40, b"middle")]):
        with open(root / "big", "wb") as file:
            file.truncate(size)
            for start, content in pieces:
                os.pwrite(file.fileno(), content, start)
        (root / "big").copy(elsewhere / "copy")
        with open(elsewhere / "copy", "rb") as copied:
            status = os.fstat(copied.fileno())
            assert status.st_size == size
            assert status.st_blocks * 512 <= os.stat(root / "big").st_blocks * 512 + (1 << 16)
            for start, content in pieces:
                assert os.pread(copied.fileno(), len(content), start) == content
        os.unlink(elsewhere / "copy")
