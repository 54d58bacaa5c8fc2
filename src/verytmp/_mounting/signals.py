"""Hold signals back while a descriptor is between the call that made it and the name that keeps it."""

from __future__ import annotations

import _thread
import sys

from .. import _syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self, TypeVar

    _T = TypeVar("_T")

NO_SIGNAL = bytes(_syscalls.SIGSET_BYTES)


class SignalsHeld:
    """While it is entered, no signal reaches this thread, so no handler's exception can lose a descriptor or a child.

    That is so in a process with one thread. With more, the kernel gives the signal to another one, and the handler then
    runs in the main thread all the same: `uninterrupted` is for those.
    """

    __slots__ = ("_mask",)

    def __enter__(self) -> Self:
        self._mask = _syscalls.pthread_sigmask(_syscalls.SIG_BLOCK, NO_SIGNAL)
        try:
            self.hold()  # a handler whose signal came just before runs, and may raise, in here
        except BaseException:
            self.release()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    def hold(self) -> None:
        _syscalls.pthread_sigmask(_syscalls.SIG_BLOCK, _syscalls.EVERY_SIGNAL)

    def release(self) -> None:
        """Let signals in: while the process waits, a user must be able to interrupt it."""
        _syscalls.pthread_sigmask(_syscalls.SIG_SETMASK, self._mask)


def unlost(make: Callable[[SignalsHeld], _T], threads: int) -> _T:
    """What *make* returns, when no signal handler's exception can come between its steps, in so many threads."""

    def held() -> _T:
        with SignalsHeld() as signals:
            return make(signals)

    if threads > 1 and not sys.is_finalizing() and in_main_thread():  # at the interpreter's end no other thread runs
        return uninterrupted(held)
    return held()


def in_main_thread() -> bool:
    """Whether Python's signal handlers run in this thread."""
    import threading

    return threading.current_thread() is threading.main_thread()


def uninterrupted(make: Callable[[], _T]) -> _T:
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

    try:
        _thread.start_new_thread(run, ())
    except RuntimeError:  # a limit on processes or memory, or the interpreter's end: then here, as well as that goes
        return make()
    ended.acquire()
    if errors:
        raise errors.pop()
    return made.pop()
