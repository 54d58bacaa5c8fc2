"""Where a path leads, written without links and ``..``: `os.path.realpath` within the root."""

from __future__ import annotations

import errno
import os
import os.path
import sys
from stat import S_ISDIR

from .._confined.resolver import ATTEMPTS, STRIDE_BYTES, Resolution, backoff, below_root, collapse, fitting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._confined.tree import Tree

ALLOW_MISSING = getattr(os.path, "ALLOW_MISSING", "ALLOW_MISSING")  # for *strict*, in the newest Pythons
FILES_HAVE_NO_PARENT = sys.version_info >= (3, 14)  # where strict, "file/.." is an error
LOOPS_END_IT = sys.version_info < (3, 13)  # what comes after a loop is not looked at
BY_NAME = 32  # levels that are looked up in one call: for more, it is faster to open their directory once


class Swapped(Exception):
    """A directory has been replaced by a link during resolution."""


def realpath(tree: Tree, relative: str, strict: object) -> str:
    """The path without links. A part that cannot be looked at counts as no link, unless *strict*.

    The number of links is not limited. A link that leads through itself is ELOOP if *strict*, else it stays.

    Raises `OSError` if *strict* (with ALLOW_MISSING, not for what is not there), and `ValueError` for a null byte.
    """
    for _ in range(ATTEMPTS):
        try:
            return realpath_once(tree, relative, strict)
        except Swapped:
            backoff(1)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), tree.string(relative))


def realpath_once(tree: Tree, relative: str, strict: object) -> str:
    """As `realpath`, but raises `Swapped` if names are swapped during it: then try again."""
    ignored: type[OSError] | tuple[()] = FileNotFoundError if strict is ALLOW_MISSING else () if strict else OSError
    done: list[str] = []
    left: list[str | tuple[str]] = [*relative.split("/")[::-1]]  # names; and links in tuples, where their targets end
    seen: dict[str, list[str] | None] = {}  # where each link leads, or None until that is known
    lookup = Lookup(tree)
    try:
        while left:
            name = left.pop()
            if isinstance(name, tuple):
                seen[name[0]] = done[:]
                continue
            if name in ("", "."):
                continue
            if name == "..":
                del done[-1:]
                continue
            try:
                target = lookup.readlink(done, name)
                if target is None and strict and FILES_HAVE_NO_PARENT and any(isinstance(rest, str) for rest in left):
                    lookup.check_directory(done, name)
            except OSError as error:
                if not isinstance(error, ignored):
                    error.filename = tree.string("/".join([*done, name]))
                    raise
                target = None
            if target is None:
                done.append(name)
                continue
            here = "/".join([*done, name])
            if here not in seen:
                seen[here] = None
                below = below_root(target, tree.token)
                left += [(here,), *(target if below is None else below).split("/")[::-1]]
                if below is not None:
                    done = []
            elif (known := seen[here]) is not None:
                done = known[:]
                lookup.jump(done)
            elif strict:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), tree.string(here))
            elif LOOPS_END_IT:
                return collapse("/".join([here, *(rest for rest in left[::-1] if isinstance(rest, str))]))
            else:
                done.append(name)
    finally:
        lookup.close()
    return "/".join(done)


class Lookup:
    """Look up many names in a root, one after the other, of which most are near to the one before.

    The last directories are looked up by their names, and those above them are entered, so that the time for each name
    does not grow with the depth. Without a free descriptor, all are looked up by name.
    """

    __slots__ = ("_again", "_resolution", "_tree")

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._again = ATTEMPTS
        self._resolution: Resolution | None = None

    def close(self) -> None:
        """Close what is open."""
        if self._resolution is not None:
            self._resolution.close()

    def jump(self, directories: list[str]) -> None:
        """Prepare for a name below these directories, which need not be near to the ones before."""
        if self._resolution is not None:
            names = self._resolution.names
            same = 0
            for name, other in zip(names, directories, strict=False):
                if name != other:
                    break
                same += 1
            self._resolution.up(len(names) - same)

    def readlink(self, directories: list[str], name: str) -> str | None:
        """The target of a symlink in a directory, given by names that are no links; None for what is no symlink.

        Raises `OSError` for what cannot be looked at, and `ValueError` for what cannot be a name.
        """
        try:
            if (
                self._resolution is None and self._tree.kernel_nosymfollow and len(directories) <= BY_NAME
            ):  # the usual case
                path = "/".join([*directories, name])
                if 4 * len(path) <= STRIDE_BYTES:
                    return self._tree.readlink(path)
            if "\0" in name:
                raise ValueError("embedded null byte")
            os.fsencode(name)  # which raises another `ValueError`, whatever there is above it
            directory, path = self._near(directories, name)
            return self._tree.readlink(path) if directory is None else os.readlink(path, dir_fd=directory)
        except OSError as error:
            if error.errno == errno.EINVAL:
                return None
            self._tree.check_open()
            if error.errno not in (errno.ENOTDIR, errno.ELOOP) or not self._again:
                raise
        # A file is above it, or a directory has been replaced by a link. To find out, the whole path is resolved.
        self._again -= 1
        try:
            self._tree.readlink("/".join([*directories, name]))
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        raise Swapped

    def check_directory(self, directories: list[str], name: str) -> None:
        """Raise `OSError` unless it is a directory."""
        path = "/".join([*directories, name])
        if not S_ISDIR(self._tree.stat(path, False).st_mode):
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))

    def _near(self, directories: list[str], name: str) -> tuple[int | None, str]:
        """A directory's file descriptor, or None for the root, and the path from there to *name*."""
        resolution = self._resolution
        entered = 0
        if resolution is not None:
            if len(resolution.names) > len(directories):
                resolution.up(len(resolution.names) - len(directories))
            entered = len(resolution.names)
        path = name
        by_name = self._tree.kernel_nosymfollow and len(directories) - entered <= BY_NAME
        if by_name:
            path = "/".join([*directories[entered:], name])
            by_name = 4 * len(path) <= STRIDE_BYTES
        if not by_name:
            try:
                resolution = self._enter(directories, entered)
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE):
                    raise
                return None, "/".join([*directories, name])
            path = name
        if resolution is None or not resolution.names:
            return None, path
        return resolution.current.fileno(), path

    def _enter(self, directories: list[str], entered: int) -> Resolution:
        """Enter the directories that follow the first *entered* ones."""
        if self._resolution is None:
            self._resolution = Resolution(self._tree.fd, self._tree.token, self._tree.kernel_nosymfollow)
        end = entered
        while end < len(directories):
            start = end
            if not self._tree.kernel_nosymfollow:
                end = start + 1
            elif start == entered:  # a missing one is among the first, and those are tried each time
                end = start + fitting(directories[start : start + BY_NAME], 0)
            else:
                end = fitting(directories, start)
            if end == start + 1:
                self._resolution.step(directories[start])
            else:
                self._resolution.stride(directories[start:end])
        return self._resolution
