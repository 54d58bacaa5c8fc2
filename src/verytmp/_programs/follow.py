"""One process in the place of another: signals are passed on to it, and its stops and its end are followed."""

from __future__ import annotations

import os
import resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal  # without the enums of `signal`, which take 3 ms to load


def follow(program: int) -> int:
    """Pass signals on to a child, and stop when it does, until it ends: its wait status. All signals are blocked.

    What a terminal sends reaches the whole process group, and so the program without this process's doing.
    """
    while True:
        signal = _signal.sigwaitinfo(_signal.valid_signals())
        if signal.si_signo == _signal.SIGCHLD:
            found, status = os.waitpid(program, os.WNOHANG | os.WUNTRACED)
            if found and os.WIFSTOPPED(status):
                os.kill(os.getpid(), _signal.SIGSTOP)  # the shell sees it, and sends both of them SIGCONT
            elif found:
                return status
        elif signal.si_code <= 0:  # from a process
            os.kill(program, signal.si_signo)


def end_by(number: int) -> None:
    """End this process by a signal, without a core file: the program has written it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if number != _signal.SIGKILL:
        _signal.signal(number, _signal.SIG_DFL)
    os.kill(os.getpid(), number)
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, [number])
