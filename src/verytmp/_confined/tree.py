"""The one owner of a root's descriptors, and the confined operations: every path operation is one of these.

A path is here what it is to the kernel: the descriptor of the directory above a root, and a string: the root's token,
and a relative path in it, ``""`` for the root itself, with no empty, ``.`` or leading ``/`` component (`_path` sees to
that). The token is a random name, which no other directory has. So whatever is opened under the descriptor's number
once it is closed, nothing is found there. pathlib is not known here.

Each operation is one ``*at()`` call where that is safe: in a mount that follows no symlinks, for a path without ``..``.
For what such a call cannot do, the resolver goes component by component, and the same call is made on the last one
without following.
"""

from __future__ import annotations

import errno
import os
import sys
from _weakref import ref  # weakref itself takes a millisecond to import
from functools import partial
from io import FileIO, TextIOWrapper
from operator import index
from stat import S_ISLNK

from . import whole_files
from .open_modes import BLOCKS, DEFAULT, ERRORS, NEWLINES, UNUSUAL, USUAL, judged, usual_size
from .owned_fd import KeptFds, opened, owner, raised
from .procfs import is_own_namespace, names, proc_fd, self_fd
from .resolver import Resolution, changing, collapse, fall_out_of_step, resolve, straightened

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from select import epoll
    from typing import IO, Any, ClassVar, NoReturn, TypeVar

    from .pickling import Sent

    _T = TypeVar("_T")

ST_NOSYMFOLLOW = 0x2000  # statfs(2): the mount follows no symlinks

# What a walk can do better than one call: links to follow, and paths longer than PATH_MAX.
WALKABLE = (errno.ELOOP, errno.ENAMETOOLONG)

MISSING = (errno.ENOENT, errno.ENOTDIR, errno.EBADF, errno.ELOOP)  # what pathlib takes for "there is nothing"

# A walk whose last name is swapped for a symlink before the call on it is made starts again, this often.
ATTEMPTS = 16

CREATE_NEW = os.O_CREAT | os.O_EXCL
OVERWRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
LISTED = os.O_RDONLY | (os.O_DIRECTORY if hasattr(os, "O_DIRECTORY") else 0)  # Windows has none


# A path's string holds a number from here on, if there is room: a program's own files have lower ones. The token keeps
# a string of a root that is gone from leading to anything. But what makes missing directories (os.makedirs), or appends
# to the root's string, would make that in a directory that was opened under the number meanwhile.
LOWEST_IN_STRINGS = 512


class Tree:
    """A root's descriptors, for as long as anything refers to them.

    Args:
        fds: the owners of the descriptors of the directory above the root, and of the mount; none for a closed root, as
            it may come from another process. The mount's is kept because a mount that
            is in no namespace any more takes a lock of the whole machine whenever a file in it is closed.
        token: the root's name in the directory above it.
        inodes_above: so many directories of the same file system are not the user's.
        at: the root's name in a mount namespace, whose descriptor is the third; or everybody's name for it, if there are
            not so many; empty without one.
        host_read_only: programs may write nowhere else, which Landlock is to see to, for no namespace does.

    Raises `OSError` where a descriptor has to be exchanged, and there is no room.
    """

    __slots__ = (
        "__weakref__", "_base", "_fds", "_open", "_opener", "_place", "_root_fds",
        "at", "fd", "host_read_only", "inodes_above", "named", "one_call", "origin", "sent", "token",
    )  # fmt: skip

    by_token: ClassVar[dict[str, ref[Tree]]] = {}  # all of this process

    def __init__(
        self, fds: tuple[epoll, ...], token: str, inodes_above: int, at: str = "", host_read_only: bool = False
    ) -> None:
        self._fds = KeptFds(*[raised(each, LOWEST_IN_STRINGS) for each in fds[:1]], *fds[1:])
        self._root_fds: KeptFds | None = None
        self.sent: Sent | None = None  # to other processes
        self.fd = self._fds.filenos[0] if fds else -1
        self.token = token
        self.inodes_above = inodes_above
        self.at = at
        self.host_read_only = host_read_only
        self._base = f"{token}/"  # what each path begins with, from the directory above
        self._place = f"{self.fd}/{token}/"  # in /proc: a string is asked for more often than made
        # In that very namespace, the name is what strings begin with.
        self.named = f"{at}/" if at and len(self._fds.filenos) > 2 and is_own_namespace(self._fds.filenos[2]) else ""
        self.origin = self.drive()  # which a forked child goes on comparing and hashing by
        # Prepared once: preparing it takes as long as a small call does.
        self._open = partial(os.open, dir_fd=self.fd)
        self._opener = partial(os.open, mode=0o666, dir_fd=self.fd)
        self.one_call = bool(fds and os.statvfs(self.fd).f_flag & ST_NOSYMFOLLOW)
        if fds:
            self.by_token[token] = ref(self, partial(forget, token))
            if at:
                names[token] = at

    def __reduce__(self) -> tuple[object, ...]:
        # A pickler is in C, so the next frame is whoever uses it. multiprocessing's can take a descriptor along.
        if sys._getframe(1).f_globals.get("__name__") != "multiprocessing.reduction":
            raise TypeError("a root cannot be pickled, nor a path in it: its directory has no name to be found by")
        from .pickling import send

        # A queue's own thread pickles what was put there: an error would be nobody's.
        return send(self, sys._getframe(2).f_code.co_name == "_feed")

    @property
    def closed(self) -> bool:
        return self._fds.closed

    @property
    def filenos(self) -> tuple[int, ...]:
        """The file descriptors, as its constructor takes their owners."""
        return self._fds.filenos

    def kept_fds(self) -> KeptFds:
        """The same, for whoever is to keep them when this tree goes."""
        return self._fds

    def close(self) -> None:
        """Let go of the directory. Operations under way fail, later ones are refused. Closing again does nothing."""
        sent = self.sent
        if sent is not None:
            sent.before_close()
        self._fds.close(self._root_fds)
        if sent is not None:
            sent.after_close()

    def root_fd(self) -> int:
        """The root directory's own descriptor (`O_PATH`). It is opened when it is first asked for."""
        if self._root_fds is None:
            fds = KeptFds(self.open("", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW))
            if self._root_fds is None:  # another thread's may be in somebody's hands already
                self._root_fds = fds
        self.check_open()
        return self._root_fds.filenos[0]

    # -- names ---------------------------------------------------------------------------------------------------------

    def drive(self) -> str:
        """The root's directory, as every process of this user can open it."""
        return self.named[:-1] or f"{proc_fd()}{self._place[:-1]}"

    def string(self, relative: str) -> str:
        """A path as a string. It holds no ``..``: a program that cleans paths up lexically would leave the root.

        The root's own ends with a slash, as that of an anchor does: what is appended to it is looked for in the root.
        Not so where it is a real name.
        """
        if ".." in relative:
            relative = collapse(relative)
        if self.named:
            return self.named + relative if relative else self.at
        return f"{proc_fd()}{self._place}{relative}"

    def name(self, relative: str) -> str:
        """A path as the programs see it that run in the root's mount namespace. As `string`, without ``..``."""
        if not self.at:
            raise ValueError("this root has no name: make it with at=, as in VeryTmpRoot(at='/work')")
        return f"{self.at}/{collapse(relative) if '..' in relative else relative}".rstrip("/")

    def namespace(self) -> int | None:
        """The file descriptor of the mount namespace in which the root has its name; None where that is everybody's."""
        self.name("")
        self.check_open()
        return self._fds.filenos[2] if len(self._fds.filenos) > 2 else None

    def check_open(self) -> None:
        if self._fds.closed:
            raise ValueError("operation on a closed VeryTmpRoot") from None

    # -- the confined operations ---------------------------------------------------------------------------------------

    def _refuse(self, error: OSError, relative: str, other: str | None = None) -> NoReturn:
        """Raise what a failure means to the user: that the root is closed, or the error and the paths it is about."""
        self.check_open()
        error.filename = self.string(relative)
        if other is not None:
            error.filename2 = self.string(other)
        if error.errno == errno.ENOSPC:
            self._name_limit(error)
        try:
            raise error
        finally:
            del error  # its traceback holds this frame, and so this tree: no circle may keep that alive

    def _name_limit(self, error: OSError) -> None:
        """Add to ENOSPC which limit was hit."""
        try:
            limits = self.statvfs()
        except (OSError, ValueError):  # it went meanwhile
            return
        if limits.f_files and not limits.f_ffree:
            most = limits.f_files - self.inodes_above
            error.add_note(f"nr_inodes= is reached: all {most} files, directories and links that it allows are there.")
        elif limits.f_blocks:
            most, free = limits.f_blocks * limits.f_frsize, limits.f_bfree * limits.f_frsize
            error.add_note(f"size= is reached: {most - free} of {most} bytes are used, and {free} are free.")

    def _walk(self, relative: str, follow: bool, call: Callable[..., Any], *args: object, create: bool = False) -> Any:
        """Make a call on the last step of a walk: ``call(directory, name, *args)``, which must not follow *name*."""
        try:
            if self.one_call and relative and ".." not in relative:
                for straight in straightened(self.fd, self.token, relative, follow):
                    try:
                        return call(self.fd, self._base + straight, *args)
                    except OSError as error:
                        if error.errno != errno.ELOOP:
                            break  # the walk will tell; it also knows what to do where names are being swapped
            for attempt in range(ATTEMPTS):
                directory, name = resolve(self.fd, self.token, relative, follow, self.one_call, create)
                with directory:
                    try:
                        return call(directory.fileno(), name, *args)
                    except OSError as error:
                        if not follow or error.errno != errno.ELOOP or attempt == ATTEMPTS - 1:
                            raise
                fall_out_of_step(attempt)
        except OSError as error:
            self._refuse(error, relative)

    def _entry(self, call: Callable[..., Any], relative: str, *args: object, at_root: int = 0) -> Any:
        """Make one of os's calls on a directory entry itself, which none of them follows.

        *at_root* is what the kernel says of ``/``. A root is an entry of a directory that is not the user's.
        """
        if at_root and not relative:
            self.stat(relative)
            self._refuse(OSError(at_root, os.strerror(at_root)), relative)
        try:
            if self.one_call and ".." not in relative:
                return call(self._base + relative, *args, dir_fd=self.fd)
        except OSError as error:
            if error.errno not in WALKABLE:
                self._refuse(error, relative)
        return self._walk(relative, False, entry_here, call, *args)

    def statvfs(self) -> os.statvfs_result:
        """statvfs(3)."""
        try:
            result = os.statvfs(self.fd)
            if not self._fds.are_ours():  # what has the number now answers such a call too
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        except OSError as error:
            self._refuse(error, "")
        return result

    # -- operations on what a path leads to ----------------------------------------------------------------------------

    def stat(self, relative: str, follow: bool = True) -> os.stat_result:
        try:
            if self.one_call and ".." not in relative:
                return os.stat(self._base + relative, dir_fd=self.fd, follow_symlinks=follow)
        except OSError as error:
            if error.errno not in WALKABLE:
                self._refuse(error, relative)
        result: os.stat_result = self._walk(relative, follow or ends_above(relative), stat_here, follow)
        return result

    def find(self, relative: str, follow: bool = True) -> os.stat_result | None:
        """As `stat`, but None where there is nothing: that is an answer here, and needs no words."""
        try:
            if self.one_call and ".." not in relative:
                return os.stat(self._base + relative, dir_fd=self.fd, follow_symlinks=follow)
        except OSError as error:
            if error.errno not in WALKABLE:
                self.check_open()
                if error.errno in MISSING:
                    return None
                self._refuse(error, relative)
        try:
            result: os.stat_result = self._walk(relative, follow or ends_above(relative), stat_here, follow)
        except OSError as error:
            if error.errno in MISSING:
                return None
            raise
        return result

    def open(self, relative: str, flags: int, mode: int = 0o777) -> epoll:
        """open(2): the owner of a descriptor, close-on-exec. ``with`` closes it."""
        try:
            if self.one_call and ".." not in relative:
                return next(map(owner, map(self._open, (self._base + relative,), (flags,), (mode,))))  # as `opened`
        except OSError as error:
            if error.errno not in WALKABLE:
                self._refuse(error, relative)
        return self._open_walking(relative, flags, mode)

    def _open_walking(self, relative: str, flags: int, mode: int) -> epoll:
        follow = not flags & os.O_NOFOLLOW and flags & CREATE_NEW != CREATE_NEW
        follow = follow or ends_above(relative)
        file: epoll = self._walk(relative, follow, open_here, flags, mode, create=bool(flags & os.O_CREAT))
        return file

    def file(
        self, relative: str, mode: str, buffering: int, encoding: str | None, errors: str | None, newline: str | None
    ) -> IO[Any]:
        """As the built-in `open`, with a descriptor that is opened here."""
        flags, kind, buffered, text, encodings = USUAL.get(mode, UNUSUAL)
        if not (
            buffering is DEFAULT
            and encoding in encodings
            and (errors is newline is None or (text and errors in ERRORS and newline in NEWLINES))
        ):
            flags, kind, buffered, text, _ = judged(relative, mode, buffering, encoding, errors, newline)
            buffering = index(buffering)
        simple = self.one_call and ".." not in relative
        layer: Any
        raw: Any = None
        file: Any = None
        descriptor = -1
        try:
            try:
                if simple:
                    for descriptor in map(self._opener, (self._base + relative,), flags):  # as in `_using`
                        break
            except OSError as error:
                if error.errno not in WALKABLE:
                    raise
            if descriptor < 0:
                with self._open_walking(relative, flags[0], 0o666) as found:
                    for descriptor in map(os.dup, (found.fileno(),)):
                        break
            for raw in map(FileIO, (descriptor,), kind):
                break
            raw.name = f"{self.named or proc_fd() + self._place}{relative}" if simple else self.string(relative)
            if buffering is DEFAULT:  # without a call, where that will do: 0.1 us
                layer = buffered(raw, raw._blksize if BLOCKS else usual_size(raw))
            elif buffering:
                layer = buffered(raw, buffering if buffering > 1 else usual_size(raw))
            else:
                layer = raw
            if text:
                layer = TextIOWrapper(layer, encoding, errors, newline, buffering == 1)
                layer.mode = text
            file = layer
            return file  # type: ignore[no-any-return]  # what it is, the mode says
        except OSError as error:
            if error.errno is None:  # it cannot be read or written so, whatever it is called
                raise
            self._refuse(error, relative)
        finally:
            if file is not None:
                pass
            elif raw is not None:
                raw.close()
            elif descriptor >= 0:  # FileIO takes no directory, and fails where an audit hook does
                os.close(descriptor)

    def _using(self, relative: str, flags: int, call: Callable[[int], _T], mode: int = 0o666) -> _T:
        """What *call* makes of a file's descriptor, which is closed then."""
        descriptor = -1
        try:
            if self.one_call and ".." not in relative:
                # A `for` lets no signal handler run before its name holds what it is given.
                for descriptor in map(self._open, (self._base + relative,), (flags,), (mode,)):
                    return call(descriptor)
        except OSError as error:
            if descriptor >= 0 or error.errno not in WALKABLE:
                self._refuse(error, relative)
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        try:
            with self._open_walking(relative, flags, mode) as file:
                return call(file.fileno())
        except OSError as error:
            self._refuse(error, relative)

    def read(self, relative: str) -> bytes:
        """A file's bytes."""
        return self._using(relative, os.O_RDONLY, whole_files.read)

    def write(self, relative: str, data: bytes | memoryview) -> None:
        """Make a file of these bytes, or put them in place of what one holds."""
        self._using(relative, OVERWRITE, partial(whole_files.write, data))

    def create(self, relative: str, mode: int, exclusive: bool) -> None:
        """Make an empty file, if there is none; or, if it is to be *exclusive*, fail."""
        self._using(relative, os.O_WRONLY | os.O_CREAT | (os.O_EXCL if exclusive else 0), bool, mode)

    def listdir(self, relative: str) -> list[str]:
        return self._using(relative, LISTED, os.listdir)

    def scandir(self, relative: str, links: bool) -> list[tuple[str, int]]:
        """A directory's names, each with its type: S_IFDIR, S_IFLNK if *links* are asked for, or 0 for all else."""
        return self._using(relative, LISTED, whole_files.kinds_and_links if links else whole_files.kinds)

    def split(self, relative: str) -> tuple[list[str], list[str]]:
        """The names of a directory's directories, and those of all else in it."""
        return self._using(relative, LISTED, whole_files.split)

    def chmod(self, relative: str, mode: int, follow: bool = True) -> None:
        self._change(os.chmod, relative, mode, follow=follow)

    def utime(self, relative: str, ns: tuple[int, int] | None = None, follow: bool = True) -> None:
        """utimensat(2): set the times of access and modification, in nanoseconds; None means now."""
        if follow:
            self._change(utime, relative, ns)
        else:
            self._entry(utime, relative, ns, False)

    def renew(self, relative: str) -> bool:
        """Set the times to now, as `utime`; whether that could be done. No error is made up for nobody to read."""
        try:
            if self.one_call and ".." not in relative:
                os.utime(self._base + relative, dir_fd=self.fd)
                return True
        except OSError as error:
            if error.errno not in WALKABLE:
                self.check_open()
                return False
        try:
            self.utime(relative)
        except OSError:
            return False
        return True

    def _change(self, call: Callable[..., None], relative: str, *args: object, follow: bool = True) -> None:
        try:
            if follow and self.one_call and ".." not in relative:
                return call(self._base + relative, *args, dir_fd=self.fd)
        except OSError as error:
            if error.errno not in WALKABLE:
                self._refuse(error, relative)
        # A call on the last step would follow a link. So it is made on the very file, by its descriptor's name.
        try:
            with self.open(relative, os.O_PATH | (0 if follow else os.O_NOFOLLOW)) as file:
                if S_ISLNK(os.fstat(file.fileno()).st_mode):
                    raise OSError(errno.EOPNOTSUPP, "it is a symlink")
                call(self_fd(file.fileno()), *args)
        except OSError as error:
            self._refuse(error, relative)

    # -- operations on a directory entry -------------------------------------------------------------------------------

    def mkdir(self, relative: str, mode: int) -> None:
        if not relative and self.find(relative) is None:
            self._make_root(mode)
        else:
            self._entry(os.mkdir, relative, mode, at_root=errno.EEXIST)

    def _make_root(self, mode: int) -> None:
        """Make the root directory anew, which a program has removed by its string, as `shutil.rmtree` does."""
        try:
            with opened(".", os.O_PATH | os.O_DIRECTORY, self.fd) as above:
                if not self._fds.are_ours():  # never make something in a directory that only has the same number
                    raise OSError(errno.EBADF, os.strerror(errno.EBADF))
                os.mkdir(self.token, mode, dir_fd=above.fileno())
        except OSError as error:
            self._refuse(error, "")

    def mkdir_each(self, components: list[str], mode: int) -> int:
        """Make the directories on a path that are not there, each with *mode*. Each component is resolved once.

        Returns how many of the components were done before one could not be: `mkdir` on the path up to that will raise
        the reason.
        """
        done = 0
        try:
            resolution = Resolution(self.fd, self.token, self.one_call)
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
        self._entry(os.unlink, relative, at_root=errno.EISDIR)

    def rmdir(self, relative: str) -> None:
        self._entry(os.rmdir, relative, at_root=errno.EBUSY)

    def readlink(self, relative: str) -> str:
        """A symlink's own words."""
        words: str = self._entry(os.readlink, relative, at_root=errno.EINVAL)
        return words

    def symlink(self, relative: str, words: str) -> None:
        if not words:  # the kernel's first question
            self._refuse(OSError(errno.ENOENT, os.strerror(errno.ENOENT)), relative)
        self._entry(symlink_here, relative, words, at_root=errno.EEXIST)

    def rename(self, relative: str, target: str) -> None:
        self._pair(os.rename, relative, target)

    def link(self, relative: str, target: str, follow: bool) -> None:
        """linkat(2): another name, *target*, for what *relative* is, or leads to."""
        self._pair(os.link, relative, target, follow)

    def _pair(self, call: Callable[..., None], relative: str, target: str, follow: bool | None = None) -> None:
        """Make one of os's calls on two directory entries, with *follow* for the first one if it is not None."""
        how = {} if follow is None else {"follow_symlinks": follow}
        try:
            if self.one_call and relative and target and ".." not in relative and ".." not in target:
                base = self._base
                return call(base + relative, base + target, src_dir_fd=self.fd, dst_dir_fd=self.fd, **how)
        except OSError as error:
            if error.errno not in WALKABLE:
                self._refuse(error, relative, target)
        try:
            directory, name = resolve(self.fd, self.token, relative, bool(follow), self.one_call)
            with directory:
                # Before the new name's directory comes the old name, for linkat(2), or where it is, for renameat(2).
                if how:
                    how = {"follow_symlinks": False}  # from here on
                os.stat(name if how else ".", dir_fd=directory.fileno(), follow_symlinks=False)
                other, new = resolve(self.fd, self.token, target, False, self.one_call)
                with other:
                    call(name, new, src_dir_fd=directory.fileno(), dst_dir_fd=other.fileno(), **how)
        except OSError as error:
            self._refuse(error, relative, target)


def forget(token: str, _: object) -> None:
    """A tree has gone."""
    Tree.by_token.pop(token, None)
    names.pop(token, None)


# -- calls on a walk's last step, none of which follows it -------------------------------------------------------------


def entry_here(directory: int, name: str, call: Callable[..., Any], *args: object) -> Any:
    return call(name, *args, dir_fd=directory)


def utime(name: str, ns: tuple[int, int] | None, follow: bool = True, dir_fd: int | None = None) -> None:
    os.utime(name, **({"ns": ns} if ns else {}), dir_fd=dir_fd, follow_symlinks=follow)


def symlink_here(name: str, words: str, *, dir_fd: int) -> None:
    try:
        os.symlink(words, name, dir_fd=dir_fd)
    except OSError as error:
        error.filename2 = words  # `filename` will be the path
        raise


def stat_here(directory: int, name: str, follow: bool) -> os.stat_result:
    if name == ".":
        return os.fstat(directory)
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if follow and S_ISLNK(status.st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))  # it was swapped for a link behind our back
    return status


def open_here(directory: int, name: str, flags: int, mode: int) -> epoll:
    try:
        file = opened(name, flags | os.O_NOFOLLOW, directory, mode)
    except NotADirectoryError:
        if flags & os.O_NOFOLLOW or not changing(name, directory):
            raise
    except PermissionError:
        if name != ".":
            raise
        # "." takes permission to search it; this does not. It is itself a link, to what is open already.
        return opened(self_fd(directory), flags & ~os.O_NOFOLLOW, None, mode)
    else:
        if flags & (os.O_PATH | os.O_NOFOLLOW) != os.O_PATH or not S_ISLNK(os.fstat(file.fileno()).st_mode):
            return file
        file.close()
    # It was swapped for a link behind our back. O_DIRECTORY answers ENOTDIR to one, and O_PATH opens it.
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None


def ends_above(relative: str) -> bool:
    """Whether the last component is ``..``, which is no link, and which the walk has to take: it stops at the root."""
    return relative.rpartition("/")[2] == ".."
