"""The one-shot child, from its parent's side: start it, ask it, read its answer, reap it."""

from __future__ import annotations

import _socket
import _thread
import errno
import gc
import os
import select
import sys
import time
import warnings
from contextlib import closing, contextmanager
from io import FileIO
from posix import getpid  # a test may have put another in os
from stat import S_ISREG

from .. import _syscalls
from .._confined.owned_fd import new_poll
from .._diagnosis.interpreter import REPLACED, greened
from . import child_process, protocol
from .channel import Channel
from .protocol import Refused, Reply, Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable, Generator, Sequence
    from typing import Any

    from .._diagnosis.rules import Refusal
    from .signals import Caller
else:
    import _signal  # without the enums of `signal`, which take a tenth of the time to the first root

# A child answers in 2 ms, a fresh interpreter in 20; on a machine with a hundred busy processes, in seconds.
ANSWER_PATIENCE = 30.0  # seconds
# Another process that was forked meanwhile holds the socket open too, so a dead child is looked for besides.
GLANCE = 100  # milliseconds
STOPPED_GLANCES = 5  # a child that is seen stopped so many times (SIGSTOP) will not answer

# A process larger than this is not forked: to copy 256 MiB's page tables takes 3 to 15 ms, a new interpreter 10 to 25.
FORKED_MAX = 256 << 20  # bytes

VALUE_MAX = 16384  # characters of a variable that a fresh interpreter gets; execve(2) takes 128 KiB


def perform(request: Request, caller: Caller) -> Reply:
    """Have a new child perform a privileged operation. No child is left, whatever happens.

    The caller's signals are blocked, but while this waits. Raises `Refused`.
    """
    channel, reply = start_and_ask(request, caller)
    channel.close()
    return reply


def start_and_ask(request: Request, caller: Caller) -> tuple[Channel, Reply]:
    """The same, with the channel that the reply came over. The child is gone then; a helper that it left may not be."""
    if _forking[0] not in (0, getpid()) and _forking[1] == _thread.get_ident():
        raise Refused([("fork", errno.EDEADLK, "a function registered with os.register_at_fork made a root")])
    with refusing("socketpair"):
        # Not `socket.socketpair`: it makes `socket.socket` objects, in whose place tests and gevent put others.
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        channel = Channel(ours.detach())
    try:
        with closing(theirs):
            child = start(theirs, channel, caller)
        try:
            channel.ask(request)
            reply = read_answer(channel, child, caller)
        except BaseException:
            child.kill()
            raise
        child.reap()
    except BaseException:
        channel.close()  # a traceback may keep it
        raise
    return channel, reply


def probe(what: str, caller: Caller) -> Sequence[Refusal]:
    """Have a child try something, which may end it: each outcome by its name, 0 for what is allowed."""
    try:
        return perform(Request(protocol.PROBE, [what]), caller).outcomes
    except Refused as answered:
        return answered.refusals


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped, as by SIGSTOP or a debugger: proc_pid_stat(5). False where that cannot be read."""
    try:
        with FileIO(f"/proc/{pid}/stat") as file:  # the built-in `open` may be a test's own
            return file.read(4096).rpartition(b")")[2].lstrip()[:1] in (b"T", b"t")
    except OSError:
        return False


class Child:
    """A process of ours, until it is reaped."""

    __slots__ = ("pid", "status")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.status: int | None = None

    def reap(self, options: int = 0) -> bool:
        """Whether it is gone; without WNOHANG, wait for that. There is no status if somebody else has reaped it."""
        if self.pid:
            try:
                pid, status = os.waitpid(self.pid, options)
            except ChildProcessError:
                self.pid = 0
            else:
                if pid:
                    self.pid, self.status = 0, status
        return not self.pid

    def kill(self) -> None:
        """End it now. Only a child that is seen alive is signalled: a dead one's number may be somebody else's."""
        if not self.reap(os.WNOHANG):
            os.kill(self.pid, _signal.SIGKILL)
            self.reap()

    def exit_reason(self, step: str) -> Refused:
        """Why it answered nothing."""
        self.kill()
        if self.status is None:
            return Refused([(step, errno.ECONNRESET, "the one-shot child ended without an answer")])
        code = os.waitstatus_to_exitcode(self.status)
        if code >= 0:
            return Refused([(step, errno.ECONNRESET, f"the one-shot child ended with status {code}")])
        name = signal_name(-code)
        if -code == _signal.SIGSYS:
            return Refused([(step, errno.ENOSYS, f"a seccomp filter killed the one-shot child ({name})")])
        return Refused([(step, errno.ECONNRESET, f"the one-shot child was killed by {name}")])


def signal_name(number: int) -> str:
    """As ``SIGKILL``; of several, the one that `signal` takes."""
    names = [name for name, value in vars(_signal).items() if value == number and name[:3] == "SIG" and name[3] != "_"]
    return min(names, default=f"signal {number}")


def start(connection: _socket.socket, ours: Channel, caller: Caller) -> Child:
    package = greened(*REPLACED)
    if package:
        raise Refused([(package, errno.ENOSYS, f"{package} has replaced the calls by which a child is asked")])
    if not should_fork(caller) or not in_main_interpreter():  # where there is no interpreter to spawn, `spawn` says so
        return spawn(connection)
    try:
        with warnings.catch_warnings():  # of fork with threads: there is no interpreter to spawn
            if caller.threads > 1:
                warnings.simplefilter("ignore", DeprecationWarning)
            return fork(connection, ours)
    except RuntimeError:  # not in a sub-interpreter, and not while this one shuts down (Python 3.12)
        return spawn(connection)


def should_fork(caller: Caller) -> bool:
    """Whether the child is a copy of this process, and not a fresh interpreter.

    In a process of more threads, a copy may hold locks that nobody there can release. Of one that is not dumpable, as
    after setuid(2), a copy may not write its own maps, for /proc shows them as root's; and to make it dumpable would
    show others all the secrets that this process keeps from them. In a sub-interpreter, a copy ends at once.
    """
    if not interpreter():
        return True
    if caller.threads > 1 or caller.size > FORKED_MAX:
        return False
    return in_main_interpreter() and _syscalls.prctl(_syscalls.PR_GET_DUMPABLE) == 1


# The first is Python 3.13's.
in_main_interpreter: Callable[[], bool] = getattr(_thread, "_is_main_interpreter", _syscalls.in_main_interpreter)


# The process and thread that are forking: in the child, functions that run after a fork must not make roots. (A child
# that another thread forks at the same moment may.)
_forking = (0, 0)


def fork(connection: _socket.socket, ours: Channel) -> Child:
    global _forking
    collecting = gc.isenabled()
    gc.disable()
    _forking = getpid(), _thread.get_ident()
    try:
        with refusing("fork"):
            pid = os.fork()
        if pid == 0:
            os.close(ours.fileno())  # or this process would not hear that its parent is gone
            child_process.main(connection.fileno())
        return Child(pid)
    finally:
        _forking = 0, 0
        if collecting:
            gc.enable()


def spawn(connection: _socket.socket) -> Child:
    """A fresh interpreter, with the socket as its standard input. It inherits the signal mask, which blocks all."""
    executable = interpreter()
    if not executable:
        raise Refused([("fork", errno.EPERM, "os.fork is not allowed here, and sys.executable is not a Python")])
    with refusing("dup"):
        source = os.dup(connection.fileno())  # never 0 itself, which dup2 onto 0 would leave close-on-exec
    try:
        with refusing("posix_spawn"):
            return Child(
                os.posix_spawn(
                    executable,
                    [executable, "-I", "-S", "-B", child_process.__file__],
                    environment(),
                    file_actions=[(os.POSIX_SPAWN_DUP2, source, 0), *std_stream_actions()],
                )
            )
    finally:
        os.close(source)


def std_stream_actions() -> Generator[tuple[int, int, str, int, int]]:
    """What opens the standard streams that this process has closed, as daemons do: the child's own would take them."""
    for stream in (1, 2):
        try:
            there = os.get_inheritable(stream)  # what else has taken the number is not for the child
        except OSError:
            there = False
        if not there:
            yield os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_RDWR, 0


def interpreter() -> str:
    """This Python's program, to be started afresh; empty where there is none (embedded, frozen, zipped)."""
    executable: object = sys.executable  # a program may have set it to anything
    if not isinstance(executable, str) or not os.path.isabs(executable) or hasattr(sys, "frozen"):
        return ""  # a relative one is of the directory that this process was in then
    if not os.path.basename(executable).lower().startswith(("python", "pypy")):
        return ""
    try:
        usable = S_ISREG(os.stat(executable).st_mode) and os.path.isfile(child_process.__file__)
    except PermissionError:  # it is there, as far as can be told; starting it says what is wrong
        usable = True
    except (OSError, ValueError):  # it is gone, or a NUL is in its name
        usable = False
    return executable if usable else ""


def environment() -> dict[bytes, bytes]:
    """What a fresh interpreter needs of this process's environment, and no more.

    That is where its own shared library lies. What else is there may be more than execve(2) takes, or no text at all.
    What begins with VERYTMP_ is for whoever looks for helpers in /proc.
    """
    variables: Any = os.environ
    needed: dict[bytes, bytes] = {}
    for name in list(variables):
        value = variables.get(name)  # another thread may have deleted it
        if not isinstance(name, str) or not isinstance(value, str) or "\0" in name + value or len(value) > VALUE_MAX:
            continue
        if name == "LD_LIBRARY_PATH" or (name.startswith("VERYTMP_") and "=" not in name):
            try:
                needed[os.fsencode(name)] = os.fsencode(value)
            except UnicodeEncodeError:
                pass
    return needed


def read_answer(channel: Channel, child: Child, caller: Caller) -> Reply:
    """The child's reply, with a bound. Signals are let in while this waits, and only then."""
    deadline = time.monotonic() + ANSWER_PATIENCE
    poll = new_poll()
    poll.register(channel, select.POLLIN)

    def wait(step: str) -> None:
        stopped = 0
        while True:
            caller.signals.release()
            try:
                ready = poll.poll(GLANCE)
            finally:
                caller.signals.block()
            if ready:
                return
            if child.reap(os.WNOHANG) and not poll.poll(0):
                raise child.exit_reason(step)
            stopped = stopped + 1 if is_stopped(child.pid) else 0
            if stopped == STOPPED_GLANCES:
                child.kill()
                raise Refused([(step, errno.ETIMEDOUT, "the one-shot child was stopped")])
            if time.monotonic() > deadline:
                child.kill()
                raise Refused([(step, errno.ETIMEDOUT, f"no answer from the one-shot child in {ANSWER_PATIENCE:g} s")])

    def failure(step: str, number: int, what: str) -> Refused:
        if number == errno.ECONNRESET:
            return child.exit_reason(step)
        return Refused([(step, number, f"the one-shot child {what}")])

    return channel.read_reply(wait, failure)


@contextmanager
def refusing(step: str) -> Generator[None]:
    """`Refused` for an `OSError` of one step of this process's own."""
    try:
        yield
    except OSError as error:
        number = error.errno or 0
        raise Refused([(step, number, os.strerror(number))]) from error
