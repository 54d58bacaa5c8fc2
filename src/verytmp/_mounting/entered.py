"""The mount namespace that this process has entered, and the helper there, which mounts and unmounts roots by name.

Each request brings the socket on which it is to be answered. So threads, forked children and signal handlers may ask at
the same time, and none hears another one's answer.
"""

from __future__ import annotations

import _socket
import errno
import os
from contextlib import closing

from .._confined.owned_fd import call_owned
from . import child, named, protocol
from .channel import Channel
from .protocol import Refused, Reply, Request, Unanswered
from .signals import Caller, without_interrupts
from .user_namespace import current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._confined.owned_fd import OwnedFd

ENDED = "the helper that verytmp.enter() has started is gone"


class EnteredClient:
    """The helper, as this process and its forked children ask it.

    Args:
        channel: to it, which is this object's from now on.
        pid: its process number.
    """

    def __init__(self, channel: Channel, pid: int) -> None:
        self._channel = channel
        self._child = _NotOurs(pid)

    def make(self, request: Request, caller: Caller) -> Reply:
        """Have a root with a name made: the reply, the last of whose descriptors is the root's lease.

        `Unanswered` where the helper is gone, `Refused` where the kernel refuses it.
        """
        channel, reply = self._ask(request, caller)
        lease = call_owned(os.dup, channel.fileno())
        channel.close()
        return Reply(reply.how, (*reply.fds, lease))

    def change(self, request: Request, caller: Caller) -> Reply:
        """Have a mount changed, or mounted once more. The errors are those of `make`."""
        channel, reply = self._ask(request, caller)
        channel.close()
        return reply

    def sync(self) -> None:
        """Wait until the roots that are closed have lost their names. If the helper is gone, they never will."""
        caller = Caller(threads=1)

        def ask() -> None:
            self._ask(Request(protocol.SYNC), caller)[0].close()

        try:
            without_interrupts(ask, caller)
        except Refused:
            pass

    def fileno(self) -> int:
        """Of the socket to the helper, which a program may be passed to keep it alive."""
        return self._channel.fileno()

    def _ask(self, request: Request, caller: Caller) -> tuple[Channel, Reply]:
        if self._channel.fileno() < 0 or self._channel.lost():  # a program that closes all descriptors was here
            raise self._child.exit_reason("sendmsg")
        with child.refusing("socketpair"):
            ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
            channel = Channel(ours.detach())
        try:
            with closing(theirs):
                self._channel.ask(Request(request.operation, request.fields, [theirs.fileno(), *request.fds]))
            return channel, child.read_answer(channel, self._child, caller)
        except BaseException:
            channel.close()
            raise


class _NotOurs(child.Child):
    """The helper, for `child.read_answer`: a process that is not this one's to reap or to kill."""

    def reap(self, options: int = 0) -> bool:
        return False

    def kill(self) -> None:
        pass

    def exit_reason(self, step: str) -> Refused:
        return Unanswered([(step, errno.ECONNRESET, ENDED)])


def start(caller: Caller) -> tuple[EnteredClient, OwnedFd]:
    """A new namespace with a helper in it, and the namespace's descriptor. This process stays where it is.

    It is in the user namespace of the roots that there are, so that the helper can change those as well.
    The helper is a fresh interpreter, which has no copy of this process's memory. `Refused` where that cannot be.
    """
    given = current()
    request = Request(protocol.ENTER, (), given.fds() if given else ())
    channel, reply = child.start_and_ask(request, caller)
    namespace, *new = reply.fds
    if given is not None and not new:
        given.entered = True
    return EnteredClient(channel, int(reply.how)), namespace


def join(caller: Caller) -> tuple[EnteredClient, OwnedFd] | None:
    """The helper of a namespace that an ancestor has entered, if there is one; and that namespace's descriptor."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    with closing(connection):
        try:
            connection.connect(named.SOCKET)
            fd = os.dup(connection.fileno())
        except OSError:
            return None
    helper = EnteredClient(Channel(fd), 0)
    try:
        channel, reply = without_interrupts(lambda: helper._ask(Request(protocol.JOIN), caller), caller)
    except Refused:
        return None
    channel.close()
    return EnteredClient(helper._channel, int(reply.how)), reply.fds[0]
