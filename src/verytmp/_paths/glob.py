"""Patterns: which names match, and the search for paths that do, by the rules of the running Python's pathlib.

A path is a relative string here, as for the confined operations, which list one directory at a time.
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
MANY = 40  # files in one directory

# Where pathlib's versions differ.
LITERALS_LEAD_SOMEWHERE = sys.version_info < (3, 12)  # a dangling link is not found by its name without wildcards
LITERALS_ARE_LISTED = (
    (3, 12) <= sys.version_info < (3, 13)
)  # a name without wildcards is searched for in its directory, as any pattern is
START_IS_DIRECTORY = sys.version_info < (3, 13)  # else nothing is found
STARS_ARE_DIRECTORIES = sys.version_info < (3, 13)  # a last "**" gives no files
STARS_STAND_ALONE = sys.version_info < (3, 13)  # "a**" is an error
EACH_ONCE = sys.version_info < (3, 13)  # though "**/*/**" finds it in two ways


def pattern_parts(pattern: str, recursive: bool) -> list[str]:
    """A pattern's components. A last empty one means that only directories match.

    Raises `NotImplementedError` and `ValueError` for the patterns that pathlib refuses.
    """
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
        """The paths below *path* that match these components; *exists* means that *path* is known to exist."""
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
        """The common case ``**/*.txt``, in the same order, with each directory listed once."""
        directories = [("", [start])]  # directories with the names in them that are still to be listed
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
    """As `pathlib.Path.walk`: relative paths of directories, each with its directories' and its files' names.

    A symlink to a directory counts as a file, unless *follow*.
    """
    left: list[str | tuple[str, list[str], list[str]]] = [start]
    many = False  # files in a directory: most are like the one before
    while left:
        path = left.pop()
        if isinstance(path, tuple):
            yield path
            continue
        try:
            directories, files = split_following(tree, path) if follow else tree.list_dirs_and_files(path, many)
        except OSError as error:
            if on_error is not None:
                on_error(error)
            continue
        many = len(files) > MANY
        if top_down:
            yield path, directories, files
        else:
            left.append((path, directories, files))
        if directories:  # the caller may have changed the list
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
    import fnmatch  # not at import: most programs never need them
    import re

    return re.compile(fnmatch.translate(part), re.NOFLAG if case_sensitive else re.IGNORECASE).match


matcher = lru_cache(maxsize=256)(compiled)  # it takes 10 us, and each directory needs it


def full_match(text: str, pattern: str, case_sensitive: bool) -> bool:
    """`pathlib.PurePath.full_match`, for Pythons before 3.13: ``**`` stands for any number of components."""
    names, parts = text.split("/"), pattern.split("/")
    ends = {0}  # the numbers of names that the components so far can match
    for index, part in enumerate(parts):
        if part != "**":
            match = compiled(part, case_sensitive)
            ends = {used + 1 for used in ends if used < len(names) and match(names[used])}
        elif index == len(parts) - 1:
            ends = {len(names) for used in ends if used < len(names)}
        else:
            ends |= {end for used in ends for end in range(used + 1, len(names)) if any(names[used:end])}
    return len(names) in ends


def match(names: tuple[str, ...], pattern: tuple[str, ...], case_sensitive: bool) -> bool:
    """`pathlib.PurePath.match` with *case_sensitive*, for Python 3.11: from the right, or all if it is absolute."""
    if not pattern:
        raise ValueError("empty pattern")
    if len(pattern) > len(names) or (pattern[0] == "/" and len(pattern) != len(names)):
        return False
    return all(compiled(part, case_sensitive)(name) for name, part in zip(names[::-1], pattern[::-1], strict=False))
