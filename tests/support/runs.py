"""Runs of pytest with the plugin, for its tests."""

from __future__ import annotations

import pytest

# Warnings are errors there too. No other plugin is loaded but those that a test names.
ARGUMENTS = ("-p", "verytmp.pytest_plugin", "-p", "no:cacheprovider", "-W", "error")


class Run:
    """``run(code, *options)`` is pytest's result, of this process, or of one of its own."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester

    def __call__(self, code: str, *options: str, apart: bool = False) -> pytest.RunResult:
        if code:
            self.pytester.makepyfile(test_it=code)
        start = self.pytester.runpytest_subprocess if apart else self.pytester.runpytest_inprocess
        return start(*ARGUMENTS, *options)
