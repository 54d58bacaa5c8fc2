"""What a root with a name costs, and a program in it: ``python tests/bench/programs.py [ROUNDS]``.

A named root is made beside a nameless one, and beside bubblewrap's private directory, with a program that does nothing.
Then such a program is started by `subprocess.run`, by the root's `run`, and by bubblewrap: from a process with one
thread and from one with many, which may mount, or not. All in turns. By hand; without ROUNDS, the table takes its place
in docs/how-to/run-programs.md.
"""

from __future__ import annotations

import compileall
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support import kernel
from support.children import in_child

import verytmp
from bench.machine import described
from verytmp import VeryTmpRoot

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "run-programs.md"
BEGIN, END = "<!-- written by tests/bench/programs.py -->\n", "<!-- to here -->"

ROUNDS = 31
THREADS = 8
BWRAP = ["bwrap", "--dev-bind", "/", "/", "--tmpfs", "/mnt", "true"]

Times = dict[str, float]  # milliseconds


def nameless() -> None:
    VeryTmpRoot(size="64m").close()


def named() -> None:
    VeryTmpRoot(size="64m", at="/work").close()


def program() -> None:
    subprocess.run(["true"], check=True)


def by_bwrap() -> None:
    own = [] if kernel.may_mount() else ["--unshare-user"]  # which it does unasked for anybody but root
    subprocess.run([BWRAP[0], *own, *BWRAP[1:]], check=True)


def measured(rounds: int, mounts: bool, threads: int) -> Times:
    """In a process of its own: the least that each takes."""

    def child() -> Times:
        if not mounts:
            kernel.drop_capabilities(kernel.CAP_SYS_ADMIN)
        stop = threading.Event()
        for _ in range(threads - 1):
            threading.Thread(target=stop.wait).start()
        try:
            with VeryTmpRoot(size="64m", at="/work") as root:
                return in_turns(rounds, root)
        finally:
            stop.set()

    found: Times = in_child(child)
    return found


def in_turns(rounds: int, root: VeryTmpRoot) -> Times:
    calls: dict[str, Callable[[], object]] = {
        "a root without a name": nameless,
        "a root with a name": named,
        "`subprocess.run`": program,
        "`root.run`": lambda: root.run(["true"], check=True),
    }
    if shutil.which(BWRAP[0]):
        calls["bubblewrap: both in one"] = by_bwrap
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            taken[name].append((time.perf_counter() - start) * 1000)
    return {name: min(times) for name, times in taken.items()}  # others on the machine only ever add


def table(rounds: int) -> Iterator[str]:
    columns = {"it may mount": (True, 1), f"and has {THREADS} threads": (True, THREADS)} if kernel.may_mount() else {}
    columns |= {"it may not mount": (False, 1), f"nor that, with {THREADS} threads": (False, THREADS)}
    found = {title: measured(rounds, *column) for title, column in columns.items()}
    yield f"| milliseconds, of a process: | {' | '.join(found)} |"
    yield f"|---|{'---|' * len(found)}"
    for name in next(iter(found.values())):
        yield f"| {name} | {' | '.join(f'{times[name]:.1f}' for times in found.values())} |"
    yield ""
    yield f"The least of {rounds} rounds, in turns; {', '.join(described().values())}, load {os.getloadavg()[0]:.0f}."


def main(arguments: list[str]) -> None:
    compileall.compile_dir(Path(verytmp.__file__).parent, quiet=1)  # as it is where a package has been installed
    text = "\n".join(table(int(arguments[0]) if arguments else ROUNDS)) + "\n"
    print(text)
    if not arguments:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}{text}{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main(sys.argv[1:])
