"""``python -m verytmp doctor``: where roots can be made and where not, for people and for programs."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import host_state, kernel, refusals
from support.children import in_child

from verytmp import VeryTmpRoot, VeryTmpUnavailable, available
from verytmp._cli import doctor as _doctor
from verytmp._mounting.spec import MountSpec


def doctor(*options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "verytmp", "doctor", *options]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | variables)


def test_for_people() -> None:
    found = doctor()
    assert found.returncode == 0, found.stderr
    assert found.stderr == ""
    for heading in ("Environment", "Mount strategies", "Kernel features", "Fallback"):
        assert f"\n{heading}\n" in found.stdout
    assert "yes via a forked child" in found.stdout
    assert "VERYTMP_FALLBACK is not set" in found.stdout
    assert found.stdout.splitlines()[2].startswith("A private tmpfs can be made ")
    assert "\033" not in found.stdout  # colour is for terminals


def can_make_named() -> bool:
    try:
        VeryTmpRoot(at=True).close()
    except VeryTmpUnavailable:
        return False
    return True


def test_for_programs() -> None:
    found = doctor("--json", VERYTMP_FALLBACK="shm")
    assert found.returncode == 0
    report = json.loads(found.stdout)
    assert report["works"] is True
    assert report["cause"] == report["remedy"] == report["step"] == ""
    assert {way["strategy"] for way in report["strategies"]} == {"directly", "via a forked child", "via a fresh child"}
    assert all(way["made"] and way["milliseconds"] > 0 for way in report["strategies"] if way["strategy"] != "directly")
    features = {feature["feature"]: feature["found"] for feature in report["features"]}
    assert list(features) == list(_doctor.FEATURES)
    assert features["at="] == can_make_named()
    assert report["fallback"]["asked for"] == "shm"
    assert report["environment"]["euid"] == str(os.geteuid())


def test_a_name_is_found_where_a_root_can_have_one() -> None:
    VeryTmpRoot(at=True).close()
    assert {name: number for name, number, *_ in _doctor.features()}["at="] == 0


def reported(capsys: pytest.CaptureFixture[str], as_json: bool) -> tuple[int, str]:
    """What it says in a child that Docker's filter is on."""

    def run() -> Any:
        refusals.docker()
        capsys.readouterr()
        status = _doctor.main(as_json)
        return status, capsys.readouterr().out

    status, text = in_child(run)
    return status, text


def test_where_it_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    status, text = reported(capsys, False)
    assert status == 1
    assert "no  via a forked child" in text
    assert "not tried: under a seccomp filter" in text
    assert "\nNo private tmpfs could be made: unshare" in text
    assert "cause: seccomp-call (unshare(0): EPERM; Seccomp: 2" in text
    assert "remedy: " in text
    assert "?   could not be checked: Operation not permitted (EPERM)" in text
    assert re.search("guide: .*/docs/how-to/containers.md\n\nEnvironment\n", text)


def test_where_it_is_refused_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    status, text = reported(capsys, True)
    report = json.loads(text)
    assert status == 1
    assert (report["works"], report["cause"]) == (False, "seccomp-call")
    assert "unshare(0): EPERM" in report["evidence"]
    assert not any(way["made"] for way in report["strategies"])
    assert {feature["found"] for feature in report["features"]} == {None}


def test_an_old_kernel(capsys: pytest.CaptureFixture[str]) -> None:
    """By mount(2), options work as well; and what was seen, and not answered, has no number."""

    def run() -> Any:
        refusals.unprivileged()
        kernel.seccomp(
            *(kernel.Rule(call, errno.ENOSYS) for call in ("fsopen", "fsconfig", "fsmount")),
        )
        capsys.readouterr()
        return _doctor.main(True), capsys.readouterr().out

    status, text = in_child(run)
    features = {feature["feature"]: feature for feature in json.loads(text)["features"]}
    assert status == 0
    assert not features["fsopen"]["found"]
    assert features["fsopen"]["answer"] == "Function not implemented (ENOSYS)"
    assert features["huge"]["found"]
    assert features["inode64"]["found"]


def test_an_observation_has_no_number() -> None:
    assert _doctor.answer(errno.ENOSYS, "the flag is ignored") == "the flag is ignored"


def test_it_asks_for_what_a_root_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between Linux 5.10 and 5.13, a mount without nosymfollow is made in another way."""
    asked = []

    def mount(spec: MountSpec, *_: object) -> Any:
        asked.append(spec)
        raise VeryTmpUnavailable(errno.EPERM, "seen enough")

    monkeypatch.setattr("verytmp._available.mount", mount)
    monkeypatch.setattr("verytmp._root.mount", mount)
    assert not available()
    with pytest.raises(VeryTmpUnavailable):
        VeryTmpRoot(fallback="none")
    assert asked[0] == asked[1]


def test_in_a_chroot_without_proc() -> None:
    """No way is said to work, and both of the causes are told to an ordinary user."""

    def run() -> tuple[bool, str]:
        kernel.hide_proc()
        refusals.unprivileged()
        kernel.seccomp(kernel.Rule("unshare", errno.EPERM, 0, kernel.CLONE_NEWUSER))  # as in a chroot
        return any(way["made"] for way in _doctor.report()["strategies"]), available().remedy

    made, remedy = in_child(run)
    assert not made
    chroot = " Most likely this is a chroot too, where the kernel allows no user namespaces: enter the tree with "
    first, _, second = remedy.partition(" Most")
    assert first == "Mount /proc: mount -t proc proc /proc."
    assert f" Most{second}".startswith(chroot) == (os.geteuid() != 0)


def test_it_changes_nothing(host: Path) -> None:
    before, mounts, fallback = host_state.look(str(host)), host_state.mounts(), host_state.fallback()
    assert subprocess.run([sys.executable, "-m", "verytmp", "doctor"], cwd=host, capture_output=True).returncode == 0
    assert (host_state.look(str(host)), host_state.mounts(), host_state.fallback()) == (before, mounts, fallback)


def test_a_way_that_is_refused_by_the_kernel_itself() -> None:
    def refused() -> str:
        raise PermissionError(errno.EPERM, "it says no")

    tried = _doctor.tried(refused)
    assert not tried["made"]
    assert "EPERM" in tried["how"]
