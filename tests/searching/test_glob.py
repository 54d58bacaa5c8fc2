"""Patterns, with pathlib itself in the same tables, and every keyword on every Python."""

from __future__ import annotations

import os
import sys
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

import pytest
from support import host_state
from support.patterns import HAS_CASE_SENSITIVE, HAS_RECURSE_SYMLINKS, IN_ROOTS, TREE, places, within

from verytmp import VeryTmpRoot

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
    host_state.make(str(host), {"t": TREE | {"abs": f"-> {host}/t/d/e"}})
    for nosymfollow in (True, False):
        with VeryTmpRoot(nosymfollow=nosymfollow) as root:
            host_state.make(root.fileno(), {"t": TREE | {"abs": "-> /t/d/e"}})
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
    host_state.make(root.fileno(), {"d": {"f": b""}})
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
        ("glob", "d/e", "**/", "d/e d/e/f", "d/e d/e/f"),
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
    host_state.make(os.fspath(base), {"d": {"f": b"", "up": "-> .."}})
    found = within(base, base.rglob("f", recurse_symlinks=True))
    assert found == ["d/up/" * times + "d/f" for times in range(41)]


def test_both_keywords(root: VeryTmpRoot) -> None:
    host_state.make(root.fileno(), TREE)
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
    host_state.make(root.fileno(), TREE)
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
    host_state.make(root.fileno(), TREE)
    for pattern in (PurePosixPath("d/*"), Path("d/*"), PurePath("d", "*")):
        assert sorted(getattr(root.path, verb)(pattern)) == sorted(getattr(root.path, verb)("d/*"))
    for wrong in (b"*", 1, None):
        with pytest.raises(TypeError):
            list(getattr(root.path, verb)(wrong))


@pytest.mark.parametrize("verb", ["glob", "rglob"])
def test_names_that_no_file_can_have(root: VeryTmpRoot, verb: str) -> None:
    """Nothing is found, or it is an error, as in pathlib, which has been of many minds."""
    host_state.make(root.fileno(), TREE)
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
    host_state.make(root.fileno(), TREE)
    before = host_state.descriptors()
    for found in (root.path.glob("*"), root.path.rglob("*"), root.path.walk()):
        next(iter(found))
        assert host_state.new_descriptors(before) == {}


def test_what_comes_while_it_looks(root: VeryTmpRoot) -> None:
    """What is found may be removed, or changed, before the next is asked for."""
    host_state.make(root.fileno(), TREE)
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
