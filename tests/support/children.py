"""Run a function in a child of its own, where filters, limits, signals and crashes hurt nobody else."""

from __future__ import annotations

import faulthandler
import fcntl
import os
import pickle
import select
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATIENCE = 120  # seconds; whoever is slower hangs
HIGH = 900  # the child answers through a descriptor from here on; what it does to lower ones is its own affair


class ChildFailed(AssertionError):
    """The child did not return: its exit status, or the signal that killed it."""

    def __init__(self, status: int, text: str = "") -> None:
        self.exitcode = os.waitstatus_to_exitcode(status)
        super().__init__(f"exit code {self.exitcode}{text}")


def in_child(function: Callable[..., Any], *args: Any, patience: float = PATIENCE) -> Any:
    """What the function returns in a forked child, or the exception that it raises there."""
    receiver, low = os.pipe()
    sender = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, HIGH)
    os.close(low)
    pid = os.fork()
    if pid == 0:
        _run(sender, function, args)
    os.close(sender)
    chunks = []
    try:
        while True:
            if not select.select([receiver], [], [], patience)[0]:
                os.kill(pid, signal.SIGKILL)
                break
            chunk = os.read(receiver, 65536)
            if not chunk:
                break
            chunks.append(chunk)
    finally:
        os.close(receiver)
        _, status = os.waitpid(pid, 0)
    if not chunks:
        raise ChildFailed(status)
    kind, value = pickle.loads(b"".join(chunks))
    if kind == "raised":
        raise value
    if kind == "failed":
        raise ChildFailed(status, f"\n{value}")
    return value


def _run(sender: int, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    status = 1
    faulthandler.disable()  # a child that crashes does so on purpose
    try:
        try:
            answer = "returned", function(*args)
        except Exception as error:
            answer = "raised", error
        try:
            data = pickle.dumps(answer)
        except Exception:
            data = pickle.dumps(("failed", traceback.format_exc() if answer[0] == "raised" else repr(answer)))
        os.write(sender, data)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def processes_with(mark: str) -> list[str]:
    """Processes that were started with this text in their environment, helpers among them."""
    found = []
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            if mark.encode() in Path(f"/proc/{process}/environ").read_bytes():
                found.append(process)
        except OSError:
            continue
    return found
