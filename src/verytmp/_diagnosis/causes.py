"""What may stand behind a refusal. In a module of its own, for not everybody loads enum."""

from __future__ import annotations

from enum import StrEnum


class VeryTmpCause(StrEnum):
    """Why no private tmpfs could be made: `VeryTmpUnavailable.cause`."""

    SECCOMP_CALL = "seccomp-call"  #: a filter refuses a call, or ends who makes it
    SECCOMP_FLAGS = "seccomp-flags"  #: a filter refuses unshare(2) for namespaces alone
    APPARMOR = "apparmor"  #: AppArmor, as on Ubuntu 23.10 and newer
    SELINUX = "selinux"  #: SELinux
    LANDLOCK = "landlock"  #: Landlock, or another security module
    SYSCTL = "sysctl"  #: the administrator has switched it off
    LIMIT = "limit"  #: of namespaces or processes
    DESCRIPTORS = "descriptors"  #: the table of open files is full
    CHROOT = "chroot"  #: the process is in one
    UID_MAP = "uid-map"  #: this user has no number here
    CAPABILITY = "capability"  #: root without the capability that it takes
    PROC = "proc"  #: there is no /proc, or it cannot be written to
    KERNEL = "kernel"  #: too old, or built without it
    CHILD = "child"  #: the one-shot child came to grief
    PYTHON = "python"  #: it is no CPython, or lacks what is needed: ctypes, a new process
    FALLBACK = "fallback"  #: the directory in /dev/shm could not be made either
    NOT_LINUX = "not-linux"  #: another system
    UNKNOWN = "unknown"  #: none of these, as far as can be told

    @property
    def description(self) -> str:
        """The cause as a part of a sentence; empty where the refusal itself says it."""
        return DESCRIPTIONS.get(self, "")


DESCRIPTIONS = {
    VeryTmpCause.SECCOMP_CALL: "a seccomp filter, which refuses this call",
    VeryTmpCause.SECCOMP_FLAGS: "a seccomp filter, which refuses new namespaces",
    VeryTmpCause.APPARMOR: "AppArmor",
    VeryTmpCause.SELINUX: "SELinux",
    VeryTmpCause.LANDLOCK: "Landlock, or another security module",
    VeryTmpCause.SYSCTL: "a setting of the kernel's, by which user namespaces are off",
    VeryTmpCause.LIMIT: "a limit that is reached",
    VeryTmpCause.DESCRIPTORS: "the table of open files, which is full",
    VeryTmpCause.CHROOT: "that this process is in a chroot, where the kernel allows no user namespaces",
    VeryTmpCause.UID_MAP: "that this user has no number in the namespace that it is in",
    VeryTmpCause.CAPABILITY: "that this is root without CAP_SETFCAP",
    VeryTmpCause.PROC: "/proc, which is not there or cannot be written to",
    VeryTmpCause.KERNEL: "the kernel, which does not have it",
    VeryTmpCause.CHILD: "the one-shot child's end",
}

BEFORE = "; before that, "  # in a reason: what was refused on the way
WITHOUT_FALLBACK = (VeryTmpCause.DESCRIPTORS, VeryTmpCause.FALLBACK, VeryTmpCause.PYTHON)  # which would not help
KEYWORD = 'VeryTmpRoot(fallback="shm")'  # in a message, of those which it would help
