"""Patterns and walks, with pathlib itself in the same tables, and every keyword on every Python."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

import pytest
from support import ground, moments

from verytmp import VeryTmpPath, VeryTmpRoot

TREE: ground.Tree = {
    "a.txt": b"",
    "B.TXT": b"",
    "c.py": b"",
    ".hidden": b"",
    "[x]": b"",
    "new\nline": b"",
    "\udcff": b"",
    "d": {"a.txt": b"", ".h": {"i.py": b""}, "e": {"c.py": b"", "f": {"a.txt": b""}}, "empty": {}},
    "D2": {"a.txt": b""},
    "link": "-> a.txt",
    "dlink": "-> d",
    "abs": "-> /d/e",
    "dangling": "-> missing",
    "loop": "-> loop",
}

HAS_CASE_SENSITIVE = sys.version_info >= (3, 12)
HAS_RECURSE_SYMLINKS = sys.version_info >= (3, 13)
IN_ROOTS = ["nosymfollow", "symfollow"]


def places(pathlib_too: bool) -> list[str]:
    """The kinds of `base` for a table: pathlib's own path is among them where this Python's can do it."""
    return [*IN_ROOTS, "pathlib"] if pathlib_too else IN_ROOTS


@pytest.fixture
def tree(base: Path) -> Path:
    ground.make(os.fspath(base), TREE)
    if not isinstance(base, VeryTmpPath):  # where an absolute link begins at the root
        os.unlink(base / "abs")
        os.symlink(base / "d" / "e", base / "abs")
    return base


def within(base: Path, found: Iterable[Path]) -> list[str]:
    """What was found, sorted, as the base's inhabitants would write it. What comes twice is there twice."""
    paths = list(found)
    assert {type(path) for path in paths} <= {type(base)}
    return sorted(path.relative_to(base).as_posix() for path in paths)


# -- what is found -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.txt", "a.txt"),
        ("a.txt", "a.txt"),
        ("./a.txt", "a.txt"),
        ("d//a.txt", "d/a.txt"),
        ("missing", ""),
        ("missing/*", ""),
        ("a.txt/*", ""),
        ("a.txt/a.txt", ""),
        ("[ab].*", "a.txt"),
        ("[!a]*.py", "c.py"),
        ("[[]x]", "[x]"),
        ("[x]", ""),
        ("?.py", "c.py"),
        ("new*line", "new\nline"),
        ("\udcff", "\udcff"),
        (".*", ".hidden"),
        ("*hidden", ".hidden"),
        ("d/.*/*", "d/.h/i.py"),
        ("d/*", "d/.h d/a.txt d/e d/empty"),
        ("*/a.txt", "D2/a.txt d/a.txt dlink/a.txt"),
        ("*/e/*.py", "d/e/c.py dlink/e/c.py"),
        ("d?", ""),
        ("dlink/*.txt", "dlink/a.txt"),
        ("dlink/e/f/*", "dlink/e/f/a.txt"),
        ("abs/*", "abs/c.py abs/f"),
        ("link", "link"),
        ("dangl*", "dangling"),
        ("l??p", "loop"),
        ("loop/*", ""),
        ("dangling/*", ""),
        ("**/*.py", "c.py d/.h/i.py d/e/c.py"),
        ("**/a.txt", "D2/a.txt a.txt d/a.txt d/e/f/a.txt"),
        ("d/**/a.txt", "d/a.txt d/e/f/a.txt"),
        ("**/e/**/a.txt", "d/e/f/a.txt"),
        ("**/e", "d/e"),
        ("**/e/*", "d/e/c.py d/e/f"),
        ("dlink/**/a.txt", "dlink/a.txt dlink/e/f/a.txt"),
        ("d/**/../a.txt", "d/.h/../a.txt d/../a.txt d/e/../a.txt d/empty/../a.txt"),
        ("d/e/../*.txt", "d/e/../a.txt"),
        ("a.txt/**/*", ""),
        ("link/**/*", ""),
    ],
)
def test_glob(tree: Path, pattern: str, expected: str) -> None:
    assert within(tree, tree.glob(pattern)) == sorted(path for path in expected.split(" ") if path)


@pytest.mark.parametrize(
    ("start", "pattern", "expected"),
    [
        ("", "*.py", "c.py d/.h/i.py d/e/c.py"),
        ("", "a.txt", "D2/a.txt a.txt d/a.txt d/e/f/a.txt"),
        ("", "e/f", "d/e/f"),
        ("", "e/*", "d/e/c.py d/e/f"),
        ("", "f/*.txt", "d/e/f/a.txt"),
        ("", "d*", "d dangling dlink"),
        ("", ".h*", ".hidden d/.h"),
        ("d", "a.txt", "d/a.txt d/e/f/a.txt"),
        ("d", "**/c.py", "d/e/c.py"),
        ("dlink", "c.py", "dlink/e/c.py"),
        ("d/e/..", "c.py", "d/e/../e/c.py"),
        ("missing", "*.py", ""),
        ("a.txt", "*.py", ""),
        ("loop", "*.py", ""),
    ],
)
def test_rglob(tree: Path, start: str, pattern: str, expected: str) -> None:
    assert within(tree, (tree / start).rglob(pattern)) == sorted(expected.split())


# Beside these there is nothing that is not in TREE: the tree lies one directory down, so ".." is no root here.
EVERY_KIND = [
    *("*", "**", "**/", "***", "**a", "a**", "*/", "*/*/", "d/", "a.txt/", "link/", "dlink/", "dangling/", "dangling"),
    *("loop", "loop/", "missing/", "..", "../*", "../", "d/..", "d/../", "*/..", "*/../a.txt", "**/..", "**/../*.txt"),
    *("d/./e", "d/.", "*/.", "**/.", "**/*", "**/*/", "**/**", "**/**/", "**/**/*", "*/**", "**/*/**", "**/*/**/*"),
    *("**/e/**", "**/e/**/", "d/**", "d/**/", "a.txt/**", "link/**", "dlink/**", "dlink/**/*", "abs/**/*", "loop/**"),
    *("missing/**", "[", "[]", "[!]", "[]]", "[a-c]*", "[c-a]*", "[!a-z]*", "[[]*", "*\\*", "\\*", "{a,b}*", "?*?*?"),
    *("*.[tp][xy]*", "~", "$HOME", "a.txt//", "d//e", "*\n*", "\udcff*", "\udcff/*", "é", "D*/A*", " ", "*" * 20 + "a"),
    *("/".join(["*"] * 6), "/".join(["**", "*"] * 3), "../*/d/*", "../../*/*/d/../a.txt", "d/../../t/*.py"),
]


@pytest.mark.parametrize("verb", ["glob", "rglob"])
@pytest.mark.parametrize("start", ["", "d", "dlink", "a.txt", "missing", "d/e/..", "loop", "dangling", "d/empty"])
def test_every_pattern_finds_what_pathlib_finds(host: Path, verb: str, start: str) -> None:
    ground.make(str(host), {"t": TREE | {"abs": f"-> {host}/t/d/e"}})
    for nosymfollow in (True, False):
        with VeryTmpRoot(nosymfollow=nosymfollow) as root:
            ground.make(root.fileno(), {"t": TREE | {"abs": "-> /t/d/e"}})
            for pattern in EVERY_KIND:
                if "../.." in pattern and not start:
                    continue  # above the root is the root
                found = outcome(root / "t", verb, pattern, start)
                assert (pattern, found) == (pattern, outcome(host / "t", verb, pattern, start))


def outcome(base: Path, verb: str, pattern: str, start: str) -> object:
    try:
        return within(base, getattr(base / start, verb)(pattern))
    except (NotImplementedError, ValueError) as error:
        return type(error).__name__


def test_above_the_root_is_the_root(root: VeryTmpRoot) -> None:
    ground.make(root.fileno(), {"d": {"f": b""}})
    for pattern in ("../d/f", "../../*/f", "d/../../d/f", "*/../../../d/f"):
        assert [os.path.samefile(path.resolve(), root / "d/f") for path in root.path.glob(pattern)] == [True]
    assert len(list((root / "d").glob("../../../*"))) == 1


def test_a_link_out_of_the_root_leads_nowhere(root: VeryTmpRoot, host: Path) -> None:
    (host / "secret").write_bytes(b"")
    os.symlink(host, f"{os.fspath(root)}/out")
    for found in (
        root.path.glob("out/*"),
        root.path.glob("*/secret"),
        root.path.rglob("secret", recurse_symlinks=True),
        (root / "out").glob("*"),
        (root / "out").rglob("*"),
    ):
        assert list(found) == []
    assert list(root.path.walk(follow_symlinks=True)) == [(root.path, [], ["out"])]
    assert list((root / "out").walk()) == []


# -- keywords that newer pathlibs have ---------------------------------------------------------------------------------


@pytest.mark.parametrize("base", places(HAS_CASE_SENSITIVE), indirect=True)
@pytest.mark.parametrize(
    ("verb", "pattern", "minded", "ignored"),
    [
        ("glob", "*.txt", "a.txt", "a.txt B.TXT"),
        ("glob", "b.txt", "", "B.TXT"),
        ("glob", "B.TXT", "B.TXT", "B.TXT"),
        ("glob", "?.PY", "", "c.py"),
        ("glob", "[A-B].*", "B.TXT", "a.txt B.TXT"),
        ("glob", "D/A.TXT", "", "d/a.txt"),
        ("glob", "D*/a.txt", "D2/a.txt", "D2/a.txt d/a.txt dlink/a.txt"),
        ("glob", "**/A.TXT", "", "a.txt D2/a.txt d/a.txt d/e/f/a.txt"),
        ("glob", "D/**/C.PY", "", "d/e/c.py"),
        ("glob", "d/../B.txt", "", "d/../B.TXT"),
        ("rglob", "C.PY", "", "c.py d/e/c.py"),
        ("rglob", "E/C.*", "", "d/e/c.py"),
        ("rglob", ".H*", "", ".hidden d/.h"),
    ],
)
def test_case_sensitive(tree: Any, verb: str, pattern: str, minded: str, ignored: str) -> None:
    for value, expected in ((None, minded), (True, minded), (False, ignored)):
        found = getattr(tree, verb)(pattern, case_sensitive=value)
        assert within(tree, found) == sorted(expected.split())


@pytest.mark.parametrize("base", places(HAS_RECURSE_SYMLINKS), indirect=True)
@pytest.mark.parametrize(
    ("verb", "start", "pattern", "entered", "not_entered"),
    [
        ("glob", "", "**/c.py", "c.py d/e/c.py dlink/e/c.py abs/c.py", "c.py d/e/c.py"),
        ("glob", "", "**/f/*", "d/e/f/a.txt dlink/e/f/a.txt abs/f/a.txt", "d/e/f/a.txt"),
        ("glob", "", "*/c.py", "abs/c.py", "abs/c.py"),
        ("glob", "", "dlink/**/c.py", "dlink/e/c.py", "dlink/e/c.py"),
        ("rglob", "", "c.py", "c.py d/e/c.py dlink/e/c.py abs/c.py", "c.py d/e/c.py"),
        ("rglob", "", "**/c.py", "c.py d/e/c.py dlink/e/c.py abs/c.py", "c.py d/e/c.py"),
        ("rglob", "d", "c.py", "d/e/c.py", "d/e/c.py"),
        ("rglob", "dlink", "c.py", "dlink/e/c.py", "dlink/e/c.py"),
        ("rglob", "", "l*p", "loop", "loop"),
        ("rglob", "", "d*", "d dangling dlink", "d dangling dlink"),
    ],
)
def test_recurse_symlinks(tree: Any, verb: str, start: str, pattern: str, entered: str, not_entered: str) -> None:
    for value, expected in ((True, entered), (False, not_entered)):
        found = getattr(tree / start, verb)(pattern, recurse_symlinks=value)
        assert within(tree, found) == sorted(expected.split())


@pytest.mark.parametrize("base", places(HAS_RECURSE_SYMLINKS), indirect=True)
def test_two_ways_to_a_file_by_links_are_one(tree: Any) -> None:
    found = tree.glob("**/*/**/c.py", recurse_symlinks=True)
    assert within(tree, found) == ["abs/c.py", "d/e/c.py", "dlink/e/c.py"]


@pytest.mark.parametrize("base", IN_ROOTS, indirect=True)
def test_a_link_upwards_is_entered_forty_times(base: Any) -> None:
    """As often as the kernel follows links in one path, when nothing disturbs it."""
    ground.make(os.fspath(base), {"d": {"f": b"", "up": "-> .."}})
    found = within(base, base.rglob("f", recurse_symlinks=True))
    assert found == ["d/up/" * times + "d/f" for times in range(41)]


def test_both_keywords(root: VeryTmpRoot) -> None:
    ground.make(root.fileno(), TREE)
    found = root.path.glob("**/E/C.PY", case_sensitive=False, recurse_symlinks=True)
    assert within(root.path, found) == ["d/e/c.py", "dlink/e/c.py"]


# -- patterns that are refused, and what they may be -------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["glob", "rglob"])
def test_an_absolute_pattern(tree: Path, verb: str) -> None:
    for pattern in ("/", "/*", "//d", f"{os.fspath(tree)}/*", "/etc/passwd"):
        with pytest.raises(NotImplementedError, match="Non-relative patterns are unsupported"):
            list(getattr(tree, verb)(pattern))


def test_an_empty_pattern(tree: Path) -> None:
    with pytest.raises(ValueError, match="Unacceptable pattern"):
        list(tree.glob(""))
    assert within(tree, tree.rglob("")) == sorted([".", "d", "d/.h", "d/e", "d/e/f", "d/empty", "D2"])


@pytest.mark.parametrize("base", places(sys.version_info >= (3, 13)), indirect=True)
@pytest.mark.parametrize("pattern", [".", "./", ".//."])
def test_a_pattern_of_dots(tree: Path, pattern: str) -> None:
    with pytest.raises(ValueError, match="Unacceptable pattern"):
        list(tree.glob(pattern))


def test_stars_beside_something(tree: Path) -> None:
    """An error once, the same as one star since."""
    for pattern in ("**.txt", "d/**x", "a**"):
        if sys.version_info < (3, 13):
            with pytest.raises(ValueError, match="Invalid pattern"):
                list(tree.glob(pattern))
        else:
            assert within(tree, tree.glob(pattern)) == within(tree, tree.glob(pattern.replace("**", "*")))


def test_a_trailing_slash_means_directories(root: VeryTmpRoot) -> None:
    ground.make(root.fileno(), TREE)
    for pattern, expected in (
        ("*/", "D2 abs d dlink"),
        ("a.txt/", ""),
        ("link/", ""),
        ("dlink/", "dlink"),
        ("dangling/", ""),
        ("**/", ". D2 d d/.h d/e d/e/f d/empty"),
        ("**/e*/", "d/e d/empty"),
    ):
        found = [str(path.relative_to(root.path)) for path in root.path.glob(pattern)]
        assert (pattern, sorted(found)) == (pattern, expected.split())


@pytest.mark.parametrize("verb", ["glob", "rglob"])
def test_a_pattern_is_any_path(root: VeryTmpRoot, verb: str) -> None:
    """As since Python 3.13."""
    ground.make(root.fileno(), TREE)
    for pattern in (PurePosixPath("d/*"), Path("d/*"), PurePath("d", "*")):
        assert sorted(getattr(root.path, verb)(pattern)) == sorted(getattr(root.path, verb)("d/*"))
    for wrong in (b"*", 1, None):
        with pytest.raises(TypeError):
            list(getattr(root.path, verb)(wrong))


@pytest.mark.parametrize("verb", ["glob", "rglob"])
def test_names_that_no_file_can_have(root: VeryTmpRoot, verb: str) -> None:
    """Nothing is found, or it is an error, as in pathlib, which has been of many minds."""
    ground.make(root.fileno(), TREE)
    for start, pattern in (
        ("", "nul\0"),
        ("", "*/nul\0"),
        ("", "x" * 256),
        ("nul\0", "*"),
        ("\ud800", "*"),
        ("", "\ud800"),
    ):
        try:
            assert list(getattr(root / start, verb)(pattern)) == []
        except ValueError:
            assert "x" not in pattern


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into every directory")
def test_what_nobody_may_look_into_is_passed_over(tree: Path) -> None:
    os.chmod(f"{os.fspath(tree)}/d/e", 0)
    try:
        assert within(tree, tree.rglob("*.py")) == ["c.py", "d/.h/i.py"]
        assert within(tree, tree.glob("d/e/*")) == []
        assert within(tree, tree.glob("d/*")) == ["d/.h", "d/a.txt", "d/e", "d/empty"]
    finally:
        os.chmod(f"{os.fspath(tree)}/d/e", 0o700)


def test_a_search_that_is_dropped_holds_nothing(root: VeryTmpRoot) -> None:
    ground.make(root.fileno(), TREE)
    before = ground.descriptors()
    for found in (root.path.glob("*"), root.path.rglob("*"), root.path.walk()):
        next(iter(found))
        assert ground.new_descriptors(before) == {}


def test_what_comes_while_it_looks(root: VeryTmpRoot) -> None:
    """What is found may be removed, or changed, before the next is asked for."""
    ground.make(root.fileno(), TREE)
    for path in root.path.glob("*.*"):
        path.unlink()
    for path in root.path.rglob("*.txt"):
        path.rename(path.with_suffix(".found"))
    assert within(root.path, root.path.rglob("*.found")) == ["D2/a.found", "d/a.found", "d/e/f/a.found"]
    assert within(root.path, root.path.rglob("*.txt")) == []


def test_a_closed_root(root: VeryTmpRoot) -> None:
    path = root / "d"
    path.mkdir()
    under_way = path.parent.rglob("*")
    root.close()
    for search in (lambda: under_way, lambda: path.glob("*"), lambda: path.rglob("x"), path.walk):
        with pytest.raises(ValueError, match="closed"):
            list(search())


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
    assert ground.look(os.fspath(tree)) == {}


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


# -- words alone -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "pattern", "case_sensitive", "expected"),
    [
        ("a/b.py", "/a/b.py", None, True),
        ("a/b.py", "a/b.py", None, False),
        ("a/b.py", "/a/*.py", None, True),
        ("a/b.py", "/*/b.py", None, True),
        ("a/b.py", "/*.py", None, False),
        ("a/b.py", "/**", None, True),
        ("a/b.py", "**", None, True),
        ("a/b.py", "**/*.py", None, True),
        ("a/b.py", "/**/*.py", None, True),
        ("a/b.py", "/a/**/b.py", None, True),
        ("a/x/y/b.py", "/a/**/b.py", None, True),
        ("a/x/y/b.py", "/**/x/**/b.py", None, True),
        ("a/x/y/b.py", "/**/z/**/b.py", None, False),
        ("a/b.py", "/a/**", None, True),
        ("a", "/a/**", None, False),
        ("a/b.py", "/A/B.py", None, False),
        ("a/b.py", "/A/B.py", True, False),
        ("a/b.py", "/A/B.py", False, True),
        ("A/b.PY", "/**/*.py", False, True),
        ("a/.b", "/a/*", None, True),
        ("a/b", "/a/?", None, True),
        ("a/b", "/a/[!b]", None, False),
        ("a/b", "/a/[a-c]", None, True),
        ("a/[b]", "/a/[[]b]", None, True),
        ("a/new\nline", "/a/new*line", None, True),
        ("a/../b", "/a/../b", None, True),
        ("a/../b", "/b", None, False),
        ("", "/", None, True),
        ("", "**", None, True),
        ("a", "", None, False),
    ],
)
def test_full_match(root: VeryTmpRoot, name: str, pattern: str, case_sensitive: bool | None, expected: bool) -> None:
    assert (root / name).full_match(pattern, case_sensitive=case_sensitive) == expected
    assert (root / name).full_match(PurePosixPath(pattern), case_sensitive=case_sensitive) == expected
    if sys.version_info >= (3, 13):
        assert PurePosixPath("/", name).full_match(pattern, case_sensitive=case_sensitive) == expected


@pytest.mark.parametrize(
    ("name", "pattern", "case_sensitive", "expected"),
    [
        ("a/b.py", "b.py", None, True),
        ("a/b.py", "*.py", None, True),
        ("a/b.py", "a/*.py", None, True),
        ("a/b.py", "x/*.py", None, False),
        ("a/b.py", "/a/*.py", None, True),
        ("a/b.py", "/*.py", None, False),
        ("a/b.py", "/*/*", None, True),
        ("a/b.py", "x/a/b.py", None, False),
        ("a/b/c.py", "b/*.py", None, True),
        ("a/b/c.py", "/b/*.py", None, False),
        ("a/b/c.py", "**/*.py", None, True),
        ("a/b.py", "B.PY", None, False),
        ("a/b.py", "B.PY", True, False),
        ("a/b.py", "B.PY", False, True),
        ("A/B.py", "a/b.*", False, True),
        ("a/b.py", "/A/B.PY", False, True),
        ("a/.b", "*", None, True),
        ("a/b", "?", None, True),
        ("a/b", "[!b]", None, False),
        ("a/../b", "../b", None, True),
        ("", "/", None, True),
    ],
)
def test_match(root: VeryTmpRoot, name: str, pattern: str, case_sensitive: bool | None, expected: bool) -> None:
    assert (root / name).match(pattern, case_sensitive=case_sensitive) == expected
    if case_sensitive is None:
        assert (root / name).match(pattern) == PurePosixPath("/", name).match(pattern) == expected
    if sys.version_info >= (3, 12):
        assert PurePosixPath("/", name).match(pattern, case_sensitive=case_sensitive) == expected


def test_a_match_with_its_own_string(root: VeryTmpRoot, host: Path) -> None:
    path = root / "a" / "b.py"
    with VeryTmpRoot() as other:
        for pattern, expected in (
            (path, True),
            (root / "a" / "*.py", True),
            (str(root / "**" / "b.py"), True),
            (other / "a" / "b.py", False),
            (host / "a" / "b.py", False),
        ):
            assert path.full_match(pattern) == expected
        assert path.match(path)
        assert path.match(f"{os.fspath(root)}/a/*")
        assert not path.match(other / "a" / "*")
    for empty in ("", "."):
        with pytest.raises(ValueError, match="empty pattern"):
            path.match(empty)


@pytest.mark.parametrize(
    ("name", "other", "down", "up"),
    [
        ("a/b/c", "a/b", "c", "c"),
        ("a/b/c", "/a", "b/c", "b/c"),
        ("a/b", "a/b", ".", "."),
        ("a", "", "a", "a"),
        ("a/b", "a/c", None, "../b"),
        ("a", "a/b/c", None, "../.."),
        ("a/b", "x/y/z", None, "../../../a/b"),
        ("", "a", None, ".."),
        ("", "/", ".", "."),
        ("a/b", "/", "a/b", "a/b"),
        ("ab/c", "a", None, "../ab/c"),
        ("a/../b", "a", "../b", "../b"),
        ("b", "a/..", None, None),
        ("a/../b", "a/..", "b", "b"),
    ],
)
def test_relative_to(root: VeryTmpRoot, name: str, other: str, down: str | None, up: str | None) -> None:
    start = "/" + other.lstrip("/")
    calls: list[tuple[Callable[[], PurePosixPath], str | None]] = []
    for words in (start, PurePosixPath(start), root / other, str(root / other) if ".." not in other else root / other):
        calls.append((lambda words=words: (root / name).relative_to(words), down))  # type: ignore[misc]
        calls.append((lambda words=words: (root / name).relative_to(words, walk_up=True), up))  # type: ignore[misc]
    plain = PurePosixPath("/", name)
    calls.append((lambda: plain.relative_to(start), down))
    if sys.version_info >= (3, 12):
        calls.append((lambda: plain.relative_to(start, walk_up=True), up))
    for call, expected in calls:
        if expected is None:
            with pytest.raises(ValueError):
                call()
        else:
            result = call()
            assert type(result) is PurePosixPath
            assert str(result) == expected


def test_relative_to_what_is_elsewhere(root: VeryTmpRoot, host: Path) -> None:
    with VeryTmpRoot() as other:
        for start in (host, other.path, other / "a", Path("/"), Path("a"), "b", PurePosixPath("b"), str(other.path)):
            for walk_up in (True, False):
                if str(start) == str(other.path) and isinstance(start, str) and walk_up:
                    continue  # words, which are read in the root
                with pytest.raises(ValueError):
                    (root / "a").relative_to(start, walk_up=walk_up)
            assert not (root / "a").is_relative_to(start)


# -- what a walk's caller may put among the directories ----------------------------------------------------------------


@pytest.mark.parametrize("nosymfollow", [True, False])
@pytest.mark.parametrize(
    ("name", "leads_to"),
    [("/etc", "/etc"), ("//etc", "/etc"), ("d/", "/d"), ("./d", "/d"), ("d//e", "/d/e"), ("/d/e/", "/d/e"), (".", "/")],
)
def test_a_walk_goes_where_its_caller_says_within_the_root(nosymfollow: bool, name: str, leads_to: str) -> None:
    with VeryTmpRoot(nosymfollow=nosymfollow) as root:
        for directory in ("d", "d/e", "etc"):
            os.mkdir(directory, dir_fd=root.fileno())
        walk = root.path.walk()
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
    with moments.interposed({moment: lambda: os.mkdir(f"{os.fspath(root)}/leaf/new")}):
        _, directories, files = next(iter((root / "leaf").walk()))
    assert files == ["f"]
    assert directories in ([], ["new"])


@pytest.mark.parametrize("moment", range(8))
def test_a_directory_made_meanwhile_is_entered_if_it_is_seen(root: VeryTmpRoot, moment: int) -> None:
    (root / "f").touch()

    def make() -> None:
        os.mkdir(f"{os.fspath(root)}/new")
        os.mkdir(f"{os.fspath(root)}/new/below")

    with moments.interposed({moment: make}):
        found = {path.name for path in root.path.rglob("*")}
    assert found in ({"f"}, {"f", "new", "below"})
