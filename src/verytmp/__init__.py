"""A private in-memory file system with no name, and `pathlib.Path` objects that cannot leave it.

>>> from verytmp import VeryTmpRoot
>>> root = VeryTmpRoot(size="64m")
>>> (root / "hello").mkdir()
>>> (root / "hello" / "f.txt").write_text("potatoes")
8
"""

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:  # the table below, for type checkers
    from ._available import VeryTmpAvailability as VeryTmpAvailability
    from ._available import available as available
    from ._diagnosis.causes import VeryTmpCause as VeryTmpCause
    from ._factory import VeryTmpFactory as VeryTmpFactory
    from ._paths.path import VeryTmpPath as VeryTmpPath
    from ._paths.report import VeryTmpReport as VeryTmpReport
    from ._programs.enter import enter as enter
    from ._root import VeryTmpRoot as VeryTmpRoot
    from ._root import VeryTmpUsage as VeryTmpUsage
    from .errors import UnsupportedOperation as UnsupportedOperation
    from .errors import VeryTmpArchiveError as VeryTmpArchiveError
    from .errors import VeryTmpError as VeryTmpError
    from .errors import VeryTmpFallbackWarning as VeryTmpFallbackWarning
    from .errors import VeryTmpUnavailable as VeryTmpUnavailable

MODULE_OF = {
    "UnsupportedOperation": "errors",
    "VeryTmpArchiveError": "errors",
    "VeryTmpAvailability": "_available",
    "VeryTmpCause": "_diagnosis.causes",
    "VeryTmpError": "errors",
    "VeryTmpFactory": "_factory",
    "VeryTmpFallbackWarning": "errors",
    "VeryTmpPath": "_paths.path",
    "VeryTmpReport": "_paths.report",
    "VeryTmpRoot": "_root",
    "VeryTmpUnavailable": "errors",
    "VeryTmpUsage": "_root",
    "available": "_available",
    "enter": "_programs.enter",
}

__all__ = [*MODULE_OF, "__version__"]  # noqa: PLE0604  # pyright: ignore[reportUnsupportedDunderAll]  # strings


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for: pytest loads this module in each run, the others take 2 ms."""
    if name not in MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = __import__(f"{__name__}.{MODULE_OF[name]}", fromlist=[name])
    return globals().setdefault(name, getattr(module, name))


def __dir__() -> list[str]:
    """The public names too, for help() and for shells that complete them."""
    return sorted({*globals(), *__all__})
