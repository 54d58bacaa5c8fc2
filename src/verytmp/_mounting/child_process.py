"""The child that mounts: it enters namespaces of its own, does what it is asked, answers, and ends.

It runs in a forked copy of the process (`main` is called), or in a fresh interpreter (this file is run, its socket as
standard input), which loads the few modules below and not the package's face. There it may be asked to stay, and to
answer one request after another: the resident helper.
"""

from __future__ import annotations

if __name__ == "__main__":
    import sys

    sys.modules["verytmp"] = type(sys)("verytmp")
    sys.modules["verytmp"].__path__ = [__file__.rsplit("/", 2)[0]]
    import verytmp._mounting.child_process as child  # noqa: PLW0406  # once more, as the module that the others know

    child.show()
    child.main(0)

import _socket
import errno
import gc
import os
import select
from posix import getegid, geteuid, getgid, getuid  # a test may have put others in os

from .. import _syscalls
from . import namespaces, protocol, tmpfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def main(descriptor: int) -> None:
    """Answer one request on a socket, and end this process, whatever happens."""
    status = 1
    try:
        gc.disable()  # a collection here would run the parent's finalisers a second time
        connection = _socket.socket(fileno=descriptor)  # kept until the end: closing it might warn
        operation, fields = protocol.decode(connection.recv(protocol.MESSAGE_BYTES))
        steps = ReportedSteps(connection)
        if operation == protocol.RESIDE:
            answer(connection, steps, settle, connection, steps, int(*fields))
        elif operation == protocol.ENTER:
            from . import entered_helper

            answer(connection, steps, entered_helper.settle, connection, steps)
        elif operation in PROBES:
            tell(connection, steps, PROBES[operation])
        else:
            answer(connection, steps, alone, operation, fields, steps)
        status = 0
    finally:
        os._exit(status)


def show() -> None:
    """Let this process, a fresh interpreter, write its own maps.

    exec(2) makes a program's /proc files root's where the effective user or group is not the real one, as after
    seteuid(2). There is nothing to hide here yet, and who may look is who has the real one's rights too: ptrace(2).
    """
    if (getuid(), getgid()) != (geteuid(), getegid()):
        _syscalls.prctl(_syscalls.PR_SET_DUMPABLE, 1)


class ReportedSteps(tmpfs.Steps):
    """Steps that the parent hears of beforehand, for a seccomp filter may kill this process in any of them."""

    __slots__ = ("_connection",)

    def __init__(self, connection: _socket.socket) -> None:
        super().__init__()
        self._connection = connection

    def __call__(self, step: str) -> None:
        super().__call__(step)
        self._connection.send(protocol.encode(protocol.STEP, step))


def answer(
    connection: _socket.socket, steps: tmpfs.Steps, perform: Callable[..., tuple[list[int], str]], *args: object
) -> None:
    """Send the descriptors that a request asked for, and keep none of them; or the refusals that it met."""
    try:
        descriptors, how = perform(*args)
    except OSError as error:
        connection.send(protocol.encode_refusals(steps.refused(error)))
    except Exception as error:
        connection.send(protocol.encode_refusals([(steps.now, errno.EIO, repr(error))]))
    else:
        rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, protocol.pack(descriptors))
        try:
            connection.sendmsg([protocol.encode(protocol.DONE, how)], [rights])
        except OSError as error:
            if error.errno != errno.ETOOMANYREFS:
                raise
            steps("sendmsg")  # this user has as many on their way as the kernel allows: unix(7)
            connection.send(protocol.encode_refusals(steps.refused(error)))
        finally:
            for descriptor in descriptors:
                os.close(descriptor)


def tell(
    connection: _socket.socket, steps: tmpfs.Steps, probe: Callable[[tmpfs.Steps], list[protocol.Refusal]]
) -> None:
    """Send what was tried and how it went, in the form of refusals: those with 0 are none."""
    try:
        outcomes = probe(steps)
    except OSError as error:
        outcomes = steps.refused(error)
    connection.send(protocol.encode_refusals(outcomes))


def alone(operation: str, options: list[str], steps: tmpfs.Steps) -> tuple[list[int], str]:
    """The one request of a child that does not stay."""
    enter_namespaces(steps)
    return performed(operation, options, steps)


def performed(operation: str, options: list[str], steps: tmpfs.Steps) -> tuple[list[int], str]:
    if operation == protocol.NAMED:
        return namespaces.named_root(options, steps)
    return tmpfs.OPERATIONS[operation](options, steps, private=True)


def settle(connection: _socket.socket, steps: tmpfs.Steps, owner: int) -> tuple[list[int], str]:
    """Leave a resident helper behind, in namespaces of its own: a descriptor that becomes readable when it ends.

    The text with it is the helper's process number, as this process's pid namespace has it.

    It is no child of its owner's, who may be waiting for all that it has.
    """
    owners_end = pidfd(owner)
    if os.getppid() not in (owner, 0):  # 0 is a parent in another pid namespace
        raise OSError(errno.ESRCH, os.strerror(errno.ESRCH))  # it is gone, and that number may be anybody's
    enter_namespaces(steps)
    steps("pipe")
    end, kept = os.pipe()
    steps("fork")
    child = os.fork()
    if child == 0:
        try:
            serve(connection, owners_end, kept)
        finally:
            os._exit(0)
    known = pidfd(child)
    return [end if known is None else known], str(child)


def pidfd(process: int) -> int | None:
    """pidfd_open(2), where there is one: Linux 5.3, no filter before it, and a Python that was built with it."""
    try:
        return os.pidfd_open(process)
    except (OSError, AttributeError):
        return None


def serve(connection: _socket.socket, owner: int | None, kept: int) -> None:
    """Answer requests until there is nobody to ask any more.

    That is when the connection's other end is closed; or when the owner is dead, for a child that it had forked may
    hold a copy of that end.
    """
    own(connection.fileno(), owner, kept)
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    if owner is not None:
        poll.register(owner, select.POLLIN)
    steps: tmpfs.Steps = ReportedSteps(connection)  # of the first request alone: a filter that kills will do so then
    while [ready for ready, _ in poll.poll()] == [connection.fileno()]:
        message = connection.recv(protocol.MESSAGE_BYTES)
        if not message:
            break
        operation, options = protocol.decode(message)
        answer(connection, steps, performed, operation, options, steps)
        steps = tmpfs.Steps()


def own(*descriptors: int | None) -> None:
    """Keep no more than these descriptors: a resident helper must not hold anybody's pipe, file or directory."""
    nowhere = os.open("/", os.O_PATH)
    os.chdir("/")
    for name in os.listdir("/proc/self/fd"):
        number = int(name)
        if number in (1, 2):  # they stay taken, or something else would be written to in their stead
            os.dup2(nowhere, number)
        elif number not in descriptors:
            try:
                os.close(number)
            except OSError:  # the one that they were listed with
                pass


def enter_namespaces(steps: tmpfs.Steps) -> None:
    """Enter a mount namespace in which this process may mount: by privilege, or in a user namespace that it owns."""
    steps("unshare(CLONE_NEWNS)")
    try:
        _syscalls.unshare(_syscalls.CLONE_NEWNS)
    except OSError:  # no privilege: the usual case, and no news
        pass
    else:
        return
    user, group = geteuid(), getegid()
    steps("unshare(CLONE_NEWUSER|CLONE_NEWNS)")
    tmpfs.patiently(lambda: _syscalls.unshare(_syscalls.CLONE_NEWUSER | _syscalls.CLONE_NEWNS), "user", "mnt")
    for name, text in (
        ("setgroups", "deny"),  # first: without it, gid_map is refused
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        steps(name)
        write(f"/proc/self/{name}", text)


def try_namespaces(steps: tmpfs.Steps) -> list[protocol.Refusal]:
    """What unshare(2) answers to each of several questions, and what AppArmor has made of this process then."""
    found = [
        steps.outcome(name, _syscalls.unshare, flags)
        for name, flags in (
            ("unshare(0)", 0),
            ("unshare(CLONE_NEWUSER|1)", _syscalls.CLONE_NEWUSER | 1),
            ("unshare(CLONE_NEWUSER)", _syscalls.CLONE_NEWUSER),
        )
    ]
    try:
        with open("/proc/self/attr/current", "rb", 0) as file:
            found.append(("label after that", 0, file.read(4096).decode("utf-8", "replace")))
    except OSError:  # no security module has labels here
        pass
    return found


def try_features(steps: tmpfs.Steps) -> list[protocol.Refusal]:
    """What this kernel answers to each thing that a root is made with, in namespaces of this process's own."""
    enter_namespaces(steps)
    return tmpfs.try_features(steps)


# What is tried to learn of it.
PROBES = {"namespaces": try_namespaces, "features": try_features}


def write(path: str, text: str) -> None:
    """Write with write(2) itself: a buffered file meets the refusal when it is closed, and loses it there."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
