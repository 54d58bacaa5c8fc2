"""A tree of files, links and directories."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support import clones
from support.files import TREE


@pytest.fixture
def tree(base: Path) -> Iterator[Path]:
    with clones.planted(base, TREE) as found:
        yield found
