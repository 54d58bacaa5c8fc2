"""A table of what works with a path's string, and of what fails closed; and the page that is made of it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import verytmp
from support.children import in_child
from verytmp import VeryTmpRoot

WORKS, FAILS = "works", "fails safely"
NOT_ASKED = "-"  # it is about paths, and a program has none
OLD_SQLITE = ("SQLite before 3.39", sqlite3.sqlite_version_info < (3, 39))
PATIENCE = 60  # seconds


class Refused(Exception):
    """A program said no."""


class Directory:
    """An ordinary directory, where a root is expected."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)


# What libraries raise for it. Of those that may not be here, by the beginning of the name.
REFUSALS = (Refused, OSError, sqlite3.Error)
MODULES = ("dbm", "_dbm")


@dataclass(frozen=True)
class Row:
    """What is done, and what comes of it. *needs* are programs, and *modules* what Python may lack."""

    does: str
    action: Callable[[VeryTmpRoot], object]
    outcome: str
    why: str = ""
    needs: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    by_name: tuple[str, str] = (WORKS, WORKS)  # in a program that `run` has started, and after `enter`
    unless: tuple[str, bool] | None = None  # where it is the other way round: in words, and whether it is so here

    def expected(self) -> str:
        if self.unless and self.unless[1]:
            return FAILS if self.outcome == WORKS else WORKS
        return self.outcome

    def missing(self) -> str | None:
        """What is not installed."""
        absent = [program for program in self.needs if not shutil.which(program)]
        absent += [module for module in self.modules if not importlib.util.find_spec(module)]
        return absent[0] if absent else None

    def measured(self, root: VeryTmpRoot | Directory) -> str:
        try:
            self.action(root)  # type: ignore[arg-type]  # a directory does as well
        except Exception as error:
            if isinstance(error, REFUSALS) or type(error).__module__.startswith(MODULES):
                return FAILS
            raise
        return WORKS


def in_a_program(name: str) -> str:
    """How a row ends in a program that `VeryTmpRoot.run` has started: with the root as a directory, by its name."""
    one_row = Path(__file__).with_name("one_row.py")
    with VeryTmpRoot(at=True) as root:
        done = root.run([sys.executable, one_row, name], capture_output=True, text=True, unshare_pid=False)
        if done.returncode:
            raise AssertionError(done.stdout + done.stderr)
        return str(done.stdout).strip()


def after_enter(row: Row) -> str:
    """How a row ends in a process that has entered a namespace, in which its root has a name."""

    def work() -> str:
        verytmp.enter()
        with VeryTmpRoot() as root:
            return row.measured(root)

    outcome: str = in_child(work)
    return outcome


def run(*command: str | os.PathLike[str], **keywords: Any) -> str:
    """What a program prints. It has a home of its own, for caches and the like."""
    with tempfile.TemporaryDirectory(prefix="verytmp-tests-", dir="/dev/shm") as home:
        own = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"), home)
        quiet = {"GIT_CONFIG_NOSYSTEM": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}
        environment = {**os.environ, **own, **quiet, "PYTHONDONTWRITEBYTECODE": "1"}
        keywords = {"cwd": home, "env": environment, "timeout": PATIENCE, **keywords}
        done: subprocess.CompletedProcess[str] = subprocess.run(command, capture_output=True, text=True, **keywords)
    if done.returncode:
        raise Refused(f"{command[0]}: {done.stdout} {done.stderr}")
    return done.stdout


def holds(path: Path, content: bytes | None = None) -> None:
    """It is there. Whoever says that it has worked, and made it elsewhere, is the one to find."""
    if not path.exists():
        raise AssertionError(f"{path} was not made")
    if content is not None and path.read_bytes() != content:
        raise AssertionError(f"{path} holds {path.read_bytes()!r}")


PAGE = """\
# Compatibility

This page shows which libraries and programs work in a root, used in three ways:

- *The string*: the program or library gets the string of a path in a root without a name. If it does not work, it fails
  safely: there is an error, and nothing is read or changed on the host. The next two columns are what to use instead.
- *`run`*: the root has a name (`VeryTmpRoot(at=...)`), and [`root.run`](how-to/run-programs.md) or
  [`verytmp run`](how-to/verytmp-run.md) starts the program.
- *`enter`*: the process calls [`verytmp.enter()`](how-to/enter.md) before it makes the root.

{counts}

The tests run each row in each way, and check the host afterwards (`tests/adversary/test_programs.py`).
`python tests/adversary/report.py` generates this page.

| | what it does | the string | `run` | `enter` | why |
|---|---|---|---|---|---|
{rows}

- *It canonicalises the path*: it asks for the path without links, as realpath(3) returns it. In a root without a name
  that is `/dev/null/<token>`, where nothing can exist ([why](decisions.md#the-root-is-two-directories-down)).
- *It asks for its working directory*, as getcwd(3) returns it. In a root without a name that fails with `ENOENT`.
- *Absolute link*: the kernel follows no link in a root without a name, unless it was made with `nosymfollow=False`.
  Then an absolute link leads to the host. In a root with a name, programs follow all links as usual, while the methods
  of paths stay inside.

tarfile needs a filter. "fully_trusted" is not one: it joins an absolute name to the destination, and the result is on
the host. [How to unpack](how-to/unpack.md) has a filter.
"""


def page(rows: Mapping[str, Row]) -> str:
    return PAGE.format(
        rows="\n".join(line(name, row) for name, row in rows.items()), counts=counts(list(rows.values()))
    )


def counts(rows: list[Row]) -> str:
    by_string, by_run, by_enter = (
        sum(outcome == WORKS for outcome in outcomes)
        for outcomes in zip(*[(row.outcome, *row.by_name) for row in rows], strict=True)
    )
    asked = sum(row.by_name[0] != NOT_ASKED for row in rows)
    return (
        f"Of {len(rows)}, {by_string} work by the string; {by_run} of {asked} by `run`; "
        f"and {by_enter} of {len(rows)} after `enter`."
    )


def line(name: str, row: Row) -> str:
    outcome = row.outcome
    if row.unless:
        outcome += f" ({FAILS if outcome == WORKS else WORKS} with {row.unless[0]})"
    return f"| {name} | {row.does} | {outcome} | {' | '.join(row.by_name)} | {row.why} |"
