"""No signal handler's exception comes in while a descriptor, or a child, is between two steps of its making."""

from __future__ import annotations

import _thread
import sys
from io import FileIO

from .. import _syscalls
from .protocol import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self, TypeVar

    _T = TypeVar("_T")

NO_SIGNAL = bytes(_syscalls.SIGSET_BYTES)
STATUS = "/proc/thread-self/status"


class BlockedSignals:
    """While it is entered, no signal reaches this thread, so no handler's exception can lose a descriptor or a child.

    That is so in a process with one thread. With more, the kernel gives the signal to another one, and the handler then
    runs in the main thread all the same: `in_helper_thread` is for those.
    """

    __slots__ = ("_mask",)

    def __enter__(self) -> Self:
        self._mask = _syscalls.pthread_sigmask(_syscalls.SIG_BLOCK, NO_SIGNAL)
        try:
            self.block()  # a handler whose signal came just before runs, and may raise, in here
        except BaseException:
            self.release()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    def block(self) -> None:
        _syscalls.pthread_sigmask(_syscalls.SIG_BLOCK, _syscalls.EVERY_SIGNAL)

    def release(self) -> None:
        """Let signals in: while the process waits, a user must be able to interrupt it."""
        _syscalls.pthread_sigmask(_syscalls.SIG_SETMASK, self._mask)


class Caller:
    """The thread that wants a mount: what decides how one may be made for it.

    Attributes:
        threads: how many threads the process has.
        size: how many bytes of memory it has; 0 if the number of threads was given.
        filtered: whether a seccomp filter is on this thread.
        signals: what blocks signals while something is made for it: see `without_interrupts`.

    The first three are read in /proc when one of them is first asked for, or given. `Refused` if they cannot be read.
    """

    __slots__ = ("_filtered", "_size", "_threads", "signals")

    def __init__(self, threads: int = 0) -> None:
        self._threads = threads
        self._size = 0
        self._filtered = False
        self.signals = BlockedSignals()

    @property
    def threads(self) -> int:
        if not self._threads:
            self._read_status()
        return self._threads

    @property
    def size(self) -> int:
        if not self._threads:
            self._read_status()
        return self._size

    @property
    def filtered(self) -> bool:
        if not self._threads:
            self._read_status()
        return self._filtered

    def _read_status(self) -> None:
        """proc_pid_status(5)"""
        try:
            with FileIO(STATUS) as file:  # the built-in `open` may be a test's own
                status = file.read(8192)
        except OSError as error:
            raise Refused([(STATUS, error.errno or 0, error.strerror or "")]) from None
        self._filtered = b"\nSeccomp:\t" in status and b"\nSeccomp:\t0\n" not in status
        self._size = int(status.partition(b"\nVmRSS:")[2].lstrip().partition(b" ")[0] or 0) << 10
        self._threads = int(status.partition(b"\nThreads:\t")[2].partition(b"\n")[0])


def without_interrupts(make: Callable[[], _T], caller: Caller) -> _T:
    """What *make* returns, when no signal handler's exception can come between its steps."""

    def blocked() -> _T:
        with caller.signals:
            return make()

    if caller.threads > 1 and not sys.is_finalizing() and in_main_thread():  # at the end no other thread runs
        return in_helper_thread(blocked)
    return blocked()


def in_main_thread() -> bool:
    """Whether Python's signal handlers run in this thread."""
    import threading

    return threading.current_thread() is threading.main_thread()


def in_helper_thread(make: Callable[[], _T]) -> _T:
    """What *make* returns, when it has run in a thread of its own, where no signal handler does.

    A handler's exception ends the waiting for it at once. What is made later is then garbage, and so must own itself.
    """
    made: list[_T] = []
    errors: list[BaseException] = []
    ended = _thread.allocate_lock()
    ended.acquire()

    def run() -> None:
        try:
            made.append(make())
        except BaseException as error:
            errors.append(error.with_traceback(None))
        finally:
            ended.release()

    if not start_thread(run):  # then here, as well as that goes
        return make()
    ended.acquire()
    if errors:
        raise errors.pop()
    return made.pop()


def start_thread(run: Callable[[], object]) -> bool:
    """Start a thread. Returns False where that is not allowed: by a limit on processes or memory, or at the end."""
    try:
        _thread.start_new_thread(run, ())
    except RuntimeError as error:
        trace = error.__traceback__
        if trace is not None and trace.tb_next is not None:  # a signal handler has raised it
            raise
        return False
    return True
