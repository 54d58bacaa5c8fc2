"""A private in-memory file system with no name, and `pathlib.Path` objects that cannot leave it.

>>> root = VeryTmpRoot(size="64m")
>>> (root / "hello").mkdir()
>>> (root / "hello" / "f.txt").write_text("potatoes")
8
"""

from ._path import VeryTmpPath
from ._root import VeryTmpRoot, VeryTmpUsage
from .errors import UnsupportedOperation, VeryTmpError, VeryTmpUnavailable

__all__ = [
    "UnsupportedOperation",
    "VeryTmpError",
    "VeryTmpPath",
    "VeryTmpRoot",
    "VeryTmpUnavailable",
    "VeryTmpUsage",
    "__version__",
]

__version__ = "0.1.0"
