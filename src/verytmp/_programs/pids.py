"""A pid namespace for one program, so that nothing which it leaves running outlives it.

Three processes: this one, whose status will be the program's; the namespace's first process, with which the kernel ends
all others in it; and the program, a child of this one. The first two hold no file of the program's.
"""

from __future__ import annotations

import errno
import os
import resource

from .. import _syscalls
from .trampoline import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from typing import NoReturn
else:
    import _signal  # without the enums of `signal`, which take 3 ms to load

STREAMS = 3  # the standard ones
READY = b"+"
FLAGS = _syscalls.MS_NOSUID | _syscalls.MS_NODEV | _syscalls.MS_NOEXEC
MASKED = (
    "a /proc of its own cannot be mounted, for parts of the one here are covered, as in a container: leave out "
    "unshare_pid=True, or uncover them (docker run --security-opt systempaths=unconfined)"
)


def contain() -> None:
    """Return in a new process, which is in a pid namespace of its own.

    The process that calls this stays, and ends when the new one does, as that does. `OSError` where the kernel refuses.
    """
    step("unshare(CLONE_NEWPID|CLONE_NEWNS)", _syscalls.unshare, _syscalls.CLONE_NEWPID | _syscalls.CLONE_NEWNS)
    ready, told = os.pipe()
    first = os.fork()
    if first == 0:
        os.close(ready)
        be_first(told)
    os.close(told)
    answer = os.read(ready, 16)
    os.close(ready)
    if answer != READY:
        os.waitpid(first, 0)
        number = int(answer or errno.ECONNRESET)
        raise OSError(number, MASKED if number == errno.EPERM else f"mount(proc): {os.strerror(number)}")
    mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
    program = os.fork()
    if program == 0:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
        return
    supervise(program, first)


def be_first(told: int) -> NoReturn:
    """Be the first process of the namespace, whose end is that of all others: when this one's parent ends."""
    try:
        _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
        _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)  # whatever ends here is nobody's to wait for
        _syscalls.prctl(_syscalls.PR_SET_PDEATHSIG, _signal.SIGKILL)
        read_only = os.statvfs("/proc").f_flag & os.ST_RDONLY
        _syscalls.mount("proc", "/proc", "proc", FLAGS | (_syscalls.MS_RDONLY if read_only else 0))
        _syscalls.capset()
        keep_only(told)
        os.write(told, READY)  # which fails if the parent has ended before it could have been noticed
        os.close(told)
        while True:
            _signal.pause()
    except OSError as error:
        os.write(told, str(error.errno).encode())
    finally:
        os._exit(1)


def supervise(program: int, first: int) -> NoReturn:
    """Pass signals on to the program, stop when it does, and end as it does, with all that it has left running.

    What a terminal sends reaches the whole process group, and so the program without this process's doing.
    """
    status = 0
    try:
        _syscalls.capset()
        keep_only()
        while True:
            signal = _signal.sigwaitinfo(_signal.valid_signals())
            if signal.si_signo == _signal.SIGCHLD:
                found, status = os.waitpid(program, os.WNOHANG | os.WUNTRACED)
                if found and os.WIFSTOPPED(status):
                    os.kill(os.getpid(), _signal.SIGSTOP)
                elif found:
                    break
            elif signal.si_code <= 0:  # from a process
                os.kill(program, signal.si_signo)
        os.kill(first, _signal.SIGKILL)
        os.waitpid(first, 0)  # the kernel has ended all others by then
        if os.WIFSIGNALED(status):
            end_by(os.WTERMSIG(status))
    finally:
        os._exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 1)


def end_by(number: int) -> None:
    """End this process by a signal, without a core file: the program has written it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if number != _signal.SIGKILL:
        _signal.signal(number, _signal.SIG_DFL)
    os.kill(os.getpid(), number)
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, [number])


def keep_only(kept: int = STREAMS) -> None:
    """Hold no file but one: the program's are to be closed when it closes them. The standard streams stay taken."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for fd in range(STREAMS):
        if fd != kept:
            os.dup2(nowhere, fd)
    os.closerange(STREAMS, kept)
    os.closerange(max(kept + 1, STREAMS), os.sysconf("SC_OPEN_MAX"))
