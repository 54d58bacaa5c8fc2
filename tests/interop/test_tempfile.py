"""Temporary files in a root."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from support import host_state
from support.children import in_child
from support.compare_with_host import TREE, string

from verytmp import VeryTmpRoot


def test_temporary_file(root: VeryTmpRoot) -> None:
    with tempfile.TemporaryFile(dir=root.path) as file:
        file.write(b"nameless")
        file.flush()
        assert os.fstat(file.fileno()).st_dev == os.fstat(root.fileno()).st_dev
        assert os.fstat(file.fileno()).st_nlink == 0
        assert host_state.look(root.fileno()) == {}


def test_named_temporary_file(root: VeryTmpRoot) -> None:
    with tempfile.NamedTemporaryFile("w", dir=root.path, prefix="p-", suffix=".s") as file:
        file.write("named")
        file.flush()
        folder, name = os.path.split(file.name)
        assert folder == string(root)
        assert name.startswith("p-")
        assert name.endswith(".s")
        assert host_state.look(root.fileno()) == {name: b"named"}
    assert host_state.look(root.fileno()) == {}


def test_mkstemp(root: VeryTmpRoot) -> None:
    descriptor, name = tempfile.mkstemp(dir=root.path)
    os.write(descriptor, b"x")
    os.close(descriptor)
    assert host_state.look(root.fileno()) == {os.path.basename(name): b"x"}
    assert os.path.dirname(name) == string(root)
    assert stat.S_IMODE(os.stat(name).st_mode) == 0o600


def test_mkdtemp(root: VeryTmpRoot) -> None:
    (root / "d").mkdir()
    name = tempfile.mkdtemp(dir=root / "d")
    assert os.path.dirname(name) == os.fspath(root / "d")
    assert host_state.look(root.fileno()) == {"d": {os.path.basename(name): {}}}
    assert root / "d" / name == root / "d" / os.path.basename(name)


def test_temporary_directory(root: VeryTmpRoot, host: Path) -> None:
    (host / "f").touch()
    with tempfile.TemporaryDirectory(dir=root.path) as name:
        host_state.make(name, TREE | {"out": f"-> {host}"})
        assert set(host_state.look(root.fileno())) == {os.path.basename(name)}
    assert host_state.look(root.fileno()) == {}
    assert host_state.look(str(host)) == {"f": b""}


def test_a_temporary_directory_of_a_root_that_is_closed(host: Path) -> None:
    """It is gone, as one that somebody else has removed: cleaning it up is no error, and touches nothing else."""

    def use() -> bool:
        root = VeryTmpRoot()
        directory = tempfile.TemporaryDirectory(dir=root.path)
        with tempfile.TemporaryDirectory(dir=root.path) as name:
            Path(name, "f").touch()
            root.close()
            for _ in range(20):
                os.open(host, os.O_RDONLY)
        directory.cleanup()
        return os.path.lexists(name)

    (host / "f").touch()
    assert not in_child(use)
    assert host_state.look(str(host)) == {"f": b""}


def test_spooled_temporary_file(root: VeryTmpRoot) -> None:
    with tempfile.SpooledTemporaryFile(4, dir=string(root)) as file:
        file.write(b"more than four")
        assert os.fstat(file.fileno()).st_dev == os.fstat(root.fileno()).st_dev
