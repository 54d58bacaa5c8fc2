"""Calls on a resolution's last step: on a name in a directory that is open. None of them follows that name."""

from __future__ import annotations

import errno
import os
from stat import S_ISLNK

from .owned_fd import opened
from .procfs import self_fd
from .resolver import is_being_swapped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .owned_fd import OwnedFd


def ends_above(relative: str) -> bool:
    """Whether the last component is ``..``, which is no link. The resolver has to take it: it stops at the root."""
    return relative.rpartition("/")[2] == ".."


def entry_here(directory: int, name: str, call: Callable[..., Any], *args: object) -> Any:
    """One of os's calls on a directory entry: unlink, mkdir and the like."""
    return call(name, *args, dir_fd=directory)


def utime(name: str, ns: tuple[int, int] | None, follow: bool = True, dir_fd: int | None = None) -> None:
    """os.utime, for which None and no *ns* are not the same."""
    os.utime(name, **({"ns": ns} if ns else {}), dir_fd=dir_fd, follow_symlinks=follow)


def symlink_here(name: str, target: str, *, dir_fd: int) -> None:
    """os.symlink with its arguments in the order of the other calls. In its error, `filename2` is the target."""
    try:
        os.symlink(target, name, dir_fd=dir_fd)
    except OSError as error:
        error.filename2 = target  # `filename` will be the path
        raise


def stat_here(directory: int, name: str, follow: bool) -> os.stat_result:
    """stat(2). With *follow*, a link raises ELOOP: it was none when the resolver looked at it."""
    if name == ".":
        return os.fstat(directory)
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if follow and S_ISLNK(status.st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return status


def open_here(directory: int, name: str, flags: int, mode: int) -> OwnedFd:
    """open(2). Without O_NOFOLLOW among the *flags*, a link raises ELOOP: it was none when the resolver looked."""
    try:
        file = opened(name, flags | os.O_NOFOLLOW, directory, mode)
    except NotADirectoryError:
        if flags & os.O_NOFOLLOW or not is_being_swapped(name, directory):
            raise
    except PermissionError:
        if name != ".":
            raise
        # "." takes permission to search it; this does not. It is itself a link, to what is open already.
        return opened(self_fd(directory), flags & ~os.O_NOFOLLOW, None, mode)
    else:
        if flags & (os.O_PATH | os.O_NOFOLLOW) != os.O_PATH or not S_ISLNK(os.fstat(file.fileno()).st_mode):
            return file
        file.close()
    # With O_DIRECTORY, the kernel's answer for a link is ENOTDIR; with O_PATH, it opens the link.
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None
