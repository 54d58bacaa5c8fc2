"""Deletion of files and trees, by descriptors, so that no link leads elsewhere."""

from __future__ import annotations

import errno
import os
from stat import S_ISDIR

from . import _glob, _owner
from ._proc import self_fd
from ._resolve import DIRECTORY, enter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from select import epoll

    from ._pure import Pure


def delete(path: Pure) -> None:
    """Remove a file, a symlink, or a directory with all below it."""
    tree, relative = path._tree, path._rel
    status = tree.stat(relative, False)
    if S_ISDIR(status.st_mode):
        try:
            with tree.open(relative, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW) as top:
                empty(top, status.st_dev)
        except OSError as error:
            error.filename = str(path)
            raise
        tree.rmdir(relative)
    else:
        tree.unlink(relative)


def empty(top: epoll, device: int, forced: bool = False) -> None:
    """Remove all that is in a directory; *forced* says that no permission of what is below may stop that.

    Nothing is touched that is not of this *device*. For a descriptor is but a number: where a program closes those that
    are not its own, another directory may lie under it, the host's root even.
    """
    directories = [""]
    for directory in directories:  # which grows
        with listable(top, directory, device, forced) as here, os.scandir(here.fileno()) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        directories += [_glob.joined(directory, name) for name in names]
    for directory in reversed(directories):
        with listable(top, directory, device) as here:
            clear(here.fileno())


def listable(top: epoll, directory: str, device: int, forced: bool = False) -> epoll:
    """A directory below another one, entered name by name; none of them may be a link."""
    here = _owner.opened(".", DIRECTORY, top.fileno())
    try:
        for name in directory.split("/") if directory else ():
            here = enter(name, here)
        check(here, device)
        try:
            found = _owner.opened(".", os.O_RDONLY | os.O_DIRECTORY, here.fileno())
        except PermissionError:
            if not forced:
                raise
            os.chmod(self_fd(here.fileno()), 0o700)
            found = _owner.opened(".", os.O_RDONLY | os.O_DIRECTORY, here.fileno())
        check(found, device)
        if forced:
            os.chmod(found.fileno(), 0o700)  # for what is in it; this way needs no /proc
        return found
    finally:
        here.close()


def check(directory: epoll, device: int) -> None:
    if os.fstat(directory.fileno()).st_dev != device:
        raise OSError(errno.EXDEV, "it is on another file system, and nothing is removed there")


def clear(directory: int) -> None:
    """Remove what is in a directory, whose own directories are empty."""
    with os.scandir(directory) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_dir in found:
        if is_dir:
            os.rmdir(name, dir_fd=directory)
        else:
            os.unlink(name, dir_fd=directory)
