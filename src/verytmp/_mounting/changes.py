"""What is done to a root's mount later: other limits, read-only for good, a second mount, a clone.

It takes a process that may mount where the root was made: in the user namespace that owns the mount.
"""

from __future__ import annotations

import os

from .. import _syscalls
from . import overlay, tmpfs
from .protocol import CLONE, FREEZE, READ_ONLY, RESIZE, own_fds
from .spec import MountSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .protocol import CallLog, Request

    _Change = Callable[[Sequence[str], Sequence[int], CallLog], tuple[list[int], str]]


def perform(request: Request, log: CallLog) -> tuple[list[int], str]:
    """Make a change. Returns new descriptors, which are the caller's, and how it was made. Raises `OSError`."""
    return CALLS[request.operation](request.fields[1:], request.fds[: own_fds(request)], log)


def resize(fields: Sequence[str], fds: Sequence[int], log: CallLog) -> tuple[list[int], str]:
    """Give a mount other limits, as ``size=1m``."""
    tmpfs.reconfigure(fds[0], [(key, value) for key, _, value in (field.partition("=") for field in fields)], log)
    return [], "fspick"


def freeze(_: Sequence[str], fds: Sequence[int], log: CallLog) -> tuple[list[int], str]:
    """Make a mount's file system read-only, for everybody. EBUSY where a file in it is open to be written to.

    It gets the flag "sync" too, which has no effect where nobody can write. Each mount shows that flag of its file
    system; whether it is read-only, a mount that is so itself does not show. Of a clone, *fds* has the root directory's
    too: that of the overlay, which would pass for writable otherwise.
    """
    frozen: list[int] = []
    try:
        for fd in fds:
            tmpfs.reconfigure(fd, [("ro", None), ("sync", None)], log)
            frozen.append(fd)
    except OSError:
        for fd in frozen:
            tmpfs.reconfigure(fd, [("rw", None), ("async", None)], log)
        raise
    return [], "fspick"


def read_only(_: Sequence[str], fds: Sequence[int], log: CallLog) -> tuple[list[int], str]:
    """Mount a root's file system once more, read-only, with what is mounted in it.

    *fds* are the mount's, that of the directory above the root, and, of a root with a name, its mount namespace's:
    outside of it, its mount cannot be copied. Returns those of the directory above and of the new mount.
    """
    mounted, above, *namespaces = fds
    for namespace in namespaces:
        log("setns(CLONE_NEWNS)")
        _syscalls.setns(namespace, _syscalls.CLONE_NEWNS)
    log("open_tree")
    flags = _syscalls.OPEN_TREE_CLONE | _syscalls.AT_EMPTY_PATH | _syscalls.AT_RECURSIVE
    view = _syscalls.open_tree(mounted, "", flags)
    try:
        log("mount_setattr(MOUNT_ATTR_RDONLY)")
        flags = _syscalls.AT_EMPTY_PATH | _syscalls.AT_RECURSIVE
        _syscalls.mount_setattr(view, "", flags, _syscalls.MOUNT_ATTR_RDONLY)
        log("openat")  # a detached mount's own root is "/" to the kernel
        directory = os.readlink(f"/proc/self/fd/{above}").strip("/") or "."
        return [os.open(directory, os.O_PATH | os.O_DIRECTORY, dir_fd=view), view], "open_tree"
    except BaseException:
        os.close(view)
        raise


def clone(fields: Sequence[str], fds: Sequence[int], log: CallLog) -> tuple[list[int], str]:
    """Make a root that begins as a frozen one, whose layers *fds* are, the uppermost first."""
    return overlay.make_clone(MountSpec.decode(fields), fds, log)


CALLS: dict[str, _Change] = {RESIZE: resize, FREEZE: freeze, READ_ONLY: read_only, CLONE: clone}
