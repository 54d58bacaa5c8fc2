import sys

from . import VeryTmpCause

__all__ = [
    "UnsupportedOperation",
    "VeryTmpArchiveError",
    "VeryTmpError",
    "VeryTmpFallbackWarning",
    "VeryTmpUnavailable",
]

if sys.version_info >= (3, 13):
    from pathlib import UnsupportedOperation as UnsupportedOperation
else:
    class UnsupportedOperation(NotImplementedError): ...

class VeryTmpError(OSError): ...

class VeryTmpUnavailable(VeryTmpError):
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
    ) -> None: ...

class VeryTmpArchiveError(VeryTmpError): ...
class VeryTmpFallbackWarning(UserWarning): ...
