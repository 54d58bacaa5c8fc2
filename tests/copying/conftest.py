"""A root with a tree in it, and somewhere to copy to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import host_state
from support.copies import TREE

from verytmp import VeryTmpRoot


@pytest.fixture
def root(request: pytest.FixtureRequest) -> Iterator[VeryTmpRoot]:
    with VeryTmpRoot(nosymfollow=getattr(request, "param", True)) as made:
        host_state.make(made.fileno(), TREE)
        yield made


@pytest.fixture(params=["inside", "another root", "the host"])
def elsewhere(request: pytest.FixtureRequest, root: VeryTmpRoot) -> Iterator[Path]:
    """An empty directory to copy to, as a path that says where it is."""
    if request.param == "inside":
        (root / "there").mkdir()
        yield root / "there"
    elif request.param == "another root":
        with VeryTmpRoot(nosymfollow=False) as other:
            yield other.path
    else:
        yield request.getfixturevalue("host")


SPARSE_BYTES = 16 << 20  # more than the tests of holes have in any file


@pytest.fixture
def few_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Holes that are filled by mistake would take all of the machine's memory: it fails before that."""
    asked = 0

    def counted(call: Callable[..., int], size: Callable[..., int]) -> Callable[..., int]:
        def counting(*args: object) -> int:
            nonlocal asked
            asked += size(*args)
            assert asked < SPARSE_BYTES, f"{asked} bytes are copied"
            return call(*args)

        return counting

    sizes: dict[str, Callable[..., int]] = {
        "copy_file_range": lambda reading, writing, count, *offsets: count,
        "sendfile": lambda writing, reading, offset, count: count,
        "pwrite": lambda writing, data, offset: len(data),
    }
    for name, size in sizes.items():
        monkeypatch.setattr(os, name, counted(getattr(os, name), size))
