"""The kernel's own calls, one function each, named as its man page. The only module that uses ctypes.

Descriptors are always made close-on-exec. A failure is an `OSError` with the kernel's errno.

What ctypes is made of is used, `_ctypes`, and of os what it has from `posix`: each of the two takes a fresh interpreter
3 to 4 ms to load, and the first root, or a program on its way into a root's namespace, waits for it.
"""

from __future__ import annotations

import _ctypes
import errno
from posix import O_CLOEXEC, strerror
from sys import byteorder, getfilesystemencodeerrors, getfilesystemencoding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, final
else:

    def final(kind: type) -> type:  # typing takes 5 ms to import
        return kind


CLONE_FS = 0x200
CLONE_NEWNS = 0x0002_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWPID = 0x2000_0000
NS_GET_USERNS = 0xB701  # ioctl_nsfs(2): the user namespace that owns a namespace

FSOPEN_CLOEXEC = 0x1
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_SET_FD = 5
FSCONFIG_CMD_CREATE = 6
FSCONFIG_CMD_RECONFIGURE = 7
FSMOUNT_CLOEXEC = 0x1
FSPICK_CLOEXEC = 0x1
FSPICK_EMPTY_PATH = 0x8

OPEN_TREE_CLONE = 0x1
OPEN_TREE_CLOEXEC = O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 0x4
AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR_NOSYMFOLLOW = 0x20_0000  # Linux 5.14

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_NOSYMFOLLOW = 0x100  # Linux 5.10; before that the bit is ignored without a word
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x4_0000
MS_SLAVE = 0x8_0000
MNT_DETACH = 0x2

ST_NOSYMFOLLOW = 0x2000  # statfs(2): f_flags

RENAME_NOREPLACE = 0x1
RENAME_EXCHANGE = 0x2

PR_SET_PDEATHSIG = 1
PR_GET_DUMPABLE = 3
PR_SET_DUMPABLE = 4
PR_CAPBSET_DROP = 24
PR_GET_CHILD_SUBREAPER = 37
PR_SET_NO_NEW_PRIVS = 38

# Landlock's rights to a file or what lies below a directory: landlock(7).
LANDLOCK_WRITE_FILE = 1 << 1
LANDLOCK_REMOVE_AND_MAKE = sum(1 << bit for bit in range(4, 13))
LANDLOCK_REFER = 1 << 13
LANDLOCK_TRUNCATE = 1 << 14

SIG_BLOCK = 0
SIG_SETMASK = 2
SIGSET_BYTES = 128  # sizeof(sigset_t), glibc and musl
EVERY_SIGNAL = b"\xff" * SIGSET_BYTES

# Calls that Linux added after 2019 have one number on every architecture.
_NR_OPEN_TREE = 428
_NR_MOVE_MOUNT = 429
_NR_FSOPEN = 430
_NR_FSCONFIG = 431
_NR_FSMOUNT = 432
_NR_FSPICK = 433
_NR_MOUNT_SETATTR = 442
_NR_LANDLOCK_CREATE_RULESET = 444
_NR_LANDLOCK_ADD_RULE = 445
_NR_LANDLOCK_RESTRICT_SELF = 446

_LANDLOCK_CREATE_RULESET_VERSION = 1
_LANDLOCK_RULE_PATH_BENEATH = 1

_CAPABILITY_VERSION_3 = 0x2008_0522  # capset(2): 64 capabilities, in two halves


_untyped: Any = _ctypes  # type checkers know but a part of it


def _simple(code: str) -> Any:
    """The type that C knows by this letter: see the documentation of `struct`, and z for a string, P for a pointer."""
    kind = _untyped._SimpleCData
    return type(kind)(code, (kind,), {"_type_": code})


_long, _int, _uint, _ulong, _char, _text, _pointer = map(_simple, "liILczP")
_Sigset = _char * SIGSET_BYTES  # made once: each new array type is a circle for the collector
_Value = _char * 4  # an int that the kernel writes


@final
class _Function(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = _int


@final
class _PythonFunction(_ctypes.CFuncPtr):
    """One that is called without letting other threads run meanwhile."""

    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_PYTHONAPI
    _restype_ = _int


class _Loaded:
    """What this process has loaded: libc, and Python."""

    _handle = _untyped.dlopen(None, 0)


def _prototype(name: str, result: Any, *arguments: Any, kind: Any = _Function) -> Any:
    # A prototype of its own for each call: syscall(2) takes other types under each number.
    function = kind((name, _Loaded))
    function.restype, function.argtypes = result, arguments
    return function


def _prototype_or_none(name: str, result: Any, *arguments: Any) -> Any:
    try:
        return _prototype(name, result, *arguments)
    except AttributeError:  # this C library has no such function
        return None


_unshare = _prototype("unshare", _int, _int)
_setns = _prototype("setns", _int, _int, _int)
_ioctl = _prototype("ioctl", _int, _int, _ulong)
_open_tree = _prototype("syscall", _long, _long, _int, _text, _uint)
_move_mount = _prototype("syscall", _long, _long, _int, _text, _int, _text, _uint)
_mount_setattr = _prototype("syscall", _long, _long, _int, _text, _uint, _text, _ulong)
_pivot_root = _prototype("pivot_root", _int, _text, _text)
_capset = _prototype("capset", _int, _text, _text)
_fsopen = _prototype("syscall", _long, _long, _text, _uint)
_fsconfig = _prototype("syscall", _long, _long, _int, _uint, _text, _text, _int)
_fsmount = _prototype("syscall", _long, _long, _int, _uint, _uint)
_fspick = _prototype("syscall", _long, _long, _int, _text, _uint)
_mount = _prototype("mount", _int, _text, _text, _text, _ulong, _text)
_prctl = _prototype("prctl", _int, _int, _ulong, _ulong, _ulong, _ulong)
_prctl_into = _prototype("prctl", _int, _int, _pointer, _ulong, _ulong, _ulong)
_landlock_create_ruleset = _prototype("syscall", _long, _long, _text, _ulong, _uint)
_landlock_add_rule = _prototype("syscall", _long, _long, _int, _int, _text, _uint)
_landlock_restrict_self = _prototype("syscall", _long, _long, _int, _uint)
_umount2 = _prototype("umount2", _int, _text, _int)
_renameat2 = _prototype_or_none("renameat2", _int, _int, _text, _int, _text, _uint)  # glibc 2.28
# Without letting other threads run meanwhile: it takes no time, and among 30 busy ones each return takes 150 ms.
_pthread_sigmask = _prototype("pthread_sigmask", _int, _int, _pointer, _pointer, kind=_PythonFunction)


def _checked(result: int) -> int:
    if result < 0:
        number = _ctypes.get_errno()
        raise OSError(number, strerror(number))
    return result


def _encoded(text: str | None) -> bytes | None:
    if text is None:
        return None
    if "\0" in text:
        raise ValueError("embedded null byte")  # C would silently end the string there
    return text.encode(getfilesystemencoding(), getfilesystemencodeerrors())


def unshare(flags: int) -> None:
    """unshare(2)"""
    _checked(_unshare(flags))


def setns(fd: int, nstype: int) -> None:
    """setns(2)"""
    _checked(_setns(fd, nstype))


def ioctl(fd: int, operation: int) -> int:
    """ioctl(2), for the operations without an argument."""
    return _checked(_ioctl(fd, operation))


def open_tree(dir_fd: int, path: str, flags: int) -> int:
    """open_tree(2): with `OPEN_TREE_CLONE`, a detached copy of a mount, which goes with its last descriptor."""
    return _checked(_open_tree(_NR_OPEN_TREE, dir_fd, _encoded(path), flags | OPEN_TREE_CLOEXEC))


def move_mount(fd: int, target: str, dir_fd: int = AT_FDCWD) -> None:
    """move_mount(2): attach a detached mount to a directory; from Linux 6.15 on, to one in a detached mount too."""
    flags = MOVE_MOUNT_F_EMPTY_PATH
    _checked(_move_mount(_NR_MOVE_MOUNT, fd, b"", dir_fd, _encoded(target), flags))


def mount_setattr(dir_fd: int, path: str, flags: int, attributes: int, cleared: int = 0) -> None:
    """mount_setattr(2): set and clear attributes of a mount; with `AT_RECURSIVE`, of those below it too, or of none."""
    changes = b"".join(value.to_bytes(8, byteorder) for value in (attributes, cleared, 0, 0))
    _checked(_mount_setattr(_NR_MOUNT_SETATTR, dir_fd, _encoded(path), flags, changes, len(changes)))


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2)"""
    _checked(_pivot_root(_encoded(new_root), _encoded(put_old)))


def capset(capabilities: int = 0) -> None:
    """capset(2): have these capabilities, effective and permitted, and let no program inherit one."""
    header = b"".join(value.to_bytes(4, byteorder) for value in (_CAPABILITY_VERSION_3, 0))
    halves = (capabilities & 0xFFFF_FFFF, capabilities >> 32)
    data = b"".join(value.to_bytes(4, byteorder) for half in halves for value in (half, half, 0))
    _checked(_capset(header, data))


def fsopen(fsname: str) -> int:
    """fsopen(2): a filesystem context, whose messages can be read from it."""
    return _checked(_fsopen(_NR_FSOPEN, _encoded(fsname), FSOPEN_CLOEXEC))


def fsconfig(fd: int, command: int, key: str | None = None, value: str | None = None, aux: int = 0) -> None:
    """fsconfig(2)"""
    _checked(_fsconfig(_NR_FSCONFIG, fd, command, _encoded(key), _encoded(value), aux))


def fspick(fd: int) -> int:
    """fspick(2): a context in which the file system of an open mount can be changed."""
    return _checked(_fspick(_NR_FSPICK, fd, b"", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH))


def fsmount(fd: int, attributes: int) -> int:
    """fsmount(2): a detached mount, which goes with its last descriptor."""
    return _checked(_fsmount(_NR_FSMOUNT, fd, FSMOUNT_CLOEXEC, attributes))


def mount(source: str | None, target: str, fstype: str | None, flags: int, data: str | None = None) -> None:
    """mount(2)"""
    _checked(_mount(_encoded(source), _encoded(target), _encoded(fstype), flags, _encoded(data)))


def umount2(target: str, flags: int) -> None:
    """umount2(2)"""
    _checked(_umount2(_encoded(target), flags))


def renameat2(old_dir: int, old: str, new_dir: int, new: str, flags: int) -> None:
    """renameat2(2). `OSError` (ENOSYS) where the C library has none."""
    if _renameat2 is None:
        raise OSError(errno.ENOSYS, strerror(errno.ENOSYS))
    _checked(_renameat2(old_dir, _encoded(old), new_dir, _encoded(new), flags))


def prctl(option: int, argument: int = 0) -> int:
    """prctl(2), for the options that take one argument at most."""
    return _checked(_prctl(option, argument, 0, 0, 0))


def landlock_abi() -> int:
    """landlock_create_ruleset(2): the version of Landlock that this kernel has."""
    return _checked(_landlock_create_ruleset(_NR_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_CREATE_RULESET_VERSION))


def landlock_create_ruleset(rights: int) -> int:
    """landlock_create_ruleset(2): a ruleset that forbids these *rights* to files, but for the rules that it gets."""
    attributes = rights.to_bytes(8, byteorder)
    return _checked(_landlock_create_ruleset(_NR_LANDLOCK_CREATE_RULESET, attributes, len(attributes), 0))


def landlock_add_rule(ruleset: int, fd: int, rights: int) -> None:
    """landlock_add_rule(2): allow *rights* to a file, or to all that lies below a directory."""
    attributes = rights.to_bytes(8, byteorder) + fd.to_bytes(4, byteorder)
    _checked(_landlock_add_rule(_NR_LANDLOCK_ADD_RULE, ruleset, _LANDLOCK_RULE_PATH_BENEATH, attributes, 0))


def landlock_restrict_self(ruleset: int) -> None:
    """landlock_restrict_self(2), for this thread and the programs that it becomes or starts, for good."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    _checked(_landlock_restrict_self(_NR_LANDLOCK_RESTRICT_SELF, ruleset, 0))


def in_main_interpreter() -> bool:
    """Whether this is no sub-interpreter, from C's API; or so it is taken to be, where that cannot be asked."""
    if not _interpreter_states:
        return True
    own, main = (state() for state in _interpreter_states)
    return bool(own == main)


def _prototypes_of_interpreters() -> tuple[Any, ...]:
    try:
        names = ("PyInterpreterState_Get", "PyInterpreterState_Main")
        return tuple(_prototype(name, _pointer, kind=_PythonFunction) for name in names)
    except AttributeError:  # no such symbols here
        return ()


_interpreter_states = _prototypes_of_interpreters()  # made once: each new prototype is a circle for the collector


def prctl_value(option: int) -> int:
    """prctl(2), for the options that write an int, which is returned."""
    value = _Value()
    _checked(_prctl_into(option, value, 0, 0, 0))
    return int.from_bytes(value.raw, byteorder)


def pthread_sigmask(how: int, mask: bytes) -> bytes:
    """pthread_sigmask(3): the calling thread's old mask. A `sigset_t` is bytes here.

    `signal.pthread_sigmask` builds a set of enum members, which takes 65 us where this takes 2.
    """
    old = _Sigset()
    number = _pthread_sigmask(how, mask, old)
    if number:
        raise OSError(number, strerror(number))
    return bytes(old.raw)
