"""From a process's own namespaces into a root's, and on to a program: setns(2), then execve(2).

It runs in a forked copy of the process (`enter` is called), or in a fresh interpreter (`main` is), which needs no copy,
and into which a process with more than one thread can send a program. Such an interpreter loads nothing but this, and
what is built in: `os` alone would take it 3 ms.
"""

from __future__ import annotations

import errno
import posix
import sys
from io import FileIO

from .. import _syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable, Iterator
    from typing import Any, NoReturn
else:
    import _signal  # without the enums of `signal`, which take 3 ms to load


class Plan:
    """What is done on the way into a root's namespaces, as text. (No named tuple: `collections` takes 1 ms to load.)

    Attributes:
        namespace: the mount namespace's file descriptor; empty where this process sees the root's name already.
        writable: below this directory alone the program may write, which Landlock sees to; empty for no such rule.
        report: that of a pipe for what went wrong; empty for standard error.
        cwd: the directory to start in.
        groups: the supplementary groups, apart by commas; empty for no change, ``-`` for none.
        group, user: to become; empty for no change.
        ignored: signals that the program is to ignore, of those that Python ignores; apart by commas.
        pids: not empty if the program is to have a pid namespace of its own.
        executable: what to start, which is looked for in the program's PATH if it has no slash.
    """

    FIELDS = ("namespace", "writable", "report", "cwd", "groups", "group", "user", "ignored", "pids", "executable")

    def __init__(
        self, namespace: str, writable: str, report: str, cwd: str, groups: str, group: str, user: str, ignored: str,
        pids: str, executable: str,
    ) -> None:  # fmt: skip
        self.namespace, self.writable, self.report, self.cwd = namespace, writable, report, cwd
        self.groups, self.group, self.user = groups, group, user
        self.ignored, self.pids, self.executable = ignored, pids, executable

    def __iter__(self) -> Iterator[str]:
        return (getattr(self, name) for name in self.FIELDS)


CAPABILITIES_MAX = 64  # capset(2) knows so many; the kernel has 41 (Linux 6.18)
NOT_FOUND, NOT_STARTED = 127, 126  # the status of a shell for a program that is not there, or cannot be started
ALONE = (
    "no program in this root can be another user's or group's, for the root is in a user namespace, which has but one "
    "of each: this process may not mount"
)
STARTED = b"+"  # what the report begins with: all went well up to execve(2)
IGNORED_BY_PYTHON: tuple[int, ...] = (_signal.SIGPIPE, _signal.SIGXFSZ)
DEFAULT_PATH = b"/bin:/usr/bin"  # os.defpath


def main(arguments: list[str]) -> NoReturn:
    """Enter the namespaces, and become the program. *arguments* are a `Plan`, and the program's own."""
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    plan, args = Plan(*arguments[: len(Plan.FIELDS)]), arguments[len(Plan.FIELDS) :]
    try:
        for fd in (plan.namespace, plan.report):
            if fd:
                keep(int(fd))
        enter(plan)
        for number in IGNORED_BY_PYTHON:
            if str(int(number)) not in plan.ignored.split(","):
                _signal.signal(number, _signal.SIG_DFL)
        if plan.report:
            posix.write(int(plan.report), STARTED)
        execute(plan.executable, args)
    except OSError as error:
        report(plan, error)
        posix._exit(NOT_FOUND if error.errno in (errno.ENOENT, errno.ENOTDIR) else NOT_STARTED)


def keep(fd: int) -> None:
    """Keep a descriptor from the program. `OSError` if it has not come here."""
    try:
        posix.set_inheritable(fd, False)
    except OSError as error:
        error.strerror = "the root's descriptor was not passed on; wrap returns what pass_fds= needs"
        raise


def report(plan: Plan, error: OSError) -> None:
    """Say why the program is not started."""
    if plan.report:
        text = f"{error.errno or 0}\0{error.strerror}\0{error.filename or ''}"
        posix.write(int(plan.report), text.encode("utf-8", "surrogateescape"))
    else:
        posix.write(2, f"verytmp: {error}\n".encode("utf-8", "backslashreplace"))


def execute(executable: str, args: list[str]) -> NoReturn:
    """execve(2), as `subprocess` has it: the environment's PATH, and the errors with the executable's name."""
    variables = environment()
    name = executable.encode(sys.getfilesystemencoding(), sys.getfilesystemencodeerrors())
    folders = [b""] if b"/" in name else variables.get(b"PATH", DEFAULT_PATH).split(b":")
    refused = None
    for folder in folders:
        try:
            posix.execve(folder + b"/" + name if folder else name, args, variables)
        except OSError as error:
            if refused is None or error.errno not in (errno.ENOENT, errno.ENOTDIR):
                refused = error
    assert refused is not None
    refused.filename = executable
    raise refused


def environment() -> dict[bytes, bytes]:
    """The environment that this interpreter was given, which may have put LC_CTYPE into its own (PEP 538)."""
    found = posix.environ.copy()
    try:
        with FileIO("/proc/self/environ") as file:
            if b"\0LC_CTYPE=" not in b"\0" + file.readall():
                found.pop(b"LC_CTYPE", None)
    except OSError:  # not readable for a process that may not be dumped
        pass
    return found


def load_pids() -> Any:
    from . import pids

    return pids


def load_write_below_only() -> Callable[[str], None]:
    from .landlock import write_below_only

    return write_below_only


def enter(plan: Plan, capabilities: int | None = None) -> None:
    """Enter a root's namespaces, in a process with one thread. `OSError` with what could not be done.

    *capabilities* are those of this process, where they are known already.
    """
    # What it takes is loaded before the namespace is another one: there, the root may lie over this package.
    pids = load_pids() if plan.pids else None
    write_below_only = load_write_below_only() if plan.writable else None
    if plan.groups:  # a user namespace allows no change of them, and keeps those that there are
        posix.setgroups([int(group) for group in plan.groups.split(",") if group != "-"])
    kept = None
    if plan.namespace:
        namespace = int(plan.namespace)
        kept = enter_user_namespace(namespace, capabilities)
        step("setns(CLONE_NEWNS)", _syscalls.setns, namespace, _syscalls.CLONE_NEWNS)
    if pids:
        had = own_capabilities() if kept is None else kept
        if pids.unshare():
            kept = had
        pids.contain()
    if kept is not None:
        step("prctl(PR_CAPBSET_DROP)", drop_capabilities, kept)
    posix.chdir(plan.cwd)
    if write_below_only:
        write_below_only(plan.writable)
    try:
        if plan.group:
            posix.setregid(int(plan.group), int(plan.group))
        if plan.user:
            posix.setreuid(int(plan.user), int(plan.user))
    except OSError as error:
        if kept is None or error.errno != errno.EINVAL:
            raise
        raise PermissionError(errno.EPERM, ALONE) from None


def enter_user_namespace(namespace: int, capabilities: int | None) -> int | None:
    """Enter the user namespace that owns a mount namespace, if that is another one than this process's.

    Returns the capabilities that this process had before; None if there was no need to enter it.
    """
    owner = _syscalls.ioctl(namespace, _syscalls.NS_GET_USERNS)
    try:
        found, own = posix.fstat(owner), posix.stat("/proc/self/ns/user")
        if (found.st_ino, found.st_dev) == (own.st_ino, own.st_dev):
            return None
        kept = own_capabilities() if capabilities is None else capabilities
        step("setns(CLONE_NEWUSER)", _syscalls.setns, owner, _syscalls.CLONE_NEWUSER)
    finally:
        posix.close(owner)
    return kept


def own_capabilities() -> int:
    """The capabilities of this process: CapPrm of proc_pid_status(5)."""
    with FileIO("/proc/self/status") as file:  # the built-in `open` may be a test's own
        return int(file.read(8192).partition(b"\nCapPrm:\t")[2].partition(b"\n")[0], 16)


def drop_capabilities(kept: int) -> None:
    """Have no capability of a user namespace that was entered, and let the program get none but *kept*.

    Who enters a user namespace has all capabilities in it. execve(2) takes them away, but not from user 0, nor where
    the program's file has capabilities of its own: so they leave the bounding set too.
    """
    for capability in range(CAPABILITIES_MAX):
        if not kept >> capability & 1:
            try:
                _syscalls.prctl(_syscalls.PR_CAPBSET_DROP, capability)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                break  # the kernel has no more
    _syscalls.capset()


TAKES = "it takes setns(2), CAP_SYS_ADMIN, CAP_SYS_CHROOT and CAP_SETPCAP: see what seccomp and AppArmor allow here"


def step(name: str, call: Callable[..., object], *args: object) -> None:
    """Make a call; its error says what it was for."""
    try:
        call(*args)
    except OSError as error:
        why = f" ({TAKES})" if error.errno == errno.EPERM else ""
        error.strerror = f"{name}, to enter the root's namespaces: {error.strerror}{why}"
        raise
