"""What a path says of a file, with pathlib itself in the same table."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

import pytest
from support import host_state
from support.files import TREE, failure, plain

from verytmp import VeryTmpRoot


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("f", "f"),
        ("d", "d"),
        ("d/f", "d/f"),
        ("link", "f"),
        ("dlink", "d"),
        ("dlink/f", "d/f"),
        ("chain/e", "d/e"),
        ("d/../f", "f"),
        ("up/f", "f"),
        ("up", "."),
        ("", "."),
    ],
)
def test_stat(tree: Path, name: str, where: str) -> None:
    assert os.path.samestat((tree / name).stat(), os.lstat(f"{plain(tree)}/{where}"))


@pytest.mark.parametrize("name", ["f", "link", "dlink", "dangling", "loop", "dlink/f"])
def test_lstat(tree: Path, name: str) -> None:
    status = (tree / name).lstat()
    assert stat.S_ISLNK(status.st_mode) == (name in ("link", "dlink", "dangling", "loop"))
    assert (tree / name).stat(follow_symlinks=False) == status


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("f", "exists is_file"),
        ("d", "exists is_dir"),
        ("link", "exists is_file"),
        ("dlink", "exists is_dir"),
        ("chain", "exists is_dir"),
        ("up", "exists is_dir"),
        ("up/up/up/f", "exists is_file"),
        ("dangling", ""),
        ("loop", ""),
        ("missing", ""),
        ("missing/f", ""),
        ("f/x", ""),
        ("d/../f", "exists is_file"),
        ("nul\0", ""),
        ("\ud800", ""),
        ("", "exists is_dir"),
    ],
)
def test_kinds(tree: Path, name: str, kinds: str) -> None:
    path = tree / name
    assert [kind for kind in ("exists", "is_dir", "is_file") if getattr(path, kind)()] == kinds.split()


def test_kinds_without_following(root: VeryTmpRoot) -> None:
    host_state.make(root.fileno(), TREE)
    for name, exists, is_dir, is_file in (
        ("f", True, False, True),
        ("d", True, True, False),
        ("dangling", True, False, False),
        ("dlink", True, False, False),
        ("link", True, False, False),
        ("missing", False, False, False),
    ):
        path = root / name
        assert path.exists(follow_symlinks=False) == exists
        assert path.is_dir(follow_symlinks=False) == is_dir
        assert path.is_file(follow_symlinks=False) == is_file


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into every directory")
def test_kinds_where_nobody_may_look(tree: Path) -> None:
    os.chmod(f"{plain(tree)}/d", 0)
    try:
        path = tree / "d" / "f"
        if sys.version_info >= (3, 14):
            assert not path.exists()
        else:
            assert failure(path.exists) == (errno.EACCES, str(path), None)
        assert failure(path.stat) == (errno.EACCES, str(path), None)
    finally:
        os.chmod(f"{plain(tree)}/d", 0o700)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into every directory")
def test_what_may_be_listed_and_not_searched(tree: Path) -> None:
    """As the host has it: a directory's name, or a link to it that ends in "/", is enough to list it."""
    os.symlink("d/", f"{plain(tree)}/slashed")
    for path, closed in ((tree / "d", "d"), (tree / "slashed", "d"), (tree, "")):
        os.chmod(f"{plain(tree)}/{closed}", 0o400)
        try:
            assert [entry.name for entry in path.iterdir()]
            assert stat.S_IMODE(path.stat().st_mode) == 0o400
            if path == tree:
                for act, number in (
                    (path.mkdir, errno.EEXIST),
                    (path.unlink, errno.EISDIR),
                    (path.readlink, errno.EINVAL),
                ):
                    assert failure(act) == (number, str(path), None)
        finally:
            path.chmod(0o700)
        assert stat.S_IMODE(os.stat(f"{plain(tree)}/{closed}").st_mode) == 0o700
