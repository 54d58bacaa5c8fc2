"""Whole trees, copied and deleted by descriptors: what depth and width cost, and names that are exchanged meanwhile."""

from __future__ import annotations

import errno
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from support import host_state, kernel
from support.children import in_child
from support.copies import bring_in, failure, there, within_seconds

from verytmp import VeryTmpRoot
from verytmp._confined.removal import delete

BOTH = [True, False]


@pytest.fixture(params=BOTH, ids=["nosymfollow", "symfollow"])
def root(request: pytest.FixtureRequest) -> Iterator[VeryTmpRoot]:
    with VeryTmpRoot(nosymfollow=request.param) as made:
        yield made


def dig(directory: int, count: int) -> None:
    """Make a chain of directories, with a file and a directory beside each."""
    here = os.open(".", os.O_PATH, dir_fd=directory)
    for _ in range(count):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_PATH, dir_fd=here)
        os.mkdir("beside", dir_fd=here)
        os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=here))
        os.close(here)
        here = below
    os.close(here)


def calls(function: Callable[[], object]) -> Counter[str]:
    """How many calls of each kind that have an audit event it makes, in a child."""

    def count() -> Counter[str]:
        counted: Counter[str] = Counter()
        sys.addaudithook(lambda event, _: counted.update([event]))
        function()
        return +counted

    return in_child(count)  # type: ignore[no-any-return]


# -- what it costs -----------------------------------------------------------------------------------------------------

WAYS: dict[str, Callable[[VeryTmpRoot, VeryTmpRoot], object]] = {
    "clear": lambda root, other: root.clear(),
    "move": lambda root, other: (root / "d").move(other / "d"),
    "copy": lambda root, other: (root / "d").copy(other / "d", follow_symlinks=False, preserve_metadata=True),
    "copy it all": lambda root, other: root.path.copy_into(other.path),
    "move it all": lambda root, other: root.path.move_into(other.path),
}
SOME_QUICK = [way if way in ("clear", "copy") else pytest.param(way, marks=pytest.mark.slow) for way in WAYS]


@pytest.mark.parametrize("way", SOME_QUICK)
def test_each_level_costs_the_same(root: VeryTmpRoot, way: str) -> None:
    costs = []
    for count in (200, 400, 600):
        with VeryTmpRoot(nosymfollow=root.nosymfollow) as one, VeryTmpRoot(nosymfollow=root.nosymfollow) as other:
            dig(one.fileno(), count)
            costs.append(calls(lambda: WAYS[way](one, other)).total())
    less, some, more = costs
    assert more - some == some - less
    assert some - less < 200 * 120


@pytest.mark.parametrize("way", SOME_QUICK)
def test_few_descriptors_are_enough(root: VeryTmpRoot, way: str) -> None:
    dig(root.fileno(), 300)

    def use(spare: int) -> int:
        with VeryTmpRoot(nosymfollow=root.nosymfollow) as other:
            kernel.fill_descriptor_table(spare)
            try:
                WAYS[way](root, other)
            except OSError as error:
                return error.errno or -1
            return 0

    found = [in_child(use, spare) for spare in range(10)]
    needed = found.index(0)
    assert 3 <= needed < 9
    assert found[:needed] == [errno.EMFILE] * needed


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["copy", "move"])
def test_three_thousand_levels(root: VeryTmpRoot, host: Path, verb: str) -> None:
    dig(root.fileno(), 3000)
    try:
        getattr(root / "d", verb)(host / "d")
        levels = 0
        here = os.open(host, os.O_PATH)
        while True:
            try:
                below = os.open("d", os.O_PATH, dir_fd=here)
            except FileNotFoundError:
                break
            os.close(here)
            here, levels = below, levels + 1
            if levels < 3000:
                assert sorted(os.listdir(f"/proc/self/fd/{here}")) == ["beside", "d", "f"]
        os.close(here)
        assert levels == 3000
    finally:
        if (host / "d").exists():  # shutil has not yet learnt to remove that
            with VeryTmpRoot() as other:
                bring_in(host / "d", other / "d")
                assert os.path.isdir(other / "d" / "d" / "beside")
            assert os.spawnlp(os.P_WAIT, "rm", "rm", "-rf", str(host / "d")) == 0
    assert ("d" in os.listdir(root)) == (verb == "copy")


def test_a_wide_tree(root: VeryTmpRoot, host: Path) -> None:
    for number in range(300):
        host_state.make(root.fileno(), {f"d{number}": {"a": {"f": b"a"}, "b": {}, "f": b"f", "l": "-> f"}})
    before = there(root)
    (root.path).copy(host / "x", follow_symlinks=False)
    assert there(host) == {"x": before}
    root.path.move_into(host / "x" / "d0" / "b")
    assert there(host / "x" / "d0" / "b") == before
    assert there(root) == {}


# -- names that are exchanged meanwhile --------------------------------------------------------------------------------

CHAIN: host_state.Tree = {
    "a": {"b": {"c": {"d": {"f": b"f"}, "g": b"g"}, "h": b"h"}},
    "victim": {"h": b"1", "b": {"c": {}}},
}


@pytest.mark.parametrize("way", ["clear", "move"])
def test_nothing_is_deleted_where_a_directory_was_moved(
    root: VeryTmpRoot, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    host_state.make(root.fileno(), {"root": CHAIN})
    inner = root / "root"
    with VeryTmpRoot() as other:
        original = os.unlink

        def exchange(path: str, *, dir_fd: int) -> None:
            if path == "f":
                monkeypatch.undo()
                (inner / "a" / "b" / "c").rename(inner / "victim" / "moved")
            original(path, dir_fd=dir_fd)

        monkeypatch.setattr(os, "unlink", exchange)
        call = root.clear if way == "clear" else lambda: (inner / "a").move(other / "a")
        number, path, *_ = failure(call)
        assert number == errno.ENOENT
        assert path == str(inner / "a" / "b" / "c")
    # What was in it is removed as far as that was under way; of what lies beside it now, nothing.
    assert there(inner / "victim") == {"h": b"1", "b": {"c": {}}, "moved": {}}


@pytest.mark.parametrize("side", ["source", "target"])
def test_nothing_is_copied_where_a_directory_was_moved(
    root: VeryTmpRoot, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    with VeryTmpRoot() as other:
        host_state.make(root.fileno(), CHAIN)
        host_state.make(other.fileno(), {"victim": {}})
        moved = root if side == "source" else other
        scandir = os.scandir
        listed = 0

        def exchange(directory: int) -> Any:
            nonlocal listed
            listed += 1
            if listed == 4:  # a, b, c, d
                monkeypatch.undo()
                top = moved / "a" / "b"
                (top / "c").rename(moved / "victim" / "moved")
            return scandir(directory)

        monkeypatch.setattr(os, "scandir", exchange)
        number, *_ = failure(lambda: (root / "a").copy(other / "a"))
        assert number == errno.ENOENT
        assert set(os.listdir(other / "victim")) <= {"moved"}


def test_what_is_gone_already_need_not_be_deleted(root: VeryTmpRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else deletes the same tree."""
    host_state.make(root.fileno(), {"d": {"e": {"f": b"", "g": b""}, "x": {"y": {"f": b""}}}, "kept": {"f": b"f"}})
    before = there(root)
    unlink, rmdir = os.unlink, os.rmdir

    def unlink_twice(path: str, *, dir_fd: int) -> None:
        unlink(path, dir_fd=dir_fd)
        unlink(path, dir_fd=dir_fd)

    def rmdir_twice(path: str, *, dir_fd: int) -> None:
        rmdir(path, dir_fd=dir_fd)
        if os.path.basename(path) != "d":
            rmdir(path, dir_fd=dir_fd)

    with VeryTmpRoot() as other:
        monkeypatch.setattr(os, "unlink", unlink_twice)
        monkeypatch.setattr(os, "rmdir", rmdir_twice)
        (root / "d").move(other / "d")
        monkeypatch.undo()
        assert there(other)["d"] == before["d"]
    assert there(root) == {"kept": {"f": b"f"}}


def test_what_takes_a_directorys_place_is_deleted_and_not_followed(
    root: VeryTmpRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it is entered, or before it is removed."""
    rmdir, scandir = os.rmdir, os.scandir
    for moment in ("entered", "removed"):
        root.clear()
        host_state.make(root.fileno(), {"d": {"x": {"y": {"f": b""}}}, "kept": {"y": {"f": b"f"}, "f": b"f"}})

        def exchange(directory: int) -> None:
            monkeypatch.undo()
            rename(directory, "x", root.fileno(), "was x")
            os.symlink("/kept", "x", dir_fd=directory)

        def scandir_and_exchange(directory: int) -> Any:
            found = scandir(directory)
            names = [entry.name for entry in found]
            found = scandir(directory)
            if names == ["x"]:
                listed = list(found)
                exchange(directory)
                return Listed(listed)
            return found

        def exchange_and_rmdir(path: str, *, dir_fd: int) -> None:
            if path == "x":
                exchange(dir_fd)
            rmdir(path, dir_fd=dir_fd)

        with VeryTmpRoot() as other:
            (root / "d").copy(other / "d")
            if moment == "entered":
                monkeypatch.setattr(os, "scandir", scandir_and_exchange)
            else:
                monkeypatch.setattr(os, "rmdir", exchange_and_rmdir)
            delete(root.path._tree, "d")
        left = {"y": {"f": b""}} if moment == "entered" else {}
        assert there(root) == {"kept": {"y": {"f": b"f"}, "f": b"f"}, "was x": left}


class Listed(list[Any]):
    """What os.scandir has found."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass


def rename(directory: int, name: str, other: int, new: str) -> None:
    os.rename(name, new, src_dir_fd=directory, dst_dir_fd=other)


# -- symlinks that are followed ----------------------------------------------------------------------------------------

LINKED: host_state.Tree = {
    "source": {"1": {"down": "-> ../../far"}, "2": "-> 1/down", "3": b"3"},
    "far": {"a": {"b": {"c": {"f": b"f", "up": "-> ../../../f"}}, "z": b"z"}, "f": b"far"},
}
FAR = {"a": {"b": {"c": {"f": b"f", "up": b"far"}}, "z": b"z"}, "f": b"far"}


def test_the_way_back_from_a_link(root: VeryTmpRoot, host: Path) -> None:
    """Which is not ``..``."""
    expected = {"1": {"down": FAR}, "2": FAR, "3": b"3"}
    host_state.make(root.fileno(), LINKED)
    host_state.make(str(host), LINKED)
    with VeryTmpRoot() as other:
        (root / "source").copy(other / "1")
        bring_in(host / "source", other / "2")
        assert there(other) == {"1": expected, "2": expected}


@pytest.mark.parametrize("up", ["..", ".", "../..", "../beside"])
def test_a_circle_of_links(root: VeryTmpRoot, host: Path, up: str) -> None:
    tree: host_state.Tree = {"top": {"d": {"round": f"-> {up}"}, "beside": {"back": "-> ../d"}}}
    host_state.make(root.fileno(), tree)
    host_state.make(str(host), tree)
    with VeryTmpRoot() as other:
        for call in (
            lambda: (root / "top" / "d").copy(other / "1"),
            lambda: bring_in(host / "top" / "d", other / "2"),
        ):
            said = within_seconds(call)
            assert said[0] == errno.ELOOP


@pytest.mark.parametrize("count", [40, 41])
def test_forty_links_in_a_row(root: VeryTmpRoot, host: Path, count: int) -> None:
    """Each is in the directory that the one before leads to."""
    tree: host_state.Tree = {str(number): {"l": f"-> ../{number + 1}"} for number in range(count)}
    tree[str(count)] = {"f": b"f"}
    host_state.make(root.fileno(), tree)
    host_state.make(str(host), tree)
    with VeryTmpRoot() as other:
        for call in (lambda: (root / "0").copy(other / "1"), lambda: bring_in(host / "0", other / "2")):
            said = within_seconds(call)
            assert said == "done" if count == 40 else said[0] == errno.ELOOP
        if count == 40:
            for name in ("1", "2"):
                found: Any = there(other)[name]
                for _ in range(40):
                    [found] = found.values()
                assert found == {"f": b"f"}
