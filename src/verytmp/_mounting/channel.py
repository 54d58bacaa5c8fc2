"""A socket from which descriptors come, so that none of them can be lost."""

from __future__ import annotations

import _socket
import errno
import os
from fcntl import F_DUPFD_CLOEXEC, fcntl
from functools import partial
from operator import itemgetter, methodcaller

from .._confined.owned_fd import STANDARD_STREAMS, owner
from . import protocol
from .child import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from select import epoll
    from typing import Any

FLAGS = int(_socket.MSG_CMSG_CLOEXEC | _socket.MSG_DONTWAIT)  # members of an enum take 3 us to be put together


class Line(_socket.socket):
    """It closes itself when it goes, and warns nobody.

    A signal handler's exception may come anywhere, but not into what is in C: so a socket that is dropped is closed by
    its own `close`, and a descriptor that arrives has its owner before any Python runs.
    """

    __slots__ = ("__weakref__", "_itself")

    def __init__(self, number: int) -> None:
        if number < STANDARD_STREAMS:
            number, low = fcntl(number, F_DUPFD_CLOEXEC, STANDARD_STREAMS), number
            os.close(low)
        super().__init__(fileno=number)
        self._itself = os.fstat(number)

    __del__ = _socket.socket.close

    def lost(self) -> bool:
        """Whether a program that closes all descriptors, as daemons do, was here. Then its number is not given back."""
        try:
            if os.path.samestat(os.fstat(self.fileno()), self._itself):
                return False
        except OSError:
            pass
        self.detach()
        return True

    def adopted(self, count: int) -> tuple[epoll, ...]:
        """The descriptors that have come, so many, and nothing of the message about them. It does not wait."""
        room = _socket.CMSG_SPACE(count * protocol.INT_BYTES)
        rights = map(self.recvmsg, (protocol.MESSAGE_BYTES,), (room,), (FLAGS,))
        for part in (1, 0, 2):  # of the message its control data, of these the first, of that its bytes
            rights = map(itemgetter(part), rights)
        every: Any = map  # of what comes from it, checkers know nothing
        # In each message's bytes, as many C ints as there are; and for each int, an owner.
        numbers = every(methodcaller("cast", "i"), every(memoryview, rights))
        adopted: tuple[epoll, ...]
        try:
            adopted = next(every(tuple, every(partial(every, owner), numbers)))
        except IndexError:
            adopted = ()
        if len(adopted) < count:  # there was no room for it in the descriptor table, which recvmsg itself does not say
            raise Refused([("recvmsg", errno.EMFILE, os.strerror(errno.EMFILE))])
        return adopted
