"""Paths in the hands of zipfile and tarfile, evil archives among them."""

from __future__ import annotations

import os
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from support import host_state
from support.archives import CANONICALISES, CANONICALISES_LINKS, data_filter, member, needs_filters, tar
from support.compare_with_host import FILTERS, LINKED, TREE, UP, string

from verytmp import VeryTmpRoot


def test_zipfile(root: VeryTmpRoot) -> None:
    host_state.make(root.fileno(), TREE)
    with zipfile.ZipFile(root / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        assert archive.filename == f"{string(root)}/a.zip"
        for path in sorted((root / "d").rglob("*")):
            archive.write(path, str(path.relative_to(root.path)))
        archive.writestr("text", "by words")
    assert zipfile.is_zipfile(root / "a.zip")
    with zipfile.ZipFile(root / "a.zip") as archive:
        archive.extractall(root / "out")
        assert archive.extract("text", root / "one") == f"{string(root)}/one/text"
        assert zipfile.Path(archive, "d/").joinpath("f").read_bytes() == b"d/f"
    assert host_state.look(root.fileno())["out"] == {"d": TREE["d"], "text": b"by words"}
    assert host_state.look(root.fileno())["one"] == {"text": b"by words"}


def test_an_evil_zipfile(root: VeryTmpRoot, host: Path) -> None:
    """Its own sanitising works; no path of it is the host's."""
    with zipfile.ZipFile(root / "a.zip", "w") as archive:
        for name in ("../up", f"{UP}/upmost", f"{host}/absolute"):
            archive.writestr(name, "evil")
    with zipfile.ZipFile(root / "a.zip") as archive:
        archive.extractall(root / "out")
    assert host_state.look(str(host)) == {}
    assert os.path.isfile(f"{string(root)}/out{host}/absolute")
    assert {"up", "upmost"} < host_state.look(root.fileno())["out"].keys()  # type: ignore[attr-defined]


@needs_filters
@pytest.mark.parametrize("how", FILTERS)
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_tarfile(root: VeryTmpRoot, mode: Any, how: Any) -> None:
    host_state.make(root.fileno(), {"x": LINKED})
    os.chmod(f"{string(root)}/x/f", 0o640)
    os.utime(f"{string(root)}/x/f", (1, 2))
    os.link(f"{string(root)}/x/f", f"{string(root)}/x/hard")
    with tarfile.open(root / "a.tar", mode) as archive:
        archive.add(root / "x", "x")
        assert archive.name == f"{string(root)}/a.tar"
    assert tarfile.is_tarfile(root / "a.tar")
    with tarfile.open(root / "a.tar") as archive:
        archive.extractall(root / "out", filter=how)
    assert host_state.look(root.fileno())["out"] == {"x": LINKED | {"hard": b"potatoes"}}
    extracted = os.stat(f"{string(root)}/out/x/f")
    links = 1 if CANONICALISES_LINKS else 2
    assert (stat.S_IMODE(extracted.st_mode), extracted.st_mtime, extracted.st_nlink) == (0o640, 2, links)


@needs_filters
@pytest.mark.parametrize("how", ["data", "tar"])
def test_tarfile_with_a_filter_of_its_own(root: VeryTmpRoot, how: Any) -> None:
    """Which canonicalises, since 3.14: then it unpacks nothing, and says so."""
    with tar(member("f")) as archive:
        if CANONICALISES:
            with pytest.raises(NotADirectoryError, match="/dev/null"):
                archive.extractall(root.path, filter=how)
            assert host_state.look(root.fileno()) == {}
        else:
            archive.extractall(root.path, filter=how)
            assert host_state.look(root.fileno()) == {"f": b"evil"}


@needs_filters
@pytest.mark.parametrize(
    ("members", "error"),
    [
        ([member("../up")], "OutsideDestinationError"),
        ([member(f"{UP}/etc/passwd")], "OutsideDestinationError"),
        ([member("d/../../up")], "OutsideDestinationError"),
        ([member("link", tarfile.SYMTYPE, "/etc/passwd")], "AbsoluteLinkError"),
        ([member("link", tarfile.SYMTYPE, "../up")], "LinkOutsideDestinationError"),
        ([member("link", tarfile.SYMTYPE, f"{UP}/etc/passwd")], "LinkOutsideDestinationError"),
        ([member("link", tarfile.LNKTYPE, "../up")], "LinkOutsideDestinationError"),
        ([member("link", tarfile.LNKTYPE, "/etc/passwd")], "AbsoluteLinkError"),
        ([member("device", tarfile.CHRTYPE)], "SpecialFileError"),
        ([member("fifo", tarfile.FIFOTYPE)], "SpecialFileError"),
    ],
)
def test_an_evil_tarfile_is_refused(root: VeryTmpRoot, members: list[tarfile.TarInfo], error: str) -> None:
    (root / "up").write_text("innocent")
    with tar(*members) as archive, pytest.raises(getattr(tarfile, error)):
        archive.extractall(root / "out", filter=data_filter)
    assert set(host_state.look(root.fileno())) <= {"up", "out"}
    assert host_state.look(root.fileno())["up"] == b"innocent"
    assert host_state.look(root.fileno()).get("out", {}) == {}


@needs_filters
@pytest.mark.parametrize("how", FILTERS)
@pytest.mark.tmpfs
def test_an_evil_tarfile_does_not_reach_the_host(host: Path, how: Any) -> None:
    """Whoever trusts it fully: dots end in the mount, and a link leads nowhere."""
    (host / "secret").write_text("the host's")
    attempts = [
        [member(f"{UP}{host}/secret")],
        [member("link", tarfile.SYMTYPE, str(host)), member("link/secret")],
        [member("link", tarfile.SYMTYPE, f"{UP}{host}"), member("link/new")],
    ]
    for members in attempts:
        with VeryTmpRoot() as root, tar(*members) as archive:
            try:
                archive.extractall(root / "out", filter=how)
            except (OSError, tarfile.TarError):
                pass
            assert host_state.look(str(host)) == {"secret": b"the host's"}
