"""A pid namespace for one program, so that nothing which it leaves running outlives it.

Three processes: this one, whose status will be the program's; the namespace's first process, with which the kernel ends
all others in it; and the program, a child of this one. The first two hold no file of the program's.
"""

from __future__ import annotations

import errno
import os

from .. import _syscalls
from .._mounting.namespaces import enter_namespaces
from .._mounting.protocol import CallLog
from .follow import end_by, follow

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
    "a new /proc cannot be mounted, because parts of the present one are covered, as in a container: leave out "
    "unshare_pid=True, or uncover them (docker run --security-opt systempaths=unconfined)"
)


def unshare() -> bool:
    """Have this process's children in a new pid namespace, and this process in a new mount namespace.

    Returns whether it has entered a user namespace of its own for that, in which it has all capabilities: where it has
    not those that it takes. `OSError` with the step that was refused.
    """
    log = CallLog()
    try:
        new = enter_namespaces(log)
        for fd in new:
            os.close(fd)
        log("unshare(CLONE_NEWPID)")
        _syscalls.unshare(_syscalls.CLONE_NEWPID)
    except OSError as error:
        error.strerror = f"{log.now}, for a pid namespace: {error.strerror}"
        raise
    return bool(new)


def contain() -> None:
    """Return in a new process, in the pid namespace that this one's children are to be in: it has been unshared.

    The process that calls this stays, and ends when the new one does, as that does. `OSError` where the kernel refuses.
    """
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
    before = _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)  # of one that is ignored, this would never hear
    program = os.fork()
    if program == 0:
        _signal.signal(_signal.SIGCHLD, before)
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
    """Follow the program, and end as it does, with all that it has left running."""
    status = 0
    try:
        _syscalls.capset()
        keep_only()
        status = follow(program)
        os.kill(first, _signal.SIGKILL)
        os.waitpid(first, 0)  # the kernel has ended all others by then
        if os.WIFSIGNALED(status):
            end_by(os.WTERMSIG(status))
    finally:
        os._exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 1)


def keep_only(kept: int = STREAMS) -> None:
    """Hold no file but one: the program's are to be closed when it closes them. The standard streams stay taken."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for fd in range(STREAMS):
        if fd != kept:
            os.dup2(nowhere, fd)
    os.closerange(STREAMS, kept)
    os.closerange(max(kept + 1, STREAMS), os.sysconf("SC_OPEN_MAX"))
