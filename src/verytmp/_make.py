"""Which way to make the mount: directly where this process may, else by a child; and what to say when neither works."""

from __future__ import annotations

import errno

from . import _helper, _mount
from ._owner import owner
from ._signals import SignalsHeld, uninterrupted
from ._spare import shared
from ._tree import Tree
from .errors import VeryTmpUnavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._wire import Refusal

PROC = "/proc/thread-self/status"

# What to do about a refusal: the steps that it is about (none: any), its errno, and the advice.
REMEDIES = (
    ((PROC, "setgroups", "uid_map"), (errno.ENOENT, errno.EROFS), "A root needs /proc, writable."),
    ((), (errno.EMFILE, errno.ENFILE), "Close some files, or raise the limit on open files (ulimit -n)."),
    (("fork", "posix_spawn"), (errno.EAGAIN,), "Raise the limit on processes (ulimit -u, a container's pids limit)."),
    ((), (errno.ENOSPC,), "Close other roots, or raise user.max_user_namespaces and user.max_mnt_namespaces (sysctl)."),
    (
        (),
        (errno.EPERM, errno.EACCES, errno.ENOSYS),
        (
            "Something refuses user namespaces to ordinary users, or mounts in them: a container's seccomp profile, "
            "AppArmor, a sysctl. Allow them, or run with CAP_SYS_ADMIN."
        ),
    ),
)


def tmpfs(options: list[str]) -> tuple[Tree, str]:
    """Make a tmpfs: its tree, and a few words on how that was done.

    `ValueError` with the kernel's words for an option that it refuses, `VeryTmpUnavailable` for anything else.
    """
    filtered, threads = thread_status()
    if threads > 1 and in_main_thread():
        return uninterrupted(lambda: owned(options, filtered, threads))
    return owned(options, filtered, threads)


def owned(options: list[str], filtered: bool, threads: int) -> tuple[Tree, str]:
    with SignalsHeld() as signals:
        descriptor, made = mounted(options, signals, filtered, threads)
        try:
            return Tree(owner(descriptor), shared()), made
        except OSError as error:  # the descriptor table is full
            raise unavailable("epoll_create1", error.errno or 0) from None


def in_main_thread() -> bool:
    """Whether Python's signal handlers run in this thread."""
    import threading

    return threading.current_thread() is threading.main_thread()


def mounted(options: list[str], signals: SignalsHeld, filtered: bool, threads: int) -> tuple[int, str]:
    steps = _mount.Steps()
    # Under a seccomp filter an unknown call may end this very process, so there a child has to try it.
    if not filtered:
        try:
            [root], call = _mount.tmpfs(options, steps, private=False)
        except OSError as error:
            steps.refused(error)
            if error.errno != errno.EPERM and not _mount.absent(steps.now, error.errno):
                raise explained(steps.refusals, options) from None
        else:
            return root, f"directly, by {call}(2)"
    try:
        [root], call = _helper.perform("tmpfs", options, signals, threads=threads)
    except _helper.Refused as refused:
        raise explained(refused.refusals, options) from None
    return root, f"by a {'forked' if threads == 1 else 'fresh'} child, by {call}(2)"


def thread_status() -> tuple[bool, int]:
    """Whether a seccomp filter is on this thread, and how many threads the process has: proc_pid_status(5)."""
    try:
        with open(PROC, "rb", 0) as file:
            status = file.read(8192)
    except OSError as error:
        raise unavailable(PROC, error.errno or 0) from None
    filtered = b"\nSeccomp:\t" in status and b"\nSeccomp:\t0\n" not in status
    return filtered, int(status.partition(b"\nThreads:\t")[2].partition(b"\n")[0])


def explained(refusals: list[Refusal], options: list[str]) -> Exception:
    """The error for refusals, the last of which decided it."""
    *before, (step, number, text) = refusals
    if number == errno.EINVAL and (step in ("options", "mount", "fchownat") or step.startswith("fsconfig(")):
        about = [option for option in options if step == f"fsconfig({option.partition('=')[0]})"] or options
        return ValueError(f"{text} (asked for: {', '.join(about)})")
    reason = "; ".join([text, *(f"before that, {step}: {text}" for step, _, text in before)])
    return unavailable(step, number, reason)


def unavailable(step: str, number: int, reason: str = "") -> VeryTmpUnavailable:
    for steps, numbers, remedy in REMEDIES:
        if number in numbers and (not steps or step in steps):
            return VeryTmpUnavailable(number, step, reason, remedy)
    return VeryTmpUnavailable(number, step, reason)
