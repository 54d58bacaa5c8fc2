"""Roots on their way to another process of multiprocessing's: the descriptors are duplicated there.

A process that is being started gets them with its other data. Any other process asks for them later: by then the root
may have been closed here, or that process may have ended. So what is kept for others is counted, and bounded.
"""

from __future__ import annotations

import _thread
import errno
import os
from _weakref import ref
from multiprocessing import resource_sharer
from multiprocessing.context import get_spawning_popen
from multiprocessing.reduction import DupFd, recv_handle, send_handle

from .owned_fd import KeptFds, owner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .root_fds import RootFds

# The most roots that are kept, after they were closed or dropped here, for processes that have not asked for them yet.
# A program that works needs few; in one whose receivers die, each would keep its files for ever.
KEPT_FOR_OTHERS = 16

GONE = (
    "the root is gone: the process that sent it has closed it, dropped it or ended before it was received. Let that "
    "process wait until this one has received it, or send a name in a root that both have"
)
ELSEWHERE = (errno.ENOENT, errno.ENOTDIR, errno.EBADF)  # what says that a descriptor is not the root's
ENDS = (EOFError, ConnectionError, FileNotFoundError)  # how a sender that has ended, or sends nothing, is met


class Sent:
    """A root that was sent, until all processes that it was sent to have asked for it."""

    __slots__ = ("_root", "fds", "waiting")

    def __init__(self, root: RootFds) -> None:
        self._root = ref(root, lambda _: forget_oldest())
        self.fds = root.kept_fds()
        self.waiting = 0  # how many processes have not asked yet

    def is_here(self) -> bool:
        root = self._root()
        return root is not None and not root.closed

    def before_close(self) -> None:
        """Keep duplicates of the descriptors, which are about to be closed."""
        if self.waiting:
            try:
                self.fds = KeptFds(*self.fds.duplicates())
            except OSError:  # the process may have no more of them, and closing must not fail
                pass


_sent: dict[str, Sent] = {}  # by key, the oldest first
_lock = _thread.RLock()  # a root may be dropped anywhere


def send(root: RootFds, later: bool) -> tuple[Any, ...]:
    """What a root's pickle holds, as `__reduce__` returns it.

    *later* means that the caller who sent it is gone, and nobody would see an error: then a closed root is sent.
    """
    facts = root.token, root.inodes_above, root.at, root.host_read_only, root.read_only
    if not later:
        root.check_open()
    elif root.closed:
        return receive, (type(root), *facts)
    if get_spawning_popen() is not None:
        return receive, (type(root), *facts, *map(DupFd, root.filenos))
    with _lock:
        sent = _sent.get(root.key)
        if sent is None or sent.fds.closed:
            sent = _sent[root.key] = Sent(root)
        sent.waiting += 1
        root.around_close = sent.before_close, forget_oldest

    def give(connection: Any, process: int) -> None:
        with _lock:
            sent.waiting -= 1
            if not sent.waiting and _sent.get(key) is sent:
                del _sent[key]
            fds = sent.fds
        try:
            duplicates = fds.duplicates()
        except OSError:  # a program that has closed all descriptors may have opened its own
            return
        for each in duplicates:
            with each:
                send_handle(connection, each.fileno(), process)

    key = root.key
    sharer: Any = resource_sharer
    ticket = sharer._resource_sharer.register(give, bool)
    return receive, (type(root), *facts, Ticket(ticket, len(root.filenos)))


class Ticket:
    """What a process gets at first, and asks for the descriptors with."""

    __slots__ = ("_count", "_ticket")

    def __init__(self, ticket: Any, count: int) -> None:
        self._ticket, self._count = ticket, count

    def __reduce__(self) -> tuple[object, ...]:
        return Ticket, (self._ticket, self._count)

    def detach(self) -> list[int]:
        """The file descriptors, which the caller closes. `FileNotFoundError` if the sender has not kept them."""
        found: list[int] = []
        sharer: Any = resource_sharer
        try:
            with sharer._resource_sharer.get_connection(self._ticket) as connection:
                found.extend(recv_handle(connection) for _ in range(self._count))
        except BaseException as error:
            for fd in found:
                os.close(fd)
            if isinstance(error, ENDS):
                raise FileNotFoundError(errno.ENOENT, GONE) from None
            raise
        return found


def receive(
    kind: type[RootFds], token: str, inodes_above: int, at: str, host_read_only: bool, read_only: bool, *sent: Any
) -> RootFds:
    """The root that was sent, or this process's own root of the same directory; a closed one, if nothing was sent.

    `FileNotFoundError` if the sender has closed it meanwhile: a process that is being started gets descriptors by their
    numbers, which other files may have by then.
    """
    detached: list[int] = []
    for each in sent:
        found = each.detach()
        detached += found if isinstance(found, list) else [found]
    fds = tuple(map(owner, detached))
    if fds:
        try:
            os.stat(token, dir_fd=detached[0], follow_symlinks=False)
        except OSError as error:
            if error.errno in ELSEWHERE:
                raise FileNotFoundError(errno.ENOENT, GONE) from None
    here = kind.by_key.get(f"{token}/" if read_only else token)
    root = here() if here is not None else None
    if root is not None and root.kept_fds().are_ours():
        return root
    for fd in fds:
        os.set_inheritable(fd.fileno(), False)
    return kind(fds, token, inodes_above, at, host_read_only, read_only)


def forget_oldest() -> None:
    """Close what is kept for other processes alone, but for the newest KEPT_FOR_OTHERS."""
    with _lock:
        kept = [key for key, sent in list(_sent.items()) if not sent.is_here()]
        gone = [_sent.pop(key) for key in kept[:-KEPT_FOR_OTHERS]]
    for sent in gone:
        sent.fds.close()


def _forget() -> None:
    """After fork, in the child: what was sent is the parent's to give. Another thread may have held the lock."""
    global _lock
    _lock = _thread.RLock()
    for sent in _sent.values():
        sent.waiting = 0
    _sent.clear()


os.register_at_fork(after_in_child=_forget)
