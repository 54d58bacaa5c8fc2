"""The roots of a pytest run: how they are made, which test has them, and when they end."""

from __future__ import annotations

import os
import sys
from errno import errorcode
from weakref import WeakSet

import pytest

from .. import VeryTmpFactory, VeryTmpFallbackWarning, VeryTmpRoot, VeryTmpUnavailable
from .._diagnosis.causes import KEYWORD
from .._mounting.options import OPTIONS, SHM_OPTIONS, VARIABLE
from .keep import describe
from .root_of_test import TestDirectory, TestRoot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any, NoReturn, TypeVar

    _Held = TypeVar("_Held", TestRoot, TestDirectory)

HELD: pytest.StashKey[list[TestRoot | TestDirectory]] = pytest.StashKey()
OF_RUN: pytest.StashKey[RunState] = pytest.StashKey()  # for the fixtures that take the place of pytest's

WIDTH = 79  # of a line of the header
FLAGS = {"noexec", "noswap", "inode64"}  # options that have no value
BASES = {"mode": 8, "uid": 10, "gid": 10}  # in which numbers are written
# Modules of what has threads in this process, and would lose something if that was started anew: VS Code's and
# PyCharm's debugger its connection, memray its file.
ATTACHED = {"pydevd", "memray"}


class RunState:
    """A run's options for its roots, the factory that makes them, and the errors that have been reported."""

    def __init__(self, config: pytest.Config) -> None:
        self.fallback: str = str(config.getoption("--verytmp-fallback") or config.getini("verytmp_fallback"))
        self.options: dict[str, Any] = options_of(config, config.option)
        self.home: Path = config.invocation_params.dir
        self.keep: Path | None = None
        if folder := config.getoption("--verytmp-keep"):
            self.keep = self.home / str(folder)
        elif folder := config.getini("verytmp_keep"):
            self.keep = (config.inipath or config.rootpath / "ini").parent / str(folder)
        self.reported_errors: set[str] = set()  # in short
        self._possible: bool | None = None
        self._source: VeryTmpFactory | None = None

    def make(self, options: dict[str, Any], factory: VeryTmpFactory | None = None) -> VeryTmpRoot:
        """A root; all of them are made here."""
        options = {**self.options, **options}
        if self.fallback == "shm" and not options.keys() - SHM_OPTIONS:
            import warnings

            with warnings.catch_warnings():
                warnings.simplefilter("ignore", VeryTmpFallbackWarning)  # the header reports it
                return (factory or self.source()).root(fallback="shm", **options)
        if self.fallback:
            options = {"fallback": "none", **options}
        return (factory or self.source()).root(**options)

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
        """A root; if none can be made, the test fails."""
        try:
            return self.make(options)
        except VeryTmpUnavailable as error:
            refused = error
        return self.fail(in_short(refused), diagnosis(refused, self.fallback))

    def fail(self, short: str, diagnosis: str) -> NoReturn:
        """Have a test fail that cannot have a root, with the whole diagnosis the first time."""
        text = f"{short}, as reported before" if short in self.reported_errors else diagnosis
        self.reported_errors.add(short)
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

    def header(self, factory: VeryTmpFactory | None = None) -> str:
        """The line of the header: which tmp_path this run has, or why no root can be made. *factory* is to make one."""
        try:
            with self.make({}, factory) as root:
                made = repr(root).partition(", ")[2].removesuffix(">")
                line = f"verytmp: tmp_path is in memory, {made}"
        except VeryTmpUnavailable as error:
            instead = "tmp_path is pytest's own" if self.fallback == "tmp_path" else "see --verytmp-fallback"
            line = f"verytmp: {in_short(error)}; {instead}"
        return one_line(line)

    def hold(self, request: pytest.FixtureRequest, name: str) -> TestRoot:
        """The root of a test's fixture."""
        item = item_of(request)
        return self._held(item, TestRoot(name, self.made(marked(item)), self.home))

    def hold_directory(self, request: pytest.FixtureRequest, path: Path) -> TestDirectory:
        """A test's directory in the run's root. If markers ask for options, another root is mounted there."""
        item = item_of(request)
        options = marked(item)
        options.pop("nosymfollow", None)  # a name follows links
        root = None
        if options:
            options.setdefault("fallback", "none")
            options["at"] = path
            refused = None
            try:
                root = VeryTmpRoot(**options)
            except VeryTmpUnavailable as error:
                refused = error
            if refused is not None:  # outside of the handler: its message would be shown too
                self.fail(in_short(refused), diagnosis(refused, self.fallback))
        return self._held(item, TestDirectory("tmp_path", path, self.home, root))

    def _held(self, item: pytest.Item, held: _Held) -> _Held:
        nothing: list[TestRoot | TestDirectory] = []
        item.stash.setdefault(HELD, nothing).append(held)
        return held

    def release(self, held: TestRoot | TestDirectory) -> None:
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
                describe(report, [held for held in roots if not held.closed], self.keep)
            except Exception as error:  # the test may have changed limits, functions or the user
                report.sections.append(("verytmp", f"what the test has in its roots cannot be shown: {error!r}"))
        if report.when == "teardown":
            for held in roots:
                held.end()
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


def in_short(error: OSError) -> str:
    """A refusal, in short: the diagnosis was reported before, or can be asked for."""
    return f"{getattr(error, 'step', error.filename)}: {errorcode.get(error.errno or 0, error.errno)}"


def diagnosis(error: OSError, fallback: str) -> str:
    """A refusal in full. What it says of the fallback is what a run of pytest has for it, unless it has it already."""
    less = "with weaker guarantees and no limits"
    keyword, option = (f"{less}: {text}; " for text in (KEYWORD, "--verytmp-fallback=shm"))
    return str(error).replace(keyword, "" if fallback == "shm" else option)


def one_line(text: str) -> str:
    """A line of the header: not wider than a screen."""
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 3]}..."


def fallback_of(config: pytest.Config, asked: Any) -> str:
    """What a run is to do without a namespace: one of the plugin's FALLBACKS."""
    told = asked.verytmp_fallback or config.getini("verytmp_fallback")
    shm = os.environ.get(VARIABLE) == "shm" and not options_of(config, asked)  # of which that could keep none
    return str(told) if told else "shm" if shm else "tmp_path" if ATTACHED & sys.modules.keys() else "error"


def options_of(config: pytest.Config, asked: Any) -> dict[str, Any]:
    """The options of a run's roots, which are written as mount(8) has them: keywords of `VeryTmpRoot`."""
    text = asked.verytmp_options or config.getini("verytmp_options")
    options: dict[str, Any] = {}
    for each in filter(None, text.split(",")):
        name, given, value = each.strip().partition("=")
        known = name in OPTIONS and name not in ("at", "host", "nosymfollow")
        if not known or (name in FLAGS) is bool(given):
            raise pytest.UsageError(f"--verytmp-options: {each} is not an option, as in size=1g,nr_inodes=10k")
        try:
            options[name] = int(value, BASES[name]) if name in BASES else value or True
        except ValueError:
            raise pytest.UsageError(f"--verytmp-options: {each} is not a number") from None
    return options


def marked(item: pytest.Item) -> dict[str, Any]:
    """The options in a test's markers; in its own before its class's and its module's."""
    options: dict[str, Any] = {}
    for mark in item.iter_markers("verytmp"):
        if mark.args:
            pytest.fail("verytmp: @pytest.mark.verytmp takes VeryTmpRoot's options as keywords", pytrace=False)
        options = {**mark.kwargs, **options}
    return options
