"""Hard links in copies and moves, progress, and strings that were meant for the host."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.copies import D, failure, there

from verytmp import VeryTmpRoot


def linked(root: VeryTmpRoot) -> None:
    """Two names in one directory, one in another, and one beside the tree."""
    for name in ("d/same", "d/e/below", "beside"):
        (root / name).hardlink_to("/d/f")


def links(*paths: Path) -> list[int]:
    """Their numbers of links, if they are one file; else nothing."""
    found = [os.lstat(path) for path in paths]
    return [each.st_nlink for each in found] if len({each.st_ino for each in found}) == 1 else []


@pytest.mark.parametrize("verb", ["copy", "move"])
def test_a_tree_keeps_its_hard_links(root: VeryTmpRoot, host: Path, verb: str) -> None:
    linked(root)
    with VeryTmpRoot() as other:
        for target in (other / "x", host / "x"):
            if verb == "copy":
                (root / "d").copy(target, follow_symlinks=False, preserve_metadata=True)
            else:
                (root / "d").copy(root / "again", follow_symlinks=False, preserve_metadata=True)
                (root / "again").move(target)
            assert links(target / "f", target / "same", target / "e" / "below") == [3, 3, 3]
    assert links(root / "d" / "f", root / "beside") == [4, 4]


def test_a_copy_without_metadata_has_files_of_its_own(root: VeryTmpRoot, elsewhere: Path) -> None:
    linked(root)
    (root / "d").copy(elsewhere / "x", follow_symlinks=False)
    assert there(elsewhere)["x"] == D | {"same": b"d/f", "e": {"g": b"g", "below": b"d/f"}}
    assert links(elsewhere / "x" / "f", elsewhere / "x" / "same") == []


@pytest.mark.parametrize("verb", ["copy_into", "move_into"])
def test_a_whole_root_keeps_them_between_what_is_in_it(root: VeryTmpRoot, host: Path, verb: str) -> None:
    linked(root)
    os.symlink("f", f"{os.fspath(root)}/sym")
    with VeryTmpRoot() as other:
        for target in (other.path, host) if verb == "copy_into" else (host,):
            if verb == "copy_into":
                root.path.copy_into(target, follow_symlinks=False, preserve_metadata=True)
            else:
                root.path.move_into(target)
            names = ("d/f", "d/same", "d/e/below", "beside")
            assert links(*(target / name for name in names)) == [4] * 4
    assert (list(root.path.iterdir()) == []) == (verb == "move_into")


def test_a_file_that_is_there_is_written_to_all_the_same(root: VeryTmpRoot, host: Path) -> None:
    """It may have other names, and be what a symlink leads to: as without hard links."""
    linked(root)
    (host / "real").write_bytes(b"old")
    (host / "beside").symlink_to("real")
    root.path.copy_into(host, follow_symlinks=False, preserve_metadata=True)
    assert (host / "real").read_bytes() == b"d/f"
    assert (host / "beside").is_symlink()


def test_progress(root: VeryTmpRoot, elsewhere: Path) -> None:
    (root / "d" / "large").write_bytes(bytes(20 << 20))
    linked(root)
    cases: list[tuple[Callable[..., object], int | None]] = [
        (lambda **how: (root / "d" / "large").copy(elsewhere / "file", **how), 20 << 20),
        (lambda **how: (root / "d").copy(elsewhere / "tree", follow_symlinks=False, **how), (20 << 20) + 13),
        (lambda **how: (root / "d").copy(elsewhere / "kept", follow_symlinks=False, preserve_metadata=True, **how),
         (20 << 20) + 7),
        (lambda **how: (root / "d").copy(elsewhere / "followed", **how), None),
        (lambda **how: (root / "d" / "e").copy_into(elsewhere, **how), None),
    ]  # fmt: skip
    for call, total in cases:
        seen: list[tuple[int, int | None]] = []
        call(progress=lambda *counts, seen=seen: seen.append(counts))
        assert {all_ for _, all_ in seen} == {total}
        assert [done for done, _ in seen] == sorted(done for done, _ in seen)
        assert total in (None, seen[-1][0])
    with VeryTmpRoot() as other:
        seen = []
        root.path.copy_into(other.path, follow_symlinks=False, progress=lambda *counts: seen.append(counts))
        assert (
            seen[-1][0]
            == seen[-1][1]
            == sum(
                os.lstat(os.path.join(place, name)).st_size
                for place, _, names in os.walk(other)
                for name in names
                if stat.S_ISREG(os.lstat(os.path.join(place, name)).st_mode)
            )
        )


def test_a_copy_that_its_progress_ends(root: VeryTmpRoot, elsewhere: Path) -> None:
    def stop(_: int, __: int | None) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        (root / "f").copy(elsewhere / "x", progress=stop)
    assert there(elsewhere) == {}, "the part is removed"


@pytest.mark.parametrize("verb", ["copy", "copy_into", "move", "move_into"])
def test_a_string_that_was_meant_for_the_host(root: VeryTmpRoot, host: Path, verb: str) -> None:
    before = there(root)
    into = verb.endswith("into")
    text = str(host) if into else str(host / "new")
    for target in (text, f"{text}/", Path(text).as_posix()):
        number, source, inside, notes = failure(lambda target=target: getattr(root / "d", verb)(target))  # type: ignore[misc]
        assert (number, source, inside) == (2, str(root / "d"), str(root / text))
        assert notes == [f"To go to the host, give a pathlib.Path: pathlib.Path({target!r})."]
    with pytest.raises(FileNotFoundError, match="A string is a path in the root"):
        getattr(root / "d", verb)(text)
    assert there(root) == before
    assert list(host.iterdir()) == []


@pytest.mark.parametrize("verb", ["copy", "move"])
def test_other_strings_stay_inside(root: VeryTmpRoot, host: Path, verb: str) -> None:
    """With a directory that the root has too, or nobody, or in the root's own string."""
    for name in ("/new", "new2", str(root / "d" / "new3")):
        (root / "d" / "f").copy(root / "x")
        getattr(root / "x", verb)(name)
    assert {"new", "new2"} <= set(there(root))
    with pytest.raises(FileNotFoundError) as caught:
        getattr(root / "f", verb)("/missing/nowhere")
    assert not hasattr(caught.value, "__notes__")
    (root / str(host)[1:]).mkdir(parents=True)
    getattr(root / "f", verb)(str(host / "inside"))
    assert list(host.iterdir()) == []
    found: Any = (root / str(host / "inside")).read_bytes()
    assert found == b"potatoes"
