"""Copies of files and trees: between roots, out to the host, and in.

Each end is a path of a root or a plain one, and is asked to do its own part: a root's path never leaves its funnel.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from stat import S_IMODE, S_ISDIR, S_ISLNK, S_ISREG

from . import _owner
from ._pure import Pure
from ._resolve import enter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from select import epoll
    from typing import NoReturn

SMALL = 1 << 14  # bytes; copy_file_range(2) and its company take longer for fewer
BLOCK = 512  # bytes of one of st_blocks: stat(2)

OFFSET_MAX = (1 << 63) - 1
SEEKABLE = (1 << 63) - (1 << 16)  # in the last page that there can be, the answers of lseek(2) overflow

CHUNK = 1 << 20  # bytes that pass through this process at once, where the kernel cannot copy by itself

SAME_FILE = "Source and target are the same file"

# What a file system or a policy may have against extended attributes: pathlib's list.
XATTRS_REFUSED = (errno.EPERM, errno.EOPNOTSUPP, errno.ENODATA, errno.EINVAL, errno.EACCES)


def copy(source: Path, target: Path, follow_symlinks: bool, preserve_metadata: bool) -> None:
    """Copy a file, a symlink, or a directory with all below it; that must not exist yet."""
    if source == target:
        refuse(errno.EINVAL, "Source and target are the same path", source, target)
    if target.is_relative_to(source):
        refuse(errno.EINVAL, "Source path is a parent of target path", source, target)
    check_outside(source, target, follow_symlinks)
    left = [(source, target)]
    directories: list[tuple[Path, Path]] = []
    made: set[tuple[int, int]] = set()
    while left:
        source, target = left.pop()
        mode = source.stat(follow_symlinks=follow_symlinks).st_mode
        if S_ISLNK(mode):
            copy_symlink(source, target, preserve_metadata)
        elif S_ISDIR(mode):
            children = list(source.iterdir())
            if identity(source) in made:  # by way of a symlink: there would be no end to it
                refuse(errno.EINVAL, "Source path is a parent of target path", source, target)
            target.mkdir()
            made.add(identity(target))
            directories.append((source, target))
            left += [(child, target / child.name) for child in reversed(children)]
        elif S_ISREG(mode):
            copy_file(source, target, preserve_metadata)
        else:
            refuse(errno.EINVAL, "Only files, directories and symlinks can be copied", source, target)
    if preserve_metadata:  # from the bottom up: what is made in a directory changes its times, and may be forbidden
        for source, target in reversed(directories):
            copy_directory_metadata(source, target)


def check_outside(source: Path, target: Path, follow_symlinks: bool) -> None:
    """Refuse a directory's copy into itself, whatever the two are called: by way of symlinks, or of /proc."""
    status = source.stat(follow_symlinks=follow_symlinks)
    if not S_ISDIR(status.st_mode):
        return
    try:
        here = opened(target.parent, os.O_PATH | os.O_DIRECTORY)
    except OSError:  # which making the target will meet too
        return
    below = None
    try:
        while below is None or not os.path.samestat(below, os.fstat(here.fileno())):
            below = os.fstat(here.fileno())
            if os.path.samestat(below, status):
                refuse(errno.EINVAL, "Source path is a parent of target path", source, target)
            here = enter("..", here)
    except PermissionError:  # further up nobody may look
        pass
    finally:
        here.close()


def identity(directory: Path) -> tuple[int, int]:
    status = directory.stat()
    return status.st_dev, status.st_ino


def check_different_files(source: Path, target: Path) -> None:
    try:
        same = os.path.samestat(source.stat(), target.stat())
    except OSError:
        return
    if same:
        refuse(errno.EINVAL, SAME_FILE, source, target)


def refuse(number: int, reason: str, source: Path, target: Path) -> NoReturn:
    raise OSError(number, reason, str(source), None, str(target))


def opened(path: Path, flags: int) -> epoll:
    """The owner of a descriptor. Nothing waits for the other end of a FIFO."""
    flags |= os.O_NONBLOCK | os.O_NOCTTY
    if isinstance(path, Pure):
        return path._tree.open(path._rel, flags, 0o666)
    return _owner.opened(os.fspath(path), flags, None, 0o666)


def copy_symlink(source: Path, target: Path, preserve_metadata: bool) -> None:
    words = source._tree.readlink(source._rel) if isinstance(source, Pure) else os.readlink(source)
    status = source.lstat()
    times = (status.st_atime_ns, status.st_mtime_ns)
    if isinstance(target, Pure):
        target._tree.symlink(target._rel, words)
        if preserve_metadata:
            target._tree.utime(target._rel, times, False)
    else:
        os.symlink(words, target)
        if preserve_metadata:
            os.utime(target, ns=times, follow_symlinks=False)


def copy_directory_metadata(source: Path, target: Path) -> None:
    flags = os.O_RDONLY | os.O_DIRECTORY
    with opened(source, flags) as reading, opened(target, flags) as writing:
        copy_metadata(reading.fileno(), writing.fileno())


def copy_file(source: Path, target: Path, preserve_metadata: bool) -> None:
    with opened(source, os.O_RDONLY) as reading, target_of(source, target) as writing:
        status, there = os.fstat(reading.fileno()), os.fstat(writing.fileno())
        if os.path.samestat(status, there):  # before anything of it is lost
            refuse(errno.EINVAL, SAME_FILE, source, target)
        if not S_ISREG(there.st_mode):
            refuse(errno.EINVAL, "Only a file can be written to", source, target)
        if there.st_size:
            os.ftruncate(writing.fileno(), 0)
        try:
            copy_bytes(reading.fileno(), writing.fileno(), status)
        except BaseException as error:
            gone = removed(target, writing.fileno())
            if isinstance(error, OSError):
                error.filename, error.filename2 = str(source), str(target)
                error.add_note(f"The target, of which only a part was written, {'is removed' if gone else 'is left'}.")
            raise
        if preserve_metadata:
            try:
                copy_metadata(reading.fileno(), writing.fileno())
            except OSError as error:  # the target is whole
                error.filename, error.filename2 = str(source), str(target)
                raise


def target_of(source: Path, target: Path) -> epoll:
    """A file to be written to, which may be the source itself: so it is not emptied yet."""
    try:
        return opened(target, os.O_WRONLY | os.O_CREAT)
    except OSError:
        check_different_files(source, target)  # which is the better reason
        raise


def removed(path: Path, descriptor: int) -> bool:
    """Unlink a file under this name, or under the one that a symlink of this name leads to; if it still has one."""
    finds: tuple[Callable[[], Path], ...] = (lambda: path, path.resolve)
    for find in finds:
        try:
            place = find()
            if os.path.samestat(place.lstat(), os.fstat(descriptor)):
                place.unlink()
                return True
        except (OSError, RuntimeError, ValueError):  # the first error is the one to tell
            continue
    return False


def copy_metadata(reading: int, writing: int) -> None:
    status = os.fstat(reading)
    os.utime(writing, ns=(status.st_atime_ns, status.st_mtime_ns))
    # Before the permissions, which may forbid it.
    for name in extended_attributes(reading):
        try:
            os.setxattr(writing, name, os.getxattr(reading, name))
        except OSError as error:
            if error.errno not in XATTRS_REFUSED:
                raise
    os.fchmod(writing, S_IMODE(status.st_mode))


def extended_attributes(descriptor: int) -> list[str]:
    try:
        return os.listxattr(descriptor)
    except OSError as error:
        if error.errno not in XATTRS_REFUSED:
            raise
        return []


def copy_bytes(reading: int, writing: int, status: os.stat_result) -> None:
    """A file's bytes, holes as holes: lseek(2) tells where there is data."""
    size = min(status.st_size, SEEKABLE)
    position = 0
    if size <= SMALL and size <= status.st_blocks * BLOCK:
        # Without a hole, and soon copied: two calls, instead of the six that are quicker for what is large.
        data = os.pread(reading, size + 1, 0)
        write_at(writing, data, 0)
        if len(data) <= size:
            return
        position = size = len(data)
    while position < size:
        start, end = next_data(reading, position, size)
        if copy_range(reading, writing, start, end) < end:
            return  # it is shorter than it says: a file in /sys, or one that was truncated meanwhile
        position = end
    os.ftruncate(writing, position)  # a hole at the end
    # What was appended meanwhile; all of a file in /proc, whose size is 0; and what is beyond SEEKABLE.
    while data := os.pread(reading, min(CHUNK, OFFSET_MAX - position), position):
        write_at(writing, data, position)
        position += len(data)


def next_data(reading: int, position: int, size: int) -> tuple[int, int]:
    """Where the data begins and ends that follows in a file of this size; all of the rest where that is not certain."""
    try:
        start = os.lseek(reading, position, os.SEEK_DATA)
        return start, os.lseek(reading, start, os.SEEK_HOLE)
    except OSError as error:
        if error.errno == errno.ENXIO and is_hole(reading, position, size):
            return size, size
        if error.errno not in (errno.ENXIO, errno.EINVAL):  # EINVAL: this file system does not tell
            raise
    return position, size


def is_hole(reading: int, position: int, size: int) -> bool:
    """Whether a file of this size has no data from *position* on.

    ENXIO alone does not say so: it is also the answer in a file that was just truncated, to be written again. Such a
    file is not seen with a hole at both ends of the range and no data between.
    """
    try:
        if os.lseek(reading, position, os.SEEK_HOLE) != position:
            return False
        try:
            os.lseek(reading, position, os.SEEK_DATA)
        except OSError as error:
            return error.errno == errno.ENXIO and os.lseek(reading, size - 1, os.SEEK_HOLE) == size - 1
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
    return False


def copy_range(reading: int, writing: int, start: int, end: int) -> int:
    """By the first call that this pair of files allows. Where it came to."""
    for call in (by_copy_file_range, by_sendfile, by_hand):
        try:
            while start < end and (count := call(reading, writing, start, end - start)):
                start += count
        except OSError as error:
            # The kernels have been of many minds about what to answer where a call does not apply.
            if call is by_hand or error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO, errno.ENOMEM):
                raise
        else:
            break
    return start


def by_copy_file_range(reading: int, writing: int, start: int, count: int) -> int:
    return os.copy_file_range(reading, writing, count, start, start)


def by_sendfile(reading: int, writing: int, start: int, count: int) -> int:
    os.lseek(writing, start, os.SEEK_SET)
    return os.sendfile(writing, reading, start, count)


def by_hand(reading: int, writing: int, start: int, count: int) -> int:
    data = os.pread(reading, min(count, CHUNK), start)
    write_at(writing, data, start)
    return len(data)


def write_at(writing: int, data: bytes, start: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(writing, view, start)
        view, start = view[count:], start + count
