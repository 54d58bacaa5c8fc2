"""The resident helper, seen from its owner: it is started, asked, replaced when it dies, and let go.

It ends when the socket to it is closed, which is when a `Connection` goes: closed, garbage, or with this process. There
is nothing to clean up, and no process is waited for at the interpreter's exit.
"""

from __future__ import annotations

import _thread
import errno
import os
import select
import signal
import socket
from functools import partial
from operator import itemgetter
from sys import byteorder
from weakref import WeakSet

from . import _helper, _wire
from ._helper import Refused, Unanswered
from ._owner import owner
from ._signals import unlost

TYPE_CHECKING = False
if TYPE_CHECKING:
    from select import epoll
    from typing import ClassVar

    from ._signals import SignalsHeld

LOOK = int(socket.MSG_PEEK | socket.MSG_DONTWAIT)  # members of an enum take 3 us to be put together
HELPERS = 2  # for one request: a helper that dies is replaced once
END_PATIENCE = 5.0  # seconds for a helper to end; it does within a millisecond, where the machine has time for it


class Resident:
    """One helper at most, made when it is needed. Threads take turns.

    It is taken away from here for the time of a request, and comes back when all went well. So one that was left in the
    middle of a conversation, because a signal handler raised, is never spoken to again.
    """

    __slots__ = ("__weakref__", "_idle", "_turn", "closed", "needed")

    all: ClassVar[WeakSet[Resident]] = WeakSet()

    def __init__(self) -> None:
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
                if connection is not None and not connection.ours():
                    connection.end()
                    connection = None
                connection = connection or started()
                try:
                    answer = connection.ask(request)
                except Unanswered as unanswered:
                    connection.end()
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
        with self._turn:
            connection, self._idle = self._idle, None
            if connection is not None:
                connection.end()

    def forget(self) -> None:
        """In a forked child: the lock may be held by a thread that is not here."""
        self._turn = _thread.RLock()
        self._idle = None


class Connection(socket.SocketType):
    """The socket to a helper, which ends when it goes.

    A signal handler's exception may come anywhere, but not into what is in C: so a socket that is dropped is closed by
    its own `close` (and warns nobody), and a descriptor that arrives has its owner before any Python runs.
    """

    __slots__ = ("__weakref__", "_end", "_poll", "_user")

    __del__ = socket.SocketType.close

    all: ClassVar[WeakSet[Connection]] = WeakSet()

    def __init__(self, number: int, end: epoll) -> None:
        super().__init__(fileno=number)
        self.all.add(self)
        self._end = end  # readable when the helper is gone, though some other process may still hold its socket
        self._user = user()
        self._poll = select.poll()
        self._poll.register(number, select.POLLIN)
        self._poll.register(end, select.POLLIN)

    def ours(self) -> bool:
        """Whether it was started by this very process, as the user that this is now: a root is the helper's user's."""
        return self._user == user()

    def ask(self, request: bytes) -> tuple[epoll, str]:
        """The owner of the descriptor that was asked for, and how the helper got it."""
        step = "start"
        try:
            self.send(request, socket.MSG_NOSIGNAL)
            while True:
                if not self._poll.poll(_helper.ANSWER_PATIENCE * 1000):
                    raise silent(step, errno.ETIMEDOUT, f"did not answer in {_helper.ANSWER_PATIENCE:g} s")
                message = self.recv(_wire.MESSAGE_BYTES, LOOK)
                kind, fields = _wire.decode(message)
                if kind == _wire.DONE and len(fields) == 1:
                    return self._adopted(), fields[0]
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

    def _adopted(self) -> epoll:
        """recvmsg(2), and an owner for the descriptor that comes."""
        room = socket.CMSG_SPACE(_wire.INT_BYTES)
        rights = map(self.recvmsg, (_wire.MESSAGE_BYTES,), (room,), (socket.MSG_CMSG_CLOEXEC,))
        for part in (1, 0, 2):  # of the message its control data, of these the first, of that its bytes
            rights = map(itemgetter(part), rights)
        try:
            return next(map(owner, map(partial(int.from_bytes, byteorder=byteorder), rights)))
        except IndexError:  # there was no room for it in the descriptor table, which recvmsg itself does not say
            raise Refused([("recvmsg", errno.EMFILE, os.strerror(errno.EMFILE))]) from None

    def end(self) -> None:
        """Hang up, and wait until the helper is gone, if it is this process's."""
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
                self.shutdown(socket.SHUT_RDWR)
            except OSError:  # it is gone already
                pass
        self.close()
        return ours


def silent(step: str, number: int, what: str) -> Unanswered:
    return Unanswered([(step, number, f"the resident helper {what}")])


def user() -> tuple[int, int, int]:
    return os.getpid(), os.geteuid(), os.getegid()


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
