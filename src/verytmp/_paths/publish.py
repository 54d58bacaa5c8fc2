"""A file or a tree that appears on the host whole or not at all.

It is made under another name beside the target, and then renamed: one system call, which either happens or does not.
Whatever ends this process before that leaves the target as it was. What is left of it then is `temporary_name`.
"""

from __future__ import annotations

import errno
import os
from stat import S_IMODE, S_ISDIR, S_ISLNK, S_ISREG

from .._confined import owned_fd
from .._confined.copy_fd import copy_metadata, fill
from .._confined.removal import empty, open_listable
from .._confined.tree import LISTED
from .report import Tally
from .transfer import SPECIAL, check_outside, raise_two_paths, total_bytes
from .tree_copy import OWNERS, PERMISSIONS, TreeCopy, open_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from .._confined.owned_fd import OwnedFd
    from .pure import VeryTmpPurePath
    from .report import VeryTmpReport, _Progress

ATTEMPTS = 8  # at a target that others make and remove meanwhile
NAME_CHARACTERS = 32  # of the target's name in the temporary one, which file systems allow 255 bytes
# What the kernel or a file system says that has no such rename. (EPERM: a seccomp filter.)
NO_SUCH_RENAME = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)

NO_EXCHANGE = "This file system cannot replace a directory in one step. Rename or remove it first"


def publish(
    source: VeryTmpPurePath,
    target: Path,
    replace: bool,
    follow_symlinks: bool,
    preserve_metadata: bool,
    mode: int | None,
    fsync: bool,
    progress: _Progress | None,
) -> VeryTmpReport:
    """`VeryTmpPath.publish`."""
    if target.name in ("", ".."):
        raise_two_paths(errno.EINVAL, "The target must end in a name", source, target)
    status = source.stat(follow_symlinks=follow_symlinks)
    if S_ISDIR(status.st_mode):
        check_outside(source, target, status)
    elif not S_ISREG(status.st_mode) and not S_ISLNK(status.st_mode):
        raise_two_paths(errno.EINVAL, SPECIAL, source, target)
    tally = Tally(progress, total_bytes(source, follow_symlinks, True) if progress else None)
    with open_end(target.parent, LISTED if fsync else os.O_PATH | os.O_DIRECTORY) as parent:
        publication = Publication(source, target, parent, status, tally)
        if publication.is_taken() and not replace:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        try:
            publication.make(follow_symlinks, preserve_metadata, mode, fsync)
            publication.commit(replace)
            if fsync:
                os.fsync(parent.fileno())
            publication.remove()  # what was replaced
        except BaseException as error:
            publication.clean_up(error)
            raise
    return tally.report()


def temporary_name(name: str) -> str:
    """A name beside the target. It has the process ID, so that anybody can see whether its process still lives."""
    return f".{name[:NAME_CHARACTERS]}.verytmp-{os.getpid()}-{os.urandom(4).hex()}"


class Publication:
    """One publication: what is made, and then renamed.

    Args:
        source: a file, a directory or a symlink.
        target: where it is to appear.
        parent: the target's parent directory.
        status: the source's.
        tally: counts what is copied.
    """

    def __init__(
        self, source: VeryTmpPurePath, target: Path, parent: OwnedFd, status: os.stat_result, tally: Tally
    ) -> None:
        self.source, self.target, self.parent, self.status, self.tally = source, target, parent, status, tally
        self.name = target.name
        self.temporary = temporary_name(target.name)
        self.committed = False

    def is_taken(self) -> bool:
        """Whether there is something at the target, be it a symlink."""
        try:
            os.lstat(self.name, dir_fd=self.parent.fileno())
        except FileNotFoundError:
            return False
        except OSError as error:  # its name is too long
            error.filename = str(self.target)
            raise
        return True

    def make(self, follow_symlinks: bool, preserve_metadata: bool, mode: int | None, fsync: bool) -> None:
        """Make it under the temporary name, with the metadata that it is to have.

        Raises `OSError` with the source's and the target's path.
        """
        try:
            if S_ISDIR(self.status.st_mode):
                self.make_directory(follow_symlinks, preserve_metadata, mode, fsync)
            elif S_ISLNK(self.status.st_mode):
                self.make_symlink(preserve_metadata)
            else:
                self.make_file(follow_symlinks, preserve_metadata, mode, fsync)
        except OSError as error:
            if error.filename in (None, self.temporary):
                error.filename, error.filename2 = str(self.source), str(self.target)
            raise

    def make_directory(self, follow_symlinks: bool, preserve_metadata: bool, mode: int | None, fsync: bool) -> None:
        # A root is its owner's alone by default: that is about the root, and not about what is made in it.
        permissions = self.status.st_mode & PERMISSIONS if self.source._rel else PERMISSIONS
        os.mkdir(self.temporary, permissions | OWNERS, dir_fd=self.parent.fileno())
        with owned_fd.opened(self.temporary, LISTED | os.O_NOFOLLOW, self.parent.fileno()) as top:
            final = S_IMODE(os.fstat(top.fileno()).st_mode) & (permissions | ~PERMISSIONS)  # without the umask's
            # Until it is whole, nobody else looks into it. What is made in it has the group of a set-group-ID parent.
            os.fchmod(top.fileno(), OWNERS | final & ~PERMISSIONS)
            copy = TreeCopy(
                self.source,
                self.target,
                follow_symlinks,
                preserve_metadata,
                self.tally,
                permissions=True,
                fsync=fsync,
                mode=mode,
            )
            copy.fill(copy.open_source(), owned_fd.opened(".", LISTED, top.fileno()))
            if mode is not None or not preserve_metadata:
                os.fchmod(top.fileno(), final if mode is None else mode)
            if fsync:
                os.fsync(top.fileno())

    def make_file(self, follow_symlinks: bool, preserve_metadata: bool, mode: int | None, fsync: bool) -> None:
        with open_end(self.source, os.O_RDONLY | (0 if follow_symlinks else os.O_NOFOLLOW)) as reading:
            status = os.fstat(reading.fileno())
            if not S_ISREG(status.st_mode):  # it has been replaced
                raise_two_paths(errno.EINVAL, SPECIAL, self.source, self.target)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            # What gets its permissions last is the owner's alone until then: it may be a secret.
            last = preserve_metadata or mode is not None
            permissions = OWNERS if last else status.st_mode & PERMISSIONS
            with owned_fd.opened(self.temporary, flags, self.parent.fileno(), permissions) as writing:
                fill(reading, writing, status, False, self.tally.advance, None)
                if preserve_metadata:
                    copy_metadata(reading.fileno(), writing.fileno(), mode)
                elif mode is not None:
                    os.fchmod(writing.fileno(), mode)
                if fsync:
                    os.fsync(writing.fileno())
        self.tally.members += 1

    def make_symlink(self, preserve_metadata: bool) -> None:
        os.symlink(self.source._tree.readlink(self.source._rel), self.temporary, dir_fd=self.parent.fileno())
        if preserve_metadata:
            times = (self.status.st_atime_ns, self.status.st_mtime_ns)
            os.utime(self.temporary, ns=times, dir_fd=self.parent.fileno(), follow_symlinks=False)
        self.tally.members += 1

    def commit(self, replace: bool) -> None:
        """Give it the target's name. What had that name has the temporary one afterwards, or is gone.

        Raises `OSError` with the target's path.
        """
        try:
            if replace:
                self.replace_target()
            else:
                self.take_free_name()
        except OSError as error:
            error.filename, error.filename2 = str(self.target), None
            raise
        self.committed = True

    def take_free_name(self) -> None:
        from .. import _syscalls

        try:
            self.renameat2(_syscalls.RENAME_NOREPLACE)
        except OSError as error:
            if error.errno not in NO_SUCH_RENAME:
                raise
            if not S_ISDIR(self.status.st_mode):
                # Fails if the name is taken. The temporary name is removed by the caller.
                os.link(self.temporary, self.name, **self.directories(), follow_symlinks=False)
            elif self.is_taken():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
            else:  # what somebody makes at this very moment is an error, but for an empty directory
                os.rename(self.temporary, self.name, **self.directories())

    def replace_target(self) -> None:
        from .. import _syscalls

        number = 0
        for _ in range(ATTEMPTS):
            try:  # a file or symlink takes the place of another one; a directory that of an empty one, or of none
                return os.rename(self.temporary, self.name, **self.directories())
            except OSError as error:
                if error.errno not in (errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.EEXIST):
                    raise
                number = error.errno or 0
            try:
                return self.renameat2(_syscalls.RENAME_EXCHANGE)
            except FileNotFoundError:  # it is gone by now
                continue
            except OSError as error:
                if error.errno not in NO_SUCH_RENAME:
                    raise
                raise OSError(errno.EOPNOTSUPP, NO_EXCHANGE) from None
        raise OSError(number, os.strerror(number))

    def renameat2(self, flags: int) -> None:
        from .. import _syscalls

        _syscalls.renameat2(self.parent.fileno(), self.temporary, self.parent.fileno(), self.name, flags)

    def directories(self) -> dict[str, int]:
        return {"src_dir_fd": self.parent.fileno(), "dst_dir_fd": self.parent.fileno()}

    def remove(self) -> None:
        """Remove what has the temporary name, if there is anything: the part that was made, or what was replaced."""
        parent = self.parent.fileno()
        try:
            status = os.lstat(self.temporary, dir_fd=parent)
        except FileNotFoundError:
            return
        if not S_ISDIR(status.st_mode):
            os.unlink(self.temporary, dir_fd=parent)
            return
        with open_listable(self.temporary, self.parent, status.st_dev, True) as top:
            empty(top, status.st_dev, True)
        os.rmdir(self.temporary, dir_fd=parent)

    def clean_up(self, error: BaseException) -> None:
        """Remove what is left after *error*, which gets a note of what could not be removed."""
        try:
            self.remove()
        except OSError:  # the first error is the one to raise
            error.add_note(f"{str(self.target.with_name(self.temporary))!r} could not be removed, and is left.")
        if self.committed:
            error.add_note(f"{str(self.target)!r} is published.")
