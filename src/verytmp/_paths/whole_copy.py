"""A directory that is copied with all that a clone of it has: owners, hard links, FIFOs and sockets too.

So a root is cloned, and a directory renamed, where the kernel does not do it.
"""

from __future__ import annotations

import errno
import os
from posix import geteuid  # a test may have put another in os
from stat import S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, S_IMODE, S_ISLNK

from .._confined.copy_fd import copy_metadata
from .._confined.removal import check_removable, delete
from . import glob, transfer
from .pure import VeryTmpPurePath
from .tree_copy import open_end

NAME_BYTES = 8
NOT_EMPTIED = "All of it is at its new name; what could not be removed is at the old one too."


def rename_directory(source: VeryTmpPurePath, target: VeryTmpPurePath) -> None:
    """Rename a directory of a clone, where overlayfs answers EXDEV: one that is not the clone's alone.

    The copy appears at its new name whole, as after rename(2); after that, the old name is removed. What fails before
    leaves all as it was. Raises `OSError` as rename(2) does, and what a copy does.
    """
    tree = source._tree
    check_removable(tree, source._rel)
    if target.is_dir() and any(target.iterdir()):
        raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(source), None, str(target))
    copy = target.with_name(f".{os.urandom(NAME_BYTES).hex()}")
    copy.mkdir(0o700)
    try:
        copy_directory(source, copy, source.stat().st_mode)
        tree.rename(copy._rel, target._rel)
    except BaseException:
        delete(tree, copy._rel)
        raise
    try:
        delete(tree, source._rel)
    except OSError as error:
        error.add_note(NOT_EMPTIED)
        raise


def copy_directory(source: VeryTmpPurePath, target: VeryTmpPurePath, mode: int) -> None:
    """Copy all that is in a directory into an empty one, which gets the source's metadata too, but this *mode*.

    Raises `OSError` where something cannot be read or made.
    """
    target.chmod(0o700)  # it may forbid that anything is made in it
    try:
        transfer.copy_contents(source, target, False, True)
    except OSError as error:
        if error.strerror != transfer.SPECIAL:  # all else was copied then
            raise
    complete(source, target, geteuid() == 0)
    with open_end(source, os.O_RDONLY) as reading, open_end(target, os.O_RDONLY) as writing:
        if geteuid() == 0:
            status = os.fstat(reading.fileno())
            os.fchown(writing.fileno(), status.st_uid, status.st_gid)
        copy_metadata(reading.fileno(), writing.fileno())
        os.fchmod(writing.fileno(), S_IMODE(mode))


def complete(source: VeryTmpPurePath, target: VeryTmpPurePath, owners: bool) -> None:
    """Make what a copy has left out, FIFOs, sockets and devices; and give all of it its *owners*."""
    for above, directories, files in glob.walk(source._tree, source._rel, True, None, False):
        for name in (*directories, *files):
            path = source._derive(above) / name
            copy = target / path.relative_to(source)
            status = path.lstat()
            if S_IFMT(status.st_mode) not in (S_IFREG, S_IFDIR, S_IFLNK):
                make_special(copy, status)
            if owners:
                set_owner(copy, status)


def make_special(target: VeryTmpPurePath, status: os.stat_result) -> None:
    """Make a FIFO, a socket or a device, in a directory that gets its old times back."""
    tree, above = target._tree, target.parent.stat()
    tree._at_entry(os.mknod, target._rel, status.st_mode)
    target.chmod(S_IMODE(status.st_mode))
    tree.utime(target._rel, (status.st_atime_ns, status.st_mtime_ns), False)
    tree.utime(target.parent._rel, (above.st_atime_ns, above.st_mtime_ns))


def set_owner(target: VeryTmpPurePath, status: os.stat_result) -> None:
    """Give a file the owner that *status* has."""
    there = target.lstat()
    if (status.st_uid, status.st_gid) != (there.st_uid, there.st_gid):
        target._tree._at_entry(chown, target._rel, status.st_uid, status.st_gid)
        if not S_ISLNK(status.st_mode):
            target.chmod(S_IMODE(status.st_mode))  # a new owner takes set-user-ID away


def chown(name: str, uid: int, gid: int, *, dir_fd: int) -> None:
    os.chown(name, uid, gid, dir_fd=dir_fd, follow_symlinks=False)
