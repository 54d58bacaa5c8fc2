"""A clone: a root that begins as a frozen one, and takes memory for what is changed alone.

Of one new tmpfs, with limits of its own:

    dev/null/<token>    where the overlay is mounted: the root directory
    upper               what is changed; if the clone is frozen, a layer of its clones
    work                overlayfs's own

Below *upper* lie the layers: the frozen root's directory, and where that is a clone too, what lies below it. So a clone
of a clone is no overlay of an overlay. All that is mounted is one detached tree, which Linux 6.15 can put together.
"""

from __future__ import annotations

import os

from .. import _syscalls
from . import tmpfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .protocol import CallLog
    from .spec import MountSpec

UPPER, WORK = "upper", "work"
COVERED = "covered"
# Those of the new tmpfs that are not the user's, besides the directories above the root: upper, work, what is in that,
# what overlayfs notes of the first one, and what is below the overlay.
INODES = 5
# What overlayfs makes and removes again when it is mounted, to see what the file system can: two files.
INODES_TRIED = 2

# Attributes of overlayfs's own, which are about the layer that has them.
OWN_ATTRIBUTES = ("trusted.overlay.", "user.overlay.")
PROBED = "trusted.overlay.verytmp"


def make_clone(spec: MountSpec, layers: Sequence[int], log: CallLog) -> tuple[list[int], str]:
    """Make a clone that nothing names.

    Args:
        spec: what it is to be like, with the root directory's name; its mode and owner are the clone's.
        layers: the directories that it begins as, the uppermost first.
        log: which hears of each call.

    Returns two descriptors, as `tmpfs.make_tmpfs` does, and the call that made the mounts. Raises `OSError`.
    """
    above, mounted, merged = mount_clone(spec, layers, log)
    os.close(merged)
    return [above, mounted], "fsopen"


def mount_clone(spec: MountSpec, layers: Sequence[int], log: CallLog) -> tuple[int, int, int]:
    """The same: the descriptors of the directory above the root, of the tmpfs's mount, and of the overlay's."""
    attributes = tmpfs.ALWAYS.union(spec.attributes)
    mounted = tmpfs.by_fsopen(list(spec.settings(INODES + INODES_TRIED)), attributes, log)
    owned = [mounted]
    try:
        log("mkdirat")
        for name in (UPPER, WORK):
            os.mkdir(name, 0o700, dir_fd=mounted)
        above = tmpfs.make_root(mounted, spec.replace(mode=0o700), log)
        owned.append(above)
        log("mkdirat")
        # rmdir(2) does not see what is mounted in another namespace: it would remove the root, whatever is in it.
        os.mkdir(f"{spec.token}/{COVERED}", 0, dir_fd=above)
        log("openat")
        upper = os.open(UPPER, os.O_RDONLY | os.O_DIRECTORY, dir_fd=mounted)
        owned.append(upper)
        work = os.open(WORK, os.O_PATH | os.O_DIRECTORY, dir_fd=mounted)
        owned.append(work)
        copy_root(layers[0], upper, spec, log)
        trusted = may_have_trusted(upper)
        settings: list[tuple[str, str | int | None]] = [("lowerdir+", layer) for layer in layers]
        settings += [("upperdir", upper), ("workdir", work)]
        # One device and lasting inode numbers for all that is in it; and without an index, which would forbid that a
        # frozen clone has clones while it is mounted itself.
        settings += [("xino", "on"), ("index", "off"), ("metacopy", "off") if trusted else ("userxattr", None)]
        settings += [("redirect_dir", "on")] if trusted else []
        merged = tmpfs.by_fsopen(settings, attributes, log, "overlay")
        owned.append(merged)
        log("move_mount(overlay)")
        _syscalls.move_mount(merged, spec.token, above)
        limit = [(key, value) for key, value in spec.settings(INODES) if key == "nr_inodes"]
        if limit:
            tmpfs.reconfigure(mounted, limit, log)
    except BaseException:
        for fd in owned:
            os.close(fd)
        raise
    os.close(upper)
    os.close(work)
    return above, mounted, merged


def may_have_trusted(directory: int) -> bool:
    """Whether overlayfs can keep what it has to remember where nobody but the administrator sees it.

    In a user namespace it cannot, and does not rename directories of a layer then.
    """
    try:
        os.setxattr(directory, PROBED, b"")
    except OSError:
        return False
    os.removexattr(directory, PROBED)
    return True


def copy_root(layer: int, upper: int, spec: MountSpec, log: CallLog) -> None:
    """Give the clone's root directory what the frozen one has: owner, attributes, times; and the mode asked for."""
    log("openat(overlay)")
    source = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=layer)
    try:
        status = os.fstat(source)
        log("fchown")
        if (spec.uid, spec.gid) != (None, None):
            os.fchown(upper, -1 if spec.uid is None else spec.uid, -1 if spec.gid is None else spec.gid)
        log("fsetxattr(overlay)")
        for name in os.listxattr(source):
            if not name.startswith(OWN_ATTRIBUTES):
                os.setxattr(upper, name, os.getxattr(source, name))
        log("fchmod")
        os.fchmod(upper, spec.mode)
        os.utime(upper, ns=(status.st_atime_ns, status.st_mtime_ns))
    finally:
        os.close(source)
