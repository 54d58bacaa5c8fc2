"""Copies of FIFOs, sockets and devices, which are left out and reported; by a move they keep their place."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest
from support.copies import FOLLOWED, TREE, D, bring_in, special, there, within_seconds

from verytmp import VeryTmpRoot


@pytest.mark.parametrize("verb", ["copy", "copy_into"])
def test_what_cannot_be_copied_is_refused(root: VeryTmpRoot, elsewhere: Path, verb: str) -> None:
    special(root)
    for name in ("fifo", "socket"):
        target = elsewhere if verb == "copy_into" else elsewhere / name
        said = within_seconds(lambda name=name, target=target: getattr(root / name, verb)(target))  # type: ignore[misc]
        assert said == (errno.EINVAL, str(root / name), str(elsewhere / name), [])
    assert there(elsewhere) == {}


COPIED = "Everything else was copied. Left out: 'a fifo', 'e/fifo'."
KEPT = "Nothing was removed from the source."


@pytest.mark.parametrize("follow", [True, False])
def test_in_a_tree_it_is_left_out_and_reported(root: VeryTmpRoot, elsewhere: Path, follow: bool) -> None:
    special(root)
    os.mkfifo(f"{os.fspath(root)}/d/a fifo")
    os.symlink("../a fifo", f"{os.fspath(root)}/d/e/to fifo")
    said = within_seconds(lambda: (root / "d").copy(elsewhere / "d", follow_symlinks=follow))
    number, source, target, [note] = said
    assert number == errno.EINVAL
    assert source.startswith(str(root / "d"))
    assert source.endswith("fifo")
    assert target == source.replace(str(root / "d"), str(elsewhere / "d"))
    if follow:
        assert sorted(note.partition("Left out: ")[2].rstrip(".").split(", ")) == [
            "'a fifo'", "'e/fifo'", "'e/to fifo'", "'in/fifo'", "'in/to fifo'"
        ]  # fmt: skip
        assert there(elsewhere) == {"d": FOLLOWED}
    else:
        assert note == COPIED
        e: Any = D["e"]
        assert there(elsewhere) == {"d": D | {"e": e | {"to fifo": "-> ../a fifo"}}}


@pytest.mark.parametrize("way", ["another root", "the host"])
def test_a_move_leaves_the_source_then(root: VeryTmpRoot, host: Path, way: str) -> None:
    """The copy has everything else, so that nothing has to be tried again."""
    special(root)
    os.mkfifo(f"{os.fspath(root)}/d/a fifo")
    before = there(root)
    with VeryTmpRoot() as other:
        target = host if way == "the host" else other.path
        said = within_seconds(lambda: (root / "d").move_into(target))
        assert (said[0], said[3]) == (errno.EINVAL, [COPIED, KEPT])
        assert there(target) == {"d": D}
        said = within_seconds(lambda: (root / "fifo").move_into(target))
        assert said == (errno.EINVAL, str(root / "fifo"), str(target / "fifo"), [])
        assert there(target) == {"d": D}
    assert there(root) == before


@pytest.mark.parametrize("verb", ["copy", "move"])
def test_of_a_whole_root_too(root: VeryTmpRoot, host: Path, verb: str) -> None:
    special(root)
    os.unlink(root / "socket")
    os.unlink(root / "dangling")
    before = there(root)

    def call() -> object:
        return root.path.move_into(host) if verb == "move" else root.path.copy_into(host, follow_symlinks=False)

    number, _, _, [left_out, *notes] = within_seconds(call)
    assert number == errno.EINVAL
    assert sorted(left_out.partition("Left out: ")[2].rstrip(".").split(", ")) == ["'d/e/fifo'", "'fifo'"]
    assert notes == ([KEPT] if verb == "move" else [])
    assert there(host) == {name: before[name] for name in before if name != "fifo"} | {"d": D}
    assert there(root) == before


def test_what_cannot_be_copied_in_is_refused(root: VeryTmpRoot, host: Path) -> None:
    os.mkfifo(host / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(host / "socket"))
    for name in (host / "fifo", host / "socket", Path("/dev/null")):
        assert within_seconds(lambda name=name: bring_in(name, root / "x"))[0] == errno.EINVAL  # type: ignore[misc]
    assert there(root) == TREE
    (host / "f").write_bytes(b"potatoes")
    said = within_seconds(lambda: bring_in(host, root / "x"))
    assert said[0] == errno.EINVAL
    assert there(root) == TREE | {"x": {"f": b"potatoes"}}


def test_a_fifo_is_moved_within_a_root(root: VeryTmpRoot) -> None:
    special(root)
    (root / "fifo").move("d/moved")
    assert stat.S_ISFIFO(os.lstat(f"{os.fspath(root)}/d/moved").st_mode)
    assert not os.path.lexists(f"{os.fspath(root)}/fifo")


@pytest.mark.parametrize("reader", [True, False])
def test_a_fifo_in_the_targets_place_stays(root: VeryTmpRoot, elsewhere: Path, reader: bool) -> None:
    """Whether or not it takes what is written, it is no half-made copy."""
    fifo = os.fspath(elsewhere / "fifo")
    os.mkfifo(fifo)

    def call() -> None:
        if reader:
            os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        (root / "f").copy(elsewhere / "fifo")

    assert within_seconds(call) is not None
    assert stat.S_ISFIFO(os.lstat(fifo).st_mode)


if os.geteuid() == 0:

    def test_a_device_in_the_targets_place_stays(root: VeryTmpRoot, host: Path) -> None:
        """Or a copy to /dev/null would be the end of it."""
        os.mknod(host / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        assert within_seconds(lambda: (root / "f").copy(host / "null")) is not None
        assert stat.S_ISCHR(os.lstat(host / "null").st_mode)
