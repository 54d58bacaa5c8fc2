"""Copies in every direction: inside a root, between two, out to the host, and in."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from support import host_state
from support.copies import FOLLOWED, PLACES, TREE, D, age, bring_in, failure, metadata, on_both_mounts, there

from verytmp import VeryTmpRoot

# -- copy --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", PLACES, indirect=True)
@pytest.mark.parametrize(
    ("source", "target", "follow", "change"),
    [
        ("f", "new", True, {"new": b"potatoes"}),
        ("empty", "new", True, {"new": b""}),
        ("empty", "f", True, {"f": b""}),
        ("f", "empty", True, {"empty": b"potatoes"}),
        ("f", "dangling", True, {"missing": b"potatoes"}),
        ("d/f", "link", True, {"f": b"d/f"}),
        ("f", "dlink/f", True, {"d": D | {"f": b"potatoes"}}),
        ("dlink/f", "new", True, {"new": b"d/f"}),
        ("d/../f", "d/e/../new", True, {"d": D | {"new": b"potatoes"}}),
        ("link", "new", True, {"new": b"potatoes"}),
        ("link", "new", False, {"new": "-> f"}),
        ("f", "new", False, {"new": b"potatoes"}),
        ("dangling", "new", False, {"new": "-> missing"}),
        ("dlink", "new", True, {"new": FOLLOWED}),
        ("dlink", "new", False, {"new": "-> d"}),
        ("d", "new", True, {"new": FOLLOWED}),
        ("d", "new", False, {"new": D}),
        ("d/e", "d/new", True, {"d": D | {"new": {"g": b"g"}}}),
        ("d/e", "dlink/new", True, {"d": D | {"new": {"g": b"g"}}}),
        ("d/e", "d/ee", True, {"d": D | {"ee": {"g": b"g"}}}),
    ],
)
def test_copy(base: Any, source: str, target: str, follow: bool, change: host_state.Tree) -> None:
    host_state.make(os.fspath(base), TREE)
    result = (base / source).copy(base / target, follow_symlinks=follow)
    assert result == base / target
    assert type(result) is type(base)
    assert there(base) == TREE | change


@on_both_mounts
@pytest.mark.parametrize("follow", [True, False])
def test_copy_anywhere(root: VeryTmpRoot, elsewhere: Path, follow: bool) -> None:
    assert (root / "d").copy(elsewhere / "new", follow_symlinks=follow) == elsewhere / "new"
    assert (root / "link").copy_into(elsewhere, follow_symlinks=follow) == elsewhere / "link"
    assert type((root / "d" / "e").copy_into(elsewhere)) is type(elsewhere)
    assert there(elsewhere) == {
        "new": FOLLOWED if follow else D,
        "link": b"potatoes" if follow else "-> f",
        "e": {"g": b"g"},
    }
    changed = there(root)
    changed.pop("there", None)
    assert changed == TREE


@on_both_mounts
def test_words_are_read_in_the_root(root: VeryTmpRoot, host: Path) -> None:
    """A string or a pure path is no way out: only a path that says where it is."""
    (root / str(host)).mkdir(parents=True)
    assert (root / "f").copy(f"{host}/a") == root / f"{host}/a"
    assert (root / "f").copy(PurePosixPath(host / "b")) == root / f"{host}/b"
    assert (root / "f").copy_into(str(host)) == root / f"{host}/f"
    assert (root / "empty").copy_into(PurePosixPath(host)) == root / f"{host}/empty"
    assert (root / "link").move(f"{host}/c") == root / f"{host}/c"
    assert (root / "dangling").move_into(PurePosixPath(host)) == root / f"{host}/dangling"
    assert (root / "f").copy(f"../../../..{host}/up") == root / f"../../../..{host}/up"
    assert (root / "f").copy(str(root / "own")) == root / "own"
    assert there(host) == {}
    assert there(root / str(host)) == {
        "a": b"potatoes",
        "b": b"potatoes",
        "c": "-> f",
        "dangling": "-> missing",
        "empty": b"",
        "f": b"potatoes",
        "up": b"potatoes",
    }
    assert there(root)["own"] == b"potatoes"


@on_both_mounts
def test_a_link_in_the_root_is_no_way_out(root: VeryTmpRoot, host: Path) -> None:
    (host / "f").write_bytes(b"the host's")
    os.symlink(host, f"{os.fspath(root)}/out")
    for call in (
        lambda: (root / "f").copy("out/f"),
        lambda: (root / "f").copy_into("out"),
        lambda: (root / "f").move("out/f"),
        lambda: (root / "out" / "f").copy("stolen"),
        lambda: (root / "out").copy("stolen"),
    ):
        assert failure(call)[0] == errno.ENOENT
    assert there(host) == {"f": b"the host's"}


def test_a_relative_plain_path_is_the_hosts(root: VeryTmpRoot, host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(host)
    assert (root / "f").copy(Path("out")) == Path("out")
    assert there(host) == {"out": b"potatoes"}


def test_a_plain_path_into_the_root_is_written_there(root: VeryTmpRoot) -> None:
    target = Path(root / "new")
    assert (root / "f").copy(target) == target
    assert there(root) == TREE | {"new": b"potatoes"}


@on_both_mounts
def test_the_whole_root(root: VeryTmpRoot, host: Path) -> None:
    with VeryTmpRoot() as other:
        assert root.path.copy(other / "all", follow_symlinks=False) == other / "all"
        assert root.path.copy(host / "all", follow_symlinks=False) == host / "all"
        assert there(other) == there(host) == {"all": TREE}


@on_both_mounts
@pytest.mark.parametrize("follow", [True, False])
def test_all_that_is_in_a_root(root: VeryTmpRoot, host: Path, follow: bool) -> None:
    """A root has no name: what is in it goes into the directory."""
    os.unlink(root / "dangling")
    before = there(root)
    expected = before | ({"link": b"potatoes", "dlink": FOLLOWED, "d": FOLLOWED} if follow else {})
    with VeryTmpRoot(nosymfollow=False) as other:
        for directory in (other.path, host):
            (directory / "kept").write_bytes(b"kept")
            (directory / "f").write_bytes(b"replaced")
            assert root.path.copy_into(directory, follow_symlinks=follow) == directory
            assert there(directory) == expected | {"kept": b"kept"}
            again = failure(lambda directory=directory: root.path.copy_into(directory))  # type: ignore[misc]
            assert again[0] == errno.EEXIST
            assert again[1] in {str(directory / name) for name in ("d", "dlink")}
            assert there(directory) == expected | {"kept": b"kept"}
    assert there(root) == before


def test_all_that_is_in_a_root_is_moved(root: VeryTmpRoot, host: Path) -> None:
    os.chmod(root / "d" / "e", 0o750)
    age(os.fspath(root))
    before = {name: each for name, each in metadata(root.path).items() if name != "."}
    (host / "kept").write_bytes(b"kept")
    assert root.path.move_into(host) == host
    assert there(host) == TREE | {"kept": b"kept"}
    assert {name: each for name, each in metadata(host).items() if name not in (".", "kept")} == before
    assert there(root) == {}
    assert root.path.move_into(host) == host
    with VeryTmpRoot() as other:
        (root / "new").write_bytes(b"still usable")
        assert root.path.move_into(other.path) == other.path
        assert there(other) == {"new": b"still usable"}
    assert there(root) == {}


def test_all_that_is_in_a_root_goes_nowhere_else(root: VeryTmpRoot, host: Path) -> None:
    before = there(root)
    (host / "f").write_bytes(b"f")
    for call in (root.path.copy_into, root.path.move_into):
        for target, number in (
            ("d", errno.EINVAL),
            (root.path, errno.EINVAL),
            (root / "d" / "e", errno.EINVAL),
            (Path(root / "d"), errno.EINVAL),
            (Path(root.path), errno.EINVAL),
            (host / "missing", errno.ENOENT),
            (host / "f", errno.ENOTDIR),
        ):
            assert failure(lambda target=target, call=call: call(target))[0] == number  # type: ignore[misc]
    assert there(root) == before
    assert there(host) == {"f": b"f"}


# -- in from the host --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("follow", [True, False])
def test_in(host: Path, follow: bool) -> None:
    host_state.make(str(host), TREE)
    for nosymfollow in (True, False):
        with VeryTmpRoot(nosymfollow=nosymfollow) as root:
            bring_in(host / "d", root / "x", follow_symlinks=follow)
            bring_in(host / "link", root / "y", follow_symlinks=follow)
            assert there(root) == {"x": FOLLOWED if follow else D, "y": b"potatoes" if follow else "-> f"}


@pytest.mark.parametrize("symlinks", [True, False])
def test_copytree(host: Path, symlinks: bool) -> None:
    host_state.make(str(host), TREE)
    (host / "dangling").unlink()
    expected = {name: TREE[name] for name in TREE if name != "dangling"}
    if not symlinks:
        expected |= {"link": b"potatoes", "dlink": FOLLOWED, "d": FOLLOWED}
    with VeryTmpRoot() as root:
        assert shutil.copytree(host, root / "x", symlinks=symlinks) == root / "x"
        assert there(root) == {"x": expected}
        os.mkdir(host / "back")
        if symlinks:  # what the kernel follows for nobody, shutil cannot read
            shutil.copytree(root / "x", host / "back", symlinks=True, dirs_exist_ok=True)
            assert there(host / "back") == expected


if sys.version_info >= (3, 14):

    @pytest.mark.parametrize("follow", [True, False])
    def test_in_by_pathlib(host: Path, follow: bool) -> None:
        host_state.make(str(host), TREE)
        with VeryTmpRoot() as root:
            assert (host / "d").copy(root / "x", follow_symlinks=follow) == root / "x"
            assert (host / "link").copy_into(root.path, follow_symlinks=follow) == root / "link"
            assert (host / "empty").copy(root / "y", preserve_metadata=True) == root / "y"
            assert there(root) == {
                "x": FOLLOWED if follow else D,
                "link": b"potatoes" if follow else "-> f",
                "y": b"",
            }
            assert os.fspath(host) not in os.readlink(f"{os.fspath(root)}/link") if not follow else True

    def test_moved_in_by_pathlib(host: Path) -> None:
        host_state.make(str(host), TREE)
        with VeryTmpRoot() as root:
            (host / "d").move(root / "x")
            (host / "f").move_into(root.path)
            assert there(root) == {"x": D, "f": b"potatoes"}
            assert there(host) == {name: TREE[name] for name in TREE if name not in ("d", "f")}


SIZELESS = [
    name
    for name in (
        "/proc/self/mounts",
        "/proc/self/cmdline",
        "/proc/filesystems",
        "/proc/devices",
        "/sys/devices/system/cpu/possible",  # its size is a page
    )
    if os.path.exists(name)
]


@pytest.mark.parametrize("name", SIZELESS)
def test_a_file_whose_size_says_nothing(root: VeryTmpRoot, name: str) -> None:
    with open(name, "rb") as file:
        content = file.read()
    bring_in(Path(name), root / "f")
    assert there(root)["f"] == content
