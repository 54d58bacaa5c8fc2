"""The pytest plugin: options, fixtures and hooks. The modules behind them are imported when they are needed.

It has no assertions for pytest to rewrite, which would warn if the module was imported before: PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from . import VeryTmpPath, VeryTmpRoot
    from ._pytest.inside import NamedRun
    from ._pytest.roots import FixtureFactory, RunState

FALLBACKS = ("error", "shm", "tmp_path")
NAMED, CONFINED = "named", "confined"  # what tmp_path is, with --verytmp and --verytmp=confined

ROOTS: pytest.StashKey[RunState] = pytest.StashKey()
INSIDE: pytest.StashKey[NamedRun] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("verytmp", "temporary directories that leave nothing")
    group.addoption(
        "--verytmp",
        action="store_const",
        const=NAMED,
        help="put tmp_path, tmp_path_factory and TMPDIR in memory, in a private mount namespace that this run enters",
    )
    group.addoption(
        "--verytmp=confined",  # whole, for an option that may have a value would take a test file for it
        dest="verytmp",
        action="store_const",
        const=CONFINED,
        help="make tmp_path and tmp_path_factory.mktemp give VeryTmpPaths instead, which cannot be left",
    )
    group.addoption(
        "--verytmp-options",
        metavar="OPTIONS",
        help="options of the run's tmpfs, or of each test's with =confined, as for mount -o: size=1g,nr_inodes=10k",
    )
    group.addoption("--verytmp-no-tmpdir", action="store_true", help="with --verytmp, leave TMPDIR as it is")
    group.addoption(
        "--verytmp-keep",
        metavar="DIR",
        help="copy the files that a failed test has in its roots (with --verytmp, in its tmp_path) to DIR/<test id>",
    )
    group.addoption(
        "--verytmp-fallback",
        choices=FALLBACKS,
        help="where no private tmpfs can be made: 'error' fails the tests that need one (the default, unless the "
        "environment has VERYTMP_FALLBACK), 'shm' makes directories in /dev/shm, 'tmp_path' leaves tmp_path and "
        "tmp_path_factory as pytest has them",
    )
    parser.addini("verytmp", "as --verytmp", type="bool", default=False)
    parser.addini("verytmp_options", "as --verytmp-options", default="")
    parser.addini("verytmp_tmpdir", "false is as --verytmp-no-tmpdir", type="bool", default=True)
    parser.addini("verytmp_keep", "as --verytmp-keep, but relative to the ini file's directory", default="")
    parser.addini("verytmp_fallback", "as --verytmp-fallback", default="")


@pytest.hookimpl(wrapper=True, tryfirst=True)  # before output is captured, and before others start threads
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, Any, Any]:
    asked = early_config.known_args_namespace
    if mode(early_config, asked) == NAMED and not (asked.help or asked.version):
        from ._pytest.inside import NamedRun, may_be_worker

        if not may_be_worker(early_config):  # of pytest-xdist, which hears from its controller what to do
            early_config.stash[INSIDE] = NamedRun(early_config, asked)
    return (yield)


@pytest.hookimpl(tryfirst=True)  # before pytest makes its tmp_path_factory
def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "verytmp(size='8m', ...): the options of the test's roots, as VeryTmpRoot's.")
    config.addinivalue_line("markers", "real_tmp_path: with --verytmp, leave tmp_path as it is for this test.")
    fallback = config.getini("verytmp_fallback")
    if fallback and fallback not in FALLBACKS:
        raise pytest.UsageError(f"verytmp_fallback must be one of {', '.join(FALLBACKS)}, not {fallback}")
    keep = config.invocation_params.dir / str(config.getoption("--verytmp-keep") or "")
    if keep.exists() and not keep.is_dir():  # such as a test file after it on the command line
        raise pytest.UsageError(f"--verytmp-keep takes a directory, and {keep} is not one")
    if mode(config) == CONFINED:
        from ._pytest.tmp_path import override

        override(config, roots_of(config))
    elif mode(config) == NAMED and not (config.option.help or config.option.version):
        if INSIDE not in config.stash:  # the plugin was loaded late, or this is a worker
            from ._pytest.inside import NamedRun

            config.stash[INSIDE] = NamedRun(config, config.option)
        if config.stash[INSIDE].configure():
            from ._pytest.named import override as override_named

            override_named(config, config.stash[INSIDE], roots_of(config))


def pytest_unconfigure(config: pytest.Config) -> None:
    if ROOTS in config.stash:
        config.stash[ROOTS].close()
    if INSIDE in config.stash:
        config.stash[INSIDE].close()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist, before it starts, what this run has come to."""
    if INSIDE in node.config.stash:
        node.config.stash[INSIDE].tell(node.workerinput)


def mode(config: pytest.Config, asked: Any = None) -> str:
    """What tmp_path is to be: `NAMED`, `CONFINED`, or pytest's own, which is the empty string."""
    option = (asked or config.option).verytmp
    return option or (NAMED if config.getini("verytmp") else "")


def roots_of(config: pytest.Config) -> RunState:
    """What makes this run's roots, from when it is first needed."""
    if ROOTS not in config.stash:
        from ._pytest.roots import RunState

        config.stash[ROOTS] = RunState(config)
    return config.stash[ROOTS]


def pytest_report_header(config: pytest.Config) -> str | None:
    if INSIDE in config.stash:
        return config.stash[INSIDE].header()
    if mode(config) != CONFINED:
        return None
    if not runs_tests(config):
        from . import VeryTmpFactory

        with VeryTmpFactory() as factory:  # its helper ends with it
            return roots_of(config).header(factory)
    return roots_of(config).header()


def pytest_sessionstart(session: pytest.Session) -> None:
    if mode(session.config) == CONFINED and runs_tests(session.config):
        roots_of(session.config).begin()


def runs_tests(config: pytest.Config) -> bool:
    """Whether tests run in this process: it is not the controller of pytest-xdist."""
    return not getattr(config.option, "numprocesses", None)


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
