"""A tree to look through."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import clones
from support.patterns import TREE

from verytmp import VeryTmpPath


@pytest.fixture
def tree(base: Path) -> Iterator[Path]:
    with clones.planted(base, TREE) as found:
        if not isinstance(base, VeryTmpPath):  # where an absolute link begins at the root
            os.unlink(base / "abs")
            os.symlink(base / "d" / "e", base / "abs")
        yield found
