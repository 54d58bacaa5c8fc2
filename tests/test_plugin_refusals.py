"""What the plugin does where no root can be made."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from support import host_state, kernel
from support.kernel import Rule
from support.runs import ARGUMENTS, Run

USES = """
    import pytest

    def test_path(tmp_path):
        print("of", type(tmp_path).__name__)

    def test_made(tmp_path_factory):
        print("of", type(tmp_path_factory.mktemp("folder")).__name__)

    def test_root(verytmp_root): ...

    def test_factory(verytmp_factory):
        verytmp_factory.root()

    def test_none(): ...
"""


def refuse() -> None:
    """What a container's seccomp profile does to an ordinary user."""
    kernel.drop_capabilities(kernel.CAP_SYS_ADMIN)
    kernel.seccomp(Rule("unshare", errno.EPERM))


def refused(run: Run, *options: str, code: str = USES, how: Callable[[], None] = refuse) -> list[str]:
    """The lines of a run in which no root can be made, its last line first."""
    run.pytester.makepyfile(test_it=code)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *ARGUMENTS, *options], capture_output=True, text=True, preexec_fn=how
    )
    return result.stdout.splitlines()[::-1]


DIAGNOSIS = "no private tmpfs could be made: unshare(CLONE_NEWUSER|CLONE_NEWNS): Operation not permitted"

STEP = "verytmp: unshare(CLONE_NEWUSER|CLONE_NEWNS): EPERM"
SHORT = f"{STEP}, as reported before"
HEADER = f"{STEP}; see --verytmp-fallback"


def test_a_refusal_is_told_once(run: Run) -> None:
    """In the header in short, and by the first test that it fails in full."""
    for options in (["--verytmp=confined"], ["-q", "--verytmp=confined"]):
        lines = refused(run, *options, "--tb=short", "-rN")
        assert "2 failed, 1 passed, 2 errors" in lines[0]
        [diagnosis] = [line for line in lines if DIAGNOSIS in line]
        assert "with weaker guarantees and no limits: --verytmp-fallback=shm; " in diagnosis
        assert sum(line.removeprefix("E   ") == SHORT for line in lines) == 3
        assert lines.count(HEADER) == ("-q" not in options)
    assert sum(DIAGNOSIS in line for line in refused(run, "--tb=short", "-rN")) == 1


def test_pytest_s_own_instead(run: Run) -> None:
    lines = refused(run, "--verytmp=confined", "--verytmp-fallback=tmp_path", "-rP", "--tb=short")
    assert f"{STEP}; tmp_path is pytest's own" in lines
    assert lines.count("of PosixPath") == 2
    assert "3 passed" in lines[0]  # who names a root gets none that is none
    assert sum(line.removeprefix("E   ") == SHORT for line in lines) == 1


# -- with names --------------------------------------------------------------------------------------------------------

NAMED = """
    import os
    import tempfile
    import pytest

    def test_path(tmp_path, tmp_path_factory):
        print("in", tmp_path, tmp_path_factory.mktemp("folder"), tempfile.gettempdir())
        os.rename(tmp_path, tmp_path_factory.getbasetemp() / "other")

    def test_none(): ...

    @pytest.mark.verytmp(size="1m")
    def test_limited(tmp_path): ...
"""


def test_names_are_refused(run: Run) -> None:
    lines = refused(run, "--verytmp", "--tb=short", "-rN", code=NAMED)
    assert "1 passed, 2 errors" in lines[0]
    assert lines.count(HEADER) == 1
    [diagnosis] = [line for line in lines if DIAGNOSIS in line]
    assert "with weaker guarantees and no limits: --verytmp-fallback=shm; " in diagnosis
    assert sum(line.removeprefix("E   ") == SHORT for line in lines) == 1


def test_names_in_shared_memory_instead(run: Run) -> None:
    before = host_state.fallback()
    lines = refused(run, "--verytmp", "--verytmp-fallback=shm", "--tb=short", "-rP", code=NAMED)
    assert "2 passed, 1 error" in lines[0]  # which asks for a limit
    [printed] = [line for line in lines if line.startswith("in ")]
    [header] = [line for line in lines if line.startswith("verytmp: tmp_path is in /dev/shm/verytmp-")]
    assert len(header) < 80
    assert all(path.startswith(header.split()[-1]) for path in printed.split()[1:])
    assert host_state.fallback() == before
    assert any(DIAGNOSIS in line for line in lines)  # of the one that asks for a limit
    assert not any("with weaker guarantees" in line for line in lines)


def test_pytest_s_own_instead_of_names(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)
    lines = refused(run, "--verytmp", "--verytmp-fallback=tmp_path", "--tb=short", "-rP", code=NAMED)
    assert "3 passed" in lines[0]
    [printed] = [line for line in lines if line.startswith("in ")]
    assert printed.startswith(f"in {run.pytester.path.parent}")
    assert f"{STEP}; tmp_path is pytest's own" in lines


MANY = """
    import pytest

    @pytest.mark.parametrize("number", range(20))
    def test_it(tmp_path, verytmp_factory, number):
        verytmp_factory.root()
"""
COUNTS = """
    import os
    import sys

    started = []
    sys.addaudithook(lambda event, _: started.append(event) if event in ("os.fork", "os.posix_spawn") else None)

    def pytest_sessionstart():
        del started[:]

    def pytest_runtest_setup():
        del started[:]

    def pytest_terminal_summary(terminalreporter):
        terminalreporter.write_line(f"started {len(started)}")

    def pytest_runtest_teardown():
        assert not started
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [refuse, partial(kernel.limit_namespaces, "user", 0)], ids=["seccomp", "limit"])
@pytest.mark.parametrize("fallback", ["shm", "error"])
def test_a_refusal_that_would_come_again_costs_a_run_one_child(
    run: Run, how: Callable[[], None], fallback: str
) -> None:
    """Each root of a hundred tests that asked again took 0.4 s, where the refusal was one that is waited for."""
    run.pytester.makeconftest(COUNTS)
    lines = refused(run, "--verytmp=confined", f"--verytmp-fallback={fallback}", code=MANY, how=how)
    assert ("20 passed" if fallback == "shm" else "20 failed") in lines[0] or "20 errors" in lines[0]
    assert "started 0" in lines


LIMITED = """
    import os
    import pytest

    @pytest.mark.verytmp(size="1m")
    def test_limited(verytmp_root): ...

    def test_working_directory(tmp_path):
        assert os.getcwd() == START
        os.chdir(tmp_path)

    def test_next(tmp_path):
        assert os.getcwd() == START
"""


def test_shared_memory_instead(run: Run) -> None:
    """Not for who asks for limits, which it has not; elsewhere they are kept whatever the fallback."""
    before = host_state.fallback()
    lines = refused(run, "--verytmp=confined", "--verytmp-fallback=shm", "-rP")
    assert "5 passed" in lines[0]
    assert lines.count("of VeryTmpPath") == 2
    assert "verytmp: tmp_path is in memory, made in /dev/shm" in lines
    code = LIMITED.replace("START", repr(str(run.pytester.path)))
    lines = refused(run, "--verytmp=confined", "--verytmp-fallback=shm", code=code)
    assert "2 passed, 1 error" in lines[0]
    assert sum(DIAGNOSIS in line for line in lines) == 1  # the header is of the fallback
    assert host_state.fallback() == before
    run(code, "--verytmp=confined", "--verytmp-fallback=shm").assert_outcomes(passed=3)


def test_the_environment_s_fallback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERYTMP_FALLBACK", "shm")
    ignored = "-Wignore::verytmp.VeryTmpFallbackWarning"
    assert "5 passed" in refused(run, "--verytmp=confined", ignored)[0]
    assert "2 failed, 1 passed, 2 errors" in refused(run, "--verytmp=confined", "--verytmp-fallback=error", ignored)[0]


def test_where_it_is_not_refused_a_fallback_changes_nothing(run: Run) -> None:
    run.pytester.makeini("[pytest]\nverytmp_fallback = tmp_path\n")
    result = run(USES, "--verytmp=confined", "-rP")
    result.assert_outcomes(passed=5)
    assert result.outlines.count("of VeryTmpPath") == 2
    result.stdout.fnmatch_lines(["verytmp: tmp_path is in memory, made *"])


def test_a_fallback_that_is_none(run: Run) -> None:
    result = run(USES, "--verytmp-fallback=disk", apart=True)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--verytmp-fallback*disk*"])
    assert not Path("kept").exists()


ELSEWHERE = """
    import builtins
    import socket
    import sys
    import pytest

    @pytest.fixture
    def elsewhere(monkeypatch):
        monkeypatch.setattr(sys, "platform", "win32")
        monkeypatch.setattr(sys, "executable", "/nonexistent/python")
        monkeypatch.setattr(socket, "socket", None)
        monkeypatch.setattr(builtins, "open", None)

    def test_it(elsewhere, tmp_path):
        (tmp_path / "f").touch()
"""


@pytest.mark.parametrize("options", [[], ["-q"]])
def test_where_a_test_puts_others_in_the_place_of_what_is_needed(run: Run, options: list[str]) -> None:
    """The first root is made before the first test, and the others need none of that."""
    run(ELSEWHERE, "--verytmp=confined", *options).assert_outcomes(passed=1)
