"""For runs under coverage (`tests/covered.py`): lets it into threads and helpers that it would not see.

``-p tests.support.measured`` loads it, before any test.
"""

from __future__ import annotations

import _thread
import os
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

original_spawn = os.posix_spawn
original_thread = _thread.start_new_thread


def posix_spawn(path: str, arguments: Sequence[str], *rest: Any, **options: Any) -> int:
    """The helper's interpreter is to begin with coverage's ``.pth``, which -S leaves out."""
    return original_spawn(path, [argument for argument in arguments if argument != "-S"], *rest, **options)


def start_new_thread(function: Callable[..., object], *rest: Any) -> int:
    """coverage asks `threading` for new threads, and not what lies below it."""

    def run(*arguments: Any, **keywords: Any) -> None:
        sys.settrace(threading.gettrace())
        function(*arguments, **keywords)

    return original_thread(run, *rest)


os.posix_spawn = posix_spawn  # type: ignore[assignment]
_thread.start_new_thread = start_new_thread
