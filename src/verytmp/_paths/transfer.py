"""Copies of files and trees: between roots, out to the host, and in.

Each end is a path of a root or a host path. A root's path does its part by the confined operations alone.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from stat import S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, S_ISDIR, S_ISLNK, S_ISREG

from .._confined.copy_fd import fill
from .._confined.removal import check_removable, delete, delete_contents
from .._confined.resolver import step_into
from .pure import VeryTmpPurePath
from .tree_copy import INTO_ITSELF, TreeCopy, open_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from .._confined.owned_fd import OwnedFd

SPECIAL = "Only files, directories and symlinks can be copied"
SAME_FILE = "Source and target are the same file"


def copy(source: Path, target: Path, follow_symlinks: bool, preserve_metadata: bool) -> None:
    """Copy a file, a symlink, or a directory with all below it; the directory must not exist yet.

    Raises:
        OSError: EINVAL, after all else was copied, for what is no file, directory or symlink.
    """
    check_complete(copy_all_but_special(source, target, follow_symlinks, preserve_metadata), source, target)


def copy_contents(source: Path, target: Path, follow_symlinks: bool, preserve_metadata: bool) -> None:
    """As `copy`, of all that is in a directory, into a directory that exists."""
    check_complete(contents_but_special(source, target, follow_symlinks, preserve_metadata), source, target)


def move(source: VeryTmpPurePath, target: Path, contents: bool = False) -> None:
    """Copy to another file system, with all metadata, and delete; or do neither.

    Args:
        contents: move all that is in the source directory, into a directory that exists.

    Raises:
        OSError: of the copy; or of the deletion, after all was copied, which is rare: whether
            everything may be removed is checked first.
    """
    check_removable(source._tree, source._rel)
    transfer = contents_but_special if contents else copy_all_but_special
    check_complete(transfer(source, target, False, True), source, target, "Nothing was removed from the source.")
    if contents:
        delete_contents(source._tree, source._rel)
    else:
        delete(source._tree, source._rel)


def check_complete(left_out: list[str], source: Path, target: Path, note: str = "") -> None:
    """Raise `OSError` (EINVAL) if something was left out, for the first of it, with a note that lists all."""
    if left_out:
        error = OSError(errno.EINVAL, SPECIAL, str(source / left_out[0]), None, str(target / left_out[0]))
        error.add_note(f"Everything else was copied. Left out: {', '.join(map(repr, left_out))}.")
        if note:
            error.add_note(note)
        raise error


def copy_all_but_special(source: Path, target: Path, follow_symlinks: bool, preserve_metadata: bool) -> list[str]:
    """As `copy`, but return the names of what was left out, relative to the source."""
    if source == target:
        raise_two_paths(errno.EINVAL, "Source and target are the same path", source, target)
    if target.is_relative_to(source):
        raise_two_paths(errno.EINVAL, INTO_ITSELF, source, target)
    status = source.stat(follow_symlinks=follow_symlinks)
    if S_ISDIR(status.st_mode):
        check_outside(source, target, status)
        return TreeCopy(source, target, follow_symlinks, preserve_metadata).make()
    if S_ISLNK(status.st_mode):
        copy_symlink(source, target, preserve_metadata)
    elif S_ISREG(status.st_mode):
        copy_file(source, target, preserve_metadata)
    else:
        raise_two_paths(errno.EINVAL, SPECIAL, source, target)
    return []


def contents_but_special(source: Path, target: Path, follow_symlinks: bool, preserve_metadata: bool) -> list[str]:
    """As `copy_contents`, but return the names of what was left out, relative to the source."""
    if source == target:
        raise_two_paths(errno.EINVAL, "Source and target are the same path", source, target)
    if target.is_relative_to(source):
        raise_two_paths(errno.EINVAL, INTO_ITSELF, source, target)
    open_end(target, os.O_PATH | os.O_DIRECTORY).close()  # raises if there is no such directory
    check_outside(source, target / "x", source.stat())
    entries = [(path, S_IFMT(path.stat(follow_symlinks=follow_symlinks).st_mode)) for path in source.iterdir()]
    for path, kind in entries:  # no directory is replaced; nothing is copied then
        if kind == S_IFDIR and is_there(target / path.name):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target / path.name))
    left_out: list[str] = []
    for path, kind in entries:
        if kind in (S_IFREG, S_IFDIR, S_IFLNK):
            found = copy_all_but_special(path, target / path.name, follow_symlinks, preserve_metadata)
            left_out += [f"{path.name}/{each}" for each in found]
        else:
            left_out.append(path.name)
    return left_out


def is_there(path: Path) -> bool:
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True


def check_outside(source: Path, target: Path, status: os.stat_result) -> None:
    """Raise `OSError` (EINVAL) for the copy of a directory into itself, also by way of symlinks or of /proc."""
    try:
        here = open_end(target.parent, os.O_PATH | os.O_DIRECTORY)
    except OSError:  # creating the target will raise it too
        return
    below = None
    try:
        while below is None or not os.path.samestat(below, os.fstat(here.fileno())):
            below = os.fstat(here.fileno())
            if os.path.samestat(below, status):
                raise_two_paths(errno.EINVAL, INTO_ITSELF, source, target)
            here = step_into("..", here)
    except PermissionError:  # the directories further up may not be searched
        pass
    finally:
        here.close()


def check_different_files(source: Path, target: Path) -> None:
    try:
        same = os.path.samestat(source.stat(), target.stat())
    except OSError:
        return
    if same:
        raise_two_paths(errno.EINVAL, SAME_FILE, source, target)


def raise_two_paths(number: int, reason: str, source: Path, target: Path) -> NoReturn:
    raise OSError(number, reason, str(source), None, str(target))


def copy_symlink(source: Path, target: Path, preserve_metadata: bool) -> None:
    target_text = source._tree.readlink(source._rel) if isinstance(source, VeryTmpPurePath) else os.readlink(source)
    status = source.lstat()
    times = (status.st_atime_ns, status.st_mtime_ns)
    if isinstance(target, VeryTmpPurePath):
        target._tree.symlink(target._rel, target_text)
        if preserve_metadata:
            target._tree.utime(target._rel, times, False)
    else:
        os.symlink(target_text, target)
        if preserve_metadata:
            os.utime(target, ns=times, follow_symlinks=False)


def copy_file(source: Path, target: Path, preserve_metadata: bool) -> None:
    with open_end(source, os.O_RDONLY) as reading, target_of(source, target) as writing:
        status, there = os.fstat(reading.fileno()), os.fstat(writing.fileno())
        if os.path.samestat(status, there):  # before anything of it is lost
            raise_two_paths(errno.EINVAL, SAME_FILE, source, target)
        if not S_ISREG(there.st_mode):
            raise_two_paths(errno.EINVAL, "Only a file can be written to", source, target)
        if there.st_size:
            os.ftruncate(writing.fileno(), 0)
        try:
            fill(reading, writing, status, preserve_metadata, lambda: unlink_partial(target, writing.fileno()))
        except OSError as error:
            error.filename, error.filename2 = str(source), str(target)
            raise


def target_of(source: Path, target: Path) -> OwnedFd:
    """Open a file to write to. It may be the source itself, so it is not emptied yet."""
    try:
        return open_end(target, os.O_WRONLY | os.O_CREAT)
    except OSError:
        check_different_files(source, target)  # that is the better error
        raise


def unlink_partial(path: Path, descriptor: int) -> bool:
    """Unlink a file that was written in part: at *path*, or where a symlink there leads. Returns whether it did."""
    finds: tuple[Callable[[], Path], ...] = (lambda: path, path.resolve)
    for find in finds:
        try:
            place = find()
            if os.path.samestat(place.lstat(), os.fstat(descriptor)):
                place.unlink()
                return True
        except (OSError, RuntimeError, ValueError):  # the first error is the one to raise
            continue
    return False
