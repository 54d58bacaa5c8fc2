"""What lies under a root's number between its closing and the day that the number is free."""

from __future__ import annotations

from os import dup2
from weakref import WeakSet, ref

from ._owner import new_epoll

TYPE_CHECKING = False
if TYPE_CHECKING:
    from select import epoll
    from typing import ClassVar

    from ._tree import Tree


class Spare:
    """A descriptor that all trees share while they live, and that the last of them takes along.

    It is there beforehand because closing must not fail for want of one. It is an epoll's because that is no directory,
    needs no file system, and cannot be opened through its path (ENXIO), where /dev/null would swallow what is written.
    """

    trees: ClassVar[WeakSet[Tree]] = WeakSet()  # all there are, whichever spare they have

    def __init__(self) -> None:
        self._epoll = new_epoll()

    def lost(self) -> bool:
        """Whether a program that closes all descriptors, as daemons do, was here. Then its number is not given back."""
        try:
            self._epoll.poll(0)
        except OSError:
            _strangers.append(self._epoll)
            return True
        return False

    def cover(self, number: int) -> None:
        """Exchange what lies under a descriptor's number, in one step."""
        if self.lost():
            self._epoll = new_epoll()
        dup2(self._epoll.fileno(), number, inheritable=False)


_strangers: list[epoll] = []  # their numbers are somebody else's by now, so they must not go and close them

_shared: ref[Spare] | None = None


def shared() -> Spare:
    """The spare of the trees that live now. (Two threads at once may make one each; each goes with its trees.)"""
    global _shared
    spare = _shared() if _shared else None
    if spare is None:
        spare = Spare()
        _shared = ref(spare)
    return spare
