"""Around every attack: a canary on the host, which is untouched and unread after it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support import canary
from support.race_targets import RaceTarget

from verytmp import VeryTmpRoot


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch) -> Iterator[canary.Canary]:
    """The home and the working directory are planted too."""
    with canary.planted() as bird:
        monkeypatch.chdir(bird.cwd)
        monkeypatch.setenv("HOME", str(bird.home))
        yield bird
        bird.check()


@pytest.fixture(params=[True, False], ids=["nosymfollow", "symfollow"])
def root(request: pytest.FixtureRequest, planted: canary.Canary) -> Iterator[VeryTmpRoot]:
    """Nothing of the host is in it at the end."""
    with VeryTmpRoot(nosymfollow=request.param) as made:
        yield made
        if not made.closed:
            planted.look(made.fileno())


@pytest.fixture(params=[True, False], ids=["nosymfollow", "symfollow"])
def target(request: pytest.FixtureRequest, host: Path) -> Iterator[RaceTarget]:
    with VeryTmpRoot(nosymfollow=request.param) as made, VeryTmpRoot() as other:
        yield RaceTarget(made, host, other)
