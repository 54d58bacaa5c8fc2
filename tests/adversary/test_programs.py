"""Strings in the hands of libraries and programs: each works inside or refuses, and docs/compatibility.md says so."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from support import canary
from support.canary import Canary
from support.compatibility import REFUSES, WORKS, Refused, Row, page, run
from support.programs import ROWS

from verytmp import VeryTmpRoot

PAGE = Path(__file__).parent.parent.parent / "docs" / "compatibility.md"


@pytest.mark.parametrize("name", ROWS)
def test_it_works_inside_or_refuses(planted: Canary, name: str) -> None:
    row = ROWS[name]
    if missing := row.missing():
        pytest.skip(f"{missing} is not installed")
    with VeryTmpRoot() as root:
        if root.kind == "shm" and "link" in name:
            pytest.skip("a directory in /dev/shm does not promise it")
        assert row.measured(root) == expected(row, root)
        planted.check()
        planted.look(root.fileno())


def expected(row: Row, root: VeryTmpRoot) -> str:
    """A directory in /dev/shm has a name, so that all of it works. (What follows links leaves: that is left out.)"""
    return WORKS if root.kind == "shm" else row.expected()


class Ordinary:
    """A directory of the host, where a root is expected."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def __fspath__(self) -> str:
        return str(self.path)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.outcome == REFUSES])
def test_what_is_refused_works_elsewhere(host: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Or a mistake of ours would be taken for a refusal."""
    if missing := ROWS[name].missing():
        pytest.skip(f"{missing} is not installed")
    with canary.planted() as victim:  # which is read, by the absolute link
        monkeypatch.setenv("HOME", str(victim.home))
        directory: Any = Ordinary(host)
        assert ROWS[name].measured(directory) == WORKS


def test_where_links_are_followed(planted: Canary) -> None:
    """What needs no link does the same: the canonical path is nobody's there too."""
    for name, row in ROWS.items():
        if not row.needs and not row.modules and "link" not in row.why:
            with VeryTmpRoot(nosymfollow=False) as root:
                assert row.measured(root) == expected(row, root), name
                planted.look(root.fileno())


def test_the_page_is_the_table() -> None:
    """Made by ``python tests/adversary/report.py``."""
    assert PAGE.read_text() == page(ROWS)


def test_each_outcome_is_there() -> None:
    assert {row.outcome for row in ROWS.values()} == {WORKS, REFUSES}


def test_a_program_that_fails_is_a_refusal() -> None:
    with pytest.raises(Refused):
        run("false")
    with pytest.raises(subprocess.TimeoutExpired):
        run("sleep", "5", timeout=0.01)
