"""A socket from which descriptors come, so that none of them can be lost."""

from __future__ import annotations

import _socket
import errno
import os
from functools import partial
from operator import itemgetter, methodcaller

from .._confined.owned_fd import KeptFds, owner
from . import protocol
from .child import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from select import epoll
    from typing import Any

FLAGS = int(_socket.MSG_CMSG_CLOEXEC | _socket.MSG_DONTWAIT)  # members of an enum take 3 us to be put together


class Line(_socket.socket):
    """It closes its descriptor when it goes, if that is still its own, and warns nobody.

    A program may close all descriptors there are, as daemons do, and open its own under their numbers. And a signal
    handler's exception may come anywhere, but not into what is in C. So the socket does not own the descriptor, and one
    that arrives has its owner before any Python runs.
    """

    __slots__ = ("__weakref__", "_fds")

    def __init__(self, number: int) -> None:
        self._fds = KeptFds(owner(number))
        super().__init__(fileno=self._fds.fileno())

    __del__ = _socket.socket.detach

    def lost(self) -> bool:
        """Whether it is closed, by us or by a program that closes all descriptors."""
        return not self._fds.are_ours()

    def close(self) -> None:
        """Close it, if it is still this one."""
        self.detach()
        self._fds.close()

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
