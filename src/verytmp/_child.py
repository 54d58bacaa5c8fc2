"""The child that mounts: it enters namespaces of its own, does what it is asked, answers, and ends.

It runs in a forked copy of the process (`main` is called), or in a fresh interpreter (this file is run, its socket as
standard input), which loads the few modules below and not the package's face.
"""

from __future__ import annotations

if __name__ == "__main__":
    import sys

    sys.modules["verytmp"] = type(sys)("verytmp")
    sys.modules["verytmp"].__path__ = [__file__.rpartition("/")[0]]
    import verytmp._child as child  # noqa: PLW0406  # once more, as the module that the others know

    child.main(0)

import errno
import gc
import os
import socket
from functools import partial

from . import _linux, _mount, _wire


def main(descriptor: int) -> None:
    """Answer one request on a socket, and end this process, whatever happens."""
    status = 1
    try:
        gc.disable()  # a collection here would run the parent's finalisers a second time
        connection = socket.socket(fileno=descriptor)  # kept until the end: closing it might warn
        answer(connection)
        status = 0
    finally:
        os._exit(status)


class ReportedSteps(_mount.Steps):
    """Steps that the parent hears of beforehand, for a seccomp filter may kill this process in any of them."""

    __slots__ = ("_connection",)

    def __init__(self, connection: socket.socket) -> None:
        super().__init__()
        self._connection = connection

    def __call__(self, step: str) -> None:
        super().__call__(step)
        self._connection.send(_wire.encode(_wire.STEP, step))


def answer(connection: socket.socket) -> None:
    """Read one request, and send the descriptors that it asked for or the refusals that it met."""
    operation, options = _wire.decode(connection.recv(_wire.MESSAGE_BYTES))
    steps = ReportedSteps(connection)
    try:
        if operation in PROBES:
            connection.send(_wire.encode_refusals(PROBES[operation](steps)))
            return
        enter_namespaces(steps)
        descriptors, how = _mount.OPERATIONS[operation](options, steps, private=True)
    except OSError as error:
        connection.send(_wire.encode_refusals(steps.refused(error)))
    except Exception as error:
        connection.send(_wire.encode_refusals([(steps.now, errno.EIO, repr(error))]))
    else:
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, _wire.pack(descriptors))
        connection.sendmsg([_wire.encode(_wire.DONE, how)], [rights])


def enter_namespaces(steps: _mount.Steps) -> None:
    """Enter a mount namespace in which this process may mount: by privilege, or in a user namespace that it owns."""
    steps("unshare(CLONE_NEWNS)")
    try:
        _linux.unshare(_linux.CLONE_NEWNS)
    except OSError:  # no privilege: the usual case, and no news
        pass
    else:
        return
    user, group = os.geteuid(), os.getegid()
    steps("unshare(CLONE_NEWUSER|CLONE_NEWNS)")
    _mount.patiently(lambda: _linux.unshare(_linux.CLONE_NEWUSER | _linux.CLONE_NEWNS))
    for name, text in (
        ("setgroups", "deny"),  # first: without it, gid_map is refused
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        steps(name)
        write(f"/proc/self/{name}", text)


def try_namespaces(steps: _mount.Steps) -> list[_wire.Refusal]:
    """What unshare(2) answers to each of several questions, and what AppArmor has made of this process then."""
    found = [
        steps.outcome(name, partial(_linux.unshare, flags))
        for name, flags in (
            ("unshare(0)", 0),
            ("unshare(CLONE_NEWUSER|1)", _linux.CLONE_NEWUSER | 1),
            ("unshare(CLONE_NEWUSER)", _linux.CLONE_NEWUSER),
        )
    ]
    try:
        with open("/proc/self/attr/current", "rb", 0) as file:
            found.append(("label after that", 0, file.read(4096).decode("utf-8", "replace")))
    except OSError:  # no security module has labels here
        pass
    return found


def try_features(steps: _mount.Steps) -> list[_wire.Refusal]:
    """What this kernel answers to each thing that a root is made with, in namespaces of this process's own."""
    enter_namespaces(steps)
    return _mount.try_features(steps)


# What is tried to learn of it; the answer is a list of outcomes, in the form of refusals: those with 0 are none.
PROBES = {"namespaces": try_namespaces, "features": try_features}


def write(path: str, text: str) -> None:
    """Write with write(2) itself: a buffered file meets the refusal when it is closed, and loses it there."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
