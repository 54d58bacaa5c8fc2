"""A tree of files, links and directories."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support import host_state
from support.files import TREE


@pytest.fixture
def tree(base: Path) -> Path:
    host_state.make(os.fspath(base), TREE)
    return base
