"""The causes of refusals. In a module of its own, so that enum is loaded only where it is needed."""

from __future__ import annotations

from enum import StrEnum


class VeryTmpCause(StrEnum):
    """Why no private tmpfs could be made: `VeryTmpUnavailable.cause`."""

    SECCOMP_CALL = "seccomp-call"  #: a filter refuses a call, or kills the process that makes it
    SECCOMP_FLAGS = "seccomp-flags"  #: a filter refuses unshare(2) only for namespaces
    APPARMOR = "apparmor"  #: AppArmor, as on Ubuntu 23.10 and newer
    SELINUX = "selinux"  #: SELinux
    LANDLOCK = "landlock"  #: Landlock, or another security module
    SYSCTL = "sysctl"  #: a setting of the system turns it off
    LIMIT = "limit"  #: a limit of namespaces or processes has been reached
    DESCRIPTORS = "descriptors"  #: the table of open files is full
    CHROOT = "chroot"  #: the process is in a chroot
    UID_MAP = "uid-map"  #: this user's ID is not mapped in the user namespace
    CAPABILITY = "capability"  #: root lacks a capability
    PROC = "proc"  #: there is no /proc, or it cannot be written to
    KERNEL = "kernel"  #: the kernel is too old, or was built without what is needed
    CHILD = "child"  #: the one-shot child ended without an answer
    PYTHON = "python"  #: this Python is not CPython, or lacks what is needed, such as ctypes
    FALLBACK = "fallback"  #: the directory in /dev/shm could not be made either
    NOT_LINUX = "not-linux"  #: the system is not Linux
    UNKNOWN = "unknown"  #: the cause could not be found

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
    VeryTmpCause.SYSCTL: "a kernel setting that turns user namespaces off",
    VeryTmpCause.LIMIT: "a limit that has been reached",
    VeryTmpCause.DESCRIPTORS: "the table of open files, which is full",
    VeryTmpCause.CHROOT: "that this process is in a chroot",
    VeryTmpCause.UID_MAP: "that this user's ID is not mapped in the user namespace",
    VeryTmpCause.CAPABILITY: "that root lacks CAP_SETFCAP",
    VeryTmpCause.PROC: "/proc, which is not there or cannot be written to",
    VeryTmpCause.KERNEL: "the kernel, which lacks it",
    VeryTmpCause.CHILD: "that the one-shot child ended",
}

BEFORE = "; before that, "  # in a reason: what was refused on the way
WITHOUT_FALLBACK = (VeryTmpCause.DESCRIPTORS, VeryTmpCause.FALLBACK, VeryTmpCause.PYTHON)  # which would not help
KEYWORD = 'VeryTmpRoot(fallback="shm")'  # in a message, of those which it would help
