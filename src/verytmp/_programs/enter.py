"""`enter`: this very process goes into a private mount namespace, where its roots have names."""

from __future__ import annotations

import errno
import os
import sys
import time

from .._confined.procfs import is_own_namespace
from .._mounting import entered, options, refusals, strategy
from .._mounting.available import check_available
from .._mounting.child import interpreter
from .._mounting.protocol import Refused
from .._mounting.signals import Caller, without_interrupts
from ..errors import VeryTmpError
from . import trampoline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

# A thread that was joined a moment ago may still be ending, as the kernel counts.
THREAD_LOOKS = 20
THREAD_PAUSE = 0.005  # seconds

INHERITED = "VERYTMP_ENTERED"  # in the environment of a program that `restart` has started: a descriptor to be closed
# What a fresh interpreter runs, to enter a namespace and become a program.
START = f"""\
import sys
sys.path.insert(0, {os.path.dirname(os.path.dirname(os.path.dirname(__file__)))!r})
from verytmp._programs.enter import become
become(sys.argv[1:])
"""


def enter() -> None:
    """Move this process into a new mount namespace, for good: from now on its roots have names.

    Each new root is mounted at ``/verytmp/<token>``, or at its ``at=``, and the strings of its paths are real paths
    there, so that SQLite, `os.getcwd`, `os.path.realpath` and git work. Processes outside do not see the mounts. Each
    disappears with its root, and all of them with the last process in the namespace. ``VeryTmpRoot(at=False)`` still
    makes a root without a name. Calling it again does nothing.

    Call it early, while there is one thread. Children that are started later are in the namespace too, and forked
    children make roots with names. A helper process stays, which does the mounting.

    Raises:
        VeryTmpError: there is more than one thread.
        VeryTmpUnavailable: such a namespace is refused here.
        OSError: this process may not enter the new namespace (EPERM), or its working directory does not exist there.
    """
    go_inside()
    options.default_at = True


def go_inside() -> None:
    """What `enter` does, without names for roots that nobody asks a name for."""
    if strategy.entered_client is not None:
        return
    check_available()
    caller = Caller()
    for _ in range(THREAD_LOOKS):
        if caller.threads == 1:
            break
        time.sleep(THREAD_PAUSE)
        caller = Caller()
    else:
        raise VeryTmpError(errno.EINVAL, too_many(caller.threads))
    before = os.getcwd()
    try:
        helper, namespace = without_interrupts(lambda: entered.start(caller), caller)
    except Refused as refused:
        raise refusals.explained(refused.refusals, None, caller) from None
    with namespace:
        nothing = dict.fromkeys(trampoline.Plan.FIELDS, "")
        trampoline.enter(trampoline.Plan(**nothing | {"namespace": str(namespace.fileno()), "cwd": before}))
    strategy.entered_client = helper


def too_many(threads: int) -> str:
    """What to do about more than one thread, and the names of those that Python knows."""
    import threading

    others = [thread.name for thread in threading.enumerate() if thread is not threading.current_thread()]
    named = f" ({', '.join(others)}, as Python calls them)" if others else " (none of them is Python's: a library's)"
    return (
        f"verytmp.enter() moves a process with one thread, and this one has {threads}{named}: call it before they are "
        "started, at the beginning of the program; or start the program by python -m verytmp run"
    )


def restart(command: list[str]) -> NoReturn:
    """Become a program in a namespace as `enter` makes it. This process may have threads: they end here.

    The caller has seen that such a namespace is not refused. Raises `OSError` if this Python cannot be started afresh.
    """
    executable = interpreter()
    if not executable:
        raise OSError(errno.ENOENT, "sys.executable is not a Python to start a program with", sys.executable)
    os.execv(executable, [executable, "-I", "-S", "-B", "-c", START, *command])


def become(command: list[str]) -> NoReturn:
    """In the fresh interpreter: enter, and start the program, which connects to the helper before this one has gone."""
    go_inside()
    assert strategy.entered_client is not None
    held = strategy.entered_client.fileno()
    os.set_inheritable(held, True)
    os.environ[INHERITED] = str(held)
    os.execv(command[0], command)


def join() -> bool:
    """Take part in the namespace that this process was started in, by a process that has entered it.

    It may have any number of threads. From then on, it has roots with names made there. False if there is none.
    """
    joined = entered.join(Caller())
    held = os.environ.pop(INHERITED, "")
    if held:
        os.close(int(held))
    if joined is None:
        return False
    with joined[1] as namespace:
        if is_own_namespace(namespace.fileno()):
            strategy.entered_client = joined[0]
    return strategy.entered_client is not None
