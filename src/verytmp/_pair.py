"""Sockets as they are in C. What tests and gevent put in the place of `socket.socket` does not reach them."""

from __future__ import annotations

import _socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self


class Socket(_socket.socket):
    """``with`` closes it."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def pair() -> tuple[Socket, Socket]:
    """socketpair(2), of packets."""
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    return Socket(fileno=ours.detach()), Socket(fileno=theirs.detach())
