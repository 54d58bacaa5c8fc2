"""Hold signals back while a descriptor is between the call that made it and the name that keeps it."""

from __future__ import annotations

from . import _linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

NO_SIGNAL = bytes(_linux.SIGSET_BYTES)


class SignalsHeld:
    """While it is entered, no signal reaches this thread, so no handler's exception can lose a descriptor or a child.

    Python's handlers run in the main thread alone. In a process with several threads the kernel may give the signal to
    another one, and the handler then runs here all the same: that window, of one bytecode, stays.
    """

    __slots__ = ("_mask",)

    def __enter__(self) -> Self:
        self._mask = _linux.pthread_sigmask(_linux.SIG_BLOCK, NO_SIGNAL)
        try:
            self.hold()  # a handler whose signal came just before runs, and may raise, in here
        except BaseException:
            self.release()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    def hold(self) -> None:
        _linux.pthread_sigmask(_linux.SIG_BLOCK, _linux.EVERY_SIGNAL)

    def release(self) -> None:
        """Let signals in: while the process waits, a user must be able to interrupt it."""
        _linux.pthread_sigmask(_linux.SIG_SETMASK, self._mask)
