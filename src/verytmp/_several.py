"""Several tmpfs at once: each as `_mount.tmpfs` makes one, for less.

When a mount leaves its namespace, and a detached one has such a namespace of its own, the kernel waits until none of
its processors can still be looking at it: 60 us, and a millisecond where they are busy; as long as all the rest takes,
or longer. For a tree of mounts it waits once. So these are hung below one more mount, which then goes, and lets go of
what was below it: each is as detached then as one that was made alone.
"""

from __future__ import annotations

import errno
import os

from . import _linux, _mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_absent = False  # a detached mount takes no other below it before Linux 6.15


def tmpfs(count: int, options: Sequence[str], steps: _mount.Steps, *, private: bool) -> tuple[list[int], str]:
    """So many of them, or, where that is no saving, one. The rest is as `_mount.tmpfs` has it."""
    global _absent
    if count > 1 and not _absent:
        attempt = _mount.Steps()
        try:
            if roots := together(count, options, attempt):
                return roots, "fsopen"
        except OSError as error:
            _absent = attempt.now == "move_mount" and error.errno in (errno.EINVAL, errno.ENOSYS)
    return _mount.tmpfs(options, steps, private=private)


def together(count: int, options: Sequence[str], steps: _mount.Steps) -> list[int]:
    """Their roots; none if they could not be let go of."""
    settings, attributes = _mount.parted(options, steps)
    roots: list[int] = []
    try:
        above = _mount.by_fsopen([], {"nosuid", "nodev"}, steps)
        try:
            roots.extend(hung(above, str(number), settings, attributes, options, steps) for number in range(count))
        finally:
            os.close(above)
        steps("fstatat")
        # Another thread may have forked meanwhile. A copy of that descriptor keeps the tree together: ".." leads out.
        loose = detached(roots[-1])
    except BaseException:
        drop(roots)
        raise
    if not loose:
        drop(roots)
        return []
    return roots


def hung(
    above: int, name: str, settings: list[str], attributes: set[str], options: Sequence[str], steps: _mount.Steps
) -> int:
    """The root of a tmpfs that is mounted in another one."""
    mounted = _mount.by_fsopen(settings, attributes, steps)
    try:
        steps("move_mount")
        os.mkdir(name, dir_fd=above)
        _linux.move_mount(mounted, above, name)
        return _mount.nested_root(mounted, options, steps)
    finally:
        os.close(mounted)


def detached(root: int) -> bool:
    """Whether nothing is above the mount that a root is in."""
    top = "/".join([".."] * (_mount.ROOT.count("/") + 1))
    return os.path.samestat(os.stat(top, dir_fd=root), os.stat(f"{top}/..", dir_fd=root))


def drop(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
