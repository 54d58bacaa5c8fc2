"""The confined operations: every operation of a path is one of these.

Each is one ``*at()`` call on the whole path where that is safe: in a mount that follows no symlinks, for a path without
``..``. For what such a call cannot do, the resolver goes component by component, and the same call is made on the last
one without following. pathlib is not known here; `root_fds` says what a path is.
"""

from __future__ import annotations

import errno
import os
import sys
from functools import partial
from io import FileIO
from stat import S_ISLNK

from . import whole_files
from .last_step import ends_above, entry_here, open_here, stat_here, symlink_here, utime
from .open_modes import how_to_open, wrapped
from .owned_fd import KeptFds, opened, owner
from .procfs import self_fd
from .resolver import Resolution, backoff, resolve, substitute_links
from .root_fds import RootFds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO, Any, NoReturn, TypeVar

    from .owned_fd import OwnedFd

    _T = TypeVar("_T")

ST_NOSYMFOLLOW = 0x2000  # statfs(2): the mount follows no symlinks

# What the resolver can do better than one call: links to follow, and paths longer than PATH_MAX.
RESOLVABLE = (errno.ELOOP, errno.ENAMETOOLONG)

MISSING = (errno.ENOENT, errno.ENOTDIR, errno.EBADF, errno.ELOOP)  # what pathlib takes for "there is nothing"

# A resolution whose last name is swapped for a symlink before the call on it is made starts again, this often.
ATTEMPTS = 16

CREATE_NEW = os.O_CREAT | os.O_EXCL
OVERWRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
LISTED = os.O_RDONLY | (os.O_DIRECTORY if hasattr(os, "O_DIRECTORY") else 0)  # Windows has none


def is_resolvable(error: OSError, relative: str) -> bool:
    """Whether the resolver can do better than the one call that was refused.

    The root's own name ends in a slash there, for which the kernel answers EISDIR where it is EEXIST.
    """
    return error.errno in RESOLVABLE or (not relative and error.errno == errno.EISDIR)


class Tree(RootFds):
    """A root's directory, with all that can be done in it. The arguments are those of `RootFds`."""

    __slots__ = ("_base", "_open", "_opener", "kernel_nosymfollow")

    def __init__(
        self,
        fds: tuple[OwnedFd, ...],
        token: str,
        inodes_above: int,
        at: str = "",
        host_read_only: bool = False,
        read_only: bool = False,
    ) -> None:
        super().__init__(fds, token, inodes_above, at, host_read_only, read_only)
        self._base = f"{token}/"  # what each path begins with, from the directory above
        # Prepared once: preparing it takes as long as a small call does.
        self._open = partial(os.open, dir_fd=self.fd)
        self._opener = partial(os.open, mode=0o666, dir_fd=self.fd)
        self.kernel_nosymfollow = bool(fds and os.statvfs(self.fd).f_flag & ST_NOSYMFOLLOW)

    def __reduce__(self) -> tuple[object, ...]:
        # A pickler is in C, so the next frame is its user's. multiprocessing's can send descriptors too.
        if sys._getframe(1).f_globals.get("__name__") != "multiprocessing.reduction":
            raise TypeError("a root and its paths cannot be pickled: the directory has no name to find it by")
        from .pickling import send

        # A queue's own thread pickles what was put there: nobody would see an error.
        return send(self, sys._getframe(2).f_code.co_name == "_feed")

    def root_fd(self) -> int:
        """The root directory's own file descriptor (`O_PATH`), which is opened by the first call.

        Raises `OSError` (EBADF) if a program has closed it: it may be another directory's.
        """
        if not self._root_fds:  # two threads may see that at once: the first one to append is right for both
            opened_root = self.open("", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
            self._root_fds.append(KeptFds(opened_root, beside=self._fds))
        if not self._root_fds[0].are_ours():
            self.raise_lost()
        return self._root_fds[0].filenos[0]

    # -- how a call is made --------------------------------------------------------------------------------------------

    def _kernel_path(self, relative: str) -> str:
        """A path for one call from the directory above the root on.

        Raises `OSError` (ELOOP) without asking the kernel where only the resolver may go, to which the caller turns
        then as for a link: for every path in a mount that follows links, and for any with ``..`` in it, even in a name.
        """
        if self.kernel_nosymfollow and ".." not in relative:
            return self._base + relative
        raise OSError(errno.ELOOP, "")

    def _raise_unless_resolvable(self, error: OSError, relative: str, other: str | None = None) -> None:
        """Return if the resolver can do better than one call; else raise the error with its paths."""
        try:
            if not is_resolvable(error, relative):
                self._raise_with_paths(error, relative, other)
        finally:
            del error  # as in `_raise_with_paths`

    def _raise_with_paths(self, error: OSError, relative: str, other: str | None = None) -> NoReturn:
        """Raise what a failure means to the user: that the root is closed, or the error and the paths it is about."""
        self.check_open()
        if error.errno is not None:  # a signal handler's TimeoutError has none, and would show nothing but the path
            error.filename = self.string(relative)
            if other is not None:
                error.filename2 = self.string(other)
        if error.errno == errno.ENOSPC:
            self._name_limit(error)
        try:
            raise error
        finally:
            del error  # its traceback refers to this frame, and so to this object: that must be no reference cycle

    def _name_limit(self, error: OSError) -> None:
        """Add to ENOSPC which limit was hit; both, if that cannot be told."""
        try:
            limits = self.statvfs()
        except (OSError, ValueError):  # the root is gone by now
            return
        no_more_files = limits.f_files and not limits.f_ffree
        if no_more_files:
            most = limits.f_files - self.inodes_above
            error.add_note(f"nr_inodes= is reached: all {most} files, directories and links that it allows are there.")
        if limits.f_blocks and not (no_more_files and limits.f_bfree):
            most, free = limits.f_blocks * limits.f_frsize, limits.f_bfree * limits.f_frsize
            error.add_note(f"size= is reached: {most - free} of {most} bytes are used, and {free} are free.")

    def _at_resolved(
        self, relative: str, follow: bool, call: Callable[..., Any], *args: object, create: bool = False
    ) -> Any:
        """Resolve a path, and make a call on its last step.

        Args:
            relative: the path.
            follow: resolve the last component too, if it is a link.
            call: one of `last_step`: ``call(directory, name, *args)``, which must not follow *name*.
            create: the name is for O_CREAT.

        Returns what the call does. Raises `OSError` with the path, and `ValueError` if the root is closed.
        """
        try:
            if self.kernel_nosymfollow:
                for straight in substitute_links(self.fd, self.token, relative, follow):
                    try:
                        return call(self.fd, self._base + straight, *args)
                    except OSError as error:
                        if error.errno != errno.ELOOP:
                            break  # the resolver knows what it means where names are being swapped
            for attempt in range(ATTEMPTS):
                directory, name = resolve(self.fd, self.token, relative, follow, self.kernel_nosymfollow, create)
                with directory:
                    try:
                        return call(directory.fileno(), name, *args)
                    except OSError as error:
                        if not follow or error.errno != errno.ELOOP or attempt == ATTEMPTS - 1:
                            raise
                backoff(attempt)
        except OSError as error:
            self._raise_with_paths(error, relative)

    def _at_entry(self, call: Callable[..., Any], relative: str, *args: object, at_root: int = 0) -> Any:
        """Make one of os's calls on a directory entry itself, which none of them follows.

        *at_root* is the kernel's errno for ``/``: a root is an entry of a directory that is not the user's.
        """
        if at_root and not relative:
            self.stat(relative)
            self._raise_with_paths(OSError(at_root, os.strerror(at_root)), relative)
        try:
            return call(self._kernel_path(relative), *args, dir_fd=self.fd)
        except OSError as error:
            self._raise_unless_resolvable(error, relative)
        return self._at_resolved(relative, False, entry_here, call, *args)

    def _at_two_entries(
        self, call: Callable[..., None], relative: str, target: str, follow: bool | None = None
    ) -> None:
        """Make one of os's calls on two directory entries, with *follow* for the first one if it is not None."""
        how = {} if follow is None else {"follow_symlinks": follow}
        try:
            if relative and target:  # a root is no entry that could be renamed
                paths = self._kernel_path(relative), self._kernel_path(target)
                return call(*paths, src_dir_fd=self.fd, dst_dir_fd=self.fd, **how)
        except OSError as error:
            self._raise_unless_resolvable(error, relative, target)
        try:
            directory, name = resolve(self.fd, self.token, relative, bool(follow), self.kernel_nosymfollow)
            with directory:
                # The kernel looks at the old name (linkat), or its directory (renameat), before the new one's.
                if how:
                    how = {"follow_symlinks": False}  # from here on
                    name = "." if name == ".." else name  # a directory too, and surely in this file system
                os.stat(name if how else ".", dir_fd=directory.fileno(), follow_symlinks=False)
                other, new = resolve(self.fd, self.token, target, False, self.kernel_nosymfollow)
                with other:
                    call(name, new, src_dir_fd=directory.fileno(), dst_dir_fd=other.fileno(), **how)
        except OSError as error:
            self._raise_with_paths(error, relative, target)

    def _with_open_fd(self, relative: str, flags: int, call: Callable[[int], _T], mode: int = 0o666) -> _T:
        """Open a file, and close it after *call*, which gets its file descriptor. Returns what the call does."""
        descriptor = -1
        try:
            # A `for` lets no signal handler run before its name holds what it is given.
            for descriptor in map(self._open, (self._kernel_path(relative),), (flags,), (mode,)):
                return call(descriptor)
        except OSError as error:
            if descriptor >= 0:
                self._raise_with_paths(error, relative)
            self._raise_unless_resolvable(error, relative)
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        try:
            with self._open_resolved(relative, flags, mode) as file:
                return call(file.fileno())
        except OSError as error:
            self._raise_with_paths(error, relative)

    def _change_attr(self, call: Callable[..., None], relative: str, *args: object, follow: bool = True) -> None:
        """Make a call that follows a path, and has no form for what is open already, as chmod(2)."""
        try:
            if follow:
                return call(self._kernel_path(relative), *args, dir_fd=self.fd)
        except OSError as error:
            self._raise_unless_resolvable(error, relative)
        # A call on the last step would follow a link. So it is made on the very file, by its descriptor's name.
        try:
            with self.open(relative, os.O_PATH | (0 if follow else os.O_NOFOLLOW)) as file:
                if S_ISLNK(os.fstat(file.fileno()).st_mode):
                    raise OSError(errno.EOPNOTSUPP, "it is a symlink")
                call(self_fd(file.fileno()), *args)
        except OSError as error:
            self._raise_with_paths(error, relative)

    # -- what a path leads to ------------------------------------------------------------------------------------------

    def stat(self, relative: str, follow: bool = True) -> os.stat_result:
        """stat(2)."""
        try:
            return os.stat(self._kernel_path(relative), dir_fd=self.fd, follow_symlinks=follow)
        except OSError as error:
            self._raise_unless_resolvable(error, relative)
        result: os.stat_result = self._at_resolved(relative, follow or ends_above(relative), stat_here, follow)
        return result

    def stat_or_none(self, relative: str, follow: bool = True) -> os.stat_result | None:
        """As `stat`, but None where there is nothing, without the time that an error with a path takes."""
        try:
            return os.stat(self._kernel_path(relative), dir_fd=self.fd, follow_symlinks=follow)
        except OSError as error:
            if error.errno not in RESOLVABLE:
                self.check_open()
                if error.errno in MISSING:
                    return None
                self._raise_with_paths(error, relative)
        try:
            result: os.stat_result = self._at_resolved(relative, follow or ends_above(relative), stat_here, follow)
        except OSError as error:
            if error.errno in MISSING:
                return None
            raise
        return result

    def statvfs(self) -> os.statvfs_result:
        """statvfs(3), of the root's file system."""
        try:
            result = os.statvfs(self.fd)
            if not self._fds.are_ours():  # another file may have the same fd now
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        except OSError as error:
            self._raise_with_paths(error, "")
        return result

    def open(self, relative: str, flags: int, mode: int = 0o777) -> OwnedFd:
        """open(2): the owner of a file descriptor, close-on-exec. ``with`` closes it."""
        try:
            return next(map(owner, map(self._open, (self._kernel_path(relative),), (flags,), (mode,))))  # as `opened`
        except OSError as error:
            self._raise_unless_resolvable(error, relative)
        return self._open_resolved(relative, flags, mode)

    def _open_resolved(self, relative: str, flags: int, mode: int) -> OwnedFd:
        follow = not flags & os.O_NOFOLLOW and flags & CREATE_NEW != CREATE_NEW
        follow = follow or ends_above(relative)
        file: OwnedFd = self._at_resolved(relative, follow, open_here, flags, mode, create=bool(flags & os.O_CREAT))
        return file

    def file(
        self, relative: str, mode: str, buffering: int, encoding: str | None, errors: str | None, newline: str | None
    ) -> IO[Any]:
        """As the built-in `open`, which would take a tenth longer with an opener: it makes two more system calls.

        Nothing is opened if the arguments cannot be right.
        """
        flags, raw_mode, buffered, text, _ = how_to_open(relative, mode, buffering, encoding, errors, newline)
        raw: Any = None
        file: Any = None
        descriptor = -1
        try:
            try:
                for descriptor in map(self._opener, (self._kernel_path(relative),), flags):  # as in `_with_open_fd`
                    break
            except OSError as error:
                if not is_resolvable(error, relative):
                    raise
            if descriptor < 0:
                with self._open_resolved(relative, flags[0], 0o666) as found:
                    for descriptor in map(os.dup, (found.fileno(),)):
                        break
            for raw in map(FileIO, (descriptor,), raw_mode):
                break
            raw.name = self.string(relative)
            file = wrapped(raw, buffered, text, buffering, encoding, errors, newline)
            return file  # type: ignore[no-any-return]  # its class depends on the mode
        except OSError as error:
            if error.errno is None:  # it cannot be read or written in this mode, and no path is the reason
                raise
            self._raise_with_paths(error, relative)
        finally:
            if file is not None:
                pass
            elif raw is not None:
                raw.close()
            elif descriptor >= 0:  # FileIO takes no directory, and fails where an audit hook does
                os.close(descriptor)

    def read(self, relative: str) -> bytes:
        """A file's bytes."""
        return self._with_open_fd(relative, os.O_RDONLY, whole_files.read)

    def write(self, relative: str, data: bytes | memoryview) -> None:
        """Make a file of these bytes, or replace what one holds by them."""
        self._with_open_fd(relative, OVERWRITE, partial(whole_files.write, data))

    def create(self, relative: str, mode: int, exclusive: bool) -> None:
        """Make an empty file, if there is none. If there is one, and it is to be *exclusive*: `FileExistsError`."""
        self._with_open_fd(relative, os.O_WRONLY | os.O_CREAT | (os.O_EXCL if exclusive else 0), bool, mode)

    def make_file(self, relative: str, fill: Callable[[int], _T]) -> _T:
        """Make a new file, and call *fill* with its descriptor. Returns what that does."""
        return self._with_open_fd(relative, os.O_WRONLY | CREATE_NEW, fill)

    def listdir(self, relative: str) -> list[str]:
        """A directory's names."""
        return self._with_open_fd(relative, LISTED, os.listdir)

    def scandir(self, relative: str, links: bool) -> list[tuple[str, int]]:
        """A directory's names, each with its type: S_IFDIR, S_IFLNK if *links* is true, or 0 for all else."""
        read = whole_files.list_with_types_and_links if links else whole_files.list_with_types
        return self._with_open_fd(relative, LISTED, read)

    def list_dirs_and_files(self, relative: str, many: bool = False) -> tuple[list[str], list[str]]:
        """The names of a directory's directories, and those of all else in it, of which there may be *many*."""
        read = whole_files.list_dirs_and_many_files if many else whole_files.list_dirs_and_files
        return self._with_open_fd(relative, LISTED, read)

    def chmod(self, relative: str, mode: int, follow: bool = True) -> None:
        """chmod(2). Raises EOPNOTSUPP for a symlink itself."""
        self._change_attr(os.chmod, relative, mode, follow=follow)

    def utime(self, relative: str, ns: tuple[int, int] | None = None, follow: bool = True) -> None:
        """utimensat(2): set the times of access and modification, in nanoseconds; None means now."""
        if follow:
            self._change_attr(utime, relative, ns)
        else:
            self._at_entry(utime, relative, ns, False)

    def touch_if_there(self, relative: str) -> bool:
        """Set the times to now. Returns whether that could be done. It makes no error with a path, which takes time."""
        try:
            os.utime(self._kernel_path(relative), dir_fd=self.fd)
            return True
        except OSError as error:
            if error.errno not in RESOLVABLE:
                self.check_open()
                return False
        try:
            self.utime(relative)
        except OSError:
            return False
        return True

    # -- directory entries -------------------------------------------------------------------------------

    def mkdir(self, relative: str, mode: int) -> None:
        if not relative and self.stat_or_none(relative) is None:
            self._make_root(mode)
        else:
            self._at_entry(os.mkdir, relative, mode, at_root=errno.EEXIST)

    def _make_root(self, mode: int) -> None:
        """Make the root directory anew, which a program has removed by its string, as `shutil.rmtree` does."""
        try:
            with opened(".", os.O_PATH | os.O_DIRECTORY, self.fd) as above:
                if not self._fds.are_ours():  # the same fd may be another directory's
                    raise OSError(errno.EBADF, os.strerror(errno.EBADF))
                os.mkdir(self.token, mode, dir_fd=above.fileno())
        except OSError as error:
            self._raise_with_paths(error, "")

    def mkdir_each(self, components: list[str], mode: int) -> int:
        """Make the directories on a path that are not there, each with *mode*. Each component is resolved once.

        Returns how many of the components were done before one could not be: `mkdir` on the path up to that will raise
        the reason.
        """
        done = 0
        try:
            resolution = Resolution(self.fd, self.token, self.kernel_nosymfollow)
            try:
                for name in components:
                    if name == "..":
                        resolution.take([name, ""], True)
                    else:
                        try:
                            resolution.step(name)
                        except FileNotFoundError:
                            os.mkdir(name, mode, dir_fd=resolution.current.fileno())
                            resolution.step(name)
                        except OSError:  # a link?
                            resolution.take([name, ""], True)
                    done += 1
            finally:
                resolution.close()
        except OSError:
            pass
        return done

    def unlink(self, relative: str) -> None:
        self._at_entry(os.unlink, relative, at_root=errno.EISDIR)

    def rmdir(self, relative: str) -> None:
        self._at_entry(os.rmdir, relative, at_root=errno.EBUSY)

    def readlink(self, relative: str) -> str:
        """A symlink's target."""
        target: str = self._at_entry(os.readlink, relative, at_root=errno.EINVAL)
        return target

    def symlink(self, relative: str, target: str) -> None:
        if not target:  # which the kernel checks first
            self._raise_with_paths(OSError(errno.ENOENT, os.strerror(errno.ENOENT)), relative)
        self._at_entry(symlink_here, relative, target, at_root=errno.EEXIST)

    def rename(self, relative: str, target: str) -> None:
        self._at_two_entries(os.rename, relative, target)

    def link(self, relative: str, target: str, follow: bool) -> None:
        """linkat(2): another name, *target*, for what *relative* is, or leads to."""
        self._at_two_entries(os.link, relative, target, follow)
