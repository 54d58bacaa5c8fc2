"""A file's contents and metadata, copied from one descriptor to another. No name is looked up here."""

from __future__ import annotations

import errno
import os
from stat import S_IMODE, S_ISGID, S_ISUID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .owned_fd import OwnedFd

SMALL = 1 << 14  # bytes; for fewer, copy_file_range(2) and the calls around it take longer
BLOCK = 512  # bytes of one of st_blocks: stat(2)

OFFSET_MAX = (1 << 63) - 1
SEEKABLE = (1 << 63) - (1 << 16)  # in the last page that there can be, the results of lseek(2) overflow

CHUNK = 1 << 20  # bytes that pass through this process at once, where the kernel cannot copy by itself
REPORTED = 1 << 24  # bytes after which progress is reported: the kernel copies 16 MiB in some milliseconds

# What a file system or a policy may have against extended attributes: pathlib's list.
XATTRS_REFUSED = (errno.EPERM, errno.EOPNOTSUPP, errno.ENODATA, errno.EINVAL, errno.EACCES)


def fill(
    reading: OwnedFd,
    writing: OwnedFd,
    status: os.stat_result,
    preserve_metadata: bool,
    advance: Callable[[int], object],
    remove: Callable[[], bool] | None,
) -> None:
    """Copy a file's contents into an empty file, and its metadata if they are to be preserved.

    *advance* is called with the number of bytes after each part of them.

    If that fails, *remove* is called, which removes the target and returns whether it has. The error has a note of it.
    """
    try:
        copy_bytes(reading.fileno(), writing.fileno(), status, advance)
    except BaseException as error:
        if remove is None:
            raise
        gone = remove()
        if isinstance(error, OSError):
            error.add_note(f"The target, of which only a part was written, {'is removed' if gone else 'is left'}.")
        raise
    if preserve_metadata:  # if that fails, the target is whole
        copy_metadata(reading.fileno(), writing.fileno())


def copy_metadata(reading: int, writing: int, mode: int | None = None) -> None:
    """Copy a file's metadata; *mode* takes the place of its permissions.

    Without set-user-ID where the owner is another one, and set-group-ID where the group is: that would be a program
    with the rights of the user who copies it.
    """
    status = os.fstat(reading)
    os.utime(writing, ns=(status.st_atime_ns, status.st_mtime_ns))
    # Before the permissions, which may forbid it.
    for name in extended_attributes(reading):
        try:
            os.setxattr(writing, name, os.getxattr(reading, name))
        except OSError as error:
            if error.errno not in XATTRS_REFUSED:
                raise
    if mode is None:
        mode, there = S_IMODE(status.st_mode), os.fstat(writing)
        mode &= ~(S_ISUID * (there.st_uid != status.st_uid) | S_ISGID * (there.st_gid != status.st_gid))
    os.fchmod(writing, mode)


def extended_attributes(descriptor: int) -> list[str]:
    try:
        return os.listxattr(descriptor)
    except OSError as error:
        if error.errno not in XATTRS_REFUSED:
            raise
        return []


def copy_bytes(reading: int, writing: int, status: os.stat_result, advance: Callable[[int], object] = bool) -> None:
    """Copy a file's bytes into an empty file; holes stay holes, for lseek(2) finds the data.

    *status* is that of the file to be read, whose size may be wrong, and may change meanwhile. *advance* is called with
    the number of bytes after each part, holes included.
    """
    size = min(status.st_size, SEEKABLE)
    position = 0
    if size <= SMALL and size <= status.st_blocks * BLOCK:
        # Without a hole, and small: two calls, instead of the six that are faster for a large file.
        data = os.pread(reading, size + 1, 0)
        write_at(writing, data, 0)
        advance(len(data))
        if len(data) <= size:
            return
        position = size = len(data)
    while position < size:
        start, data_end = next_data(reading, position, size)
        while True:  # not asked again for each part: to find the end of the data, the kernel looks at each of its pages
            end = min(data_end, start + REPORTED)
            reached = copy_range(reading, writing, start, end)
            advance(reached - position)
            if reached < end:
                return  # it is shorter than it says: a file in /sys, or one that was truncated meanwhile
            position = start = end
            if end == data_end:
                break
    os.ftruncate(writing, position)  # a hole at the end
    # What was appended meanwhile; all of a file in /proc, whose size is 0; and what is beyond SEEKABLE.
    while data := os.pread(reading, min(CHUNK, OFFSET_MAX - position), position):
        write_at(writing, data, position)
        advance(len(data))
        position += len(data)


def next_data(reading: int, position: int, size: int) -> tuple[int, int]:
    """The start and end of the next data in a file of this size; all of the rest where that is not certain."""
    try:
        start = os.lseek(reading, position, os.SEEK_DATA)
        return start, os.lseek(reading, start, os.SEEK_HOLE)
    except OSError as error:
        if error.errno == errno.ENXIO and is_hole(reading, position, size):
            return size, size
        if error.errno not in (errno.ENXIO, errno.EINVAL):  # EINVAL: this file system does not support it
            raise
    return position, size


def is_hole(reading: int, position: int, size: int) -> bool:
    """Whether a file of this size has no data from *position* on.

    ENXIO alone does not mean it: it is also the result in a file that was just truncated, to be written again. Such a
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
    """Copy a range by the first call that works for this pair of files. Returns the position that was reached."""
    for call in (by_copy_file_range, by_sendfile, by_read_and_write):
        try:
            while start < end and (count := call(reading, writing, start, end - start)):
                start += count
        except OSError as error:
            # Kernels differ in the errno for a call that does not apply.
            if call is by_read_and_write or error.errno in (
                errno.ENOSPC,
                errno.EFBIG,
                errno.EDQUOT,
                errno.EIO,
                errno.ENOMEM,
            ):
                raise
        else:
            break
    return start


def by_copy_file_range(reading: int, writing: int, start: int, count: int) -> int:
    return os.copy_file_range(reading, writing, count, start, start)


def by_sendfile(reading: int, writing: int, start: int, count: int) -> int:
    os.lseek(writing, start, os.SEEK_SET)
    return os.sendfile(writing, reading, start, count)


def by_read_and_write(reading: int, writing: int, start: int, count: int) -> int:
    data = os.pread(reading, min(count, CHUNK), start)
    write_at(writing, data, start)
    return len(data)


def write_at(writing: int, data: bytes, start: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(writing, view, start)
        view, start = view[count:], start + count
