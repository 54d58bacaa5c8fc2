"""What verytmp raises. A leaf: it imports nothing of the package before there is something to raise."""

from __future__ import annotations

import os
import sys
from errno import errorcode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import VeryTmpCause

__all__ = [
    "UnsupportedOperation",
    "VeryTmpArchiveError",
    "VeryTmpError",
    "VeryTmpFallbackWarning",
    "VeryTmpUnavailable",
]

if sys.version_info >= (3, 13):
    from pathlib import UnsupportedOperation
else:

    class UnsupportedOperation(NotImplementedError):
        """A path method that has no meaning in a root; `pathlib.UnsupportedOperation` (3.13) for older Pythons."""


class VeryTmpError(OSError):
    """The base of the errors that only verytmp raises."""


class VeryTmpUnavailable(VeryTmpError):
    """No private tmpfs could be made: the kernel, or a security policy, refused.

    Attributes:
        errno: the error number of the call that failed (see errno(3)).
        step: that call, for example ``"unshare(CLONE_NEWUSER|CLONE_NEWNS)"`` or ``"uid_map"``.
        reason: the kernel's message for it, and for earlier steps that failed.
        cause: the probable cause, a `VeryTmpCause`.
        evidence: what was read or tried to find the cause: a few short texts.
        remedy: what to do about it; empty if there is no general answer.
    """

    step: str
    reason: str
    cause: VeryTmpCause
    evidence: tuple[str, ...]
    remedy: str

    def __init__(
        self,
        errno: int,
        step: str,
        reason: str = "",
        remedy: str = "",
        cause: VeryTmpCause | str = "unknown",
        evidence: tuple[str, ...] = (),
    ) -> None:
        from ._diagnosis.causes import VeryTmpCause

        self.step = step
        self.reason = reason or os.strerror(errno)
        self.cause = VeryTmpCause(cause)
        self.evidence = tuple(evidence)
        self.remedy = remedy
        super().__init__(errno, self.reason)

    def __str__(self) -> str:
        from ._diagnosis.causes import BEFORE, KEYWORD, WITHOUT_FALLBACK

        name = errorcode.get(self.errno or 0, self.errno)
        last, *before = self.reason.partition(BEFORE)  # the number is the last one's
        text = f"no private tmpfs could be made: {self.step}: {last} ({name}){''.join(before)}."
        if self.cause.description:
            text += f" The cause is {self.cause.description}"
            text += f" ({'; '.join(self.evidence)})." if self.evidence else "."
        elif self.evidence:
            text += f" What was read: {'; '.join(self.evidence)}."
        if self.cause == "not-linux":
            return text
        from ._diagnosis.facts import guide

        if self.remedy:
            text += f" What to do: {self.remedy}"
        less = "" if self.cause in WITHOUT_FALLBACK else f"with weaker guarantees and no limits: {KEYWORD}; "
        return f"{text} ({less}more: python -m verytmp doctor, and {guide()})"

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.errno, self.step, self.reason, self.remedy, str(self.cause), self.evidence)


class VeryTmpArchiveError(VeryTmpError):
    """An archive could not be unpacked: it cannot be read (EBADMSG), or has more than was allowed (E2BIG, ENOSPC)."""


class VeryTmpFallbackWarning(UserWarning):
    """A root is a directory in /dev/shm, as ``fallback="shm"`` allows. The message says why it is no private tmpfs."""
