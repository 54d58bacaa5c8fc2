"""A test suite's fixtures."""

from collections.abc import Iterator
from pathlib import Path
from typing import assert_type

import pytest

from verytmp import VeryTmpPath, VeryTmpRoot


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with VeryTmpRoot() as root:
        yield root.path


@pytest.fixture(name="scratch")
def scratch_directory() -> Iterator[VeryTmpPath]:
    with VeryTmpRoot(size="1m") as root:
        yield root / "scratch"


def test_uses_them(tmp_path: Path, scratch: VeryTmpPath) -> None:
    assert_type(tmp_path / "f", Path)
    assert_type(scratch / "f", VeryTmpPath)
