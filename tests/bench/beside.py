"""--verytmp beside pytest-shm, where they differ: ``python tests/bench/beside.py``, as root, where pytest-shm is.

Each line of the table is a run of tests with each of the two, in a mount namespace with a /dev/shm and a /tmp of its
own, and what was found: where the test's files were, and which stayed. By hand; the table is written into
docs/pytest.md. It takes a minute, on any machine: nothing in it is a time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "pytest.md"
BEGIN, END = "<!-- written by tests/bench/beside.py -->\n", "<!-- to here too -->"
WAYS = {
    f"pytest-shm {version('pytest-shm')}": ("-p", "pytest_shm.plugin"),
    "`--verytmp`": ("-p", "verytmp.pytest_plugin", "--verytmp"),
}
MIB = 1 << 20

TEST = """
import json, os, signal, subprocess, sys, tempfile
from pathlib import Path
import pytest

WHAT = os.environ["WHAT"]

def place(path):
    shown, fstype = "", ""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, at, kind, *_ = line.split()
        if path.is_relative_to(at) and len(at) >= len(shown):
            shown, fstype = at, kind
    return "in /dev/shm" if shown == "/dev/shm" else "in a private tmpfs" if fstype == "tmpfs" else "on disk"

@pytest.mark.parametrize("number", range(20 if WHAT == "many" else 1))
def test_it(tmp_path, tmp_path_factory, number):
    base = tmp_path_factory.getbasetemp()
    found = {"place": place(tmp_path)}
    (Path(tempfile.mkdtemp()) / "f").write_bytes(bytes(1))
    try:
        (tmp_path / "f").write_bytes(bytes(MIB * (80 if WHAT == "much" else 1)))
    except OSError as error:
        found["error"] = os.strerror(error.errno)
    found["held"] = sum(path.stat().st_size for path in base.parent.rglob("f"))
    found["others"] = sum(path.is_dir() and path != base for path in base.parent.glob("pytest-*[0-9]"))
    if WHAT == "two":
        again = [*json.loads(os.environ["COMMAND"]), f"--rootdir={Path.cwd()}"]
        environment = {**os.environ, "WHAT": "", "TMPDIR": ""}
        del environment["TMPDIR"]
        subprocess.run(again, env=environment, check=True)
        return
    Path(os.environ["FOUND"]).write_text(json.dumps(found))
    if WHAT in ("SIGKILL", "SIGTERM"):
        os.kill(os.getpid(), getattr(signal, WHAT))
    assert WHAT != "fails"
""".replace("MIB", str(MIB))

# The process that mounts; pytest is its child.
START = f"""
import json, os, subprocess, sys
sys.path.insert(0, {str(TESTS)!r})
from support import kernel, refusals

mount, refused, *command = sys.argv[1:]
assert kernel.private_mounts()
subprocess.run(["mount", "-t", "tmpfs", "-o", mount, "shm", "/dev/shm"], check=True)
over = f"lowerdir=/tmp,upperdir={{os.getcwd()}}/disk,workdir={{os.getcwd()}}/work"  # Python may be in /tmp
subprocess.run(["mount", "-t", "overlay", "-o", over, "tmp", "/tmp"], check=True)
os.environ["COMMAND"] = json.dumps(command)
subprocess.run(command, preexec_fn=refusals.docker if refused else None, stdout=subprocess.DEVNULL)
found = [os.path.join(at, name) for top in ("/dev/shm", "disk") for at, _, names in os.walk(top) for name in names]
print(sum(os.path.basename(path) == "f" for path in found))
"""


class Situation(NamedTuple):
    """A line of the table."""

    title: str
    what: str = ""
    mount: str = "size=4g"
    refused: bool = False
    options: tuple[tuple[str, ...], ...] = ((), ())  # for each way
    variables: tuple[tuple[str, str], ...] = ()


SITUATIONS = [
    Situation("usually"),
    Situation("20 tests of 1 MiB: in memory at the end", "many"),
    Situation("a test that fails", "fails"),
    Situation("`kill -9`", "SIGKILL"),
    Situation("SIGTERM", "SIGTERM"),
    Situation("`TMPDIR` is set", variables=(("TMPDIR", "/tmp"),)),
    Situation("`/dev/shm` is `noexec`", mount="size=4g,noexec"),
    Situation("`/dev/shm` of 64 MiB, as in Docker", mount="size=64m"),
    Situation("the same, and a test of 80 MiB", "much", "size=64m"),
    Situation("the same, with `shm_min_free_gib=0`", "much", "size=64m", options=(("-o", "shm_min_free_gib=0"), ())),
    Situation("namespaces are refused, as in Docker", refused=True),
    Situation("the same, `--verytmp-fallback=shm`", refused=True, options=((), ("--verytmp-fallback=shm",))),
    Situation("two runs at once: the second sees", "two"),
]


def cell(situation: Situation, options: tuple[str, ...], folder: Path) -> str:
    """What was found in a run."""
    report = folder / "found"
    report.unlink(missing_ok=True)
    (folder / "test_it.py").write_text(TEST)
    for before in (folder / "disk").iterdir():
        subprocess.run(["rm", "-rf", before], check=True)
    environment = {
        **{name: value for name, value in os.environ.items() if name not in ("TMPDIR", "TEMP", "TMP")},
        **dict(situation.variables),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "WHAT": situation.what,
        "FOUND": str(report),
    }
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, "test_it.py"]
    start = [sys.executable, "-c", START, situation.mount, "refused" if situation.refused else "", *pytest]
    left = int(subprocess.run(start, cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout)
    if not report.exists():
        return "its tests fail, and say why"
    found: dict[str, Any] = json.loads(report.read_text())
    if situation.what == "many":
        return f"{found['held'] / MIB:.0f} MiB"
    if situation.what == "two":
        return "the first one's directories" if found["others"] else "nothing of the first"
    words = found["place"]
    words += f": {found['error']}" if "error" in found else ""
    return f"{words}; {left or 'no'} file{'s' * (left != 1)} stay{'s' * (left == 1)}"


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="verytmp-beside-", dir="/var/tmp"))
    (folder / "disk").mkdir()
    (folder / "work").mkdir()
    lines = [f"| | {' | '.join(WAYS)} |", f"|---{'|---' * len(WAYS)}|"]
    try:
        for situation in SITUATIONS:
            runs = zip(WAYS.values(), situation.options, strict=True)
            cells = [cell(situation, way + options, folder) for way, options in runs]
            lines.append(f"| {' | '.join([situation.title, *cells])} |")
            print(lines[-1], flush=True)
    finally:
        subprocess.run(["rm", "-rf", folder], check=True)
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}{chr(10).join(lines)}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
