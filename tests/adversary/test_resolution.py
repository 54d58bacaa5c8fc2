"""Where paths lead, as a table: the cases of libpathrs's and of securejoin's own tests, in a tree of our own.

The truth is what the kernel says of the place that a row names, asked without any link or dots on the way.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest
from support import host_state
from support.canary import Canary

from verytmp import VeryTmpRoot

FAR = "/".join([".."] * 16)

TREE: host_state.Tree = {
    "plain": {},
    "x": {"y": {"file": b"inside", "z": {"deep": {}}}},
    "short": "-> /x/y/z",
    "file": "-> x/y/file",
    "target": {"in": b"inside"},
    "cousins": {"one": {}},
    # to the root, in three spellings
    "top": "-> /",
    "over": "-> /..",
    "far": f"-> /{FAR}",
    # links by way of links, which are not what their targets look like
    "first": {"abs": "-> /target", "rel": "-> ../target", "up": f"-> {FAR}/target"},
    "second": {"abs": "-> /first", "rel": "-> ../first"},
    "third": {"abs": "-> /second/rel/rel", "rel": "-> ../second/rel/rel"},
    "sub": {"rel": "-> ../cousins/one", "abs": "-> /../cousins/one", "far": f"-> /{FAR}/cousins/one"},
    # to nothing
    "gone1": "-> plain/none",
    "gone2": "-> plain/none/of/these/..",
    "gone3": "-> plain/none/../../x",
    "away": {"gone": "-> /plain/none", "gone2": "-> ../second/rel/rel/none"},
    "stairs": {
        "a": "-> b/c",
        "b": {"c": "-> ../c"},
        "c": "-> d/e",
        "d": {"e": "-> ../e"},
        "e": "-> f/../g",
        "f": {},
        "g": "-> h/none",
        "h": {},
        "through": "-> ../x/y/file/none",
    },
    # round and round
    "loop": {
        "self": "-> self",
        "abs": "-> /loop/abs",
        "rel": "-> ../loop/rel",
        "far": f"-> /{FAR}/loop/far",
        "a": {"l": "-> ../b/l"},
        "b": {"l": "-> /loop/c/l"},
        "c": {"l": "-> /loop/d/l"},
        "d": "-> a",
    },
}


class Row(NamedTuple):
    """Where it leads, or why not. With *itself*, where it leads if its last link is not followed."""

    leads: str | int
    itself: str | None = None


ROWS = {
    "/": Row("/"),
    f"/{FAR}": Row("/"),
    FAR: Row("/"),
    f"{FAR}/target": Row("/target"),
    f"./{FAR}/.//././../x/./y": Row("/x/y"),
    f"none/../{FAR}/target": Row(errno.ENOENT),
    "top": Row("/", "/top"),
    "over": Row("/", "/over"),
    "far": Row("/", "/far"),
    "top/over/far/target": Row("/target"),
    "top/../../over/..": Row("/"),
    "plain": Row("/plain"),
    "x/y/z/deep": Row("/x/y/z/deep"),
    "x///././y////.//z/./././///deep////": Row("/x/y/z/deep"),
    "x/y/file": Row("/x/y/file"),
    "file": Row("/x/y/file", "/file"),
    "short": Row("/x/y/z", "/short"),
    "short/deep": Row("/x/y/z/deep"),
    "short/..": Row("/x/y"),
    "short/../file": Row("/x/y/file"),
    "short/../../../file": Row("/x/y/file", "/file"),
    "plain/none/of/these": Row(errno.ENOENT),
    "plain/none/../file": Row(errno.ENOENT),
    "x/y/file/none": Row(errno.ENOTDIR),
    "x/y/file/..": Row(errno.ENOTDIR),
    "x/y/file/../file": Row(errno.ENOTDIR),
    "file/..": Row(errno.ENOTDIR),
    "file/../none": Row(errno.ENOTDIR),
    "target/../target/in": Row("/target/in"),
    "target/../target/none/../in": Row(errno.ENOENT),
    **{f"first/{link}": Row("/target", f"/first/{link}") for link in ("abs", "rel", "up")},
    **{f"first/{link}/in": Row("/target/in") for link in ("abs", "rel", "up")},
    **{f"first/{link}/none": Row(errno.ENOENT) for link in ("abs", "rel", "up")},
    **{
        f"second/{one}/{other}": Row("/target", f"/first/{other}") for one in ("abs", "rel") for other in ("abs", "rel")
    },
    **{f"second/{one}/../target/in": Row("/target/in") for one in ("abs", "rel")},
    **{f"second/{one}/../first/rel/../x": Row("/x") for one in ("abs", "rel")},
    **{f"second/{one}/rel/none/../in": Row(errno.ENOENT) for one in ("abs", "rel")},
    **{f"third/{link}": Row("/target", f"/third/{link}") for link in ("abs", "rel")},
    **{f"third/{link}/../plain": Row("/plain") for link in ("abs", "rel")},
    **{f"sub/{link}": Row("/cousins/one", f"/sub/{link}") for link in ("rel", "abs", "far")},
    **{f"sub/{link}/..": Row("/cousins") for link in ("rel", "abs", "far")},
    **{f"sub/{link}/../one": Row("/cousins/one") for link in ("rel", "abs", "far")},
    "sub/../plain": Row("/plain"),
    **{f"gone{n}": Row(errno.ENOENT, f"/gone{n}") for n in (1, 2, 3)},
    **{f"gone{n}/none": Row(errno.ENOENT) for n in (1, 2, 3)},
    **{f"gone{n}/../plain": Row(errno.ENOENT) for n in (1, 2, 3)},
    **{f"away/{link}": Row(errno.ENOENT, f"/away/{link}") for link in ("gone", "gone2")},
    "away/gone2/..": Row(errno.ENOENT),
    **{f"stairs/{step}": Row(errno.ENOENT, f"/stairs/{step}") for step in ("a", "b/c", "c", "d/e", "e", "g")},
    "stairs/through": Row(errno.ENOTDIR, "/stairs/through"),
    **{f"loop/{link}": Row(errno.ELOOP, f"/loop/{link}") for link in ("self", "abs", "rel", "far")},
    **{f"loop/{link}/..": Row(errno.ELOOP) for link in ("self", "abs", "rel", "far")},
    "loop/a/l": Row(errno.ELOOP, "/loop/a/l"),
    "loop/d/l": Row(errno.ELOOP, "/loop/a/l"),
    "loop/d/../../x": Row("/x"),
    f"{FAR}/loop/self/{FAR}": Row(errno.ELOOP),
}


def identity(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_dev, status.st_ino, status.st_mode


@contextmanager
def about(text: str) -> Iterator[None]:
    """Say which row it was."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"the row {text!r}")
        raise


def test_it_leads_there(root: VeryTmpRoot) -> None:
    host_state.make(root.fileno(), TREE)
    for text in ROWS:
        with about(text):
            check_where_it_leads(root, text)


def check_where_it_leads(root: VeryTmpRoot, text: str) -> None:
    leads, itself = ROWS[text]
    path = root / text

    def truth(place: str) -> tuple[int, int, int]:
        return identity(os.lstat(f".{place}", dir_fd=root.fileno()))

    if isinstance(leads, str):
        assert identity(path.stat()) == truth(leads)
        assert path.exists()
        assert str(path.resolve(strict=True)) == str(root / leads)
        assert path.samefile(leads)
        with path._tree.open(path._rel, os.O_PATH) as file:
            assert identity(os.fstat(file.fileno())) == truth(leads)
        if path.is_dir():
            assert {entry.name for entry in path.iterdir()} == {entry.name for entry in (root / leads).iterdir()}
        else:
            assert path.read_bytes() == b"inside"
    else:
        for look in (path.stat, path.read_bytes, lambda: list(path.iterdir()), lambda: path.chmod(0o700)):
            with pytest.raises(OSError) as caught:
                look()
            assert caught.value.errno == leads
        assert not path.exists()
    if itself or isinstance(leads, str):
        assert identity(path.lstat()) == truth(itself or str(leads))
    else:
        with pytest.raises(OSError) as caught:
            path.lstat()
        assert caught.value.errno == leads


def test_what_is_made_there_is_there(root: VeryTmpRoot, planted: Canary) -> None:
    """A directory made below it, and a file in that: where the row says, and nowhere else."""
    host_state.make(root.fileno(), TREE)
    for text in ROWS:
        with about(text):
            check_what_is_made(root, text, f"{planted.mark}-new")


def check_what_is_made(root: VeryTmpRoot, text: str, name: str) -> None:
    leads = ROWS[text].leads
    before = host_state.look(root.fileno())
    path = root / text / name
    if isinstance(leads, str) and (root / leads).is_dir():
        path.mkdir()
        (path / "f").write_text("x")
        assert os.stat(f".{leads}/{name}/f", dir_fd=root.fileno()).st_size == 1
        (root / leads / name / "f").unlink()
        (root / leads / name).rmdir()
    else:
        with pytest.raises(OSError) as caught:
            path.mkdir()
        assert caught.value.errno == (leads if isinstance(leads, int) else errno.ENOTDIR)
    assert host_state.look(root.fileno()) == before


def test_a_loop_is_no_place(root: VeryTmpRoot) -> None:
    host_state.make(root.fileno(), TREE)
    expected = RuntimeError if sys.version_info < (3, 13) else OSError
    for text, row in ROWS.items():
        if row.leads == errno.ELOOP:
            with pytest.raises(expected):
                (root / text).resolve(strict=True)
