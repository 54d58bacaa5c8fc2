"""What a child tries in its own person, to learn what is allowed here; it may end it."""

from __future__ import annotations

import errno
import os

from .. import _syscalls
from . import tmpfs
from .namespaces import enter_namespaces
from .protocol import CallLog
from .spec import MountSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .._diagnosis.rules import Refusal

NAMESPACES, FEATURES = "namespaces", "features"
NOSYMFOLLOW = frozenset({"nosymfollow"})


def try_namespaces(log: CallLog) -> list[Refusal]:
    """What unshare(2) answers to each of several questions, and what AppArmor has made of this process then."""
    found = [
        log.outcome(name, _syscalls.unshare, flags)
        for name, flags in (
            ("unshare(0)", 0),
            ("unshare(CLONE_NEWUSER|1)", _syscalls.CLONE_NEWUSER | 1),
            ("unshare(CLONE_NEWUSER)", _syscalls.CLONE_NEWUSER),
        )
    ]
    try:
        with open("/proc/self/attr/current", "rb", 0) as file:
            found.append(("label after that", 0, file.read(4096).decode("utf-8", "replace")))
    except OSError:  # no security module has labels here
        pass
    return found


def try_features(log: CallLog) -> list[Refusal]:
    """What this kernel answers to each thing that a root is made with, alone, on mounts that go at once."""
    enter_namespaces(log)
    return try_each_feature(log)


def try_each_feature(log: CallLog) -> list[Refusal]:
    """The same, in namespaces where this process may mount."""
    quiet = CallLog()  # the name of what is tried says more than that of the call in it

    def options(*settings: tuple[str, str | None]) -> Callable[[], None]:
        return lambda: os.close(tmpfs.mount_tmpfs(settings, frozenset(), quiet, private=True)[0])

    def by_the_old_call() -> None:
        mounted = tmpfs.by_mount([], NOSYMFOLLOW, quiet)
        flags = os.statvfs(mounted).f_flag
        os.close(mounted)
        if not flags & _syscalls.ST_NOSYMFOLLOW:
            raise OSError(errno.ENOSYS, "the flag is ignored")

    def with_a_file(call: Callable[[int], object]) -> Callable[[], None]:
        def try_it() -> None:
            mounted, _ = tmpfs.mount_tmpfs([], frozenset(), quiet, private=True)
            file = os.open("f", os.O_CREAT | os.O_RDWR, dir_fd=mounted)
            os.close(mounted)
            try:
                os.write(file, b"f")
                call(file)
            finally:
                os.close(file)

        return try_it

    def pidfd() -> None:
        if not hasattr(os, "pidfd_open"):
            raise OSError(errno.ENOSYS, "this Python was built without it")
        os.close(os.pidfd_open(os.getpid()))

    def on_a_mount(call: Callable[[int], object]) -> Callable[[], None]:
        def try_it() -> None:
            mounted, _ = tmpfs.mount_tmpfs([], frozenset(), quiet, private=True)
            try:
                call(mounted)
            finally:
                os.close(mounted)

        return try_it

    def clone(mounted: int) -> None:
        from . import overlay

        spec = MountSpec(directory="dev", token="verytmp")
        os.close(tmpfs.make_root(mounted, spec, quiet))
        layer = os.open(spec.name, os.O_PATH | os.O_DIRECTORY, dir_fd=mounted)
        try:
            for fd in overlay.make_clone(spec, [layer], quiet)[0]:
                os.close(fd)
        finally:
            os.close(layer)

    def freeze(mounted: int) -> None:
        changes.freeze([], [mounted], quiet)

    def view(mounted: int) -> None:
        for fd in changes.read_only([], [mounted, mounted], quiet)[0]:
            os.close(fd)

    def name() -> None:
        _syscalls.mount(None, "/", None, _syscalls.MS_REC | _syscalls.MS_PRIVATE)
        # With all that is below it: an ordinary user may not look under the host's mounts.
        copy = _syscalls.open_tree(_syscalls.AT_FDCWD, "/", _syscalls.OPEN_TREE_CLONE | _syscalls.AT_RECURSIVE)
        target = next(path for path in tmpfs.MOUNT_POINTS if os.path.isdir(path))
        try:
            _syscalls.move_mount(copy, target)
            _syscalls.umount2(target, _syscalls.MNT_DETACH)
        finally:
            os.close(copy)

    def protect(mounted: int) -> None:
        _syscalls.mount_setattr(mounted, "", _syscalls.AT_EMPTY_PATH, _syscalls.MOUNT_ATTR_RDONLY)

    from . import changes

    tried: dict[str, Callable[[], object]] = {
        "fsopen": lambda: os.close(tmpfs.by_fsopen([], frozenset(), quiet)),
        "MOUNT_ATTR_NOSYMFOLLOW": lambda: os.close(tmpfs.by_fsopen([], NOSYMFOLLOW, quiet)),
        "mount": lambda: os.close(tmpfs.by_mount([], frozenset(), quiet)),
        "MS_NOSYMFOLLOW": by_the_old_call,
        "pidfd_open": pidfd,
        "copy_file_range": with_a_file(lambda file: os.copy_file_range(file, file, 1, 0, 1)),
        "user.* attributes": with_a_file(lambda file: os.setxattr(file, "user.f", b"")),
        "huge": options(("huge", "within_size")),
        "inode64": options(("inode64", None)),
        "noswap": options(("noswap", None)),
        "ramfs": lambda: os.close(tmpfs.by_fsopen([], frozenset(), quiet, "ramfs")),
        "freeze, resize": on_a_mount(freeze),
        "read_only": on_a_mount(view),
        "at=": name,
        "host='ro'": on_a_mount(protect),
        "clone": on_a_mount(clone),
        # Last: nothing can be mounted from there.
        "user namespaces": lambda: _syscalls.unshare(_syscalls.CLONE_NEWUSER),
    }
    return [log.outcome(name, call) for name, call in tried.items()]


PROBES = {NAMESPACES: try_namespaces, FEATURES: try_features}
