"""A root with a tree in it, and somewhere to copy to."""

from __future__ import annotations

from collections.abc import Iterator
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
