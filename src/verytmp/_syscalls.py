"""The kernel's own calls, one function each, named as its man page. The only module that imports ctypes.

Descriptors are always made close-on-exec. A failure is an `OSError` with the kernel's errno.
"""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x0002_0000
CLONE_NEWUSER = 0x1000_0000

FSOPEN_CLOEXEC = 0x1
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_CMD_CREATE = 6
FSMOUNT_CLOEXEC = 0x1

MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR_NOSYMFOLLOW = 0x20_0000  # Linux 5.14

MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_NOSYMFOLLOW = 0x100  # Linux 5.10; before that the bit is ignored without a word
MS_REC = 0x4000
MS_PRIVATE = 0x4_0000
MNT_DETACH = 0x2

ST_NOSYMFOLLOW = 0x2000  # statfs(2): f_flags

PR_GET_DUMPABLE = 3
PR_SET_DUMPABLE = 4
PR_GET_CHILD_SUBREAPER = 37

SIG_BLOCK = 0
SIG_SETMASK = 2
SIGSET_BYTES = 128  # sizeof(sigset_t), glibc and musl
EVERY_SIGNAL = b"\xff" * SIGSET_BYTES

# Calls that Linux added after 2019 have one number on every architecture.
_NR_FSOPEN = 430
_NR_FSCONFIG = 431
_NR_FSMOUNT = 432

_libc = ctypes.CDLL(None, use_errno=True)
_long, _int, _uint, _ulong, _text = ctypes.c_long, ctypes.c_int, ctypes.c_uint, ctypes.c_ulong, ctypes.c_char_p


_Sigset = ctypes.c_char * SIGSET_BYTES  # made once: each new array type is a circle for the collector


def _prototype(name: str, result: type, *arguments: type) -> ctypes._FuncPointer:
    # A prototype of its own for each call: syscall(2) takes other types under each number.
    return ctypes.CFUNCTYPE(result, *arguments, use_errno=True)((name, _libc))


_unshare = _prototype("unshare", _int, _int)
_fsopen = _prototype("syscall", _long, _long, _text, _uint)
_fsconfig = _prototype("syscall", _long, _long, _int, _uint, _text, _text, _int)
_fsmount = _prototype("syscall", _long, _long, _int, _uint, _uint)
_mount = _prototype("mount", _int, _text, _text, _text, _ulong, _text)
_prctl = _prototype("prctl", _int, _int, _ulong, _ulong, _ulong, _ulong)
_prctl_into = _prototype("prctl", _int, _int, ctypes.POINTER(_int), _ulong, _ulong, _ulong)
_umount2 = _prototype("umount2", _int, _text, _int)
# Without letting other threads run meanwhile: it takes no time, and among 30 busy ones each return takes 150 ms.
_pthread_sigmask = ctypes.PYFUNCTYPE(_int, _int, ctypes.c_void_p, ctypes.c_void_p)(("pthread_sigmask", _libc))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _encoded(text: str | None) -> bytes | None:
    if text is None:
        return None
    if "\0" in text:
        raise ValueError("embedded null byte")  # C would silently end the string there
    return os.fsencode(text)


def unshare(flags: int) -> None:
    """unshare(2)"""
    _checked(_unshare(flags))


def fsopen(fsname: str) -> int:
    """fsopen(2): a filesystem context, whose messages can be read from it."""
    return _checked(_fsopen(_NR_FSOPEN, _encoded(fsname), FSOPEN_CLOEXEC))


def fsconfig(fd: int, command: int, key: str | None = None, value: str | None = None) -> None:
    """fsconfig(2)"""
    _checked(_fsconfig(_NR_FSCONFIG, fd, command, _encoded(key), _encoded(value), 0))


def fsmount(fd: int, attributes: int) -> int:
    """fsmount(2): a detached mount, which goes with its last descriptor."""
    return _checked(_fsmount(_NR_FSMOUNT, fd, FSMOUNT_CLOEXEC, attributes))


def mount(source: str | None, target: str, fstype: str | None, flags: int, data: str | None = None) -> None:
    """mount(2)"""
    _checked(_mount(_encoded(source), _encoded(target), _encoded(fstype), flags, _encoded(data)))


def umount2(target: str, flags: int) -> None:
    """umount2(2)"""
    _checked(_umount2(_encoded(target), flags))


def prctl(option: int, argument: int = 0) -> int:
    """prctl(2), for the options that take one argument at most."""
    return _checked(_prctl(option, argument, 0, 0, 0))


def in_main_interpreter() -> bool:
    """Whether this is no sub-interpreter, from C's API; or so it is taken to be, where that cannot be asked."""
    if not _interpreter_states:
        return True
    own, main = (state() for state in _interpreter_states)
    return bool(own == main)


def _prototypes_of_interpreters() -> tuple[ctypes._FuncPointer, ...]:
    try:
        names = ("PyInterpreterState_Get", "PyInterpreterState_Main")
        return tuple(ctypes.PYFUNCTYPE(ctypes.c_void_p)((name, ctypes.pythonapi)) for name in names)
    except AttributeError:  # no such symbols here
        return ()


_interpreter_states = _prototypes_of_interpreters()  # made once: each new prototype is a circle for the collector


def prctl_value(option: int) -> int:
    """prctl(2), for the options that write an int, which is returned."""
    value = _int()
    _checked(_prctl_into(option, ctypes.byref(value), 0, 0, 0))
    return value.value


def pthread_sigmask(how: int, mask: bytes) -> bytes:
    """pthread_sigmask(3): the calling thread's old mask. A `sigset_t` is bytes here.

    `signal.pthread_sigmask` builds a set of enum members, which takes 65 us where this takes 2.
    """
    old = _Sigset()
    number = _pthread_sigmask(how, mask, old)
    if number:
        raise OSError(number, os.strerror(number))
    return old.raw
