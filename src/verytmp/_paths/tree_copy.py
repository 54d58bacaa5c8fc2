"""The copy of a directory and of all below it, by descriptors."""

from __future__ import annotations

import errno
import os
from functools import partial
from pathlib import Path
from stat import S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, S_IMODE, S_ISREG

from .._confined import owned_fd
from .._confined.copy_fd import copy_metadata, fill
from .._confined.dir_stack import DirStack
from .._confined.resolver import DIRECTORY, LINKS_MAX
from .._confined.tree import LISTED
from .hard_links import HardLinks, identity
from .pure import VeryTmpPurePath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from .._confined.owned_fd import OwnedFd
    from .report import Tally

    _T = TypeVar("_T")

NOT_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)  # for the other end of a FIFO

INTO_ITSELF = "Source path is a parent of target path"
SPECIAL_FILE = "It is not a file, directory or symlink"
PERMISSIONS = 0o777  # without the set-user-ID and the like
OWNERS = 0o700  # what a directory needs while it is filled


def open_end(path: Path, flags: int, mode: int = 0o666) -> OwnedFd:
    """Open a path of a root or of the host. A FIFO is opened without waiting for its other end."""
    flags |= NOT_WAITING
    if isinstance(path, VeryTmpPurePath):
        if not path._rel:  # a root is no link; where it may not be searched, that flag would mean ENOTDIR
            flags &= ~os.O_NOFOLLOW
        return path._tree.open(path._rel, flags, mode)
    return owned_fd.opened(os.fspath(path), flags, None, mode)


class TreeCopy:
    """A copy of a directory and of all below it.

    Both trees are traversed by descriptors, one name at a time and without following it: so the time for a name does
    not depend on its depth, and nobody who swaps names leads the copy elsewhere. Symlinks that are followed are
    resolved from the root on.
    """

    def __init__(
        self,
        source: Path,
        target: Path,
        follow_symlinks: bool,
        preserve_metadata: bool,
        tally: Tally,
        links: HardLinks | None = None,
        below: tuple[str, ...] = (),
        permissions: bool = False,
        fsync: bool = False,
        mode: int | None = None,
    ) -> None:
        """Prepare the copy.

        Args:
            source, target: the two directories.
            follow_symlinks: copy what symlinks lead to.
            preserve_metadata: copy all metadata.
            tally: counts what is copied and what is left out.
            links: those of a larger copy, which this one is a part of.
            below: the names that lead from the top of *links* to the target.
            permissions: copy the permissions, but for what the umask takes away, and without set-user-ID and the like.
            fsync: write all through to the disk.
            mode: the permissions of the target itself, instead of the source's.
        """
        self.source, self.target = source, target
        self.follow, self.preserve = follow_symlinks, preserve_metadata
        self.tally, self.links, self.below = tally, links, below
        self.permissions, self.fsync, self.mode = permissions, fsync, mode
        by_fd = preserve_metadata or permissions or fsync
        self.writing = LISTED if by_fd else os.O_PATH | os.O_DIRECTORY  # with O_PATH, a descriptor takes no metadata
        self.made: set[tuple[int, int]] = set()
        self.above: dict[tuple[int, int], bool] = {}  # the directories being copied, and whether by way of a symlink

    def make(self) -> None:
        """Make the target, and copy all that is in the source to it."""
        with self.open_source() as source:
            self.target.mkdir(self.mode_of_new(os.fstat(source.fileno()), 0o777) | OWNERS)
            with open_end(self.target, self.writing | os.O_NOFOLLOW) as target:
                self.fill(source, target)

    def open_source(self) -> OwnedFd:
        return open_end(self.source, LISTED if self.follow else LISTED | os.O_NOFOLLOW)

    def fill(self, source: OwnedFd, target: OwnedFd) -> None:
        """Copy all that is in a directory, and the directory's own metadata. Closes both."""
        with (
            source,  # an error's traceback would keep what is not closed here
            target,
            owned_fd.opened(".", DIRECTORY, target.fileno()) as top,
            DirStack(source, LISTED) as self.reader,
            DirStack(target, self.writing) as self.writer,
        ):
            if self.links is None and (self.preserve or self.permissions):
                self.links = HardLinks(top)
            self.above[identity(self.reader.status)] = False
            self.made.add(identity(self.writer.status))
            self.tally.members += 1
            try:
                for name, directory in self.reader.traverse(self.copy_entries, self.enter):
                    self.leave(name, directory)
                self.finish(self.reader.here, self.writer.here, self.mode)
            except OSError as error:
                if not isinstance(error.filename, str) or error.filename == "..":
                    error.filename = self.path(self.source)
                raise

    def mode_of_new(self, status: os.stat_result, default: int) -> int:
        """What the umask is applied to. With metadata that come last, it is the owner's alone until then.

        It may be a secret; and extended attributes can be set only on what the owner may write to.
        """
        if self.preserve:
            return OWNERS
        return status.st_mode & PERMISSIONS if self.permissions else default

    def path(self, top: Path, name: str = "") -> str:
        return str(top.joinpath(*self.reader.names, *([name] if name else [])))

    def at(self, top: Path, call: Callable[..., _T], name: str, *args: object, **keywords: object) -> _T:
        """Make a call on a name in the current directory of the source or the target. Its error gets the whole path."""
        try:
            return call(name, *args, **keywords)
        except OSError as error:
            if error.filename2 is not None:  # of symlink(2): the link is what it is about
                error.filename2 = error.filename
            error.filename = self.path(top, name)
            raise

    def copy_entries(self) -> list[str]:
        """Copy the files and links of the current directory. Returns the names of the directories in it."""
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
        self.tally.leave_out("/".join([*self.below, *self.reader.names, name]), SPECIAL_FILE)

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
            if not S_ISREG(status.st_mode):  # it has been replaced
                return self.leave_out(name)
            self.tally.members += 1
            if self.links is not None and self.links.link(status, name, self.writer.fd):
                return None
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | NOT_WAITING
            mode = self.mode_of_new(status, 0o666)
            with self.at(self.target, owned_fd.opened, name, flags, self.writer.fd, mode) as writing:
                try:
                    fill(
                        reading,
                        writing,
                        status,
                        self.preserve,
                        self.tally.advance,
                        lambda: unlink_partial_at(name, self.writer.fd, writing),
                    )
                    if self.fsync:
                        os.fsync(writing.fileno())
                    if self.links is not None:
                        self.links.add(status, [*self.below, *self.reader.names, name], writing)
                except OSError as error:
                    error.filename, error.filename2 = self.path(self.source, name), self.path(self.target, name)
                    raise
        return None

    def copy_symlink(self, name: str) -> None:
        target = self.at(self.source, os.readlink, name, dir_fd=self.reader.fd)

        def link(name: str) -> None:
            os.symlink(target, name, dir_fd=self.writer.fd)

        self.at(self.target, link, name)
        self.tally.members += 1
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
            status = os.fstat(directory.fileno())
            found = identity(status)
            paths = partial(self.path, name=name)
            if found in self.made:  # by way of a symlink: the copy would never end
                raise OSError(errno.EINVAL, INTO_ITSELF, paths(self.source), None, paths(self.target))
            if found in self.above or (by_link and sum(self.above.values()) == LINKS_MAX):
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), paths(self.source))
            mode = self.mode_of_new(status, 0o777) | OWNERS
            self.at(self.target, os.mkdir, name, mode, dir_fd=self.writer.fd)
            copy = self.at(self.target, owned_fd.opened, name, self.writing | os.O_NOFOLLOW, self.writer.fd)
        except BaseException:
            directory.close()
            raise
        self.reader.push(name, directory, by_link)
        self.writer.push(name, copy)
        self.above[found] = by_link
        self.made.add(identity(self.writer.status))
        self.tally.members += 1
        return True

    def leave(self, name: str, directory: OwnedFd) -> None:
        """Go up in the copy too. Its directory gets its metadata only now: they may forbid to create anything in it."""
        del self.above[identity(os.fstat(directory.fileno()))]
        try:
            with self.writer.pop() as copy:
                self.finish(directory, copy)
        except OSError as error:
            error.filename, error.filename2 = self.path(self.source, name), self.path(self.target, name)
            raise

    def finish(self, directory: OwnedFd, copy: OwnedFd, mode: int | None = None) -> None:
        """Give a directory its metadata, once all is in it."""
        if self.preserve:
            copy_metadata(directory.fileno(), copy.fileno(), mode)
        elif self.permissions:
            lacking = OWNERS & ~os.fstat(directory.fileno()).st_mode
            if lacking:
                os.fchmod(copy.fileno(), S_IMODE(os.fstat(copy.fileno()).st_mode) & ~lacking)
        if self.fsync:
            os.fsync(copy.fileno())


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


def unlink_partial_at(name: str, directory: int, file: OwnedFd) -> bool:
    """Unlink a file that was written in part, unless the name is another file's by now. Returns whether it did."""
    try:
        if os.path.samestat(os.lstat(name, dir_fd=directory), os.fstat(file.fileno())):
            os.unlink(name, dir_fd=directory)
            return True
    except OSError:  # the first error is the one to raise
        pass
    return False
