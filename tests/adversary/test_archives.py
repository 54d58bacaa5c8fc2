"""Archives that want out, unpacked with every filter into a root and a directory of one; and by `unpack`.

`tarfile` joins a member's name to the destination's string by itself, so three things decide what becomes of it:

- ``..`` ends in the mount, and a symlink is followed by nobody: nothing leaves by them, whatever the filter.
- An absolute name is the host's own, as soon as `os.path.join` has seen it: "fully_trusted" lets it. No path of a root
  has any part in that.
- Where the mount follows symlinks (``nosymfollow=False``), absolute symlinks are followed: by tarfile too.

A directory in /dev/shm has no such mount: there, a filter is all that keeps an archive in, and it is tarfile's own.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import random
import subprocess
import tarfile
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from shutil import which
from stat import S_IFLNK
from typing import Any, Literal, NamedTuple

import pytest
from support import canary, host_state, oracle
from support.all_operations import REFUSALS
from support.archives import CANONICALISES, data_filter, member, needs_filters, packed, tar, tar_filter
from support.canary import Canary
from support.hostile_paths import READING, Case

from verytmp import VeryTmpPath, VeryTmpRoot

UP = "/".join([".."] * 30)
SYM, HARD, DIR = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE
STEPS = "abcdefghijklmnop"
LONG = "d" * 247  # sixteen of them, and it is longer than PATH_MAX


class Row(NamedTuple):
    source: str
    members: Callable[[Canary], list[tarfile.TarInfo]]
    absolute: bool = False  # a name is
    linked: bool = False  # an absolute symlink is on the way


def directory(name: str, mode: int) -> tarfile.TarInfo:
    found = member(name, DIR)
    found.mode = mode
    return found


def device(name: str, kind: bytes, major: int, minor: int) -> tarfile.TarInfo:
    found = member(name, kind)
    found.devmajor, found.devminor = major, minor
    return found


def stairs(target: str) -> list[tarfile.TarInfo]:
    """A way that is too long to be canonicalised, made of links that are short; and at its end, one that leads up."""
    made, path = [], ""
    for step in STEPS:
        made += [directory(f"{path}{LONG}", 0o755), member(f"{path}{step}", SYM, LONG)]
        path += f"{LONG}/"
    top = "/".join([*STEPS, "l" * 254])
    return [*made, member(top, SYM, "../" * len(STEPS)), member("escape", SYM, f"{top}/{UP}{target}")]


ROWS = {
    "an absolute name": Row("CVE-2007-4559", lambda c: [member(f"{c.folder}/new")], absolute=True),
    "an absolute name of two slashes": Row("", lambda c: [member(f"/{c.folder}/new")], absolute=True),
    "a file that is there": Row("", lambda c: [member(str(c.secret))], absolute=True),
    "an absolute directory": Row("", lambda c: [directory(str(c.vault / "d"), 0o700)], absolute=True),
    "an absolute link": Row("", lambda c: [member(f"{c.home}/new", SYM, "x")], absolute=True),
    "dots": Row("CVE-2007-4559", lambda c: [member(f"{UP}{c.vault}/new")]),
    "dots after a directory": Row("", lambda c: [member("d", DIR), member(f"d/{UP}{c.vault}/new")]),
    "a long name of dots": Row("GNU's long names", lambda c: [member(f"{UP}/{UP}/{UP}/{UP}{c.vault}/new")]),
    "a directory beside the destination": Row("CVE-2026-19672", lambda c: [member(f"../{c.mark}-made/../out/f")]),
    "a directory that is the destination": Row("CVE-2026-19672", lambda c: [member(f"../{c.mark}-d/../../x/../out/f")]),
    "through a link": Row("", lambda c: [member("l", SYM, str(c.vault)), member("l/new")], linked=True),
    "through a link up": Row("", lambda c: [member("l", SYM, f"{UP}{c.vault}"), member("l/new")]),
    "through a link in a link": Row(
        "", lambda c: [member("a", SYM, str(c.folder)), member("b", SYM, "a/vault"), member("b/new")], linked=True
    ),
    "through a long link": Row(
        "GNU's long links", lambda c: [member("l", SYM, "./" * 200 + f"{UP}{c.vault}"), member("l/new")]
    ),
    "through a magic link": Row(
        "", lambda c: [member("l", SYM, f"/proc/self/root{c.vault}"), member("l/new")], linked=True
    ),
    "through a link to the working directory": Row(
        "", lambda c: [member("l", SYM, "/proc/self/cwd"), member(f"l/{UP}{c.vault}/new")], linked=True
    ),
    "a link, written to": Row("", lambda c: [member("l", SYM, str(c.secret)), member("l")], linked=True),
    "a link up, written to": Row("", lambda c: [member("l", SYM, f"{UP}{c.secret}"), member("l")]),
    "a link, as a directory": Row(
        "CVE-2024-12718", lambda c: [member("l", SYM, str(c.vault)), directory("l", 0o700)], linked=True
    ),
    "a link up, as a directory": Row(
        "CVE-2024-12718", lambda c: [member("l", SYM, f"{UP}{c.vault}"), directory("l", 0o700)]
    ),
    "a link by way of a link": Row(
        "CVE-2025-4138",
        lambda c: [
            member("d/e", DIR),
            member("l", SYM, "d/e"),
            member("x", SYM, f"l/../../{UP}{c.vault}"),
            member("x/new"),
        ],
    ),
    "a hard link to a link": Row(
        "CVE-2025-4330",
        lambda c: [member("d/l", SYM, f"../{UP}{c.vault}"), member("x", HARD, "d/l"), member("x/new")],
    ),
    "a hard link to an absolute link": Row(
        "CVE-2025-4330",
        lambda c: [member("d/l", SYM, str(c.vault)), member("x", HARD, "d/l"), member("x/new")],
        linked=True,
    ),
    "a hard link to a deeper link": Row(
        "CVE-2026-11940",
        lambda c: [member("d/e/f/l", SYM, f"../../..{c.vault}"), member("x", HARD, "d/e/f/l"), member("x/new")],
    ),
    "a long way": Row(
        "CVE-2025-4517", lambda c: [*stairs(str(c.vault)), member("x", HARD, "escape/secret"), member("escape/new")]
    ),
    "a link through a link that is taken for a directory": Row(
        "",
        lambda c: [
            member("d/l", SYM, ".."),
            member("d/l/" * 20 + "x", SYM, "../" * 40 + str(c.vault)[1:]),
            member("x/new"),
        ],
    ),
    "a member that is to be left out": Row(
        "CVE-2025-4435", lambda c: [member(f"../{UP}{c.vault}/new"), member("l", SYM, f"{UP}{c.vault}"), member("l/n")]
    ),
    "a hard link to the host": Row("", lambda c: [member("x", HARD, str(c.secret)), member("x")]),
    "a hard link up": Row("", lambda c: [member("x", HARD, f"{UP}{c.secret}"), member("x")]),
    "a hard link through a link": Row(
        "", lambda c: [member("l", SYM, str(c.vault)), member("x", HARD, "l/secret"), member("x")]
    ),
    "devices": Row(
        "", lambda c: [device("null", tarfile.CHRTYPE, 1, 3), device("disk", tarfile.BLKTYPE, 8, 0)]
    ),
    "a FIFO": Row("", lambda c: [member("fifo", tarfile.FIFOTYPE)]),
    "names that are none": Row("", lambda c: [member(name) for name in ("", ".", "..", "/", "./", "../")]),
    "odd names": Row("", lambda c: [member(n) for n in ("-rf", "~", "a\nb", "a\\..\\b", "\udcff", "C:\\x", "*")]),
}  # fmt: skip

FILTERS: dict[str, Any] = {
    "fully_trusted": "fully_trusted",
    "tar": "tar",
    "data": "data",
    "the guide's": data_filter,
    "the guide's, tar": tar_filter,
    "none": lambda info, _: info,
}


@needs_filters
@pytest.mark.parametrize("name", ROWS)
def test_what_leaves(planted: Canary, root: VeryTmpRoot, name: str) -> None:
    row = ROWS[name]
    places: list[tuple[str, Literal[0, 1]]] = [("", 1), ("out", 0)]
    filters = ["data"] if root.kind == "shm" else [*FILTERS]
    if root.kind == "shm":
        places = [("", 1), ("out", 1)]  # without errors, what is to be left out is not: CVE-2025-4435
    tried = [(how, place, errorlevel) for how in filters for place, errorlevel in places]
    while tried:
        with canary.planted() as victim:  # until it is hurt
            while tried and not victim.changes():
                how, place, errorlevel = tried.pop()
                with tar(*row.members(victim), form=tarfile.GNU_FORMAT) as archive:
                    unpack(archive, root, place, how, errorlevel)
                victim.look(root.fileno())
                oracle.wipe(root.fileno())
                left = victim.changes() != []
                allowed = row.absolute and how in ("fully_trusted", "none")
                if root.nosymfollow or root.kind == "shm":
                    assert left is allowed, (how, place, errorlevel)
                else:
                    assert not left or allowed or row.linked, (how, place, errorlevel)


def unpack(archive: tarfile.TarFile, root: VeryTmpRoot, place: str, how: str, errorlevel: Literal[0, 1]) -> None:
    archive.errorlevel = errorlevel  # 0: go on after an error
    if place:
        (root / place).mkdir()
    try:
        archive.extractall(root / place, filter=FILTERS[how])
    except (*REFUSALS, tarfile.TarError, KeyError):
        pass
    if CANONICALISES and how in ("tar", "data") and errorlevel and root.kind == "tmpfs":
        assert list((root / place).iterdir()) == []


@needs_filters
def test_an_absolute_link_is_followed_where_links_are() -> None:
    """So that nobody takes ``nosymfollow=False`` for harmless, nor the table above for one that finds nothing."""
    for name in ("through a link", "a link, written to"):
        with (
            VeryTmpRoot(nosymfollow=False) as root,
            canary.planted() as bird,
            tar(*ROWS[name].members(bird)) as archive,
        ):
            archive.extractall(root.path, filter="fully_trusted")
            assert bird.changes() != [], name


@needs_filters
@pytest.mark.tmpfs  # /dev/shm's own mount decides
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make devices")
def test_devices_open_nothing(root: VeryTmpRoot) -> None:
    with tar(*ROWS["devices"].members(None)) as archive:  # type: ignore[arg-type]
        try:
            archive.extractall(root.path, filter="fully_trusted")
        except PermissionError:  # in a container, also root may not
            pytest.skip("devices cannot be made here")
    for name in ("null", "disk"):
        assert (root / name).is_char_device() or (root / name).is_block_device()
        for path in (root / name, Path(os.fspath(root / name))):
            with pytest.raises(PermissionError):
                path.read_bytes()


@pytest.mark.parametrize("name", ROWS)
def test_what_leaves_by_unpack(planted: Canary, root: VeryTmpRoot, name: str) -> None:
    """Nothing, whatever the mount, and in the fallback too: absolute names and links stay in the root."""
    for place in ("", "out"):
        for source in (io.BytesIO, Stream):
            archive = source(packed(*ROWS[name].members(planted), form=tarfile.GNU_FORMAT).getvalue())
            with contextlib.suppress(OSError):  # and no other error
                (root / place).unpack(archive)
            planted.check()
            planted.look(root.fileno())
            oracle.wipe(root.fileno())


class Stream(io.BytesIO):
    """It cannot seek."""

    def seekable(self) -> bool:
        return False


# -- zip ---------------------------------------------------------------------------------------------------------------


def zipped(*entries: tuple[str, str], links: bool = False) -> io.BytesIO:
    """An archive of names and contents, or of symlinks as ``zip -y`` writes them, each with its target."""
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w") as archive:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in entries:
            info = zipfile.ZipInfo(name)
            info.create_system = 3
            info.external_attr = ((S_IFLNK if links and content.startswith(("/", ".")) else 0o100000) | 0o755) << 16
            archive.writestr(info, content)
    file.seek(0)
    return file


def farm(bird: Canary) -> list[tuple[str, str]]:
    """What pip, git and ``zip -y`` have been given to unpack: links, then files through them."""
    return [
        ("link", str(bird.vault)),
        ("link/new", "evil"),
        ("up", f"{UP}{bird.vault}"),
        ("up/new", "evil"),
        ("file", str(bird.secret)),
        ("file", "evil"),
        ("pkg/data", f"../..{bird.secret}"),
        ("pkg-1.0.dist-info/RECORD", f"{UP}{bird.secret}"),
        (".git", str(bird.vault)),
        (".git/hooks/post-checkout", "evil"),
        (".GIT/config", "evil"),
        ("sub/.git", f"/proc/self/cwd/{UP}{bird.vault}"),
        ("sub/.git/config", "evil"),
        ("loop", "./loop"),
        ("self", "."),
        ("magic", f"/proc/self/root{bird.secret}"),
        (f"{UP}{bird.vault}/new", "evil"),
        (f"{bird.vault}/new", "evil"),
        ("..\\..\\new", "evil"),
        ("C:\\new", "evil"),
        ("d/", ""),
        ("d/../../new", "evil"),
        ("a\0b", "evil"),
    ]


def test_a_zip(root: VeryTmpRoot, planted: Canary) -> None:
    for links in (False, True):
        with zipfile.ZipFile(zipped(*farm(planted), links=links)) as archive:
            for place in (root.path, root / "out"):
                for name in archive.namelist():
                    try:
                        archive.extract(name, place)
                    except OSError:
                        continue
                planted.check()
                planted.look(root.fileno())
    assert len(list(root.path.rglob("*"))) > 20


@pytest.mark.parametrize("links", [False, True])
def test_a_zip_by_unpack(root: VeryTmpRoot, planted: Canary, links: bool) -> None:
    """Entry by entry too, for the first contradiction ends it."""
    entries = farm(planted)
    for chosen in (entries, *([*entries[:2], entry] for entry in entries), *([entry] for entry in entries)):
        with contextlib.suppress(OSError):
            root.path.unpack(zipped(*chosen, links=links))
        planted.check()
        planted.look(root.fileno())
        oracle.wipe(root.fileno())


PROGRAMS: dict[str, list[str]] = {
    "unzip": ["unzip", "-o", "-q", "{archive}", "-d", "{root}"],
    "unzip, dots and all": ["unzip", "-o", "-q", "-:", "{archive}", "-d", "{root}"],
    "tar": ["tar", "--extract", "--file={archive}", "--directory={root}"],
    "tar, dots and all": ["tar", "--extract", "--absolute-names", "--file={archive}", "--directory={root}"],
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.tmpfs) if "dots" in name else name for name in PROGRAMS]
)  # whoever is told to follow dots leaves a directory in /dev/shm
def test_a_program_unpacks_a_farm(planted: Canary, host: Path, name: str) -> None:
    """Programs have no more than the string. Where links are followed, theirs is the choice; here they are not.

    tar is told to take absolute names as they are: the farm that it gets has none.
    """
    command = PROGRAMS[name]
    if not which(command[0]):
        pytest.skip(f"{command[0]} is not installed")
    archive = host / "archive"
    entries = [entry for entry in farm(planted) if "\0" not in entry[0] and not entry[0].startswith("/")]
    if command[0] == "unzip":
        archive.write_bytes(zipped(*entries, links=True).getvalue())
    else:
        with tarfile.open(archive, "w") as file:
            for path, content in entries:
                info = member(path, SYM if content.startswith(("/", ".")) else tarfile.REGTYPE, content)
                info.size = 0 if info.issym() else len(content)
                file.addfile(info, io.BytesIO(content.encode()))
    with VeryTmpRoot() as root:
        arguments = [argument.format(archive=archive, root=os.fspath(root)) for argument in command]
        subprocess.run(arguments, capture_output=True, timeout=30)
        assert (root / "loop").is_symlink()
        planted.check()
        planted.look(root.fileno())
        with VeryTmpRoot() as other:
            for entry in ("", *os.listdir(root)):
                case = Case(root, other, planted, name)
                for operation in READING if not entry else ("read_bytes", "stat", "lstat", "iterdir", "resolve"):
                    try:
                        assert not planted.tells(READING[operation](case))
                    except REFUSALS:
                        continue
        planted.check()


def test_zip_packs_links_as_links(root: VeryTmpRoot, planted: Canary, host: Path) -> None:
    """``zip -y`` of a farm in a root, by its string: the archive has the targets, and nothing of the host's."""
    if not which("zip"):
        pytest.skip("zip is not installed")
    host_state.make(
        root.fileno(), {"d": {"l": f"-> {planted.secret}", "u": f"-> {UP}{planted.secret}", "f": b"inside"}}
    )
    subprocess.run(["zip", "-q", "-y", "-r", host / "a.zip", root / "d"], capture_output=True, timeout=30, check=True)
    with zipfile.ZipFile(host / "a.zip") as archive:
        packed = {name.rpartition("/")[2]: archive.read(name) for name in archive.namelist()}
    assert packed == {"": b"", "l": bytes(planted.secret), "u": f"{UP}{planted.secret}".encode(), "f": b"inside"}


# -- bombs -------------------------------------------------------------------------------------------------------------


def bombs() -> dict[str, io.BytesIO]:
    """Small archives of much: in one file, in many, in a file that is said to be large, and in archives of archives."""
    many, large, sparse, nested = io.BytesIO(), io.BytesIO(), io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=many, mode="w:gz") as archive:
        for number in range(1000):
            archive.addfile(member(f"f{number}"))
    with zipfile.ZipFile(large, "w", zipfile.ZIP_DEFLATED) as archive_of_zip:
        archive_of_zip.writestr("zeros", bytes(1 << 23))
    with tarfile.open(fileobj=sparse, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = member("sparse")
        info.size, info.pax_headers = 4, {"GNU.sparse.map": "0,4", "GNU.sparse.size": str(1 << 50)}
        archive.addfile(info, io.BytesIO(b"evil"))
    with zipfile.ZipFile(nested, "w", zipfile.ZIP_DEFLATED) as archive_of_zip:
        for number in range(16):
            archive_of_zip.writestr(f"{number}.zip", large.getvalue())
    return {"many.tar": many, "large.zip": large, "sparse.tar": sparse, "nested.zip": nested}


@pytest.mark.tmpfs
@pytest.mark.parametrize("name", ["many.tar", "large.zip", "sparse.tar"])
def test_a_bomb_by_unpack(planted: Canary, name: str) -> None:
    with VeryTmpRoot(size="1m", nr_inodes=100) as root:
        (root / "kept").write_bytes(b"kept")
        bomb = bombs()[name]
        bomb.seek(0)
        if name == "sparse.tar":  # which is what it is: a hole
            root.path.unpack(bomb)
            assert (root / "sparse").stat().st_size == 1 << 50
        else:
            with pytest.raises(OSError) as caught:
                root.path.unpack(bomb)
            assert caught.value.errno == errno.ENOSPC
        assert (root / "kept").read_bytes() == b"kept"


@needs_filters
def test_bombs_fill_a_root_and_no_more(planted: Canary) -> None:
    for name, file in bombs().items():
        assert file.tell() < 1 << 18, "small"
        file.seek(0)
        with VeryTmpRoot(size="1m", nr_inodes=100) as root:
            (root / "kept").write_bytes(b"kept")
            (root / "bomb").write_bytes(file.getvalue())
            error = None
            try:
                unpack_all(root, name)
            except (OSError, tarfile.TarError) as raised:
                error = raised
            assert root.usage().used <= 1 << 20
            assert sum(1 for _ in root.path.rglob("*")) < 100
            assert (root / "kept").read_bytes() == b"kept"
            if name != "sparse.tar":  # which is what it is: a hole
                assert isinstance(error, OSError)
                assert error.errno == errno.ENOSPC


def unpack_all(root: VeryTmpRoot, name: str) -> None:
    """And what is in it, and in that: until it ends."""
    if name.endswith(".tar"):
        with tarfile.open(root / "bomb") as archive:
            archive.extractall(root / "out", filter=data_filter)
        return
    left = [root / "bomb"]
    while left:
        path = left.pop()
        with zipfile.ZipFile(path) as archive_of_zip:
            archive_of_zip.extractall(root / f"{path.name}-out")
        left += (root / f"{path.name}-out").rglob("*.zip")


def test_archives_without_end(planted: Canary) -> None:
    """As a quine has it: whoever unpacks an archive finds it again. The root's bounds end it."""
    step = io.BytesIO()
    with zipfile.ZipFile(step, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("again.zip", b"")
    with VeryTmpRoot(size="1m", nr_inodes=100) as root:
        with pytest.raises(OSError) as caught:
            unpack_for_ever(root.path, step.getvalue())
        assert caught.value.errno == errno.ENOSPC
        assert root.usage().used <= 1 << 20


def unpack_for_ever(place: VeryTmpPath, again: bytes) -> None:
    while True:
        (place / "again.zip").write_bytes(again)  # what a quine would have put there
        with zipfile.ZipFile(place / "again.zip") as archive:
            archive.extractall(place / "out")
        place /= "out"


# -- what nobody has thought of ----------------------------------------------------------------------------------------


def seeds(bird: Canary) -> list[bytes]:
    """Archives of all kinds, to be damaged."""
    sparse = member("sparse")
    sparse.pax_headers = {"GNU.sparse.map": "0,2,4096,2", "GNU.sparse.size": "8192", "GNU.sparse.name": "../s"}
    modern = member("m" * 120)
    modern.pax_headers = {"path": f"{UP}{bird.vault}/new", "mtime": "1.5", "size": "4", "comment": "x" * 600}
    everything = [info for row in ROWS.values() for info in row.members(bird) if len(info.name) < 4096][:40]
    return [
        packed(sparse, modern, form=tarfile.PAX_FORMAT).getvalue(),
        packed(*everything, form=tarfile.GNU_FORMAT).getvalue(),
        packed(*everything, form=tarfile.PAX_FORMAT).getvalue(),
        packed(*everything[:5], mode="w:gz").getvalue(),
        packed(*everything[:5], mode="w:xz").getvalue(),
        zipped(*farm(bird)).getvalue(),
        zipped(*farm(bird), links=True).getvalue(),
    ]


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Some bytes are others, a part is missing, doubled, or a number that is as large as it may be."""
    found = bytearray(data)
    for _ in range(chance.randrange(1, 6)):
        place = chance.randrange(len(found))
        kind = chance.randrange(5)
        if kind == 0:
            found[place] = chance.randrange(256)
        elif kind == 1:
            del found[place : place + chance.choice((1, 2, 512))]
        elif kind == 2:
            found[place:place] = found[max(0, place - 512) : place]
        elif kind == 3:
            found[place : place + 4] = chance.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"7777", b"\x80\0\0\0"))
        else:  # a field of a tar header
            block = place // 512 * 512
            start = chance.choice((0, 100, 124, 136, 156, 157, 257, 345, 386, 482))
            found[block + start : block + start + 12] = chance.choice((b"7" * 12, b"\x80" + b"\xff" * 11, b"\xff" * 12))
            header = found[block : block + 512]
            header[148:156] = b" " * 8
            found[block + 148 : block + 156] = b"%06o\0 " % sum(header)
        if not found:
            break
    return bytes(found)


@pytest.mark.slow
@pytest.mark.tmpfs
def test_damaged_archives(planted: Canary, pytestconfig: pytest.Config) -> None:
    """Each is unpacked, or an error of the one kind, in a second."""
    chance = random.Random(pytestconfig.getoption("--endurance") or 21)  # longer runs have other seeds
    archives = seeds(planted)
    slowest = 0.0
    ends = time.monotonic() + (pytestconfig.getoption("--endurance") or 4)
    count = 0
    with VeryTmpRoot(size="1m", nr_inodes=200) as root:
        while time.monotonic() < ends:
            count += 1
            data = damaged(chance.choice(archives), chance)
            started = time.process_time()
            with contextlib.suppress(OSError):  # and no other
                root.path.unpack(io.BytesIO(data) if chance.random() < 0.5 else Stream(data))
            slowest = max(slowest, time.process_time() - started)
            root.clear()
            if count % 50 == 0:
                planted.check()
    planted.check()
    assert count > 50
    assert slowest < 5
