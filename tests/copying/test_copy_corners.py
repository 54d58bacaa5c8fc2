"""Copies and moves that leave no descriptor, of closed roots, to what is no path; and what an adversary found."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import host_state
from support.copies import TREE, failure, special, there

from verytmp import VeryTmpRoot

# -- the rest ----------------------------------------------------------------------------------------------------------


def test_no_descriptor_is_left(root: VeryTmpRoot, elsewhere: Path) -> None:
    special(root)
    before = host_state.descriptors()
    for source, target, follow in (
        ("f", "1", True),
        ("dlink", "2", False),
        ("f", "missing/x", True),
        ("missing", "x", True),
        ("d", "2", True),
        ("fifo", "4", True),
        ("d", "5", True),
    ):
        try:
            (root / source).copy(elsewhere / target, follow_symlinks=follow, preserve_metadata=True)
            if follow:
                (root / source).move(elsewhere / target)
        except OSError:
            pass
        assert host_state.new_descriptors(before) == {}


def test_a_closed_root(root: VeryTmpRoot, elsewhere: Path) -> None:
    with VeryTmpRoot() as other:
        (other / "f").write_bytes(b"f")
        path = other / "f"
    for verb in ("copy", "copy_into", "move", "move_into"):
        with pytest.raises(ValueError, match="closed"):
            getattr(path, verb)(elsewhere)
        with pytest.raises(ValueError, match="closed"):
            getattr(root / "f", verb)(path)
        with pytest.raises(ValueError, match="closed"):
            getattr(root / "d", verb)(path)
    assert there(elsewhere) == {}
    remains = there(root)
    remains.pop("there", None)
    assert remains == TREE


@pytest.mark.parametrize("target", [b"x", 1, None])
def test_a_target_that_is_none(root: VeryTmpRoot, target: Any) -> None:
    for verb in ("copy", "copy_into", "move", "move_into"):
        with pytest.raises(TypeError):
            getattr(root / "f", verb)(target)
    assert there(root) == TREE


# -- what an adversary found -------------------------------------------------------------------------------------------


@pytest.fixture
def bare() -> Iterator[VeryTmpRoot]:
    with VeryTmpRoot() as made:
        yield made


def test_nothing_half_copied_by_a_plain_path_to_a_root(bare: VeryTmpRoot) -> None:
    """Whose own way to canonicalise it leads nowhere."""
    (bare / "big").write_bytes(b"x" * (3 << 20))
    with VeryTmpRoot(size="1m") as other:
        with pytest.raises(OSError) as caught:
            (bare / "big").copy(Path(other / "t"))
        assert caught.value.errno == errno.ENOSPC
        assert "removed" in caught.value.__notes__[0]
        assert os.listdir(os.fspath(other)) == []


def test_deleting_what_was_moved_follows_no_link(bare: VeryTmpRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory is exchanged for a link to another one, when its files are about to be deleted."""
    host_state.make(bare.fileno(), {"src": {"sub": {"f1": b"1", "f2": b"2"}}, "victim": {"f1": b"1", "f2": b"2"}})
    unlink = os.unlink

    def exchange(name: str, *, dir_fd: int) -> None:
        monkeypatch.undo()
        os.rename("src/sub", "moved", src_dir_fd=bare.fileno(), dst_dir_fd=bare.fileno())
        os.symlink("../victim", "src/sub", dir_fd=bare.fileno())
        unlink(name, dir_fd=dir_fd)

    with VeryTmpRoot() as other:
        monkeypatch.setattr(os, "unlink", exchange)
        (bare / "src").move(other / "dst")
        assert there(other)["dst"] == {"sub": {"f1": b"1", "f2": b"2"}}
    assert there(bare)["victim"] == {"f1": b"1", "f2": b"2"}


def test_what_a_copy_returns_is_asked_anew(bare: VeryTmpRoot) -> None:
    (bare / "f").touch()
    new = bare / "new"
    assert not new.info.exists()
    assert (bare / "f").copy(new).info.exists()
    with VeryTmpRoot() as other:
        moved = other / "moved"
        assert not moved.info.exists()
        assert (bare / "f").move(moved).info.exists()


def test_a_root_itself_is_not_moved(bare: VeryTmpRoot) -> None:
    (bare / "f").touch()
    with VeryTmpRoot() as other:
        assert failure(lambda: bare.path.move(other / "x"))[0] == errno.EBUSY
        assert there(other) == {}
    assert there(bare) == {"f": b""}


def test_a_closed_root_comes_first(bare: VeryTmpRoot) -> None:
    bare.close()
    for call in (
        bare.path.resolve,
        (bare.path / "..").resolve,
        lambda: bare.path.copy("/x"),
        lambda: bare.path.copy_into("/x"),
        lambda: bare.path.move("/x"),
        lambda: bare.path.move_into("/x"),
    ):
        with pytest.raises(ValueError, match="closed"):
            call()


def test_another_root_as_a_target(bare: VeryTmpRoot) -> None:
    (bare / "f").touch()
    with VeryTmpRoot() as other:
        for verb in ("rename", "replace", "hardlink_to", "symlink_to"):
            assert failure(lambda verb=verb: getattr(bare / "f", verb)(other))[0] == errno.EXDEV  # type: ignore[misc]
    with os.scandir(os.fspath(bare)) as entries:
        assert [(bare / "f").samefile(entry) for entry in entries] == [True]
