"""The names that /proc has for a descriptor: for every process of this user, and for this process alone."""

from __future__ import annotations

import os
from os import getpid


def self_fd(descriptor: int) -> str:
    """The very file under an `O_PATH` descriptor, for calls that take neither such a one nor an empty name."""
    return f"/proc/self/fd/{descriptor}"


_proc = (0, "")


def proc_fd() -> str:
    """``/proc/<this process>/fd/``, asked for anew after a fork.

    The number is /proc's own: in a new pid namespace that still sees the old /proc, getpid(2)'s would be another
    process's. Where /proc does not know us, strings lead nowhere, for everyone.
    """
    global _proc
    pid = getpid()
    if _proc[0] != pid:
        try:
            _proc = pid, f"/proc/{os.readlink('/proc/self')}/fd/"
        except OSError:
            _proc = pid, "/dev/null/fd/"
    return _proc[1]


def _forget_proc() -> None:
    global _proc
    _proc = (0, "")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_proc)
