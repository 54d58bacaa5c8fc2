"""Interoperation: both kinds of root."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from verytmp import VeryTmpRoot


@pytest.fixture(params=[True, False], ids=["nosymfollow", "symfollow"])
def root(request: pytest.FixtureRequest) -> Iterator[VeryTmpRoot]:
    with VeryTmpRoot(nosymfollow=request.param) as made:
        yield made
