"""What a path does to names: entries made, listed, renamed, removed."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from support.files import TREE, failure, plain, there

from verytmp import VeryTmpPath, VeryTmpRoot


def test_iterdir(tree: Path) -> None:
    assert {path.name for path in tree.iterdir()} == set(TREE)
    assert {path.name for path in (tree / "chain").iterdir()} == {"f", "e"}
    assert list((tree / "d" / "e").iterdir()) == []
    for path in tree.iterdir():
        assert type(path) is type(tree)
        assert path.parent == tree
    if isinstance(tree, VeryTmpPath):
        assert sorted(map(str, tree.iterdir())) == sorted(str(tree) + name for name in TREE)


def test_mkdir(tree: Path) -> None:
    (tree / "new").mkdir()
    (tree / "new" / "deep" / "er").mkdir(parents=True)
    (tree / "dlink" / "x").mkdir()
    (tree / "d" / ".." / "y").mkdir()
    (tree / "d").mkdir(exist_ok=True)
    (tree / "dlink").mkdir(exist_ok=True)
    (tree / "d" / "e" / ".." / "z").mkdir(parents=True)
    (tree / "p" / ".." / "q").mkdir(parents=True)
    tree.mkdir(exist_ok=True, parents=True)
    expected = TREE | {"new": {"deep": {"er": {}}}, "y": {}, "p": {}, "q": {}}
    expected["d"] = {"f": b"d/f", "e": {}, "x": {}, "z": {}}
    assert there(tree) == expected


def test_mkdir_parents_have_their_own_mode(root: VeryTmpRoot) -> None:
    (root / "a" / "b" / "c").mkdir(0o750, parents=True, parent_mode=0o700)
    assert [oct((root / name).stat().st_mode & 0o777) for name in ("a", "a/b", "a/b/c")] == ["0o700", "0o700", "0o750"]


def test_unlink_and_rmdir(tree: Path) -> None:
    for name in ("f", "link", "dangling", "loop", "dlink/f"):
        (tree / name).unlink()
    (tree / "missing").unlink(missing_ok=True)
    (tree / "d" / "e").rmdir()
    (tree / "dlink").unlink()
    (tree / "d" / ".." / "chain").unlink()
    assert there(tree) == {"empty": b"", "text": TREE["text"], "latin": b"caf\xe9", "d": {}, "up": "-> d/.."}


def test_touch(base: Path) -> None:
    (base / "f").touch()
    (base / "f").touch(exist_ok=True)
    assert there(base) == {"f": b""}
    os.utime(f"{plain(base)}/f", (1, 1))
    (base / "f").touch()
    assert os.stat(f"{plain(base)}/f").st_mtime > 1e9
    assert failure(lambda: (base / "f").touch(exist_ok=False))[0] == errno.EEXIST
    os.symlink("f", f"{plain(base)}/link")
    os.utime(f"{plain(base)}/f", (1, 1))
    (base / "link").touch()
    assert os.stat(f"{plain(base)}/f").st_mtime > 1e9
    os.symlink("new", f"{plain(base)}/dangling")
    (base / "dangling").touch()
    assert there(base) == {"f": b"", "link": "-> f", "dangling": "-> new", "new": b""}


@pytest.mark.parametrize("verb", ["rename", "replace"])
def test_rename(tree: Path, verb: str) -> None:
    def move(source: str, target: str) -> None:
        result = getattr(tree / source, verb)(tree / target)
        assert result == tree / target
        assert type(result) is type(tree)

    move("f", "g")
    move("dlink/f", "h")
    move("link", "empty")  # a symlink itself; and over a file
    move("d", "dd")
    move("dd/../text", "dd/text")
    move("loop", "dd/loop")
    assert there(tree) == {
        "g": b"potatoes",
        "h": b"d/f",
        "empty": "-> f",
        "latin": b"caf\xe9",
        "dd": {"e": {}, "text": TREE["text"], "loop": "-> loop"},
        "dlink": "-> d",
        "chain": "-> dlink",
        "dangling": "-> missing",
        "up": "-> d/..",
    }


def test_a_renames_words_are_read_in_the_root(root: VeryTmpRoot) -> None:
    from pathlib import PurePosixPath

    (root / "d").mkdir()
    (root / "d" / "f").write_text("f")
    assert (root / "d" / "f").rename("g") == root / "g"
    assert (root / "g").rename("/d/h") == root / "d" / "h"
    assert (root / "d/h").rename(PurePosixPath("i")) == root / "i"
    assert (root / "i").rename(str(root / "j")) == root / "j"
    assert (root / "j").rename(Path(root / "k")) == root / "k"
    assert there(root.path) == {"d": {}, "k": b"f"}


def test_a_rename_out_of_the_root_is_another_file_system(root: VeryTmpRoot, host: Path) -> None:
    with VeryTmpRoot() as other:
        path = root / "f"
        path.write_text("f")
        for target in (host / "f", Path("f"), other / "f"):
            assert failure(lambda target=target: path.rename(target)) == (errno.EXDEV, str(path), str(target))  # type: ignore[misc]
            assert failure(lambda target=target: path.replace(target))[0] == errno.EXDEV  # type: ignore[misc]
        assert there(root.path) == {"f": b"f"}
        assert there(other.path) == {}
        assert list(host.iterdir()) == []
