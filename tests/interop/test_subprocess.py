"""Paths in the hands of programs."""

from __future__ import annotations

import os
import shutil
import subprocess

from support import host_state
from support.compare_with_host import TREE

from verytmp import VeryTmpRoot


def test_programs_arguments(root: VeryTmpRoot) -> None:
    host_state.make(root.fileno(), TREE)
    cat = subprocess.run(["cat", root / "f", root / "d" / "f"], capture_output=True, check=True)
    assert cat.stdout == b"potatoesd/f"
    subprocess.run(["cp", "-r", root / "d", root / "new"], check=True)
    subprocess.run(["rm", "-r", root / "d"], check=True)
    shell = f"ls {root / 'new'} > {root / 'listing'}"
    subprocess.run(shell, shell=True, check=True)
    expected = TREE | {"new": TREE["d"], "listing": b"e\nf\ns.py\n"}
    assert host_state.look(root.fileno()) == {name: what for name, what in expected.items() if name != "d"}


def test_programs_working_directory(root: VeryTmpRoot) -> None:
    host_state.make(root.fileno(), TREE)
    for folder in (root, root.path, root / "d" / "..", os.fspath(root)):
        ls = subprocess.run(["ls"], cwd=folder, capture_output=True, text=True, check=True)
        assert ls.stdout.split() == ["d", "empty", "f", "g"]
    subprocess.run(["sh", "-c", "cat f > ../copy; cat ../../../../../etc/passwd"], cwd=root / "d", capture_output=True)
    assert host_state.look(root.fileno()) == TREE | {"copy": b"d/f"}


def test_programs_streams_and_environment(root: VeryTmpRoot) -> None:
    (root / "in").write_text("potatoes")
    with (root / "in").open() as stdin, (root / "out").open("w") as stdout, (root / "err").open("wb") as stderr:
        code = 'cat; cat "$FILE" >&2'
        environment = os.environ | {"FILE": os.fspath(root / "in")}
        subprocess.run(["sh", "-c", code], stdin=stdin, stdout=stdout, stderr=stderr, env=environment, check=True)
    assert host_state.look(root.fileno()) == dict.fromkeys(("in", "out", "err"), b"potatoes")


def test_a_program_in_it(root: VeryTmpRoot) -> None:
    program = root / "program"
    program.write_text('#!/bin/sh\necho "$0 $1"\n')
    program.chmod(0o700)
    for name in (program, os.fspath(program)):
        done = subprocess.run([name, "x"], capture_output=True, text=True, check=True)
        assert done.stdout == f"{program} x\n"
    here = subprocess.run(["./program", "x"], cwd=root.path, capture_output=True, text=True, check=True)
    assert here.stdout == "./program x\n"
    shutil.copy2("/bin/true", root / "true")
    assert subprocess.run([root / "true"]).returncode == 0
