"""How the plugin's roots end: whatever a test leaves there, and however the run ends, nothing stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.children import processes_with
from support.runs import ARGUMENTS, Run

LEAVES = {
    "locked": "tmp_path.chmod(0)",
    "locked below": "(tmp_path / 'd').mkdir(); (tmp_path / 'd' / 'e').mkdir(); (tmp_path / 'd').chmod(0)",
    "open files": "kept.append((tmp_path / 'f').open('w'))",
    "a full file system": """
        with pytest.raises(OSError) as caught:
            (tmp_path / "f").write_bytes(bytes(2 << 20))
        assert caught.value.errno == errno.ENOSPC""",
    "a working directory": "os.chdir(tmp_path)",
    "a removed directory": "tmp_path.rmdir()",
    "a child": "kept.append(subprocess.Popen(['sleep', '60'], cwd=tmp_path))",
    "a closed root": "os.close(os.open(tmp_path, os.O_RDONLY)); kept.append(tmp_path)",
    "a mapping": """
        (tmp_path / "f").write_bytes(bytes(4096))
        with open(tmp_path / "f", "r+b") as file:
            kept.append(mmap.mmap(file.fileno(), 4096))""",
}

# The private tmpfs that a process has open.
DEVICES = """
    import errno, gc, mmap, os, stat, subprocess
    import pytest

    def devices():
        found = set()
        for number in os.listdir("/proc/self/fd"):
            try:
                status = os.stat(f"/proc/self/fd/{number}")
                if stat.S_ISDIR(status.st_mode) and os.readlink(f"/proc/self/fd/{number}").startswith("/dev/null"):
                    found.add(status.st_dev)
            except OSError:
                pass
        return found
"""

AROUND = """
    kept = []

    @pytest.mark.verytmp(size="1m")
    def test_leaves(tmp_path):
        BODY

    def test_next(tmp_path):
        assert os.getcwd() == START
        assert list(tmp_path.iterdir()) == []
        (tmp_path / "f").write_text("potatoes")
        for left in kept:
            if isinstance(left, subprocess.Popen):
                assert left.poll() is None
                left.kill()
                left.wait()
            elif hasattr(left, "close"):
                left.close()
        kept.clear()

    def test_last():
        gc.collect()
        assert devices() == set()
"""


@pytest.mark.parametrize("leaves", LEAVES)
def test_what_a_test_leaves(run: Run, leaves: str) -> None:
    code = DEVICES + AROUND.replace("BODY", LEAVES[leaves]).replace("START", repr(str(run.pytester.path)))
    run(code, "--verytmp=confined").assert_outcomes(passed=3)


def test_a_child_goes_on(run: Run) -> None:
    """With its working directory and its open file, until it ends."""
    run(
        """
        import subprocess

        children = []

        def test_starts(tmp_path):
            (tmp_path / "f").write_text("potatoes")
            children.append(subprocess.Popen(["sh", "-c", "read go; cat f; echo more > g; cat g"], cwd=tmp_path,
                                             stdin=subprocess.PIPE, stdout=subprocess.PIPE))

        def test_asks():
            with children.pop() as child:
                assert child.communicate(b"go\\n") == (b"potatoesmore\\n", None)
        """,
        "--verytmp=confined",
    ).assert_outcomes(passed=2)


@pytest.mark.parametrize("option", ["--verytmp", "--verytmp=confined", "--capture=no"], ids=["named", "", "plain"])
def test_kill_9_in_the_middle(run: Run, host: Path, option: str) -> None:
    """Of pytest, which has no time to do anything. Its own tmp_path shows what would be found."""
    mark = f"verytmp-test-{os.getpid()}-{option}"
    run.pytester.makepyfile(
        test_it="""
        import time

        def test_it(tmp_path, tmp_path_factory, verytmp_path):
            for folder in tmp_path, tmp_path_factory.mktemp("folder"), verytmp_path:
                (folder / "f").write_bytes(bytes(1 << 20))
            open("there", "w").close()
            time.sleep(60)
        """
    )
    environment = {
        **os.environ,
        "PYTEST_DEBUG_TEMPROOT": str(host),
        "MARK": mark,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", *ARGUMENTS, option], env=environment, stdout=subprocess.DEVNULL
    ) as process:
        try:
            while not Path("there").exists():
                assert process.poll() is None
                time.sleep(0.01)
            seen = [*Path(f"/proc/{process.pid}/root").glob("verytmp/*/pytest/test_it0/f")]
            assert len(seen) == (option == "--verytmp")  # the way in, for a user at another terminal
        finally:
            process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while processes_with(mark) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert processes_with(mark) == []
    left = [path for path in host.rglob("f") if path.is_file()]
    assert len(left) == (0 if option.startswith("--verytmp") else 2)


def test_memory_does_not_grow(run: Run) -> None:
    """There is one tmpfs at a time, and a descriptor's number comes back."""
    run(
        DEVICES
        + """
    numbers = set()

    @pytest.mark.parametrize("number", range(40))
    def test_it(tmp_path, number):
        (tmp_path / "f").write_bytes(bytes(8 << 20))
        assert len(devices()) == 1
        numbers.add(len(os.listdir("/proc/self/fd")))
        assert len(numbers) <= 2
        """,
        "--verytmp=confined",
    ).assert_outcomes(passed=40)


def test_a_root_ends_before_the_fixtures_that_it_came_after(run: Run) -> None:
    run(
        """
        import pytest

        @pytest.fixture(autouse=True)
        def last():
            roots = []
            yield roots
            assert all(root.closed for root in roots)

        def test_it(last, verytmp_root, tmp_path):
            last.append(verytmp_root)
        """,
        "--verytmp=confined",
    ).assert_outcomes(passed=1)


def test_a_root_that_a_test_closes(run: Run) -> None:
    run(
        """
        def test_it(verytmp_root):
            with verytmp_root:
                (verytmp_root / "f").touch()
            verytmp_root.close()
        """
    ).assert_outcomes(passed=1)


def test_a_working_directory_that_is_gone(run: Run) -> None:
    """Not ours, and so it stays as it is."""
    run(
        """
        import os
        import pytest

        def test_it(tmp_path):
            os.mkdir("gone")
            os.chdir("gone")
            os.rmdir("../gone")

        def test_next(tmp_path):
            with pytest.raises(FileNotFoundError):
                os.getcwd()
        """,
        "--verytmp=confined",
    ).assert_outcomes(passed=2)
