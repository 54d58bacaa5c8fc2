"""Walks, with pathlib itself in the same tables."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from support import host_state, syscall_hooks
from support.patterns import places

from verytmp import VeryTmpRoot

# -- walk --------------------------------------------------------------------------------------------------------------

HAS_WALK = sys.version_info >= (3, 12)

on_every_walk = pytest.mark.parametrize("base", places(HAS_WALK), indirect=True)

WALKED = {
    ".": ("D2 d", ".hidden B.TXT [x] a.txt abs c.py dangling dlink link loop new\nline \udcff"),
    "D2": ("", "a.txt"),
    "d": (".h e empty", "a.txt"),
    "d/.h": ("", "i.py"),
    "d/e": ("f", "c.py"),
    "d/e/f": ("", "a.txt"),
    "d/empty": ("", ""),
}

BY_LINKS = {
    "abs": ("f", "c.py"),
    "abs/f": ("", "a.txt"),
    "dlink": (".h e empty", "a.txt"),
    "dlink/.h": ("", "i.py"),
    "dlink/e": ("f", "c.py"),
    "dlink/e/f": ("", "a.txt"),
    "dlink/empty": ("", ""),
}


def steps(base: Path, walk: Iterator[tuple[Path, list[str], list[str]]]) -> list[tuple[str, tuple[str, str]]]:
    found = []
    for place, directories, files in walk:
        assert type(place) is type(base)
        found.append((place.relative_to(base).as_posix(), (" ".join(sorted(directories)), " ".join(sorted(files)))))
    return found


@on_every_walk
@pytest.mark.parametrize("top_down", [True, False])
def test_walk(tree: Any, top_down: bool) -> None:
    found = steps(tree, tree.walk(top_down))
    assert sorted(found) == sorted(WALKED.items())
    order = [place for place, _ in found]
    for index, place in enumerate(order):
        for other in order[index + 1 :]:
            above, below = (place, other) if top_down else (other, place)
            assert PurePosixPath(below) not in PurePosixPath(above).parents
    assert order[0 if top_down else -1] == "."


@on_every_walk
@pytest.mark.parametrize("top_down", [True, False])
def test_walk_by_links(tree: Any, top_down: bool) -> None:
    directories, files = WALKED["."]
    start = (f"D2 abs d dlink{directories[4:]}", files.replace(" abs", "").replace(" dlink", ""))
    found = steps(tree, tree.walk(top_down, follow_symlinks=True))
    assert sorted(found) == sorted((WALKED | BY_LINKS | {".": start}).items())


@on_every_walk
@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("d/e", ["d/e", "d/e/f"]),
        ("dlink/e", ["dlink/e", "dlink/e/f"]),
        ("abs", ["abs", "abs/f"]),
        ("d/..", ["d/..", *(f"d/../{place}" for place in WALKED if place != ".")]),
        ("d/empty", ["d/empty"]),
        ("a.txt", []),
        ("link", []),
        ("missing", []),
        ("dangling", []),
        ("loop", []),
    ],
)
def test_walk_from(tree: Any, start: str, expected: list[str]) -> None:
    assert sorted(place for place, _ in steps(tree, (tree / start).walk())) == sorted(expected)
    assert sorted(place for place, _ in steps(tree, (tree / start).walk(top_down=False))) == sorted(expected)


@on_every_walk
@pytest.mark.parametrize("top_down", [True, False])
def test_where_directories_have_many_files(base: Any, top_down: bool) -> None:
    """Which are listed in another way once one was met."""
    many = [str(number) for number in range(100)]
    below = {"": (["a"], many), "a": (["b"], many), "a/b": (["c", "d"], many), "a/b/c": ([], many), "a/b/d": ([], [])}
    for place, (directories, files) in below.items():
        for name in directories:
            (base / place / name).mkdir()
        for name in files:
            (base / place / name).touch()
    expected = {place or ".": (" ".join(names), " ".join(sorted(files))) for place, (names, files) in below.items()}
    assert dict(steps(base, base.walk(top_down))) == expected


@on_every_walk
def test_what_is_taken_out_is_not_entered(tree: Any) -> None:
    seen = []
    for place, directories, _ in tree.walk():
        seen.append(place.relative_to(tree).as_posix())
        directories[:] = sorted((name for name in directories if name != "e"), reverse=True)
    assert seen == [".", "d", "d/empty", "d/.h", "D2"]


@on_every_walk
def test_going_up_it_is_too_late(tree: Any) -> None:
    seen = []
    for place, directories, _ in tree.walk(top_down=False):
        seen.append(place.relative_to(tree).as_posix())
        directories.clear()
    assert sorted(seen) == sorted(WALKED)


@on_every_walk
def test_going_up_all_can_be_removed(tree: Any) -> None:
    for place, directories, files in tree.walk(top_down=False):
        for name in files:
            (place / name).unlink()
        for name in directories:
            (place / name).rmdir()
    assert host_state.look(os.fspath(tree)) == {}


@on_every_walk
@pytest.mark.parametrize("top_down", [True, False])
@pytest.mark.parametrize(
    ("start", "number"),
    [("missing", errno.ENOENT), ("a.txt", errno.ENOTDIR), ("loop", errno.ELOOP), ("x" * 256, errno.ENAMETOOLONG)],
)
def test_on_error(tree: Any, start: str, number: int, top_down: bool) -> None:
    errors: list[OSError] = []
    assert list((tree / start).walk(top_down, errors.append)) == []
    assert [(error.errno, str(error.filename)) for error in errors] == [(number, str(tree / start))]

    def fail(error: OSError) -> None:
        raise error

    with pytest.raises(OSError) as caught:
        list((tree / start).walk(on_error=fail))
    assert caught.value.errno == number


@on_every_walk
def test_a_directory_that_goes_while_it_walks(tree: Any) -> None:
    errors: list[OSError] = []
    seen = []
    for place, directories, _ in tree.walk(on_error=errors.append):
        seen.append(place.relative_to(tree).as_posix())
        directories.sort()
        if place.name == "d":
            (place / "empty").rmdir()
            directories.append("never there")
    assert seen == [".", "D2", "d", "d/.h", "d/e", "d/e/f"]
    assert [str(error.filename) for error in errors] == [str(tree / "d/empty"), str(tree / "d/never there")]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into every directory")
@on_every_walk
def test_walk_where_nobody_may_look(tree: Any) -> None:
    os.chmod(f"{os.fspath(tree)}/d/e", 0)
    try:
        errors: list[OSError] = []
        found = steps(tree, tree.walk(on_error=errors.append))
    finally:
        os.chmod(f"{os.fspath(tree)}/d/e", 0o700)
    assert sorted(found) == sorted(
        (place, lists) for place, lists in WALKED.items() if not place.startswith("d/e/") and place != "d/e"
    )
    assert [error.errno for error in errors] == [errno.EACCES]


# -- what a walk's caller may put among the directories ----------------------------------------------------------------


@pytest.mark.parametrize("nosymfollow", [True, False])
@pytest.mark.parametrize(
    ("start", "name", "leads_to"),
    [
        ("", "/etc", "/etc"),
        ("", "//etc", "/etc"),
        ("", "d/", "/d"),
        ("", "./d", "/d"),
        ("", "d//e", "/d/e"),
        ("", "/d/e/", "/d/e"),
        ("", ".", "/"),
        ("d", "/etc", "/etc"),
        ("d", "e/", "/d/e"),
        ("d", "./e", "/d/e"),
        ("d", ".", "/d"),
    ],
)
def test_a_walk_goes_where_its_caller_says_within_the_root(
    nosymfollow: bool, start: str, name: str, leads_to: str
) -> None:
    with VeryTmpRoot(nosymfollow=nosymfollow) as root:
        for directory in ("d", "d/e", "etc"):
            os.mkdir(directory, dir_fd=root.fileno())
        walk = (root / start).walk()
        _, directories, _ = next(walk)
        directories[:] = [name]
        path, _, files = next(walk)
        assert path == root / leads_to
        assert files == []
        (path / "passwd").touch()
        assert os.path.exists(f"{os.fspath(root)}{leads_to}/passwd")


@pytest.mark.parametrize("moment", range(8))
def test_a_directory_made_meanwhile_is_never_taken_for_a_file(root: VeryTmpRoot, moment: int) -> None:
    """Where there is none at first, types are not asked for."""
    (root / "leaf").mkdir()
    (root / "leaf" / "f").touch()
    with syscall_hooks.interposed({moment: lambda: os.mkdir(f"{os.fspath(root)}/leaf/new")}):
        _, directories, files = next(iter((root / "leaf").walk()))
    assert files == ["f"]
    assert directories in ([], ["new"])


@pytest.mark.parametrize("moment", range(8))
def test_a_directory_made_meanwhile_is_entered_if_it_is_seen(root: VeryTmpRoot, moment: int) -> None:
    (root / "f").touch()

    def make() -> None:
        os.mkdir(f"{os.fspath(root)}/new")
        os.mkdir(f"{os.fspath(root)}/new/below")

    with syscall_hooks.interposed({moment: make}):
        found = {path.name for path in root.path.rglob("*")}
    assert found in ({"f"}, {"f", "new", "below"})


@pytest.mark.parametrize("base", places(HAS_WALK and sys.version_info < (3, 15)), indirect=True)
def test_paths_among_the_directories(tree: Any) -> None:
    """A walk's caller may put them there, as anything that a path can be joined with; for pathlib until 3.14."""
    walked = []
    for place, directories, _ in tree.walk():
        walked.append(place.relative_to(tree).as_posix())
        directories[:] = [Path("d/e")] if place == tree else []
    assert walked == [".", "d/e"]
