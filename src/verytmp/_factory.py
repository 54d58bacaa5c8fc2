"""`VeryTmpFactory`: many roots, for the price of one helper."""

from __future__ import annotations

from ._mounting.available import check_available
from ._mounting.options import validated
from ._root import DEFAULTS, VeryTmpRoot, create, known

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn, Self


class VeryTmpFactory:
    """Makes roots: ``factory()`` or ``factory.root()`` is a new `VeryTmpRoot`, which outlives the factory.

    If this process may not mount, each `VeryTmpRoot` needs a new child process, which takes longer the more memory and
    threads this process has. A factory starts one helper process with its first root, and uses it for all further ones.
    From the second root with the same options on, it makes them in advance.

    Threads may share a factory. A forked child may go on using it, and then gets a helper of its own. The helper ends
    with `close` or the ``with`` block, when nothing refers to the factory any more, and when this process ends, for
    whatever reason. If it dies, it is replaced. It is not a child of this process. Therefore a process that adopts
    orphans (the first process of a container, or after PR_SET_CHILD_SUBREAPER) has no helper: each of its roots takes a
    child, which ends within the call.

    A permanent refusal, as by a seccomp filter or a kernel setting, is remembered: the next roots are refused at once
    in the same way, or are made in /dev/shm, until the setting or this process's user changes.

    Args:
        options: those of `VeryTmpRoot`, as the defaults for all roots of this factory.

    Raises:
        ValueError, TypeError: an option is invalid. Those that only the kernel can check are reported for each root.
        VeryTmpUnavailable: this system cannot make roots.
    """

    __slots__ = ("__weakref__", "_helper", "_last_refusal", "_options")

    def __init__(self, **options: object) -> None:
        check_available()
        from ._mounting.helper import HelperClient
        from ._mounting.refusals import LastRefusal

        self._options = known(options)
        validated(DEFAULTS | self._options)
        self._helper = HelperClient()
        self._last_refusal = LastRefusal()

    def root(self, **options: object) -> VeryTmpRoot:
        """A new root. These options override the factory's.

        The errors are those of `VeryTmpRoot`, and `ValueError` if the factory is closed.
        """
        self._helper.check_open()
        asked = DEFAULTS | self._options | known(options)
        return VeryTmpRoot._from_parts(*create(asked, self._helper, self._last_refusal))

    __call__ = root

    def close(self) -> None:
        """End the helper. No more roots can be made; existing ones stay. Closing again does nothing."""
        self._helper.close()

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._helper.closed

    def __enter__(self) -> Self:
        self._helper.check_open()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        options = "".join(f" {key}={value!r}" for key, value in self._options.items())
        return f"<{type(self).__name__}{options}{' closed' if self.closed else ''}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} cannot be copied or sent: its helper is this process's")
