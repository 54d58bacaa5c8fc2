"""Run the suite under coverage, each way, and print what no test reaches: ``python tests/covered.py [PYTHON...]``.

Other Pythons, in environments that have coverage too, add what only they run. Only root can go all ways.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

HERE = Path(__file__).parent
PATHS = ["tests/files", "tests/searching", *(f"tests/test_{name}.py" for name in ("resolve", "confinement", "oracle"))]
WAYS: dict[str, list[str]] = {"direct": [], "helper": [], "shm": PATHS}  # and what is run, if not all

# What cannot run there, and why.
LEFT_OUT = [
    "--ignore=tests/test_typing.py",  # it runs type checkers, and nothing of ours
    # Signal handlers' exceptions come anywhere in Python code, and so into coverage's, which keeps a lock then.
    "--ignore=tests/test_interruptions.py",
    "--deselect=tests/factory/test_factory_threads.py::test_signals_lose_nothing",
    # It leaves no descriptor free, and coverage would need one.
    "--deselect=tests/adversary/test_limits.py::test_descriptors_run_out_in_an_operation",
    # They have less patience with a helper than one takes to begin there.
    "--deselect=tests/test_helper.py::test_a_child_that_hangs_is_given_up",
    "--deselect=tests/factory/test_factory_death.py::test_a_helper_that_hangs_is_replaced",
    # What a process has loaded: coverage is loaded too, and loads multiprocessing.
    "--deselect=tests/test_helper.py::test_the_fresh_interpreter_loads_the_childs_rooms_alone",
    "--deselect=tests/travel/test_travel.py::test_multiprocessing_may_come_later",
]


def main(pythons: list[str]) -> int:
    os.chdir(HERE.parent)
    with tempfile.TemporaryDirectory(prefix="verytmp-covered-", dir="/var/tmp") as folder:
        os.chmod(folder, 0o1777)  # the children of tests are all sorts of users
        os.environ["COVERAGE_FILE"] = f"{folder}/data"
        status = 0
        for python in (sys.executable, *pythons):
            # Two at a time: they leave each other alone, and most machines have two cores.
            with ThreadPoolExecutor(2) as lanes:
                ways = [way for way in WAYS if way != "direct" or os.geteuid() == 0]
                for ended in lanes.map(partial(suite, python), ways):
                    print(ended.stdout, flush=True)
                    status |= ended.returncode
        coverage = [sys.executable, "-m", "coverage"]
        subprocess.run([*coverage, "combine", "-q", folder], check=True)
        return subprocess.run([*coverage, "report"]).returncode or status


def suite(python: str, way: str) -> subprocess.CompletedProcess[str]:
    user = [python, "tests/unprivileged.py"] if way == "helper" and not os.geteuid() else []
    pytest = ["-m", "pytest", "-q", "-m", "", "-p", "no:cacheprovider", "-p", "tests.support.measured", "--way", way]
    # In full, for the children of tests that have another working directory.
    coverage = ["-m", "coverage", "run", f"--source={os.path.abspath('src/verytmp')}"]
    command = [*user, python, *coverage, *pytest, *LEFT_OUT, *WAYS[way]]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
