"""The pytest plugin with --verytmp: directories that have names, in a namespace that the run enters."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support import idioms
from support.runs import ARGUMENTS, Run

from verytmp import VeryTmpRoot


def set_tmpdir(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)


# -- what tests see ----------------------------------------------------------------------------------------------------

LOOKS = """
    import os, pathlib, re, sqlite3, subprocess, tempfile

    def test_it(tmp_path, tmp_path_factory, tmpdir, tmpdir_factory, pytestconfig):
        assert type(tmp_path) is pathlib.PosixPath
        assert re.fullmatch("/verytmp/[a-z0-9]{8}/pytest/test_it0", str(tmp_path))
        assert tmp_path.stat().st_mode & 0o777 == 0o700 and list(tmp_path.iterdir()) == []
        assert str(tmpdir) == str(tmp_path)
        base = tmp_path_factory.getbasetemp()
        made = tmp_path_factory.mktemp("folder")
        assert tmp_path.parent == base == made.parent and str(tmpdir_factory.mktemp("folder")) == str(base / "folder1")
        assert tmp_path.resolve() == tmp_path == pathlib.Path(os.path.realpath(tmp_path))
        connection = sqlite3.connect(tmp_path / "d.db")
        assert connection.execute("pragma journal_mode=wal").fetchone() == ("wal",)
        connection.close()
        assert subprocess.check_output(["pwd", "-P"], cwd=tmp_path, text=True) == f"{tmp_path}\\n"
        with tempfile.NamedTemporaryFile(delete=False) as file:
            assert file.name.startswith(str(base.parent / "tmp")) and tempfile.gettempdir() == os.environ["TMPDIR"]
        os.replace(file.name, made / "f")
        os.rename(made, tmp_path / "moved")
        assert os.stat(base.parent / "tmp").st_mode == 0o41777
        (tmp_path / "absolute").symlink_to(tmp_path / "moved" / "f")
        assert (tmp_path / "absolute").read_bytes() == b""

    def test_next(tmp_path, tmp_path_factory, verytmp_path):
        assert sorted(path.name for path in tmp_path.parent.iterdir()) == ["folder1", "test_next0"]
        assert "VeryTmpPath" in repr(verytmp_path) and str(verytmp_path).startswith("/proc/")
"""


@pytest.mark.parametrize("how", ["option", "ini"])
def test_paths_are_as_pytest_has_them(run: Run, how: str) -> None:
    if how == "ini":
        run.pytester.makeini("[pytest]\nverytmp = true\n")
    result = run.inside(LOOKS, *(["--verytmp"] if how == "option" else []))
    result.assert_outcomes(passed=2)
    [header] = [line for line in result.outlines if line.startswith("verytmp: ")]
    assert header.startswith("verytmp: tmp_path and TMPDIR in memory, in /verytmp/")
    assert len(header) < 80


def test_nothing_is_made_on_the_host(run: Run, host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DEBUG_TEMPROOT", str(host))
    set_tmpdir(monkeypatch, host)
    run.inside(LOOKS, "--verytmp").assert_outcomes(passed=2)
    assert list(host.iterdir()) == []


def test_names_are_unique_in_a_run(run: Run) -> None:
    """A directory that is gone leaves its name to nobody: what caches by it would answer with another test's files."""
    run.inside(
        """
        import pytest

        seen = set()

        @pytest.mark.parametrize("number", range(3), ids=["x" * 30] * 3)
        def test_with_a_long_name(tmp_path, number):
            assert tmp_path not in seen
            assert tmp_path.name == f"test_with_a_long_name_xxxxxxxx{number}"
            seen.add(tmp_path)
        """,
        "--verytmp",
    ).assert_outcomes(passed=3)


def test_a_session_s_directories_stay(run: Run) -> None:
    run.inside(
        """
        import os
        import pytest

        @pytest.fixture(scope="module")
        def place(tmp_path_factory):
            place = tmp_path_factory.mktemp("place")
            before = os.getcwd()
            os.chdir(place)
            yield place
            os.chdir(before)

        def test_one(place, tmp_path):
            (place / "f").touch()

        def test_two(place):
            assert os.listdir() == ["f"] and os.getcwd() == str(place)
        """,
        "--verytmp",
    ).assert_outcomes(passed=2)


@pytest.mark.parametrize("kind", ["named", pytest.param("plain", marks=pytest.mark.slow)])
def test_idioms(run: Run, host: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What others do with such directories. The second is what they are compared with."""
    monkeypatch.setenv("TMPDIR", str(host))
    options = ["--noconftest", f"--rootdir={os.path.dirname(idioms.__file__)}", "-W", "ignore", "--tb=short"]
    options.append("--verytmp" if kind == "named" else f"--basetemp={host}/b")
    absent = [name for name, code in idioms.IDIOMS.items() if "git(" in code and not shutil.which("git")]
    options += [f"--deselect={os.path.basename(idioms.__file__)}::test_idiom[{name}]" for name in absent]
    result = run("", *options, idioms.__file__, apart=True)
    subprocess.run(["chmod", "-R", "u+rwX", host], check=True)  # plain ones are left locked
    different = idioms.OTHER_USERS if kind == "named" and os.geteuid() else ()
    passed = len(idioms.IDIOMS) + 8 - len(different) - len(absent)
    failed = [line for line in result.outlines if line.startswith("FAILED")]
    assert len(failed) == len(different), failed
    result.assert_outcomes(passed=passed, failed=len(different), deselected=len(absent))
    assert all(f"test_idiom[{name}]" in result.stdout.str() for name in different)


# -- how they end ------------------------------------------------------------------------------------------------------

LEAVES = """
    import errno, gc, mmap, os, subprocess
    import pytest

    kept = []

    def used(path):
        status = os.statvfs(path.parent)
        return (status.f_blocks - status.f_bfree) * status.f_frsize

    def test_before(tmp_path):
        kept.append(used(tmp_path))

    def test_locked(tmp_path):
        (tmp_path / "d" / "e").mkdir(parents=True)
        (tmp_path / "d" / "e" / "f").write_bytes(bytes(1 << 20))
        (tmp_path / "d" / "e").chmod(0)
        (tmp_path / "d").chmod(0)
        tmp_path.chmod(0)

    def test_open_files(tmp_path):
        kept.append((tmp_path / "f").open("wb"))
        kept[-1].write(bytes(1 << 20))

    def test_working_directory(tmp_path):
        os.chdir(tmp_path)
        (tmp_path / "f").write_bytes(bytes(1 << 20))

    def test_it_was_brought_back():
        assert os.getcwd() == START

    def test_removed(tmp_path):
        tmp_path.rmdir()

    def test_replaced(tmp_path):
        tmp_path.rmdir()
        tmp_path.symlink_to("/etc")

    def test_replaced_by_a_file(tmp_path):
        tmp_path.rmdir()
        tmp_path.write_bytes(bytes(1 << 20))

    def test_deep(tmp_path):
        os.chdir(tmp_path)
        for _ in range(1000):
            os.mkdir("a" * 200)
            os.chdir("a" * 200)

    @pytest.fixture
    def later(tmp_path_factory):
        paths = []
        yield paths
        assert paths[0].read_text() == "potatoes"

    def test_a_fixture_that_came_before(later, tmp_path):
        (tmp_path / "f").write_text("potatoes")
        later.append(tmp_path / "f")

    def test_after(tmp_path):
        assert os.listdir("/etc") and [path.name for path in tmp_path.parent.iterdir()] == ["test_after0"]
        before, file = kept
        file.close()
        assert used(tmp_path) == before
"""


def test_what_tests_leave_is_freed(run: Run) -> None:
    run.inside(LEAVES.replace("START", repr(str(run.pytester.path))), "--verytmp").assert_outcomes(passed=11)


def test_a_working_directory_in_mktemp(run: Run) -> None:
    """It is left where it is, as pytest leaves it, until the directory goes."""
    code = """
        import os

        def test_leaves(tmp_path_factory):
            os.chdir(tmp_path_factory.mktemp("x"))

        def test_next():
            assert os.stat(".").st_ino != os.stat(START).st_ino
    """.replace("START", repr(str(run.pytester.path)))
    here = str(run.pytester.path)
    run(code, "--verytmp=confined").assert_outcomes(passed=2)
    assert os.getcwd() == here
    result = run.inside(code, "--verytmp", "-p", "no:terminal")
    assert result.ret == 0
    script = run.pytester.makepyfile(
        script=f"""
        import os, pytest
        before = os.environ.get("TMPDIR")
        assert pytest.main([*{ARGUMENTS!r}, "-q", "--verytmp", "test_it.py"]) == 0
        assert os.getcwd() == {here!r} and os.environ.get("TMPDIR") == before
        assert [name for name in os.listdir("/verytmp") if name != ".helper"] == []
        assert pytest.main([*{ARGUMENTS!r}, "-q", "--verytmp", "test_it.py"]) == 0
        """
    )
    assert run.pytester.run(sys.executable, script).ret == 0


def test_what_is_called_at_exit_finds_its_files(run: Run) -> None:
    result = run(
        """
        import atexit, os, tempfile

        def test_it(tmp_path_factory):
            folder = tempfile.mkdtemp()
            for path in tmp_path_factory.mktemp("d"), folder:
                atexit.register(lambda path=path: print(os.path.isdir(path)))
        """,
        "--verytmp",
        apart=True,
    )
    assert result.outlines[-2:] == ["True", "True"]


# -- limits, and other options -----------------------------------------------------------------------------------------

LIMITED = """
    import errno, os
    import pytest

    def fill(path):
        with pytest.raises(OSError) as caught:
            (path / "f").write_bytes(bytes(4 << 20))
        assert caught.value.errno == errno.ENOSPC

    @pytest.mark.verytmp(size="1m")
    def test_limited(tmp_path, tmp_path_factory):
        fill(tmp_path)
        assert os.path.ismount(tmp_path) and tmp_path.name == "test_limited0"
        os.chdir(tmp_path)
        assert os.getcwd() == str(tmp_path)
        with pytest.raises(OSError) as caught:
            os.rename(tmp_path / "f", tmp_path_factory.getbasetemp() / "f")
        assert caught.value.errno == errno.EXDEV

    def test_of_the_run(tmp_path, tmp_path_factory):
        assert not os.path.ismount(tmp_path)
        assert [path.name for path in tmp_path.parent.iterdir()] == ["test_of_the_run0"]
        fill(tmp_path_factory.mktemp("x"))

    @pytest.fixture(autouse=True)
    def descriptors():
        before = os.listdir("/proc/self/fd")
        yield
        assert os.listdir("/proc/self/fd") == before
"""


@pytest.mark.parametrize("how", ["option", "ini"])
def test_limits(run: Run, how: str) -> None:
    """Of a test, and of the run. And no descriptor of theirs is found by a test that looks for leaked ones."""
    if how == "ini":
        run.pytester.makeini("[pytest]\nverytmp = true\nverytmp_options = size=3m,mode=755\n")
    options = ["--verytmp", "--verytmp-options=size=3m"] if how == "option" else []
    run.inside(LIMITED, *options).assert_outcomes(passed=2)


def test_the_options_of_confined_roots(run: Run) -> None:
    run(
        """
        def test_it(tmp_path, verytmp_root):
            assert verytmp_root.usage().total == 3 << 20 and verytmp_root.usage().inodes.total == 100
        """,
        "--verytmp=confined",
        "--verytmp-options=size=3m,nr_inodes=100,noexec",
    ).assert_outcomes(passed=1)


@pytest.mark.parametrize("text", ["colour=red", "size", "noexec=1", "mode=rwx", "at=/work", "size=huge"])
def test_wrong_options(run: Run, text: str) -> None:
    result = run.inside("def test_it(): ...", "--verytmp", f"--verytmp-options={text}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "--verytmp-options: " in result.errlines[0]
    assert text.partition("=")[0] in result.errlines[0]


def test_a_base_directory_comes_first(run: Run, host: Path) -> None:
    result = run.inside(
        """
        import os, tempfile

        def test_it(tmp_path, tmp_path_factory):
            assert os.path.dirname(tmp_path) == BASE and tempfile.gettempdir().startswith("/verytmp/")
            (tmp_path / "f").touch()
        """.replace("BASE", repr(f"{host}/base")),
        "--verytmp",
        f"--basetemp={host}/base",
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["verytmp: TMPDIR in memory, *"])
    assert (host / "base" / "test_it0" / "f").exists()


def test_tmpdir_is_left(run: Run, host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_tmpdir(monkeypatch, host)
    code = f"""
        import os, tempfile

        def test_it(tmp_path):
            assert tempfile.gettempdir() == os.environ["TMPDIR"] == {str(host)!r} and str(tmp_path)[:3] == "/ve"
    """
    run.inside(code, "--verytmp", "--verytmp-no-tmpdir").assert_outcomes(passed=1)
    run.pytester.makeini("[pytest]\nverytmp_tmpdir = false\n")
    run.inside(code, "--verytmp").assert_outcomes(passed=1)


def test_real_tmp_path(run: Run, host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_DEBUG_TEMPROOT", raising=False)
    set_tmpdir(monkeypatch, host)
    code = f"""
        import pytest, tempfile

        @pytest.mark.real_tmp_path
        def test_marked(tmp_path, tmp_path_factory):
            assert str(tmp_path).startswith({str(host)!r}) and tmp_path.parent == tmp_path_factory.mktemp("x").parent
            (tmp_path / "f").touch()

        def test_other(tmp_path):
            assert str(tmp_path).startswith("/verytmp/") and tempfile.gettempdir().startswith("/verytmp/")
    """

    run.pytester.makepyfile(test_it=code)
    run.pytester.makeconftest("import os\nos.environ.pop('PYTEST_DEBUG_TEMPROOT', None)")  # pytester's
    run.inside("", "--verytmp").assert_outcomes(passed=2)
    assert [path.name for path in host.glob("pytest-of-*/pytest-0/test_marked0/f")] == ["f"]


# -- what a test puts out of order -------------------------------------------------------------------------------------

BREAKS = """
    import os, pathlib, posix

    def boom(*_, **__):
        raise RuntimeError("boom")

    def test_mocks_mkdir(monkeypatch, request):
        # As in a test that has a file system of its own: by pyfakefs, say.
        monkeypatch.setattr(pathlib.Path, "mkdir", lambda *_, **__: None)
        request.getfixturevalue("tmp_path")

    def test_mocks_functions(tmp_path, monkeypatch):
        for name in ("open", "listdir") if FAILS else ("readlink", "stat", "unlink", "rmdir", "getcwd"):
            monkeypatch.setattr(os, name, boom)
        assert not FAILS

    def test_mocks_for_good(tmp_path):
        (tmp_path / "f").touch()
        os.unlink = os.rmdir = boom

    def test_next(tmp_path, tmp_path_factory):
        os.unlink, os.rmdir = posix.unlink, posix.rmdir
        assert list(tmp_path.iterdir()) == [] and tmp_path_factory.mktemp("x").is_dir()
"""


def test_what_a_test_has_put_out_of_order(run: Run) -> None:
    run.inside(BREAKS.replace("FAILS", "False"), "--verytmp").assert_outcomes(passed=4)
    run.inside(BREAKS.replace("FAILS", "True"), "--verytmp").assert_outcomes(passed=3, failed=1)


# -- failures ----------------------------------------------------------------------------------------------------------

FAILS = """
    def test_fails(tmp_path):
        (tmp_path / "d").mkdir()
        (tmp_path / "d" / "f").write_text("potatoes")
        (tmp_path / "link").symlink_to("d/f")
        (tmp_path / "d").chmod(0)
        assert False
"""


def test_failures(run: Run) -> None:
    listed = ["*- verytmp -*", "tmp_path: /verytmp/*/pytest/test_fails0", "  d/", "  d/f  8", "  link -> d/f"]
    result = run.inside(FAILS, "--verytmp")
    result.stdout.fnmatch_lines([*listed, "to look at these files afterwards: --verytmp-keep=DIR"], consecutive=True)
    result = run.inside(FAILS, "--verytmp", "--verytmp-keep=kept")
    result.stdout.fnmatch_lines([*listed, f"kept in {run.pytester.path}/kept/test_it.py-test_fails"], consecutive=True)
    kept = run.pytester.path / "kept" / "test_it.py-test_fails" / "tmp_path"
    assert (kept / "link").readlink() == Path("d/f")
    assert (kept / "link").read_text() == "potatoes"
    result = run(FAILS, "--verytmp=confined")
    result.stdout.fnmatch_lines(["to look at these files*", "If this test passes with --verytmp, *"], consecutive=True)


# -- how the namespace is entered --------------------------------------------------------------------------------------

THREAD = """
    import os, threading

    print("imported", flush=True)
    thread = threading.Thread(target=threading.Event().wait, daemon=True)
    thread.start()
"""
STARTED = """
    import os, sys

    print("module read", flush=True)

    def test_it(tmp_path):
        print("run", os.getpid(), sys.orig_argv, file=sys.stderr, flush=True)
        assert os.path.realpath(tmp_path) == str(tmp_path)
        assert "VERYTMP_ENTERED" not in os.environ

    def test_fails(tmp_path):
        assert False
"""


@pytest.mark.parametrize("start", ["module", "ADDOPTS"])
def test_where_there_are_threads_it_is_started_anew(run: Run, start: str) -> None:
    """The same process, with the same arguments, before anything is collected."""
    run.pytester.makepyfile(starts_thread=THREAD, test_it=STARTED)
    options = [*ARGUMENTS, "-s", "-p", "starts_thread"]
    places = [str(run.pytester.path), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
    if start == "ADDOPTS":
        environment["PYTEST_ADDOPTS"] = "--verytmp"
    else:
        options.append("--verytmp")
    command = [sys.executable, "-m", "pytest", *options]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        out, err = process.communicate()
    assert process.returncode == 1, out + err
    assert [out.count(word) for word in ("imported", "module read", "session starts")] == [2, 1, 1]
    assert err == f"run {process.pid} {command}\n"
    assert "1 failed, 1 passed" in out


def test_where_it_cannot_be_started_anew(run: Run) -> None:
    """pytest is a part of this program, or of an IDE's, which is not to be run a second time."""
    run.pytester.makepyfile(starts_thread=THREAD, test_it=STARTED)
    code = """
        import pytest, sys
        print("begun")
        print(int(pytest.main([*ARGUMENTS, "--verytmp", "-s", "-p", "starts_thread", *sys.argv[1:]])))
    """.replace("ARGUMENTS", repr(ARGUMENTS))
    script = run.pytester.makepyfile(script=code)
    result = run.pytester.run(sys.executable, script)
    assert result.outlines == ["begun", "imported", "4"]
    result.stderr.fnmatch_lines(["ERROR: --verytmp: *one thread, and this one has 2 *; or take --verytmp=confined"])
    result = run.pytester.run(sys.executable, script, "--verytmp-fallback=tmp_path")
    assert result.outlines[-1] == "1"
    result.stdout.fnmatch_lines(["verytmp: no namespace, for this program has threads; tmp_path is pytest's own"])


@pytest.mark.skipif("not __import__('importlib').util.find_spec('xdist')", reason="xdist is not installed")
def test_xdist(run: Run, host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_tmpdir(monkeypatch, host)
    run.pytester.makeconftest("import os\nos.environ.pop('PYTEST_DEBUG_TEMPROOT', None)")  # pytester's
    result = run(
        """
        import os, tempfile
        import pytest

        @pytest.mark.parametrize("number", range(6))
        def test_it(tmp_path, tmp_path_factory, number):
            worker = os.environ["PYTEST_XDIST_WORKER"]
            common = tmp_path_factory.getbasetemp().parent
            assert tmp_path.parent == common / f"popen-{worker}" and common.parent.parent.name == "verytmp"
            assert tempfile.gettempdir() == f"{common.parent}/tmp"
            (common / f"{worker}-{number}").touch()
            os.rename(tmp_path, common / f"moved-{number}")

        @pytest.mark.verytmp(size="1m")
        def test_limited(tmp_path):
            assert os.statvfs(tmp_path).f_blocks == 256

        @pytest.mark.real_tmp_path
        def test_real(tmp_path):
            (tmp_path / "f").touch()
        """,
        "-p", "xdist.plugin", "-n", "2", "--verytmp",
        apart=True,
    )  # fmt: skip
    result.assert_outcomes(passed=8)
    result.stdout.fnmatch_lines(["verytmp: tmp_path and TMPDIR in memory, *"])
    assert [path.name for path in host.glob("pytest-of-*/pytest-0/test_real0/f")] == ["f"]
    assert len(list(host.iterdir())) == 1


def test_with_threads_in_a_run(run: Run) -> None:
    """As pytest-xdist's --looponfail runs it: in a child with threads, which is in its parent's namespace."""
    code = """
        import sys, threading
        import pytest

        threading.Thread(target=threading.Event().wait, daemon=True).start()
        sys.exit(pytest.main(sys.argv[1:]))
    """
    run.pytester.makepyfile(inner=code, within="def test_it(tmp_path): assert str(tmp_path).startswith('/verytmp/')")
    run.inside(
        f"""
        import subprocess, sys

        def test_it(tmp_path):
            subprocess.run([sys.executable, "inner.py", *{ARGUMENTS!r}, "--verytmp", "within.py"], check=True)
            (tmp_path / "f").touch()
        """,
        "--verytmp",
    ).assert_outcomes(passed=1)


def test_a_run_in_a_run(run: Run) -> None:
    """As in the tests of a plugin: each has its own root."""
    run.inside(
        """
        import sys

        pytest_plugins = ["pytester"]
        code = "def test_it(tmp_path): assert str(tmp_path).startswith('/verytmp/') and str(tmp_path)[:17] != 'OURS'"
        options = ["-p", "verytmp.pytest_plugin", "-p", "no:cacheprovider", "--verytmp"]

        def test_it(pytester, tmp_path):
            pytester.makepyfile(test_inner=code.replace("OURS", str(tmp_path)[:17]))
            pytester.runpytest_inprocess(*options).assert_outcomes(passed=1)
            pytester.run(sys.executable, "-m", "pytest", *options).assert_outcomes(passed=1)
            (tmp_path / "f").touch()
            pytester.runpytest_inprocess("-p", "verytmp.pytest_plugin").assert_outcomes(failed=1)
        """,
        "--verytmp",
    ).assert_outcomes(passed=1)


def test_this_process_has_entered_nothing() -> None:
    with VeryTmpRoot() as root:
        assert not root.path.joinpath("f").exists()
    assert not Path("/verytmp").exists()
