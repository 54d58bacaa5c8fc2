"""``host="ro"`` without a namespace: Landlock lets this process write below one directory, and nowhere else."""

from __future__ import annotations

import errno
import os

from .. import _syscalls

# Before version 3 (Linux 6.2) truncate(2) is not among the rights, and so any file of this user's could be emptied.
ABI = 3

RIGHTS_TO_FILES = _syscalls.LANDLOCK_WRITE_FILE | _syscalls.LANDLOCK_TRUNCATE
RIGHTS = RIGHTS_TO_FILES | _syscalls.LANDLOCK_REMOVE_AND_MAKE | _syscalls.LANDLOCK_REFER

# Devices keep nothing, and a read-only mount lets programs write to them too.
DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts")


def check() -> None:
    """Raise `OSError` where this kernel cannot do it, with the reason."""
    try:
        found = _syscalls.landlock_abi()
    except OSError as error:
        reason = {
            errno.ENOSYS: "this kernel has no Landlock (Linux 5.13), or a seccomp filter refuses it",
            errno.EOPNOTSUPP: "Landlock is not enabled (see the kernel's parameter lsm=)",
        }
        raise OSError(error.errno, reason.get(error.errno or 0, error.strerror)) from None
    if found < ABI:
        older = (
            f"this kernel's Landlock is of version {found}, and only from {ABI} (Linux 6.2) can it forbid truncate(2)"
        )
        raise OSError(errno.EOPNOTSUPP, older)


def write_below_only(directory: str) -> None:
    """Let this process and its children write to, make and remove what is below *directory* alone. For good.

    What it leaves open: modes, owners and times of the user's other files (chmod(2), chown(2), utimensat(2)).
    """
    check()
    ruleset = _syscalls.landlock_create_ruleset(RIGHTS)
    try:
        allow(ruleset, directory, RIGHTS)
        for name in DEVICES:
            try:
                allow(ruleset, f"/dev/{name}", RIGHTS_TO_FILES)
            except FileNotFoundError:
                pass
        _syscalls.landlock_restrict_self(ruleset)
    finally:
        os.close(ruleset)


def allow(ruleset: int, path: str, rights: int) -> None:
    fd = os.open(path, os.O_PATH)
    try:
        _syscalls.landlock_add_rule(ruleset, fd, rights)
    finally:
        os.close(fd)
