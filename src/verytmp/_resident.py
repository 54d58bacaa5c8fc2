"""The resident helper, seen from its owner: it is started, asked, replaced when it dies, and let go.

It ends when the socket to it is closed, which is when a `Connection` goes: closed, garbage, or with this process. There
is nothing to clean up, and no process is waited for at the interpreter's exit.
"""

from __future__ import annotations

import _socket
import _thread
import errno
import os
import select
import signal
from weakref import WeakSet

from . import _helper, _mount, _wire
from ._helper import Refused, Unanswered
from ._line import Line
from ._owner import owner
from ._signals import unlost
from ._stock import Stock, user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from select import epoll
    from typing import ClassVar

    from ._signals import SignalsHeld
    from ._spare import Spare

LOOK = int(_socket.MSG_PEEK | _socket.MSG_DONTWAIT)  # members of an enum take 3 us to be put together
STOCKED = 16  # so many roots may be made before they are asked for; of each, the kernel keeps some KiB
HELPERS = 2  # for one request: a helper that dies is replaced once
END_PATIENCE = 5.0  # seconds for a helper to end; it does within a millisecond, where the machine has time for it


class Resident:
    """One helper at most, made when it is needed. Threads take turns.

    It is taken away from here for the time of a request, and comes back when all went well. So one that was left in the
    middle of a conversation, because a signal handler raised, is never spoken to again.
    """

    __slots__ = ("__weakref__", "_idle", "_turn", "closed", "needed", "spare", "stock", "stocked")

    all: ClassVar[WeakSet[Resident]] = WeakSet()

    def __init__(self) -> None:
        self.stocked = room_for(STOCKED)
        self.stock: Stock | None = None  # those that this process has made itself
        self.spare: Spare | None = None  # what those roots would have to make, one after the other
        self.needed = False  # it has been seen that this process itself may not mount
        self.closed = False
        self._idle: Connection | None = None
        self._turn = _thread.RLock()  # a signal handler may want a root in the middle of another one's making
        self.all.add(self)

    def perform(self, operation: str, options: list[str]) -> tuple[epoll, str]:
        """Have a privileged operation performed: the owner of its descriptor, and how the helper got it.

        `Unanswered` where that cannot be had from a resident helper.
        """
        request = _wire.encode(operation, *options)
        with self._turn:
            died: list[_wire.Refusal] = []
            while len(died) < HELPERS:
                self.check_open()
                connection, self._idle = self._idle, None
                if connection is not None and (connection.lost() or not connection.ours()):
                    connection.end()
                    connection = None
                connection = connection or started()
                try:
                    answer = connection.ask(request, self.stocked)
                except Unanswered as unanswered:
                    connection.end()
                    self.stocked = 0  # a filter may have killed it that knows no calls but those that one root takes
                    died += unanswered.refusals
                except Refused:
                    self._keep(connection)
                    raise
                except BaseException:
                    connection.hang_up()  # without waiting: a user is
                    raise
                else:
                    self._keep(connection)
                    return answer
            raise Unanswered(died)

    def stocking(self, options: list[str]) -> int:
        """How many this process itself is to make at once: more and more, as long as they are of the same kind."""
        stock = self.stock
        return min(2 * stock.size, self.stocked) if stock is not None and stock.of(options) else 1

    def _keep(self, connection: Connection) -> None:
        if self.closed or self._idle is not None:  # by a signal handler, meanwhile
            connection.end()
        else:
            self._idle = connection

    def check_open(self) -> None:
        if self.closed:
            raise ValueError("operation on a closed VeryTmpFactory")

    def close(self) -> None:
        """Let the helper go, and see it off."""
        self.closed = True
        self.settle()
        with self._turn:
            connection, self._idle = self._idle, None
            if connection is not None:
                connection.end()

    def settle(self) -> None:
        """Keep nothing that saves time later, if another thread has closed it."""
        if self.closed:
            for kept in (self.stock, self.spare):
                if kept is not None:
                    kept.lost()  # else it would close what has its number now
            self.stock = self.spare = None

    def forget(self) -> None:
        """In a forked child: the lock may be held by a thread that is not here."""
        self._turn = _thread.RLock()
        self._idle = None
        self.stock = None


_strangers: list[epoll] = []  # their numbers are somebody else's by now, so they must not go and close them


class Connection(Line):
    """The socket to a helper, which ends when it goes."""

    __slots__ = ("_ahead", "_end", "_last", "_poll", "_same", "_user")

    all: ClassVar[WeakSet[Connection]] = WeakSet()

    def __init__(self, number: int, end: epoll) -> None:
        super().__init__(number)
        self.all.add(self)
        self._end = end  # readable when the helper is gone, though some other process may still hold its socket
        self._user = user()
        self._last = b""  # the last request
        self._same = 0  # so many times in a row
        self._ahead = 0  # so many answers to it are on their way that nobody has asked for yet
        self._poll = select.poll()
        self._poll.register(number, select.POLLIN)
        self._poll.register(end, select.POLLIN)

    def ours(self) -> bool:
        """Whether it was started by this very process, as the user that this is now: a root is the helper's user's."""
        return self._user == user()

    def ask(self, request: bytes, stocked: int = 0) -> tuple[epoll, str]:
        """The owner of the descriptor that was asked for, and how the helper got it.

        Who goes on asking for the same has up to *stocked* of it sent beforehand, and need not wait for the helper.
        """
        if request != self._last:
            self._unask()
            self._last, self._same = request, 0
        early = self._ahead > 0
        try:
            if early:
                self._ahead -= 1
            else:
                self.send(request, _socket.MSG_NOSIGNAL)
            wanted = min(self._same, stocked)
            self._same += 1
            if self._ahead * 2 < wanted:
                kind, options = _wire.decode(request)
                if kind == _wire.TMPFS:
                    self.send(_wire.encode(_wire.SEVERAL, str(wanted - self._ahead), *options), _socket.MSG_NOSIGNAL)
                    self._ahead = wanted
        except (BrokenPipeError, ConnectionResetError):  # hearing it out tells
            pass
        root, how = self._hear()
        if early:
            _mount.renew(root.fileno())
        return root, how

    def _unask(self) -> None:
        """Hear what was asked for beforehand, and is not wanted any more."""
        while self._ahead:
            self._ahead -= 1
            try:
                self._hear()
            except Unanswered:
                raise
            except Refused:
                pass

    def _hear(self) -> tuple[epoll, str]:
        step = "start"
        try:
            while True:
                if not self._poll.poll(_helper.ANSWER_PATIENCE * 1000):
                    raise silent(step, errno.ETIMEDOUT, f"did not answer in {_helper.ANSWER_PATIENCE:g} s")
                message = self.recv(_wire.MESSAGE_BYTES, LOOK)
                kind, fields = _wire.decode(message)
                if kind == _wire.DONE and len(fields) == 1:
                    return self.adopted(), fields[0]
                self.recv(_wire.MESSAGE_BYTES)
                if kind == _wire.STEP and len(fields) == 1:
                    step = fields[0]
                elif kind == _wire.REFUSED:
                    raise Refused(_helper.refusals(step, fields))
                elif message:
                    raise silent(step, errno.EPROTO, f"said {message[:80]!r}")
                else:
                    break
        except (BrokenPipeError, ConnectionResetError, BlockingIOError):  # the last: it is gone, and its socket is not
            pass
        raise silent(step, errno.ECONNRESET, "ended without an answer")

    def end(self) -> None:
        """Hang up, and wait until the helper is gone, if it is this process's."""
        if self.lost():
            _strangers.append(self._end)
            return
        if self.hang_up():
            last = select.poll()
            last.register(self._end, select.POLLIN)
            if not last.poll(END_PATIENCE * 1000):
                kill(self._end)
                last.poll(END_PATIENCE * 1000)
            reap()
        self._end.close()  # a traceback may keep the rest

    def hang_up(self) -> bool:
        """Tell the helper to end, though a forked child may hold a copy of the socket. It is not a parent's to tell."""
        ours = self._user[0] == os.getpid()
        if ours:
            try:
                self.shutdown(_socket.SHUT_RDWR)
            except OSError:  # it is gone already
                pass
        self.close()
        return ours


def room_for(count: int) -> int:
    """How many descriptors may be on their way at once, of so many.

    All of a user's processes together may have as many as one may have open: unix(7). A run of tests has many.
    """
    most = os.sysconf("SC_OPEN_MAX")
    return count if most < 0 else min(count, most // 64)


def silent(step: str, number: int, what: str) -> Unanswered:
    return Unanswered([(step, number, f"the resident helper {what}")])


def started() -> Connection:
    """A new helper: a fresh interpreter, so that it has no copy of this process's memory."""
    reap()
    if not _helper.interpreter():
        raise Unanswered([("posix_spawn", errno.ENOENT, "there is no interpreter to start a resident helper with")])
    return unlost(start, threads=2)


def start(signals: SignalsHeld) -> Connection:
    request = _wire.encode(_wire.RESIDE, str(os.getpid()))
    connection, [descriptor], _ = _helper.conversation(request, signals, threads=2)
    end = owner(descriptor)
    if adopted(end):
        _adopted.append(end)
    return Connection(connection.detach(), end)


# Helpers belong to whoever adopts orphans. That is this process itself, where it is the first one of a container, or
# has asked for it (PR_SET_CHILD_SUBREAPER): it then reaps them, sooner or later.
_adopted: list[epoll] = []


def adopted(end: epoll) -> bool:
    """Whether a helper is a child of ours, alive: waitid(2), which knows a process by its descriptor."""
    try:
        return os.waitid(os.P_PIDFD, end.fileno(), os.WEXITED | os.WNOHANG) is None
    except (OSError, ValueError):  # it is none, or that descriptor is not a process's, or closed
        return False


def reap() -> None:
    _adopted[:] = [end for end in _adopted if adopted(end)]


def kill(end: epoll) -> None:
    try:
        signal.pidfd_send_signal(end.fileno(), signal.SIGKILL)
    except OSError:
        pass


def _forget() -> None:
    """In a forked child: the helpers are the parent's, and must not take this process for it."""
    _adopted.clear()
    for resident in list(Resident.all):
        resident.forget()
    for connection in list(Connection.all):
        connection.close()


os.register_at_fork(after_in_child=_forget)
