"""`VeryTmpRoot`: the one place where mounting meets paths."""

from __future__ import annotations

import sys
from collections import namedtuple
from pathlib import PurePosixPath

from ._confined.tree import Tree
from ._diagnosis.interpreter import LACKING
from ._mounting import options
from ._mounting.available import check_available
from ._paths.path import VeryTmpPath, derived
from .errors import VeryTmpUnavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from subprocess import CompletedProcess, Popen
    from typing import Any, Literal, NamedTuple, NoReturn, Self

    from _typeshed import StrPath

    from ._mounting.helper import HelperClient
    from ._mounting.refusals import LastRefusal
    from ._mounting.spec import MountSpec

    _Kind = Literal["tmpfs", "ramfs", "overlay", "shm"]

    _Remove = Callable[[], object] | None
    _Parts = tuple[Tree, _Kind, str, _Remove]  # its tree, its kind, how it was made, what removes it

    class Amounts(NamedTuple):
        total: int
        used: int
        free: int
else:
    Amounts = namedtuple("Amounts", "total used free")  # noqa: PYI024  # typing takes 5 ms to import


class VeryTmpUsage(Amounts):
    """The number of bytes in a root: *total*, *used* and *free*, as a tuple of these three.

    Attributes:
        inodes: a tuple of the same three numbers for files, directories and links.
    """

    inodes: Amounts

    def __new__(cls, total: int, used: int, free: int, inodes: tuple[int, int, int] = (0, 0, 0)) -> Self:
        usage = super().__new__(cls, total, used, free)
        usage.inodes = Amounts(*inodes)
        return usage

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (*self, tuple(self.inodes))


class VeryTmpRoot:
    """A private file system in memory that has no name, and that the kernel deletes with its last descriptor.

    The root directory is empty at first, on a tmpfs of its own, which is in no mount table. ``root / "name"`` is a path
    in it. The root is deleted when nothing refers to it any more: after `close` or the end of a ``with`` block, when
    the last path and the root object are garbage, and when the process ends, for whatever reason. Files that are still
    open can be used until they are closed.

    The options and their values are those of tmpfs(5) and mount(8):

    Args:
        size: the limit for the size of all files, in bytes, or as ``"64m"``, or as ``"10%"`` of the machine's memory;
            rounded up to whole pages. By default half of the memory; 0 is no limit. Writing more fails with ENOSPC.
        nr_inodes: the limit for the number of files, directories and links, including the root directory; also as
            ``"10k"``. By default half of the memory's pages; 0 is no limit.
        mode: the root directory's permissions. By default only its owner may use it: 0o700.
        noexec: do not allow programs to be started from it.
        nosymfollow: have the kernel follow no symlinks in it, for any program. `VeryTmpPath` follows them nevertheless,
            within the root. By default true; but in a root with a name, programs follow links by that name, unless true
            is given explicitly. If false (or before Linux 5.10; the property `nosymfollow` says which), a program that
            is given a path's string may follow an absolute link out of the root; paths still do not.
        huge: when to use huge pages: ``"never"``, ``"always"``, ``"within_size"``, ``"advise"``.
        nr_blocks: the same limit as *size*, in pages.
        uid: the root directory's owner. Only a process with CAP_SYS_ADMIN may choose another user than its own.
        gid: the root directory's group, likewise.
        mpol: the NUMA policy for its memory, such as ``"interleave"`` or ``"bind:0-3"``.
        inode64: whether inode numbers may need 64 bits; by default as the kernel was configured.
        noswap: never swap it out. This needs CAP_SYS_ADMIN and Linux 6.4.
        at: the root's name: an absolute path at which it is mounted in a new mount namespace, for the programs that
            `run` starts; or true for any name. In that namespace, the root hides what the host has at that path. A
            directory that does not exist is not created on the host.
        host: ``"ro"`` does not let the programs that `run` starts write outside the root; only for a root with a name.
        fstype: ``"ramfs"`` for a file system that is never swapped out, for ordinary users too. It cannot have limits,
            and has no extended attributes. By default ``"tmpfs"``.
        fallback: with ``"shm"``, make a directory in /dev/shm if the tmpfs is refused, and warn. Paths are confined
            there too, but less is promised (see the documentation). It cannot have limits: only the options *mode*,
            ``at=True``, *host* and *nosymfollow* are possible with it, and the kernel follows symlinks in it.
            ``"none"`` raises. By default the value of ``VERYTMP_FALLBACK`` in the environment, or ``"none"``.

    Raises:
        ValueError: the kernel refuses an option, with its message.
        TypeError: an option is of the wrong type.
        VeryTmpUnavailable: the kernel, or a security policy, refuses to make a private tmpfs.

    Warns:
        VeryTmpFallbackWarning: the root is a directory in /dev/shm; once for each cause.
    """

    __slots__ = ("__weakref__", "_how_made", "_kind", "_remove_fallback", "_tree")
    _kind: _Kind

    def __init__(
        self,
        *,
        size: int | str | None = None,
        nr_inodes: int | str | None = None,
        mode: int = 0o700,
        noexec: bool = False,
        nosymfollow: bool | None = None,
        huge: str | None = None,
        nr_blocks: int | str | None = None,
        uid: int | None = None,
        gid: int | None = None,
        mpol: str | None = None,
        inode64: bool | None = None,
        noswap: bool = False,
        at: StrPath | bool | None = None,
        host: str = "rw",
        fstype: str = "tmpfs",
        fallback: str | None = None,
    ) -> None:
        given = {
            "mode": mode,
            "size": size,
            "nr_blocks": nr_blocks,
            "nr_inodes": nr_inodes,
            "uid": uid,
            "gid": gid,
            "huge": huge,
            "mpol": mpol,
            "inode64": inode64,
            "noswap": noswap,
            "noexec": noexec,
            "nosymfollow": nosymfollow,
            "at": at,
            "host": host,
            "fstype": fstype,
            "fallback": fallback,
        }
        self._tree, self._kind, self._how_made, self._remove_fallback = create(given)

    @classmethod
    def _from_parts(cls, *parts: Any) -> Self:
        """A root that was made elsewhere, by a factory or in another process: of what `create` returns."""
        root = object.__new__(cls)
        root._tree, root._kind, root._how_made, root._remove_fallback = parts
        return root

    @property
    def path(self) -> VeryTmpPath:
        """The root directory."""
        return derived(self._tree, "")

    def joinpath(self, *pathsegments: StrPath) -> VeryTmpPath:
        """A path in it: ``root.joinpath("a", "b")`` is ``root / "a" / "b"``."""
        return self.path.joinpath(*pathsegments)

    def __truediv__(self, key: StrPath) -> VeryTmpPath:
        return self.path / key

    def __fspath__(self) -> str:
        """``/proc/<pid>/fd/<n>/<token>``, which every process of the same user can open while this root is open."""
        self._tree.check_open()
        return self._tree.drive()

    def __str__(self) -> str:
        return self._tree.drive()

    def __repr__(self) -> str:
        name = f", at {self._tree.at}" if self._tree.at else ""
        state = "closed" if self.closed else f"made {self._how_made}"
        return f"<{type(self).__name__} {self._tree.drive()}{name}, {state}>"

    def __reduce__(self) -> tuple[object, ...]:
        return unpickled, (type(self), self._tree, self._kind, self._how_made)

    def __copy__(self) -> NoReturn:
        raise TypeError(f"cannot copy a {type(self).__name__}: it owns a descriptor")

    def __deepcopy__(self, memo: object) -> NoReturn:
        self.__copy__()

    def __enter__(self) -> Self:
        self._tree.check_open()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def fileno(self) -> int:
        """The root directory's descriptor (`O_PATH`), for the ``dir_fd`` of os's functions. It stays the root's."""
        return self._tree.root_fd()

    @property
    def at(self) -> PurePosixPath:
        """The root directory, as programs that `run` starts see it. `ValueError` for a root without a name."""
        return PurePosixPath(self._tree.name(""))

    def run(self, args: object, **options: Any) -> CompletedProcess[Any]:
        """`subprocess.run`, with the program in the root's namespace, where the root is mounted at its name.

        The keywords and errors are those of `subprocess.run`. Paths of the root in *args*, *executable*, *cwd* and
        *env* are replaced by their names there. By default, *cwd* is the root; a relative *cwd* begins there.

        Args:
            unshare_pid: give the program its own PID namespace, so that everything it leaves running ends when it ends.

        Raises:
            ValueError: the root has no name, or is closed; or a path is of another root.
            OSError: the program cannot be started, as with `subprocess.run`.
        """
        from ._programs.run import run

        return run(self._tree, args, **options)

    def popen(self, args: object, **options: Any) -> Popen[Any]:
        """`subprocess.Popen`, with the program in the root's namespace: like `run`, without waiting for its end."""
        from ._programs.run import popen

        return popen(self._tree, args, **options)

    def wrap(self, args: object, **options: Any) -> tuple[list[str], tuple[int, ...]]:
        """The command that starts a program in the root's namespace, for asyncio and other ways to start processes.

        Returns the argument list to start, and the file descriptors to pass to it (*pass_fds*). They are the root's
        own, and stay open as long as it does. The program gets the environment that the caller starts it with.

        Args:
            executable, cwd, unshare_pid: as for `run`.
        """
        from ._programs.run import wrap

        return wrap(self._tree, args, **options)

    @property
    def kind(self) -> Literal["tmpfs", "ramfs", "overlay", "shm"]:
        """``"tmpfs"`` or ``"ramfs"``, ``"overlay"`` for a clone by overlayfs, ``"shm"`` for a directory in /dev/shm."""
        return self._kind

    @property
    def frozen(self) -> bool:
        """Whether it was frozen. `ValueError` for a closed root."""
        from . import _clone

        return self._kind != "shm" and _clone.is_frozen(self._tree)

    @property
    def nosymfollow(self) -> bool:
        """Whether the kernel follows no symlinks in it, as requested; before Linux 5.10 it cannot refuse them."""
        return self._tree.kernel_nosymfollow

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._tree.closed

    def close(self) -> None:
        """Close the root. Open files keep working; the kernel frees the rest after the last of them is closed.

        From now on, operations on its paths raise `ValueError`, including those in progress in other threads. Closing
        again does nothing.
        """
        self._tree.close()
        if self._remove_fallback:
            self._remove_fallback()

    def clear(self) -> None:
        """Remove everything in the root, which stays open and keeps its own permissions.

        Directories are removed whatever their permissions are. Files that another thread creates at the same time may
        stay, or be reported as ENOTEMPTY.

        Raises:
            ValueError: the root is closed.
            OSError: EACCES, if the root directory itself may not be written to. The error has the path.
        """
        from ._confined.removal import delete_contents

        self._tree.check_open()
        delete_contents(self._tree, "", override_permissions=True)

    def resize(
        self,
        *,
        size: int | str | None = None,
        nr_blocks: int | str | None = None,
        nr_inodes: int | str | None = None,
    ) -> None:
        """Change the root's limits, which are given as for `VeryTmpRoot`. Nothing else changes.

        For a clone, they limit what it changes. A root that was made without a limit (0) cannot get one later.

        Raises:
            ValueError: the kernel refuses it, with its message: the limit is lower than what is used. Or the root is
                closed, or a ramfs.
            OSError: EOPNOTSUPP for a directory in /dev/shm; EROFS for a read-only view; EPERM if another process made
                the root.
        """
        from . import _clone

        given = {"size": size, "nr_blocks": nr_blocks, "nr_inodes": nr_inodes}
        _clone.resize(self._tree, self._kind, given)

    def freeze(self) -> None:
        """Make everything in the root read-only for good, for all processes. Freezing again does nothing.

        `clone` then costs next to nothing. If freezing fails, the root stays as it was.

        Raises:
            OSError: EBUSY, if any process has a file open or mapped for writing, or has a removed file open.
                EOPNOTSUPP for a directory in /dev/shm; EPERM if another process made the root; ENOSYS before Linux 5.2.
            ValueError: the root is closed.
        """
        from . import _clone

        _clone.freeze(self._tree, self._kind)

    def clone(self, **options: Any) -> Self:
        """A new root with the contents of this one. Changing or closing one does not affect the other.

        If this root is frozen, the clone is an overlay (overlayfs, Linux 6.15), which only holds what is changed in it.
        Nothing is copied: a clone takes a few system calls, whatever the size. The memory of the frozen root is shared,
        and freed after the last clone. If that is not possible, or this root is not frozen, everything is copied;
        `repr` says which, and why. A clone can be frozen, and cloned again.

        Args:
            options: those of `VeryTmpRoot`, with its defaults; but *mode* is by default this root's, and of a root that
                is a directory in /dev/shm, the clone may be one too. Limits are the clone's own: in a clone by
                overlayfs, they limit what it changes.

        Raises:
            OSError: not everything can be copied; then there is no clone.
            ValueError, TypeError, VeryTmpUnavailable: as `VeryTmpRoot`.
        """
        from . import _clone

        self._tree.check_open()
        asked = DEFAULTS | known(options)
        if "mode" not in options:
            asked["mode"] = self._tree.stat("").st_mode & 0o7777
        if "fallback" not in options and self._kind == "shm":
            asked["fallback"] = "shm"
        found = _clone.clone(self._tree, self._kind, asked)
        if isinstance(found, str):
            return self._copy(asked, found)
        tree, how = found
        return self._from_parts(tree, "overlay", how, unmounted if tree.named else None)

    def _copy(self, asked: Mapping[str, object], reason: str) -> Self:
        """A clone by copying."""
        from ._paths.whole_copy import copy_directory

        tree, kind, how, remove = create(asked)
        made = self._from_parts(tree, kind, f"as a copy ({reason}), {how}", remove)
        try:
            copy_directory(self.path, made.path, made.path.stat().st_mode)
        except BaseException:
            made.close()
            raise
        return made

    def read_only(self) -> Self:
        """A second object for the same root that cannot write to it, for code that should only read.

        It has no name, and shows changes that are made through this one. Both keep the file system until closed.

        Raises:
            OSError: EINVAL before Linux 6.15; EOPNOTSUPP for a directory in /dev/shm; EPERM if another process made the
                root.
            ValueError: the root is closed.
        """
        from . import _clone

        tree, how = _clone.read_only(self._tree, self._kind)
        return self._from_parts(tree, self._kind, how, None)

    def usage(self) -> VeryTmpUsage:
        """The total, used and free bytes, like `shutil.disk_usage`; ``usage().inodes`` has the same for inodes.

        Without a limit, the numbers are 0. A new root uses one inode, for the root directory.
        """
        status = self._tree.statvfs()
        total, free = status.f_blocks * status.f_frsize, status.f_bfree * status.f_frsize
        inodes = inodes_used = 0
        if status.f_files:
            inodes = status.f_files - self._tree.inodes_above
            inodes_used = inodes - status.f_ffree
        available = status.f_bavail * status.f_frsize
        return VeryTmpUsage(total, total - free, available, (inodes, inodes_used, status.f_favail))


# The options, and what they are where nobody says anything.
DEFAULTS: dict[str, object] = VeryTmpRoot.__init__.__kwdefaults__ or {}


def known(options: dict[str, object]) -> dict[str, object]:
    for name in options:
        if name not in DEFAULTS:
            raise TypeError(f"{name!r} is not an option of VeryTmpRoot")
    return options


def create(
    asked: Mapping[str, object], helper: HelperClient | None = None, last_refusal: LastRefusal | None = None
) -> _Parts:
    """What a root with these options consists of.

    Args:
        asked: `VeryTmpRoot`'s options.
        helper: a factory's, which makes it where that is needed.
        last_refusal: how a factory's last root was refused.

    Raises what `VeryTmpRoot` raises.
    """
    spec, instead = options.validated(asked)
    try:
        if last_refusal is not None:
            last_refusal.check()
        try:
            tree, how = mount(spec, helper)
        except VeryTmpUnavailable as refused:
            if last_refusal is not None:
                last_refusal.note(refused)
            raise
    except VeryTmpUnavailable as refused:
        if instead == "none" or sys.platform != "linux" or LACKING:
            refused.remedy = " Or: ".join(filter(None, (options.passed_over(asked), refused.remedy)))
            raise
        from ._shm import directory

        if spec.host_read_only:
            check_landlock(refused)
        refused.__traceback__ = refused.__context__ = None  # they hold frames, and so what is made in them
        tree, remove = directory(refused, spec)
        return tree, "shm", "in /dev/shm", remove
    if instead == "shm":  # earlier ones may have been such directories
        from ._shm import remove_left

        remove_left()
    return tree, kind_of(spec), how, unmounted if tree.named else None


def kind_of(spec: MountSpec) -> _Kind:
    return "ramfs" if spec.fstype == "ramfs" else "tmpfs"


def unmounted() -> None:
    """After a root that has a name in the namespace that this process is in was closed: wait until the name is gone."""
    from ._mounting import strategy

    if strategy.entered_client is not None:
        strategy.entered_client.sync()


def check_landlock(refused: VeryTmpUnavailable) -> None:
    """Raise the refusal, with another one: that Landlock cannot keep programs from writing elsewhere either."""
    from ._programs.landlock import check

    try:
        check()
    except OSError as error:
        reason = f"{error.strerror}; before that, {refused.step}: {refused.reason}"
        remedy = f"Leave out host='ro'; or: {refused.remedy}"
        step = "landlock_create_ruleset"
        raise VeryTmpUnavailable(error.errno or 0, step, reason, remedy, "fallback", refused.evidence) from None


def mount(spec: MountSpec, helper: HelperClient | None = None) -> tuple[Tree, str]:
    """The tree of a new private tmpfs, and a few words on how it was made.

    Raises `ValueError` where the kernel refuses an option, `VeryTmpUnavailable` for anything else.
    """
    if helper is None:
        check_available()  # the factory has seen to it
    from ._mounting import refusals, strategy
    from ._paths import transfer  # noqa: F401  # pyright: ignore[reportUnusedImport]  # as long as it can be: chroot(2)

    mounted = strategy.mount(spec, helper)
    try:
        made = mounted.spec
        tree = Tree(mounted.fds, made.token, made.inodes_above, made.at)
    except OSError as error:  # the descriptor table is full
        raise refusals.explained([("fcntl(F_DUPFD)", error.errno or 0, error.strerror or "")]) from None
    tree.mounter = mounted.mounter
    return tree, mounted.how


def unpickled(kind: type[VeryTmpRoot], tree: Tree, root_kind: _Kind, how: str) -> VeryTmpRoot:
    """A root that another process has sent."""
    return kind._from_parts(tree, root_kind, how, None)
