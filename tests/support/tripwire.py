"""What a path's methods may ask of the kernel: descriptors, names below a descriptor, and /proc's names for those.

An audit hook sees what changes and opens files. What only looks at them has no audit event, and is patched. Whoever is
called from a path's method and names anything else trips.
"""

from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import verytmp
from verytmp import VeryTmpPath

SOURCE = Path(verytmp.__file__).parent
TESTS = str(Path(__file__).parent.parent) + "/"
OUTWARD = {"transfer.py", "tree_copy.py"}  # `copy` and `move` to or from a host path
MODULES = {str(file) for package in ("_confined", "_paths") for file in (SOURCE / package).glob("*.py")}
MODULES -= {str(SOURCE / "_paths" / name) for name in OUTWARD}
OPENERS = {
    ("owned_fd.py", "opened"),
    ("tree.py", "file"),
    ("tree.py", "open"),
    ("tree.py", "_with_open_fd"),
    ("open_modes.py", "validate_with_builtin_open"),
}  # who gives os.open a directory: its audit event does not say so
CALLERS = {("owned_fd.py", "call_owned"), ("owned_fd.py", "call_uninterrupted")}  # on behalf of the function above them

# The ways out: `copy` and `move` to or from a host path, and a host path to compare a file with. The directory of the
# fallback is made, and removed, by its name.
OUT = {
    *((str(SOURCE / "_paths" / name), None) for name in OUTWARD),
    (str(SOURCE / "_paths/path.py"), "samefile"),
    (str(SOURCE / "_shm.py"), None),
}

# A codec is loaded, a traceback printed, and coverage looks at a file for the first time (`tests/covered.py`).
COUNTER = sys.modules.get("coverage.inorout", linecache)
BYSTANDERS = ("<frozen importlib", str(linecache.__file__), str(COUNTER.__file__))

# Audit events, and where among their arguments the paths and their directories are.
EVENTS = {
    "open": ((0, None),),
    "os.listdir": ((0, None),),
    "os.scandir": ((0, None),),
    "os.truncate": ((0, None),),
    "os.mkdir": ((0, 2),),
    "os.rmdir": ((0, 1),),
    "os.remove": ((0, 1),),
    "os.rename": ((0, 2), (1, 3)),
    "os.link": ((0, 2), (1, 3)),
    "os.symlink": ((1, 2),),
    "os.chmod": ((0, 2),),
    "os.utime": ((0, 3),),
    "os.chown": ((0, 3),),
}
PATCHED = ("stat", "lstat", "readlink", "access", "statvfs", "scandir")


class Tripped(Exception):
    """A path's method touched the host."""


_watching: list[list[str]] = []
_hooked = False


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching or event not in EVENTS:
        return
    for path, directory in EVENTS[event]:
        known = directory is not None and isinstance(arguments[directory], int) and arguments[directory] >= 0
        if not (known and relative(arguments[path])):
            check(event, arguments[path])


def relative(path: object) -> bool:
    return isinstance(path, str | bytes) and not os.fsdecode(path).startswith("/")


def check(event: str, path: object) -> None:
    if path is None or isinstance(path, int | VeryTmpPath):
        return
    frame: FrameType | None = sys._getframe(2)
    inner = frame.f_back if frame and frame.f_code.co_filename == __file__ else frame
    text = os.fsdecode(path) if isinstance(path, str | bytes) else str(path)
    if text in ("/proc/self", "/proc/thread-self/ns/mnt") or text.startswith(
        ("/proc/self/fd/", f"/proc/{os.getpid()}/fd/")
    ):
        return
    if inner and (os.path.basename(inner.f_code.co_filename), inner.f_code.co_name) in CALLERS:
        inner = inner.f_back
    if event == "open" and relative(text) and inner:
        code = inner.f_code
        if (os.path.basename(code.co_filename), code.co_name) in OPENERS:
            return
    ours = False
    while frame:
        name = frame.f_code.co_filename
        if (
            name.startswith(TESTS) and name not in MODULES
        ):  # what the test asks for itself; and above it is nothing of ours
            break
        if (name, None) in OUT or (name, frame.f_code.co_name) in OUT:
            return
        if name.startswith(BYSTANDERS):
            return
        # Others are not asked for their locals: before Python 3.13 a frame keeps what it has answered.
        owner = frame.f_locals.get("self") if frame.f_code.co_varnames[:1] == ("self",) else None
        ours = ours or name in MODULES or isinstance(owner, VeryTmpPath)
        frame = frame.f_back
    if ours:
        _watching[-1].append(f"{event}({text!r})")
        raise Tripped(_watching[-1][-1])


def _patched(name: str) -> Callable[..., Any]:
    original = getattr(os, name)

    def call(path: Any = ".", *arguments: Any, **keywords: Any) -> Any:
        if _watching and not (relative(path) and keywords.get("dir_fd") is not None):
            check(f"os.{name}", path)
        return original(path, *arguments, **keywords)

    return call


def unwatch() -> None:
    """For good, in a child."""
    _watching.clear()


@contextmanager
def watching() -> Iterator[list[str]]:
    """What was touched while this is entered: whoever did it got an exception, which somebody may have swallowed."""
    global _hooked
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked = True
    originals = {name: getattr(os, name) for name in PATCHED}
    for name in PATCHED:
        setattr(os, name, _patched(name))
    _watching.append([])
    try:
        yield _watching[-1]
    finally:
        _watching.pop()
        for name, original in originals.items():
            setattr(os, name, original)
