"""Paths in the hands of shutil: copies, moves, archives, removals."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import host_state
from support.compare_with_host import FILTERS, LINKED, TREE, UP, about, same

from verytmp import VeryTmpRoot


def relative(result: str | Path, base: Path) -> str:
    return os.path.relpath(result, base)


def preserved(base: Path) -> object:
    os.chmod(base / "f", 0o640)
    os.utime(base / "f", ns=(5, 6))
    shutil.copy2(base / "f", base / "d" / "new")
    shutil.copystat(base / "f", base / "g")
    shutil.copymode(base / "f", base / "d" / "f")
    return [os.stat(base / name).st_mtime_ns for name in ("d/new", "g")]


def archived(form: str) -> Callable[[Path], object]:
    def call(base: Path) -> object:
        made = shutil.make_archive(os.fspath(base / "packed"), form, root_dir=base / "d")
        how: Any = {"filter": FILTERS[0]} if form != "zip" and hasattr(tarfile, "data_filter") else {}
        shutil.unpack_archive(made, base / "empty", **how)
        shutil.unpack_archive(Path(made), base / "new" / "er", form, **how)
        os.remove(made)  # it holds the time
        return relative(made, base)

    return call


def which(base: Path) -> object:
    os.chmod(base / "f", 0o700)
    found = shutil.which("f", path=base)
    assert found is not None
    return relative(found, base), shutil.which("g", path=base), shutil.which(base / "f") == os.fspath(base / "f")


SHUTIL: dict[str, Callable[[Path], object]] = {
    "copy": lambda p: relative(shutil.copy(p / "f", p / "new"), p),
    "copy into": lambda p: relative(shutil.copy(p / "g", p / "d"), p),
    "copy2 and its like": preserved,
    "copyfile": lambda p: relative(shutil.copyfile(p / "f", p / "g"), p),
    "copytree": lambda p: relative(shutil.copytree(p / "d", p / "new" / "d"), p),
    "copytree onto": lambda p: relative(shutil.copytree(p / "d", p / "empty", dirs_exist_ok=True), p),
    "copytree ignoring": lambda p: shutil.copytree(p / "d", p / "new", ignore=shutil.ignore_patterns("*.py")) is None,
    "move": lambda p: relative(shutil.move(p / "f", p / "new"), p),
    "move into": lambda p: relative(shutil.move(p / "f", p / "d" / "e"), p),
    "move a directory": lambda p: relative(shutil.move(p / "d", p / "empty"), p),
    "rmtree": lambda p: shutil.rmtree(p / "d"),
    "chown": lambda p: shutil.chown(p / "f", os.getuid(), os.getgid()),
    "zip": archived("zip"),
    "tar": archived("tar"),
    "gztar": archived("gztar"),
    "bztar": archived("bztar"),
    "xztar": archived("xztar"),
    "which": which,
}


@pytest.mark.parametrize("name", SHUTIL)
def test_shutil(root: VeryTmpRoot, host: Path, name: str) -> None:
    same(SHUTIL[name], root, host)


def test_copytree_in_and_out(root: VeryTmpRoot, host: Path) -> None:
    host_state.make(str(host), {"in": LINKED})
    os.chmod(host / "in" / "f", 0o640)
    assert shutil.copytree(host / "in", root / "x", symlinks=True) == root / "x"
    assert host_state.look(root.fileno()) == {"x": LINKED}
    assert shutil.copytree(root / "x", host / "out", symlinks=True) == host / "out"
    assert host_state.look(str(host / "out")) == LINKED
    assert about(host / "out" / "f") == about(host / "in" / "f")


def test_copytree_follows_what_the_kernel_does(root: VeryTmpRoot, host: Path) -> None:
    host_state.make(root.fileno(), {"x": TREE | {"link": "-> f"}})
    if root.nosymfollow:
        with pytest.raises(shutil.Error, match="link"):
            shutil.copytree(root / "x", host / "out")
        assert host_state.look(str(host / "out")) == TREE
    else:
        shutil.copytree(root / "x", host / "out")
        assert host_state.look(str(host / "out")) == TREE | {"link": b"potatoes"}


def test_move_in_and_out(root: VeryTmpRoot, host: Path) -> None:
    host_state.make(str(host), {"in": LINKED})
    assert shutil.move(host / "in", root / "x") == root / "x"
    assert host_state.look(str(host)) == {}
    assert host_state.look(root.fileno()) == {"x": LINKED}
    assert shutil.move(root / "x" / "f", host) == f"{host}/f"
    assert shutil.move(root / "x", host / "out") == host / "out"
    assert host_state.look(root.fileno()) == {}
    assert host_state.look(str(host)) == {"f": b"potatoes", "out": {n: t for n, t in LINKED.items() if n != "f"}}


def test_move_between_roots(root: VeryTmpRoot) -> None:
    with VeryTmpRoot() as other:
        host_state.make(root.fileno(), {"x": LINKED})
        assert shutil.move(root / "x", other / "y") == other / "y"
        assert host_state.look(root.fileno()) == {}
        assert host_state.look(other.fileno()) == {"y": LINKED}


def test_rmtree_follows_no_link(root: VeryTmpRoot, host: Path) -> None:
    host_state.make(str(host), TREE)
    host_state.make(root.fileno(), {"x": {"out": f"-> {host}", "d": {"up": f"-> {UP}{host}"}}, "f": b""})
    shutil.rmtree(root / "x")
    assert host_state.look(root.fileno()) == {"f": b""}
    assert host_state.look(str(host)) == TREE


def test_rmtree_of_the_root_removes_it(root: VeryTmpRoot) -> None:
    """As any directory, and it may be made anew. A clone's is a mount, and stays."""
    host_state.make(root.fileno(), TREE)
    if root.kind == "overlay":
        with pytest.raises(OSError, match="Directory not empty"):
            shutil.rmtree(root.path)
        assert os.listdir(root) == []
        return
    shutil.rmtree(root.path)
    assert not root.path.exists()
    os.makedirs(root)
    (root / "f").touch()
    assert os.listdir(root) == ["f"]


def test_disk_usage() -> None:
    with VeryTmpRoot(size="1m") as root:
        (root / "f").write_bytes(b"x" * 8192)
        for path in (root, root.path, root / "f"):
            assert tuple(shutil.disk_usage(path)) == root.usage() == (1 << 20, 8192, (1 << 20) - 8192)
