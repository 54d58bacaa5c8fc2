"""A root with a name: a mount namespace of its own, in which the root is mounted at a directory.

All else in that namespace is the host's tree. A directory that is there is mounted over. For one that is not, a private
``/`` is built, which has all that the host's has, and that directory. Nothing of this can be seen from outside.

The root is mounted twice: at its name, for programs; and detached, without symlinks to follow, for paths. The second is
what a root without a name consists of too.
"""

from __future__ import annotations

import errno
import os
from stat import S_ISDIR, S_ISLNK, S_ISREG

from .. import _syscalls
from . import tmpfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .protocol import CallLog
    from .spec import MountSpec

NAMESPACE = "/proc/thread-self/ns/mnt"

DIRECTORY = "/verytmp"  # in which roots are mounted that are to have a name, whichever that is
SOCKET = f"{DIRECTORY}/.helper"  # in a namespace that was entered: to the helper

NO_PARENT = (
    "it is not there, and neither is the directory that it would be in: make that, or take a name right below / "
    "(as /work), which needs no directory"
)


def make_named(spec: MountSpec, layers: Sequence[int], log: CallLog) -> tuple[list[int], str]:
    """Make a root that is mounted by name, in the mount namespace of this process, which must be its own.

    It is a tmpfs; or a clone, if there are *layers* that it begins as.

    Returns three descriptors: of the directory above the root (`O_PATH`), of the detached mount that it is in, and of
    the mount namespace; and the call that made the mount. The namespace and all that is mounted in it last as long as
    the third one, or as a process that is in it. Raises `OSError`; *log* then says at which call.
    """
    cut_off(spec.host_read_only, log)
    make_directory(spec.at, log)
    if spec.host_read_only:
        log("mount_setattr(MOUNT_ATTR_RDONLY)")
        _syscalls.mount_setattr(_syscalls.AT_FDCWD, "/", _syscalls.AT_RECURSIVE, _syscalls.MOUNT_ATTR_RDONLY)
    return mount_named(spec, layers, log)


def mount_named(spec: MountSpec, layers: Sequence[int], log: CallLog) -> tuple[list[int], str]:
    """As `make_named`, at a directory that is there, in a namespace that is ready."""
    if layers:
        return mount_named_clone(spec, layers, log)
    attributes = tmpfs.ALWAYS.union(spec.attributes)
    at = spec.at
    descriptors: list[int] = []
    mounted = tmpfs.by_fsopen(list(spec.settings()), attributes - {"nosymfollow"}, log, spec.fstype)
    try:
        os.close(tmpfs.make_root(mounted, spec, log))
        # Only what is in a namespace can be copied (before Linux 6.15): it is where its part will be.
        log("move_mount")
        _syscalls.move_mount(mounted, at)
        if spec.name_nosymfollow:
            forbid_links(mounted, at, attributes, log)
        log("open_tree")
        descriptors.append(_syscalls.open_tree(mounted, spec.name, _syscalls.OPEN_TREE_CLONE))
        if "nosymfollow" in attributes:
            forbid_links(mounted, at, attributes, log)
        log("open_tree")
        flags = _syscalls.OPEN_TREE_CLONE | _syscalls.AT_EMPTY_PATH
        descriptors.append(_syscalls.open_tree(mounted, "", flags))
        log("umount2")
        _syscalls.umount2(at, _syscalls.MNT_DETACH)
        named, detached = descriptors
        log("move_mount")
        _syscalls.move_mount(named, at)
        log("openat")
        above = os.open(spec.directory, os.O_PATH | os.O_DIRECTORY, dir_fd=detached)
        descriptors.append(above)
        log(NAMESPACE)
        namespace = os.open(NAMESPACE, os.O_RDONLY)
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        raise
    finally:
        os.close(mounted)
    os.close(named)
    return [above, detached, namespace], "fsopen"


def mount_named_clone(spec: MountSpec, layers: Sequence[int], log: CallLog) -> tuple[list[int], str]:
    """As `mount_named`, of a clone: the overlay is mounted by the name once more, and links are followed there."""
    from . import overlay

    above, mounted, merged = overlay.mount_clone(spec, layers, log)
    descriptors = [above, mounted]
    try:
        log("open_tree")
        merged_by_name = _syscalls.open_tree(merged, "", _syscalls.OPEN_TREE_CLONE | _syscalls.AT_EMPTY_PATH)
        try:
            if not spec.name_nosymfollow:
                log("mount_setattr")
                flags = _syscalls.MOUNT_ATTR_NOSYMFOLLOW
                _syscalls.mount_setattr(merged_by_name, "", _syscalls.AT_EMPTY_PATH, 0, flags)
            log("move_mount")
            _syscalls.move_mount(merged_by_name, spec.at)
        finally:
            os.close(merged_by_name)
        log(NAMESPACE)
        descriptors.append(os.open(NAMESPACE, os.O_RDONLY))
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        raise
    finally:
        os.close(merged)
    return descriptors, "fsopen"


def cut_off(read_only: bool, log: CallLog) -> None:
    """Let no mount of this namespace be seen in another one. What the host unmounts goes here too.

    Unless the host's tree is *read_only* here: what is mounted on the host later would come with write access.
    """
    log("mount(MS_SLAVE)")
    kind = _syscalls.MS_PRIVATE if read_only else _syscalls.MS_SLAVE
    _syscalls.mount(None, "/", None, _syscalls.MS_REC | kind)


def make_directory(at: str, log: CallLog) -> None:
    """See that there is a directory to mount the root at. `OSError` of the step "at" where that cannot be."""
    log("at")
    try:
        status = os.stat(at)
    except FileNotFoundError:
        if not may_be_made(at):
            raise OSError(errno.ENOENT, NO_PARENT) from None
        private_root(at, log)
        protect_root(log)
    else:
        if not S_ISDIR(status.st_mode):
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))


def may_be_made(at: str) -> bool:
    """Whether a private ``/`` can have this directory, which is not there: nothing of the host's is above it."""
    top = "/" + at.split("/")[1]
    return top == DIRECTORY or not os.path.lexists(top)


def entries() -> Iterator[str]:
    """What a private ``/`` has of the one that is there: its entries, and those of `DIRECTORY`."""
    for name in os.listdir("/"):
        if name == DIRECTORY[1:] and os.path.isdir(DIRECTORY):  # of the namespace that this one is made in
            yield from (f"{name}/{each}" for each in os.listdir(DIRECTORY))
        else:
            yield name


def private_root(at: str, log: CallLog) -> None:
    """Give this namespace a ``/`` of its own: a small tmpfs, with what the host's has, and the directory *at*.

    Symlinks are made again; directories and files are mounted, with all that is mounted below them. What else may lie
    in a ``/`` (sockets, devices) is left out.
    """
    settings = (
        ("size", "256k"),
        ("mode", "755"),
    )  # entries take no blocks, but for long symlinks; directories take inodes
    new = tmpfs.by_fsopen(settings, tmpfs.ALWAYS, log)
    copies: dict[str, int] = {}
    try:
        log("mkdirat")
        os.mkdir(DIRECTORY[1:], 0o755, dir_fd=new)
        for name in entries():
            mode = os.lstat(f"/{name}").st_mode
            if S_ISLNK(mode):
                log("symlinkat")
                os.symlink(os.readlink(f"/{name}"), name, dir_fd=new)
                continue
            if S_ISDIR(mode):
                log("mkdirat")
                os.mkdir(name, 0o755, dir_fd=new)
            elif S_ISREG(mode):
                log("openat")
                os.close(os.open(name, os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=new))
            else:
                continue
            log("open_tree")
            flags = _syscalls.OPEN_TREE_CLONE | _syscalls.AT_RECURSIVE
            copies[name] = _syscalls.open_tree(_syscalls.AT_FDCWD, f"/{name}", flags)
        log("mkdirat")
        os.makedirs(f"/proc/self/fd/{new}{at}", 0o755, exist_ok=True)
        log("move_mount")
        _syscalls.move_mount(new, next(path for path in tmpfs.MOUNT_POINTS if os.path.isdir(path)))
        os.fchdir(new)
        for name, copy in copies.items():
            _syscalls.move_mount(copy, name)
        log("pivot_root")
        _syscalls.pivot_root(".", ".")
        log("umount2")
        _syscalls.umount2(".", _syscalls.MNT_DETACH)
        os.chdir("/")
    finally:
        for copy in copies.values():
            os.close(copy)
        os.close(new)


def protect_root(log: CallLog) -> None:
    """Have nobody write to a private ``/`` any more."""
    log("mount(MS_REMOUNT)")
    flags = _syscalls.MS_RDONLY | _syscalls.MS_NOSUID | _syscalls.MS_NODEV
    _syscalls.mount(None, "/", None, _syscalls.MS_REMOUNT | _syscalls.MS_BIND | flags)


def kept_writable(log: CallLog) -> int:
    """A private ``/`` once more, detached: a descriptor that can be written to, also when the other is protected.

    Asked for first, for it could not be made so again before Linux 5.12.
    """
    log("open_tree")
    return _syscalls.open_tree(_syscalls.AT_FDCWD, "/", _syscalls.OPEN_TREE_CLONE)


def forbid_links(mounted: int, at: str, attributes: frozenset[str], log: CallLog) -> None:
    """Have the kernel follow no symlink in a mount, where it can: from Linux 5.14 on; by the old call from 5.10 on.

    Args:
        mounted: the mount.
        at: where it is attached.
        attributes: all that it is to have, for the old call sets those that it is not told of back.
        log: which hears of each call.
    """
    log("mount_setattr(MOUNT_ATTR_NOSYMFOLLOW)")
    try:
        _syscalls.mount_setattr(mounted, "", _syscalls.AT_EMPTY_PATH, _syscalls.MOUNT_ATTR_NOSYMFOLLOW)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EINVAL):
            raise
        log.refused(error)
        log("mount(MS_REMOUNT)")
        flags = sum(tmpfs.ATTRIBUTES[name][1] for name in attributes | {"nosymfollow"})
        _syscalls.mount(None, at, None, _syscalls.MS_REMOUNT | _syscalls.MS_BIND | flags)
