"""Copies that hit ENOSPC: of a file nothing stays, of a tree the files that fit."""

from __future__ import annotations

import errno
import os
import resource
import sys
from pathlib import Path
from typing import Any

import pytest
from support.children import in_child
from support.copies import REFUSED, TREE, bring_in, failure, refuse, sparse, there, within_seconds

from verytmp import VeryTmpRoot
from verytmp._paths import transfer

NOTE = "The target, of which only a part was written, is removed."


@pytest.mark.parametrize("refused", REFUSED)
@pytest.mark.parametrize("verb", ["copy", "copy_into", "move", "move_into"])
def test_a_file_that_does_not_fit_is_not_there(root: VeryTmpRoot, verb: str, refused: str) -> None:
    sparse(os.fspath(root / "big"), [(0, 3 << 20)])
    before = there(root)
    with VeryTmpRoot(size="1m") as other:
        (other / "kept").write_bytes(b"x" * 1000)
        target = other.path if verb.endswith("into") else other / "big"

        def call() -> object:
            refuse(REFUSED[refused], errno.EPERM)
            return getattr(root / "big", verb)(target)

        assert within_seconds(call) == (errno.ENOSPC, str(root / "big"), str(other / "big"), [NOTE])
        assert there(other) == {"kept": b"x" * 1000}
        assert other.usage().used < 100_000
    assert there(root) == before


def test_nor_in_its_own_root() -> None:
    with VeryTmpRoot(size="1m") as root:
        data = os.urandom(700_000)
        (root / "f").write_bytes(data)
        said = failure(lambda: (root / "f").copy("g"))
        assert said == (errno.ENOSPC, str(root / "f"), str(root / "g"), [NOTE])
        assert there(root) == {"f": data}
        (root / "f").move("g")
        assert there(root) == {"g": data}


def test_nor_when_it_comes_in(host: Path) -> None:
    sparse(str(host / "f"), [(0, 3 << 20)])
    with VeryTmpRoot(size="1m") as root:
        said = failure(lambda: bring_in(host / "f", root / "g"))
        assert said == (errno.ENOSPC, str(host / "f"), str(root / "g"), [NOTE])
        assert there(root) == {}


def test_nor_by_way_of_a_link(root: VeryTmpRoot) -> None:
    """What was written a part of is what the link leads to."""
    sparse(os.fspath(root / "big"), [(0, 3 << 20)])
    with VeryTmpRoot(size="1m") as other:
        (other / "link").symlink_to("real")
        assert failure(lambda: (root / "big").copy(other / "link"))[0] == errno.ENOSPC
        assert "real" not in there(other)
        assert other.usage().used < 100_000


def test_nor_beyond_the_limit_of_a_files_size(root: VeryTmpRoot, elsewhere: Path) -> None:
    sparse(os.fspath(root / "big"), [(0, 3 << 20)])

    def call() -> object:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        return (root / "big").copy(elsewhere / "big")

    assert within_seconds(call) == (errno.EFBIG, str(root / "big"), str(elsewhere / "big"), [NOTE])
    assert there(elsewhere) == {}


def test_what_is_gone_already_is_not_removed(root: VeryTmpRoot) -> None:
    path = root / "gone"
    with path.open("wb") as file:
        path.unlink()
        assert not transfer.unlink_partial(path, file.fileno())
        path.write_bytes(b"another one")
        assert not transfer.unlink_partial(path, file.fileno())
    assert path.read_bytes() == b"another one"


def test_nor_when_it_is_interrupted(root: VeryTmpRoot, elsewhere: Path) -> None:
    (root / "f").write_bytes(b"potatoes" * 10_000)  # less is copied by two calls, between which no event is

    def interrupt(event: str, _: object) -> None:
        if event == "os.truncate":
            raise KeyboardInterrupt

    def call() -> str:
        sys.addaudithook(interrupt)  # for good
        try:
            (root / "f").copy(elsewhere / "x")
        except KeyboardInterrupt:
            return "interrupted"
        return "not interrupted"

    assert in_child(call) == "interrupted"
    assert there(elsewhere) == {}


def test_of_a_tree_the_files_that_fit_are_whole(root: VeryTmpRoot) -> None:
    for name in ("1", "2", "3", "4"):
        sparse(os.fspath(root / "d" / name), [(0, 400_000)], 400_000)
    sources: Any = there(root / "d")
    with VeryTmpRoot(size="1m") as other:
        number, _, target, notes = failure(lambda: (root / "d").move(other / "d"))
        assert (number, notes) == (errno.ENOSPC, [NOTE])
        copied: Any = there(other)["d"]
        assert os.path.basename(str(target)) not in copied
        assert {name: copied[name] for name in copied if name in "1234"}
        assert all(sources[name] == content for name, content in copied.items())
    assert there(root / "d") == sources


def test_no_room_for_another_name(root: VeryTmpRoot) -> None:
    with VeryTmpRoot(nr_inodes=3) as other:
        (root / "f").copy(other / "1")
        (root / "link").copy(other / "2", follow_symlinks=False)
        for name in ("f", "d", "link"):
            path, target = root / name, other / "3"
            assert failure(lambda path=path, target=target: path.move(target))[0] == errno.ENOSPC  # type: ignore[misc]
        assert there(other) == {"1": b"potatoes", "2": "-> f"}
    assert there(root) == TREE
