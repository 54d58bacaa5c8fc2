"""Fixtures, and the suite's rules: it leaves nothing on the host, says how roots are made, and hides no skip."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Generator, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from support import clones, features, host_state, kernel, refusals, tripwire
from support.canary import TOOLS
from support.runs import Run

from verytmp import VeryTmpFallbackWarning, VeryTmpRoot, VeryTmpUnavailable

pytest_plugins = ["pytester"]

# The same for the workers of pytest-xdist, which the first process looks after.
OURS = f"verytmp-tests-{os.environ.setdefault('VERYTMP_TESTS', str(os.getpid()))}-"


CANARY, WRONG = pytest.StashKey["Canary"](), pytest.StashKey[list[str]]()


# How roots are made, and what their repr says then.
WAYS = {
    "direct": "directly", "helper": "child", "named": "child", "clone": "overlayfs", "ramfs": "", "shm": "/dev/shm"
}  # fmt: skip


RAMFS_LACKS = {"test_holes_come_in", "test_a_hole_of_five_gigabytes", "test_a_hole_as_large_as_can_be"}
RAMFS_LACKS |= {"test_holes_are_kept", "test_xattr"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--way", choices=WAYS, help="fail unless roots are made this way")
    parser.addoption("--operations", type=int, help="how many random operations to compare with pathlib in a chroot")
    parser.addoption("--endurance", type=float, default=0, metavar="SECONDS", help="how long to attack, each time")
    parser.addoption("--kills", type=int, default=0, help="how many processes to kill at random moments")
    parser.addoption("--tally", metavar="FILE", help="write there how many tests passed, and what they have counted")
    parser.addoption(
        "--alone", action="store_true", help="nobody else makes temporary files: fail on any that are left"
    )
    parser.addoption(
        "--allowed-skips",
        metavar="FILE",
        action="append",
        help="fail on a skip whose reason is not a line of these files, in which * stands for anything",
    )


def pytest_configure(config: pytest.Config) -> None:
    """For the fallback, this very process is refused what Docker's containers are."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job; tests send it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("--way") == "shm":
        os.environ["VERYTMP_FALLBACK"] = "shm"
        refusals.docker()
        # It warns once for each cause, and in the tests there are many. That it does so is tests/test_shm.py's.
        config.addinivalue_line("filterwarnings", "ignore::verytmp.VeryTmpFallbackWarning")
        warnings.simplefilter("ignore", VeryTmpFallbackWarning)
    defaults = VeryTmpRoot.__init__.__kwdefaults__
    assert defaults is not None
    if config.getoption("--way") == "named":
        defaults["at"] = True
    if config.getoption("--way") == "ramfs":
        defaults["fstype"] = "ramfs"
    if config.getoption("--way") == "clone":
        clones.activate()


# What is about making the mount, or about nothing that a root's kind changes.
MAKING = {"mount", "helper", "wire", "options", "unavailable", "diagnose", "doctor", "shm", "lifetime", "main"}
MAKING |= {"strategy", "owned_fd", "imports", "interruptions", "docs", "typing"}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    name = collection_path.stem.removeprefix("test_")
    making = name in MAKING or name.startswith(("plugin", "factory", "travel", "fallback"))
    return True if making and config.getoption("--way") in ("named", "clone", "ramfs", "shm") else None


def pytest_report_header(config: pytest.Config) -> str:
    return f"verytmp: {VeryTmpRoot()!r}"


def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.stash[CANARY] = Canary(session.config.getoption("--alone"))
    way = session.config.getoption("--way")
    root = VeryTmpRoot()
    made = repr(root)
    if way and (WAYS[way] not in made or (root.kind == "ramfs") != (way == "ramfs")):
        pytest.exit(f"roots should be made by the {way} way: {made}", returncode=3)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        for mark in item.iter_markers("needs"):
            if mark.args[0] in features.lacking():
                item.add_marker(pytest.mark.skip(f"this kernel has no {mark.args[0]}"))
    if config.getoption("--way") == "shm":
        for item in items:
            if item.get_closest_marker("tmpfs"):
                item.add_marker(pytest.mark.skip("a directory in /dev/shm does not promise it"))
    if config.getoption("--way") == "ramfs":
        for item in items:
            if item.name.partition("[")[0] in RAMFS_LACKS:
                item.add_marker(pytest.mark.skip("a ramfs has no extended attributes, and does not tell of holes"))


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """What a directory in /dev/shm cannot be is skipped there, and nowhere else."""
    try:
        return (yield)
    except VeryTmpUnavailable:
        if pyfuncitem.config.getoption("--way") == "shm":
            pytest.skip("a directory in /dev/shm has no limits of its own")
        raise
    except ValueError as error:
        if "a ramfs has no limits" in str(error) and pyfuncitem.config.getoption("--way") == "ramfs":
            pytest.skip("a ramfs has no limits")
        raise


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None]:
    """What nothing may be: it is said in the summary, after an interruption too."""
    wrong = []
    try:
        yield
    except Exception as error:  # of a test's fixture, when that was interrupted: pytest would end with it at once
        wrong.append(f"at the end: {error!r}")
    config = session.config
    if config.getoption("--way") == "shm":
        VeryTmpRoot().close()  # which removes what the tests' children have left that were ended
    if CANARY in config.stash:
        wrong += [f"new on the host: {name}" for name in config.stash[CANARY].changes()]
    if reporter := config.pluginmanager.get_plugin("terminalreporter"):
        wrong += [f"this skip is not allowed here: {reason}" for reason in unexpected_skips(reporter, config)]
    config.stash[WRONG] = wrong
    if wrong and session.exitstatus in (0, 1):  # not 1: running the failed tests again would not tell of it
        session.exitstatus = 4


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash.get(WRONG, []):
        terminalreporter.write_line(f"FAILED: {line}", red=True)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and report.passed:
        TALLY.setdefault(Path(report.location[0]).stem, Counter())["tests"] += 1
        TALLY[Path(report.location[0]).stem].update(dict(report.user_properties))


TALLY: dict[str, Counter[str]] = {}  # by file


def pytest_unconfigure(config: pytest.Config) -> None:
    if file := config.getoption("--tally"):
        Path(file).write_text(json.dumps(TALLY))


def unexpected_skips(reporter: pytest.TerminalReporter, config: pytest.Config) -> list[str]:
    listed = config.getoption("--allowed-skips")
    if not listed:
        return []
    lines = [line for file in listed for line in Path(file).read_text().splitlines()]
    allowed = {line for line in lines if line and not line.startswith("#")}
    reasons = {report.longrepr[2].removeprefix("Skipped: ") for report in reporter.stats.get("skipped", [])}
    return sorted(reason for reason in reasons if not any(fnmatchcase(reason, line) for line in allowed))


class Canary:
    """Nothing may appear where a path that escaped would end up, nor where a program leaves its litter.

    Other programs use the directories for temporary files too: what appears there counts with --alone. Without it, what
    is called as ours is.
    """

    def __init__(self, alone: bool) -> None:
        folders = {"/", os.getcwd(), "/tmp", "/dev/shm", tempfile.gettempdir(), os.path.expanduser("~")}
        self.alone = alone
        self.folders = {folder for folder in folders if os.path.isdir(folder) and os.access(folder, os.R_OK)}
        self.private = kernel.private_mounts()
        self.before, self.mounts = set(host_state.names(*self.folders)), set(host_state.mounts())

    def changes(self) -> list[str]:
        new = {
            name for name in set(host_state.names(*self.folders)) - self.before if os.path.basename(name) not in TOOLS
        }
        found = sorted(name for name in new if not of_another_suite(name))
        if not self.alone:  # the fallback's directory may be of another program of this user
            found = [name for name in found if "verytmp" in name and not name.startswith("/dev/shm/verytmp-")]
            found += sorted(name for name in new if os.path.basename(name).startswith(OURS))
        return found + sorted(set(host_state.mounts()) ^ self.mounts if self.private else ())


def of_another_suite(name: str) -> bool:
    """Two suites may run at the same time, and another user's on the fallback."""
    base = os.path.basename(name)
    if base.removeprefix("verytmp-").isdigit():
        return base != f"verytmp-{os.geteuid()}"
    return base.startswith("verytmp-tests-") and not base.startswith(OURS)


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test: no new descriptor, child, thread."""
    before, threads = host_state.descriptors(), host_state.threads()
    yield
    assert host_state.new_descriptors(before) == {}, "descriptors"
    assert host_state.children() == [], "children"
    assert threading.active_count() == 1, "threads"
    # The kernel's may still be ending when they have been joined, and a fork would be warned of them from 3.12 on.
    for _ in range(1000):
        if host_state.threads() <= threads:
            break
        time.sleep(0.01)
    else:
        raise AssertionError("threads of the kernel's")


@pytest.fixture(autouse=True)
def confined(request: pytest.FixtureRequest) -> Iterator[None]:
    """No path's method touches the host, in any test."""
    with tripwire.watching() as touched:
        yield
    assert touched == [] or "would_trip" in request.node.name


@pytest.fixture
def root() -> Iterator[VeryTmpRoot]:
    with VeryTmpRoot() as made:
        yield made


@pytest.fixture
def host(request: pytest.FixtureRequest) -> Iterator[Path]:
    """An ordinary directory on the host, in memory too."""
    folder = tempfile.mkdtemp(prefix=OURS, dir="/dev/shm")
    yield Path(folder)
    shutil.rmtree(folder)


@pytest.fixture
def machine() -> Iterator[None]:
    """The machine's shared memory, with no other suite that fills and frees hundreds of MiB at the same time."""
    with open(__file__) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class HostFactory:
    """Makes the directories that pytester works in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def mktemp(self, basename: str, numbered: bool = True) -> Path:
        return Path(tempfile.mkdtemp(prefix=basename, dir=self.folder))


@pytest.fixture(scope="session")
def tmp_path_factory() -> Iterator[HostFactory]:
    """In place of pytest's own, which leaves its directories to later runs."""
    folder = tempfile.mkdtemp(prefix=OURS, dir="/dev/shm")
    yield HostFactory(Path(folder))
    shutil.rmtree(folder)


@pytest.fixture(scope="session", autouse=True)
def plain_output() -> Iterator[None]:
    """What tests start writes the same everywhere: pytest, say, shortens its lines by these."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CI", "BUILD_NUMBER", "NO_COLOR", "FORCE_COLOR", "PY_COLORS"):
            patch.delenv(name, raising=False)
        patch.setenv("COLUMNS", "80")
        yield


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs pytest with the plugin, in a directory of its own."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    return Run(pytester)


@pytest.fixture(params=["nosymfollow", "symfollow", "pathlib"])
def base(request: pytest.FixtureRequest) -> Iterator[Path]:
    """An empty directory: in a root, in a root whose mount follows symlinks, and on the host, for pathlib itself."""
    if request.param == "pathlib":
        yield request.getfixturevalue("host")
    else:
        with VeryTmpRoot(nosymfollow=request.param == "nosymfollow") as made:
            yield made.path
