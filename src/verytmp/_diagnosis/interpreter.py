"""Whether this Python has what roots are made with, and who has taken it away if not."""

from __future__ import annotations

import os
import select
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# What every CPython on Linux has. PyPy has no os.O_PATH and no os.posix_spawn; gevent removes select.epoll, and
# eventlet select.poll too.
NEEDED = {os: ("O_PATH", "fork", "posix_spawn", "register_at_fork"), select: ("epoll", "poll")}
LACKING = tuple(
    f"{module.__name__}.{name}" for module, names in NEEDED.items() for name in names if not hasattr(module, name)
)

# Who replaces Python's own calls by others that let green threads run meanwhile: the module that knows of what, the
# function there which tells, and the call that does it.
GREEN = {
    "gevent": ("gevent.monkey", "is_module_patched", "gevent.monkey.patch_all()"),
    "eventlet": ("eventlet.patcher", "is_monkey_patched", "eventlet.monkey_patch()"),
}
REPLACED = ("os", "select", "socket")  # what is used to ask a child


def greened(*modules: str) -> str:
    """Which package has replaced any of these modules' calls: a name in `GREEN`, or none."""
    for package, (patcher, asked, _) in GREEN.items():
        is_patched: Callable[[Any], bool] | None = getattr(sys.modules.get(patcher), asked, None)
        if is_patched and any(map(is_patched, modules)):
            return package
    return ""


def before_patching(package: str) -> str:
    """What to do about a package that has replaced calls."""
    return f"Import verytmp and make the roots before {GREEN[package][2]}, or in another process."


def why_lacking() -> tuple[str, str]:
    """Why there is not all that is needed, and what to do about it."""
    import platform

    names = ", ".join(LACKING)
    package = greened("select")
    if package:
        return f"{package} has taken {names} away", before_patching(package)
    version = f"{platform.python_implementation()} {platform.python_version()}"
    if sys.implementation.name == "cpython":
        return f"this {version} has no {names}", "Use a Python that was built with it, or find out what has removed it."
    return f"verytmp needs CPython, and this is {version}, which has no {names}", "Use CPython."
