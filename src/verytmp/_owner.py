"""Descriptors that cannot be lost: whoever drops one closes it."""

from __future__ import annotations

import os
from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from select import epoll

    # An owner for any descriptor, which closes it when it goes. epoll's is in C. In a `__del__` of ours, a signal
    # handler's exception may come before anything is closed: a storm of signals lost one root in 300 so.
    owner = epoll.fromfd
    new_epoll = epoll
else:
    import select

    new_epoll = getattr(select, "epoll", None)  # it is Linux's, and gevent takes it away: then there are no roots
    owner = getattr(new_epoll, "fromfd", None)

TAKEN_AWAY = owner is None


def opened(name: str, flags: int, directory: int | None, mode: int = 0o777) -> epoll:
    """openat(2), and an owner for what it opens. No Python runs between the two, so no signal can lose it there."""
    return next(map(owner, map(partial(os.open, dir_fd=directory), (name,), (flags,), (mode,))))
