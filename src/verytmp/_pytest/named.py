"""tmp_path and tmp_path_factory with --verytmp: pytest's own, but in the run's root, and removed after each test."""

from __future__ import annotations

import sys
import tempfile

import pytest

from . import running
from .directories import make_directory
from .inside import NamedRun
from .roots import OF_RUN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path
    from typing import Any

    from .roots import RunState

INSIDE: pytest.StashKey[NamedRun] = pytest.StashKey()


def override(config: pytest.Config, inside: NamedRun, roots: RunState) -> None:
    """Have this run use the fixture and the hooks of this module, which is a plugin of its own."""
    if config.pluginmanager.has_plugin("tmpdir"):
        config.stash[OF_RUN], config.stash[INSIDE] = roots, inside
        config.pluginmanager.register(running)
        config.pluginmanager.register(sys.modules[__name__], "verytmp-named")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    config: Any = session.config
    if config.stash[INSIDE].top:
        config._tmp_path_factory.getbasetemp()  # now: the first test that asks for it may have a file system of its own
    # On the very object: plugins and pytest's tmpdir_factory know it by now.
    config._tmp_path_factory.mktemp = Directories(config, config._tmp_path_factory).mktemp


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Path]:
    """A directory of the test's own: pytest's tmp_path, but in memory, and removed when the test ends."""
    config: Any = request.config
    # A conftest file's factory has others, and so has this one for a test that is marked so.
    if getattr(tmp_path, "parent", None) != config._tmp_path_factory.getbasetemp():
        yield tmp_path
        return
    roots = request.config.stash[OF_RUN]
    held = roots.hold_directory(request, tmp_path)
    yield tmp_path
    roots.release(held)


class Directories:
    """What makes a run's directories, in the place of its factory's `mktemp`."""

    def __init__(self, config: pytest.Config, factory: pytest.TempPathFactory) -> None:
        self._config = config
        self._factory = factory
        self._numbers: dict[str, int] = {}
        self._outside: pytest.TempPathFactory | None = None

    def mktemp(self, basename: str, numbered: bool = True) -> Path:
        """Make a directory, with a number after its name if it is *numbered*."""
        if running.is_marked_real(self._config):
            return self._on_host(basename, numbered)
        inside = self._config.stash[INSIDE]
        if not inside.top:
            self._config.stash[OF_RUN].fail(inside.refusal, inside.diagnosis)
        return make_directory(self._factory.getbasetemp(), basename, numbered, self._numbers)

    def _on_host(self, basename: str, numbered: bool) -> Path:
        """As pytest's own `mktemp`, where it makes directories without this plugin."""
        option, inside = self._config.option, self._config.stash[INSIDE]
        before = option.basetemp, tempfile.tempdir
        option.basetemp = None
        tempfile.tempdir = inside.outside or before[1]
        try:
            if self._outside is None:
                self._outside = pytest.TempPathFactory.from_config(self._config, _ispytest=True)
            return self._outside.mktemp(basename, numbered)
        finally:
            option.basetemp, tempfile.tempdir = before
