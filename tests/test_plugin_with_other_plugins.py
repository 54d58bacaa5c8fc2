"""The plugin beside what else pytest has, and what others have for it."""

from __future__ import annotations

import importlib.util
import os
import sys

import pytest
from support.runs import ARGUMENTS, Run

TWO_WORKERS = """
    import os
    import pytest
    from verytmp import VeryTmpPath

    @pytest.fixture(scope="session")
    def common(tmp_path_factory):
        '''As pytest-xdist's documentation shares work: what the workers have in common is above their directories.'''
        return tmp_path_factory.getbasetemp().parent

    @pytest.mark.parametrize("number", range(8))
    def test_it(tmp_path, tmp_path_factory, common, number):
        assert isinstance(tmp_path, VeryTmpPath) and isinstance(tmp_path_factory.mktemp("f"), VeryTmpPath)
        (tmp_path / "f").write_text(str(number))
        (common / f"{os.environ['PYTEST_XDIST_WORKER']}-{number}").touch()

    def test_fails(tmp_path):
        (tmp_path / "what there was").touch()
        assert False
"""


CONTROLLER = """
    from verytmp.pytest_plugin import ROOTS

    def pytest_terminal_summary(terminalreporter, config):
        terminalreporter.write_line(f"roots of the controller: {config.stash[ROOTS]._source}")
"""


def plugin(name: str) -> pytest.MarkDecorator:
    missing = importlib.util.find_spec(name) is None
    return pytest.mark.skipif(missing, reason=f"{name} is not installed")


@plugin("xdist")
def test_xdist(run: Run) -> None:
    run.pytester.makeconftest(CONTROLLER)
    result = run(
        TWO_WORKERS,
        "-p",
        "xdist.plugin",
        "-n",
        "2",
        "--verytmp=confined",
        "--verytmp-keep=kept",
        "--basetemp=base",
        apart=True,
    )
    result.assert_outcomes(passed=8, failed=1)
    result.stdout.fnmatch_lines(["verytmp: tmp_path is in memory, *", "  test_fails0/what there was  0", "kept in *"])
    assert len(list(run.pytester.path.glob("kept/*/tmp_path/test_fails0/what there was"))) == 1
    assert "roots of the controller: None" in result.outlines  # it runs no tests, and so no helper either
    names = {path.name for path in run.pytester.path.rglob("gw*-*")}
    assert {name.partition("-")[2] for name in names} == {str(number) for number in range(8)}
    assert len({path.parent for path in run.pytester.path.rglob("gw*-*")}) == 1


def test_unittest(run: Run) -> None:
    run(
        """
        import unittest
        import pytest
        from verytmp import VeryTmpPath

        class TestIt(unittest.TestCase):
            @pytest.fixture(autouse=True)
            def folders(self, tmp_path, verytmp_path):
                self.folders = [tmp_path, verytmp_path]

            def setUp(self):
                for folder in self.folders:
                    (folder / "f").write_text("potatoes")

            def test_it(self):
                for folder in self.folders:
                    self.assertIsInstance(folder, VeryTmpPath)
                    self.assertEqual((folder / "f").read_text(), "potatoes")

            def tearDown(self):
                for folder in self.folders:
                    (folder / "f").unlink()

        class TestAsync(unittest.IsolatedAsyncioTestCase):
            @pytest.fixture(autouse=True)
            def folder(self, tmp_path):
                self.folder = tmp_path

            async def test_it(self):
                (self.folder / "f").touch()
        """,
        "--verytmp=confined",
    ).assert_outcomes(passed=2)


def test_doctest(run: Run) -> None:
    run.pytester.maketxtfile(
        test_text="""
        >>> folder = getfixture("tmp_path")
        >>> folder.name
        'test_text_txt0'
        >>> (folder / "f").write_text("potatoes")
        8
        >>> getfixture("verytmp_path")
        VeryTmpPath('/')
        >>> type(getfixture("tmp_path_factory").mktemp("f")).__name__
        'VeryTmpPath'
        """
    )
    run(
        '''
        def one():
            """
            >>> getfixture("tmp_path")
            VeryTmpPath('/test_it_one0')
            """
        ''',
        "--verytmp=confined",
        "--doctest-modules",
    ).assert_outcomes(passed=2)


def test_setup_show(run: Run) -> None:
    code = "def test_it(tmp_path, verytmp_path): ..."
    result = run(code, "--verytmp=confined", "--setup-show")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "SETUP    S tmp_path_factory",
            "*SETUP    F tmp_path *",
            "*SETUP    F verytmp_root",
            "*SETUP    F verytmp_path (fixtures used: verytmp_root)",
            "*TEARDOWN F verytmp_path",
            "*TEARDOWN F verytmp_root",
            "*TEARDOWN F tmp_path",
            "TEARDOWN S tmp_path_factory",
        ]
    )
    for option in ("--setup-plan", "--setup-only", "--collect-only"):
        assert run(code, "--verytmp=confined", option).ret == 0


def test_twice_in_a_process(run: Run) -> None:
    """With other options each time, and nothing of the first in the second."""
    run.pytester.makepyfile(
        test_one="""
        from verytmp import VeryTmpPath

        def test_it(tmp_path):
            assert isinstance(tmp_path, VeryTmpPath)

        def test_fails(tmp_path):
            assert False
        """,
        test_two="""
        from verytmp import VeryTmpPath

        def test_it(tmp_path):
            assert not isinstance(tmp_path, VeryTmpPath)
        """,
    )
    script = run.pytester.makepyfile(
        twice=f"""
        import os, pytest
        arguments = {ARGUMENTS!r}
        before = len(os.listdir("/proc/self/fd"))
        assert pytest.main([*arguments, "--verytmp=confined", "--verytmp-keep=kept", "test_one.py"]) == 1
        assert pytest.main([*arguments, "test_two.py"]) == 0
        first = len(os.listdir("/proc/self/fd"))
        for _ in range(2):
            assert pytest.main([*arguments, "--verytmp=confined", "test_one.py::test_it"]) == 0
        assert len(os.listdir("/proc/self/fd")) <= first + 1
        """
    )
    result = run.pytester.run(sys.executable, script)
    assert result.ret == 0, result.stderr.str()
    assert result.stdout.str().count("kept in") == 1


def test_in_a_run_that_tests_a_plugin(run: Run) -> None:
    """pytester's runs are in a directory of the host: pytest canonicalises its root directory."""
    run(
        """
        from verytmp import VeryTmpPath

        pytest_plugins = ["pytester"]

        def test_it(pytester, tmp_path):
            pytester.makepyfile(test_inner="def test_it(tmp_path): assert 'VeryTmp' not in repr(tmp_path)")
            pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
            assert not isinstance(pytester.path, VeryTmpPath)

        def test_other(tmp_path):
            assert isinstance(tmp_path, VeryTmpPath)
        """,
        "--verytmp=confined",
    ).assert_outcomes(passed=2)


ASYNC = """
    import pytest
    from verytmp import VeryTmpPath

    @pytest.fixture
    async def folder(tmp_path):
        (tmp_path / "f").write_text("potatoes")
        yield tmp_path
        (tmp_path / "f").unlink()

    @MARK
    async def test_it(folder, verytmp_path):
        assert isinstance(folder, VeryTmpPath)
        assert (folder / "f").read_text() == "potatoes"
        assert list(verytmp_path.iterdir()) == []
"""


@plugin("anyio")
def test_anyio(run: Run) -> None:
    code = "    @__import__('pytest').fixture\n    def anyio_backend(): return 'asyncio'\n" + ASYNC
    code = code.replace("@MARK", "@pytest.mark.anyio")
    run(code, "-p", "anyio.pytest_plugin", "--verytmp=confined").assert_outcomes(passed=1)


@plugin("pytest_asyncio")
def test_asyncio(run: Run) -> None:
    run.pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    code = ASYNC.replace("@MARK", "@pytest.mark.asyncio")
    older = "ignore:Unknown config option:pytest.PytestConfigWarning"
    run(code, "-p", "pytest_asyncio.plugin", "--verytmp=confined", "-W", older, apart=True).assert_outcomes(passed=1)


def test_threads(run: Run) -> None:
    """Of a test's own, while roots are made."""
    run(
        """
        import threading
        import pytest

        stop = threading.Event()

        @pytest.fixture(scope="module", autouse=True)
        def busy():
            thread = threading.Thread(target=stop.wait)
            thread.start()
            yield
            stop.set()
            thread.join()

        @pytest.mark.parametrize("number", range(3))
        def test_it(tmp_path, number):
            (tmp_path / "f").touch()
        """,
        "--verytmp=confined",
    ).assert_outcomes(passed=3)


def test_the_working_directory_comes_back(run: Run) -> None:
    here = str(run.pytester.path)
    run(
        f"""
        import os

        def test_leaves(tmp_path, monkeypatch):
            monkeypatch.chdir(tmp_path)
            open("f", "w").close()
            assert (tmp_path / "f").exists()

        def test_next():
            assert os.getcwd() == {here!r}
        """,
        "--verytmp=confined",
    ).assert_outcomes(passed=2)
    assert os.getcwd() == here
