"""A root that is copied into another one, with all that a clone has: owners, hard links, FIFOs and sockets too."""

from __future__ import annotations

import os
from posix import geteuid  # a test may have put another in os
from stat import S_IMODE

from .._confined.copy_fd import copy_metadata
from . import transfer
from .tree_copy import open_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .path import VeryTmpPath


def copy_root(source: VeryTmpPath, target: VeryTmpPath) -> None:
    """Copy all that is in a root into an empty one, whose directory gets the source's metadata, but for its mode.

    Raises `OSError` where something cannot be read or made.
    """
    mode = target.stat().st_mode
    target.chmod(0o700)  # it may forbid that anything is made in it
    for name in transfer.contents_but_special(source, target, False, True):
        copy_special(source / name, target / name)
    if geteuid() == 0:
        copy_owners(source, target)
    with open_end(source, os.O_RDONLY) as reading, open_end(target, os.O_RDONLY) as writing:
        copy_metadata(reading.fileno(), writing.fileno())
        os.fchmod(writing.fileno(), S_IMODE(mode))


def copy_special(source: VeryTmpPath, target: VeryTmpPath) -> None:
    """Make a FIFO, a socket or a device, in a directory that gets its old times."""
    status, above = source.lstat(), target.parent.stat()
    tree = target._tree
    tree._at_entry(os.mknod, target._rel, status.st_mode)
    target.chmod(S_IMODE(status.st_mode))
    tree.utime(target._rel, (status.st_atime_ns, status.st_mtime_ns), False)
    tree.utime(target.parent._rel, (above.st_atime_ns, above.st_mtime_ns))


def copy_owners(source: VeryTmpPath, target: VeryTmpPath) -> None:
    """Give each file and directory the owner that it has in the source."""
    for directory, directories, files in source.walk():
        for name in (*directories, *files):
            path = directory / name
            status, copy = path.lstat(), target._derive(path._rel)
            there = copy.lstat()
            if (status.st_uid, status.st_gid) != (there.st_uid, there.st_gid):
                copy._tree._at_entry(chown, copy._rel, status.st_uid, status.st_gid)
                if not path.is_symlink():
                    copy.chmod(S_IMODE(status.st_mode))  # a new owner takes set-user-ID away


def chown(name: str, uid: int, gid: int, *, dir_fd: int) -> None:
    os.chown(name, uid, gid, dir_fd=dir_fd, follow_symlinks=False)
