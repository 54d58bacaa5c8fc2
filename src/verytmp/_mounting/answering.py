"""How a child or a helper answers what it is asked: it reports its calls, and keeps no descriptor."""

from __future__ import annotations

import _socket
import errno
import os

from . import protocol
from .protocol import CallLog, Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    _Perform = Callable[[Request, CallLog], tuple[bytes, list[int]]]


class ReportedCalls(CallLog):
    """Calls that the parent hears of beforehand, for a seccomp filter may kill this process in any of them."""

    __slots__ = ("_connection",)

    def __init__(self, connection: _socket.socket) -> None:
        super().__init__()
        self._connection = connection

    def __call__(self, step: str) -> None:
        super().__call__(step)
        self._connection.send(protocol.encode(protocol.STEP, step))


def answer(connection: _socket.socket, log: CallLog, perform: _Perform) -> bool:
    """Receive one request, have it performed, and send the reply. False if there is nobody to ask any more."""
    log.now = "recvmsg"
    try:
        request = protocol.receive(connection)
    except OSError as error:
        connection.send(protocol.encode_refusals(log.refused(error)))
    except ValueError as error:
        connection.send(protocol.encode_refusals([(log.now, errno.EPROTO, str(error))]))
    else:
        if request is None:
            return False
        reply(connection, log, request, perform)
    return True


def reply(connection: _socket.socket, log: CallLog, request: Request, perform: _Perform) -> None:
    """Have a request performed, and send the reply. No descriptor of either is kept.

    *perform* returns the reply, and the descriptors that go with it.
    """
    fds: list[int] = []
    try:
        message, fds = perform(request, log)
    except OSError as error:
        message = protocol.encode_refusals(log.refused(error))
    except Exception as error:
        message = protocol.encode_refusals([(log.now, errno.EIO, repr(error))])
    try:
        connection.sendmsg([message], protocol.rights(fds))
    except OSError as error:
        if error.errno != errno.ETOOMANYREFS:
            raise
        log("sendmsg")  # this user has as many on their way as the kernel allows: unix(7)
        connection.send(protocol.encode_refusals(log.refused(error)))
    finally:
        for fd in (*fds, *request.fds):
            os.close(fd)


def close_all_but(*fds: int | None) -> None:
    """Keep no more than these descriptors: a helper must not hold anybody's pipe, file or directory."""
    nowhere = os.open("/", os.O_PATH)
    os.chdir("/")
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd in fds:  # also with the number of a standard stream, where the process has closed those
            continue
        if fd in (1, 2):  # they stay taken, or something else would be written to in their stead
            os.dup2(nowhere, fd)
        else:
            try:
                os.close(fd)
            except OSError:  # the one that they were listed with
                pass
