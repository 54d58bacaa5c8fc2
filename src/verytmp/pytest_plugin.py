"""The pytest plugin: options, fixtures and hooks. The modules behind them are imported when they are needed.

It has no assertions for pytest to rewrite, which would warn if the module was imported before: PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

    from . import VeryTmpPath, VeryTmpRoot
    from ._pytest.roots import FixtureFactory, RunState

FALLBACKS = ("error", "shm", "tmp_path")

ROOTS: pytest.StashKey[RunState] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("verytmp", "temporary directories that leave nothing")
    group.addoption(
        "--verytmp", action="store_true", help="make tmp_path and tmp_path_factory.mktemp give VeryTmpPaths"
    )
    group.addoption(
        "--verytmp-keep",
        metavar="DIR",
        help="copy what a failed test has in its roots to DIR/<test id> (its tmp_path is one with --verytmp)",
    )
    group.addoption(
        "--verytmp-fallback",
        choices=FALLBACKS,
        help="where no private tmpfs can be made: 'error' fails the tests that want one (the default, unless the "
        "environment has VERYTMP_FALLBACK), 'shm' makes directories in /dev/shm, 'tmp_path' leaves tmp_path and "
        "tmp_path_factory as pytest has them",
    )
    parser.addini("verytmp", "as --verytmp", type="bool", default=False)
    parser.addini("verytmp_keep", "as --verytmp-keep, but seen from the ini file's directory", default="")
    parser.addini("verytmp_fallback", "as --verytmp-fallback", default="")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "verytmp(size='8m', ...): the options of the test's roots, as VeryTmpRoot's.")
    config.addinivalue_line("markers", "real_tmp_path: with --verytmp, leave tmp_path as it is for this test.")
    fallback = config.getini("verytmp_fallback")
    if fallback and fallback not in FALLBACKS:
        raise pytest.UsageError(f"verytmp_fallback is one of {', '.join(FALLBACKS)}, and not {fallback}")
    keep = config.invocation_params.dir / str(config.getoption("--verytmp-keep") or "")
    if keep.exists() and not keep.is_dir():  # such as a test file after it on the command line
        raise pytest.UsageError(f"--verytmp-keep takes a directory, and {keep} is none")
    if active(config):
        from ._pytest.tmp_path import override

        override(config, roots_of(config))


def pytest_unconfigure(config: pytest.Config) -> None:
    if ROOTS in config.stash:
        config.stash[ROOTS].close()


def active(config: pytest.Config) -> bool:
    """Whether tmp_path is to be ours."""
    return bool(config.getoption("--verytmp") or config.getini("verytmp"))


def roots_of(config: pytest.Config) -> RunState:
    """What makes this run's roots, from when it is first needed."""
    if ROOTS not in config.stash:
        from ._pytest.roots import RunState

        config.stash[ROOTS] = RunState(config, active(config))
    return config.stash[ROOTS]


def pytest_report_header(config: pytest.Config) -> list[str]:
    return roots_of(config).header() if active(config) else []


def pytest_sessionstart(session: pytest.Session) -> None:
    if active(session.config):
        roots_of(session.config).begin()


@pytest.fixture(scope="session")
def verytmp_factory(pytestconfig: pytest.Config) -> Generator[FixtureFactory]:
    """Makes roots, with options as keywords: verytmp_factory.root(size="8m"). They are closed when the session ends."""
    factory = roots_of(pytestconfig).factory()
    yield factory
    factory.close()


@pytest.fixture
def verytmp_root(request: pytest.FixtureRequest) -> Generator[VeryTmpRoot]:
    """A VeryTmpRoot of the test's own: a private tmpfs, empty, and closed when the test ends."""
    roots = roots_of(request.config)
    held = roots.hold(request, "verytmp_root")
    yield held.root
    roots.release(held)


@pytest.fixture
def verytmp_path(verytmp_root: VeryTmpRoot) -> VeryTmpPath:
    """The directory of verytmp_root: a pathlib.Path that cannot leave it."""
    return verytmp_root.path


@pytest.fixture(scope="session")
def verytmp_template() -> VeryTmpRoot:
    """To be defined by the suite, with scope="session": the root that each verytmp_clone begins as."""
    from ._pytest.clones import undefined

    return undefined()


@pytest.fixture
def verytmp_clone(request: pytest.FixtureRequest, verytmp_template: VeryTmpRoot) -> Generator[VeryTmpRoot]:
    """A clone of verytmp_template of the test's own, whatever its size is. It is closed when the test ends."""
    from ._pytest.clones import hold

    roots = roots_of(request.config)
    held = hold(roots, request, verytmp_template)
    yield held.root
    roots.release(held)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if ROOTS in item.config.stash:
        item.config.stash[ROOTS].reported(item, report)
    return report
