"""What verytmp raises. A leaf: it imports nothing of the package."""

from __future__ import annotations

import os
import sys
from errno import errorcode

__all__ = ["UnsupportedOperation", "VeryTmpError", "VeryTmpUnavailable"]

if sys.version_info >= (3, 13):
    from pathlib import UnsupportedOperation
else:

    class UnsupportedOperation(NotImplementedError):
        """A path method that has no meaning in a root; `pathlib.UnsupportedOperation` (3.13) for older Pythons."""


class VeryTmpError(OSError):
    """The base of the errors that only verytmp raises."""


class VeryTmpUnavailable(VeryTmpError):
    """No private tmpfs could be made: the kernel, or what stands before it, refused.

    Attributes:
        errno: the error number of the call that decided it (see errno(3)).
        step: that call, for example ``"unshare(CLONE_NEWUSER|CLONE_NEWNS)"`` or ``"uid_map"``.
        reason: what happened there, in a sentence.
        remedy: what to do about it, in a sentence; empty where nothing general can be said.
    """

    step: str
    reason: str
    remedy: str

    def __init__(self, errno: int, step: str, reason: str = "", remedy: str = "") -> None:
        self.step = step
        self.reason = reason or os.strerror(errno)
        self.remedy = remedy
        super().__init__(errno, self.reason)

    def __str__(self) -> str:
        name = errorcode.get(self.errno or 0, self.errno)
        text = f"no private tmpfs could be made: {self.step}: {self.reason} ({name})"
        return f"{text}. {self.remedy}" if self.remedy else text

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.errno, self.step, self.reason, self.remedy)
