"""A private in-memory file system with no name, and `pathlib.Path` objects that cannot leave it.

>>> from verytmp import VeryTmpRoot
>>> root = VeryTmpRoot(size="64m")
>>> (root / "hello").mkdir()
>>> (root / "hello" / "f.txt").write_text("potatoes")
8
"""

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
    "enter",
]

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._available import VeryTmpAvailability, available
    from ._diagnosis.causes import VeryTmpCause
    from ._factory import VeryTmpFactory
    from ._paths.path import VeryTmpPath
    from ._programs.enter import enter
    from ._root import VeryTmpRoot, VeryTmpUsage
    from .errors import UnsupportedOperation, VeryTmpError, VeryTmpFallbackWarning, VeryTmpUnavailable

# Where the names are, but for the errors.
ROOMS = {
    "VeryTmpAvailability": "_available",
    "VeryTmpCause": "_diagnosis.causes",
    "VeryTmpFactory": "_factory",
    "VeryTmpPath": "_paths.path",
    "VeryTmpRoot": "_root",
    "VeryTmpUsage": "_root",
    "available": "_available",
    "enter": "_programs.enter",
}


def __getattr__(name: str) -> object:
    """A name, when it is first asked for: pytest loads this room in each run, and the others would take it 2 ms."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    room = __import__(f"{__name__}.{ROOMS.get(name, 'errors')}", fromlist=[name])
    return globals().setdefault(name, getattr(room, name))


def __dir__() -> list[str]:
    """The names above, too: for help(), and for shells that complete them."""
    return sorted({*globals(), *__all__})
