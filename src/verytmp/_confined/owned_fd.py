"""File descriptors that cannot be lost: each has an owner, an object that closes it when it goes."""

from __future__ import annotations

import errno
import os
import select
import sys
from functools import partial
from itertools import starmap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from select import epoll
    from typing import Any, TypeVar, TypeVarTuple

    _T = TypeVar("_T")
    _Ts = TypeVarTuple("_Ts")

    new_poll: Callable[[], select.poll]
    # The owner of any file descriptor, which closes it when it goes: epoll's finalizer does that in C. In a `__del__`
    # of ours, a signal handler's exception may come before that: a storm of signals lost one root in 300 so.
    OwnedFd = epoll
    owner = OwnedFd.fromfd
    close: Any = OwnedFd.close
else:
    # Only Linux has them, and gevent removes epoll (eventlet, poll): then no root can be made.
    OwnedFd = getattr(select, "epoll", None)
    owner = getattr(OwnedFd, "fromfd", None)
    close = getattr(OwnedFd, "close", None)
    new_poll = getattr(select, "poll", None)

STANDARD_STREAMS = 3  # file descriptors below this are theirs: a thread may write to one that is not there, at any time

# Owners of foreign fds: they were ours once, and must not close the files that have them now. They live as long as
# `sys` does: when the interpreter ends, and this module goes, the program's files have yet to be written out.
_foreign: list[OwnedFd] = sys.__dict__.setdefault("_verytmp_foreign_fds", [])

# Of each fd, the identity that the newest `KeptFds` has given it, as this very object: a file system gets the device
# number of one that has gone, and so a root may have the identities of one before it. (In `sys`, for a program may drop
# all modules of this package and import them anew.)
_newest: dict[int, object] = sys.__dict__.setdefault("_verytmp_newest_fds", {})


def call_uninterrupted(call: Callable[[*_Ts], _T], *args: *_Ts) -> _T:
    """Call a function that is written in C, and return what it returns: no signal handler runs in between.

    Python runs signal handlers after a call, before the result has a name: a handler that raises then loses the result.
    A ``for`` loop gives it a name first, and nothing runs on the way back from here. So this is safe where the caller
    names the result at once, and handles it in a ``finally``; and not in ``f(call_uninterrupted(...))``, for a handler
    may run when *f* is entered.
    """
    for result in starmap(call, (args,)):
        return result
    raise AssertionError("there is one tuple of arguments")


def call_owned(call: Callable[[*_Ts], int], *args: *_Ts) -> OwnedFd:
    """Call a function that is written in C and returns a new descriptor, and return that descriptor's owner.

    No signal handler runs before it has one.
    """
    return next(map(owner, starmap(call, (args,))))


def pipe() -> tuple[OwnedFd, OwnedFd]:
    """pipe(2): the owners of its ends, to read from and to write to. No signal handler runs before they have them."""
    every: Any = map  # of what comes from it, checkers know nothing
    for reading, writing in every(partial(every, owner), starmap(os.pipe, ((),))):
        return raised(reading), raised(writing)
    raise AssertionError("there is one pipe")


def opened(name: str, flags: int, directory: int | None, mode: int = 0o777) -> OwnedFd:
    """openat(2), and an owner for what it opens."""
    return call_owned(partial(os.open, dir_fd=directory), name, flags, mode)


def identity(fileno: int, fstat: Callable[[int], os.stat_result] = os.fstat) -> tuple[int, int] | None:
    """The device and inode of an open file, which no other file has at that time; None if the descriptor is closed."""
    try:
        status = fstat(fileno)
    except OSError:
        return None
    return status.st_dev, status.st_ino


class KeptFds:
    """Descriptors that are kept for long, and are closed together, each only while it is still the one that was given.

    A program may close all descriptors, as daemons do, and open files of its own: those must not be closed instead.
    When this object goes without having been closed, its descriptors are closed likewise.

    Args:
        owners: the descriptors' owners.
        lowest: file descriptors below this one are exchanged for higher ones, where the limits allow it.
        beside: others that were there before. A program that has closed all of those has closed these too. It is for
            descriptors whose identity another file may have: the root directory of a later root, opened by the program;
            or what has no inode of its own, as a process before Linux 6.9.
    """

    __slots__ = ("_beside", "_held", "_lost", "filenos", "identities")

    def __init__(self, *owners: OwnedFd, lowest: int = STANDARD_STREAMS, beside: KeptFds | None = None) -> None:
        owners = tuple(raised(each, lowest) for each in owners)
        self.filenos = tuple(each.fileno() for each in owners)  # they stay the same when they are closed
        self.identities = tuple(map(identity, self.filenos))
        _newest.update(zip(self.filenos, self.identities, strict=True))
        self._beside = beside
        self._lost = False  # whether any was closed, but not here
        # Those that may close theirs; with the numbers, for another thread may close them at any moment.
        self._held = tuple(zip(self.filenos, self.identities, owners, strict=True))

    def fileno(self) -> int:
        """The first one. `ValueError` if it is closed."""
        if self.closed:
            raise ValueError("operation on a closed descriptor")
        return self.filenos[0]

    @property
    def closed(self) -> bool:
        """Whether they are closed."""
        return not self._held or self._held[0][2].closed

    def are_ours(self) -> bool:
        """Whether they are open, and all of them what they were at first."""
        return not self.closed and len(self._ours()) == len(self.filenos)

    def duplicates(self) -> tuple[OwnedFd, ...]:
        """Duplicates of all of them: another thread may close these at any moment, and get their numbers for others.

        Raises `OSError`: EBADF if they are not ours any more.
        """
        made: list[OwnedFd] = []
        try:
            for number in self.filenos:
                made.append(raised(call_owned(os.dup, number)))  # noqa: PERF401  # those that were made are closed
            if not self.are_ours():  # then what was duplicated may be anything
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        except BaseException:
            for each in made:  # the error's traceback would keep them
                each.close()
            raise
        return tuple(made)

    def close(self, *others: KeptFds) -> None:
        """Close them, and those of *others*, in one step: no signal handler's exception can come in between."""
        owners = [each for fds in (self, *others) for each in fds._ours()]
        any(map(close, owners))

    def _ours(
        self, identity: Any = identity, newest: Any = _newest, foreign: list[OwnedFd] = _foreign
    ) -> tuple[OwnedFd, ...]:
        """The owners that may close theirs. The others never close anything: they are kept in `_foreign`."""
        if not hasattr(self, "_held"):  # a signal handler's exception has ended the constructor
            return ()
        beside = self._beside
        ours = tuple(
            each
            for each in self._held
            if not each[2].closed and newest.get(each[0]) is each[1] and identity(each[0]) == each[1]
        )
        if beside is not None and not beside._ours() and beside._lost:
            ours = ()
        if len(ours) < len(self._held):
            lost = [owner for _, _, owner in {*self._held} - {*ours} if not owner.closed]
            foreign.extend(lost)
            self._lost = self._lost or bool(lost)
            self._held = ours
        return tuple(owner for _, _, owner in ours)

    __del__ = _ours  # the owners that it leaves close theirs. (The default arguments outlive this module.)


def raised(held: OwnedFd, lowest: int = STANDARD_STREAMS) -> OwnedFd:
    """Duplicate a file descriptor to one that is at least *lowest*, and close it; nothing, if it is that already.

    Where limits allow none so high, the new one is above the standard streams'. Raises `OSError` (EMFILE) if there is
    none at all.
    """
    if held.fileno() >= lowest:
        return held
    from fcntl import F_DUPFD_CLOEXEC, fcntl

    try:
        higher = call_owned(fcntl, held.fileno(), F_DUPFD_CLOEXEC, lowest)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EMFILE) or lowest == STANDARD_STREAMS:
            raise
        return raised(held, STANDARD_STREAMS)
    held.close()
    return higher
