"""What the plugin says of a failed test, and what it keeps."""

from __future__ import annotations

import os

import pytest
from support.runs import Run

# --  ------------------------------------------------------------------------------------------------------------------

FAILS = r"""
    import os
    import pytest

    def test_fails(tmp_path, verytmp_root):
        (tmp_path / "d").mkdir()
        (tmp_path / "d" / "f.txt").write_text("potatoes")
        (tmp_path / "d" / "locked").mkdir()
        (tmp_path / "d" / "locked" / "g").write_bytes(bytes(5000))
        (tmp_path / "d" / "locked" / "g").chmod(0)
        (tmp_path / "d" / "locked").chmod(0)
        (tmp_path / "link").symlink_to("/etc/passwd")
        (tmp_path / "a\nb").touch()
        os.mkfifo(tmp_path / "pipe")
        (verytmp_root / "more").touch()
        assert False

    def test_passes(tmp_path):
        (tmp_path / "nothing to see").touch()

    @pytest.mark.xfail
    def test_xfails(tmp_path):
        (tmp_path / "nothing to see").touch()
        assert False
"""

LISTED = [
    "*- verytmp -*",
    "tmp_path: * bytes",
    "  test_fails0/",
    "  test_fails0/a\\nb  0",
    "  test_fails0/d/",
    "  test_fails0/d/f.txt  8",
    "  test_fails0/d/locked/",
    "  test_fails0/d/locked/g  5,000",
    "  test_fails0/link -> /etc/passwd",
    "  test_fails0/pipe  (neither file nor directory)",
    "verytmp_root: 0 bytes",
    "  more  0",
]


def test_a_failure_is_listed(run: Run) -> None:
    result = run(FAILS, "--verytmp=confined")
    result.assert_outcomes(passed=1, failed=1, xfailed=1)
    first = result.outlines.index(next(line for line in result.outlines if "- verytmp -" in line))
    result.stdout.fnmatch_lines(LISTED, consecutive=True)
    assert "nothing to see" not in result.stdout.str()
    assert not [line for line in result.outlines[first:] if "kept" in line]
    assert "- verytmp -" not in run(FAILS, "--verytmp=confined", "--show-capture=no").stdout.str()


@pytest.mark.parametrize("way", ["option", "ini"])
def test_a_failure_is_kept(run: Run, way: str) -> None:
    path = run.pytester.path / "here" / "failures"
    if way == "ini":
        run.pytester.makeini("[pytest]\nverytmp_keep = here/failures\n")
    options = ["--verytmp-keep=here/failures"] if way == "option" else []
    result = run(FAILS, "--verytmp=confined", *options)
    result.assert_outcomes(passed=1, failed=1, xfailed=1)
    folder = path / "test_it.py-test_fails"
    result.stdout.fnmatch_lines(
        [*LISTED, f"kept in {folder}", "  not kept: test_fails0/pipe: neither file nor directory"], consecutive=True
    )
    assert sorted(str(found.relative_to(path)) for found in path.rglob("*")) == [
        "test_it.py-test_fails",
        *(
            f"test_it.py-test_fails/{name}"
            for name in (
                "tmp_path",
                "tmp_path/test_fails0",
                "tmp_path/test_fails0/a\nb",
                "tmp_path/test_fails0/d",
                "tmp_path/test_fails0/d/f.txt",
                "tmp_path/test_fails0/d/locked",
                "tmp_path/test_fails0/d/locked/g",
                "tmp_path/test_fails0/link",
                "verytmp_root",
                "verytmp_root/more",
            )
        ),
    ]
    kept = folder / "tmp_path" / "test_fails0"
    assert (kept / "d" / "f.txt").read_text() == "potatoes"
    assert (kept / "d" / "locked" / "g").read_bytes() == bytes(5000)
    assert os.readlink(kept / "link") == "/etc/passwd"
    again = run(FAILS, "--verytmp=confined", *options)
    again.stdout.fnmatch_lines([f"kept in {folder}.1"])
    assert (kept / "d" / "f.txt").exists()


def test_a_file_is_no_place_to_keep_failures(run: Run) -> None:
    result = run("def test_it(): pass", "--verytmp-keep", "test_it.py")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--verytmp-keep takes a directory, and */test_it.py is not one"])


def test_failures_around_the_test(run: Run) -> None:
    """In a fixture that is set up, and, where it is kept, in one that is torn down: the root is there until then."""
    result = run(
        """
        import pytest

        @pytest.fixture
        def breaks(tmp_path):
            (tmp_path / "before").touch()
            raise ValueError

        @pytest.fixture
        def breaks_later(verytmp_path):
            yield
            (verytmp_path / "after").touch()
            raise ValueError

        roots = []

        def test_one(breaks): ...

        @pytest.mark.parametrize("name", [0], ids=["/etc/../x" * 40])
        def test_two(verytmp_root, breaks_later, name):
            roots.append(verytmp_root)

        def test_three():
            assert roots.pop().closed
        """,
        "--verytmp=confined",
        "--verytmp-keep=kept",
    )
    result.assert_outcomes(passed=2, errors=2)
    kept = sorted(str(path.relative_to(run.pytester.path)) for path in run.pytester.path.glob("kept/*/*/**/*"))
    assert kept[0] == "kept/test_it.py-test_one/tmp_path/test_one0"
    assert kept[1] == "kept/test_it.py-test_one/tmp_path/test_one0/before"
    assert kept[2].startswith("kept/test_it.py-test_two[-etc-..-x-etc-..-x")
    assert kept[2].endswith("/verytmp_root/after")
    assert len(kept) == 3


def test_what_a_failed_test_has_stays_as_it_is(run: Run) -> None:
    """Its fixtures are still to be torn down."""
    run(
        """
        import pytest

        @pytest.fixture
        def folder(tmp_path):
            folder = tmp_path / "d"
            yield folder
            assert folder.stat().st_mode & 0o777 == 0o100
            folder.chmod(0o700)
            assert (folder / "e").stat().st_mode & 0o777 == 0

        def test_it(folder):
            (folder / "e").mkdir(parents=True)
            (folder / "e").chmod(0)
            folder.chmod(0o100)
            assert False
        """,
        "--verytmp=confined",
        "--verytmp-keep=kept",
    ).assert_outcomes(failed=1)


def test_where_nothing_can_be_kept(run: Run) -> None:
    (run.pytester.path / "kept").touch()
    result = run(FAILS, "--verytmp=confined", "--verytmp-keep=kept/below")
    result.assert_outcomes(passed=1, failed=1, xfailed=1)
    result.stdout.fnmatch_lines(
        [*LISTED, "not kept: [[]Errno 20[]] Not a directory: *kept/below/test_it.py-test_fails'"]
    )


def test_a_large_tree_is_listed_in_part(run: Run) -> None:
    result = run(
        """
        def test_it(verytmp_path):
            for number in range(5000):
                (verytmp_path / f"{number:05}").touch()
            directory = verytmp_path / "deep"
            for _ in range(100):
                directory /= "n" * 100
            directory.mkdir(parents=True)
            assert False
        """
    )
    result.assert_outcomes(failed=1)
    shown = [f"  {number:05}  0" for number in range(40)]
    result.stdout.fnmatch_lines(["verytmp_root: * bytes", *shown, "  ... and more"], consecutive=True)


@pytest.mark.slow
def test_a_large_tree_is_kept_whole(run: Run) -> None:
    run(
        """
        def test_it(verytmp_path):
            for number in range(2000):
                (verytmp_path / f"{number % 50}" / f"{number}").mkdir(parents=True)
                (verytmp_path / f"{number % 50}" / f"{number}.txt").write_text(str(number))
            (verytmp_path / "7").chmod(0)
            verytmp_path.chmod(0)
            assert False
        """,
        "--verytmp-keep=kept",
    ).assert_outcomes(failed=1)
    kept = run.pytester.path / "kept" / "test_it.py-test_it" / "verytmp_root"
    assert {file.name: file.read_text() for file in kept.glob("*/*.txt")} == {f"{n}.txt": str(n) for n in range(2000)}
    assert sum(path.is_dir() for path in kept.glob("*/*")) == 2000


ODD = [
    "",
    " ",
    ".",
    "..",
    "a/b",
    "a b",
    "a-b",
    "../../../x",
    "ä" * 300,
    "x" * 5000,
    "\n",
    "[",
    "]",
    "~",
    "-rf",
    "$HOME",
]


def test_odd_ids(run: Run) -> None:
    """Each failed test has a directory of its own, right in DIR, whatever it is called."""
    result = run(
        f"""
        import pytest

        @pytest.mark.parametrize("number", range({len(ODD)}), ids={ODD!r})
        def test_it(tmp_path, number):
            (tmp_path / "which").write_text(str(number))
            assert False
        """,
        "--verytmp=confined",
        "--verytmp-keep=kept",
    )
    result.assert_outcomes(failed=len(ODD))
    kept = run.pytester.path / "kept"
    found = sorted(int(file.read_text()) for file in kept.glob("*/tmp_path/*/which"))
    assert found == list(range(len(ODD)))
    assert len(list(kept.iterdir())) == len(ODD)
    assert {path.name for path in run.pytester.path.iterdir()} <= {"kept", "test_it.py"}


def test_deep_trees_and_long_names(run: Run) -> None:
    result = run(
        """
        def test_it(verytmp_path):
            directory = verytmp_path
            for _ in range(60):
                directory /= "n" * 100
            directory.mkdir(parents=True)
            (directory / "f").touch()
            assert False
        """,
        "--verytmp-keep=kept",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["  " + "n" * 100 + "/" + "n" * 59 + "...*", "  not kept: *: File name too long"])


def test_what_a_private_tmpfs_has_not_is_said(run: Run) -> None:
    result = run(
        """
        import os
        import subprocess
        import sys

        def test_directory(tmp_path):
            os.chdir(tmp_path)
            os.getcwd()

        def test_canonical_path(tmp_path):
            os.mkdir(os.path.realpath(tmp_path) + "/d")

        def test_program(tmp_path):
            code = "import sys; sys.exit('unable to get current ' + 'working directory')"  # as git says it
            subprocess.run([sys.executable, "-c", code], check=True)

        def test_database(tmp_path):
            raise ValueError("unable to open database file")  # as SQLite says it, where it canonicalises paths

        def test_link(tmp_path):
            (tmp_path / "link").symlink_to(tmp_path / "f")
            open(tmp_path / "link")

        def test_other(tmp_path):
            assert False
        """,
        "--verytmp=confined",
    )
    result.assert_outcomes(failed=6)
    assert result.stdout.str().count("give it a directory on the host: @pytest.mark.real_tmp_path") == 4
    assert result.stdout.str().count("give this test a directory on the host: @pytest.mark.real_tmp_path") == 1


UNLOADED = """
    import os
    import pytest

    @pytest.fixture
    def limited():
        import resource
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        yield lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (4, limits[1]))
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    def boom(*_, **__):
        raise RuntimeError("boom")

    def test_patched(tmp_path, monkeypatch):
        monkeypatch.setattr(os, "open", boom)
        monkeypatch.setattr(os, "listdir", boom)
        assert False

    def test_without_descriptors(limited, tmp_path):
        limited()
        assert False

    def test_patched_to_the_end(monkeypatch, tmp_path):
        monkeypatch.setattr(os, "stat", boom)

    def test_next(tmp_path):
        (tmp_path / "f").touch()
"""


def test_what_a_test_has_put_out_of_order(run: Run) -> None:
    """Its patches and limits are still in force when it is reported. That ends neither the run nor the next test."""
    result = run(UNLOADED, "--verytmp=confined")
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(["*what the test has in its roots cannot be shown: RuntimeError('boom')"])
