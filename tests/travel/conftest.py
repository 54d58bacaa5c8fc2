"""Each of multiprocessing's methods."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["fork", pytest.param("forkserver", marks=pytest.mark.slow), "spawn"])
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)
