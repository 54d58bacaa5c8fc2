"""Patterns: what matches one, and what there is in a tree that does. pathlib's rules, as the running Python has them.

A path is here what it is to the tree: a relative string. Directories are listed one at a time, through the tree.
"""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from stat import S_IFDIR, S_IFLNK, S_ISDIR

from .._confined.whole_files import joined

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .._confined.tree import Tree

WILD = frozenset("*?[")

# What pathlib has changed.
LITERALS_LEAD_SOMEWHERE = sys.version_info < (3, 12)  # a name without wildcards is not found where it dangles
LITERALS_ARE_LISTED = (3, 12) <= sys.version_info < (3, 13)  # it is looked for in its directory, as any pattern is
START_IS_DIRECTORY = sys.version_info < (3, 13)  # or nothing is found
STARS_ARE_DIRECTORIES = sys.version_info < (3, 13)  # a last "**" gives no files
STARS_STAND_ALONE = sys.version_info < (3, 13)  # "a**" is an error
EACH_ONCE = sys.version_info < (3, 13)  # though "**/*/**" finds it in two ways


def pattern_parts(pattern: str, recursive: bool) -> list[str]:
    """A pattern's components; a last empty one says that directories alone are meant. Refuses as pathlib does."""
    if pattern.startswith("/"):
        raise NotImplementedError("Non-relative patterns are unsupported")
    parts = [part for part in pattern.split("/") if part and part != "."]
    if not parts and not recursive:
        raise ValueError(f"Unacceptable pattern: {pattern!r}")
    if STARS_STAND_ALONE and any("**" in part and part != "**" for part in parts):
        raise ValueError("Invalid pattern: '**' can only be an entire path component")
    if pattern.endswith("/") or not pattern:
        parts.append("")
    if recursive:
        parts.insert(0, "**")
    return parts


class Selector:
    """The search for one pattern in one tree."""

    __slots__ = ("_case_sensitive", "_follow", "_pedantic", "_tree")

    def __init__(self, tree: Tree, case_sensitive: bool | None, follow: bool) -> None:
        self._tree = tree
        self._case_sensitive = case_sensitive is not False
        self._pedantic = case_sensitive is not None or LITERALS_ARE_LISTED
        self._follow = follow

    def select(self, start: str, parts: list[str]) -> Iterator[str]:
        if START_IS_DIRECTORY:
            status = self._tree.stat_or_none(start)  # whose errors are the caller's
            if status is None or not S_ISDIR(status.st_mode):
                return
        found = self._select(start, parts, False)
        if (EACH_ONCE or self._follow) and parts.count("**") > 1:
            yielded: set[str] = set()
            for path in found:
                if path not in yielded:
                    yielded.add(path)
                    yield path
        else:
            yield from found

    def _select(self, path: str, parts: list[str], exists: bool) -> Iterator[str]:
        """What there is below *path* for these components; *exists* says that *path* itself was seen."""
        if not parts:
            if exists or is_there(self._tree, path, False):
                yield path
            return
        part, *rest = parts
        if part == "**":
            while rest and rest[0] == "**":
                del rest[0]
            yield from self._select_recursively(path, rest, exists)
        elif not part:
            if exists or leads_to_directory(self._tree, path):
                yield path
        elif part == ".." and not LITERALS_LEAD_SOMEWHERE:
            yield from self._select(joined(path, part), rest, exists or LITERALS_ARE_LISTED)  # a directory has one
        elif part == ".." or not (self._pedantic or WILD & set(part)):
            below = joined(path, part)
            if not LITERALS_LEAD_SOMEWHERE:
                yield from self._select(below, rest, False)
            elif leads_to_directory(self._tree, below) if rest else is_there(self._tree, below, True):
                yield from self._select(below, rest, True)
        elif not rest:
            match = matcher(part, self._case_sensitive)
            prefix = f"{path}/" if path else ""
            for name in self._listdir(path):
                if match(name):
                    yield prefix + name
        else:
            match = matcher(part, self._case_sensitive)
            for name, kind in self._scandir(path, True):
                if match(name):
                    below = joined(path, name)
                    if kind == S_IFDIR or (kind == S_IFLNK and leads_to_directory(self._tree, below)):
                        yield from self._select(below, rest, True)

    def _select_recursively(self, start: str, rest: list[str], exists: bool) -> Iterator[str]:
        if not exists and not leads_to_directory(self._tree, start):
            return
        if len(rest) == 1 and rest[0] not in ("", "..") and (self._pedantic or WILD & set(rest[0])):
            yield from self._match_recursively(start, matcher(rest[0], self._case_sensitive))
            return
        yield from self._select(start, rest, exists)
        directories = [start]
        while directories:
            directory = directories.pop()
            prefix = f"{directory}/" if directory else ""
            for name, kind in self._scandir(directory, self._follow):
                is_dir = kind == S_IFDIR or self._followed(kind, prefix + name)
                if not rest:
                    if is_dir or not STARS_ARE_DIRECTORIES:
                        yield prefix + name
                elif is_dir:
                    yield from self._select(prefix + name, rest, True)
                if is_dir:
                    directories.append(prefix + name)

    def _match_recursively(self, start: str, match: Callable[[str], object]) -> Iterator[str]:
        """The usual ``**/*.txt``, in the same order, with each directory listed once."""
        directories = [("", [start])]  # those whose names' own directories are still to be looked into
        while directories:
            above, names = directories.pop()
            for directory in names:
                path = above + directory
                prefix = f"{path}/" if path else ""
                below: list[str] = []
                for name, kind in self._scandir(path, self._follow):
                    if match(name):
                        yield prefix + name
                    if kind == S_IFDIR or self._followed(kind, prefix + name):
                        below.append(name)
                directories.append((prefix, below))

    def _followed(self, kind: int, path: str) -> bool:
        return self._follow and kind == S_IFLNK and leads_to_directory(self._tree, path)

    def _scandir(self, path: str, links: bool) -> list[tuple[str, int]]:
        try:
            return self._tree.scandir(path, links)
        except OSError:
            return []

    def _listdir(self, path: str) -> list[str]:
        try:
            return self._tree.listdir(path)
        except OSError:
            return []


def walk(
    tree: Tree, start: str, top_down: bool, on_error: Callable[[OSError], object] | None, follow: bool
) -> Iterator[tuple[str, list[str], list[str]]]:
    """os.walk, as `pathlib.Path.walk` has it: a symlink to a directory is a file, unless it is to be followed."""
    left: list[str | tuple[str, list[str], list[str]]] = [start]
    while left:
        path = left.pop()
        if isinstance(path, tuple):
            yield path
            continue
        try:
            directories, files = split_following(tree, path) if follow else tree.list_dirs_and_files(path)
        except OSError as error:
            if on_error is not None:
                on_error(error)
            continue
        if top_down:
            yield path, directories, files
        else:
            left.append((path, directories, files))
        if directories:  # which the caller may have exchanged
            left += [below(path, os.fspath(name)) for name in reversed(directories)]


def split_following(tree: Tree, path: str) -> tuple[list[str], list[str]]:
    """As `Tree.list_dirs_and_files`, with the symlinks that lead to directories among those."""
    directories: list[str] = []
    others: list[str] = []
    for name, kind in tree.scandir(path, True):
        is_dir = kind == S_IFDIR or (kind == S_IFLNK and leads_to_directory(tree, joined(path, name)))
        (directories if is_dir else others).append(name)
    return directories, others


def leads_to_directory(tree: Tree, path: str) -> bool:
    try:
        status = tree.stat_or_none(path)
    except OSError:
        return False
    return status is not None and S_ISDIR(status.st_mode)


def is_there(tree: Tree, path: str, follow: bool) -> bool:
    try:
        return tree.stat_or_none(path, follow) is not None
    except OSError:
        return False


def below(path: str, name: str) -> str:
    """As `joined`, for any name."""
    if "/" not in name and name not in ("", "."):
        return joined(path, name)
    names = "/".join(part for part in name.split("/") if part not in ("", "."))
    return names if name.startswith("/") or not path else f"{path}/{names}".rstrip("/")


def compiled(part: str, case_sensitive: bool) -> Callable[[str], object]:
    """Whether a name matches one component of a pattern."""
    if part == "*":
        return bool
    import fnmatch  # nobody needs them at first
    import re

    return re.compile(fnmatch.translate(part), re.NOFLAG if case_sensitive else re.IGNORECASE).match


matcher = lru_cache(maxsize=256)(compiled)  # which takes 10 us, and is asked for once in each directory


def full_match(text: str, pattern: str, case_sensitive: bool) -> bool:
    """`pathlib.PurePath.full_match`, for Pythons before 3.13: ``**`` stands for any number of components."""
    names, parts = text.split("/"), pattern.split("/")
    ways = {0}  # how many names are used up: all that is possible after each component
    for index, part in enumerate(parts):
        if part != "**":
            match = compiled(part, case_sensitive)
            ways = {used + 1 for used in ways if used < len(names) and match(names[used])}
        elif index == len(parts) - 1:
            ways = {len(names) for used in ways if used < len(names)}
        else:
            ways |= {end for used in ways for end in range(used + 1, len(names)) if any(names[used:end])}
    return len(names) in ways


def match(names: tuple[str, ...], pattern: tuple[str, ...], case_sensitive: bool) -> bool:
    """`pathlib.PurePath.match` with *case_sensitive*, for Python 3.11: from the right, or all if it is absolute."""
    if not pattern:
        raise ValueError("empty pattern")
    if len(pattern) > len(names) or (pattern[0] == "/" and len(pattern) != len(names)):
        return False
    return all(compiled(part, case_sensitive)(name) for name, part in zip(names[::-1], pattern[::-1], strict=False))
