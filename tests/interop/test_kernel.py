"""Paths and their files in the hands of the kernel: mmap, sendfile, sockets, extended attributes."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import socket
import tempfile
from pathlib import Path

import pytest
from support import host_state
from support.compare_with_host import about, same

from verytmp import VeryTmpRoot


def test_mmap(root: VeryTmpRoot) -> None:
    path = root / "f"
    path.write_bytes(b"x" * 8192)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        root.close()
        memory[4096:4100] = b"here"
        memory.flush()
        assert file.read() == b"x" * 4096 + b"here" + b"x" * 4092


def test_mmap_of_a_string(root: VeryTmpRoot) -> None:
    (root / "f").write_bytes(b"potatoes")
    with open(root / "f", "r+b") as file, mmap.mmap(file.fileno(), 8) as memory:
        memory[:3] = b"TOM"
    assert host_state.look(root.fileno()) == {"f": b"TOMatoes"}


def test_sendfile(root: VeryTmpRoot, host: Path) -> None:
    data = os.urandom(100_000)
    (host / "f").write_bytes(data)
    for source, target in ((host / "f", root / "in"), (root / "in", root / "again"), (root / "again", host / "out")):
        with source.open("rb") as reading, target.open("wb") as writing:
            assert os.sendfile(writing.fileno(), reading.fileno(), 0, len(data)) == len(data)
    assert host_state.look(root.fileno()) == {"in": data, "again": data}
    assert (host / "out").read_bytes() == data


def test_copy_file_range(root: VeryTmpRoot) -> None:
    (root / "f").write_bytes(b"potatoes")
    with (root / "f").open("rb") as reading, (root / "new").open("wb") as writing:
        assert os.copy_file_range(reading.fileno(), writing.fileno(), 100) == 8
    assert host_state.look(root.fileno()) == {"f": b"potatoes", "new": b"potatoes"}


def test_sendfile_to_a_socket(root: VeryTmpRoot) -> None:
    (root / "f").write_bytes(b"potatoes")
    here, there = socket.socketpair()
    with here, there, (root / "f").open("rb") as file:
        assert here.sendfile(file) == 8
        assert there.recv(100) == b"potatoes"


def test_unix_sockets(root: VeryTmpRoot) -> None:
    (root / "d").mkdir()
    name = os.fspath(root / "d" / "socket")
    assert len(os.fsencode(name)) < 108
    with (
        socket.socket(socket.AF_UNIX) as listening,
        socket.socket(socket.AF_UNIX) as calling,
    ):
        listening.bind(name)
        listening.listen()
        assert (root / "d" / "socket").is_socket()
        calling.connect(name)
        answering, _ = listening.accept()
        with answering:
            assert answering.getsockname() == calling.getpeername() == name
            calling.sendall(b"hello")
            assert answering.recv(5) == b"hello"
        assert host_state.look(root.fileno()) == {"d": {"socket": about(name)[0]}}
    (root / "d" / "socket").unlink()
    assert host_state.look(root.fileno()) == {"d": {}}


def test_unix_datagrams(root: VeryTmpRoot) -> None:
    names = [os.fspath(root / name) for name in "ab"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as a, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as b:
        a.bind(names[0])
        b.bind(names[1])
        a.sendto(b"hello", names[1])
        assert b.recvfrom(10) == (b"hello", names[0])


def test_a_unix_socket_of_a_string_that_is_too_long(root: VeryTmpRoot) -> None:
    """It is the string that counts; by the directory's descriptor it is short again."""
    folder = root / ("d" * 120)
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as calling:
        with pytest.raises(OSError, match="too long"):
            listening.bind(os.fspath(folder / "s"))
        descriptor = os.open(folder, os.O_PATH)
        try:
            listening.bind(f"/proc/self/fd/{descriptor}/s")
            listening.listen()
            calling.connect(f"/proc/self/fd/{descriptor}/s")
        finally:
            os.close(descriptor)
    assert (folder / "s").is_socket()


def user_xattrs() -> bool:
    with tempfile.NamedTemporaryFile(prefix=f"verytmp-tests-{os.getpid()}-", dir="/dev/shm") as file:
        try:
            os.setxattr(file.fileno(), "user.probe", b"")
        except OSError:
            return False
    return True


@pytest.mark.skipif(not user_xattrs(), reason="this kernel's tmpfs has no user extended attributes")
def test_xattr(root: VeryTmpRoot, host: Path) -> None:
    def call(base: Path) -> object:
        os.setxattr(base / "f", "user.verytmp", b"value")
        os.setxattr(base / "d", "user.other", b"")
        os.setxattr(base / "f", "user.gone", b"x", follow_symlinks=False)
        os.removexattr(base / "f", "user.gone")
        shutil.copy2(base / "f", base / "new")
        shutil.copytree(base / "d", base / "tree")
        with pytest.raises(OSError) as caught:
            os.getxattr(base / "f", "user.gone")
        assert caught.value.errno == errno.ENODATA
        names = ("f", "g", "new", "d", "tree")
        return [{key: os.getxattr(base / name, key) for key in user(base / name)} for name in names]

    def user(path: Path) -> list[str]:
        return sorted(key for key in os.listxattr(path) if key.startswith("user."))

    value, other = {"user.verytmp": b"value"}, {"user.other": b""}
    assert same(call, root, host) == [value, {}, value, other, other]
