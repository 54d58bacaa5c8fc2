"""Runs of pytest with the plugin, for its tests."""

from __future__ import annotations

import sys

import pytest

from support import tripwire
from support.children import in_child

# Warnings are errors there too. No other plugin is loaded but those that a test names.
ARGUMENTS = ("-p", "verytmp.pytest_plugin", "-p", "no:cacheprovider", "-W", "error")


class Run:
    """``run(code, *options)`` is pytest's result, of this process, or of one of its own."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester

    def __call__(self, code: str, *options: str, apart: bool = False) -> pytest.RunResult:
        if code:
            self.pytester.makepyfile(test_it=code)
        if apart:
            return self.pytester.run(sys.executable, "-m", "pytest", *ARGUMENTS, *options)
        return self.pytester.runpytest_inprocess(*ARGUMENTS, *options)

    def inside(self, code: str, *options: str) -> pytest.RunResult:
        """The same, in a forked copy of this process: what it enters, this one does not."""

        def work() -> tuple[int, list[str], list[str]]:
            tripwire.unwatch()  # directories with names are the host's, as far as that can tell
            result = self(code, *options)
            return int(result.ret), result.outlines, result.errlines

        ret, out, err = in_child(work)
        return pytest.RunResult(ret, out, err, 0)
