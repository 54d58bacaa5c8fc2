"""Matches and relative paths, which need no system call."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from verytmp import VeryTmpRoot
from verytmp._paths import glob


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
    for other_path in (
        start,
        PurePosixPath(start),
        root / other,
        str(root / other) if ".." not in other else root / other,
    ):
        calls.append((lambda other_path=other_path: (root / name).relative_to(other_path), down))  # type: ignore[misc]
        calls.append((lambda other_path=other_path: (root / name).relative_to(other_path, walk_up=True), up))  # type: ignore[misc]
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
        for start in (host, other.path, other / "a", Path("a"), "b", PurePosixPath("b"), str(other.path)):
            for walk_up in (True, False):
                if walk_up and (start is host or start == str(other.path)):
                    continue  # there is a way, between strings, or in the root
                with pytest.raises(ValueError):
                    (root / "a").relative_to(start, walk_up=walk_up)
            assert not (root / "a").is_relative_to(start)
        other_path = root / os.fspath(other)[1:]  # the same, inside
        assert not other_path.is_relative_to(other)
        assert not other_path.match(other)


def test_relative_to_a_host_path_is_between_strings(root: VeryTmpRoot, host: Path) -> None:
    """As `Path` has it of the same string, in both directions."""
    path = root / "a" / "b"
    same = Path(str(path))
    for start in (Path("/"), Path("/proc"), Path(os.fspath(root)), Path(os.fspath(root)).parent, Path(str(root / "a"))):
        assert path.is_relative_to(start)
        assert path.relative_to(start) == PurePosixPath(same.relative_to(start))
    for start in (root.path, root / "a", path):
        assert same.is_relative_to(start)
        assert same.relative_to(start) == Path(path.relative_to(start))
    assert same.match("b")
    assert path.match(Path("b"))
    assert path.match(Path("*/b"))
    assert not path.match(Path("c"))
    assert not same.is_relative_to(root / "c")
    assert not path.is_relative_to(host)


@pytest.mark.parametrize("case_sensitive", [True, False])
@pytest.mark.parametrize(
    "pattern", ["a", "A", "*", "**", "a/**", "**/b", "a/**/c", "**/*.py", "a/b/c/d", "?/[ab]/**", "a/**/**/c", "*/c"]
)
@pytest.mark.parametrize("name", ["a", "a/b", "a/b/c", "b/a.py", "A/B/c", "/b", "/a/c"])
def test_what_stands_in_for_newer_pathlibs(name: str, pattern: str, case_sensitive: bool) -> None:
    """On each Python, beside its own where it has one."""
    full = glob.full_match(name, pattern, case_sensitive)
    right = glob.match(PurePosixPath(name).parts, PurePosixPath(pattern).parts, case_sensitive)
    if sys.version_info >= (3, 13):
        assert full == PurePosixPath(name).full_match(pattern, case_sensitive=case_sensitive)
    if sys.version_info >= (3, 12) and "**" not in pattern:
        assert right == PurePosixPath(name).match(pattern, case_sensitive=case_sensitive)


def test_what_stands_in_refuses_an_empty_pattern() -> None:
    with pytest.raises(ValueError, match="empty pattern"):
        glob.match(("a",), (), True)
