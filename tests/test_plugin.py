"""The pytest plugin, in runs of pytest: its fixtures, and what takes the place of tmp_path with --verytmp."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import textwrap

import pytest
from support.runs import Run

USES_NOTHING = """
    import sys

    def test_it(tmp_path):
        assert "VeryTmp" not in repr(tmp_path)
        print("loaded:", *sorted(name for name in sys.modules if name.startswith("verytmp")))
"""


def test_a_path_for_each_test(run: Run) -> None:
    run(
        """
        import os
        import pathlib
        from verytmp import VeryTmpPath, VeryTmpRoot

        before = []

        def test_one(verytmp_path, verytmp_root):
            assert isinstance(verytmp_path, VeryTmpPath) and isinstance(verytmp_path, pathlib.Path)
            assert isinstance(verytmp_root, VeryTmpRoot)
            assert verytmp_path == verytmp_root.path
            (verytmp_path / "f").write_text("potatoes")
            before.append((verytmp_root, verytmp_path.stat().st_dev, os.open(verytmp_path / "f", os.O_RDONLY)))

        def test_two(verytmp_path):
            root, device, descriptor = before.pop()
            assert root.closed
            assert os.read(descriptor, 10) == b"potatoes"
            os.close(descriptor)
            assert list(verytmp_path.iterdir()) == []
        """
    ).assert_outcomes(passed=2)


def test_a_factory_for_the_session(run: Run) -> None:
    result = run(
        """
        import pytest

        @pytest.fixture(scope="module")
        def made(verytmp_factory):
            return verytmp_factory.root(size="1m"), verytmp_factory.root()

        def test_one(made):
            small, large = made
            assert small.usage().total == 1 << 20 < large.usage().total
            (small / "f").touch()
            small.close()

        def test_two(made):
            small, large = made
            assert small.closed and not large.closed

        @pytest.fixture(scope="session", autouse=True)
        def last():
            roots = []
            yield roots
            assert roots[0].closed
            print("all closed")

        def test_three(last, made):
            last.append(made[1])
        """,
        "-s",
    )
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*all closed*"])


def test_options_in_markers(run: Run) -> None:
    run(
        """
        import errno
        import pytest

        pytestmark = pytest.mark.verytmp(size="1m", nr_inodes=100)

        def sizes(root):
            usage = root.usage()
            return usage.total >> 20, root.nosymfollow

        def test_of_the_module(verytmp_root):
            assert sizes(verytmp_root) == (1, True)

        @pytest.mark.verytmp(size="2m")
        class TestClass:
            def test_of_the_class(self, verytmp_root):
                assert sizes(verytmp_root) == (2, True)

            @pytest.mark.verytmp(nosymfollow=False)
            @pytest.mark.verytmp(size="3m")
            def test_of_its_own(self, verytmp_root):
                assert sizes(verytmp_root) == (3, False)

        def test_of_tmp_path(tmp_path):
            with pytest.raises(OSError) as caught:
                (tmp_path / "f").write_bytes(bytes(2 << 20))
            assert caught.value.errno == errno.ENOSPC
        """,
        "--verytmp=confined",
        "--strict-markers",
    ).assert_outcomes(passed=4)


def test_wrong_options_in_markers(run: Run) -> None:
    result = run(
        """
        import pytest

        @pytest.mark.verytmp("8m")
        def test_position(verytmp_path): ...

        @pytest.mark.verytmp(size="eight")
        def test_value(verytmp_path): ...

        @pytest.mark.verytmp(colour="red")
        def test_name(verytmp_path): ...
        """
    )
    result.assert_outcomes(errors=3)
    result.stdout.fnmatch_lines(["*takes VeryTmpRoot's options as keywords", "E*ValueError*", "E*'colour'*"])


def test_who_does_not_use_it_does_not_load_it(run: Run) -> None:
    result = run(USES_NOTHING, "-s", apart=True)
    result.stdout.fnmatch_lines(["*loaded: verytmp verytmp.pytest_plugin"])


def test_loading_it_loads_nothing_else() -> None:
    code = (
        "import pytest, sys; before = set(sys.modules); import verytmp.pytest_plugin; print(*set(sys.modules) - before)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert set(loaded) == {"verytmp", "verytmp.pytest_plugin"}


def test_tmp_path_is_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)
    run(
        """
        import os, tempfile
        from verytmp import VeryTmpPath

        def test_it(tmp_path, tmp_path_factory, tmpdir, pytestconfig):
            assert isinstance(tmp_path, VeryTmpPath)
            assert tmp_path.name == "test_it0" and list(tmp_path.iterdir()) == []
            assert (tmp_path.stat().st_mode & 0o777) == 0o700
            assert isinstance(tmp_path_factory.mktemp("folder"), VeryTmpPath)
            assert str(tmpdir) == str(tmp_path)
            tmpdir.join("f").write("potatoes")
            assert (tmp_path / "f").read_text() == "potatoes"
            (tmp_path.parent / "beside").mkdir()
            assert (tmp_path / ".." / "beside").is_dir()

        def test_what_stays(tmp_path, tmp_path_factory, tmpdir_factory, pytestconfig):
            assert not (tmp_path.parent / "beside").exists()
            assert pytestconfig.option.basetemp is None
            assert "TMPDIR" not in os.environ
            assert not tempfile.gettempdir().startswith("/proc")
            for path in tmp_path_factory.getbasetemp(), tmpdir_factory.mktemp("folder"):
                assert str(path).startswith(os.environ["PYTEST_DEBUG_TEMPROOT"])
        """,
        "--verytmp=confined",
    ).assert_outcomes(passed=2)


def test_nothing_is_made_on_the_host(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
        def test_it(tmp_path, tmp_path_factory):
            (tmp_path / "f").touch()
            tmp_path_factory.mktemp("folder")
    """
    folder = run.pytester.mkdir("temporary")
    monkeypatch.setenv("PYTEST_DEBUG_TEMPROOT", str(folder))
    run(code, "--verytmp=confined").assert_outcomes(passed=1)
    assert list(folder.iterdir()) == []
    run(code).assert_outcomes(passed=1)
    assert list(folder.iterdir()) != []


@pytest.mark.parametrize("option", ["--verytmp", "--verytmp=confined", "--capture=fd"], ids=["named", "", "plain"])
def test_what_all_factories_do(run: Run, option: str) -> None:
    """The same test, of pytest's own factory and of ours."""
    start = run.inside if option == "--verytmp" else run
    start(
        r"""
        import re
        import pytest

        def test_it(tmp_path_factory):
            assert isinstance(tmp_path_factory, pytest.TempPathFactory)
            made = [tmp_path_factory.mktemp(name) for name in ("a", "b", "a", "a-", "b/")]
            assert [path.name for path in made] == ["a0", "b0", "a1", "a-0", "b1"]
            assert len({path.parent for path in made}) == 1
            assert all(path.stat().st_mode & 0o777 == 0o700 for path in made)
            tmp_path_factory.mktemp("c1", numbered=False)
            assert "c1" not in [tmp_path_factory.mktemp("c").name for _ in range(3)]
            with pytest.raises(FileExistsError):
                tmp_path_factory.mktemp("c1", numbered=False)
            for name in ("a/b", "..", ".", "/etc", "../x", "a/../../x"):
                for numbered in (True, False):
                    with pytest.raises(ValueError, match="is not a normalized and relative path"):
                        tmp_path_factory.mktemp(name, numbered)
            assert tmp_path_factory.getbasetemp().is_dir()
            assert tmp_path_factory._retention_policy == "all"
            with pytest.raises(AttributeError):
                tmp_path_factory.potatoes

        @pytest.mark.parametrize("name", ["x/../y", "x" * 100, "ä ö"])
        def test_names(tmp_path, name, request):
            assert tmp_path.name == re.sub(r"\W", "_", request.node.name)[:30] + "0"
        """,
        option,
    ).assert_outcomes(passed=4)


def test_real_tmp_path(run: Run) -> None:
    run(
        """
        import pytest
        from verytmp import VeryTmpPath

        @pytest.mark.real_tmp_path
        def test_marked(tmp_path, tmp_path_factory, verytmp_path):
            assert not isinstance(tmp_path, VeryTmpPath) and tmp_path.resolve() == tmp_path
            assert not isinstance(tmp_path_factory.mktemp("folder"), VeryTmpPath)
            assert isinstance(verytmp_path, VeryTmpPath)

        def test_other(tmp_path, tmp_path_factory):
            assert isinstance(tmp_path, VeryTmpPath)
            assert isinstance(tmp_path_factory.mktemp("folder"), VeryTmpPath)
        """,
        "--verytmp=confined",
        "--strict-markers",
    ).assert_outcomes(passed=2)


def test_fixtures_of_others_go_before(run: Run) -> None:
    run.pytester.makepyfile(
        **{
            "whole/conftest": """
                import pytest

                @pytest.fixture
                def tmp_path():
                    return "theirs"
            """,
            "whole/test_whole": """
                def test_it(tmp_path):
                    assert tmp_path == "theirs"
            """,
            "on_top/conftest": """
                import pytest

                @pytest.fixture
                def tmp_path(tmp_path):
                    path = tmp_path / "more"
                    path.mkdir()
                    return path
            """,
            "on_top/test_on_top": """
                from verytmp import VeryTmpPath

                def test_it(tmp_path):
                    assert isinstance(tmp_path, VeryTmpPath) and tmp_path.name == "more"
            """,
            "factory/conftest": """
                import pathlib
                import pytest

                class Factory:
                    _retention_policy = "all"

                    def mktemp(self, basename, numbered=True):
                        return pathlib.Path("theirs")

                @pytest.fixture(scope="session")
                def tmp_path_factory():
                    return Factory()
            """,
            "factory/test_factory": """
                import pathlib

                def test_it(tmp_path):
                    assert tmp_path == pathlib.Path("theirs")
            """,
            "conftest": "",
        }
    )
    run("", "--verytmp=confined", "--import-mode=importlib").assert_outcomes(passed=3)


def test_a_conftest_at_the_top_goes_before(run: Run) -> None:
    run.pytester.makeconftest("import pytest\n@pytest.fixture\ndef tmp_path(): return 'theirs'")
    run("def test_it(tmp_path): assert tmp_path == 'theirs'", "--verytmp=confined").assert_outcomes(passed=1)


def test_without_the_plugin_for_tmp_path(run: Run) -> None:
    result = run(
        """
        import pytest
        from verytmp import VeryTmpPath

        def test_it(tmp_path, tmp_path_factory):
            assert isinstance(tmp_path, VeryTmpPath) and isinstance(tmp_path_factory.mktemp("f"), VeryTmpPath)
            with pytest.raises(RuntimeError, match="no:tmpdir"):
                tmp_path_factory.getbasetemp()
            with pytest.raises(AttributeError):
                tmp_path_factory._basetemp

        @pytest.mark.real_tmp_path
        def test_there_is_none(tmp_path): ...
        """,
        "--verytmp=confined",
        "-p",
        "no:tmpdir",
        "-p",
        "no:legacypath",
    )
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*recursive dependency*tmp_path*"])


def test_help(run: Run) -> None:
    text = " ".join(run("", "--help").stdout.str().split())
    for words in (
        "--verytmp ",
        "--verytmp=confined ",
        "--verytmp-options=OPTIONS",
        "--verytmp-keep=DIR",
        "--verytmp-fallback={error,shm,tmp_path}",
        "verytmp_keep (string)",
    ):
        assert words in text
    text = run("", "--markers").stdout.str()
    assert "@pytest.mark.verytmp(size='8m', ...): " in text
    assert "@pytest.mark.real_tmp_path: " in text
    result = run("", "--fixtures", "--verytmp=confined")
    for name in ("verytmp_factory [[]session scope[]]", "verytmp_root", "verytmp_path", "tmp_path"):
        result.stdout.fnmatch_lines([f"{name} -- *verytmp/*pytest*.py:*", "    [A-Z]*"])


ENTRY_POINTS = importlib.metadata.entry_points(group="pytest11", name="verytmp")


@pytest.mark.slow
@pytest.mark.skipif(not ENTRY_POINTS, reason="verytmp is on the path, and not installed")
def test_the_entry_point(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest finds it by itself, and once, whatever the order in which it is named besides."""
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    run.pytester.makepyfile(test_it="def test_it(verytmp_path): ...")
    for options in ([], ["-p", "verytmp"]):
        result = run.pytester.run(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options)
        result.assert_outcomes(passed=1)


def test_wrong_ini(run: Run) -> None:
    run.pytester.makeini("[pytest]\nverytmp_fallback = disk\n")
    result = run(textwrap.dedent(USES_NOTHING))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*verytmp_fallback must be one of error, shm, tmp_path, not disk"])
