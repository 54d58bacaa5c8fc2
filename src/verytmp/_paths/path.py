"""`VeryTmpPath`: a map from pathlib's names to the confined operations of `_confined.tree`."""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path, PurePosixPath
from stat import S_ISBLK, S_ISCHR, S_ISDIR, S_ISFIFO, S_ISLNK, S_ISREG, S_ISSOCK

from .._confined.tree import Tree
from ..errors import UnsupportedOperation
from . import glob as _glob
from .info import Info
from .pure import VeryTmpPurePath, text_of
from .realpath import realpath
from .text import decoded, encoded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from typing import IO, Any, NoReturn, Self

    from _typeshed import ReadableBuffer, StrPath, SupportsRead

    from .report import VeryTmpReport, _Progress


class VeryTmpPath(VeryTmpPurePath):
    """A path in a `VeryTmpRoot`: a `pathlib.Path` whose drive is that root.

    A root makes paths (``root / "name"``, ``root.path``), and paths make further ones; the class itself makes none.
    No operation of a path reaches outside its root: absolute paths and symlinks begin at the root, and ``..`` stops
    there, as after chroot(2).

    A path keeps its root's directory alive. `str` and `os.fspath` give a path that every process of the same user can
    open as long as the root is open. After the root's `close`, `ValueError` is raised by every operation and by
    `os.fspath`, but not by `str` and `repr`.

    Everything else is as in the running Python's `pathlib.Path`. Methods and keywords of newer Pythons are there on
    older ones, too. An `OSError` has ``str(path)`` as its `filename`.
    """

    __slots__ = ()

    @classmethod
    def cwd(cls) -> NoReturn:
        """Refused: the current directory is the host's."""
        raise UnsupportedOperation(f"{cls.__name__}.cwd(): the current directory is in no root")

    @classmethod
    def home(cls) -> NoReturn:
        """Refused: home directories are the host's."""
        raise UnsupportedOperation(f"{cls.__name__}.home(): no home directory is in a root")

    @classmethod
    def from_uri(cls, uri: str) -> NoReturn:
        """Refused: a URI names a file of the host."""
        raise UnsupportedOperation(f"{cls.__name__}.from_uri(): a URI names no root")

    def __reduce__(self) -> tuple[object, ...]:
        return derived, (self._tree, self._rel, type(self))

    @property
    def at(self) -> PurePosixPath:
        """The path as the programs see it that `VeryTmpRoot.run` starts. `ValueError` for a root without a name."""
        return PurePosixPath(self._tree.name(self._rel))

    # -- what a path leads to ------------------------------------------------------------------------------------------

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """stat(2)."""
        return self._tree.stat(self._rel, follow_symlinks)

    def lstat(self) -> os.stat_result:
        """lstat(2): of a symlink itself."""
        return self._tree.stat(self._rel, False)

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it exists. Of a symlink, by default, whether its target does."""
        return self._mode(follow_symlinks) is not None

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is a directory."""
        return self._is(S_ISDIR, follow_symlinks)

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is a regular file."""
        return self._is(S_ISREG, follow_symlinks)

    def is_symlink(self) -> bool:
        """Whether it is a symlink."""
        return self._is(S_ISLNK, False)

    def is_socket(self) -> bool:
        """Whether it is a socket."""
        return self._is(S_ISSOCK)

    def is_fifo(self) -> bool:
        """Whether it is a FIFO."""
        return self._is(S_ISFIFO)

    def is_block_device(self) -> bool:
        """Whether it is a block device."""
        return self._is(S_ISBLK)

    def is_char_device(self) -> bool:
        """Whether it is a character device."""
        return self._is(S_ISCHR)

    def is_junction(self) -> bool:
        """False: Linux has none."""
        return False

    def is_mount(self) -> bool:
        """Whether it is the root: no other file system is mounted in one."""
        try:
            here = self._tree.stat_or_none(self._rel, False)
            if here is None or not S_ISDIR(here.st_mode):
                return False
            return os.path.samestat(here, self._tree.stat(f"{self._rel}/.."))
        except (OSError, ValueError):
            self._tree.check_open()
            return False

    @property
    def info(self) -> Info:
        """Its type, and whether it exists; asked of the kernel once, and kept by this path (Python 3.14)."""
        try:
            return self._facts
        except AttributeError:
            self._facts = Info(self._tree, self._rel)
            return self._facts

    def samefile(self, other_path: StrPath) -> bool:
        """Whether another path leads to the same file. A string is read from the root on."""
        other = other_path if isinstance(other_path, Path | os.DirEntry) else self.with_segments(other_path)
        return os.path.samestat(self.stat(), other.stat())

    def owner(self, *, follow_symlinks: bool = True) -> str:
        """The user's name. `KeyError` if the user has none."""
        from pwd import getpwuid

        return getpwuid(self.stat(follow_symlinks=follow_symlinks).st_uid).pw_name

    def group(self, *, follow_symlinks: bool = True) -> str:
        """The group's name. `KeyError` if the group has none."""
        from grp import getgrgid

        return getgrgid(self.stat(follow_symlinks=follow_symlinks).st_gid).gr_name

    def resolve(self, strict: bool = False) -> Self:
        """The path without symlinks and ``..``. A part that does not exist stays as it is, unless *strict*.

        A loop of symlinks is left as it is too, or raises `OSError` (ELOOP) if *strict*; before Python 3.13, it raises
        `RuntimeError` in both cases.
        """
        self._tree.check_open()
        path = self
        try:
            path = self._derive(realpath(self._tree, self._rel, strict))
            if LOOPS_ARE_RUNTIME_ERRORS:
                path.stat()
        except OSError as error:
            if LOOPS_ARE_RUNTIME_ERRORS and error.errno == errno.ELOOP:
                raise RuntimeError(f"Symlink loop from {error.filename!r}") from None
            if strict:
                raise
        return path

    def _is(self, kind: Callable[[int], bool], follow: bool = True) -> bool:
        mode = self._mode(follow)
        return mode is not None and kind(mode)

    def _mode(self, follow: bool) -> int | None:
        """The type and permissions; None for the errors that this Python takes for "does not exist"."""
        try:
            status = self._tree.stat_or_none(self._rel, follow)
        except OSError:
            if EVERY_ERROR_IS_NOTHING:
                return None
            raise
        except ValueError:  # no file can have this name
            self._tree.check_open()
            return None
        return status and status.st_mode

    def open(  # type: ignore[override]  # the overloads are the stub's
        self,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[Any]:
        """Open the file, as the built-in `open` does."""
        if "b" not in mode:
            encoding = io.text_encoding(encoding)
        return self._tree.file(self._rel, mode, buffering, encoding, errors, newline)

    def read_bytes(self) -> bytes:
        """The file's bytes."""
        return self._tree.read(self._rel)

    def read_text(self, encoding: str | None = None, errors: str | None = None, newline: str | None = None) -> str:
        """The file's text. *newline* is as for the built-in `open` (pathlib has it since 3.13)."""
        encoding = io.text_encoding(encoding)
        return decoded(self.read_bytes(), encoding, errors, newline)

    def write_bytes(self, data: ReadableBuffer) -> int:
        """Write these bytes, in place of what the file held. Returns their number."""
        if type(data) is bytes:
            self._tree.write(self._rel, data)
            return len(data)
        view = memoryview(data)
        if not view.c_contiguous:
            raise BufferError("memoryview: underlying buffer is not C-contiguous")
        view = view.cast("B")
        self._tree.write(self._rel, view)
        return len(view)

    def write_text(
        self, data: str, encoding: str | None = None, errors: str | None = None, newline: str | None = None
    ) -> int:
        """Write this text, in place of what the file held. Returns the number of characters.

        A text that cannot be encoded leaves the file as it was.
        """
        encoding = io.text_encoding(encoding)
        self._tree.write(self._rel, encoded(data, encoding, errors, newline))
        return len(data)

    def iterdir(self) -> Generator[Self]:
        """The directory's entries, in no particular order."""
        return self._entries(self._tree.listdir(self._rel))

    def glob(
        self, pattern: StrPath, *, case_sensitive: bool | None = None, recurse_symlinks: bool = False
    ) -> Generator[Self]:
        """The paths below it that match a pattern, in which ``**`` stands for any number of directories."""
        sys.audit("pathlib.Path.glob", self, pattern)
        return self._glob(pattern, False, case_sensitive, recurse_symlinks)

    def rglob(
        self, pattern: StrPath, *, case_sensitive: bool | None = None, recurse_symlinks: bool = False
    ) -> Generator[Self]:
        """The same as `glob` with ``**/`` before the pattern."""
        sys.audit("pathlib.Path.rglob", self, pattern)
        return self._glob(pattern, True, case_sensitive, recurse_symlinks)

    def _glob(self, pattern: StrPath, deep: bool, case_sensitive: bool | None, follow: bool) -> Generator[Self]:
        parts = _glob.pattern_parts(text_of(pattern), deep)
        return self._derive_each(_glob.Selector(self._tree, case_sensitive, follow).select(self._rel, parts))

    def walk(
        self,
        top_down: bool = True,
        on_error: Callable[[OSError], object] | None = None,
        follow_symlinks: bool = False,
    ) -> Iterator[tuple[Self, list[str], list[str]]]:
        """This directory and those below it, each with the names of its directories and of its files (Python 3.12).

        On the way down (*top_down*), directories that the caller removes from the first list are not entered. For a
        directory that cannot be listed, *on_error* is called with the error, if it is given.
        """
        sys.audit("pathlib.Path.walk", self, on_error, follow_symlinks)
        for relative, directories, files in _glob.walk(self._tree, self._rel, top_down, on_error, follow_symlinks):
            yield self._derive(relative), directories, files

    def chmod(self, mode: int, *, follow_symlinks: bool = True) -> None:
        """chmod(2). A symlink's own permissions cannot be changed: `UnsupportedOperation`."""
        try:
            self._tree.chmod(self._rel, mode, follow_symlinks)
        except OSError as error:
            if follow_symlinks or error.errno != errno.EOPNOTSUPP:
                raise
            raise UnsupportedOperation("a symlink has no permissions of its own on Linux") from None

    def lchmod(self, mode: int) -> None:
        """As `chmod` with ``follow_symlinks=False``."""
        self.chmod(mode, follow_symlinks=False)

    def touch(self, mode: int = 0o666, exist_ok: bool = True) -> None:
        """Make the file if it does not exist; else set its times to now."""
        if exist_ok and self._tree.touch_if_there(self._rel):
            return
        self._tree.create(self._rel, mode, not exist_ok)

    # -- directory entries ---------------------------------------------------------------------------------------------

    def mkdir(
        self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False, *, parent_mode: int | None = None
    ) -> None:
        """Make the directory; with *parents*, those above it too, with *parent_mode* (of Python 3.15)."""
        try:
            self._tree.mkdir(self._rel, mode)
        except FileNotFoundError:
            if not parents or not self._rel:
                raise
            self._mkdir_parents(0o777 if parent_mode is None else parent_mode)
            self.mkdir(mode, False, exist_ok)
        except OSError:
            # Not only EEXIST: the kernel may give another reason though the directory exists.
            if not exist_ok or not self.is_dir():
                raise

    def _mkdir_parents(self, mode: int) -> None:
        components = self._rel.split("/")[:-1]
        if len(components) > MANY_LEVELS:
            done = self._tree.mkdir_each(components, mode)
            if done < len(components):  # this call raises the reason
                self._derive("/".join(components[: done + 1])).mkdir(mode, False, True)
        missing = [self.parent]  # without recursion: there may be thousands
        while True:
            try:
                missing[-1].mkdir(mode, False, True)
                break
            except FileNotFoundError:
                if not missing[-1]._rel:
                    raise
                missing.append(missing[-1].parent)
        for path in missing[-2::-1]:
            path.mkdir(mode, False, True)

    def readlink(self) -> PurePosixPath:  # type: ignore[override]  # a pure path, by decision
        """The symlink's target: a pure path, which may lead anywhere."""
        return PurePosixPath(self._tree.readlink(self._rel))

    def symlink_to(  # type: ignore[override]  # bytes are refused
        self, target: StrPath, target_is_directory: bool = False
    ) -> None:
        """Make it a symlink to a target, which need not exist; a target's ``/`` is the root.

        A path of this root is written from the root on. Another root's path, or a host `pathlib.Path`, is on another
        file system: `OSError` (EXDEV). *target_is_directory* is for other systems.
        """
        self._tree.symlink(self._rel, self._link_text(target))

    def hardlink_to(self, target: StrPath) -> None:  # type: ignore[override]  # bytes are refused
        """Make it another name for the file *target*, which is interpreted as by `rename`.

        If *target* is a symlink, it is a name for the symlink itself, or since Python 3.14 for what that leads to.
        """
        self._tree.link(self._target_in_root(target)._rel, self._rel, LINKS_ARE_FOLLOWED)

    if sys.version_info < (3, 12):

        def link_to(self, target: StrPath) -> None:  # type: ignore[override]  # bytes are refused
            """Make *target* another name for this file. Deprecated: `hardlink_to` is the same the other way round."""
            import warnings

            warnings.warn("pathlib.Path.link_to() is deprecated: use hardlink_to()", DeprecationWarning, stacklevel=2)
            self._target_in_root(target).hardlink_to(self)

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the file or symlink."""
        try:
            self._tree.unlink(self._rel)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def rmdir(self) -> None:
        """Remove the directory, which must be empty."""
        self._tree.rmdir(self._rel)

    def rename(self, target: StrPath) -> Self:
        """Give it another name in this root, and return that path. What had the name is replaced, as by rename(2).

        A string or a pure path is read from the root on. Another root's path, or a host `pathlib.Path`, is on another
        file system: `OSError` (EXDEV). In a clone that an ordinary user has made, a directory of the frozen root is
        copied: it appears at its new name at once, and is removed from its old one after that.
        """
        path = self._target_in_root(target)
        try:
            self._tree.rename(self._rel, path._rel)
        except OSError as error:
            if error.errno != errno.EXDEV:  # which only a directory of a clone's frozen root gives
                raise
            from .whole_copy import rename_directory

            rename_directory(self, path)
        return path

    replace = rename

    def _target_in_root(self, target: StrPath) -> Self:
        """The path in this root that *target* stands for, where both have to be on one file system.

        Raises `OSError` (EXDEV) for a path of another root or of the host, and `ValueError` if the root is closed.
        """
        if isinstance(target, VeryTmpPurePath) and target._tree is self._tree:  # the usual case
            self._tree.check_open()
            return self._derive(target._rel)
        return self.with_segments(self._link_text(target))

    def _link_text(self, target: StrPath) -> str:
        """The text of a symlink to *target*. Raises as `_target_in_root`."""
        self._tree.check_open()
        tree = getattr(target, "_tree", None)  # of a path, or of a root
        if isinstance(tree, Tree):
            inside = "/" + getattr(target, "_rel", "") if tree is self._tree else None
        else:
            text = text_of(target)
            inside = self._without_drive(text)
            inside = None if isinstance(target, Path) and inside is text else inside
        if inside is None:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(self), None, str(target))
        return inside

    # -- whole trees ---------------------------------------------------------------------------------------------------

    def copy(
        self,
        target: StrPath,
        *,
        follow_symlinks: bool = True,
        preserve_metadata: bool = False,
        progress: _Progress | None = None,
    ) -> Any:
        """Copy the file, or the directory and all below it (of Python 3.14).

        Args:
            target: the new path. A string or a pure path begins at the root. A path of another root, or a host
                `pathlib.Path`, is taken as it is: this is how files leave a root.
            follow_symlinks: copy the targets of symlinks instead of the symlinks.
            preserve_metadata: also copy permissions, times and extended attributes. Hard links within what is copied
                are kept; otherwise each name becomes a file of its own.
            progress: called after each file, and after each 16 MiB of a large one, with two numbers: the bytes copied
                so far, and all bytes (None where symlinks in a directory are followed). An exception that it raises
                ends the copy.

        Returns:
            The new path.

        Raises:
            OSError: EINVAL, if something would be copied onto or into itself. EINVAL also for FIFOs, sockets and
                devices: those in a directory are left out, and the error is raised after everything else was copied,
                with the first of them as `filename` and a note that lists them all. If a file cannot be copied
                completely (ENOSPC), its partial copy is removed. ENOENT, for a string that names a directory of the
                host, and no directory of the root.
        """
        from . import transfer

        path = self._copy_target(target)
        transfer.copy(self, path, follow_symlinks, preserve_metadata, progress)
        return path.joinpath()

    def copy_into(
        self,
        target_dir: StrPath,
        *,
        follow_symlinks: bool = True,
        preserve_metadata: bool = False,
        progress: _Progress | None = None,
    ) -> Any:
        """As `copy`, into a directory, under the same name.

        The root directory has no name. So for ``root.path``, its contents are copied into *target_dir* (as by ``cp -r
        root/.``), and *target_dir* is returned. If it already has a directory with one of these names,
        `FileExistsError` is raised, and nothing is copied; files are replaced, as by `copy`.
        """
        from . import transfer

        path = self._copy_target(target_dir, is_directory=True)
        if self._rel:
            return self.copy(
                path / self.name,
                follow_symlinks=follow_symlinks,
                preserve_metadata=preserve_metadata,
                progress=progress,
            )
        transfer.copy_contents(self, path, follow_symlinks, preserve_metadata, progress)
        return path.joinpath()

    def move(self, target: StrPath) -> Any:
        """Move it (of Python 3.14). Within the root, this is `replace`.

        Otherwise it is copied with all its metadata, symlinks as symlinks, and then deleted.

        Args:
            target: the new path, interpreted as by `copy`.

        Returns:
            The new path.

        Raises:
            OSError: EACCES, if something may not be removed because a directory is not writable: that is checked first,
                and nothing is copied. Otherwise as by `copy`. If not everything was copied, nothing is deleted.
        """
        from . import transfer

        path = self._copy_target(target)
        if isinstance(path, VeryTmpPath) and path._tree is self._tree:
            transfer.check_different_files(self, path)
            return self.replace(path)
        if not self._rel:
            raise OSError(errno.EBUSY, ROOT_IS_NOT_MOVED, str(self), None, str(path))
        transfer.move(self, path)
        return path.joinpath()

    def move_into(self, target_dir: StrPath) -> Any:
        """As `move`, into a directory, under the same name.

        For ``root.path``, the contents of the root are moved, as by `copy_into`; afterwards the root is empty.
        """
        from . import transfer

        path = self._copy_target(target_dir, is_directory=True)
        if self._rel:
            return self.move(path / self.name)
        transfer.move(self, path, contents=True)
        return path.joinpath()

    def publish(
        self,
        target: Path,
        *,
        replace: bool = False,
        follow_symlinks: bool = False,
        preserve_metadata: bool = False,
        mode: int | None = None,
        fsync: bool = False,
        progress: _Progress | None = None,
    ) -> VeryTmpReport:
        """Make the file, or the directory and all below it, appear on the host: whole, or not at all.

        It is copied to a temporary name beside the target, and renamed when it is whole. If that fails or is
        interrupted, the target is as it was, and nothing is left beside it. If the process is killed, at most
        ``.<name>.verytmp-<pid>-<random>`` is left.

        Hard links and holes are kept. FIFOs, sockets and devices in a directory are left out, and are in the report.

        Args:
            target: the new path: a host `pathlib.Path`, or a path of a root; not a string, which would mean a path in
                the root.
            replace: if there is something at the target, replace it, and remove it afterwards. If that is a symlink,
                the symlink itself is replaced. On the host, this is one step: other processes see the old or the new at
                any time.
            follow_symlinks: publish the files that symlinks lead to in the root. By default, symlinks are published
                unchanged, and may lead to other files on the host.
            preserve_metadata: keep permissions, times and extended attributes. By default, only permissions are kept,
                without those that the umask removes and without set-user-ID, set-group-ID and sticky bits; a root
                itself gets the permissions of a new directory.
            mode: the permissions of the published file or directory itself, regardless of the umask.
            fsync: write everything to the disk, by fsync(2), before and after the renaming, so that the target is the
                old or the new after a power failure, too.
            progress: as for `copy`.

        Returns:
            The number of files, directories and symlinks, and of bytes; and what was left out.

        Raises:
            FileExistsError: there is something at the target, and *replace* is false.
            OSError: EINVAL for a FIFO, socket or device itself. EOPNOTSUPP, where a directory is to be replaced, or a
                file by one, on a file system that cannot do that in one step (renameat2(2), RENAME_EXCHANGE). What was
                replaced could not be removed; a note says that the target is published, and what is left.
        """
        if not isinstance(target, Path):
            raise TypeError(f"publish() goes to a pathlib.Path: {target!r} would be a path in the root")
        self._tree.check_open()
        from .publish import publish
        from .transfer import check_int

        if mode is not None:
            mode = check_int("mode", mode, 0o7777)
        return publish(self, target, replace, follow_symlinks, preserve_metadata, mode, fsync, progress)

    def unpack(
        self,
        archive: StrPath | SupportsRead[bytes],
        *,
        max_members: int | None = None,
        progress: _Progress | None = None,
    ) -> VeryTmpReport:
        """Unpack a tar or zip archive into this directory, which is made if it does not exist.

        It is for untrusted archives. No member gets out of the root: a leading ``/`` and ``..`` in names stop at this
        directory. Symlinks are created unchanged, absolute ones too, and paths of the root follow them within the root:
        to any file there. So give each archive a root of its own, with `size` and `nr_inodes`.

        Permissions, modification times, hard links and holes are kept; owners are not. A member replaces an existing
        file or link of the same name; an existing directory stays, and so does a link to one. Devices, FIFOs, and hard
        links whose target does not exist are left out, and listed in the report.

        Args:
            archive: a tar archive, with any compression that `tarfile` reads (zstd since Python 3.14), or a zip
                archive: a path, a binary file, or a stream that cannot seek. A string or a pure path is read from the
                root on; a host `pathlib.Path`, or a path of any root, is itself the archive. A zip archive from a
                stream is kept in the root meanwhile.
            max_members: how many members the archive may have at most.
            progress: called after each part with two numbers: the bytes of the archive that have been read, and all its
                bytes (None for a stream). An exception that it raises ends the unpacking.

        Returns:
            The number of files, directories and links, and of their bytes; and the names that were left out, with the
            reasons.

        Raises:
            VeryTmpArchiveError: EBADMSG, if it cannot be read: it is no archive, or is truncated, encrypted or damaged.
                E2BIG, if it has more than *max_members*. ENOSPC, if it has more than twice the members or the bytes
                that the root can hold, as is possible if they replace each other.
            OSError: ENOSPC, at a limit of the root. If members contradict each other: EISDIR, for a file or link in the
                place of a directory; ENOTDIR, below a file; EEXIST, below a symlink that leads nowhere; ELOOP, below a
                symlink that leads to itself. EAGAIN, if *archive* is a non-blocking stream that has no data yet.

            After any error, what was unpacked before stays, and a note says how much that is. A partly unpacked file is
            removed. Directories do not have their permissions and times yet.
        """
        self._tree.check_open()
        from .transfer import check_int
        from .unpack import unpack

        if max_members is not None:
            max_members = check_int("max_members", max_members)
        source: Any = archive
        if not hasattr(archive, "read"):
            source = self._copy_target(source)
        self.mkdir(parents=True, exist_ok=True)
        return unpack(self, source, max_members, progress)

    def _copy_target(self, target: StrPath, is_directory: bool = False) -> Path:
        """The path that a copy is made at, or into, which may be of another root or of the host.

        Raises `FileNotFoundError` for a string that cannot have been meant as a path in the root.
        """
        from . import transfer

        self._tree.check_open()
        if isinstance(target, Path):
            return target
        path = self.with_segments(target)
        text = text_of(target)
        if text.startswith("/"):
            directory, there = (path, text) if is_directory else (path.parent, os.path.dirname(text.rstrip("/")))
            if self._tree.stat_or_none(directory._rel) is None and transfer.is_host_directory(there):
                error = FileNotFoundError(errno.ENOENT, ONLY_ON_HOST, str(self), None, str(path))
                error.add_note(f"To go to the host, give a pathlib.Path: pathlib.Path({text!r}).")
                raise error
        return path

    def _copy_from(self, source: Path, follow_symlinks: bool = True, preserve_metadata: bool = False) -> None:
        """What pathlib's own `copy` calls on its target (Python 3.14)."""
        from . import transfer

        transfer.copy(source, self, follow_symlinks, preserve_metadata)


# exists(), is_dir() and the like: before 3.14 they raise what is not plainly "there is nothing", as EACCES.
EVERY_ERROR_IS_NOTHING = sys.version_info >= (3, 14)

ONLY_ON_HOST = "A string is a path in the root, and this directory is only on the host"
ROOT_IS_NOT_MOVED = "A root cannot be moved. move_into() moves all that is in it"
LINKS_ARE_FOLLOWED = sys.version_info >= (3, 14)  # by os.link
MANY_LEVELS = 32  # for fewer, a call with the whole path for each costs less than to enter each
LOOPS_ARE_RUNTIME_ERRORS = sys.version_info < (3, 13)


def derived(tree: Tree, relative: str, kind: type[VeryTmpPath] = VeryTmpPath) -> VeryTmpPath:
    """A path of a tree: the way in for `_root`, and for what comes from another process."""
    path = object.__new__(kind)
    path._tree = tree
    path._rel = relative
    path._name = None
    return path
