"""Copies of files and trees: between roots, out to the host, and in.

Each end is a path of a root or a plain one, and is asked to do its own part: a root's path never leaves its funnel.
"""

from __future__ import annotations

import errno
import os
from functools import partial
from pathlib import Path
from stat import S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, S_IMODE, S_ISDIR, S_ISLNK, S_ISREG

from .._confined import owned_fd
from .._confined.dir_stack import DirStack
from .._confined.removal import check_removable, delete, delete_contents
from .._confined.resolver import LINKS_MAX, step_into
from .._confined.tree import LISTED
from .pure import VeryTmpPurePath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn, TypeVar

    from .._confined.owned_fd import OwnedFd

    _T = TypeVar("_T")

SMALL = 1 << 14  # bytes; copy_file_range(2) and its company take longer for fewer
BLOCK = 512  # bytes of one of st_blocks: stat(2)

OFFSET_MAX = (1 << 63) - 1
SEEKABLE = (1 << 63) - (1 << 16)  # in the last page that there can be, the answers of lseek(2) overflow

CHUNK = 1 << 20  # bytes that pass through this process at once, where the kernel cannot copy by itself

NOT_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)  # for the other end of a FIFO

INTO_ITSELF = "Source path is a parent of target path"
SPECIAL = "Only files, directories and symlinks can be copied"
SAME_FILE = "Source and target are the same file"

# What a file system or a policy may have against extended attributes: pathlib's list.
XATTRS_REFUSED = (errno.EPERM, errno.EOPNOTSUPP, errno.ENODATA, errno.EINVAL, errno.EACCES)


def copy(source: Path, target: Path, follow_symlinks: bool, preserve_metadata: bool) -> None:
    """Copy a file, a symlink, or a directory with all below it; the directory must not exist yet.

    Raises:
        OSError: EINVAL, after all else was copied, for what is no file, directory or symlink.
    """
    check_complete(copy_all_but_special(source, target, follow_symlinks, preserve_metadata), source, target)


def copy_contents(source: Path, target: Path, follow_symlinks: bool, preserve_metadata: bool) -> None:
    """As `copy`, of all that is in a directory, into one that is there."""
    check_complete(contents_but_special(source, target, follow_symlinks, preserve_metadata), source, target)


def move(source: VeryTmpPurePath, target: Path, contents: bool = False) -> None:
    """Copy to another file system, with all metadata, and delete; or do neither.

    Args:
        contents: all that is in the directory is meant, and it is moved into one that is there.

    Raises:
        OSError: of the copy; or of the deletion, after all was copied, which is rare: it is asked before whether
            everything may be removed.
    """
    check_removable(source._tree, source._rel)
    transfer = contents_but_special if contents else copy_all_but_special
    check_complete(transfer(source, target, False, True), source, target, "Nothing was removed from the source.")
    if contents:
        delete_contents(source._tree, source._rel)
    else:
        delete(source._tree, source._rel)


def check_complete(left_out: list[str], source: Path, target: Path, note: str = "") -> None:
    """Report what could not be copied, when all else was."""
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
    opened(target, os.O_PATH | os.O_DIRECTORY).close()  # or there is nothing to copy into
    check_outside(source, target / "x", source.stat())
    entries = [(path, S_IFMT(path.stat(follow_symlinks=follow_symlinks).st_mode)) for path in source.iterdir()]
    for path, kind in entries:  # no directory is replaced: then nothing is begun
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
    """Refuse a directory's copy into itself, whatever the two are called: by way of symlinks, or of /proc."""
    try:
        here = opened(target.parent, os.O_PATH | os.O_DIRECTORY)
    except OSError:  # which making the target will meet too
        return
    below = None
    try:
        while below is None or not os.path.samestat(below, os.fstat(here.fileno())):
            below = os.fstat(here.fileno())
            if os.path.samestat(below, status):
                raise_two_paths(errno.EINVAL, INTO_ITSELF, source, target)
            here = step_into("..", here)
    except PermissionError:  # further up nobody may look
        pass
    finally:
        here.close()


class TreeCopy:
    """A copy of a directory and of all below it.

    Both trees are gone through by descriptors, one name at a time and without following it, so that depth costs nothing
    and whoever exchanges names leads nowhere else. Symlinks that are to be followed are looked up from the root on.
    """

    def __init__(self, source: Path, target: Path, follow_symlinks: bool, preserve_metadata: bool) -> None:
        self.source, self.target = source, target
        self.follow, self.preserve = follow_symlinks, preserve_metadata
        self.writing = LISTED if preserve_metadata else os.O_PATH | os.O_DIRECTORY  # O_PATH takes no metadata
        self.made: set[tuple[int, int]] = set()
        self.above: dict[tuple[int, int], bool] = {}  # the directories being copied, and whether by way of a symlink
        self.left_out: list[str] = []

    def make(self) -> list[str]:
        """Make it, and return the relative names of what is no file, directory or symlink."""
        flags = LISTED if self.follow else LISTED | os.O_NOFOLLOW
        with DirStack(opened(self.source, flags), LISTED) as self.reader:
            self.above[identity(self.reader.status)] = False
            self.target.mkdir()
            with DirStack(opened(self.target, self.writing | os.O_NOFOLLOW), self.writing) as self.writer:
                self.made.add(identity(self.writer.status))
                try:
                    for name, directory in self.reader.traverse(self.copy_entries, self.enter):
                        self.leave(name, directory)
                    if self.preserve:
                        copy_metadata(self.reader.fd, self.writer.fd)
                except OSError as error:
                    if not isinstance(error.filename, str) or error.filename == "..":
                        error.filename = self.path(self.source)
                    raise
        return self.left_out

    def path(self, top: Path, name: str = "") -> str:
        return str(top.joinpath(*self.reader.names, *([name] if name else [])))

    def at(self, top: Path, call: Callable[..., _T], name: str, *args: object, **keywords: object) -> _T:
        """Make a call on a name in the source's or the target's current directory, whose error gets the whole path."""
        try:
            return call(name, *args, **keywords)
        except OSError as error:
            if error.filename2 is not None:  # of symlink(2): the link is what it is about
                error.filename2 = error.filename
            error.filename = self.path(top, name)
            raise

    def copy_entries(self) -> list[str]:
        """Copy what is no directory in the current one. The names of those that are."""
        directories: list[str] = []
        for name, kind in file_types(self.reader.fd):
            by_link = self.follow and kind == S_IFLNK
            found = self.at(self.source, self.type_behind, name) if by_link else kind
            if found == S_IFDIR:
                directories.append(name)
            elif found == S_IFREG:
                self.copy_file(name, by_link)
            elif found == S_IFLNK:
                self.copy_symlink(name)
            else:
                self.leave_out(name)
        return directories

    def leave_out(self, name: str) -> None:
        self.left_out.append("/".join([*self.reader.names, name]))

    def from_root(self, source: VeryTmpPurePath, name: str) -> str:
        """The path in the source's root of what is in the current directory."""
        return "/".join(filter(None, [source._rel, *self.reader.names, name]))

    def type_behind(self, name: str) -> int:
        """The type of what a symlink leads to."""
        if isinstance(self.source, VeryTmpPurePath):
            return S_IFMT(self.source._tree.stat(self.from_root(self.source, name)).st_mode)
        return S_IFMT(os.stat(name, dir_fd=self.reader.fd).st_mode)

    def open(self, name: str, flags: int, by_link: bool) -> OwnedFd:
        """Open what is to be read; *by_link*, what a symlink leads to."""
        flags |= NOT_WAITING
        if not by_link:
            return owned_fd.opened(name, flags | os.O_NOFOLLOW, self.reader.fd)
        if isinstance(self.source, VeryTmpPurePath):
            return self.source._tree.open(self.from_root(self.source, name), flags)
        return owned_fd.opened(name, flags, self.reader.fd)

    def copy_file(self, name: str, by_link: bool) -> None:
        with self.at(self.source, self.open, name, os.O_RDONLY, by_link) as reading:
            status = os.fstat(reading.fileno())
            if not S_ISREG(status.st_mode):  # it was exchanged
                return self.leave_out(name)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | NOT_WAITING
            with self.at(self.target, owned_fd.opened, name, flags, self.writer.fd, 0o666) as writing:
                try:
                    fill(
                        reading,
                        writing,
                        status,
                        self.preserve,
                        lambda: unlink_partial_at(name, self.writer.fd, writing),
                    )
                except OSError as error:
                    error.filename, error.filename2 = self.path(self.source, name), self.path(self.target, name)
                    raise

    def copy_symlink(self, name: str) -> None:
        target = self.at(self.source, os.readlink, name, dir_fd=self.reader.fd)

        def link(name: str) -> None:
            os.symlink(target, name, dir_fd=self.writer.fd)

        self.at(self.target, link, name)
        if self.preserve:
            status = self.at(self.source, os.lstat, name, dir_fd=self.reader.fd)
            times = (status.st_atime_ns, status.st_mtime_ns)
            self.at(self.target, os.utime, name, ns=times, dir_fd=self.writer.fd, follow_symlinks=False)

    def enter(self, name: str) -> bool:
        """Enter a directory, and make its copy."""
        by_link = False
        try:
            directory = self.at(self.source, self.open, name, LISTED, False)
        except NotADirectoryError:
            if not self.follow:
                raise
            by_link = True
            directory = self.at(self.source, self.open, name, LISTED, True)
        try:
            found = identity(os.fstat(directory.fileno()))
            paths = partial(self.path, name=name)
            if found in self.made:  # by way of a symlink: there would be no end to it
                raise OSError(errno.EINVAL, INTO_ITSELF, paths(self.source), None, paths(self.target))
            if found in self.above or (by_link and sum(self.above.values()) == LINKS_MAX):
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), paths(self.source))
            self.at(self.target, os.mkdir, name, dir_fd=self.writer.fd)
            copy = self.at(self.target, owned_fd.opened, name, self.writing | os.O_NOFOLLOW, self.writer.fd)
        except BaseException:
            directory.close()
            raise
        self.reader.push(name, directory, by_link)
        self.writer.push(name, copy)
        self.above[found] = by_link
        self.made.add(identity(self.writer.status))
        return True

    def leave(self, name: str, directory: OwnedFd) -> None:
        """Go up in the copy too. Only now its directory gets its metadata, which may forbid to make anything in it."""
        del self.above[identity(os.fstat(directory.fileno()))]
        try:
            with self.writer.pop() as copy:
                if self.preserve:
                    copy_metadata(directory.fileno(), copy.fileno())
        except OSError as error:
            error.filename, error.filename2 = self.path(self.source, name), self.path(self.target, name)
            raise


def file_types(directory: int) -> list[tuple[str, int]]:
    """A directory's names, with their types: S_IFDIR and the like."""
    with os.scandir(directory) as entries:
        return [
            (
                entry.name,
                S_IFREG
                if entry.is_file(follow_symlinks=False)
                else S_IFDIR
                if entry.is_dir(follow_symlinks=False)
                else S_IFLNK
                if entry.is_symlink()
                else S_IFMT(os.lstat(entry.name, dir_fd=directory).st_mode),
            )
            for entry in entries
        ]


def identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def check_different_files(source: Path, target: Path) -> None:
    try:
        same = os.path.samestat(source.stat(), target.stat())
    except OSError:
        return
    if same:
        raise_two_paths(errno.EINVAL, SAME_FILE, source, target)


def raise_two_paths(number: int, reason: str, source: Path, target: Path) -> NoReturn:
    raise OSError(number, reason, str(source), None, str(target))


def opened(path: Path, flags: int) -> OwnedFd:
    """The owner of a descriptor. Nothing waits for the other end of a FIFO."""
    flags |= NOT_WAITING
    if isinstance(path, VeryTmpPurePath):
        if not path._rel:  # which is no link; if it may not be searched, that flag means ENOTDIR
            flags &= ~os.O_NOFOLLOW
        return path._tree.open(path._rel, flags, 0o666)
    return owned_fd.opened(os.fspath(path), flags, None, 0o666)


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
    with opened(source, os.O_RDONLY) as reading, target_of(source, target) as writing:
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


def fill(
    reading: OwnedFd, writing: OwnedFd, status: os.stat_result, preserve_metadata: bool, remove: Callable[[], bool]
) -> None:
    """Copy a file's contents into an empty one. Where that fails, *remove* it."""
    try:
        copy_bytes(reading.fileno(), writing.fileno(), status)
    except BaseException as error:
        gone = remove()
        if isinstance(error, OSError):
            error.add_note(f"The target, of which only a part was written, {'is removed' if gone else 'is left'}.")
        raise
    if preserve_metadata:  # if that fails, the target is whole
        copy_metadata(reading.fileno(), writing.fileno())


def target_of(source: Path, target: Path) -> OwnedFd:
    """A file to be written to, which may be the source itself: so it is not emptied yet."""
    try:
        return opened(target, os.O_WRONLY | os.O_CREAT)
    except OSError:
        check_different_files(source, target)  # which is the better reason
        raise


def unlink_partial(path: Path, descriptor: int) -> bool:
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


def unlink_partial_at(name: str, directory: int, file: OwnedFd) -> bool:
    """Unlink a file that was made, unless the name is another's by now."""
    try:
        if os.path.samestat(os.lstat(name, dir_fd=directory), os.fstat(file.fileno())):
            os.unlink(name, dir_fd=directory)
            return True
    except OSError:  # the first error is the one to tell
        pass
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
