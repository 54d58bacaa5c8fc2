"""A factory that must use its helper, and the helpers that a child has."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Callable
from typing import Any

from support import kernel
from support.children import in_child, processes_with

MARK = "VERYTMP_TEST_MARK"


def by_helper(function: Callable[..., Any], *args: object) -> Any:
    """What a function returns in a child that may not mount. None of its `helpers` is there afterwards."""
    mark = uuid.uuid4().hex

    def run() -> Any:
        os.environ[MARK] = mark  # of the helpers: this child's own, which /proc shows, stays as it was
        kernel.drop_capabilities(kernel.CAP_SYS_ADMIN)
        return function(*args)

    try:
        return in_child(run)
    finally:
        assert goes(mark)


def helpers() -> list[str]:
    return processes_with(os.environ[MARK])


def goes(mark: str) -> bool:
    deadline = time.monotonic() + 10
    while processes_with(mark):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def killed() -> str:
    [helper] = helpers()
    os.kill(int(helper), signal.SIGKILL)
    assert goes(os.environ[MARK])
    return helper
