"""`publish`, killed before and after each of its system calls: the target is the old one or the new one, always."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import host_state, kernel

from verytmp import VeryTmpRoot

OLD: dict[str, Any] = {"nothing": None, "file": b"old", "tree": {"a": {"b": b"old"}}}
NEW: dict[str, Any] = {"f": b"new", "d": {"e": {"f": b"new"}, "l": "-> e"}}
TEMPORARY = re.compile(r"\.x\.verytmp-(\d+)-[0-9a-f]{8}")


@pytest.fixture
def root() -> Iterator[VeryTmpRoot]:
    """On one kind of mount: nothing here depends on it."""
    with VeryTmpRoot() as made:
        yield made


@pytest.mark.slow
@pytest.mark.parametrize("new", NEW)
@pytest.mark.parametrize("old", OLD)
def test_killed_at_each_system_call(root: VeryTmpRoot, host: Path, new: str, old: str) -> None:
    host_state.make(root.fileno(), NEW)
    (root / new).publish(host / "before")  # so that all modules are imported
    out = host / "out"
    seen: list[str] = []
    killed = True
    while killed:
        out.mkdir()
        host_state.make(str(out), {"x": OLD[old]} if OLD[old] is not None else {})

        def run() -> None:
            (root / new).publish(out / "x", replace=True, fsync=True)

        killed = kernel.killed_at_stop(run, len(seen))
        found = host_state.look(str(out))
        target = found.pop("x", None)
        assert target in (OLD[old], NEW[new]), f"after {len(seen)} stops"
        seen.append("new" if target == NEW[new] else "old")
        assert len(found) <= 1
        for name in found:  # what is left says whose it is: a process that is gone
            match = TEMPORARY.fullmatch(name)
            assert match, name
            assert not os.path.exists(f"/proc/{match[1]}")
        shutil.rmtree(out)
    assert seen == sorted(seen, reverse=True), "once it is the new one, it stays"
    assert {"old", "new"} == set(seen)
    assert len(seen) > (60 if new == "d" else 30)
    assert found == {}


def test_who_is_killed_before_a_call_does_not_make_it(host: Path) -> None:
    """The means of the test above: of one call, two stops, and what was done by then."""
    calls: dict[str, Callable[[], object]] = {"made": (host / "made").mkdir}
    done = []
    for number in range(6):
        if not kernel.killed_at_stop(calls["made"], number):
            break
        done.append((host / "made").exists())
        shutil.rmtree(host / "made", ignore_errors=True)
    assert False in done
    assert (True in done) or (host / "made").exists()
