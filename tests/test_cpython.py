"""CPython's own tests of pathlib, of the Python that runs, on `VeryTmpPath`: `support.cpython` runs them."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from support import cpython_expected_failures

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def outcomes() -> dict[str, str]:
    if importlib.util.find_spec("test.test_pathlib") is None:
        pytest.skip("this Python comes without its own tests")
    if sys.version_info[:2] not in cpython_expected_failures.SUITES:
        pytest.skip("nobody has read this Python's own tests of pathlib yet")
    with tempfile.TemporaryDirectory(prefix="verytmp-tests-", dir="/dev/shm") as folder:
        report = Path(folder, "outcomes")
        subprocess.run(
            [sys.executable, "-W", "ignore", str(HERE / "support" / "cpython.py"), str(report)],
            check=True,
            cwd=folder,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=300,
        )
        found: dict[str, str] = json.loads(report.read_text())
    return found


def contradicted() -> set[str]:
    return set(cpython_expected_failures.CONTRADICTED) | {
        name
        for name, (version, _) in cpython_expected_failures.CONTRADICTED_BEFORE.items()
        if sys.version_info < version
    }


def test_what_fails_contradicts_a_decision(outcomes: dict[str, str]) -> None:
    failed = {name: why for name, why in outcomes.items() if why.startswith("failed")}
    assert {name: why for name, why in failed.items() if name.partition(".")[2] not in contradicted()} == {}


def test_no_entry_is_idle(outcomes: dict[str, str]) -> None:
    passed = {name.partition(".")[2] for name, outcome in outcomes.items() if outcome == "passed"}
    assert passed & contradicted() == set()


def test_most_pass(outcomes: dict[str, str]) -> None:
    """Nothing has gone wrong with the tests themselves."""
    counts = Counter(outcome.partition(":")[0] for outcome in outcomes.values())
    assert counts["passed"] >= cpython_expected_failures.SUITES[sys.version_info[:2]][1]
