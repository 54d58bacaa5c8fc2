"""The privileged operations: a spec in, descriptors out.

They run where the process may mount: in the process itself, or in a child with namespaces of its own.
"""

from __future__ import annotations

import errno
import os

from .. import _syscalls
from .namespaces import retry_enospc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .protocol import CallLog
    from .spec import MountSpec

    _Settings = Sequence[tuple[str, str | int | None]]

# What is not the file system's but the mount's: fsmount(2)'s attribute and mount(2)'s flag.
ATTRIBUTES = {
    "nosuid": (_syscalls.MOUNT_ATTR_NOSUID, _syscalls.MS_NOSUID),
    "nodev": (_syscalls.MOUNT_ATTR_NODEV, _syscalls.MS_NODEV),
    "noexec": (_syscalls.MOUNT_ATTR_NOEXEC, _syscalls.MS_NOEXEC),
    "nosymfollow": (_syscalls.MOUNT_ATTR_NOSYMFOLLOW, _syscalls.MS_NOSYMFOLLOW),
}

# Any directory serves as a mount point but "/" (opening it gives the old root). /proc is there, or no map was written.
MOUNT_POINTS = ("/tmp", "/proc")


ALWAYS = frozenset(("nosuid", "nodev"))


def make_tmpfs(spec: MountSpec, log: CallLog, *, private: bool) -> tuple[list[int], str]:
    """Make a tmpfs that nothing names, with a root directory in it.

    Args:
        spec: what it is to be like. It has the name of the root directory.
        log: which hears of each call. When one is refused, it says which.
        private: whether the mount namespace is this process's own, so that mount(2) may be used in it too.

    Returns two descriptors, of the directory above the root (`O_PATH`) and of the mount, and the call that made the
    mount. fsopen(2)'s mount stays in a namespace for as long as its descriptor is open.

    Raises `OSError` with the kernel's words.
    """
    mounted, how = mount_tmpfs(list(spec.settings()), ALWAYS.union(spec.attributes), log, private, spec.fstype)
    try:
        return [make_root(mounted, spec, log), mounted], how
    except BaseException:
        os.close(mounted)
        raise


def mount_tmpfs(
    settings: _Settings, attributes: frozenset[str], log: CallLog, private: bool, fstype: str = "tmpfs"
) -> tuple[int, str]:
    """fsopen(2) first, for AppArmor's `deny mount` has no hook there; mount(2) where that is not to be had."""
    try:
        return by_fsopen(settings, attributes, log, fstype), "fsopen"
    except OSError as error:
        if not private or not is_unsupported(log.now, error.errno):
            raise
        log.refused(error)
    try:
        return by_mount(settings, attributes, log, fstype), "mount"
    except OSError as error:
        if "nosymfollow" not in attributes or log.refusals[-1][0] != "fsmount":
            raise
        log.refused(error)
    return by_fsopen(settings, attributes - {"nosymfollow"}, log, fstype), "fsopen"


def is_unsupported(step: str, number: int | None) -> bool:
    """Whether this failure says that the new mount API, or a flag of it, is not there; anything else is an answer."""
    if number in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        return False
    # EPERM from fsopen in namespaces of our own is a seccomp filter, which may know mount(2) alone. EINVAL from fsmount
    # is MOUNT_ATTR_NOSYMFOLLOW before Linux 5.14, and in gVisor.
    return step == "fsopen" or number == errno.ENOSYS or (step == "fsmount" and number == errno.EINVAL)


def by_fsopen(settings: _Settings, attributes: frozenset[str], log: CallLog, fstype: str = "tmpfs") -> int:
    """A detached mount: it has no parent, so ``..`` stops at its root, and it goes with its last descriptor.

    A setting whose value is a file descriptor is passed on as one.
    """
    return retry_enospc(lambda: fsopen_once(settings, attributes, log, fstype), "mnt")


def fsopen_once(settings: _Settings, attributes: frozenset[str], log: CallLog, fstype: str) -> int:
    """One attempt. A context whose fsmount(2) was refused is used up: that answers EBUSY from then on."""
    of = "" if fstype in ("tmpfs", "ramfs") else f"{fstype}, "  # in the names of its steps
    log(f"fsopen({fstype})" if of else "fsopen")
    context = _syscalls.fsopen(fstype)
    try:
        configure(context, settings, log, of)
        log(f"fsconfig({of}CMD_CREATE)")
        _syscalls.fsconfig(context, _syscalls.FSCONFIG_CMD_CREATE)
        log(f"fsmount({fstype})" if of else "fsmount")
        return _syscalls.fsmount(context, sum(ATTRIBUTES[name][0] for name in attributes))
    except OSError as error:
        error.strerror = "; ".join(read_context_log(context)) or error.strerror
        raise
    finally:
        os.close(context)


def reconfigure(mounted: int, settings: _Settings, log: CallLog) -> None:
    """Change options of a mount's file system. `OSError` with the kernel's words, and nothing has changed then."""
    log("fspick")
    context = _syscalls.fspick(mounted)
    try:
        configure(context, settings, log)
        log("fsconfig(CMD_RECONFIGURE)")
        _syscalls.fsconfig(context, _syscalls.FSCONFIG_CMD_RECONFIGURE)
    except OSError as error:
        error.strerror = "; ".join(read_context_log(context)) or error.strerror
        raise
    finally:
        os.close(context)


def configure(context: int, settings: _Settings, log: CallLog, of: str = "") -> None:
    """Set a file system context's options. None is a flag's value, and an int that of a descriptor."""
    for key, value in settings:
        log(f"fsconfig({of}{key})")
        if value is None:
            _syscalls.fsconfig(context, _syscalls.FSCONFIG_SET_FLAG, key)
        elif isinstance(value, int):
            _syscalls.fsconfig(context, _syscalls.FSCONFIG_SET_FD, key, aux=value)
        else:
            _syscalls.fsconfig(context, _syscalls.FSCONFIG_SET_STRING, key, value)


def by_mount(settings: _Settings, attributes: frozenset[str], log: CallLog, fstype: str = "tmpfs") -> int:
    """The same with mount(2). Until umount2(2) has detached it, ``..`` leads out: so that comes first of all."""
    log("mount(MS_PRIVATE)")  # or a namespace that needed no user namespace would show the mount in the old one
    _syscalls.mount(None, "/", None, _syscalls.MS_REC | _syscalls.MS_PRIVATE)
    target = next(path for path in MOUNT_POINTS if os.path.isdir(path))
    flags = sum(ATTRIBUTES[name][1] for name in attributes)
    log("mount")
    _syscalls.mount(fstype, target, fstype, flags, join_mount_data(settings))
    log("open")
    try:
        mounted = os.open(target, os.O_PATH | os.O_DIRECTORY)
    except OSError:
        _syscalls.umount2(target, _syscalls.MNT_DETACH)
        raise
    log("umount2")
    try:
        _syscalls.umount2(target, _syscalls.MNT_DETACH)
    except OSError:
        os.close(mounted)
        raise
    return mounted


def make_root(mounted: int, spec: MountSpec, log: CallLog) -> int:
    """Make the root directory with the mode and owner asked for, and those above it. The descriptor of the last one.

    That one is the owner's to write to as well: programs may remove the root and make it anew, as any directory.
    """
    parts = spec.directory.split("/")
    directories = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    log("mkdirat")
    for directory in (*directories, spec.name):
        os.mkdir(directory, 0o700, dir_fd=mounted)
    log("openat")
    above = os.open(spec.directory, os.O_PATH | os.O_DIRECTORY, dir_fd=mounted)
    try:
        if spec.uid is not None or spec.gid is not None:
            log("fchownat")
            for directory in (spec.name, spec.directory):
                os.chown(
                    directory,
                    -1 if spec.uid is None else spec.uid,
                    -1 if spec.gid is None else spec.gid,
                    dir_fd=mounted,
                )
        log("fchmodat")  # mkdirat obeys the umask, and fchownat clears bits
        os.chmod(spec.name, spec.mode, dir_fd=mounted)
        for directory in (*reversed(directories), "."):
            # Who looks for its working directory must find the way up, to learn that it has no name (ENOENT): Python
            # 3.13 does not start on EACCES. Nothing is made higher up by mistake.
            os.chmod(directory, 0o755 if directory == spec.directory else 0o555, dir_fd=mounted)
    except BaseException:
        os.close(above)
        raise
    return above


def read_context_log(context: int) -> list[str]:
    """What a filesystem context's log says of the call that just failed, without its ``e `` for "error"."""
    words: list[str] = []
    for _ in range(8):  # the log's length (fs/fs_context.c)
        try:
            line = os.read(context, 4096)
        except OSError:  # ENODATA: nothing more was said
            break
        words.append(line.decode("utf-8", "replace")[2:].strip())
    return list(dict.fromkeys(words))


def join_mount_data(settings: _Settings) -> str:
    """mount(2)'s data: one string. A comma in a value would start another option, but before a digit (mpol's lists)."""
    words = [key if value is None else f"{key}={value}" for key, value in settings]
    for word in words:
        if word.endswith("="):  # which mount(2) takes for no limit at all, and fsconfig(2) refuses
            raise OSError(errno.EINVAL, f"{word} has no value")
        if not all(rest[:1].isdigit() for rest in word.split(",")[1:]):
            raise OSError(errno.EINVAL, f"a comma in {word!r} starts another option in mount(2)")
    return ",".join(words)
