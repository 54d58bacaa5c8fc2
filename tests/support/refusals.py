"""The refusals of well-known environments, made real in the calling process (a child, then)."""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from support import kernel
from support.kernel import CLONE_NEWNS, CLONE_NEWUSER, Rule, libc

# Docker's profile (moby, 2026): what it refuses to who has no CAP_SYS_ADMIN.
DOCKER = ("unshare", "setns", "mount", "umount2", "fsopen", "fsconfig", "fsmount", "fspick", "open_tree", "move_mount")
NEW_NAMESPACES = 0x7E02_0000  # clone(2)'s flags that it looks at
SYSTEMD_MOUNT = ("mount", "umount2", "fsopen", "fsconfig", "fsmount", "fspick", "open_tree", "move_mount")

CAP_SETFCAP = 31
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 0x1, 0x20, 0x1000, 0x4000, 0x4_0000


def unprivileged() -> None:
    """Nobody's capabilities, whoever runs the tests. (Root keeps its number, and may map it: it has CAP_SETFCAP.)"""
    kernel.drop_capabilities(kernel.CAP_SYS_ADMIN)


def docker() -> None:
    """Docker's and containerd's default: EPERM, and ENOSYS for clone3, so that libc takes clone."""
    unprivileged()
    kernel.seccomp(
        *(Rule(call, errno.EPERM) for call in DOCKER),
        Rule("mount_setattr", errno.EPERM),
        Rule("clone", errno.EPERM, 0, NEW_NAMESPACES),
        Rule("clone3", errno.ENOSYS),
    )


def crio() -> None:
    """CRI-O's: unshare is left out of the profile, and what is not in it is ENOSYS."""
    unprivileged()
    kernel.seccomp(Rule("unshare", errno.ENOSYS), Rule("setns", errno.EPERM))


def systemd_namespaces() -> None:
    """RestrictNamespaces=yes."""
    unprivileged()
    kernel.seccomp(
        Rule("unshare", errno.EPERM, 0, NEW_NAMESPACES), Rule("clone3", errno.ENOSYS), Rule("setns", errno.EPERM)
    )


def systemd_mounts() -> None:
    """SystemCallFilter=@system-service, with SystemCallErrorNumber=EPERM: unshare is in it, mounting is not."""
    unprivileged()
    kernel.seccomp(*(Rule(call, errno.EPERM) for call in SYSTEMD_MOUNT))


def systemd_mounts_killing() -> None:
    """The same without SystemCallErrorNumber."""
    unprivileged()
    kernel.seccomp(*(Rule(call, 0) for call in SYSTEMD_MOUNT))


def namespaces_of_our_own() -> None:
    """As the root of a user namespace, in a mount namespace in which nothing is shared."""
    if libc.unshare(CLONE_NEWNS) < 0:
        kernel.user_namespace()
        _checked(libc.unshare(CLONE_NEWNS))
    _checked(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None))


def chroot(folder: str, mounted: bool = False) -> None:
    """In a directory, which is a mount point or not, with a /proc."""
    namespaces_of_our_own()
    if mounted:
        _checked(libc.mount(folder.encode(), folder.encode(), None, MS_BIND | MS_REC, None))
    proc = os.path.join(folder, "proc")
    os.mkdir(proc)
    _checked(libc.mount(b"/proc", proc.encode(), None, MS_BIND | MS_REC, None))
    os.chroot(folder)
    os.chdir("/")
    unprivileged()


def read_only_proc() -> None:
    namespaces_of_our_own()
    _checked(libc.mount(b"/proc", b"/proc", None, MS_BIND | MS_REC, None))
    kept = os.statvfs("/proc").f_flag & (os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC)  # the same bits as mount's
    _checked(libc.mount(None, b"/proc", None, MS_REMOUNT | MS_BIND | MS_RDONLY | kept, None))
    unprivileged()


def proc_without_setgroups(folder: str) -> None:
    """A /proc that has all but this file, as gVisor's before 2026, made of the real one, which a directory gets.

    It is in a user namespace whose own file is written already: that holds in those below it. user_namespaces(7)
    """
    kernel.mounting_namespaces()
    _checked(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None))
    _checked(libc.mount(b"/proc", folder.encode(), None, MS_BIND | MS_REC, None))
    _checked(libc.mount(b"none", b"/proc", b"tmpfs", 0, None))
    for name in {*os.listdir(folder)} - {"self", "thread-self"}:
        os.symlink(f"{folder}/{name}", f"/proc/{name}")
    for directory in ("self", "thread-self"):
        os.mkdir(f"/proc/{directory}")
        for name in {*os.listdir(f"{folder}/{directory}")} - {"setgroups"}:
            os.symlink(f"{folder}/{directory}/{name}", f"/proc/{directory}/{name}")
    unprivileged()


def root_without_setfcap() -> None:
    """uid 0, real or a user namespace's, as after ``docker run --cap-drop ALL``."""
    if os.geteuid():
        user, group = os.geteuid(), os.getegid()
        _checked(libc.unshare(CLONE_NEWUSER))
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    kernel.drop_capabilities()


LANDLOCK_CREATE_RULESET, LANDLOCK_RESTRICT_SELF = 444, 446
LANDLOCK_ACCESS_FS_WRITE_FILE = 2


def has_landlock() -> bool:
    return bool(libc.syscall(LANDLOCK_CREATE_RULESET, None, 0, 1) > 0)


def landlock() -> None:
    """A domain in which no file may be written to. landlock(7)"""
    unprivileged()
    attributes = ctypes.create_string_buffer(struct.pack("Q", LANDLOCK_ACCESS_FS_WRITE_FILE), 8)
    ruleset = _checked(libc.syscall(LANDLOCK_CREATE_RULESET, attributes, 8, 0))
    _checked(libc.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _checked(libc.syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
