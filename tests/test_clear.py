"""`VeryTmpRoot.clear`: all is removed, and the root goes on."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import host_state, kernel
from support.children import in_child

from verytmp import VeryTmpRoot


@pytest.fixture(params=[True, False], ids=["nosymfollow", "symfollow"])
def root(request: pytest.FixtureRequest) -> Iterator[VeryTmpRoot]:
    with VeryTmpRoot(nosymfollow=request.param, mode=0o750) as made:
        yield made


def fill(root: VeryTmpRoot, host: Path) -> None:
    host_state.make(
        root.fileno(),
        {
            "f": b"f",
            ".hidden": {".f": b"f", "d": {}},
            "d": {"e": {"g": b"g"}, "up": "-> ..", "out": f"-> {host}"},
            "out": f"-> {host}",
            "dangling": "-> missing",
            "-rf": b"",
            "é \udcff\n": {"\udcff": b""},
        },
    )
    os.mkfifo(f"{os.fspath(root)}/d/fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{os.fspath(root)}/socket")
    os.link("f", "d/hard", src_dir_fd=root.fileno(), dst_dir_fd=root.fileno())


def test_all_is_removed_and_the_root_goes_on(root: VeryTmpRoot, host: Path) -> None:
    (host / "f").touch()
    root.fileno()  # which is opened when it is first asked for
    before = host_state.descriptors()
    assert root.clear() is None  # type: ignore[func-returns-value]  # of what is empty
    for _ in range(2):
        fill(root, host)
        used = root.usage().used
        path = root / "d" / "e" / "g"
        with path.open() as file:
            assert root.clear() is None  # type: ignore[func-returns-value]
            assert file.read() == "g"  # what is open can be used to the end
        assert host_state.look(root.fileno()) == {}
        assert not path.exists()
        assert root.usage().used < used or root.kind == "shm"
        assert not root.closed
        assert os.fstat(root.fileno()).st_mode & 0o7777 == 0o750
    assert host_state.look(str(host)) == {"f": b""}
    assert host_state.new_descriptors(before) == {}


def test_whatever_permissions_its_directories_have(root: VeryTmpRoot, host: Path) -> None:
    def clear() -> None:
        if os.geteuid() == 0:
            kernel.drop_capabilities()
        root.clear()

    for mode in (0, 0o111, 0o444, 0o500, 0o555):
        fill(root, host)
        os.chmod(f"{os.fspath(root)}/d/e/g", 0)
        for name in ("d/e", "d", ".hidden/d", ".hidden"):
            os.chmod(f"{os.fspath(root)}/{name}", mode)
        in_child(clear)
        assert host_state.look(root.fileno()) == {}
        assert os.fstat(root.fileno()).st_mode & 0o7777 == 0o750


def test_its_own_permissions_stay_and_count(root: VeryTmpRoot) -> None:
    def clear() -> tuple[int | None, str]:
        if os.geteuid() == 0:
            kernel.drop_capabilities()
        with pytest.raises(PermissionError) as caught:
            root.clear()
        return caught.value.errno, caught.value.filename

    (root / "f").touch()
    for mode, name in ((0o500, "f"), (0o300, ""), (0, "")):
        root.path.chmod(mode)
        number, path = in_child(clear)
        assert number == errno.EACCES
        assert path.rpartition("/")[2] == name or not name
        assert os.fstat(root.fileno()).st_mode & 0o7777 == mode
    root.path.chmod(0o700)
    assert host_state.look(root.fileno()) == {"f": b""}


def test_a_closed_root(root: VeryTmpRoot) -> None:
    root.close()
    with pytest.raises(ValueError, match="closed"):
        root.clear()


def test_a_path_of_what_is_gone_is_made_anew(root: VeryTmpRoot) -> None:
    path = root / "d" / "f"
    path.parent.mkdir()
    root.clear()
    with pytest.raises(FileNotFoundError):
        path.touch()
    path.parent.mkdir()
    path.write_text("anew")
    assert host_state.look(root.fileno()) == {"d": {"f": b"anew"}}


def test_a_full_root() -> None:
    """To be cleared, it needs no free space."""
    with VeryTmpRoot(size="1m", nr_inodes=50) as root:
        for number in range(30):
            (root / f"d{number}").mkdir()
        with pytest.raises(OSError):
            (root / "f").write_bytes(bytes(2 << 20))
        root.clear()
        assert root.usage().used == 0
        (root / "f").write_bytes(bytes(1 << 19))
