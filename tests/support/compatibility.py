"""A table of what works with a path's string, and of what fails closed; and the page that is made of it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verytmp import VeryTmpRoot

WORKS, REFUSES = "works", "refuses"
PATIENCE = 60  # seconds


class Refused(Exception):
    """A program said no."""


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
    unless: tuple[str, bool] | None = None  # where it is the other way round: in words, and whether it is so here

    def expected(self) -> str:
        if self.unless and self.unless[1]:
            return REFUSES if self.outcome == WORKS else WORKS
        return self.outcome

    def missing(self) -> str | None:
        """What is not installed."""
        absent = [program for program in self.needs if not shutil.which(program)]
        absent += [module for module in self.modules if not importlib.util.find_spec(module)]
        return absent[0] if absent else None

    def measured(self, root: VeryTmpRoot) -> str:
        try:
            self.action(root)
        except Exception as error:
            if isinstance(error, REFUSALS) or type(error).__module__.startswith(MODULES):
                return REFUSES
            raise
        return WORKS


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

What libraries and programs do when they are given a path's string. What does not work fails closed: it is an error, and
nothing is read or changed on the host. The tests run each row, and look at the host afterwards
(`tests/adversary/test_programs.py`). `python tests/adversary/report.py` makes this page.

| | what it does | outcome | why |
|---|---|---|---|
{rows}

- *Canonicalises*: it asks for the path without links, as realpath(3) gives it. A root's is `/dev/null/<token>`, where
  nobody can make or find anything ([why](decisions.md#the-root-is-two-directories-down)).
- *Working directory*: it asks for the name of its own, as getcwd(3) gives it. In a root it has none: `ENOENT`.
- *Absolute link*: the kernel follows no link in a root, unless it was made with `nosymfollow=False`; and then an
  absolute one leads to the host.

tarfile needs a filter, and "fully_trusted" is none: it joins an absolute name to the destination, and that is the
host's. [How to unpack](how-to/unpack.md) has one.
"""


def page(rows: Mapping[str, Row]) -> str:
    return PAGE.format(rows="\n".join(line(name, row) for name, row in rows.items()))


def line(name: str, row: Row) -> str:
    outcome = row.outcome
    if row.unless:
        outcome += f" ({REFUSES if outcome == WORKS else WORKS} with {row.unless[0]})"
    return f"| {name} | {row.does} | {outcome} | {row.why} |"
