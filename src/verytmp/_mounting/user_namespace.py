"""The user namespace in which this process's roots are made: one for all of them, for as long as one of them lives.

The first child makes it, and sends its descriptor back; later ones enter it. So what one child has mounted, another one
may change later: that takes a process in the user namespace that owns the mount.
"""

from __future__ import annotations

from _weakref import ref
from posix import getegid, geteuid  # a test may have put others in os

from .._confined.owned_fd import KeptFds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._confined.owned_fd import OwnedFd


class UserNamespace:
    """A descriptor of it, which is closed when nothing refers to this object any more: no root that was made in it.

    Args:
        fd: the descriptor's owner.
    """

    __slots__ = ("__weakref__", "_kept", "_user", "entered")

    def __init__(self, fd: OwnedFd) -> None:
        self._kept = KeptFds(fd)
        self._user = geteuid(), getegid()  # whom it maps, and who may enter it
        self.entered = False  # by this process itself, with `enter`

    def fds(self) -> Sequence[int]:
        """The descriptor, for a request; none where this process has become another user, or has closed it."""
        usable = self._user == (geteuid(), getegid()) and self._kept.are_ours()
        return self._kept.filenos if usable else ()


_last: ref[UserNamespace] | None = None


def current() -> UserNamespace | None:
    """The one that roots of this process are in, if there are any. After fork, the child has its parent's."""
    return _last() if _last is not None else None


def made_in(given: UserNamespace | None, new: Sequence[OwnedFd]) -> UserNamespace | None:
    """The one in which a child has made a root: a new one, whose descriptor it has sent, or the one that was given."""
    global _last
    for fd in new:
        given = UserNamespace(fd)
        _last = ref(given)
    return given
