"""The mount namespace that this process has entered, and the helper there, which mounts and unmounts roots by name.

Each request brings the socket on which it is to be answered. So threads, forked children and signal handlers may ask at
the same time, and none hears another one's answer.
"""

from __future__ import annotations

import _socket
import errno

from .._confined.owned_fd import owner
from . import child, protocol
from .channel import Line
from .signals import unlost

TYPE_CHECKING = False
if TYPE_CHECKING:
    from select import epoll

    from .signals import SignalsHeld

ENDED = "the helper that verytmp.enter() has started is gone"


class Entered:
    """The helper, as this process and its forked children ask it.

    Args:
        connection: the socket to it, which is this object's from now on.
        pid: its process number.
    """

    def __init__(self, connection: _socket.socket, pid: int) -> None:
        self._line = Line(connection.detach())
        self._child = _NotOurs(pid)

    def root(self, options: list[str], signals: SignalsHeld) -> tuple[tuple[epoll, ...], str]:
        """Have a root made: the owners of its descriptors, the last of which is its lease, and by which call.

        `Unanswered` where the helper is gone, `Refused` where the kernel refuses it.
        """
        reply, fds, how = self._ask(protocol.encode(protocol.NAMED, *options), protocol.NAMED_FDS, signals)
        return (*map(owner, fds), owner(reply.detach())), how

    def sync(self) -> None:
        """Wait until the roots that are closed have lost their names. If the helper is gone, they never will."""

        def ask(signals: SignalsHeld) -> None:
            self._ask(protocol.encode(protocol.SYNC), 0, signals)[0].close()

        try:
            unlost(ask, threads=1)
        except child.Refused:
            pass

    def _ask(self, request: bytes, count: int, signals: SignalsHeld) -> tuple[_socket.socket, list[int], str]:
        if self._line.fileno() < 0 or self._line.lost():  # a program that closes all descriptors was here
            raise self._child.obituary("sendmsg")
        with child.refusing("socketpair"):
            ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        try:
            rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, protocol.pack([theirs.fileno()]))
            try:
                self._line.sendmsg([request], [rights], _socket.MSG_NOSIGNAL)
            except (BrokenPipeError, ConnectionResetError):
                raise self._child.obituary("sendmsg") from None
            finally:
                theirs.close()
            fds, how = child.hear(ours, self._child, count, signals)
        except BaseException:
            ours.close()
            raise
        return ours, fds, how


class _NotOurs(child.Child):
    """The helper, for `child.hear`: a process that is not this one's to reap or to kill."""

    def reap(self, options: int = 0) -> bool:
        return False

    def kill(self) -> None:
        pass

    def obituary(self, step: str) -> child.Refused:
        return child.Unanswered([(step, errno.ECONNRESET, ENDED)])


def start(signals: SignalsHeld) -> tuple[Entered, int]:
    """A new namespace with a helper in it, and the namespace's descriptor. This process stays where it is.

    The helper is a fresh interpreter, which has no copy of this process's memory. `Refused` where that cannot be.
    """
    request = protocol.encode(protocol.ENTER)
    connection, [namespace], pid = child.conversation(request, protocol.ENTER_FDS, signals, threads=2)
    return Entered(connection, int(pid)), namespace
