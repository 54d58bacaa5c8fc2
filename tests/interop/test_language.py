"""Paths in the hands of the language: plain paths of them, copies, dispatch, match statements."""

from __future__ import annotations

import copy
import functools
import os
from pathlib import Path, PosixPath, PurePath, PurePosixPath

from support import host_state
from support.compare_with_host import string

from verytmp import VeryTmpPath, VeryTmpRoot


def test_a_plain_path_of_one(root: VeryTmpRoot) -> None:
    path = root / "d" / "f.txt"
    for plain in (Path(path), PosixPath(path), Path(root.path, "d", "f.txt"), Path(root, "d", "f.txt")):
        assert type(plain) is PosixPath
        assert str(plain) == str(path) == f"{string(root)}/d/f.txt"
        assert plain.parts[-2:] == ("d", "f.txt")
        assert plain.parent.parent == Path(root)
        plain.parent.mkdir(exist_ok=True)
        plain.write_text("by its string")
        assert path.read_text() == "by its string"
    assert type(PurePosixPath(path)) is type(PurePath(path)) is PurePosixPath
    assert Path(path) == Path(str(path))
    assert str(Path(root.path)) == string(root)


def test_copies(root: VeryTmpRoot) -> None:
    path = root / "d" / "f"
    assert copy.copy(path) == copy.deepcopy(path) == path
    assert copy.deepcopy({"paths": [path, path.parent]}) == {"paths": [path, path.parent]}
    copy.deepcopy(path.parent).mkdir()
    assert host_state.look(root.fileno()) == {"d": {}}


def test_singledispatch(root: VeryTmpRoot) -> None:
    @functools.singledispatch
    def kind(_: object) -> str:
        return "object"

    kind.register(os.PathLike, lambda _: "PathLike")
    assert kind(root / "f") == kind(root) == "PathLike"
    for base in (PurePath, Path, PosixPath, VeryTmpPath):
        kind.register(base, lambda _, base=base: base.__name__)
        assert kind(root / "f") == base.__name__
        assert kind(root) == "PathLike"
    assert kind(Path("f")) == "PosixPath"


def test_match_statements(root: VeryTmpRoot) -> None:
    def kind(thing: object) -> object:
        match thing:
            case str():
                return "str"
            case VeryTmpPath(name="f", parent=VeryTmpPath(name=parent)):
                return parent
            case VeryTmpPath(suffix=".txt" | ".md"):
                return "text"
            case Path(parts=[_, first, *_]) if isinstance(thing, VeryTmpPath):
                return first
            case Path():
                return "path"
            case os.PathLike():
                return "PathLike"
        return None

    things = (root / "d" / "f", root / "a.txt", root / "x" / "y", root.path, Path("f"), root, str(root))
    assert [kind(thing) for thing in things] == ["d", "text", "x", "path", "path", "PathLike", "str"]
