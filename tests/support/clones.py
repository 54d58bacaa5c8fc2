"""``--way clone``: each root is a clone of a frozen one, and so are the trees that tests begin with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support import host_state
from verytmp import VeryTmpFactory, VeryTmpPath, VeryTmpRoot

active: tuple[VeryTmpFactory, VeryTmpRoot] | None = None  # what makes them, and the frozen root that they are clones of


def activate() -> None:
    """Have `VeryTmpRoot` make clones from now on, by a helper where this process may not mount: that is quicker."""
    global active
    factory = VeryTmpFactory()
    active = factory, factory.root()
    active[1].freeze()
    setattr(VeryTmpRoot, "__init__", cloning_init)  # noqa: B010  # mypy forbids the assignment


def cloning_init(self: VeryTmpRoot, **options: Any) -> None:
    assert active is not None
    made: Any = active[1].clone(**{"mode": 0o700} | options)
    inside: Any = self
    inside._tree, inside._kind, inside._how_made, inside._remove_fallback = (
        made._tree, made._kind, made._how_made, made._remove_fallback,
    )  # fmt: skip


@contextmanager
def planted(base: Path, tree: host_state.Tree) -> Iterator[Path]:
    """A directory with this tree in it: *base*, or the root directory of a clone of its root."""
    host_state.make(os.fspath(base), tree)
    if not active or not isinstance(base, VeryTmpPath):
        yield base
        return
    inside: Any = base
    frozen = VeryTmpRoot._from_parts(inside._tree, "overlay", "", None)
    with cloned(frozen) as root:
        yield root.path


@contextmanager
def cloned(root: VeryTmpRoot) -> Iterator[VeryTmpRoot]:
    """The root, or a clone of it, which is frozen then."""
    if not active:
        yield root
        return
    root.freeze()
    with root.clone(nosymfollow=root.nosymfollow) as clone:
        yield clone
