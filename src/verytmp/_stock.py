"""Roots that are made before anybody asks for them, by a process that may mount."""

from __future__ import annotations

import _socket
import os
from contextlib import closing

from . import _mount, _wire
from ._helper import Refused
from ._line import Line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from select import epoll


class Stock:
    """Empty roots of one kind. They wait in a socket: so they take no number of this process's, and what it forks has
    no copy of one that is taken later.
    """

    __slots__ = ("_how", "_kind", "_left", "_line", "size")

    def __init__(self, options: list[str], size: int, descriptors: list[int], how: str) -> None:
        """Keep these, while signals are held; *size* says for how large a stock."""
        self._kind = options, user()
        self.size = size
        self._how = how
        self._line: Line | None = None
        self._left = iter(descriptors)  # as many as there are, to be counted by what is in C
        if descriptors:
            ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)  # as in `_helper`
            self._line = Line(ours.detach())
            with closing(theirs):
                for descriptor in descriptors:
                    rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, _wire.pack([descriptor]))
                    theirs.sendmsg([b"\0"], [rights])

    def of(self, options: list[str]) -> bool:
        """Whether it is of this kind, and this very process's, as the user that this is now."""
        return self._kind == (options, user())

    def lost(self) -> bool:
        """Whether a program that closes all descriptors, as daemons do, was here. Then no number is given back."""
        return self._line is not None and self._line.lost()

    def take(self) -> tuple[epoll, str] | None:
        """The owner of a root's descriptor, and how the root was made; none where there is none."""
        if self.lost():
            self._line = None
        if self._line is None or next(self._left, None) is None:
            return None
        try:
            root = self._line.adopted()
        except (Refused, BlockingIOError):  # there is no room for it, as making one will tell; or it is not there
            return None
        _mount.renew(root.fileno())
        return root, self._how


def user() -> tuple[int, int, int]:
    return os.getpid(), os.geteuid(), os.getegid()
