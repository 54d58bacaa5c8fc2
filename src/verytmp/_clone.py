"""What becomes of a root after it was made: other limits, frozen, seen read-only, cloned.

The kernel does it, at the request of a process that may change the mount: `_mounting.changer`.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from posix import geteuid  # a test may have put another in os

from ._confined.owned_fd import KeptFds, call_owned, opened
from ._confined.procfs import self_fd
from ._confined.root_fds import LOST
from ._confined.tree import Tree
from ._mounting import changer, options, refusals
from ._mounting.overlay import INODES, UPPER
from ._mounting.protocol import FDS_MAX, Refused
from ._mounting.signals import Caller
from ._mounting.spec import with_inodes
from ._mounting.strategy import Mounter
from .errors import VeryTmpError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from typing import Any, NoReturn, TypeVar, TypeVarTuple

    from ._confined.owned_fd import OwnedFd
    from ._diagnosis.rules import Refusal
    from ._mounting.strategy import Mounted

    _T = TypeVar("_T")
    _Ts = TypeVarTuple("_Ts")

LAYERS_MAX = 128  # what is looked for in so many layers takes 0.3 ms; and FDS_MAX descriptors travel at once
assert LAYERS_MAX < FDS_MAX

# What the kernel answers to a step with the overlay where it has none that will do, whatever is asked of it.
ABSENT = (errno.ENOSYS, errno.ENODEV, errno.EOPNOTSUPP)
NEWER = ("fsconfig(overlay, lowerdir+)", "move_mount(overlay)")
OLDER_ANSWERS = (errno.EINVAL, errno.EBADF)  # to these; EBADF: Linux 6.5 to 6.12 take no `O_PATH` descriptor

FROZEN = os.ST_RDONLY | os.ST_SYNCHRONOUS  # as `changes.freeze` makes it

FULL = (errno.EMFILE, errno.ENFILE)  # no reason to copy, for that takes descriptors too

IN_SHM = "a directory in /dev/shm cannot be {}: that needs a private tmpfs"
BUSY = "a file in the root is open to be written to, or mapped, or was removed and is still open; close it first"
ELSEWHERE = (
    "this process may not change the root, which was made in a user namespace that it is not in: another process has "
    "made it, or this one has become another user, or has called verytmp.enter() since"
)
FILTERED = (
    "allow fspick, open_tree, move_mount, mount_setattr and setns, if it is the seccomp filter that refuses this; or "
)
OLDER = "a mount that nothing names cannot be mounted once more, before Linux 6.15"


def resize(tree: Tree, kind: str, given: Mapping[str, object]) -> None:
    """Change a root's limits. `ValueError` with the kernel's words, or an `OSError`."""
    tree.check_open()
    if tree.read_only:
        raise VeryTmpError(errno.EROFS, "a read-only view cannot be resized: resize the root that it shows")
    limits = options.make_spec(given).options
    if not limits:
        raise TypeError("resize() takes size=, nr_blocks= or nr_inodes=")
    if kind == "ramfs":
        raise ValueError(f"{', '.join(key for key, _ in limits)}: a ramfs has no limits")
    settings = [(key, with_inodes(key, value, tree.inodes_above) or "") for key, value in limits]
    with fds_of(tree, kind, "resized") as (_, mounted, *_):
        _, refused = asked_for(changer.resize, mounted, settings, mounter_of(tree))
    for step, number, text in refused[-1:]:
        if number == errno.EINVAL and step.startswith("fsconfig("):
            asked = ", ".join(f"{key}={value}" for key, value in limits)
            raise ValueError(f"{text} (asked for: {asked})")
        raise_refused(refused, "the root's limits were not changed")


def freeze(tree: Tree, kind: str) -> None:
    """Make a root read-only for good. An `OSError` where it is not."""
    tree.check_open()
    if is_frozen(tree):
        return
    if tree.read_only:
        raise VeryTmpError(errno.EROFS, "a read-only view cannot be frozen: freeze the root that it shows")
    with fds_of(tree, kind, "frozen") as (_, mounted, *_):
        if kind == "overlay":
            with tree.open("", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW) as merged:
                _, refused = asked_for(changer.freeze, [mounted, merged.fileno()], mounter_of(tree))
        else:
            _, refused = asked_for(changer.freeze, [mounted], mounter_of(tree))
    for _, number, _ in refused[-1:]:
        if number == errno.EBUSY:
            raise VeryTmpError(errno.EBUSY, f"the root is not frozen: {BUSY}")
        raise_refused(refused, "the root is not frozen")


def is_frozen(tree: Tree) -> bool:
    """Whether nobody can write to a root's file system any more. A view's mount alone is no sign of that."""
    return tree.statvfs().f_flag & FROZEN == FROZEN


def read_only(tree: Tree, kind: str) -> tuple[Tree, str]:
    """The same root once more, which cannot be written to; and how it was made. An `OSError` where that cannot be."""
    tree.check_open()
    with fds_of(tree, kind, "mounted once more") as (above, mounted, *others):
        namespaces = () if tree.named else others
        made, refused = asked_for(changer.read_only, mounted, above, namespaces, mounter_of(tree))
        if made is None:
            if refused[-1][:2] == ("open_tree", errno.EINVAL):
                raise VeryTmpError(errno.EINVAL, f"there is no read-only view: {OLDER}")
            raise_refused(refused, "there is no read-only view")
        reply, how = made
        kept = [call_owned(os.dup, fd) for fd in namespaces]  # where the view itself could be mounted once more
        view = Tree((*reply.fds[:2], *kept), tree.token, tree.inodes_above, read_only=True)
    view.mounter, view.lower = tree.mounter, tree.lower
    return view, f"as a read-only view, {how}"


def clone(tree: Tree, kind: str, asked: dict[str, object]) -> tuple[Tree, str] | str:
    """A clone by overlayfs, and how it was made; or why it has to be a copy.

    Args:
        tree: the root that it begins as.
        kind: what that is.
        asked: all options of the clone.

    Raises what a new root's options do.
    """
    reason = why_copied(tree, kind, asked)
    if reason:
        return reason
    spec, _ = options.validated(asked)
    status = tree.stat("")
    if geteuid() == 0:
        spec = spec.replace(
            uid=status.st_uid if spec.uid is None else spec.uid, gid=status.st_gid if spec.gid is None else spec.gid
        )
    layers: tuple[Layer, ...] = ()
    directories: list[OwnedFd] = []
    try:
        layers = layers_of(tree)
        if len(layers) > LAYERS_MAX:
            return f"there are more than {LAYERS_MAX} layers"
        directories.extend(map(Layer.opened, layers))  # where one fails, those before it are in the list
        mounted, refused = asked_for(changer.clone, spec, [each.fileno() for each in directories], mounter_of(tree))
        if mounted is not None:
            return cloned(mounted, layers), f"as {mounted.how}"
    except OSError as error:
        if error.errno not in FULL:
            raise
        refused = [("dup", error.errno, os.strerror(error.errno))]
    finally:
        for each in directories:
            each.close()
        layers = ()  # an error's traceback keeps this frame
    if refused[-1][1] in FULL:
        raise refusals.explained(refused, spec)
    if "overlay" not in refused[-1][0]:
        raise_option(refusals.explained(refused, spec))
    return refusal(refused)


def raise_option(error: Exception) -> None:
    """Raise it if it is about an option, or the name: then a copy would be refused too."""
    try:
        if not isinstance(error, VeryTmpError):
            raise error
    finally:
        del error  # its traceback refers to this frame: that must be no reference cycle


def cloned(mounted: Mounted, layers: tuple[Layer, ...]) -> Tree:
    made = mounted.spec
    tree = Tree(mounted.fds, made.token, made.inodes_above + INODES, made.at)
    tree.mounter = mounted.mounter
    tree.lower = layers
    return tree


absent = ""  # why this kernel makes no clone by overlayfs, once that was seen


def why_copied(tree: Tree, kind: str, asked: Mapping[str, object]) -> str:
    """Why a clone has to be a copy, as far as can be told before it is tried; empty if it need not."""
    if kind == "shm":
        return "it is a directory in /dev/shm"
    if not is_frozen(tree):
        return "it is not frozen"
    if kind == "overlay" and not tree.lower:
        return "another process has the layers that it is a clone of"
    if asked["fstype"] != "tmpfs":
        return f"a {asked['fstype']} has no extended attributes, which overlayfs needs"
    return absent


def refusal(refused: Sequence[Refusal]) -> str:
    """Why there is no clone by overlayfs. It is noted if there will never be one."""
    global absent
    step, number, text = refused[-1]
    why = f"{step}: {text}"
    if "overlay" in step and (number in ABSENT or (number in OLDER_ANSWERS and step in NEWER)):
        absent = why
    return why


class Layer:
    """What a frozen root has of its own, below those of its clones, which share this object.

    A layer has to be in a mount that is in a namespace, as it is for as long as a descriptor of the mount is open. That
    is not the root's own descriptor: the root may be closed before its clones are.
    """

    __slots__ = ("_directory", "_mount")

    def __init__(self, tree: Tree) -> None:
        # A detached mount's own root is "/" to the kernel.
        self._directory = UPPER if tree.lower else f"{os.readlink(self_fd(tree.fd)).strip('/')}/{tree.token}"
        self._mount = KeptFds(call_owned(os.dup, tree.filenos[1]))

    def opened(self) -> OwnedFd:
        """Its directory. `OSError` if a program has closed all descriptors, or the root directory was removed."""
        if not self._mount.are_ours():
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return opened(self._directory, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, self._mount.fileno())


def layers_of(tree: Tree) -> tuple[Layer, ...]:
    """The layers of a frozen root's clones, the uppermost first: made once, and shared by all of them."""
    found: Any = tree.layers
    if found is None:
        lower: Any = tree.lower or ()
        try:
            found = tree.layers = (Layer(tree), *lower)
        except OSError:
            tree.check_open()  # it was closed meanwhile
            raise
        if not tree.kept_fds().are_ours():  # it was closed meanwhile: what is found may be another root's
            tree.layers = None
            raise_closed(tree)
    layers: tuple[Layer, ...] = found
    return layers


@contextmanager
def fds_of(tree: Tree, kind: str, what: str) -> Generator[tuple[int, ...]]:
    """Duplicates of a root's descriptors: another thread may close it meanwhile, and get its numbers for another root.

    `VeryTmpError` where it has no mount that could be changed.
    """
    if kind == "shm":
        raise VeryTmpError(errno.EOPNOTSUPP, IN_SHM.format(what))
    try:
        duplicates = tree.duplicates()
    except OSError as error:
        raise VeryTmpError(error.errno or 0, f"the root is not {what}: dup: {error.strerror}") from None
    try:
        yield tuple(each.fileno() for each in duplicates)
    finally:
        for each in duplicates:
            each.close()


def raise_closed(tree: Tree) -> NoReturn:
    """`ValueError` for a closed root; or `VeryTmpError`: a program has closed its descriptors, and may have others."""
    tree.check_open()
    raise VeryTmpError(errno.EBADF, LOST)


def mounter_of(tree: Tree) -> Mounter:
    """Who can change a root. One that another process has sent comes without."""
    mounter: Mounter | None = tree.mounter  # type: ignore[assignment]  # a class that _confined does not know
    return mounter or Mounter()


def asked_for(call: Callable[[*_Ts], _T], *args: *_Ts) -> tuple[_T | None, Sequence[Refusal]]:
    """What a call returns, or None and the refusals.

    An error that is raised in an ``except`` block would keep the frames of all who were asked, with the user namespace.
    """
    try:
        return call(*args), ()
    except Refused as refused:
        return None, refused.refusals


def raise_refused(refused: Sequence[Refusal], what: str) -> NoReturn:
    """Raise what could not be done, and why."""
    step, number, text = refused[-1]
    why = f" ({FILTERED if Caller().filtered else ''}{ELSEWHERE})" if number == errno.EPERM else ""
    raise VeryTmpError(number, f"{what}: {step}: {text}{why}")
