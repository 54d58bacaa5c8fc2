"""The helper, seen from its owner: it is started, asked, replaced when it dies, and let go.

It ends when the socket to it is closed, which is when a `Connection` goes: closed, garbage, or with this process. There
is nothing to clean up, and no process is waited for at the interpreter's exit.
"""

from __future__ import annotations

import _socket
import _thread
import errno
import os
import select
import sys
import time
from posix import getegid, geteuid, getpid  # a test may have put others in os
from weakref import WeakSet

from .. import _syscalls
from .._confined.owned_fd import KeptFds, new_poll
from . import child, protocol
from .channel import Channel
from .child import is_stopped
from .protocol import Refused, Reply, Request, Unanswered
from .signals import Caller, without_interrupts
from .spec import new_token
from .user_namespace import current, made_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable
    from typing import ClassVar, TypeVar

    from .._confined.owned_fd import OwnedFd
    from .._diagnosis.rules import Refusal
    from .spec import MountSpec
    from .user_namespace import UserNamespace

    _T = TypeVar("_T")
else:
    import _signal  # without the enums of `signal`, as in `child`

AHEAD = 16  # so many roots may be asked for before they are wanted; of each, the kernel keeps some KiB
HELPERS = 2  # for one request: a helper that dies is replaced once
END_PATIENCE = 5.0  # seconds for a helper to end; it does within a millisecond, where the machine has time for it


class HelperClient:
    """One helper at most, made when it is needed. Threads take turns.

    It is taken away from here for the time of a request, and comes back when all went well. So one that was left in the
    middle of a conversation, because a signal handler raised, is never spoken to again.
    """

    __slots__ = ("__weakref__", "_idle", "_turn", "closed", "use_helper")

    all: ClassVar[WeakSet[HelperClient]] = WeakSet()

    def __init__(self) -> None:
        self.use_helper = False  # it has been seen that this process itself may not mount
        self.closed = False
        self._idle: Connection | None = None
        self._turn = _thread.RLock()  # a signal handler may want a root in the middle of another one's making
        self.all.add(self)

    def make(self, spec: MountSpec) -> tuple[MountSpec, Reply, UserNamespace | None]:
        """Have a root made: its spec, with a token of its own, the helper's reply, and the user namespace it is in.

        `Unanswered` where that cannot be had from a helper, `Refused` where the kernel refuses it.
        """
        return self._ask(lambda connection: (*connection.make(spec), connection.namespace))

    def change(self, request: Request) -> Reply:
        """Have a mount changed, or a clone made. The errors are those of `make`."""
        return self._ask(lambda connection: connection.change(request))

    def _ask(self, ask: Callable[[Connection], _T]) -> _T:
        if sys.is_finalizing():  # a thread that has its turn now never ends it: no other one runs any more
            self.check_open()
            raise Unanswered([])
        with self._turn:
            died: list[Refusal] = []
            while len(died) < HELPERS:
                self.check_open()
                connection, self._idle = self._idle, None
                if connection is not None and (connection.lost() or not connection.ours()):
                    connection.end()
                    connection = None
                connection = connection or started()
                try:
                    answer = ask(connection)
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
        if sys.is_finalizing():  # the helper ends with this process
            return
        with self._turn:
            connection, self._idle = self._idle, None
            if connection is not None:
                connection.end()

    def after_fork_in_child(self) -> None:
        """After fork, in the child: replace the lock, another thread may have held it."""
        self._turn = _thread.RLock()
        self._idle = None


def user() -> tuple[int, int, int]:
    return getpid(), geteuid(), getegid()


class Connection(Channel):
    """The socket to a helper, which ends when it goes."""

    __slots__ = ("_asked", "_end", "_kind", "_pid", "_poll", "_user", "_wanted", "namespace")

    all: ClassVar[WeakSet[Connection]] = WeakSet()

    def __init__(self, fd: int | KeptFds, end: KeptFds, pid: int = 0, namespace: UserNamespace | None = None) -> None:
        super().__init__(fd)
        self.all.add(self)
        self._end = end  # readable when the helper is gone, though some other process may still hold its socket
        self._pid = pid  # the helper's; 0 where it is not known
        self._user = user()
        self.namespace = namespace
        self._kind: MountSpec | None = None  # of the roots that were asked for last, without their tokens
        self._asked: list[MountSpec] = []  # for, and their replies have not been read yet, in order
        self._wanted = 0  # so many are to be asked for at once
        self._poll = new_poll()
        self._poll.register(self.fileno(), select.POLLIN)
        self._poll.register(self._end.fileno(), select.POLLIN)

    def ours(self) -> bool:
        """Whether it was started by this very process, as the user that this is now: a root is the helper's user's."""
        return self._user == user()

    def make(self, spec: MountSpec) -> tuple[MountSpec, Reply]:
        """The spec of a new root, which has a token of its own, and the reply with its descriptors.

        Who goes on asking for the same kind has some more of it asked for beforehand, and need not wait: a root takes
        the helper as long as its owner, and each waiting as long again (measured: 580 us a root, 400 with these).
        """
        if spec != self._kind:
            self._unask()
            self._kind, self._wanted = spec, 1
        early = bool(self._asked)
        if len(self._asked) * 2 < self._wanted:
            while len(self._asked) < self._wanted:
                self._asked.append(spec.replace(token=new_token()))
                self.ask(Request(protocol.TMPFS, self._asked[-1].encode()))
        if self._wanted < AHEAD:
            self._wanted = min(2 * self._wanted, room_for(AHEAD))
        made = self._asked.pop(0)
        reply = self._read_answer()
        if early:
            touch_now(made.token, reply.fds[0])
        return made, reply

    def change(self, request: Request) -> Reply:
        """The reply to a request that is about a mount."""
        self._unask()
        self._kind = None
        self.ask(request)
        return self._read_answer()

    def _unask(self) -> None:
        """Hear what was asked for beforehand, and is not wanted any more."""
        while self._asked:
            del self._asked[0]
            try:
                self._read_answer()
            except Unanswered:
                raise
            except Refused:
                pass

    def _read_answer(self) -> Reply:
        return self.read_reply(self._wait, unanswered)

    def _wait(self, step: str) -> None:
        """Wait until there is something to read: for long, for a busy machine takes long, but not for what is stopped.

        A helper that somebody has stopped (SIGSTOP) answers nothing until somebody lets it go on.
        """
        deadline = time.monotonic() + child.ANSWER_PATIENCE
        stopped = 0
        while not self._poll.poll(min(child.GLANCE, child.ANSWER_PATIENCE * 1000)):
            stopped = stopped + 1 if self.stopped() else 0
            if stopped == child.STOPPED_GLANCES:  # all of a program is stopped, and goes on, one process after another
                raise unanswered(step, errno.ETIMEDOUT, "was stopped")
            if time.monotonic() > deadline:
                raise unanswered(step, errno.ETIMEDOUT, f"did not answer in {child.ANSWER_PATIENCE:g} s")

    def stopped(self) -> bool:
        """Whether the helper is stopped: proc_pid_stat(5)."""
        return self._pid > 0 and is_stopped(self._pid)

    def is_our_child(self) -> bool:
        """Whether the helper is a child of this process, alive or dead: waitid(2), which leaves it as it is."""
        try:
            found = os.waitid(os.P_PIDFD, self._end.fileno(), os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except (OSError, ValueError):  # it is none, or its descriptor is not a process's, or closed
            return False
        return found is None or found.si_pid == self._pid

    def _reap(self) -> None:
        """Reap a helper that has ended, if it is a child of this process.

        Not by its descriptor alone: another thread may have closed that, and it may be another child's now.
        """
        try:
            found = os.waitid(os.P_PIDFD, self._end.fileno(), os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is not None and found.si_pid == self._pid:
                os.waitpid(self._pid, os.WNOHANG)
        except (OSError, ValueError):
            pass

    def end(self) -> None:
        """Hang up, and wait until the helper is gone, if it is this process's."""
        self.namespace = None  # a traceback may keep this object
        if self.lost():
            return
        if self.hang_up():
            last = new_poll()
            last.register(self._end.fileno(), select.POLLIN)
            if (self.stopped() or not last.poll(END_PATIENCE * 1000)) and kill(self._end):
                last.poll(END_PATIENCE * 1000)
            self._reap()
        self._end.close()  # a traceback may keep the rest

    def hang_up(self) -> bool:
        """Tell the helper to end, though a forked child may hold a copy of the socket. It is not a parent's to tell."""
        ours = self._user[0] == getpid()
        if ours and not self.lost():
            try:
                self.shutdown(_socket.SHUT_RDWR)
            except OSError:  # it is gone already
                pass
        self.close()
        return ours


def room_for(count: int) -> int:
    """How many roots may be on their way at once, of so many.

    All of a user's processes together may have as many descriptors on their way as one may have open: unix(7). A run of
    tests has many.
    """
    most = os.sysconf("SC_OPEN_MAX")
    return count if most < 0 else max(1, min(count, most // 64))


def touch_now(token: str, above: OwnedFd) -> None:
    """A root that was made before it was asked for is as if it had been made now: its times are what shows."""
    try:
        os.utime(token, dir_fd=above.fileno())
    except OSError:  # its mode or its owner may forbid it; nothing else depends on it
        pass


def unanswered(step: str, number: int, what: str) -> Unanswered:
    return Unanswered([(step, number, f"the helper {what}")])


def started() -> Connection:
    """A new helper: a fresh interpreter, so that it has no copy of this process's memory.

    `Unanswered`, with nothing to say, where it would become a child of this process: then none is started.
    """
    if adopts_orphans():
        raise Unanswered([])
    if not child.interpreter():
        raise Unanswered(
            [
                (
                    "posix_spawn",
                    errno.ENOENT,
                    "sys.executable is not a Python to start a helper process with",
                )
            ]
        )
    caller = Caller(threads=2)  # a fresh interpreter, whatever this process is
    connection = without_interrupts(lambda: start(caller), caller)
    if connection.is_our_child():  # this process adopts orphans only since a moment ago
        connection.end()
        raise Unanswered([])
    return connection


def start(caller: Caller) -> Connection:
    given = current()
    request = Request(protocol.RESIDE, [str(getpid())], given.fds() if given else ())
    channel, reply = child.start_and_ask(request, caller)
    end, *new = reply.fds
    pid = int(reply.how) if reply.how.isdecimal() else 0
    return Connection(channel.kept, KeptFds(end, beside=channel.kept), pid, made_in(given, new))


def adopts_orphans() -> bool:
    """Whether a helper, whose parent ends, becomes a child of this process.

    It does in the first process of a container (of a pid namespace), and in one that has asked for it,
    PR_SET_CHILD_SUBREAPER(2const). Such a process often waits for all of its children, and would never be done.
    """
    if os.getpid() == 1:
        return True
    try:
        return _syscalls.prctl_value(_syscalls.PR_GET_CHILD_SUBREAPER) != 0
    except OSError:  # a filter; `Connection.is_our_child` finds out
        return False


def kill(end: KeptFds) -> bool:
    """Kill a helper by its descriptor: whether it was there to be killed."""
    try:
        if end.are_ours():
            _signal.pidfd_send_signal(end.fileno(), _signal.SIGKILL)
            return True
    except (OSError, ValueError):  # it is gone, or its descriptor is a pipe, or closed
        pass
    return False


def _forget() -> None:
    """In a forked child: the helpers are the parent's, and must not take this process for it."""
    for client in list(HelperClient.all):
        client.after_fork_in_child()
    for connection in list(Connection.all):
        connection.close()


os.register_at_fork(after_in_child=_forget)
