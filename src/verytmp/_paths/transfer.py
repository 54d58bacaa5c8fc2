"""Copies of files and trees: between roots, out to the host, and in.

Each end is a path of a root or a host path. A root's path does its part by the confined operations alone.
"""

from __future__ import annotations

import errno
import os
from functools import partial
from pathlib import Path
from stat import S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, S_ISDIR, S_ISLNK, S_ISREG

from .._confined.copy_fd import fill
from .._confined.removal import check_removable, delete, delete_contents
from .._confined.resolver import step_into
from .hard_links import HardLinks, identity
from .pure import VeryTmpPurePath
from .report import Tally
from .tree_copy import INTO_ITSELF, OWNERS, SPECIAL_FILE, TreeCopy, open_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from io import BufferedReader
    from typing import Any, NoReturn

    from .._confined.owned_fd import OwnedFd
    from .report import _Progress

SPECIAL = "Only files, directories and symlinks can be copied"
SAME_FILE = "Source and target are the same file"


def check_int(name: str, value: object, most: int | None = None) -> int:
    """The number that an argument is. `TypeError` if it is no int, `ValueError` if it is below 0 or above *most*.

    *most* is given for permissions: all bits that they may have.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if value < 0:
        raise ValueError(f"{name} must not be negative: {value}")
    if most is not None and value > most:
        raise ValueError(f"{name} has bits that are no permissions: {value:#o}")
    return value


def copy(
    source: Path, target: Path, follow_symlinks: bool, preserve_metadata: bool, progress: _Progress | None = None
) -> None:
    """Copy a file, a symlink, or a directory with all below it; the directory must not exist yet.

    Raises:
        OSError: EINVAL, after all else was copied, for what is no file, directory or symlink.
    """
    tally = Tally(progress, total_bytes(source, follow_symlinks, preserve_metadata) if progress else None)
    copy_all_but_special(source, target, follow_symlinks, preserve_metadata, tally)
    check_complete(tally, source, target)


def copy_contents(
    source: Path, target: Path, follow_symlinks: bool, preserve_metadata: bool, progress: _Progress | None = None
) -> None:
    """As `copy`, of all that is in a directory, into a directory that exists."""
    tally = Tally(progress, total_bytes(source, follow_symlinks, preserve_metadata) if progress else None)
    contents_but_special(source, target, follow_symlinks, preserve_metadata, tally)
    check_complete(tally, source, target)


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
    tally = Tally()
    transfer(source, target, False, True, tally)
    check_complete(tally, source, target, "Nothing was removed from the source.")
    if contents:
        delete_contents(source._tree, source._rel)
    else:
        delete(source._tree, source._rel)


def total_bytes(source: Any, follow_symlinks: bool, links: bool) -> int | None:
    """How many bytes the copy of a root's path will have; None where symlinks in a directory are followed.

    With *links*, a file that has several names counts once.
    """
    if not source.is_dir(follow_symlinks=follow_symlinks):
        size: int = source.stat(follow_symlinks=follow_symlinks).st_size
        return size
    if follow_symlinks:
        return None
    total = 0
    counted: set[tuple[int, int]] = set()
    for directory, _, files in source.walk():
        for status in [(directory / name).lstat() for name in files]:
            if S_ISREG(status.st_mode) and not (links and identity(status) in counted):
                total += status.st_size
                if status.st_nlink > 1:
                    counted.add(identity(status))
    return total


def check_complete(tally: Tally, source: Path, target: Path, note: str = "") -> None:
    """Raise `OSError` (EINVAL) if something was left out, for the first of it, with a note that lists all."""
    if tally.left_out:
        first = next(iter(tally.left_out))
        error = OSError(errno.EINVAL, SPECIAL, str(source / first), None, str(target / first))
        error.add_note(f"Everything else was copied. Left out: {', '.join(map(repr, tally.left_out))}.")
        if note:
            error.add_note(note)
        raise error


def copy_all_but_special(
    source: Path,
    target: Path,
    follow_symlinks: bool,
    preserve_metadata: bool,
    tally: Tally,
    links: HardLinks | None = None,
    below: tuple[str, ...] = (),
) -> None:
    """As `copy`, but note what was left out in *tally*.

    It may be a part of the copy of a whole directory: that has the *links*, and *below* are the names in it that lead
    to the target.
    """
    if source == target:
        raise_two_paths(errno.EINVAL, "Source and target are the same path", source, target)
    if target.is_relative_to(source):
        raise_two_paths(errno.EINVAL, INTO_ITSELF, source, target)
    status = source.stat(follow_symlinks=follow_symlinks)
    if S_ISDIR(status.st_mode):
        check_outside(source, target, status)
        TreeCopy(source, target, follow_symlinks, preserve_metadata, tally, links, below).make()
    elif S_ISLNK(status.st_mode):
        copy_symlink(source, target, preserve_metadata)
    elif S_ISREG(status.st_mode):
        copy_file(source, target, preserve_metadata, tally, links)
    else:
        raise_two_paths(errno.EINVAL, SPECIAL, source, target)


def contents_but_special(
    source: Path, target: Path, follow_symlinks: bool, preserve_metadata: bool, tally: Tally
) -> None:
    """As `copy_contents`, but note what was left out in *tally*."""
    if source == target:
        raise_two_paths(errno.EINVAL, "Source and target are the same path", source, target)
    if target.is_relative_to(source):
        raise_two_paths(errno.EINVAL, INTO_ITSELF, source, target)
    with open_end(target, os.O_PATH | os.O_DIRECTORY) as top:  # raises if there is no such directory
        links = HardLinks(top) if preserve_metadata else None
        check_outside(source, target / "x", source.stat())
        entries = [(path, S_IFMT(path.stat(follow_symlinks=follow_symlinks).st_mode)) for path in source.iterdir()]
        for path, kind in entries:  # no directory is replaced; nothing is copied then
            if kind == S_IFDIR and is_there(target / path.name):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target / path.name))
        for path, kind in entries:
            if kind in (S_IFREG, S_IFDIR, S_IFLNK):
                copy_all_but_special(
                    path, target / path.name, follow_symlinks, preserve_metadata, tally, links, (path.name,)
                )
            else:
                tally.leave_out(path.name, SPECIAL_FILE)


def open_host_file(path: Path) -> BufferedReader:
    """Open a file of the host to read."""
    return open(path, "rb")


def is_host_directory(path: str) -> bool:
    """Whether there is such a directory outside of all roots."""
    return os.path.isdir(path)


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


def copy_file(
    source: Path, target: Path, preserve_metadata: bool, tally: Tally, links: HardLinks | None = None
) -> None:
    with open_end(source, os.O_RDONLY) as reading:
        status = os.fstat(reading.fileno())
        if links is not None and links.link(status, target.name, links.top.fileno()):
            return
        mode = OWNERS if preserve_metadata else 0o666  # until it has the source's: it may be a secret
        with target_of(source, target, mode) as writing:
            there = os.fstat(writing.fileno())
            if os.path.samestat(status, there):  # before anything of it is lost
                raise_two_paths(errno.EINVAL, SAME_FILE, source, target)
            if not S_ISREG(there.st_mode):
                raise_two_paths(errno.EINVAL, "Only a file can be written to", source, target)
            if there.st_size:
                os.ftruncate(writing.fileno(), 0)
            remove = partial(unlink_partial, target, writing.fileno())
            try:
                fill(reading, writing, status, preserve_metadata, tally.advance, remove)
                if links is not None:
                    links.add(status, [target.name], writing)
            except OSError as error:
                error.filename, error.filename2 = str(source), str(target)
                raise


def target_of(source: Path, target: Path, mode: int) -> OwnedFd:
    """Open a file to write to. It may be the source itself, so it is not emptied yet."""
    try:
        return open_end(target, os.O_WRONLY | os.O_CREAT, mode)
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
