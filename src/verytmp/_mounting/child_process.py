"""What runs in the child that mounts: it enters namespaces of its own, does what it is asked, answers, and ends.

It runs in a forked copy of the process (`main` is called), or in a fresh interpreter (this file is run, its socket as
standard input), which loads the few modules below and not the package's `__init__`. There it may be asked to stay, and
to answer one request after another: the helper.
"""

from __future__ import annotations

if __name__ == "__main__":
    import sys

    sys.modules["verytmp"] = type(sys)("verytmp")
    sys.modules["verytmp"].__path__ = [__file__.rsplit("/", 2)[0]]
    import verytmp._mounting.child_process as child  # noqa: PLW0406  # once more, as the module that the others know

    child.make_dumpable()
    child.main(0)

import _socket
import errno
import gc
import os
import select
from posix import getegid, geteuid, getgid, getuid  # a test may have put others in os

from .. import _syscalls
from . import named, protocol, tmpfs
from .answering import ReportedCalls, answer, close_all_but
from .namespaces import enter_namespaces
from .protocol import CallLog, Request
from .spec import MountSpec


def main(fd: int) -> None:
    """Answer one request on a socket, and end this process, whatever happens."""
    status = 1
    try:
        gc.disable()  # a collection here would run the parent's finalisers a second time
        connection = _socket.socket(fileno=fd)  # kept until the end: closing it might warn
        log = ReportedCalls(connection)
        if answer(connection, log, lambda request, log: first_request(request, log, connection)):
            status = 0
    finally:
        os._exit(status)


def make_dumpable() -> None:
    """Let this process, a fresh interpreter, write its own maps.

    exec(2) makes a program's /proc files root's where the effective user or group is not the real one, as after
    seteuid(2). There is nothing to hide here yet, and who may look is who has the real one's rights too: ptrace(2).
    """
    if (getuid(), getgid()) != (geteuid(), getegid()):
        _syscalls.prctl(_syscalls.PR_SET_DUMPABLE, 1)


def first_request(request: Request, log: CallLog, connection: _socket.socket) -> tuple[bytes, list[int]]:
    """What a new child may be asked for: an operation, or to try something, or to stay."""
    if request.operation == protocol.PROBE:
        from . import probes  # not many are asked for it

        return protocol.encode_refusals(probes.PROBES[request.fields[0]](log), protocol.TRIED), []
    if request.operation == protocol.RESIDE:
        return daemonize(request, log, connection)
    if request.operation == protocol.ENTER:
        from . import entered_helper

        return entered_helper.daemonize(request, log, connection)
    new = enter_namespaces(log, request.fds[protocol.own_fds(request) :])
    try:
        fds, how = OPERATIONS[request.operation](request, log)
    except BaseException:
        for fd in new:
            os.close(fd)
        raise
    return protocol.encode_done(how, [*fds, *new]), [*fds, *new]


def perform(request: Request, log: CallLog) -> tuple[bytes, list[int]]:
    """An operation, in a helper."""
    fds, how = OPERATIONS[request.operation](request, log)
    return protocol.encode_done(how, fds), fds


def make_tmpfs(request: Request, log: CallLog) -> tuple[list[int], str]:
    return tmpfs.make_tmpfs(MountSpec.decode(request.fields), log, private=True)


def make_named(request: Request, log: CallLog) -> tuple[list[int], str]:
    return named.make_named(MountSpec.decode(request.fields), (), log)


def change(request: Request, log: CallLog) -> tuple[list[int], str]:
    if request.operation == protocol.CLONE and (spec := MountSpec.decode(request.fields[1:])).at:
        return named.make_named(spec, request.fds[: protocol.own_fds(request)], log)
    from . import changes  # few children are asked for one

    return changes.perform(request, log)


# What is done in namespaces of this process's own.
OPERATIONS = {protocol.TMPFS: make_tmpfs, protocol.NAMED: make_named, **dict.fromkeys(protocol.CHANGES, change)}


def daemonize(request: Request, log: CallLog, connection: _socket.socket) -> tuple[bytes, list[int]]:
    """Leave a helper behind, in namespaces of its own. It is no child of its owner's, who may wait for all it has.

    The reply brings a descriptor that becomes readable when the helper ends, that of its user namespace if that is new,
    and its process number, as this process's pid namespace has it.
    """
    owner = int(request.fields[0])
    owners_end = pidfd(owner)
    if os.getppid() not in (owner, 0):  # 0 is a parent in another pid namespace
        raise OSError(errno.ESRCH, os.strerror(errno.ESRCH))  # it is gone, and that number may be anybody's
    new = enter_namespaces(log, request.fds)
    log("pipe")
    end, kept = os.pipe()
    log("fork")
    child = os.fork()
    if child == 0:
        try:
            serve(connection, owners_end, kept)
        finally:
            os._exit(0)
    known = pidfd(child)
    fds = [end if known is None else known, *new]
    return protocol.encode_done(str(child), fds), fds


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
    close_all_but(connection.fileno(), owner, kept)
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    if owner is not None:
        poll.register(owner, select.POLLIN)
    log: CallLog = ReportedCalls(connection)  # of the first request alone: a filter that kills will do so then
    while [ready for ready, _ in poll.poll()] == [connection.fileno()]:
        if not answer(connection, log, perform):
            break
        log = CallLog()
