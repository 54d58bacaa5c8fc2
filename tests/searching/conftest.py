"""A tree to look through."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support import host_state
from support.patterns import TREE

from verytmp import VeryTmpPath


@pytest.fixture
def tree(base: Path) -> Path:
    host_state.make(os.fspath(base), TREE)
    if not isinstance(base, VeryTmpPath):  # where an absolute link begins at the root
        os.unlink(base / "abs")
        os.symlink(base / "d" / "e", base / "abs")
    return base
