"""A /dev/shm of each test's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from verytmp import _shm


@pytest.fixture(autouse=True)
def place(host: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /dev/shm of this test's own."""
    monkeypatch.setattr(_shm, "PLACE", str(host))
    return host


@pytest.fixture
def home(place: Path) -> Path:
    return place / f"verytmp-{os.geteuid()}"
