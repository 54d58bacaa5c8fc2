"""The pytest plugin with --verytmp, where a debugger or an IDE has started pytest."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from support.runs import ARGUMENTS, Run

STOPS = """
    import os

    def test_it(tmp_path):
        (tmp_path / "f").touch()
        breakpoint()
        here = "fails"
        assert os.listdir(tmp_path) == []
"""
LOOK = "p 'seen', os.listdir(tmp_path), os.path.realpath(tmp_path) == str(tmp_path), str(tmp_path)[:9]\n"
SEEN = "('seen', ['f'], True, '/verytmp/')"


def typed(text: str, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program, and type something."""
    environment = {**os.environ, **variables}
    return subprocess.run(command, input=text, env=environment, capture_output=True, text=True, timeout=60)


def test_pdb(run: Run) -> None:
    """At a breakpoint, and where a test fails: both in the directory as the test has it."""
    run.pytester.makepyfile(test_it=STOPS)
    command = (sys.executable, "-m", "pytest", *ARGUMENTS, "--verytmp", "--pdb")
    result = typed(f"{LOOK}c\np here\n{LOOK}q\n", *command)
    assert result.returncode == pytest.ExitCode.INTERRUPTED, result.stderr
    assert result.stdout.count(SEEN) == 2
    assert "'fails'" in result.stdout


def test_pdb_around_pytest(run: Run) -> None:
    run.pytester.makepyfile(test_it=STOPS)
    options = " ".join(["-s", "--verytmp", *ARGUMENTS])  # not on the command line: pdb would read them
    result = typed(f"c\n{LOOK}q\nq\n", sys.executable, "-m", "pdb", "-m", "pytest", PYTEST_ADDOPTS=options)
    assert SEEN in result.stdout, result.stdout + result.stderr


CONNECTED = """
    import threading

    print("connected", flush=True)
    threading.Thread(target=threading.Event().wait, daemon=True).start()
"""


@pytest.mark.parametrize(("module", "told"), [("pydevd", ""), ("memray", ""), ("pydevd", "shm"), ("pydevd", "error")])
def test_a_debugger_with_threads(run: Run, module: str, told: str) -> None:
    """As VS Code's and PyCharm's: the process stays, for it has the connection to the debugger."""
    run.pytester.makepyfile(
        **{module: CONNECTED},
        test_it="""
        def test_it(tmp_path, verytmp_path):
            assert not str(tmp_path).startswith("/verytmp/") and list(verytmp_path.iterdir()) == []
        """,
    )
    options = ["-p", module, "--verytmp", *([f"--verytmp-fallback={told}"] if told else [])]
    result = typed("", sys.executable, "-m", "pytest", *ARGUMENTS, *options, PYTHONPATH=search_path(run))
    assert result.stdout.count("connected") == 1
    if told == "error":
        assert result.returncode == pytest.ExitCode.USAGE_ERROR
        assert "one thread, and this one has 2" in result.stderr
    else:
        assert result.returncode == 0, result.stdout + result.stderr
        assert f"verytmp: no namespace, for {module} has threads; tmp_path is pytest's own" in result.stdout


@pytest.mark.slow
@pytest.mark.skipif("not __import__('importlib').util.find_spec('xdist')", reason="xdist is not installed")
def test_memray_with_workers(run: Run) -> None:
    """They do as the process that started them, and have no such module themselves."""
    run.pytester.makepyfile(memray=CONNECTED, test_it="def test_it(tmp_path): assert tmp_path.is_dir()")
    command = f"import memray, pytest; pytest.main({[*ARGUMENTS, '-p', 'xdist.plugin', '-n', '2', '--verytmp']})"
    result = typed("", sys.executable, "-c", command, PYTHONPATH=search_path(run))
    assert "1 passed" in result.stdout, result.stdout + result.stderr


def test_an_ide_s_runner(run: Run) -> None:
    """It has a plugin of its own, and tells its results by a socket and a pipe that it has made before."""
    run.pytester.makepyfile(
        test_it="""
        import os

        def test_it(tmp_path):
            assert os.path.realpath(tmp_path) == str(tmp_path) and str(tmp_path).startswith("/verytmp/")
        """,
        ide_plugin="""
        import os, socket

        def pytest_runtest_logreport(report):
            if report.when == "call":
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.connect(os.environ["IDE_SOCKET"])
                    connection.send(report.outcome.encode())
                with open(os.environ["IDE_PIPE"], "wb", 0) as pipe:
                    pipe.write(report.nodeid.encode())
        """,
        runner="""
        import os, socket, sys
        import pytest

        class Also:
            def pytest_sessionfinish(self, session):
                self.collected = session.testscollected

        os.environ["IDE_SOCKET"], os.environ["IDE_PIPE"] = map(os.path.abspath, ("socket", "pipe"))
        os.mkfifo("pipe")
        pipe = os.open("pipe", os.O_RDWR)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("socket")
            listener.listen()
            also = Also()
            status = pytest.main(sys.argv[1:], [also])
            print(listener.accept()[0].recv(99), os.read(pipe, 99), also.collected, int(status))
        """,
    )
    result = typed("", sys.executable, "runner.py", *ARGUMENTS, "-p", "ide_plugin", "--verytmp", "test_it.py")
    assert result.stdout.splitlines()[-1] == "b'passed' b'test_it.py::test_it' 1 0", result.stdout + result.stderr


def search_path(run: Run) -> str:
    """For PYTHONPATH: the tests' directory, and what is there already."""
    return os.pathsep.join([str(run.pytester.path), *filter(None, [os.environ.get("PYTHONPATH")])])
