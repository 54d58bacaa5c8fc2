"""Real refusals: seccomp filters, dropped privileges and limits, set up in the calling process (a child, then)."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

libc = ctypes.CDLL(None, use_errno=True)

PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
SECCOMP_MODE_FILTER = 2
KILL = 0x8000_0000  # SECCOMP_RET_KILL_PROCESS
ERRNO = 0x0005_0000
ALLOW = 0x7FFF_0000

CAP_SYS_ADMIN = 21
CLONE_NEWNS = 0x0002_0000
CLONE_NEWUSER = 0x1000_0000
MOUNT_ATTR_NOSYMFOLLOW = 0x20_0000
OPEN_TREE_CLONE = 0x1
AT_EMPTY_PATH = 0x1000

NUMBERS = {
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "pidfd_open": 434,
    "clone3": 435,
    "faccessat2": 439,
    "mount_setattr": 442,
    "landlock_create_ruleset": 444,
} | {
    "x86_64": {
        "lseek": 8,
        "sendfile": 40,
        "socketpair": 53,
        "clone": 56,
        "mount": 165,
        "umount2": 166,
        "fsetxattr": 190,
        "flistxattr": 196,
        "exit_group": 231,
        "openat": 257,
        "unshare": 272,
        "utimensat": 280,
        "epoll_create1": 291,
        "pipe2": 293,
        "setns": 308,
        "renameat2": 316,
        "copy_file_range": 326,
    },
    "aarch64": {
        "fsetxattr": 7,
        "flistxattr": 13,
        "epoll_create1": 20,
        "umount2": 39,
        "mount": 40,
        "openat": 56,
        "pipe2": 59,
        "lseek": 62,
        "sendfile": 71,
        "utimensat": 88,
        "exit_group": 94,
        "unshare": 97,
        "socketpair": 199,
        "clone": 220,
        "setns": 268,
        "renameat2": 276,
        "copy_file_range": 285,
    },
}[platform.machine()]


class Rule(NamedTuple):
    """What a filter answers to a call: an errno, or 0 to kill the process; with *mask*, where these bits are set."""

    call: str
    errno: int
    argument: int = 0
    mask: int = 0


def seccomp(*rules: Rule) -> None:
    """Install a filter in this process, for good. seccomp(2)."""
    program = b""

    def statement(code: int, jump_true: int, jump_false: int, value: int) -> None:
        nonlocal program
        program += struct.pack("HBBI", code, jump_true, jump_false, value)

    for rule in rules:
        statement(0x20, 0, 0, 0)  # load the call's number
        statement(0x15, 0, 3 if rule.mask else 1, NUMBERS[rule.call])  # another one: go on behind this rule
        if rule.mask:
            statement(0x20, 0, 0, 16 + 8 * rule.argument)  # load the argument's lower half
            statement(0x45, 0, 1, rule.mask)
        statement(0x06, 0, 0, ERRNO | rule.errno if rule.errno else KILL)
    statement(0x06, 0, 0, ALLOW)
    code = ctypes.create_string_buffer(program)
    prog = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    _checked(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _checked(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.c_char_p(prog), 0, 0))


def drop_capabilities(*capabilities: int) -> None:
    """Give capabilities up (all, where none is named) for good, as capset(2) does: the user stays who it is."""
    for capability in capabilities or range(64):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)  # or root would have it back with the next program it starts
    header = struct.pack("Ii", 0x2008_0522, 0)
    data = ctypes.create_string_buffer(24)
    _checked(libc.capget(header, data))
    sets = list(struct.unpack("6I", data.raw))
    gone = sum(1 << capability for capability in capabilities) if capabilities else (1 << 64) - 1
    for word in range(6):  # effective, permitted, inheritable; then their upper halves
        sets[word] &= ~(gone >> (32 * (word // 3)))
    _checked(libc.capset(header, struct.pack("6I", *(value & 0xFFFF_FFFF for value in sets))))


def user_namespace() -> None:
    """Enter a user namespace as its root, in which limits can be set."""
    user, group = os.geteuid(), os.getegid()
    _checked(libc.unshare(CLONE_NEWUSER))
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def limit_namespaces(name: str, most: int) -> None:
    """Set ``user.max_<name>_namespaces`` for a user namespace of our own, and give up what could go round it."""
    user_namespace()
    most_namespaces(name, most)
    drop_capabilities(CAP_SYS_ADMIN)


def most_namespaces(name: str, most: int) -> None:
    with open(f"/proc/sys/user/max_{name}_namespaces", "w") as file:
        file.write(str(most))


def mounting_namespaces() -> None:
    """Enter a user and a mount namespace, in which this process may mount by itself, whoever runs it."""
    user_namespace()
    _checked(libc.unshare(CLONE_NEWNS))


def use_capability(capability: int, wanted: bool) -> None:
    """Take a capability that this process has in use, or out of it until it is wanted again. capset(2)"""
    header, data = struct.pack("Ii", 0x2008_0522, 0), ctypes.create_string_buffer(24)
    _checked(libc.capget(header, data))
    sets = list(struct.unpack("6I", data.raw))
    bit = 1 << capability
    sets[0] = sets[0] | bit if wanted else sets[0] & ~bit
    _checked(libc.capset(header, struct.pack("6I", *sets)))


def exchange(directory: int, one: str, other: str) -> None:
    """renameat2(2) with RENAME_EXCHANGE: in one step."""
    _checked(libc.renameat2(directory, one.encode(), directory, other.encode(), 2))


def may_mount() -> bool:
    """Whether this process has CAP_SYS_ADMIN, and so may enter mount namespaces as well."""
    status = Path("/proc/self/status").read_text()
    return bool(int(status.partition("\nCapEff:\t")[2].split()[0], 16) >> CAP_SYS_ADMIN & 1)


def private_mounts() -> bool:
    """Get a mount namespace in which no other program mounts. An ordinary user is refused, and can leave no mount."""
    if libc.unshare(CLONE_NEWNS) < 0:
        return False
    _checked(libc.mount(None, b"/", None, 0x4000 | 0x4_0000, None))
    return True


def cover(folder: str) -> None:
    """Mount an empty directory over another one, in a mount namespace of our own."""
    _checked(libc.mount(None, b"/", None, 0x4000 | 0x4_0000, None))
    _checked(libc.mount(b"none", folder.encode(), b"tmpfs", 0, None))


def bind(source: str, target: str) -> None:
    """Show a directory with all that is mounted in it at another place too, in a mount namespace of our own."""
    _checked(libc.unshare(CLONE_NEWNS))
    _checked(libc.mount(None, b"/", None, 0x4000 | 0x4_0000, None))
    _checked(libc.mount(source.encode(), target.encode(), None, 0x1000 | 0x4000, None))


def uncover(folder: str) -> None:
    _checked(libc.umount2(folder.encode(), 2))


def hide_proc() -> None:
    """Put an empty directory where /proc was, in a mount namespace of our own."""
    if libc.unshare(CLONE_NEWNS) < 0:
        user_namespace()
        _checked(libc.unshare(CLONE_NEWNS))
    cover("/proc")
    drop_capabilities(CAP_SYS_ADMIN)


def open_tree_clone(mount: int) -> None:
    """Copy the mount that a descriptor is of, open_tree(2): EINVAL if it is in no namespace.

    The process must be one that may mount (`mounting_namespaces`).
    """
    nothing, flags = b"", OPEN_TREE_CLONE | os.O_CLOEXEC | AT_EMPTY_PATH
    copy = libc.syscall(ctypes.c_long(NUMBERS["open_tree"]), mount, nothing, ctypes.c_uint(flags))
    _checked(copy)
    os.close(copy)


PTRACE_TRACEME, PTRACE_SYSCALL = 0, 24


def ptrace(request: int, pid: int = 0) -> None:
    """ptrace(2), for the requests that take no data."""
    _checked(libc.ptrace(ctypes.c_long(request), ctypes.c_int(pid), None, None))


def killed_at_stop(run: Callable[[], object], number: int) -> bool:
    """Run a function in a child that is killed when it stops for the so many-th time.

    It stops before and after each system call; who is killed before a call does not make it. Returns whether it was
    killed: it may end before that.
    """
    pid = os.fork()
    if pid == 0:
        try:
            ptrace(PTRACE_TRACEME)
            os.kill(os.getpid(), signal.SIGSTOP)
            run()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    while os.WIFSTOPPED(status):
        if number == 0:
            os.kill(pid, signal.SIGKILL)
        else:
            ptrace(PTRACE_SYSCALL, pid)
        number -= 1
        _, status = os.waitpid(pid, 0)
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0
        return False
    return True


def fill_descriptor_table(spare: int = 0) -> list[int]:
    """Leave *spare* descriptors free, and no more."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    taken = []
    try:
        while True:
            taken.append(os.open("/", os.O_PATH))
    except OSError:
        pass
    for _ in range(spare):
        os.close(taken.pop())
    return taken


def _checked(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
