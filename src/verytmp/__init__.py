"""A private in-memory file system with no name, and `pathlib.Path` objects that cannot leave it.

>>> root = VeryTmpRoot(size="64m")
>>> (root / "hello").mkdir()
>>> (root / "hello" / "f.txt").write_text("potatoes")
8
"""

from ._path import VeryTmpPath
from ._root import VeryTmpRoot, VeryTmpUsage
from .errors import UnsupportedOperation, VeryTmpError, VeryTmpFallbackWarning, VeryTmpUnavailable

__all__ = [
    "UnsupportedOperation",
    "VeryTmpAvailability",
    "VeryTmpCause",
    "VeryTmpError",
    "VeryTmpFactory",
    "VeryTmpFallbackWarning",
    "VeryTmpPath",
    "VeryTmpRoot",
    "VeryTmpUnavailable",
    "VeryTmpUsage",
    "__version__",
    "available",
]

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._available import VeryTmpAvailability, available
    from ._causes import VeryTmpCause
    from ._factory import VeryTmpFactory

# What not every program needs is loaded when it is asked for.
LATER = {
    "VeryTmpAvailability": "_available",
    "VeryTmpCause": "_causes",
    "VeryTmpFactory": "_factory",
    "available": "_available",
}


def __getattr__(name: str) -> object:
    if name not in LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{LATER[name]}", __name__), name)
