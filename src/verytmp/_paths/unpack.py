"""An archive that nobody trusts, unpacked into a directory of a root by the confined operations.

Names are cut to what is below the directory: a leading ``/`` and ``..`` stop there. Links are made as they are, and are
followed by members below them as after chroot(2) to the root. What a member finds in its place is replaced, and not
written to.
"""

from __future__ import annotations

import errno
import math
import os
from functools import cache, partial
from stat import S_IFDIR, S_IFLNK, S_IFREG, S_ISDIR

from .._confined.resolver import collapse
from .._confined.whole_files import joined
from ..errors import VeryTmpArchiveError
from . import archives
from .pure import VeryTmpPurePath
from .realpath import realpath
from .report import Tally
from .transfer import open_host_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .._confined.owned_fd import OwnedFd
    from .._confined.tree import Tree
    from .archives import Member
    from .report import VeryTmpReport, _Progress

ATTEMPTS = 4  # at a name, for which directories have to be made and something removed first
OWNERS = 0o700

# Members may replace each other, or be left out, for ever: nothing of that fills the root. So an archive may have twice
# as many as the root can hold, and twice its bytes. What comes with a member, as headers, is less than this.
TIMES = 2
BYTES_OF_HEADERS = 4096
TOO_MANY_MEMBERS = "The archive has more than twice the members that the root can hold"
ON_THE_HOST = "A string is a path in the root. For an archive on the host, give a pathlib.Path."
TOO_MANY_BYTES = "The archive has more than twice the bytes that the root can hold"


def unpack(target: VeryTmpPurePath, archive: Any, max_members: int | None, progress: _Progress | None) -> VeryTmpReport:
    """`VeryTmpPath.unpack`, into a directory that is there."""
    if hasattr(archive, "read"):
        return unpack_file(target, archive, max_members, progress)
    with open_archive(archive) as file:
        return unpack_file(target, file, max_members, progress)


def open_archive(path: Any) -> Any:
    if isinstance(path, VeryTmpPurePath):
        try:
            return path.open("rb")
        except FileNotFoundError as error:
            error.add_note(ON_THE_HOST)
            raise
    return open_host_file(path)


def unpack_file(
    target: VeryTmpPurePath, file: Any, max_members: int | None, progress: _Progress | None
) -> VeryTmpReport:
    raw = archives.Raw(file)
    size = raw.size() if progress else None

    def show(_: int, __: int | None) -> None:
        if progress:
            progress(raw.tell(), size)

    tally = Tally(show if progress else None)
    unpacking = Unpacking(target, tally, max_members)
    spools: list[OwnedFd] = []

    def spool() -> Any:
        spools.append(target._tree.open(target._rel, os.O_TMPFILE | os.O_RDWR, 0o600))
        return open(spools[0].fileno(), "r+b", 0, closefd=False)

    try:
        for member in archives.members(raw, spool, unpacking.spend, tally.advance):
            unpacking.add(member)
        unpacking.finish()
    except BaseException as error:
        error.add_note(unpacking.how_far())
        raise
    finally:
        for unnamed in spools:
            unnamed.close()
    if progress:
        progress(raw.tell() if size is None else size, size)
    return tally.report()


class Unpacking:
    """One archive on its way into a directory.

    Args:
        target: the directory.
        tally: counts what is made and what is left out.
        max_members: the most members that the archive may have.
    """

    def __init__(self, target: VeryTmpPurePath, tally: Tally, max_members: int | None) -> None:
        self._tree: Tree = target._tree
        self._base = target._rel
        self._tally = tally
        self._max_members = max_members
        self._last = ""
        self._count = 0
        self._directories: dict[str, tuple[int | None, int | None]] = {}  # the mode and time that they are to have
        limits = self._tree.statvfs()
        self._members = TIMES * limits.f_files or math.inf
        self._bytes = TIMES * limits.f_blocks * limits.f_frsize + BYTES_OF_HEADERS * self._members
        if not limits.f_blocks:
            self._bytes = math.inf

    def spend(self, count: int) -> None:
        """Count bytes that come out of the archive. Raises `VeryTmpArchiveError` (ENOSPC) if there are too many."""
        self._bytes -= count
        if self._bytes < 0:
            raise VeryTmpArchiveError(errno.ENOSPC, TOO_MANY_BYTES)

    def how_far(self) -> str:
        last = f", the last one {self._last!r}" if self._last else ""
        return f"Before that, {self._tally.members} members with {self._tally.bytes} bytes were unpacked{last}."

    def add(self, member: Member) -> None:
        """Unpack one member, or leave it out."""
        self._count += 1
        if self._max_members is not None and self._count > self._max_members:
            raise VeryTmpArchiveError(errno.E2BIG, f"The archive has more than {self._max_members} members")
        if self._count > self._members:
            raise VeryTmpArchiveError(
                errno.ENOSPC, "The archive has more than twice the members that the root can hold"
            )
        reason = member.reason
        inside = collapse(member.name)
        path = joined(self._base, inside)
        if len(inside) >= archives.PATH_MAX:  # or each member could take seconds: a megabyte of name has 500,000 levels
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), f"{member.name[:64]}…")
        if "\0" in member.name or "\0" in member.target:
            reason = "a null byte in its name or target"
        elif not inside and member.type == S_IFDIR:
            return  # the directory itself, which is the caller's
        elif not inside:
            reason = "it has the name of the directory itself"
        if not reason:
            reason = self._make(path, member)
        if reason:
            self._tally.leave_out(member.name, reason)
        else:
            self._tally.members += 1
            self._last = member.name
            if member.name.startswith("/") or "/../" in f"/{member.name}/":
                self._tally.rename(member.name[: archives.PATH_MAX], inside)

    def _make(self, path: str, member: Member) -> str:
        """Make what a member is. Returns why it has to be left out, or an empty string."""
        if member.type == S_IFREG:
            self._at_free_name(path, self._make_file, member)
        elif member.type == S_IFDIR:
            self._at_free_name(path, self._make_directory)
            self._directories[path] = member.mode, member.mtime
        elif member.type == S_IFLNK:
            if not member.target:
                return "a symlink without a target"
            self._at_free_name(path, self._tree.symlink, member.target)
            if member.mtime is not None:
                self._tree.utime(path, (member.mtime, member.mtime), False)
        else:
            return self._make_link(path, joined(self._base, collapse(member.target)))
        return ""

    def _at_free_name(self, path: str, call: Callable[..., None], *args: object) -> None:
        """Make an entry of a directory. Directories that are missing are made, and a file or link there is removed."""
        for attempt in range(ATTEMPTS):
            try:
                return call(path, *args)
            except FileExistsError:
                if attempt == ATTEMPTS - 1:
                    raise
                self._tree.unlink(path)
            except FileNotFoundError:
                if attempt:
                    raise
                self._make_parents(path)
        raise AssertionError("the last attempt raises")

    def _make_parents(self, path: str) -> None:
        components = path.split("/")[:-1]
        done = self._tree.mkdir_each(components, 0o777)
        for end in range(done, len(components)):  # the first call raises the reason, if it is not a want of descriptors
            self._make_directory("/".join(components[: end + 1]))

    def _make_file(self, path: str, member: Member) -> None:
        made = False

        def fill(descriptor: int) -> None:
            nonlocal made
            made = True
            member.write(descriptor)
            if member.mode is not None:
                os.fchmod(descriptor, member.mode)
            if member.mtime is not None:
                os.utime(descriptor, ns=(member.mtime, member.mtime))

        try:
            self._tree.make_file(path, fill)
        except BaseException as error:
            if made:
                self._remove_partial(path, error)
            raise

    def _remove_partial(self, path: str, error: BaseException) -> None:
        try:
            self._tree.unlink(path)
        except (OSError, ValueError):  # the first error is the one to raise
            error.add_note("The member that was unpacked in part is left.")

    def _make_directory(self, path: str) -> None:
        try:
            self._tree.mkdir(path, 0o777)
        except FileExistsError:
            if not self._is_directory(path):
                raise

    def _is_directory(self, path: str) -> bool:
        found = self._tree.stat_or_none(path)
        return found is not None and S_ISDIR(found.st_mode)

    def _make_link(self, path: str, target: str) -> str:
        found = self._tree.stat_or_none(target, False)
        if found is None:
            return "a hard link to what is not there"
        if S_ISDIR(found.st_mode):
            return "a hard link to a directory"
        there = self._tree.stat_or_none(path, False)
        # By way of a link to a directory, it may be the same name: nothing would be left to link to.
        if there is None or not os.path.samestat(there, found):
            self._at_free_name(path, self._link_to, target)
        return ""

    def _link_to(self, path: str, target: str) -> None:
        self._tree.link(target, path, False)

    def finish(self) -> None:
        """Give the directories their modes and times, now that nothing is made in them any more."""
        # By way of links, others may have taken the places of some.
        self._directories = {path: kept for path, kept in self._directories.items() if self._is_directory(path)}
        for path, (_, mtime) in self._directories.items():
            if mtime is not None:
                self._tree.utime(path, (mtime, mtime))
        closed: dict[str, int] = {}
        own_path = cache(partial(realpath, self._tree, strict=True))
        for path, (mode, _) in self._directories.items():
            if mode is not None and mode & OWNERS == OWNERS:
                self._tree.chmod(path, mode)
            elif mode is not None:
                parent, _, name = path.rpartition("/")
                found = joined(own_path(parent), name)
                status = self._tree.stat_or_none(found, False)
                closed[found if status and S_ISDIR(status.st_mode) else own_path(path)] = mode
        # At last those that may not be passed then, what is below first. By a name with links in it, the way to one
        # could lead through another.
        for path in sorted(closed, reverse=True):
            self._tree.chmod(path, closed[path])
