"""CPython's own tests of pathlib, with `VeryTmpPath` in the place of `PosixPath`. Writes JSON: test -> outcome.

Run by `test_cpython`, in a working directory of its own. The stand-in's constructor reads its segments from the root
on; the tests' directory lies in the root, and the tests' own os calls go there by the root's string. For them the mount
follows symlinks.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import unittest
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Self

from test.support.os_helper import TESTFN

from support.cpython_expected_failures import SUITES
from verytmp import VeryTmpPath, VeryTmpRoot

root = VeryTmpRoot(nosymfollow=False)


class StandIn(VeryTmpPath):
    """A `VeryTmpPath` that can be made as plain paths are."""

    __slots__ = ()

    def __new__(cls, *segments: Any) -> Self:
        path = object.__new__(cls)
        path._tree = root.path._tree
        path._rel, path._name = "", None
        return path.joinpath(*segments)

    def __init__(self, *segments: Any) -> None:
        pass


class Outcomes(unittest.TestResult):
    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}

    def note(self, test: unittest.TestCase, outcome: str) -> None:
        name = test.id().removeprefix("__main__.")
        self.found.setdefault(name, outcome)

    def addSuccess(self, test: unittest.TestCase) -> None:
        self.note(test, "passed")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self.note(test, f"skipped: {reason}")

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        self.note(test, f"failed: {self._exc_info_to_string(err, test)}")  # type: ignore[attr-defined]

    addError = addFailure

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        if err is not None:
            self.addFailure(test, err)


def suites() -> Iterator[unittest.TestSuite]:
    base = f"{os.fspath(root)}/{TESTFN}"
    module = load()
    for name in SUITES[sys.version_info[:2]][0]:
        theirs = getattr(module, name)
        ours = type(name, (theirs,), {"cls": StandIn, "base": base, "__module__": "__main__"})
        yield unittest.defaultTestLoader.loadTestsFromTestCase(ours)


def load() -> ModuleType:
    module = importlib.import_module("test.test_pathlib")
    if hasattr(module, "__path__"):
        module = importlib.import_module("test.test_pathlib.test_pathlib")
    module.__dict__["BASE"] = f"{os.fspath(root)}/{TESTFN}"
    return module


def main() -> None:
    loaded = list(suites())
    # Where the tests look by a relative name, with the host's own calls: this working directory is thrown away.
    os.symlink(f"{os.fspath(root)}/{TESTFN}", TESTFN)
    outcomes = Outcomes()
    for suite in loaded:
        suite.run(outcomes)
    with open(sys.argv[1], "w") as file:
        json.dump(outcomes.found, file)


if __name__ == "__main__":
    main()
