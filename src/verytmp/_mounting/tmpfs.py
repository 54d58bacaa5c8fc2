"""The privileged operations: mount options in, descriptors out.

They run where the process may mount: in the process itself, or in a child with namespaces of its own (`_child`). The
options are mount(8)'s own: ``"size=64m"``, ``"noexec"``; and one besides, ``"name=dev/null/x7k2m9qa"``, for where the
root directory is to lie in the mount.
"""

from __future__ import annotations

import errno
import os
import time
from io import FileIO

from .. import _syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    from .protocol import Refusal

    _T = TypeVar("_T")

# Freed user and mount namespaces come back 18-32 ms after the last descriptor closes (measured, Linux 6.18).
NAMESPACE_PATIENCE = 0.2  # seconds
NAMESPACE_PAUSE = 0.005

# What is not the file system's but the mount's: fsmount(2)'s attribute and mount(2)'s flag.
ATTRIBUTES = {
    "nosuid": (_syscalls.MOUNT_ATTR_NOSUID, _syscalls.MS_NOSUID),
    "nodev": (_syscalls.MOUNT_ATTR_NODEV, _syscalls.MS_NODEV),
    "noexec": (_syscalls.MOUNT_ATTR_NOEXEC, _syscalls.MS_NOEXEC),
    "nosymfollow": (_syscalls.MOUNT_ATTR_NOSYMFOLLOW, _syscalls.MS_NOSYMFOLLOW),
}

# Any directory serves as a mount point but "/" (opening it gives the old root). /proc is there, or no map was written.
MOUNT_POINTS = ("/tmp", "/proc")


class Steps:
    """The call that is being made, and those that were refused on the way to it."""

    __slots__ = ("now", "refusals")

    def __init__(self) -> None:
        self.now = ""
        self.refusals: list[Refusal] = []

    def __call__(self, step: str) -> None:
        self.now = step

    def refused(self, error: OSError) -> list[Refusal]:
        number = error.errno or 0
        self.refusals.append((self.now, number, error.strerror or os.strerror(number)))
        return self.refusals

    def outcome(self, step: str, call: Callable[..., object], *args: object) -> Refusal:
        """Try something: its name, and 0 or how it was refused."""
        self(step)
        try:
            call(*args)
        except OSError as error:
            return step, error.errno or 0, error.strerror or ""
        return step, 0, ""


def tmpfs(options: Sequence[str], steps: Steps, *, private: bool) -> tuple[list[int], str]:
    """Make a tmpfs that nothing names.

    Returns two descriptors, of the directory above the root (`O_PATH`) and of the mount, and the call that made the
    mount. fsopen(2)'s mount stays in a namespace for as long as its descriptor is open.

    *private* says that the mount namespace is this process's own, so that mount(2) may be used in it too. Raises
    `OSError` with the kernel's words; *steps* then says at which call.
    """
    settings, attributes = parted(options, steps)
    mounted, how = mount_tmpfs(settings, attributes, steps, private)
    try:
        return [make_root(mounted, options, steps), mounted], how
    except BaseException:
        os.close(mounted)
        raise


OPERATIONS = {"tmpfs": tmpfs}


def parted(options: Sequence[str], steps: Steps) -> tuple[list[str], set[str]]:
    """What is the file system's, and what is the mount's. (Name and mode are the root directory's.)"""
    attributes = {"nosuid", "nodev"}.union(option for option in options if option in ATTRIBUTES)
    steps("options")
    return [
        charged(option, inodes_above(options))
        for option in options
        if option not in ATTRIBUTES and not option.startswith(("mode=", "name", "at=", "host="))
    ], attributes


def name_of(options: Sequence[str]) -> str:
    """Where the root directory is to lie in the mount."""
    return next(option[5:] for option in options if option.startswith("name="))


def inodes_above(options: Sequence[str]) -> int:
    """How many directories lie above the root: one for each ``/`` in its name, and the mount's own."""
    return name_of(options).count("/") + 1


def mount_tmpfs(settings: list[str], attributes: set[str], steps: Steps, private: bool) -> tuple[int, str]:
    """fsopen(2) first, for AppArmor's `deny mount` has no hook there; mount(2) where that is not to be had."""
    try:
        return by_fsopen(settings, attributes, steps), "fsopen"
    except OSError as error:
        if not private or not absent(steps.now, error.errno):
            raise
        steps.refused(error)
    try:
        return by_mount(settings, attributes, steps), "mount"
    except OSError as error:
        if "nosymfollow" not in attributes or steps.refusals[-1][0] != "fsmount":
            raise
        steps.refused(error)
    return by_fsopen(settings, attributes - {"nosymfollow"}, steps), "fsopen"


def absent(step: str, number: int | None) -> bool:
    """Whether this failure says that the new mount API, or a flag of it, is not there; anything else is an answer."""
    if number in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        return False
    # EPERM from fsopen in namespaces of our own is a seccomp filter, which may know mount(2) alone. EINVAL from fsmount
    # is MOUNT_ATTR_NOSYMFOLLOW before Linux 5.14, and in gVisor.
    return step == "fsopen" or number == errno.ENOSYS or (step == "fsmount" and number == errno.EINVAL)


def by_fsopen(settings: list[str], attributes: set[str], steps: Steps) -> int:
    """A detached mount: it has no parent, so ``..`` stops at its root, and it goes with its last descriptor."""
    return patiently(lambda: by_context(settings, attributes, steps), "mnt")


def by_context(settings: list[str], attributes: set[str], steps: Steps) -> int:
    """One attempt. A context whose fsmount(2) was refused is used up: that answers EBUSY from then on."""
    steps("fsopen")
    context = _syscalls.fsopen("tmpfs")
    try:
        for setting in settings:
            key, given, value = setting.partition("=")
            steps(f"fsconfig({key})")
            if given:
                _syscalls.fsconfig(context, _syscalls.FSCONFIG_SET_STRING, key, value)
            else:
                _syscalls.fsconfig(context, _syscalls.FSCONFIG_SET_FLAG, key)
        steps("fsconfig(CMD_CREATE)")
        _syscalls.fsconfig(context, _syscalls.FSCONFIG_CMD_CREATE)
        steps("fsmount")
        return _syscalls.fsmount(context, sum(ATTRIBUTES[name][0] for name in attributes))
    except OSError as error:
        error.strerror = "; ".join(kernels_words(context)) or error.strerror
        raise
    finally:
        os.close(context)


def by_mount(settings: list[str], attributes: set[str], steps: Steps) -> int:
    """The same with mount(2). Until umount2(2) has detached it, ``..`` leads out: so that comes first of all."""
    steps("mount(MS_PRIVATE)")  # or a namespace that needed no user namespace would show the mount in the old one
    _syscalls.mount(None, "/", None, _syscalls.MS_REC | _syscalls.MS_PRIVATE)
    target = next(path for path in MOUNT_POINTS if os.path.isdir(path))
    flags = sum(ATTRIBUTES[name][1] for name in attributes)
    steps("mount")
    _syscalls.mount("tmpfs", target, "tmpfs", flags, joined(settings))
    steps("open")
    try:
        mounted = os.open(target, os.O_PATH | os.O_DIRECTORY)
    except OSError:
        _syscalls.umount2(target, _syscalls.MNT_DETACH)
        raise
    steps("umount2")
    try:
        _syscalls.umount2(target, _syscalls.MNT_DETACH)
    except OSError:
        os.close(mounted)
        raise
    return mounted


def try_features(steps: Steps) -> list[Refusal]:
    """Each of the ways above, alone, and what else verytmp asks of the kernel, on mounts that go at once."""
    quiet = Steps()  # the name of what is tried says more than that of the call in it

    def options(*settings: str) -> Callable[[], None]:
        return lambda: os.close(by_fsopen(list(settings), set(), quiet))

    def by_the_old_call() -> None:
        mounted = by_mount([], {"nosymfollow"}, quiet)
        flags = os.statvfs(mounted).f_flag
        os.close(mounted)
        if not flags & _syscalls.ST_NOSYMFOLLOW:
            raise OSError(errno.ENOSYS, "the flag is ignored")

    def with_a_file(call: Callable[[int], object]) -> Callable[[], None]:
        def try_it() -> None:
            mounted, _ = mount_tmpfs([], set(), quiet, private=True)
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

    tried: dict[str, Callable[[], object]] = {
        "fsopen": options(),
        "MOUNT_ATTR_NOSYMFOLLOW": lambda: os.close(by_fsopen([], {"nosymfollow"}, quiet)),
        "mount": lambda: os.close(by_mount([], set(), quiet)),
        "MS_NOSYMFOLLOW": by_the_old_call,
        "pidfd_open": pidfd,
        "copy_file_range": with_a_file(lambda file: os.copy_file_range(file, file, 1, 0, 1)),
        "user.* attributes": with_a_file(lambda file: os.setxattr(file, "user.f", b"")),
        "huge": options("huge=within_size"),
        "inode64": options("inode64"),
        "noswap": options("noswap"),
        "user namespaces": lambda: _syscalls.unshare(
            _syscalls.CLONE_NEWUSER
        ),  # last: nothing can be mounted from there
    }
    return [steps.outcome(name, call) for name, call in tried.items()]


def make_root(mounted: int, options: Sequence[str], steps: Steps) -> int:
    """Make the root directory with the mode and owner asked for, and those above it. The descriptor of the last one.

    That one is the owner's to write to as well: programs may remove the root and make it anew, as any directory.
    """
    given = dict(option.split("=", 1) for option in options if "=" in option)
    name = given["name"]
    parts = name.split("/")
    directories = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    above = os.path.dirname(name)
    steps("mkdirat")
    for directory in directories:
        os.mkdir(directory, 0o700, dir_fd=mounted)
    steps("openat")
    descriptor = os.open(above, os.O_PATH | os.O_DIRECTORY, dir_fd=mounted)
    try:
        if "uid" in given or "gid" in given:
            steps("fchownat")
            for directory in (name, above):
                os.chown(directory, int(given.get("uid", -1)), int(given.get("gid", -1)), dir_fd=mounted)
        steps("fchmodat")  # mkdirat obeys the umask, and fchownat clears bits
        os.chmod(name, int(given.get("mode", "700"), 8), dir_fd=mounted)
        for directory in (above, *reversed(directories[:-2]), "."):
            # Who looks for its working directory must find the way up, to learn that it has no name (ENOENT): Python
            # 3.13 does not start on EACCES. Nothing is made higher up by mistake.
            os.chmod(directory, 0o755 if directory == above else 0o555, dir_fd=mounted)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def patiently(call: Callable[[], _T], *namespaces: str) -> _T:
    """Make a call that answers ENOSPC while namespaces that were closed a moment ago are still being freed.

    *namespaces* are those that it makes: ``"user"``, ``"mnt"``. Where the limit on one of them is 0, there was none to
    be freed, and the refusal comes at once.
    """
    deadline = time.monotonic() + NAMESPACE_PATIENCE
    while True:
        try:
            return call()
        except OSError as error:
            if error.errno != errno.ENOSPC or time.monotonic() > deadline or any(map(none_allowed, namespaces)):
                raise
        time.sleep(NAMESPACE_PAUSE)


def none_allowed(namespaces: str) -> bool:
    """Whether the limit on these namespaces reads 0: namespaces(7)."""
    try:
        with FileIO(f"/proc/sys/user/max_{namespaces}_namespaces") as file:  # the built-in `open` may be a test's own
            return file.read(16).strip() == b"0"
    except OSError:
        return False


def kernels_words(context: int) -> list[str]:
    """What a filesystem context's log says of the call that just failed, without its ``e `` for "error"."""
    words: list[str] = []
    for _ in range(8):  # the log's length (fs/fs_context.c)
        try:
            line = os.read(context, 4096)
        except OSError:  # ENODATA: nothing more was said
            break
        words.append(line.decode("utf-8", "replace")[2:].strip())
    return list(dict.fromkeys(words))


def joined(settings: list[str]) -> str:
    """mount(2)'s data: one string. A comma in a value would start another option, but before a digit (mpol's lists)."""
    for setting in settings:
        if not all(rest[:1].isdigit() for rest in setting.split(",")[1:]):
            raise OSError(errno.EINVAL, f"a comma in {setting!r} starts another option in mount(2)")
    return ",".join(settings)


def charged(option: str, above: int) -> str:
    """The option as the kernel needs it, for what was asked for to come true in the root directory.

    The directories above the root, *above* of them, are not the user's: nr_inodes grows by them. A number that does not
    fit 64 bits is refused, for the kernel would take what is left of it.
    """
    key, _, value = option.partition("=")
    if key not in ("size", "nr_blocks", "nr_inodes"):
        return option
    number = memparse(value.removesuffix("%"))
    if number is None:
        return option  # no number, but nonsense that the kernel refuses in its own words
    percent = value.endswith("%")
    if (number * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if percent else number) >> 63:
        raise OSError(errno.EINVAL, f"tmpfs: '{key}={value}' is larger than a file system can be")
    if percent:
        return option
    if key == "nr_inodes" and number:  # 0 is no limit
        return f"{key}={number + above}"
    return option


def memparse(text: str) -> int | None:
    """A number as the kernel's memparse() reads it: C's notation, and perhaps one of K M G T P E. None for the rest."""
    hexadecimal = text[:2] in ("0x", "0X")
    power = ("KMGTP" if hexadecimal else "KMGTPE").find(text[-1:].upper() or "-") + 1
    digits = text[:-1] if power else text
    if not (digits.isascii() and digits.isalnum()):
        return None
    try:
        return int(digits, 16 if hexadecimal else 8 if digits[0] == "0" else 10) << (10 * power)
    except ValueError:
        return None
