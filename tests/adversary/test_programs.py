"""Strings in the hands of libraries and programs: each works inside or refuses, and docs/compatibility.md says so."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import canary
from support.canary import Canary
from support.compatibility import FAILS, NOT_ASKED, WORKS, Directory, Refused, Row, after_enter, in_a_program, page, run
from support.programs import ROWS

from verytmp import VeryTmpRoot

# Rows that compare a path's string with the real name, or start another user, who may not open the string. In /dev/shm
# there is such a name, and it is another one than the string.
NOT_BY_STRING = {"gdb", "pwd, find, du", "initdb"}

# Enough to see by default that all of it works. The others take minutes.
USUAL = {"git commit", "sqlite3", "python", "tar", "os.getcwd", "os.path.realpath", "venv", "C, realpath(3)"}

PAGE = Path(__file__).parent.parent.parent / "docs" / "compatibility.md"


def asked(which: Callable[[Row], bool] = lambda row: True) -> pytest.MarkDecorator:
    slow = {name: () if name in USUAL else pytest.mark.slow for name in ROWS}
    return pytest.mark.parametrize("name", [pytest.param(name, marks=slow[name]) for name in ROWS if which(ROWS[name])])


@asked()
def test_it_works_inside_or_refuses(planted: Canary, name: str) -> None:
    row = ROWS[name]
    if missing := row.missing():
        pytest.skip(f"{missing} is not installed")
    with VeryTmpRoot() as root:
        if root.kind == "shm" and ("link" in name or name in NOT_BY_STRING):
            pytest.skip("a directory in /dev/shm does not promise it")
        assert row.measured(root) == expected(row, root)
        planted.check()
        planted.look(root.fileno())


def expected(row: Row, root: VeryTmpRoot) -> str:
    """A directory in /dev/shm has a name, so that all of it works. (What follows links leaves: that is left out.)"""
    return WORKS if root.kind == "shm" else row.expected()


@asked(lambda row: row.outcome == FAILS)
def test_what_is_refused_works_elsewhere(host: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Or a mistake of ours would be taken for a refusal."""
    if missing := ROWS[name].missing():
        pytest.skip(f"{missing} is not installed")
    with canary.planted() as victim:  # which is read, by the absolute link
        monkeypatch.setenv("HOME", str(victim.home))
        assert ROWS[name].measured(Directory(host)) == WORKS


@pytest.fixture
def victim(planted: Canary, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Programs follow a link out of a root that has a name, as anywhere: there is something else for them to read."""
    with canary.planted() as other:
        monkeypatch.setenv("HOME", str(other.home))
        yield
        planted.check()


@pytest.mark.tmpfs
@pytest.mark.usefixtures("victim")
@asked(lambda row: row.by_name[0] != NOT_ASKED)
def test_it_works_where_the_root_has_a_name(name: str) -> None:
    if missing := ROWS[name].missing():
        pytest.skip(f"{missing} is not installed")
    assert in_a_program(name) == ROWS[name].by_name[0]


@pytest.mark.tmpfs
@pytest.mark.usefixtures("victim")
@asked()
def test_it_works_in_a_process_that_has_entered(name: str) -> None:
    if missing := ROWS[name].missing():
        pytest.skip(f"{missing} is not installed")
    assert after_enter(ROWS[name]) == ROWS[name].by_name[1]


def test_where_links_are_followed(planted: Canary) -> None:
    """What needs no link does the same: the canonical path does not exist there too."""
    for name, row in ROWS.items():
        if not row.needs and not row.modules and "link" not in row.why:
            with VeryTmpRoot(nosymfollow=False) as root:
                if root.kind == "shm" and name in NOT_BY_STRING:
                    continue
                assert row.measured(root) == expected(row, root), name
                planted.look(root.fileno())


def test_the_page_is_the_table() -> None:
    """Made by ``python tests/adversary/report.py``."""
    assert PAGE.read_text() == page(ROWS)


def test_each_outcome_is_there() -> None:
    assert {row.outcome for row in ROWS.values()} == {WORKS, FAILS}


def test_a_program_that_fails_is_a_refusal() -> None:
    with pytest.raises(Refused):
        run("false")
    with pytest.raises(subprocess.TimeoutExpired):
        run("sleep", "5", timeout=0.01)
