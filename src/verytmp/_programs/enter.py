"""`enter`: this very process goes into a private mount namespace, where its roots have names."""

from __future__ import annotations

import errno
import os

from .._mounting import entered, options, refusals, strategy
from .._mounting.available import check_available
from .._mounting.protocol import Refused
from .._mounting.signals import Caller, without_interrupts
from ..errors import VeryTmpError
from . import trampoline


def enter() -> None:
    """Move this process into a mount namespace of its own, for good: from now on its roots have names.

    A root that is made then is mounted at ``/verytmp/<token>``, or at its ``at=``, and the strings of its paths are
    those names, which programs and libraries can ask the kernel for: SQLite, `os.getcwd`, `os.path.realpath`, git work
    in it. Nobody outside sees the mounts. They go with the root, and all of them with the namespace's last process.
    ``VeryTmpRoot(at=False)`` makes a root without a name still. Calling it again does nothing.

    Call it early, while there is one thread. Children that are started later are in the namespace too, and forked ones
    make roots with names. A helper process stays, which mounts for them.

    Raises:
        VeryTmpError: there is more than one thread.
        VeryTmpUnavailable: such a namespace is refused here.
        OSError: this process may not enter the namespace that was made (EPERM), or its working directory is not there.
    """
    if strategy.entered is not None:
        return
    check_available()
    caller = Caller()
    if caller.threads > 1:
        raise VeryTmpError(errno.EINVAL, too_many(caller.threads))
    before = os.getcwd()
    try:
        helper, namespace = without_interrupts(lambda: entered.start(caller), caller)
    except Refused as refused:
        raise refusals.explained(refused.refusals, None, caller) from None
    with namespace:
        nothing = dict.fromkeys(trampoline.Plan.FIELDS, "")
        trampoline.enter(trampoline.Plan(**nothing | {"namespace": str(namespace.fileno()), "cwd": before}))
    strategy.entered, options.default_at = helper, True


def too_many(threads: int) -> str:
    """What to do about more than one thread, and the names of those that Python knows."""
    import threading

    others = [thread.name for thread in threading.enumerate() if thread is not threading.current_thread()]
    named = f" ({', '.join(others)}, as Python calls them)" if others else " (none of them is Python's: a library's)"
    return (
        f"verytmp.enter() moves a process with one thread, and this one has {threads}{named}: call it before they are "
        "started, at the beginning of the program; or start the program by python -m verytmp run"
    )
