"""Where a path leads, written without links and ``..``: `os.path.realpath` within the root."""

from __future__ import annotations

import errno
import os
import os.path
import sys
from stat import S_ISDIR

from ._proc import path_in_root
from ._resolve import collapse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._tree import Tree

ALLOW_MISSING = getattr(os.path, "ALLOW_MISSING", "ALLOW_MISSING")  # for *strict*, in the newest Pythons
FILES_HAVE_NO_PARENT = sys.version_info >= (3, 14)  # where strict, "file/.." is an error
LOOPS_END_IT = sys.version_info < (3, 13)  # what comes after a loop is not looked at


def realpath(tree: Tree, relative: str, strict: object) -> str:
    """The path without links; a part that cannot be looked at is no link, unless *strict*.

    The number of links is not limited. One that leads through itself is ELOOP if *strict*, else it stays as it is.
    """
    ignored: type[OSError] | tuple[()] = FileNotFoundError if strict is ALLOW_MISSING else () if strict else OSError
    done = ""
    left: list[str | tuple[str]] = [*relative.split("/")[::-1]]  # names, and links in tuples: there ends what one says
    seen: dict[str, str | None] = {}  # where each link leads, or None until that is known
    while left:
        name = left.pop()
        if isinstance(name, tuple):
            seen[name[0]] = done
            continue
        if name in ("", "."):
            continue
        if name == "..":
            done = done.rpartition("/")[0]
            continue
        here = f"{done}/{name}" if done else name
        try:
            words = readlink(tree, here)
            if words is None and strict and FILES_HAVE_NO_PARENT and any(isinstance(rest, str) for rest in left):
                check_directory(tree, here)
        except ignored:
            words = None
        if words is None:
            done = here
        elif here not in seen:
            seen[here] = None
            if words.startswith("/"):
                words = path_in_root(words, tree.token) or words
                done = ""
            left += [(here,), *words.split("/")[::-1]]
        elif (known := seen[here]) is not None:
            done = known
        elif strict:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), tree.string(here))
        elif LOOPS_END_IT:
            return collapse("/".join([here, *(rest for rest in left[::-1] if isinstance(rest, str))]))
        else:
            done = here
    return done


def readlink(tree: Tree, relative: str) -> str | None:
    """A symlink's words; None for what is no symlink."""
    try:
        return tree.readlink(relative)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    return None


def check_directory(tree: Tree, relative: str) -> None:
    if not S_ISDIR(tree.stat(relative, False).st_mode):
        raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), tree.string(relative))
