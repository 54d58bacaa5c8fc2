"""The socket to a child or a helper, and the one reader of what either says. No descriptor that comes can be lost."""

from __future__ import annotations

import _socket
import errno
import os
from functools import partial
from operator import itemgetter, methodcaller

from .._confined.owned_fd import KeptFds, owner
from . import protocol
from .protocol import Refused, Reply, Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .._confined.owned_fd import OwnedFd

    _Failure = Callable[[str, int, str], Refused]

# Members of an enum take 3 us to be put together.
RECEIVE = int(_socket.MSG_CMSG_CLOEXEC | _socket.MSG_DONTWAIT)
LOOK = int(_socket.MSG_PEEK | _socket.MSG_DONTWAIT)
SEND = int(_socket.MSG_NOSIGNAL)


class Channel(_socket.socket):
    """It closes its descriptor when it goes, if that is still its own, and warns nobody.

    A program may close all descriptors there are, as daemons do, and open its own under their numbers. And a signal
    handler's exception may come anywhere, but not into what is in C. So the socket does not own the descriptor, and one
    that arrives has its owner before any Python runs.

    Args:
        fd: a socket's, which is this object's from now on; or what keeps it, which another channel has had.
    """

    __slots__ = ("__weakref__", "kept")

    def __init__(self, fd: int | KeptFds) -> None:
        self.kept = fd if isinstance(fd, KeptFds) else KeptFds(owner(fd))
        super().__init__(fileno=self.kept.fileno())

    __del__ = _socket.socket.detach

    def lost(self) -> bool:
        """Whether it is closed, by us or by a program that closes all descriptors."""
        return not self.kept.are_ours()

    def close(self) -> None:
        """Close it, if it is still this one."""
        self.detach()
        self.kept.close()

    def ask(self, request: Request) -> None:
        """Send a request. If the other end is gone, the reader of the reply finds out."""
        try:
            if request.fds:
                self.sendmsg([request.encode()], protocol.rights(request.fds), SEND)
            else:
                self.send(request.encode(), SEND)
        except (BrokenPipeError, ConnectionResetError):
            pass
        except OSError as error:
            if error.errno != errno.ETOOMANYREFS:
                raise
            # This user has as many descriptors on their way as the kernel allows: unix(7).
            raise Refused([("sendmsg", errno.ETOOMANYREFS, error.strerror or "")]) from None

    def read_reply(self, wait: Callable[[str], object], failure: _Failure) -> Reply:
        """The reply to a request.

        Args:
            wait: called with the step that is under way, it returns when there is something to read, or the end.
            failure: makes the error, of a step, an errno and a few words on what the other end did.

        Raises `Refused`: with the refusals that came instead, or what *wait* or *failure* has made.
        """
        step = "start"
        while True:
            wait(step)
            message = self._peek()
            if not message:
                raise failure(step, errno.ECONNRESET, "ended without an answer")
            kind, fields = protocol.decode(message)
            try:
                if kind == protocol.DONE:
                    count, how = fields
                    return Reply(how, self.adopted(protocol.fd_count(count)))
                self.recv(protocol.MESSAGE_BYTES)  # without a buffer for descriptors: the kernel closes those that come
                if kind == protocol.STEP:
                    [step] = fields
                elif kind == protocol.TRIED:
                    return Reply(outcomes=protocol.decode_refusals(fields))
                elif kind == protocol.REFUSED:
                    raise Refused(protocol.decode_refusals(fields))
                else:
                    raise ValueError
            except ValueError:
                raise failure(step, errno.EPROTO, f"said {message[:80]!r}") from None

    def _peek(self) -> bytes:
        for _ in range(2):
            try:
                return self.recv(protocol.MESSAGE_BYTES, LOOK)
            except ConnectionResetError:  # said once, where it ended before it had read all; its words lie behind that
                continue
            except (BrokenPipeError, BlockingIOError):  # the second: it is gone, and its socket is not
                break
        return b""

    def adopted(self, count: int) -> tuple[OwnedFd, ...]:
        """The descriptors that have come, so many, and nothing of the message about them. It does not wait."""
        space = _socket.CMSG_SPACE(count * protocol.INT_BYTES) if count else 0
        rights = map(self.recvmsg, (protocol.MESSAGE_BYTES,), (space,), (RECEIVE,))
        for part in (1, 0, 2):  # of the message its control data, of these the first, of that its bytes
            rights = map(itemgetter(part), rights)
        every: Any = map  # of what comes from it, checkers know nothing
        # In each message's bytes, as many C ints as there are; and for each int, an owner.
        numbers = every(methodcaller("cast", "i"), every(memoryview, rights))
        adopted: tuple[OwnedFd, ...]
        try:
            adopted = next(every(tuple, every(partial(every, owner), numbers)))
        except IndexError:
            adopted = ()
        if len(adopted) < count:  # the descriptor table is full, which recvmsg itself does not report
            raise Refused([("recvmsg", errno.EMFILE, os.strerror(errno.EMFILE))])
        return adopted[:count]
