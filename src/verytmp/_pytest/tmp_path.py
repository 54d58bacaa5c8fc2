"""The replacements of pytest's tmp_path and tmp_path_factory in a run with --verytmp=confined."""

from __future__ import annotations

import re
import sys
from typing import final

import pytest

from . import running
from .directories import make_directory
from .root_of_test import TestRoot
from .roots import OF_RUN, item_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from .roots import RunState

LONGEST = 30  # of a test's name, in its directory's: as in pytest

# They run pytest in a directory of theirs, whose path pytest canonicalises.
RUN_PYTEST = {"pytester", "testdir"}


def override(config: pytest.Config, roots: RunState) -> None:
    """Have this run use the fixtures of this module, which is a plugin of its own.

    Of the fixtures of plugins, those that were registered last win; conftest files and modules still override them.
    """
    config.stash[OF_RUN] = roots
    config.pluginmanager.register(running)
    config.pluginmanager.register(sys.modules[__name__], "verytmp-tmp_path")


@pytest.fixture(scope="session")
def tmp_path_factory(request: pytest.FixtureRequest) -> Generator[pytest.TempPathFactory]:
    """pytest's own tmp_path_factory, but that mktemp makes VeryTmpPaths: in one root, for the session."""
    try:
        real = request.getfixturevalue("tmp_path_factory")
    except pytest.FixtureLookupError:  # -p no:tmpdir
        real = None
    factory = TmpPathFactory(request.config, real)
    yield factory
    factory.close()


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Path]:
    """A directory of the test's own, as pytest's tmp_path, but a VeryTmpPath: in a root that ends with the test."""
    ours = isinstance(tmp_path_factory, TmpPathFactory)  # else it is a conftest file's, which pytest's tmp_path uses
    if not ours or real_directories(request.config):
        yield request.getfixturevalue("tmp_path")
        return
    roots = request.config.stash[OF_RUN]
    held = roots.hold(request, "tmp_path")
    name = re.sub(r"\W", "_", item_of(request).name)[:LONGEST]
    path = held.root / f"{name}0"
    path.mkdir(0o700)
    yield path
    roots.release(held)


def real_directories(config: pytest.Config) -> bool:
    """Whether the running test is to have directories on the host."""
    item = config.stash.get(running.RUNNING, None)
    if running.is_marked_real(config) or RUN_PYTEST & {*getattr(item, "fixturenames", ())}:
        return True
    return not config.stash[OF_RUN].possible()


@final
class TmpPathFactory(pytest.TempPathFactory):  # type: ignore[misc]  # final; but users may ask whether theirs is one
    """pytest's own, but for `mktemp`."""

    def __init__(self, config: pytest.Config, real: pytest.TempPathFactory | None) -> None:
        self._config = config
        self._real = real
        self._held: TestRoot | None = None
        self._numbers: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of VeryTmpPaths>"

    def __getattr__(self, name: str) -> object:
        if name.startswith("__") or self._real is None:
            raise AttributeError(name)
        return getattr(self._real, name)

    def getbasetemp(self) -> Path:
        """pytest's own directory, on the host: what the processes of a run have in common."""
        if self._real is None:
            raise RuntimeError("-p no:tmpdir leaves no base directory")
        return self._real.getbasetemp()

    def mktemp(self, basename: str, numbered: bool = True) -> Path:
        """Make a directory that lasts as long as the session, with a number after its name if it is *numbered*."""
        if self._real and real_directories(self._config):
            return self._real.mktemp(basename, numbered)
        if self._held is None:
            roots = self._config.stash[OF_RUN]
            self._held = TestRoot("tmp_path_factory", roots.made({}), roots.home)
        return make_directory(self._held.path, basename, numbered, self._numbers)

    def close(self) -> None:
        if self._held:
            self._held.close()
