"""The roots of a pytest run: how they are made, which test has them, and when they end."""

from __future__ import annotations

from errno import errorcode
from weakref import WeakSet

import pytest

from .. import VeryTmpFactory, VeryTmpFallbackWarning, VeryTmpRoot, VeryTmpUnavailable
from .._mounting.options import SHM_OPTIONS
from .keep import describe
from .root_of_test import TestRoot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any


HELD: pytest.StashKey[list[TestRoot]] = pytest.StashKey()


class RunState:
    """A run's options for its roots, the factory that makes them, and the errors that have been reported."""

    def __init__(self, config: pytest.Config, active: bool) -> None:
        self.fallback: str = str(config.getoption("--verytmp-fallback") or config.getini("verytmp_fallback"))
        self.home: Path = config.invocation_params.dir
        self.keep: Path | None = None
        if folder := config.getoption("--verytmp-keep"):
            self.keep = self.home / str(folder)
        elif folder := config.getini("verytmp_keep"):
            self.keep = (config.inipath or config.rootpath / "ini").parent / str(folder)
        self.reported_errors: set[tuple[str, int | None]] = set()  # the step and errno of each
        # For a worker of pytest-xdist, the controller's header has the reason why no root can be made.
        verbosity: Any = config.getoption("verbose", -1)
        headed = active and verbosity >= 0 and not config.getoption("no_header", True)
        self.header_shown_by_controller: bool = headed and hasattr(config, "workerinput")
        self._possible: bool | None = None
        self._source: VeryTmpFactory | None = None

    def make(self, options: dict[str, Any]) -> VeryTmpRoot:
        """A root; all of them are made here."""
        if self.fallback == "shm" and not options.keys() - SHM_OPTIONS:
            import warnings

            with warnings.catch_warnings():
                warnings.simplefilter("ignore", VeryTmpFallbackWarning)  # the header reports it
                return self.source().root(fallback="shm", **options)
        if self.fallback:
            options = {"fallback": "none", **options}
        return self.source().root(**options)

    def source(self) -> VeryTmpFactory:
        """The factory of all roots of this run, with one helper process where one is needed."""
        if self._source is None:
            self._source = VeryTmpFactory()
        return self._source

    def begin(self) -> None:
        """Make a root before any test runs: a test may replace functions that this needs."""
        if self._source is None:
            try:
                self.make({}).close()
            except VeryTmpUnavailable:
                pass  # the tests that need one report it

    def close(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None

    def made(self, options: dict[str, Any]) -> VeryTmpRoot:
        """A root; if none can be made, the test fails, with the whole diagnosis the first time."""
        try:
            return self.make(options)
        except VeryTmpUnavailable as error:
            reported = self.header_shown_by_controller or (error.step, error.errno) in self.reported_errors
            self.reported_errors.add((error.step, error.errno))
            text = (
                f"{error.step} ({errorcode.get(error.errno or 0, error.errno)}), as reported before"
                if reported
                else error
            )
        pytest.fail(f"verytmp: {text}", pytrace=False)

    def possible(self) -> bool:
        """Whether roots can be made, unless the fallback is pytest's own directories and they cannot."""
        if self.fallback != "tmp_path":
            return True
        if self._possible is None:
            try:
                self.make({}).close()
                self._possible = True
            except VeryTmpUnavailable:
                self._possible = False
        return self._possible

    def header(self) -> list[str]:
        """The lines of the header: which tmp_path this run has, or why no root can be made."""
        try:
            with self.make({}) as root:
                made = repr(root).partition(", ")[2].removesuffix(">")
                return [f"verytmp: tmp_path is in memory, {made}"]
        except VeryTmpUnavailable as error:
            self.reported_errors.add((error.step, error.errno))
            instead = "tmp_path is pytest's own"
            if self.fallback != "tmp_path":
                instead = "--verytmp-fallback=shm takes directories in /dev/shm, and =tmp_path pytest's own"
            return [f"verytmp: {error}", f"verytmp: {instead}"]

    def hold(self, request: pytest.FixtureRequest, name: str) -> TestRoot:
        """The root of a test's fixture."""
        item = item_of(request)
        held = TestRoot(name, self.made(marked(item)), self.home)
        nothing: list[TestRoot] = []
        item.stash.setdefault(HELD, nothing).append(held)
        return held

    def release(self, held: TestRoot) -> None:
        """Close the root at the fixture's end; with --verytmp-keep only after the report, which copies its files."""
        if not self.keep:
            held.close()

    def reported(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """Add what a failed test has in its roots to its report, and close them at the test's end."""
        roots = item.stash.get(HELD, None)
        if roots is None:
            return
        if report.failed:
            try:
                describe(report, [held for held in roots if not held.root.closed], self.keep)
            except Exception as error:  # the test may have changed limits, functions or the user
                report.sections.append(("verytmp", f"what the test has in its roots cannot be shown: {error!r}"))
        if report.when == "teardown":
            for held in roots:
                held.close()
            roots.clear()

    def factory(self) -> FixtureFactory:
        return FixtureFactory(self)


class FixtureFactory:
    """The fixture `verytmp_factory`: makes any number of roots, and closes them."""

    def __init__(self, roots: RunState) -> None:
        self._roots = roots
        self._made: WeakSet[VeryTmpRoot] = WeakSet()  # a root that is dropped is closed

    def root(self, **options: Any) -> VeryTmpRoot:
        """A new root, with the options of `VeryTmpRoot`."""
        root = self._roots.made(options)
        self._made.add(root)
        return root

    def close(self) -> None:
        for root in self._made:
            root.close()


def item_of(request: pytest.FixtureRequest) -> pytest.Item:
    """The test that a fixture is for. pytest does not declare its type."""
    item: pytest.Item = request.node  # pyright: ignore[reportUnknownMemberType]  # likewise
    return item


def marked(item: pytest.Item) -> dict[str, Any]:
    """The options in a test's markers; in its own before its class's and its module's."""
    options: dict[str, Any] = {}
    for mark in item.iter_markers("verytmp"):
        if mark.args:
            pytest.fail("verytmp: @pytest.mark.verytmp takes VeryTmpRoot's options, which are keywords", pytrace=False)
        options = {**mark.kwargs, **options}
    return options
