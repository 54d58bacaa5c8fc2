"""What users do, from beginning to end: ``python tests/bench/jobs.py [ROUNDS]``.

Each job is a few programs that start in an empty directory, which is gone afterwards: in a root with a name, in
`tempfile.TemporaryDirectory` on disk and on /dev/shm, and in bubblewrap's private directory. The time is that of all of
it: the directory is made, the programs run, and it goes. In turns. By hand; without ROUNDS, the table takes its place
in docs/performance.md.
"""

from __future__ import annotations

import ensurepip
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from support import kernel

from bench.machine import described, python
from bench.page import write_apart
from verytmp import VeryTmpRoot

DOCS = Path(__file__).parents[2] / "docs"
ROUNDS = 5
TESTS, SOURCES, COMMITTED, INSERTED = 1000, 24, 400, 100_000
DISK = "/var/tmp"
PLACE = "/mnt"  # where bubblewrap mounts

SUITE = f"""
import pytest
@pytest.mark.parametrize("number", range({TESTS}))
def test_it(tmp_path, number):
    (tmp_path / "f").write_bytes(bytes(4096))
    assert (tmp_path / "f").read_bytes() == bytes(4096)
"""
SQLITE = f"""
import sqlite3
connection = sqlite3.connect("d.db")
connection.execute("create table t (a integer primary key, b text)")
for number in range({INSERTED}):
    connection.execute("insert into t (b) values (?)", (str(number),))
    if number % 500 == 499:
        connection.commit()
connection.close()
"""
BUILD = f"""
names = [f"part{{number}}" for number in range({SOURCES})]
for name in names:
    open(f"{{name}}.c", "w").write(f"#include <stdlib.h>\\nint {{name}}(void) {{{{ return 1; }}}}\\n")
open("main.c", "w").write("int main(void) {{ return 0; }}\\n")
objects = " ".join(f"{{name}}.o" for name in ["main", *names])
open("Makefile", "w").write(f"program: {{objects}}\\n\\t$(CC) -o $@ $^\\n")
"""


def jobs(sources: Path) -> dict[str, list[list[str]]]:
    """The programs of each job. *sources* is a directory of the host's for what they begin with."""
    python = sys.executable
    wheel = next(str(file) for file in (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"))
    (sources / "test_suite.py").write_text(SUITE)
    pytest = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--basetemp=base"]
    found = {
        "unpack a wheel, and run it": [
            [python, "-m", "zipfile", "-e", wheel, "."],
            [python, "-I", "pip/__main__.py", "--version"],
        ],
        f"a suite of {TESTS:,} tests": [[*pytest, f"--rootdir={sources}", f"{sources}/test_suite.py"]],
        f"SQLite: {INSERTED:,} rows": [[python, "-c", SQLITE]],
    }
    if shutil.which("git"):
        git = ["git", "-c", "user.name=n", "-c", "user.email=e"]
        repository = sources / "repository"
        repository.mkdir()
        for number in range(COMMITTED):
            (repository / f"{number}.txt").write_text("potatoes\n" * number)
        for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
            subprocess.run([*git, *arguments], cwd=repository, check=True)
        clone = ["git", "clone", "-q", "--no-local", str(repository), "."]
        found["git: clone, change, commit"] = [
            clone,
            ["sh", "-c", "for name in *.txt; do echo more >> $name; done"],
            [*git, "commit", "-qam", "more"],
        ]
    if shutil.which("gcc") and shutil.which("make"):
        found[f"build {SOURCES} C files"] = [[python, "-c", BUILD], ["make", "-s", "-j2", "CC=gcc"]]
    return found


def in_root(commands: list[list[str]]) -> None:
    with VeryTmpRoot(at=True) as root:
        for command in commands:
            root.run(command, check=True, stdout=subprocess.DEVNULL)


def in_directory_of(place: str) -> Callable[[list[list[str]]], None]:
    def run(commands: list[list[str]]) -> None:
        with tempfile.TemporaryDirectory(dir=place) as folder:
            for command in commands:
                subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)

    return run


def in_bubblewrap(commands: list[list[str]]) -> None:
    own = [] if kernel.may_mount() else ["--unshare-user"]
    inside = ["bwrap", *own, "--dev-bind", "/", "/", "--tmpfs", PLACE, "--chdir", PLACE]
    script = " && ".join(map(shlex.join, commands))
    subprocess.run([*inside, "sh", "-c", script], check=True, stdout=subprocess.DEVNULL)


def measured(rounds: int) -> Iterator[tuple[str, dict[str, list[float]]]]:
    places: dict[str, Callable[[list[list[str]]], None]] = {
        "verytmp": in_root,
        "tempfile, disk": in_directory_of(DISK),
        "tempfile, /dev/shm": in_directory_of("/dev/shm"),
    }
    if shutil.which("bwrap"):
        places["bubblewrap"] = in_bubblewrap
    with tempfile.TemporaryDirectory(prefix="verytmp-bench-") as sources:
        os.chmod(sources, 0o755)
        for job, commands in jobs(Path(sources)).items():
            print(f"measuring {job} ...", file=sys.stderr, flush=True)
            times: dict[str, list[float]] = {name: [] for name in places}
            for turn in range(rounds + 1):
                for name, run in places.items():
                    start = time.perf_counter()
                    run(commands)
                    if turn:  # the first one reads what the later ones find in memory
                        times[name].append(time.perf_counter() - start)
            yield job, times


def table(rounds: int) -> Iterator[str]:
    rows: list[tuple[str, dict[str, Any]]] = list(measured(rounds))
    names = list(rows[0][1])
    yield f"|  | {' | '.join(names)} |"
    yield f"| --- |{' --- |' * len(names)}"
    for job, times in rows:
        ours = times["verytmp"]
        cells = [f"{statistics.median(ours):.2f} s"]
        for name in names[1:]:
            ratio = statistics.median(a / b for a, b in zip(ours, times[name], strict=True))
            cells.append(f"{statistics.median(times[name]):.2f} s ({ratio:.2f})")
        yield f"| {job} | {' | '.join(cells)} |"
    yield ""
    who = "root" if os.geteuid() == 0 else "an ordinary user"
    yield f"The median of {rounds} rounds; {', '.join(described().values())}, as {who}."


def main(arguments: list[str]) -> None:
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    text = "\n".join(table(int(arguments[0]) if arguments else ROUNDS)) + "\n"
    print(text)
    if not arguments:
        write_apart(DOCS, "jobs", python(), text)


if __name__ == "__main__":
    main(sys.argv[1:])
