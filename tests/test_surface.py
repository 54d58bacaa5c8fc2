"""The whole surface is decided: each public name and keyword of pathlib, of the running Python and of the newest."""

from __future__ import annotations

import inspect
import os
import pathlib
from collections.abc import Callable
from pathlib import Path, PosixPath

import pytest
from support import all_operations, tripwire

from verytmp import VeryTmpPath, VeryTmpRoot

# pathlib's own, for they look at no more than `name`, or at nothing.
PURE = {"suffix", "suffixes", "stem", "parser", "is_reserved"}
PURE_SPECIAL = {
    "__bytes__",  # os.fsencode, and so os.fspath
    "__class_getitem__",
    "__doc__",
    "__enter__",  # until Python 3.12; it warns, and does nothing
    "__exit__",
    "__init__",
    "__module__",
    "__slots__",
    "__static_attributes__",
    "__firstlineno__",
    "__dict__",
    "__vfspath__",  # str (Python 3.15)
    "__subclasshook__",
    "__parent__",
    "__open_rb__",
}
REFUSED = {"cwd", "home", "from_uri"}

# What Python 3.15's pathlib.Path has, with its keywords. All of it is here on every Python.
NEWEST = {
    "absolute": "",
    "anchor": "",
    "as_posix": "",
    "as_uri": "",
    "chmod": "mode follow_symlinks",
    "copy": "target follow_symlinks preserve_metadata",
    "copy_into": "target_dir follow_symlinks preserve_metadata",
    "cwd": "",
    "drive": "",
    "exists": "follow_symlinks",
    "expanduser": "",
    "from_uri": "uri",
    "full_match": "pattern case_sensitive",
    "glob": "pattern case_sensitive recurse_symlinks",
    "group": "follow_symlinks",
    "hardlink_to": "target",
    "home": "",
    "info": "",
    "is_absolute": "",
    "is_block_device": "",
    "is_char_device": "",
    "is_dir": "follow_symlinks",
    "is_fifo": "",
    "is_file": "follow_symlinks",
    "is_junction": "",
    "is_mount": "",
    "is_relative_to": "other",
    "is_socket": "",
    "is_symlink": "",
    "iterdir": "",
    "joinpath": "pathsegments",
    "lchmod": "mode",
    "lstat": "",
    "match": "path_pattern case_sensitive",
    "mkdir": "mode parents exist_ok parent_mode",
    "move": "target",
    "move_into": "target_dir",
    "name": "",
    "open": "mode buffering encoding errors newline",
    "owner": "follow_symlinks",
    "parent": "",
    "parents": "",
    "parser": "",
    "parts": "",
    "read_bytes": "",
    "read_text": "encoding errors newline",
    "readlink": "",
    "relative_to": "other walk_up",
    "rename": "target",
    "replace": "target",
    "resolve": "strict",
    "rglob": "pattern case_sensitive recurse_symlinks",
    "rmdir": "",
    "root": "",
    "samefile": "other_path",
    "stat": "follow_symlinks",
    "stem": "",
    "suffix": "",
    "suffixes": "",
    "symlink_to": "target target_is_directory",
    "touch": "mode exist_ok",
    "unlink": "missing_ok",
    "walk": "top_down on_error follow_symlinks",
    "with_name": "name",
    "with_segments": "pathsegments",
    "with_stem": "stem",
    "with_suffix": "suffix",
    "write_bytes": "data",
    "write_text": "data encoding errors newline",
}


OURS = {"publish", "unpack"}  # which pathlib does not have


def definer(name: str) -> type:
    return next(base for base in VeryTmpPath.__mro__ if name in base.__dict__)


def test_every_public_name_is_decided() -> None:
    names = {name for name in dir(PosixPath) if not name.startswith("_")}
    assert {name for name in names - PURE if not definer(name).__module__.startswith("verytmp")} == set()


def test_every_special_name_is_decided() -> None:
    pathlibs = {base for base in PosixPath.__mro__ if base.__module__.startswith("pathlib")}
    names = {name for base in pathlibs for name in base.__dict__ if name.startswith("__")}
    assert {name for name in names - PURE_SPECIAL if not definer(name).__module__.startswith("verytmp")} == set()


def test_every_keyword_is_decided() -> None:
    for name in dir(PosixPath):
        theirs, ours = getattr(PosixPath, name), getattr(VeryTmpPath, name)
        if name.startswith("_") or name in PURE or not callable(theirs):
            continue
        known = inspect.signature(ours).parameters
        for parameter in inspect.signature(theirs).parameters.values():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            assert parameter.name in known, f"{name}({parameter.name}=)"
            assert known[parameter.name].default == parameter.default, f"{name}({parameter.name}=)"


@pytest.mark.parametrize("name", NEWEST)
def test_the_newest_surface_is_here(name: str) -> None:
    member = inspect.getattr_static(VeryTmpPath, name)
    if callable(member) or isinstance(member, classmethod):
        parameters = set(inspect.signature(getattr(VeryTmpPath, name)).parameters)
        assert set(NEWEST[name].split()) <= parameters
    else:
        assert NEWEST[name] == ""


def test_every_operation_is_attacked() -> None:
    """The tests of confinement, races, attacks and closed roots are made from one table: all of pathlib is in it."""
    names = {name for name in dir(PosixPath) if not name.startswith("_")}
    assert all_operations.covered() - {"is_reserved", "link_to"} == set(NEWEST) | OURS
    assert names <= all_operations.covered()


def test_the_newest_surface_is_all_of_pathlib() -> None:
    """A name that a coming Python adds is to be put on the list."""
    gone = {"is_reserved", "link_to"}  # from Pythons before the newest
    assert {name for name in dir(PosixPath) if not name.startswith("_")} - gone <= set(NEWEST)


@pytest.mark.parametrize("name", sorted(set(NEWEST) - REFUSED))
def test_state_survives(root: VeryTmpRoot, name: str) -> None:
    """What is derived from a path belongs to its root: a marker in the class is in all of them."""

    class Marked(VeryTmpPath):
        __slots__ = ()

    path = object.__new__(Marked)
    path._tree, path._rel, path._name = root.path._tree, "d/f.txt", None
    os.mkdir("d", dir_fd=root.fileno())
    (root / "d" / "f.txt").touch()
    derive: dict[str, Callable[[], object]] = {
        "absolute": path.absolute,
        "expanduser": path.expanduser,
        "parent": lambda: path.parent,
        "parents": lambda: path.parents[0],
        "joinpath": lambda: path.joinpath("x"),
        "with_name": lambda: path.with_name("x"),
        "with_stem": lambda: path.with_stem("x"),
        "with_suffix": lambda: path.with_suffix(".x"),
        "with_segments": lambda: path.with_segments("x"),
        "iterdir": lambda: next(iter(path.parent.iterdir())),
        "glob": lambda: next(iter(path.parent.glob("*"))),
        "rglob": lambda: next(iter(path.parent.rglob("*"))),
        "walk": lambda: next(iter(path.parent.walk()))[0],
        "resolve": path.resolve,
        "rename": lambda: path.rename("/d/g"),
        "replace": lambda: path.replace("/d/g"),
        "copy": lambda: path.copy("/d/g"),
        "copy_into": lambda: path.copy_into("/"),
        "move": lambda: path.move("/d/g"),
        "move_into": lambda: path.move_into("/"),
    }
    if name in derive:
        derived = derive[name]()
        assert type(derived) is Marked
        assert derived._tree is root.path._tree


# -- the tripwire itself -----------------------------------------------------------------------------------------------


def test_pathlibs_own_code_would_trip(root: VeryTmpRoot) -> None:
    path = root / "f"
    path.touch()
    with tripwire.watching() as touched, pytest.raises(tripwire.Tripped):
        pathlib.PosixPath.resolve(path)
    assert touched


def test_a_call_on_the_host_would_trip(root: VeryTmpRoot, host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def astray(*_: object, **__: object) -> None:
        os.mkdir(os.path.join(host, "astray"))

    with monkeypatch.context() as patch:
        patch.setattr("verytmp._confined.tree.Tree.mkdir", astray)
        patch.setattr(tripwire, "MODULES", tripwire.MODULES | {__file__})
        with tripwire.watching(), pytest.raises(tripwire.Tripped):
            (root / "d").mkdir()
    assert os.listdir(host) == []
