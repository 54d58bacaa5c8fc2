"""The canary sings: each thing that an escape could do to the host is seen."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import canary, kernel
from support.canary import Canary
from support.children import in_child

from verytmp import VeryTmpRoot

BREACHES: dict[str, Callable[[Canary], object]] = {
    "read": lambda c: c.secret.read_bytes(),
    "read by another name": lambda c: (c.vault / "hard").read_bytes(),
    "read by a link": lambda c: (c.vault / "absolute").read_bytes(),
    "read by a program": lambda c: subprocess.run(["cat", c.secret], check=True, capture_output=True),
    "the target of a link": lambda c: (c.vault / "link").readlink(),
    "listed": lambda c: os.listdir(c.vault / "d"),
    "written, as long as before": lambda c: c.secret.write_bytes(c.content),
    "appended nothing": lambda c: os.truncate(c.secret, len(c.content)),
    "chmod": lambda c: c.secret.chmod(0o600),
    "touched": lambda c: os.utime(c.secret),
    "touched, a directory": lambda c: os.utime(c.vault / "empty"),
    "linked": lambda c: os.link(c.secret, c.folder / "home" / "new"),
    "unlinked": lambda c: c.secret.unlink(),
    "removed": lambda c: (c.vault / "empty").rmdir(),
    "removed whole": lambda c: shutil.rmtree(c.vault),
    "renamed": lambda c: (c.vault / "d" / "deep").rename(c.vault / "d" / "other"),
    "swapped": lambda c: (c.vault / "link").replace(c.vault / "absolute"),
    "made in the vault": lambda c: (c.vault / "new").touch(),
    "made beside it": lambda c: (c.folder / "new").touch(),
    "made in the working directory": lambda c: Path("new").touch(),
    "made at home": lambda c: (Path.home() / "new").mkdir(),
}


@pytest.fixture
def other(planted: Canary, monkeypatch: pytest.MonkeyPatch) -> Iterator[Canary]:
    """One that may be hurt: nobody checks it in the end."""
    with canary.planted() as bird:
        monkeypatch.chdir(bird.cwd)
        monkeypatch.setenv("HOME", str(bird.home))
        yield bird


@pytest.mark.parametrize("name", BREACHES)
def test_it_sings(other: Canary, name: str) -> None:
    assert other.changes() == []
    BREACHES[name](other)
    assert other.changes() != []


def test_it_sings_for_its_mark(other: Canary) -> None:
    for place in ("/tmp", "/dev/shm"):
        path = Path(place, f"{other.mark}-new")
        path.mkdir()
        try:
            assert other.changes() == [str(path)]
        finally:
            path.rmdir()
    assert other.changes() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may write to the host's root directory")
def test_it_sings_for_the_top(other: Canary) -> None:
    path = Path("/", f"{other.mark}-new")
    path.touch()
    try:
        assert str(path) in other.changes()
    finally:
        path.unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may write to the host's root directory")
def test_it_is_deaf_to_other_programs(other: Canary) -> None:
    path = Path(tempfile.mkdtemp(prefix=f"{canary.PREFIX}another-", dir="/"))
    try:
        assert other.changes() == []
    finally:
        path.rmdir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may write to the host's root directory")
def test_it_sings_for_another_directory_in_place_of_one(other: Canary) -> None:
    def covered() -> list[str]:
        kernel.private_mounts()
        kernel.cover("/usr")
        return other.changes()

    assert in_child(covered) == ["/usr"]


def test_it_knows_what_tells_of_the_host(planted: Canary) -> None:
    told: list[object] = [
        planted.content + b"\n",
        planted.content.decode(),
        [("name", [b"", planted.content])],
        {"name": planted.content},
        os.stat(planted.secret),
        os.stat("/"),
    ]
    assert all(map(planted.tells, told))
    assert not planted.tells([b"potatoes", "potatoes", None, os.stat("/proc"), planted.secret])


def test_it_looks_into_roots(planted: Canary) -> None:
    with VeryTmpRoot() as root:
        (root / "d").mkdir()
        (root / "link").symlink_to(str(planted.secret))
        planted.look(root.fileno())
        (root / "d" / "f").write_bytes(b"x" * 5000 + planted.content)
        with pytest.raises(AssertionError, match="/d/f holds the secret"):
            planted.look(root.fileno())
