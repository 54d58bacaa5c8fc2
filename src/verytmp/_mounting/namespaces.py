"""Namespaces in which a process may mount: by privilege, or in a user namespace that it owns."""

from __future__ import annotations

import errno
import os
import time
from io import FileIO
from posix import getegid, geteuid  # a test may have put others in os

from .. import _syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    from .protocol import CallLog

    _T = TypeVar("_T")

# Freed user and mount namespaces come back 18-32 ms after the last descriptor closes (measured, Linux 6.18).
NAMESPACE_PATIENCE = 0.2  # seconds
NAMESPACE_PAUSE = 0.005

USER_NAMESPACE = "/proc/thread-self/ns/user"


def enter_namespaces(log: CallLog, user_namespaces: Sequence[int] = ()) -> list[int]:
    """Enter a new mount namespace, in which this process may mount.

    Args:
        log: which hears of each call.
        user_namespaces: a descriptor of the one to enter, if there is one, and if this process needs one. Where it may
            not, it makes a new one.

    Returns a descriptor of the user namespace, if a new one was made. Raises `OSError` where it is refused.
    """
    log("unshare(CLONE_NEWNS)")
    try:
        _syscalls.unshare(_syscalls.CLONE_NEWNS)
    except OSError:  # no privilege: the usual case, and no news
        pass
    else:
        return []
    for fd in user_namespaces:
        log("setns(CLONE_NEWUSER)")
        try:
            _syscalls.setns(fd, _syscalls.CLONE_NEWUSER)
        except OSError:  # a filter, or this process has other privileges than the one that made it
            break
        log("unshare(CLONE_NEWNS)")
        retry_enospc(lambda: _syscalls.unshare(_syscalls.CLONE_NEWNS), "mnt")
        return []
    user, group = geteuid(), getegid()
    log("unshare(CLONE_NEWUSER|CLONE_NEWNS)")
    retry_enospc(lambda: _syscalls.unshare(_syscalls.CLONE_NEWUSER | _syscalls.CLONE_NEWNS), "user", "mnt")
    for name, text in (
        ("setgroups", "deny"),  # first: without it, gid_map is refused
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        log(name)
        try:
            write(f"/proc/self/{name}", text)
        except FileNotFoundError:
            if name != "setgroups":
                raise  # /proc is not there. Without setgroups alone (gVisor before 2026), gid_map asks for nothing
    try:
        return [os.open(USER_NAMESPACE, os.O_RDONLY)]
    except OSError:  # a filter: the next child makes one of its own
        return []


def write(path: str, text: str) -> None:
    """Write with write(2) itself: a buffered file meets the refusal when it is closed, and loses it there."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def retry_enospc(call: Callable[[], _T], *namespaces: str) -> _T:
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
