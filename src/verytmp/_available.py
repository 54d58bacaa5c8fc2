"""Whether a private tmpfs can be made here, as a value: for ``skipif``, and for programs that choose."""

from __future__ import annotations

from ._mounting.options import validated
from ._root import mount
from .errors import VeryTmpUnavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import VeryTmpCause


class VeryTmpAvailability:
    """The result of `available`. It is true if a private tmpfs can be made; as a string it says how, or why not.

    Attributes:
        error: what `VeryTmpRoot` would raise, or None.
        method: how one was made: ``"directly, by fsopen(2)"``; empty where none can be.
    """

    __slots__ = ("error", "method")

    def __init__(self, method: str = "", error: VeryTmpUnavailable | None = None) -> None:
        self.method = method
        self.error = error

    def __bool__(self) -> bool:
        return self.error is None

    @property
    def cause(self) -> VeryTmpCause | None:
        """Why none can be made, as `VeryTmpUnavailable.cause` has it."""
        return self.error.cause if self.error else None

    @property
    def remedy(self) -> str:
        """What to do about it, as `VeryTmpUnavailable.remedy` has it."""
        return self.error.remedy if self.error else ""

    def __str__(self) -> str:
        return str(self.error) if self.error else f"a private tmpfs can be made {self.method}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"


def available() -> VeryTmpAvailability:
    """Whether a private tmpfs can be made here: makes one, and closes it. Fallbacks do not count.

    >>> import pytest, verytmp
    >>> needs_verytmp = pytest.mark.skipif(not verytmp.available(), reason=str(verytmp.available()))
    """
    try:
        tree, method = mount(validated({})[0])  # as `VeryTmpRoot()` would: another way is taken for other options
    except VeryTmpUnavailable as error:
        return VeryTmpAvailability(error=error)
    tree.close()
    return VeryTmpAvailability(method)
