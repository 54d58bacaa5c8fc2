"""`unpack`: what of an archive is made, what is left out, and what is an error."""

from __future__ import annotations

import decimal
import errno
import gzip
import io
import os
import shutil
import stat
import struct
import subprocess
import tarfile
import time
import warnings
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support import host_state
from support.archives import member, packed

from verytmp import VeryTmpArchiveError, VeryTmpPath, VeryTmpReport, VeryTmpRoot
from verytmp._paths import archives

SYM, HARD, DIR = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE
COMPRESSIONS = ["", "gz", "bz2", "xz", *(["zst"] if find_spec("_zstd") else [])]


@pytest.fixture
def root() -> Any:
    with VeryTmpRoot() as made:
        yield made


def there(path: VeryTmpPath | VeryTmpRoot) -> host_state.Tree:
    return host_state.look(os.fspath(path))


def with_mode(info: tarfile.TarInfo, mode: int, mtime: float = 0) -> tarfile.TarInfo:
    info.mode, info.mtime = mode, mtime
    return info


def honest(compression: str = "") -> io.BytesIO:
    return packed(
        member("d", DIR), member("d/f"), member("h", HARD, "d/f"), member("l", SYM, "d"), member("l/below"),
        content=b"potatoes" * 1000, mode=f"w:{compression}",
    )  # fmt: skip


POTATOES = b"potatoes" * 1000
HONEST: host_state.Tree = {"d": {"f": POTATOES, "below": POTATOES}, "h": POTATOES, "l": "-> d"}
REPORT = VeryTmpReport(5, 16000, {}, {})


class Stream:
    """What can be read, a few bytes at a time, and nothing else."""

    def __init__(self, data: bytes, most: int = 7) -> None:
        self.file, self.most = io.BytesIO(data), most

    def read(self, size: int = -1) -> bytes:
        return self.file.read(self.most if size < 0 else min(size, self.most))


def zipped(*entries: tuple[str | zipfile.ZipInfo, bytes], **keywords: Any) -> io.BytesIO:
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", **keywords) as archive:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in entries:
            archive.writestr(name, content)
    file.seek(0)
    return file


def entry(name: str, mode: int = 0o100644, system: int = 3) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, (2020, 2, 2, 2, 2, 2))
    info.external_attr, info.create_system = mode << 16, system
    return info


def failed(call: Callable[[], object], number: int, *words: str) -> VeryTmpArchiveError:
    with pytest.raises(VeryTmpArchiveError) as caught:
        call()
    assert caught.value.errno == number
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert any(note.startswith("Before that, ") for note in caught.value.__notes__)
    return caught.value


# -- from where --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_tar_archive_from_anywhere(root: VeryTmpRoot, host: Path, compression: str) -> None:
    data = honest(compression).getvalue()
    if compression == "zst":  # pzstd writes frames first that are to be skipped
        data = b"\x50\x2a\x4d\x18\4\0\0\0\xaa\0\0\0" + b"\x5f\x2a\x4d\x18\0\0\0\0" + data
    (host / "a").write_bytes(data)
    (root / "a").write_bytes(data)
    with VeryTmpRoot() as other, (host / "a").open("rb") as file, open(host / "a", "rb", 0) as unbuffered:
        (other / "a").write_bytes(data)
        sources: list[Any] = [
            host / "a", root / "a", other / "a", "a", "/a", file, unbuffered, io.BytesIO(data), Stream(data)
        ]  # fmt: skip
        for number, source in enumerate(sources):
            assert (root / f"{number}" / "made").unpack(source) == REPORT, source
            assert there(root / f"{number}" / "made") == HONEST
            assert os.path.samefile(root / f"{number}" / "made" / "h", root / f"{number}" / "made" / "d" / "f")


def test_from_where_a_file_is(root: VeryTmpRoot) -> None:
    """Archives in a row, as on a tape; and nothing is closed."""
    file = io.BytesIO(b"potatoes" + honest().getvalue())
    file.seek(8)
    root.path.unpack(file)
    assert there(root) == HONEST
    assert not file.closed


def test_a_stream_that_gives_more_than_it_is_asked_for(root: VeryTmpRoot) -> None:
    """As those that are made of an iterator of chunks."""
    for number, data in enumerate((honest(), honest("gz"), zipped(("f", POTATOES)))):
        stream = Stream(data.getvalue(), 5000)
        stream.read = lambda size, file=stream.file: file.read(5000)  # type: ignore[method-assign, misc, assignment]
        assert (root / f"{number}").unpack(stream).bytes in (8000, 16000)


def test_from_a_pipe(root: VeryTmpRoot) -> None:
    for name, data in ("tar", honest("gz")), ("zip", zipped(("d/f", POTATOES))):
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin
            assert process.stdout
            process.stdin.write(data.getvalue())
            process.stdin.close()
            (root / name).unpack(process.stdout)
    assert there(root) == {"tar": HONEST, "zip": {"d": {"f": POTATOES}}}


@pytest.mark.tmpfs
def test_a_zip_archive_from_a_stream_is_kept_meanwhile(root: VeryTmpRoot) -> None:
    with VeryTmpRoot(size="64k") as small:
        data = zipped(("f", bytes(40_000))).getvalue()
        (small / "f").write_bytes(b"")
        failed_at = []
        with pytest.raises(OSError) as caught:
            small.path.unpack(Stream(data, 1000))
        failed_at.append(caught.value.errno)
        assert failed_at == [errno.ENOSPC]
        used = small.usage().used
        small.path.unpack(io.BytesIO(data))
        assert used == 0, "and is gone"


def test_a_string_that_is_only_on_the_host(root: VeryTmpRoot, host: Path) -> None:
    (host / "a").write_bytes(honest().getvalue())
    with pytest.raises(FileNotFoundError, match="only on the host") as caught:
        root.path.unpack(str(host / "a"))
    assert caught.value.__notes__ == [f"To go to the host, give a pathlib.Path: pathlib.Path({str(host / 'a')!r})."]
    assert there(root) == {}


# -- what is made ------------------------------------------------------------------------------------------------------


def test_names_stop_at_the_directory(root: VeryTmpRoot) -> None:
    names = ["/abs", "../up", "a/../../b", "./c", "d//e", "/../../f/./g", "h/"]
    for make in (packed(*map(member, names)), zipped(*((name, b"evil") for name in names))):
        (root / "x" / "y").unpack(make)
        inside: Any = {"abs": b"evil", "up": b"evil", "b": b"evil", "c": b"evil", "d": {"e": b"evil"}}
        inside |= {"f": {"g": b"evil"}, "h": {} if zipfile.is_zipfile(make) else b"evil"}
        assert there(root) == {"x": {"y": inside}}
        root.clear()


def test_names_of_the_directory_itself(root: VeryTmpRoot) -> None:
    root.path.chmod(0o750)
    report = root.path.unpack(
        packed(*(with_mode(member(name, DIR), 0o777) for name in (".", "./", "/", "..")), *map(member, ("..", "/")))
    )
    assert report == (0, 0, dict.fromkeys(("..", "/"), "it has the name of the directory itself"), {})
    assert there(root) == {}
    assert stat.S_IMODE(root.path.stat().st_mode) == 0o750, "which is the caller's"


def test_links_lead_where_paths_of_the_root_do(root: VeryTmpRoot) -> None:
    """As after chroot(2), and not to what is below the directory that was unpacked into."""
    (root / "etc").mkdir()
    archive = packed(
        member("absolute", SYM, "/etc"), member("up", SYM, "../../../../etc"), member("absolute/a"), member("up/b")
    )
    (root / "out").unpack(archive)
    assert there(root) == {
        "etc": {"a": b"evil", "b": b"evil"},
        "out": {"absolute": "-> /etc", "up": "-> ../../../../etc"},
    }


def test_modes_and_times_are_kept(root: VeryTmpRoot) -> None:
    umask = os.umask(0o077)
    try:
        root.path.unpack(
            packed(
                with_mode(member("d", DIR), 0o1755, 10),
                with_mode(member("d/f"), 0o6777, 20),
                member("d/e", DIR),
                with_mode(member("d/l", SYM, "f"), 0o777, 30),
                with_mode(member("d/z"), 0o400, -40),
                with_mode(member("d/z"), 0o400, -40),
            )
        )
    finally:
        os.umask(umask)
    for name, mode, mtime in (("d", 0o1755, 10), ("d/f", 0o6777, 20), ("d/l", 0o777, 30), ("d/z", 0o400, -40)):
        status = (root / name).lstat()
        assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (mode, mtime * 10**9), name


def test_directories_may_forbid_what_is_made_in_them(root: VeryTmpRoot) -> None:
    """And even to be passed, which an ordinary user may not then."""
    root.path.unpack(
        packed(
            with_mode(member("a", DIR), 0, 5),
            with_mode(member("a/b", DIR), 0o500, 6),
            with_mode(member("a/b/f"), 0),
            with_mode(member("b", SYM, "a"), 0o777),
            with_mode(member("b/c", DIR), 0o111, 7),
        )
    )
    status = (root / "a").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime) == (0, 5)
    (root / "a").chmod(0o700)
    found = {name: stat.S_IMODE((root / name).stat().st_mode) for name in ("a/b", "a/c", "a/b/f")}
    assert found == {"a/b": 0o500, "a/c": 0o111, "a/b/f": 0}


def test_directories_that_forbid_the_way_by_a_link(root: VeryTmpRoot) -> None:
    """A name with links in it may lead through any other directory, whichever is closed first."""
    root.path.unpack(
        packed(
            with_mode(member("z", DIR), 0),
            member("a", SYM, "z"),
            with_mode(member("a/b", DIR), 0o500),
            with_mode(member("m", DIR), 0),
            member("n", SYM, "m/../z"),
            with_mode(member("n/c", DIR), 0o100),
            with_mode(member("n", DIR), 0o001),
        )
    )
    found = {name: stat.S_IMODE((root / name).stat().st_mode) for name in ("z", "m")}
    for name in found:
        (root / name).chmod(0o700)
    found |= {name: stat.S_IMODE((root / name).stat().st_mode) for name in ("z/b", "z/c")}
    assert found == {"z": 0o001, "m": 0, "z/b": 0o500, "z/c": 0o100}


@pytest.mark.parametrize(
    "text", ["1234567890.123456789", "-1.5", "1e3", "nan", "inf", "x", "9" * 40, "1e999990", "9e999999"]
)
def test_times_of_nanoseconds(root: VeryTmpRoot, text: str) -> None:
    info = member("f")
    info.pax_headers = {"mtime": text}
    before = time.time_ns() - 10**9
    root.path.unpack(packed(info, form=tarfile.PAX_FORMAT))
    wanted = {"1234567890.123456789": 1234567890123456789, "-1.5": -1500000000, "1e3": 10**12}
    mtime = (root / "f").stat().st_mtime_ns
    assert time.time_ns() - before < 10 * 10**9, "a number of a million digits takes half a minute"
    assert mtime == wanted[text] if text in wanted else mtime in (0, *range(0)) or mtime >= before


def test_times_are_not_rounded_by_the_callers_decimals(root: VeryTmpRoot) -> None:
    with decimal.localcontext(decimal.Context(prec=3)):
        test_times_of_nanoseconds(root, "1234567890.123456789")


def test_hard_links(root: VeryTmpRoot) -> None:
    report = root.path.unpack(
        packed(
            member("f"),
            member("a/h", HARD, "/../f"),
            member("l", SYM, "f"),
            member("hl", HARD, "./l"),
            member("f", HARD, "f"),
            member("x"),
            member("x", HARD, "f"),
            member("missing", HARD, "nothing"),
            member("d", DIR),
            member("hd", HARD, "d"),
        )
    )
    assert there(root) == {"f": b"evil", "a": {"h": b"evil"}, "l": "-> f", "hl": "-> f", "x": b"evil", "d": {}}
    assert (root / "f").stat().st_nlink == 3
    assert report.left_out == {"missing": "a hard link to what is not there", "hd": "a hard link to a directory"}


def test_a_hard_link_to_itself_by_way_of_a_link(root: VeryTmpRoot) -> None:
    report = root.path.unpack(packed(member("d/f"), member("l", SYM, "d"), member("l/f", HARD, "d/f")))
    assert report == (3, 4, {}, {})
    assert there(root) == {"d": {"f": b"evil"}, "l": "-> d"}


@pytest.mark.parametrize("last", [member("l", SYM, "nowhere"), member("l")], ids=["a link to nothing", "a file"])
def test_a_directory_by_way_of_a_link_that_is_replaced(root: VeryTmpRoot, last: tarfile.TarInfo) -> None:
    directory = with_mode(member("l", DIR), 0o751, 5)
    root.path.unpack(packed(member("d", DIR), member("l", SYM, "d"), directory, with_mode(last, 0o600, 7)))
    status = (root / "l").lstat()
    assert status.st_mtime == 7
    assert stat.S_IMODE(status.st_mode) == (0o600 if last.isfile() else 0o777)


def test_what_is_there_is_replaced_and_not_written_to(root: VeryTmpRoot) -> None:
    before: host_state.Tree = {"f": b"old", "s": "-> f", "d": {"f": b"old"}, "ld": "-> d", "to": "-> nowhere"}
    host_state.make(root.fileno(), before)
    (root / "h").hardlink_to("/f")
    root.path.unpack(
        packed(
            member("f"),
            member("s"),
            member("d", DIR),
            member("ld", DIR),
            member("ld/g"),
            member("to", DIR),
            member("d/f", SYM, "x"),
        )
    )
    assert there(root) == {
        "f": b"evil", "s": b"evil", "h": b"old", "d": {"f": "-> x", "g": b"evil"}, "ld": "-> d", "to": {}
    }  # fmt: skip


CONTRADICTIONS: dict[str, tuple[list[tarfile.TarInfo], int]] = {
    "a file in the place of a directory": ([member("d", DIR), member("d")], errno.EISDIR),
    "a link in the place of a directory": ([member("d", DIR), member("d", SYM, "x")], errno.EISDIR),
    "a file below a file": ([member("f"), member("f/g")], errno.ENOTDIR),
    "a file below a link to nothing": ([member("l", SYM, "x"), member("l/g")], errno.EEXIST),
    "a file below a loop": ([member("l", SYM, "l"), member("l/g")], errno.ELOOP),
    "a long name": ([member("f" * 256)], errno.ENAMETOOLONG),
    "a long path": ([member("d/" * 2500 + "f")], errno.ENAMETOOLONG),
    "a long target": ([member("l", SYM, "x/" * 2500)], errno.ENAMETOOLONG),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_contradictions(root: VeryTmpRoot, case: str) -> None:
    members, number = CONTRADICTIONS[case]
    with pytest.raises(OSError) as caught:
        root.path.unpack(packed(member("first"), *members, form=tarfile.GNU_FORMAT))
    assert caught.value.errno == number
    assert str(caught.value.filename).startswith((str(root.path), "d/"))
    [note] = caught.value.__notes__
    assert note.startswith("Before that, ")
    assert (root / "first").read_bytes() == b"evil"
    root.clear()


def test_what_is_left_out(root: VeryTmpRoot) -> None:
    infos = [
        member("char", tarfile.CHRTYPE), member("block", tarfile.BLKTYPE), member("fifo", tarfile.FIFOTYPE),
        member("label", b"V"), member("empty", SYM, ""),
    ]  # fmt: skip
    odd = member("f")
    odd.pax_headers = {"path": "nu\0ll"}
    report = root.path.unpack(packed(*infos, odd, member("last")))
    assert report == (
        1, 4, {
            "char": "a character device", "block": "a block device", "fifo": "a FIFO",
            "label": "the label of a volume", "empty": "a symlink without a target",
            "nu\0ll": "a null byte in its name or target",
        }, {},
    )  # fmt: skip
    report = (root / "zip").unpack(
        zipped(
            (entry("fifo", stat.S_IFIFO), b""),
            (entry("odd", 0o050000), b""),
            (entry("-", stat.S_IFIFO | 0o600), b"piped"),
        )
    )
    assert report.left_out == {"fifo": "a FIFO", "odd": "of no known type"}
    assert there(root) == {"last": b"evil", "zip": {"-": b"piped"}}


def test_times_in_gnus_headers_are_no_part_of_a_name(root: VeryTmpRoot) -> None:
    """``tar --incremental`` writes them where POSIX has the beginning of a long name; tarfile knows no better."""
    data = b""
    forms: Any = ((tarfile.GNU_FORMAT, b"ustar  \0"), (tarfile.USTAR_FORMAT, b"ustar\x0000"))
    for form, magic in forms:
        header = bytearray(member("f", DIR).tobuf(form))
        assert header[257:265] == magic
        header[345:369] = b"14213531666\x0014213531666\0"
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        data += header
    root.path.unpack(io.BytesIO(data + bytes(1024)))
    assert there(root) == {"f": {}, "14213531666": {"f": {}}}


def test_of_very_many_a_thousand_are_named(root: VeryTmpRoot) -> None:
    report = root.path.unpack(packed(*(member(f"{n}", tarfile.FIFOTYPE) for n in range(1500))))
    assert len(report.left_out) == 1000
    assert report.members == 0
    report = root.path.unpack(packed(*(member(f"/{n}", HARD, "/0" if n else "f") for n in range(1500)), member("/0")))
    assert (len(report.left_out), len(report.renamed)) == (1000, 1)


def test_names_that_were_changed_are_in_the_report(root: VeryTmpRoot) -> None:
    long = "../" * 2000 + "long"
    names = ["/abs", "../up", "a/../b", "./c", "d//e/", "f..", "..f", "g/.."]
    report = root.path.unpack(zipped(*((name, b"") for name in [*names, long])))
    assert report.renamed == {"/abs": "abs", "../up": "up", "a/../b": "b", long[:4096]: "long"}


def test_an_archive_that_is_not_there(root: VeryTmpRoot) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        root.path.unpack("a.tar")
    assert caught.value.filename == str(root / "a.tar")
    [note] = caught.value.__notes__
    assert note == "A string is a path in the root. For an archive on the host, give a pathlib.Path."


@pytest.mark.parametrize(("value", "error"), [(1.5, TypeError), ("1", TypeError), (True, TypeError), (-1, ValueError)])
def test_a_wrong_number_of_members(root: VeryTmpRoot, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^max_members must "):
        (root / "d").unpack(packed(member("f")), max_members=value)
    assert there(root) == {}


def test_types_that_tarfile_takes_for_files(root: VeryTmpRoot) -> None:
    """And GNU's directories with a list of what was in them."""
    infos = [member("contiguous", tarfile.CONTTYPE), member("old", tarfile.AREGTYPE), member("unknown", b"q")]
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for info in (*infos, with_mode(member("dumped", b"D"), 0o755), member("last")):
            info.size = 4
            archive.addfile(info, io.BytesIO(b"evil"))
    file.seek(0)
    root.path.unpack(file)
    assert there(root) == dict.fromkeys(("contiguous", "old", "unknown", "last"), b"evil") | {"dumped": {}}


@pytest.mark.parametrize("form", ["gnu", "posix --sparse-version=0.0", "posix --sparse-version=0.1", "posix"])
def test_holes_are_kept(root: VeryTmpRoot, host: Path, form: str) -> None:
    if not shutil.which("tar"):
        pytest.skip("tar is not installed")
    with open(host / "f", "wb") as file:
        for place in range(12):
            file.seek(place << 20)
            file.write(os.urandom(1000))
        file.truncate((12 << 20) + 12345)
    command = ["tar", "-C", host, "--sparse", f"--format={form}", "-cf", host / "a.tar", "f"]
    subprocess.run([word for part in command for word in str(part).split()], check=True)
    for source in (host / "a.tar", Stream((host / "a.tar").read_bytes(), 1 << 16)):
        root.path.unpack(source)
        assert (root / "f").read_bytes() == (host / "f").read_bytes()
        assert (root / "f").stat().st_blocks * 512 < 1 << 18


# -- zip ---------------------------------------------------------------------------------------------------------------


def test_a_zip_archive(root: VeryTmpRoot) -> None:
    data = zipped(
        (entry("dir/", 0o040750), b""), (entry("dir/f", 0o100640), POTATOES), (entry("l", 0o120777), b"dir/f"),
        (entry("dos", 0o777, 0), b"dos"), ("no/parent", b"x"), (entry("back\\slash"), b"x"),
        (entry("caf\xe9"), b"x"), (entry("\N{POTATO}"), b"x"), compression=zipfile.ZIP_DEFLATED,
    )  # fmt: skip
    for source in (data, Stream(data.getvalue())):
        assert root.path.unpack(source).members == 8
        assert there(root) == {
            "dir": {"f": POTATOES}, "l": "-> dir/f", "dos": b"dos", "no": {"parent": b"x"}, "back\\slash": b"x",
            "caf\xe9": b"x", "\N{POTATO}": b"x",
        }  # fmt: skip
        local = time.mktime((2020, 2, 2, 2, 2, 2, 0, 0, -1))
        for name, mode in (("dir", 0o750), ("dir/f", 0o640), ("dos", 0o666 & ~current_umask()), ("l", 0o777)):
            status = (root / name).lstat()
            assert stat.S_IMODE(status.st_mode) == mode, name
            assert status.st_mtime == local or name == "l"
        root.clear()


def current_umask() -> int:
    return int(
        next(line for line in Path("/proc/self/status").read_text().splitlines() if "Umask" in line).split()[1], 8
    )


def test_names_in_code_page_437(root: VeryTmpRoot) -> None:
    data = zipped((entry("caf?"), b"x")).getvalue().replace(b"caf?", b"caf\x82")
    root.path.unpack(io.BytesIO(data))
    assert there(root) == {"caf\xe9": b"x"}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_of_zip(root: VeryTmpRoot, method: int) -> None:
    root.path.unpack(zipped(("f", POTATOES), compression=method))
    assert there(root) == {"f": POTATOES}


def test_zip64(root: VeryTmpRoot) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive, archive.open("f", "w", force_zip64=True) as inside:
        inside.write(POTATOES)
    root.path.unpack(file)
    assert there(root) == {"f": POTATOES}


def test_times_of_info_zip(root: VeryTmpRoot) -> None:
    info = entry("f")
    info.extra = b"XX\0\0" + b"UT" + struct.pack("<HBl", 5, 1, -86400)
    other = entry("g")
    other.extra = b"UT" + struct.pack("<HBl", 5, 2, 1)  # of access alone
    wrong = entry("h")
    wrong.date_time = (1980, 0, 0, 0, 0, 0)
    root.path.unpack(zipped((info, b""), (other, b""), (wrong, b"")))
    assert (root / "f").stat().st_mtime == -86400
    assert (root / "g").stat().st_mtime == time.mktime((2020, 2, 2, 2, 2, 2, 0, 0, -1))


def test_a_program_that_unpacks_itself(root: VeryTmpRoot) -> None:
    root.path.unpack(io.BytesIO(b"#!/bin/sh\nexec unzip\n" * 100 + zipped(("f", b"x")).getvalue()))
    assert there(root) == {"f": b"x"}


def test_a_tar_archive_that_ends_with_a_zip_archive(root: VeryTmpRoot) -> None:
    inner = zipped(("f", b"x")).getvalue()
    root.path.unpack(packed(member("inner.zip"), content=inner))
    assert there(root) == {"inner.zip": inner}


@pytest.mark.parametrize("size", [5000, 4096, 4095])
def test_a_target_in_a_zip_archive_that_is_too_long(root: VeryTmpRoot, size: int) -> None:
    archive = zipped((entry("l", 0o120777), b"x" * size))
    if size == 4095:
        root.path.unpack(archive)
        assert len(str((root / "l").readlink())) == size
    else:
        with pytest.raises(OSError) as caught:
            root.path.unpack(archive)
        assert caught.value.errno == errno.ENAMETOOLONG


# -- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["", "gz", "xz", "bz2"])
@pytest.mark.parametrize("stream", [False, True], ids=["file", "stream"])
def test_an_archive_that_is_cut_off(root: VeryTmpRoot, compression: str, stream: bool) -> None:
    """tarfile takes a part of a header for the end."""
    data = honest(compression).getvalue()
    whole = len(data) if compression else 5 * 512 + 2 * 8192  # what follows are zeros
    for length in [*range(1, whole, max(1, whole // 50)), *range(512, whole, 512), whole - 1]:
        part = data[:length]
        if not compression and length % 512 == 0 and length in (512, 1024 + 8192 - 512, 9728, 10240, 18432):
            continue
        source = Stream(part, 1000) if stream else io.BytesIO(part)
        try:
            report = root.path.unpack(source)
        except VeryTmpArchiveError:
            found = there(root)
            assert all(found.get(name) in (None, HONEST[name], {}, {"f": POTATOES}) for name in HONEST), length
        else:  # between two members, or behind the last one
            assert length % 512 == 0 if not compression else report == REPORT, length
        root.clear()


def test_an_archive_that_is_damaged(root: VeryTmpRoot) -> None:
    data = bytearray(packed(member("first"), member("second"), member("third")).getvalue())
    data[1024 + 200 : 1024 + 300] = b"x" * 100
    error = failed(lambda: root.path.unpack(io.BytesIO(data)), errno.EBADMSG)
    assert error.__notes__ == ["Before that, 1 members with 4 bytes were unpacked, the last one 'first'."]
    assert there(root) == {"first": b"evil"}


def test_damage_that_the_compression_sees(root: VeryTmpRoot) -> None:
    data = bytearray(packed(member("f"), content=os.urandom(100_000), mode="w:gz").getvalue())
    data[50_000] ^= 1
    failed(lambda: root.path.unpack(io.BytesIO(data[:90_000])), errno.EBADMSG)
    assert there(root) == {}, "the part of the file is removed"
    data = bytearray(zipped(("f", POTATOES), compression=zipfile.ZIP_STORED).getvalue())
    data[1000] ^= 1
    failed(lambda: root.path.unpack(io.BytesIO(data)), errno.EBADMSG, "CRC")
    assert there(root) == {}


def test_a_checksum_comes_after_the_last_member(root: VeryTmpRoot) -> None:
    data = bytearray(gzip.compress(honest().getvalue(), 0))  # nothing but the checksum shows a damage
    assert root.path.unpack(io.BytesIO(data + b"what gzip(1) ignores")) == REPORT
    data[data.index(POTATOES)] ^= 1
    failed(lambda: root.path.unpack(io.BytesIO(data)), errno.EBADMSG, "CRC")
    for compression in COMPRESSIONS[1:]:
        data = bytearray(honest(compression).getvalue()[:-3])
        failed(lambda: root.path.unpack(io.BytesIO(data)), errno.EBADMSG)  # noqa: B023


@pytest.mark.parametrize(
    "data",
    [
        b"", b"x", b"PK\3\4", b"PK\5\6" + bytes(10), b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\0", b"(\xb5/\xfd",
        b"x" * 2000, gzip.compress(b"x", mtime=0), gzip.compress(b"", mtime=0),  # the time would be in the test's name
    ],
)  # fmt: skip
def test_what_is_no_archive(root: VeryTmpRoot, data: bytes) -> None:
    for source in (io.BytesIO(data), Stream(data)):
        failed(lambda source=source: root.path.unpack(source), errno.EBADMSG, "The archive cannot be read: ")  # type: ignore[misc]
    assert there(root) == {}


def test_a_zip_archive_whose_table_of_contents_is_nowhere(root: VeryTmpRoot, host: Path) -> None:
    """Before its start: seeking there is EINVAL of a file, and a ValueError of what is in memory."""
    data = bytearray(zipped(("f", POTATOES)).getvalue())
    end = data.rindex(b"PK\5\6")
    data[end + 16 : end + 20] = struct.pack("<I", len(data))
    (host / "a").write_bytes(data)
    for source in (host / "a", io.BytesIO(data)):
        failed(lambda source=source: root.path.unpack(source), errno.EBADMSG)  # type: ignore[misc]


def test_a_member_without_a_name(root: VeryTmpRoot) -> None:
    """zipfile ends names at a NUL; before Python 3.12, it asks for the last character of what is left."""
    data = zipped(("name", b"x"), ("f", POTATOES)).getvalue().replace(b"name", b"\0ame")
    assert root.path.unpack(io.BytesIO(data)).left_out == {"": "it has the name of the directory itself"}
    assert there(root) == {"f": POTATOES}


def test_what_is_empty(root: VeryTmpRoot) -> None:
    for data in (bytes(1024), zipped().getvalue(), gzip.compress(bytes(10240))):
        assert root.path.unpack(io.BytesIO(data)) == (0, 0, {}, {})
        assert root.path.unpack(Stream(data)) == (0, 0, {}, {})


def test_what_is_encrypted(root: VeryTmpRoot) -> None:
    data = bytearray(zipped(("f", b"x")).getvalue())
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(signature) + offset] |= 1
    failed(lambda: root.path.unpack(io.BytesIO(data)), errno.EBADMSG, "encrypted")


def test_a_stream_that_does_not_block(root: VeryTmpRoot) -> None:
    """read() returns None for "nothing yet". That is no end: not of the archive, nor of what it is compressed by."""
    for data in (b"", honest().getvalue()[:3000], honest("gz").getvalue()[:50], zipped(("f", POTATOES)).getvalue()):
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        os.write(writing, data)
        try:
            with open(reading, "rb", 0) as unbuffered, pytest.raises(BlockingIOError, match="set_blocking") as caught:
                root.path.unpack(unbuffered)
        finally:
            os.close(writing)
        assert caught.value.errno == errno.EAGAIN


def test_a_stream_that_fails(root: VeryTmpRoot) -> None:
    """With its own error: it is not the archive's fault."""

    class Broken(Exception):
        pass

    class Breaking(Stream):
        def read(self, size: int = -1) -> bytes:
            if self.file.tell() > 3000:
                raise kind
            return super().read(size)

    for kind in (Broken(), ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), KeyboardInterrupt()):
        for data in (honest(), zipped(("f", POTATOES))):
            with pytest.raises(type(kind)):
                root.path.unpack(Breaking(data.getvalue()))
    for wrong in (io.StringIO("x"), 5, None):
        with pytest.raises(TypeError):
            root.path.unpack(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [TimeoutError, type("Mine", (Exception,), {})])
def test_what_a_signal_handler_raises(
    root: VeryTmpRoot, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    """In the midst of tarfile or zipfile. It is not the archive's fault either."""

    def interrupted(*_: object) -> None:
        raise kind("now")

    for data, owner, name in (honest(), tarfile.TarFile, "next"), (zipped(("f", b"")), zipfile.ZipFile, "open"):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, interrupted)
            with pytest.raises(kind, match="now"):
                root.path.unpack(data)


def test_directories_are_made_without_a_descriptor_to_spare(root: VeryTmpRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verytmp._confined.tree.Tree.mkdir_each", lambda *_: 0)  # EMFILE at the first one
    root.path.unpack(packed(member("a/b/c/f"), member("a/b/g/h")))
    assert there(root) == {"a": {"b": {"c": {"f": b"evil"}, "g": {"h": b"evil"}}}}


@pytest.mark.tmpfs
def test_a_limit_of_the_root() -> None:
    with VeryTmpRoot(size="16k") as root:
        with pytest.raises(OSError) as caught:
            root.path.unpack(packed(member("a"), member("b"), member("c"), content=bytes(7000)))
        assert caught.value.errno == errno.ENOSPC
        assert caught.value.filename == str(root / "c")
        assert caught.value.__notes__ == [
            "size= is reached: 16384 of 16384 bytes are used, and 0 are free.",
            "Before that, 2 members with 14192 bytes were unpacked, the last one 'b'.",
        ] or caught.value.__notes__[-1].startswith("Before that, 2 members")
        assert sorted(there(root)) == ["a", "b"], "the part of the third one is removed"
        (root / "a").unlink()
        (root / "c").write_bytes(b"there is room")
    with VeryTmpRoot(nr_inodes=3) as root:
        with pytest.raises(OSError) as caught:
            root.path.unpack(packed(*(member(f"{n}") for n in range(5))))
        assert caught.value.errno == errno.ENOSPC
        assert sorted(there(root)) == ["0", "1"]


def test_a_bound_for_members(root: VeryTmpRoot) -> None:
    archive = packed(*(member(f"{n}") for n in range(5)))
    failed(lambda: root.path.unpack(archive, max_members=4), errno.E2BIG, "more than 4 members")
    archive.seek(0)
    assert root.path.unpack(archive, max_members=5).members == 5
    failed(lambda: root.path.unpack(zipped(("f", b""), ("f", b"")), max_members=1), errno.E2BIG)


@pytest.mark.tmpfs
def test_members_that_replace_each_other_end() -> None:
    """Though they never fill the root; and so do those that are left out, and those of no bytes."""
    for info, content in ((member("f"), bytes(60_000)), (member("f"), b""), (member("d", DIR), b""),
                          (member("x", tarfile.FIFOTYPE), b""), (member(".", DIR), b"")):  # fmt: skip
        with VeryTmpRoot(size="64k", nr_inodes=10) as root:
            archive = packed(*[info] * 200, content=content, mode="w:gz")
            failed(lambda archive=archive: root.path.unpack(archive), errno.ENOSPC, "twice")  # type: ignore[misc]
    with VeryTmpRoot(size="64k", nr_inodes=10) as root:
        archive = zipped(*[("f", bytes(60_000))] * 20, compression=zipfile.ZIP_DEFLATED)
        failed(lambda: root.path.unpack(archive), errno.ENOSPC, "twice the bytes")


def test_headers_have_a_bound(root: VeryTmpRoot) -> None:
    info = member("f")
    info.pax_headers = {"comment": "x" * (archives.HEADERS_MAX + 1)}
    failed(lambda: root.path.unpack(packed(info, form=tarfile.PAX_FORMAT, mode="w:gz")), errno.EBADMSG, "headers")
    many = [member("x" * 20_000) for _ in range(3)]
    root.path.joinpath("long").mkdir()
    with pytest.raises(OSError) as caught:
        root.path.unpack(packed(*many, form=tarfile.GNU_FORMAT))
    assert caught.value.errno == errno.ENAMETOOLONG


def test_a_sparse_files_map_has_a_bound(root: VeryTmpRoot) -> None:
    """It is in the file's content, in GNU's format 1.0."""
    info = member("f")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1"}
    content = b"9999999\n" + b"0\n" * archives.HEADERS_MAX
    failed(lambda: root.path.unpack(packed(info, form=tarfile.PAX_FORMAT, content=content)), errno.EBADMSG, "headers")


def test_a_sparse_file_with_two_sizes(root: VeryTmpRoot) -> None:
    """Its own, and that of what is in the archive of it, whichever comes last."""
    info = member("f")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1000", "size": "1512"}
    content = b"1\n0\n1000\n".ljust(512, b"\0") + b"x" * 1000
    root.path.unpack(packed(info, form=tarfile.PAX_FORMAT, content=content))
    assert (root / "f").read_bytes() == b"x" * 1000


@pytest.mark.parametrize("size", [-1, -512, -(1 << 40)])
def test_a_negative_size(root: VeryTmpRoot, size: int) -> None:
    """CVE-2025-8194: tarfile goes backwards, for ever."""
    info = member("f")
    info.size = size
    header = info.tobuf(tarfile.GNU_FORMAT)
    for data in (header, member("first").tobuf() + header):
        failed(lambda data=data: root.path.unpack(io.BytesIO(data + bytes(1024))), errno.EBADMSG)  # type: ignore[misc]


def test_a_closed_root_and_a_file_in_the_directorys_place(root: VeryTmpRoot) -> None:
    (root / "f").touch()
    with pytest.raises(FileExistsError):
        (root / "f").unpack(honest())
    path = root / "d"
    root.close()
    with pytest.raises(ValueError, match="closed"):
        path.unpack(honest())


def test_progress(root: VeryTmpRoot, host: Path) -> None:
    """Of the archive's bytes, for nobody knows how many come out of it."""
    for data in (honest(), honest("gz"), zipped(("f", POTATOES), ("g", POTATOES))):
        size = len(data.getvalue())
        (host / "a").write_bytes(data.getvalue())
        for source, total in ((host / "a", size), (Stream(data.getvalue(), 1000), None)):
            seen: list[tuple[int, int | None]] = []
            root.path.unpack(source, progress=lambda *counts, seen=seen: seen.append(counts))
            assert {whole for _, whole in seen} == {total}
            assert [done for done, _ in seen] == sorted(done for done, _ in seen)
            assert seen[-1][0] == size or total is None
            assert len(seen) >= 2

    def stop(_: int, __: int | None) -> None:
        raise KeyError("mine")

    root.clear()
    with pytest.raises(KeyError, match="mine") as caught:
        root.path.unpack(honest(), progress=stop)
    assert caught.value.__notes__ == ["Before that, 1 members with 8000 bytes were unpacked, the last one 'd'."]
    assert there(root) == {"d": {}}
