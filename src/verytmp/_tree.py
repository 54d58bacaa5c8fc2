"""The descriptor's one owner, and the one funnel through which every path operation goes.

A path is here what it is to the kernel: a root's descriptor and a relative string, ``""`` for the root itself, with no
empty, ``.`` or leading ``/`` component (`_path` sees to that). pathlib is not known here.

Each operation is one ``*at()`` call where that is safe: in a mount that follows no symlinks, for a path without ``..``.
For what such a call cannot do, the resolver walks, and the same call is made on the walk's last step without following.
"""

from __future__ import annotations

import errno
import os
from stat import S_ISLNK

from ._resolve import resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from select import epoll
    from typing import Any, NoReturn

    from ._spare import Spare

ST_NOSYMFOLLOW = 0x2000  # statfs(2): the mount follows no symlinks

# What a walk can do better than one call: links to follow, and paths longer than PATH_MAX.
WALKABLE = (errno.ELOOP, errno.ENAMETOOLONG)

MISSING = (errno.ENOENT, errno.ENOTDIR, errno.EBADF, errno.ELOOP)  # what pathlib takes for "there is nothing"

# A walk whose last name is swapped for a symlink before the call on it is made starts again, this often.
ATTEMPTS = 16

CREATE_NEW = os.O_CREAT | os.O_EXCL
FILE_BYTES = 1 << 16  # read at once from what does not know its size


class Tree:
    """A root's directory descriptor, for as long as anything refers to it."""

    __slots__ = ("__weakref__", "_number", "_owner", "_spare", "fd", "one_call")

    def __init__(self, owner: epoll, spare: Spare) -> None:
        self._owner = owner  # gives the number back when this tree goes
        self._spare = spare
        self._number = self.fd = owner.fileno()  # fd is -1 once it is closed
        self.one_call = bool(os.statvfs(self.fd).f_flag & ST_NOSYMFOLLOW)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Tree owns a descriptor: there cannot be two")

    def close(self) -> None:
        """Let go of the directory. Operations under way fail, later ones are refused; the number stays taken.

        Another thread may be about to use the number, and a string that holds it may be anywhere. So what lies under it
        is exchanged, in one step, for something that is no directory. Doing so again, or in two threads, does no harm.
        """
        self.fd = -1
        self._spare.cover(self._number)

    # -- names ---------------------------------------------------------------------------------------------------------

    def drive(self) -> str:
        """The root's directory, as every process of this user can open it."""
        return f"{proc_fd()}{self._number}"

    def string(self, relative: str) -> str:
        """A path as a string. It holds no ``..``: a program that cleans paths up lexically would leave the root."""
        if ".." in relative:
            names: list[str] = []
            for name in relative.split("/"):
                if name != "..":
                    names.append(name)
                elif names:
                    names.pop()
            relative = "/".join(names)
        return f"{proc_fd()}{self._number}/{relative}"

    def check_open(self) -> None:
        if self.fd < 0:
            raise ValueError("operation on a closed VeryTmpRoot") from None

    # -- the funnel ----------------------------------------------------------------------------------------------------

    def _refuse(self, error: OSError, relative: str, other: str | None = None) -> NoReturn:
        """Raise what a failure means to the user: that the root is closed, or the error and the paths it is about."""
        self.check_open()
        error.filename = self.string(relative)
        if other is not None:
            error.filename2 = self.string(other)
        try:
            raise error
        finally:
            del error  # its traceback holds this frame, and so this tree: no circle may keep that alive

    def _walk(self, relative: str, follow: bool, call: Callable[..., Any], *args: object) -> Any:
        """Make a call on the last step of a walk: ``call(directory, name, *args)``, which must not follow *name*."""
        try:
            if not relative:
                result = call(self.fd, "" if follow else ".", *args)
                self.check_open()  # what lies under the number now answers such a call too
                return result
            for attempt in range(ATTEMPTS):
                directory, name = resolve(self.fd, relative, follow)
                try:
                    return call(directory, name, *args)
                except OSError as error:
                    if not follow or error.errno != errno.ELOOP or attempt == ATTEMPTS - 1:
                        raise
                finally:
                    os.close(directory)
        except OSError as error:
            self._refuse(error, relative)

    def _entry(self, call: Callable[..., Any], relative: str, *args: object) -> Any:
        """Make one of os's calls on a directory entry itself, which none of them follows."""
        try:
            if self.one_call and relative and ".." not in relative:
                return call(relative, *args, dir_fd=self.fd)
        except OSError as error:
            if error.errno not in WALKABLE:
                self._refuse(error, relative)
        return self._walk(relative, False, entry_here, call, *args)

    def statvfs(self) -> os.statvfs_result:
        try:
            result = os.statvfs(self.fd)
        except OSError as error:
            self._refuse(error, "")
        self.check_open()
        return result

    # -- operations on what a path leads to ----------------------------------------------------------------------------

    def stat(self, relative: str, follow: bool = True) -> os.stat_result:
        try:
            if self.one_call and relative and ".." not in relative:
                return os.stat(relative, dir_fd=self.fd, follow_symlinks=follow)
        except OSError as error:
            if error.errno not in WALKABLE:
                self._refuse(error, relative)
        result: os.stat_result = self._walk(relative, follow, stat_here, follow)
        return result

    def find(self, relative: str, follow: bool = True) -> os.stat_result | None:
        """As `stat`, but None where there is nothing: that is an answer here, and needs no words."""
        try:
            if self.one_call and relative and ".." not in relative:
                return os.stat(relative, dir_fd=self.fd, follow_symlinks=follow)
        except OSError as error:
            if error.errno not in WALKABLE:
                self.check_open()
                if error.errno in MISSING:
                    return None
                self._refuse(error, relative)
        try:
            result: os.stat_result = self._walk(relative, follow, stat_here, follow)
        except OSError as error:
            if error.errno in MISSING:
                return None
            raise
        return result

    def open(self, relative: str, flags: int, mode: int = 0o777) -> int:
        """open(2): a descriptor, close-on-exec."""
        try:
            if self.one_call and relative and ".." not in relative:
                return os.open(relative, flags, mode, dir_fd=self.fd)
        except OSError as error:
            if error.errno not in WALKABLE:
                self._refuse(error, relative)
        follow = not flags & os.O_NOFOLLOW and flags & CREATE_NEW != CREATE_NEW
        descriptor: int = self._walk(relative, follow, open_here, flags, mode)
        return descriptor

    def read(self, relative: str) -> bytes:
        """A file's bytes."""
        descriptor = self.open(relative, os.O_RDONLY)
        try:
            size = os.fstat(descriptor).st_size
            data = os.read(descriptor, size + 1)
            if size and len(data) == size:  # and not one byte more: this is all of it
                return data
            chunks = [data]
            while data:
                data = os.read(descriptor, max(size, FILE_BYTES))
                chunks.append(data)
            return b"".join(chunks)
        except OSError as error:
            self._refuse(error, relative)
        finally:
            os.close(descriptor)

    def write(self, relative: str, data: bytes | memoryview) -> None:
        """Make a file of these bytes, or put them in place of what one holds."""
        descriptor = self.open(relative, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            written = os.write(descriptor, data)
            while written < len(data):
                data = memoryview(data)[written:]
                written = os.write(descriptor, data)
        except OSError as error:
            self._refuse(error, relative)
        finally:
            os.close(descriptor)

    def listdir(self, relative: str) -> list[str]:
        descriptor = self.open(relative, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return os.listdir(descriptor)
        except OSError as error:
            self._refuse(error, relative)
        finally:
            os.close(descriptor)

    def utime(self, relative: str, ns: tuple[int, int] | None = None) -> None:
        """utimensat(2): set the times of access and modification, in nanoseconds; None means now."""
        descriptor = self.open(relative, os.O_PATH)
        try:
            os.utime(self_fd(descriptor), ns=ns) if ns else os.utime(self_fd(descriptor))
        except OSError as error:
            self._refuse(error, relative)
        finally:
            os.close(descriptor)

    # -- operations on a directory entry -------------------------------------------------------------------------------

    def mkdir(self, relative: str, mode: int) -> None:
        self._entry(os.mkdir, relative, mode)

    def unlink(self, relative: str) -> None:
        self._entry(os.unlink, relative)

    def rmdir(self, relative: str) -> None:
        if not relative:  # as rmdir("/"), where "." would be EINVAL
            self._refuse(OSError(errno.EBUSY, os.strerror(errno.EBUSY)), relative)
        self._entry(os.rmdir, relative)

    def rename(self, relative: str, target: str) -> None:
        try:
            if self.one_call and relative and target and ".." not in relative and ".." not in target:
                return os.rename(relative, target, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        except OSError as error:
            if error.errno not in WALKABLE:
                self._refuse(error, relative, target)
        try:
            directory, name = resolve(self.fd, relative, False)
            try:
                other, new = resolve(self.fd, target, False)
                try:
                    os.rename(name, new, src_dir_fd=directory, dst_dir_fd=other)
                finally:
                    os.close(other)
            finally:
                os.close(directory)
        except OSError as error:
            self._refuse(error, relative, target)


# -- calls on a walk's last step, none of which follows it -------------------------------------------------------------


def entry_here(directory: int, name: str, call: Callable[..., Any], *args: object) -> Any:
    return call(name, *args, dir_fd=directory)


def stat_here(directory: int, name: str, follow: bool) -> os.stat_result:
    if not name:
        return os.stat(directory)
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if follow and S_ISLNK(status.st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))  # it was swapped for a link behind our back
    return status


def open_here(directory: int, name: str, flags: int, mode: int) -> int:
    if not name:
        return os.open(self_fd(directory), flags, mode)
    return os.open(name, flags | os.O_NOFOLLOW, mode, dir_fd=directory)


# -- /proc -------------------------------------------------------------------------------------------------------------


def self_fd(descriptor: int) -> str:
    """The very file under an `O_PATH` descriptor, for calls that take neither such a one nor an empty name."""
    return f"/proc/self/fd/{descriptor}"


_proc = (0, "")


def proc_fd() -> str:
    """``/proc/<this process>/fd/``, asked for anew after a fork.

    The number is /proc's own: in a new pid namespace that still sees the old /proc, getpid(2)'s would be another
    process's. Where /proc does not know us, strings lead nowhere, for everyone.
    """
    global _proc
    pid = os.getpid()
    if _proc[0] != pid:
        try:
            _proc = pid, f"/proc/{os.readlink('/proc/self')}/fd/"
        except OSError:
            _proc = pid, "/dev/null/fd/"
    return _proc[1]


def _forget_proc() -> None:
    global _proc
    _proc = (0, "")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_proc)
