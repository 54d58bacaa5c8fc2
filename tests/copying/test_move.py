"""Moves in every direction, which lose nothing where they fail."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from support import host_state, kernel
from support.children import in_child
from support.copies import (
    ACCESSED,
    MODIFIED,
    PLACES,
    TREE,
    D,
    age,
    failure,
    metadata,
    on_both_mounts,
    there,
)

from verytmp import VeryTmpPath, VeryTmpRoot
from verytmp._confined.removal import NOT_REMOVABLE


@pytest.mark.parametrize("base", PLACES, indirect=True)
@pytest.mark.parametrize(
    ("source", "target", "change"),
    [
        ("f", "new", {"new": b"potatoes"}),
        ("f", "empty", {"empty": b"potatoes"}),
        ("f", "dangling", {"dangling": b"potatoes"}),
        ("link", "new", {"new": "-> f"}),
        ("dlink", "new", {"new": "-> d"}),
        ("dangling", "new", {"new": "-> missing"}),
        ("d", "new", {"new": D}),
        ("dlink/f", "new", {"d": {name: D[name] for name in D if name != "f"}, "new": b"d/f"}),
        ("f", "dlink/f", {"d": D | {"f": b"potatoes"}}),
    ],
)
def test_move(base: Any, source: str, target: str, change: host_state.Tree) -> None:
    host_state.make(os.fspath(base), TREE)
    inode = os.lstat((base / source).parent.resolve() / (base / source).name).st_ino
    result = (base / source).move(base / target)
    assert result == base / target
    assert type(result) is type(base)
    assert there(base) == {name: TREE[name] for name in TREE if name != source} | change
    assert os.lstat((base / target).parent.resolve() / (base / target).name).st_ino == inode


def test_move_anywhere(root: VeryTmpRoot, elsewhere: Path) -> None:
    """All as it is: links as links, permissions and times kept."""
    os.chmod(f"{os.fspath(root)}/d/f", 0o604)
    os.chmod(f"{os.fspath(root)}/d", 0o710)
    age(os.fspath(root))
    before = metadata(root / "d")
    result = (root / "d").move(elsewhere / "new")
    assert result == elsewhere / "new"
    assert type(result) is type(elsewhere)
    assert metadata(elsewhere / "new") == before
    assert (root / "link").move_into(elsewhere) == elsewhere / "link"
    assert metadata(elsewhere)["link"] == ("lrwxrwxrwx", ACCESSED, MODIFIED)
    assert (root / "f").move_into(elsewhere) == elsewhere / "f"
    assert (root / "dangling").move(elsewhere / "dangling") == elsewhere / "dangling"
    assert there(elsewhere) == {"new": D, "link": "-> f", "f": b"potatoes", "dangling": "-> missing"}
    remains = there(root)
    remains.pop("there", None)
    assert remains == {"empty": b"", "dlink": "-> d"}


def test_a_moved_link_leaves_what_it_leads_to(root: VeryTmpRoot, elsewhere: Path) -> None:
    (root / "dlink").move_into(elsewhere)
    (root / "d" / "in").move_into(elsewhere)
    assert there(elsewhere) == {"dlink": "-> d", "in": "-> e"}
    assert there(root)["d"] == {name: D[name] for name in D if name != "in"}


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("d", "missing/x"),
        ("f", "missing/x"),
        ("link", "missing/x"),
        ("d", "a file"),
        ("d", "a directory"),
        ("f", "a directory"),
        ("link", "a directory"),
        ("d", "a file/x"),
        ("f", "a file/x"),
        ("d", "x" * 256),
        ("missing", "x"),
        ("d", "nul\0"),
    ],
)
def test_a_move_that_fails_loses_nothing(root: VeryTmpRoot, elsewhere: Path, source: str, target: str) -> None:
    os.mkdir(elsewhere / "a directory")
    (elsewhere / "a directory" / "x").write_bytes(b"x")
    (elsewhere / "a file").write_bytes(b"y")
    before, around = there(root), there(elsewhere)
    with pytest.raises(ValueError if "\0" in target else OSError):
        (root / source).move(elsewhere / target)
    assert there(root) == before
    assert there(elsewhere) == around


@on_both_mounts
@pytest.mark.parametrize(
    ("source", "target"), [("d", "d"), ("d", "d/x"), ("d", "d/e/x"), ("d", "dlink/x"), ("d", "d/in/x"), ("f", "link")]
)
def test_a_move_into_itself(root: VeryTmpRoot, source: str, target: str) -> None:
    before = there(root)
    assert failure(lambda: (root / source).move(target))[0] == errno.EINVAL
    assert failure(lambda: (root / source).move(root / target))[0] == errno.EINVAL
    assert there(root) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into every directory")
def test_what_may_not_be_read_stays(root: VeryTmpRoot, elsewhere: Path) -> None:
    os.chmod(f"{os.fspath(root)}/f", 0)
    os.chmod(f"{os.fspath(root)}/d/e", 0)
    try:
        assert failure(lambda: (root / "f").copy(elsewhere / "f"))[0] == errno.EACCES
        assert failure(lambda: (root / "d" / "e").copy(elsewhere / "e"))[0] == errno.EACCES
        assert there(elsewhere) == {}
        if not isinstance(elsewhere, VeryTmpPath):
            assert failure(lambda: (root / "d").move(elsewhere / "d"))[0] == errno.EACCES
    finally:
        os.chmod(f"{os.fspath(root)}/f", 0o600)
        os.chmod(f"{os.fspath(root)}/d/e", 0o700)
    remains = there(root)
    remains.pop("there", None)
    assert remains == TREE


READ_ONLY = {  # which directory, and what cannot be moved then
    "d": ["d", "d/f", "d/e", "d/up"],
    "d/e": ["d", "d/e", "d/e/g"],
    "": ["d", "f", "link"],
}


@pytest.mark.parametrize("directory", READ_ONLY)
@pytest.mark.parametrize("mode", [0o555, 0o500, 0o666])
def test_what_may_not_be_removed_is_not_copied(root: VeryTmpRoot, host: Path, directory: str, mode: int) -> None:
    def move() -> None:
        if os.geteuid() == 0:
            kernel.drop_capabilities()
        for source in READ_ONLY[directory]:
            for target in (host / "x", other / "x"):
                number, name, _, notes = failure(lambda source=source, target=target: (root / source).move(target))  # type: ignore[misc]
                assert number == errno.EACCES
                if mode != 0o666:  # else it cannot even be looked at
                    assert (name, notes) == (str(root / directory), [NOT_REMOVABLE])
        if not directory:
            for target in (host, other.path):
                number = failure(lambda target=target: root.path.move_into(target))[0]  # type: ignore[misc]
                assert number == errno.EACCES

    with VeryTmpRoot() as other:
        before = there(root)
        os.chmod(root / directory, mode)
        try:
            in_child(move)
            assert there(other) == there(host) == {}
        finally:
            os.chmod(root / directory, 0o700)
        assert there(root) == before


def test_an_empty_directory_need_not_be_writable(root: VeryTmpRoot, host: Path) -> None:
    def move() -> None:
        if os.geteuid() == 0:
            kernel.drop_capabilities()
        (root / "d").move(host / "d")

    (root / "d" / "none").mkdir(0o500)
    in_child(move)
    assert there(host)["d"] == D | {"none": {}}
    assert there(root) == {name: TREE[name] for name in TREE if name != "d"}


if os.geteuid() == 0:

    def test_root_moves_what_is_read_only(root: VeryTmpRoot, host: Path) -> None:
        os.chmod(root / "d" / "e", 0o555)
        os.chmod(root / "d", 0o555)
        (root / "d").move(host / "d")
        assert there(host) == {"d": D}
        assert "d" not in there(root)
        os.chmod(host / "d", 0o700)
        os.chmod(host / "d" / "e", 0o700)


def test_what_a_filter_refuses_does_not_stop_a_move(root: VeryTmpRoot, host: Path) -> None:
    """Old containers refuse faccessat2(2), with EPERM."""

    def move() -> None:
        kernel.seccomp(kernel.Rule("faccessat2", errno.EPERM))
        (root / "d").move(host / "d")

    in_child(move)
    assert there(host) == {"d": D}


def test_what_is_above_is_not_moved(root: VeryTmpRoot, host: Path) -> None:
    before = there(root)
    assert failure(lambda: (root / "d" / "e" / "..").move(host / "x"))[0] == errno.EBUSY
    assert there(root) == before
    assert there(host) == {}


def test_nothing_is_moved_out_of_what_can_only_be_read(root: VeryTmpRoot, host: Path) -> None:
    """Which is no question of permissions."""

    def move() -> tuple[int | None, list[str]]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "access", lambda *_, **__: False)
            patch.setattr(os, "statvfs", lambda _: os.statvfs_result((0,) * 8 + (os.ST_RDONLY, 255)))
            number, _, _, notes = failure(lambda: (root / "d").move(host / "d"))
        return number, notes

    assert in_child(move) == (errno.EROFS, [NOT_REMOVABLE])
    assert there(host) == {}
