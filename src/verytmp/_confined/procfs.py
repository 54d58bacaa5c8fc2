"""The names that /proc has for a descriptor, and the strings of a root that are made of them."""

from __future__ import annotations

import os

# Bound at import, so that a test that replaces os's functions does not change the strings of other tests; and not to
# os's, for such a test may be the first that imports this module.
try:
    from posix import fstat, getpid, readlink, stat
except ImportError:  # not Linux
    from os import fstat, getpid, readlink, stat

NOWHERE = "/dev/null/fd/"  # no file can be below a device


def self_fd(descriptor: int) -> str:
    """A name for the file of an `O_PATH` descriptor, for calls that take neither the descriptor nor an empty name."""
    return f"/proc/self/fd/{descriptor}"


_cached = (0, "")


def proc_fd() -> str:
    """``/proc/<this process>/fd/``.

    The pid is the one in /proc. In a new pid namespace that still has the old /proc, getpid(2) is another process's;
    then /proc is read each time, for one of the new namespace may be mounted later. Where /proc does not have this
    process, or is not mounted, strings lead nowhere.
    """
    global _cached
    pid = getpid()
    known, prefix = _cached
    if known != pid:
        try:
            number = readlink("/proc/self")
        except OSError:
            return NOWHERE
        prefix = f"/proc/{number}/fd/"
        if number == str(pid):
            _cached = pid, prefix
    return prefix


def _forget_proc() -> None:
    global _cached
    _cached = (0, "")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_proc)


def is_own_namespace(fd: int) -> bool:
    """Whether this process is in the mount namespace that *fd* is a descriptor of."""
    try:
        return os.path.samestat(fstat(fd), stat("/proc/thread-self/ns/mnt"))
    except OSError:
        return False


names: dict[str, str] = {}  # of this process's roots that are mounted by a name: by token


def path_in_root(text: str, token: str) -> str | None:
    """The path within a root, from ``/`` on, that a string of the root leads to; None for any other string.

    It may be a string of another process that has the same root, as the parent before a fork: its token is the same. Or
    it is the root's name in a mount namespace.
    """
    name = names.get(token)
    if name is not None and (text == name or text.startswith(f"{name}/")):
        return text[len(name) :] or "/"
    head, found, rest = text.partition(f"/{token}")
    if not found or (rest and rest[0] != "/"):
        return None
    if head.startswith(NOWHERE):
        return rest or "/" if head[len(NOWHERE) :].isdigit() else None
    parts = head.split("/")
    if len(parts) != 5 or parts[:2] != ["", "proc"] or parts[3] != "fd" or not parts[4].isdigit():
        return None
    return rest or "/" if parts[2].isdigit() or parts[2] == "self" else None
