"""What the kernel lacks, by the doctor's names, as ``@pytest.mark.needs`` has them."""

from __future__ import annotations

from functools import cache

from verytmp._cli import doctor


@cache
def lacking() -> frozenset[str]:
    return frozenset(name for name, number, *_ in doctor.features() if number)


def clone_kind() -> str:
    """What a clone of a frozen root is: an overlay, or a copy where the kernel cannot."""
    return "tmpfs" if "clone" in lacking() else "overlay"
