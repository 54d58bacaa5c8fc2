"""Run the suite under coverage, each way, and print what no test reaches: ``python tests/covered.py [PYTHON...]``.

Other Pythons, in environments that have coverage too, add what only they run. As root, all ways are gone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
WAYS = ("direct", "helper", "shm")

# What cannot run there.
LEFT_OUT = [
    "--ignore=tests/test_typing.py",  # it runs type checkers, and nothing of ours
]


def main(pythons: list[str]) -> int:
    os.chdir(HERE.parent)
    with tempfile.TemporaryDirectory(prefix="verytmp-covered-", dir="/var/tmp") as folder:
        os.chmod(folder, 0o1777)  # the children of tests are all sorts of users
        os.environ["COVERAGE_FILE"] = f"{folder}/data"
        status = 0
        for python in (sys.executable, *pythons):
            for way in WAYS:
                status |= suite(python, way)
        coverage = [sys.executable, "-m", "coverage"]
        subprocess.run([*coverage, "combine", "-q", folder], check=True)
        return subprocess.run([*coverage, "report"]).returncode or status


def suite(python: str, way: str) -> int:
    user = [python, "tests/unprivileged.py"] if way == "helper" and not os.geteuid() else []
    pytest = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.support.measured", "--way", way]
    return subprocess.run([*user, python, "-m", "coverage", "run", *pytest, *LEFT_OUT]).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
