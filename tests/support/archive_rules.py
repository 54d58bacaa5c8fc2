"""Why programs make something else of an archive than `unpack` does: rules that can be wrong.

Each looks at the archive's own headers, and at what both have made at one path. So a fault of `unpack` is no
"difference of programs" only because it is about the same field.
"""

from __future__ import annotations

import hashlib
import io
import os
import random
import re
import stat
import struct
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

LOCAL_HEADER = 30  # bytes of it, before the name
BLOCK = 512  # of a tar archive
SIZE, REAL_SIZE = 124, slice(483, 495)  # where they are in a header
FAT, FAT_DIRECTORY = 0, 0x10
DEFAULT_MODES = {"-": 0o644, "d": 0o755}  # with the umask that all programs have here


class Entry(NamedTuple):
    """What is at one path."""

    type: str
    mode: int
    time: int
    content: str
    target: str
    group: str  # the first of a file's names, if it has several


class Difference(NamedTuple):
    """What differs at one path. The field is one of an entry's, or "missing" (of `unpack`), "extra", or "name"."""

    program: str
    field: str
    path: str
    mine: Entry | None
    theirs: Entry | None
    other: str = ""  # the name that the other program has given it


def digest(blocks: Iterable[tuple[int, bytes]], size: int) -> str:
    """Of a file's content: of each block that is not zeros alone, with its place."""
    found = hashlib.sha256()
    for at, block in blocks:
        if filled := block.rstrip(b"\0"):
            found.update(b"%d %d " % (at, len(filled)) + filled)
    return f"{size} {found.hexdigest()}"


def place(name: str) -> str:
    """Where a member of this name belongs, if no link is on the way."""
    return os.path.normpath(f"/{name}").lstrip("/")


class Facts:
    """What an archive says itself, read once more.

    Attributes:
        is_zip: whether it is a zip archive.
        members: its members in order, each with its name.
        places: where each belongs.
        at: the last member of each path.
        global_headers: those of a tar archive.
        misread: what tarfile makes of names in GNU's headers that have times.
        left_out: what `unpack` has left out, by path.
        plain: its bytes, decompressed.
        end: where tarfile has found no more headers.
    """

    def __init__(self, data: bytes, plain: bytes, is_zip: bool, left_out: dict[str, str]) -> None:
        self.data, self.plain, self.is_zip = data, plain, is_zip
        self.members: list[tuple[str, Any]] = []
        self.misread: set[str] = set()
        self.global_headers: dict[str, str] = {}
        self.end = 0
        try:
            if is_zip:
                with zipfile.ZipFile(io.BytesIO(data)) as archive:
                    self.members = [(info.filename, info) for info in archive.infolist()]
            else:
                with tarfile.open(fileobj=io.BytesIO(data)) as opened:
                    for info in opened:
                        self.members.append((self.name_of(info), info))
                        self.end = opened.offset
                    self.global_headers = dict(opened.pax_headers)
        except Exception:  # both stop there
            pass
        self.places = [place(name) for name, _ in self.members]
        self.at = dict(zip(self.places, (info for _, info in self.members), strict=True))
        self.left_out = {place(name): reason for name, reason in left_out.items()}

    def name_of(self, info: tarfile.TarInfo) -> str:
        """A member's name; with what tarfile has made of the times in GNU's headers taken away again."""
        header = self.plain[info.offset_data - BLOCK : info.offset_data]
        prefix = os.fsdecode(header[345:500].partition(b"\0")[0])
        if header[257:265] == tarfile.GNU_MAGIC and prefix and info.name.startswith(f"{prefix}/"):
            self.misread.add(place(info.name))
            return info.name.removeprefix(f"{prefix}/")
        return info.name

    def links(self) -> set[str]:
        return {
            place(name)
            for name, info in self.members
            if (stat.S_ISLNK(info.external_attr >> 16) if self.is_zip else info.issym())
        }

    def mode(self, path: str) -> int | None:
        """The permissions that the archive has for a path; None if it has none."""
        info = self.at[path]
        if not self.is_zip:
            return int(info.mode) & 0o7777
        return stat.S_IMODE(info.external_attr >> 16) if is_unix(info) else None

    def time(self, path: str) -> int | None:
        info = self.at[path]
        if not self.is_zip:
            text = info.pax_headers.get("mtime", "0")
            return int(info.mtime // 1) if re.fullmatch(r"-?\d{1,12}(\.\d*)?", text) else None
        extra = fields(info.extra)
        if extra.get(b"UT", b"\0")[0] & 1 and len(extra[b"UT"]) >= 5:
            return int(struct.unpack("<i", extra[b"UT"][1:5])[0])
        try:
            return int(time.mktime((*info.date_time, 0, 0, -1)))
        except (ValueError, OverflowError):
            return None

    def check(self, ours: dict[str, Entry]) -> list[Difference]:
        """What `unpack` has made, against the headers: what no program has to agree to."""
        found = []
        passed = self.links()
        for path, mine in ours.items():
            if path not in self.at or any(path.startswith(f"{link}/") for link in passed) or path in passed:
                continue
            if not self.is_zip and self.at[path].islnk():
                continue  # the time and mode are those of the file that it is
            for field, said in (("mode", self.mode(path)), ("time", self.time(path))):
                if said is not None and getattr(mine, field) != said:
                    found.append(
                        Difference(
                            "the archive",
                            field,
                            path,
                            mine,
                            mine._replace(mode=said) if field == "mode" else mine._replace(time=said),
                        )
                    )
        return found

    def local(self, path: str) -> tuple[str, bytes]:
        """The name and the extra fields before a zip entry's data, which may be other ones than in the directory."""
        start = self.at[path].header_offset
        name, extra = struct.unpack("<HH", self.data[start + 26 : start + LOCAL_HEADER])
        middle = start + LOCAL_HEADER + name
        return self.data[start + LOCAL_HEADER : middle].decode(errors="replace"), self.data[middle : middle + extra]


def is_unix(info: zipfile.ZipInfo) -> bool:
    return info.create_system == 3 and info.external_attr >> 16 != 0


def fields(extra: bytes) -> dict[bytes, bytes]:
    """A zip entry's extra fields."""
    return dict(each_field(extra))


def each_field(extra: bytes) -> Iterator[tuple[bytes, bytes]]:
    while len(extra) >= 4:
        size = int.from_bytes(extra[2:4], "little")
        yield extra[:2], extra[4 : 4 + size]
        extra = extra[4 + size :]


# -- why ---------------------------------------------------------------------------------------------------------------

OTHER_TIMES = {b"\x0a\0", b"\x0d\0", b"UX", b"UT"}  # NTFS', PKWARE's, and Info-ZIP's older and newer: here or there


def is_as_said(difference: Difference, facts: Facts) -> bool:
    """Whether `unpack` has made what the archive says."""
    path, field, mine = difference.path, difference.field, difference.mine
    if path not in facts.at or mine is None:
        return False
    return bool(getattr(facts, field)(path) == getattr(mine, field))


def is_special(difference: Difference, facts: Facts) -> bool:
    words = {"p": "a FIFO", "c": "a character device", "b": "a block device", "s": "a socket"}
    theirs = difference.theirs
    return (
        difference.field == "missing"
        and theirs is not None
        and facts.left_out.get(difference.path) == words.get(theirs.type, "")
    )


def is_label(difference: Difference, facts: Facts) -> bool:
    return difference.field == "missing" and facts.left_out.get(difference.path) == "the label of a volume"


def is_passed_by_dots(difference: Difference, facts: Facts) -> bool:
    if difference.field != "missing" or difference.theirs is None or difference.theirs.type != "d":
        return False
    for name, _ in facts.members:
        parts = name.split("/")
        for number, part in enumerate(parts):
            if part == ".." and number and place("/".join(parts[:number])) == difference.path:
                return True
    return False


def is_no_time(difference: Difference, facts: Facts) -> bool:
    return (
        not facts.is_zip
        and difference.field == "time"
        and difference.path in facts.at
        and facts.time(difference.path) is None
    )


def is_no_dos_time(difference: Difference, facts: Facts) -> bool:
    if not facts.is_zip or difference.field != "time" or difference.path not in facts.at:
        return False
    return 0 in facts.at[difference.path].date_time[1:3] and is_as_said(difference, facts)


def has_contradicting_sizes(difference: Difference, facts: Facts) -> bool:
    if not facts.is_zip or difference.program != "bsdtar" or difference.path not in facts.at:
        return False
    info = facts.at[difference.path]
    return (
        difference.field == "content"
        and info.compress_type == zipfile.ZIP_STORED
        and info.file_size != info.compress_size
    )


def is_link_time(difference: Difference, facts: Facts) -> bool:
    mine = difference.mine
    return (
        difference.program in ("tarfile", "unzip")
        and difference.field == "time"
        and mine is not None
        and mine.type == "l"
        and is_as_said(difference, facts)
    )


def has_no_unix_mode(difference: Difference, facts: Facts) -> bool:
    mine = difference.mine
    return (
        facts.is_zip
        and mine is not None
        and mine.mode == DEFAULT_MODES.get(mine.type)
        and difference.program in ("bsdtar", "unzip")
        and difference.field == "mode"
        and difference.path in facts.at
        and not is_unix(facts.at[difference.path])
    )


def has_other_times(difference: Difference, facts: Facts) -> bool:
    if not facts.is_zip or difference.program not in ("bsdtar", "unzip") or difference.field != "time":
        return False
    if not is_as_said(difference, facts):
        return False
    extra = {**fields(facts.local(difference.path)[1]), **fields(facts.at[difference.path].extra)}
    return bool(OTHER_TIMES & extra.keys())


def is_zipfiles_link(difference: Difference, facts: Facts) -> bool:
    mine, theirs = difference.mine, difference.theirs
    return (
        (difference.program, difference.field) == ("zipfile", "type")
        and mine is not None
        and theirs is not None
        and mine.type == "l"
        and theirs.content == digest([(0, os.fsencode(mine.target))], len(os.fsencode(mine.target)))
    )


def is_without_dots(difference: Difference, facts: Facts) -> bool:
    if difference.program not in ("zipfile", "unzip") or difference.field not in ("missing", "extra"):
        return False
    for name, _ in facts.members:
        if ".." in name.split("/"):
            here = place(name)
            there = "/".join(part for part in name.split("/") if part not in ("", ".", ".."))
            if f"{here if difference.field == 'extra' else there}/".startswith(f"{difference.path}/"):
                return True
    return False


def is_other_encoding(difference: Difference, facts: Facts) -> bool:
    names = difference.path + difference.other
    return difference.field == "name" and facts.is_zip and not names.isascii()


def is_backslash(difference: Difference, facts: Facts) -> bool:
    if not facts.is_zip or difference.program not in ("bsdtar", "unzip"):
        return False
    if difference.field == "missing":
        slashes = [name.replace("\\", "/") for name, _ in facts.members if "\\" in name]
        return any(f"{place(name)}/".startswith(f"{difference.path}/") for name in slashes)
    return difference.field in ("name", "extra") and "\\" in difference.path


def is_unprintable(difference: Difference, facts: Facts) -> bool:
    names = difference.path.encode(errors="surrogateescape")
    return facts.is_zip and difference.program == "unzip" and difference.field in ("name", "extra") and min(names) < 32


def is_unzips_mode(difference: Difference, facts: Facts) -> bool:
    mine, theirs = difference.mine, difference.theirs
    return (
        (difference.program, difference.field) == ("unzip", "mode")
        and mine is not None
        and theirs is not None
        and theirs.mode == mine.mode & 0o777
        and is_as_said(difference, facts)
    )


def is_late_directory(difference: Difference, facts: Facts) -> bool:
    if difference.program not in ("bsdtar", "unzip") or difference.field != "time" or difference.mine is None:
        return False
    if difference.mine.type != "d" or not is_as_said(difference, facts):
        return False
    for name, _ in facts.members:
        if place(name) == difference.path:
            return False
        if place(name).startswith(f"{difference.path}/"):
            return True
    return False


def is_returned_to(difference: Difference, facts: Facts) -> bool:
    """GNU tar sets a directory's time when the members leave it, and not again when they return."""
    path, mine = difference.path, difference.mine
    if (difference.program, difference.field) != ("GNU tar", "time") or mine is None or mine.type != "d":
        return False
    has_begun = has_left = returned = False
    for name in facts.places:
        has_left = has_left or (has_begun and not f"{name}/".startswith(f"{path}/"))
        returned = returned or (has_left and name.rpartition("/")[0] == path)
        has_begun = has_begun or name == path
    return returned and is_as_said(difference, facts)


def is_filled_by_a_link(difference: Difference, facts: Facts) -> bool:
    if (difference.program, difference.field) != ("GNU tar", "time") or difference.mine is None:
        return False
    links = facts.links()
    below = any(name.startswith(f"{link}/") for name in facts.places for link in links)
    return difference.mine.type == "d" and below and is_as_said(difference, facts)


def is_number_after_null(difference: Difference, facts: Facts) -> bool:
    if facts.is_zip or difference.program != "GNU tar" or difference.field != "time" or difference.theirs is None:
        return False
    if not is_as_said(difference, facts):
        return False
    start = facts.at[difference.path].offset
    field = facts.plain[start + 136 : start + 148]
    try:
        return field.startswith(b"\0") and int(field.strip(b"\0 "), 8) == difference.theirs.time
    except ValueError:
        return False


def is_directory_of_dos(difference: Difference, facts: Facts) -> bool:
    mine, info = difference.mine, facts.at.get(difference.path)
    return (
        (difference.program, difference.field) == ("zipfile", "type")
        and mine is not None
        and mine.type == "d"
        and info is not None
        and info.create_system == FAT
        and bool(info.external_attr & FAT_DIRECTORY)
        and not info.is_dir()
    )


def is_misread_by_tarfile(difference: Difference, facts: Facts) -> bool:
    if difference.program != "tarfile" or not facts.misread:
        return False
    if difference.field == "missing":
        return any(f"{name}/".startswith(f"{difference.path}/") for name in facts.misread)
    return any(f"{name}/".endswith(f"/{difference.path}/") for name in facts.misread)


def is_other_local_time(difference: Difference, facts: Facts) -> bool:
    if not facts.is_zip or difference.field != "time" or not is_as_said(difference, facts):
        return False
    start = facts.at[difference.path].header_offset
    time, date = struct.unpack("<HH", facts.data[start + 10 : start + 14])
    before = (1980 + (date >> 9), date >> 5 & 15, date & 31, time >> 11, time >> 5 & 63, (time & 31) * 2)
    return bool(before != facts.at[difference.path].date_time)


def is_other_local_name(difference: Difference, facts: Facts) -> bool:
    """Info-ZIP's name in UTF-8, which only the entry has, and not the directory at the end."""
    if not facts.is_zip or difference.program != "bsdtar" or difference.field not in ("missing", "extra"):
        return False
    names = {
        place(content[5:].decode(errors="replace")): path
        for path in facts.at
        for field, content in each_field(facts.local(path)[1])
        if field == b"up"
    }
    return difference.path in (names if difference.field == "missing" else names.values())


def is_global_header(difference: Difference, facts: Facts) -> bool:
    """What all members have, by a global header: bsdtar takes what is in the member's own."""
    key = {"time": "mtime", "target": "linkpath", "missing": "path", "extra": "path"}.get(difference.field, "")
    if difference.program != "bsdtar" or key not in facts.global_headers:
        return False
    if key != "path":
        return difference.path in facts.at
    if difference.field == "extra":
        return difference.path in facts.at
    own = [facts.plain[info.offset_data - BLOCK :][:100].partition(b"\0")[0] for _, info in facts.members]
    return os.fsencode(difference.path) in own


def has_other_gnu_size(difference: Difference, facts: Facts) -> bool:
    """bsdtar takes the size of a sparse file from a header that is no sparse file's."""
    if facts.is_zip or (difference.program, difference.field) != ("bsdtar", "content") or difference.theirs is None:
        return False
    info = facts.at[difference.path]
    found = facts.plain[info.offset_data - BLOCK : info.offset_data]
    size = found[REAL_SIZE].partition(b"\0")[0]
    return (
        found[257:265] == tarfile.GNU_MAGIC
        and size.isdigit()
        and info.type != tarfile.GNUTYPE_SPARSE
        and difference.theirs.content.startswith(f"{int(size, 8)} ")
    )


def has_two_sizes(difference: Difference, facts: Facts) -> bool:
    """tarfile takes the size of a sparse file's data and map for that of the file."""
    if facts.is_zip or (difference.program, difference.field) != ("tarfile", "content") or difference.theirs is None:
        return False
    sizes = facts.at[difference.path].pax_headers
    return (
        difference.mine is not None
        and difference.mine.content.startswith(f"{sizes.get('GNU.sparse.realsize')} ")
        and difference.theirs.content.startswith(f"{sizes.get('size')} ")
    )


def is_cut_at_null(difference: Difference, facts: Facts) -> bool:
    left_out = [name for name, reason in facts.left_out.items() if reason == "a null byte in its name or target"]
    return difference.field == "missing" and any(
        f"{name.partition(chr(0))[0]}/".startswith(f"{difference.path}/") for name in left_out
    )


def is_two_headers(difference: Difference, facts: Facts) -> bool:
    """Two headers of pax before one member: GNU tar takes none of them."""
    if facts.is_zip or difference.program != "GNU tar" or difference.field not in ("missing", "extra"):
        return False
    for name, info in facts.members:
        first = header(facts.plain, info.offset)
        second = header(facts.plain, info.offset + 2 * BLOCK) if first else None
        if first and second and first.type == second.type == tarfile.XHDTYPE:
            own = facts.plain[info.offset_data - BLOCK :][:100].partition(b"\0")[0]
            if f"{place(name)}/".startswith(f"{difference.path}/") or os.fsencode(difference.path) == own:
                return True
    return False


def has_two_long_names(difference: Difference, facts: Facts) -> bool:
    """Two long names, or targets, before one member: tarfile takes the first of them, others the last."""
    if facts.is_zip or difference.field not in ("missing", "extra"):
        return False
    for name, info in facts.members:
        kinds: list[bytes] = []
        at = info.offset
        while (found := header(facts.plain, at)) is not None and found.type in EXTENDED:
            long = os.fsdecode(facts.plain[at + BLOCK :][: found.size].rstrip(b"\0"))
            at += BLOCK + -(-found.size // BLOCK) * BLOCK
            again = found.type in kinds
            kinds.append(found.type)
            if again and difference.field == "extra" and f"{place(name)}/".startswith(f"{difference.path}/"):
                return True
            if again and difference.field == "missing" and f"{place(long)}/".startswith(f"{difference.path}/"):
                return True
    return False


def is_zip64_unseen(difference: Difference, facts: Facts) -> bool:
    """bsdtar makes nothing, and no error, of a zip64 archive behind other bytes, or with sizes alone of 64 bits."""
    end = facts.data.rfind(b"PK\6\6")
    return facts.is_zip and (difference.program, difference.field) == ("bsdtar", "extra") and end > 0


def is_piped(difference: Difference, facts: Facts) -> bool:
    info = facts.at.get(difference.path)
    return (
        facts.is_zip
        and (difference.program, difference.field) == ("bsdtar", "extra")
        and info is not None
        and stat.S_ISFIFO(info.external_attr >> 16)
        and info.file_size > 0
    )


def is_read_as_stream(difference: Difference, facts: Facts) -> bool:
    """bsdtar looks for the directory of one disk in the last 16 KiB. Without one, it knows no permissions."""
    if not facts.is_zip or (difference.program, difference.field) != ("bsdtar", "mode") or difference.theirs is None:
        return False
    end = facts.data.rfind(b"PK\5\6")
    found = len(facts.data) - end <= 1 << 14 and facts.data[end + 4 : end + 8] == bytes(4)
    return not found and difference.theirs.mode == 0o664 and is_as_said(difference, facts)


def has_no_dos_attributes(difference: Difference, facts: Facts) -> bool:
    if not facts.is_zip or (difference.program, difference.field) != ("unzip", "mode"):
        return False
    return is_as_said(difference, facts) and facts.at[difference.path].external_attr & 0xFF00 != 0


def is_written_through(difference: Difference, facts: Facts) -> bool:
    """tarfile writes to a file that is there, whatever other names it has."""
    if (difference.program, difference.field) != ("tarfile", "group") or difference.theirs is None:
        return False
    names = [place(name) for name, _ in facts.members]
    return names.count(difference.theirs.group) > 1


DIFFERENCES: list[tuple[str, Callable[[Difference, Facts], bool]]] = [
    ("`unpack` leaves out devices and FIFOs", is_special),
    ("`unpack` leaves out the label of a volume", is_label),
    ("`unpack` does not make a directory that a name enters only to leave it again by `..`", is_passed_by_dots),
    ("the other program does not set the times of links", is_link_time),
    ("the time is not a number, and `unpack` does not set it", is_no_time),
    ("the zip archive has no Unix permissions", has_no_unix_mode),
    ("the zip archive also has other times, in its extra fields", has_other_times),
    ("the zip archive has a date without a month or day", is_no_dos_time),
    ("an entry's date differs from the one in the zip archive's directory", is_other_local_time),
    ("an entry's name differs from the one in the zip archive's directory", is_other_local_name),
    ("bsdtar ignores a global header", is_global_header),
    ("two pax headers before one member: GNU tar uses neither", is_two_headers),
    ("bsdtar uses the size field of sparse files for a file that is not sparse", has_other_gnu_size),
    ("tarfile takes the size of a sparse file's data for the size of the file", has_two_sizes),
    ("`unpack` leaves out names with a null byte, and does not shorten them", is_cut_at_null),
    ("two long names before one member: tarfile takes the first, others the last", has_two_long_names),
    ("bsdtar silently unpacks nothing from some zip64 archives", is_zip64_unseen),
    ("zip has read from a pipe: bsdtar makes no file of it", is_piped),
    ("bsdtar does not find the zip archive's directory, with its permissions", is_read_as_stream),
    ("unzip uses MS-DOS attributes that the archive does not have", has_no_dos_attributes),
    ("tarfile writes into the existing file, and so to all its hard links", is_written_through),
    ("a stored entry has two sizes", has_contradicting_sizes),
    ("zipfile makes a file that contains the link's target instead of a link", is_zipfiles_link),
    ("the other program drops each `..`, and keeps the name before it", is_without_dots),
    ("the other program reads non-ASCII names in another encoding", is_other_encoding),
    ("the other program takes a backslash for a slash", is_backslash),
    ("unzip leaves unprintable characters out of names", is_unprintable),
    ("unzip does not set the set-user-ID, set-group-ID and sticky bits", is_unzips_mode),
    ("the other program does not set the time of a directory that comes after its contents", is_late_directory),
    ("GNU tar sets a directory's time after the first group of members in it, not after later ones", is_returned_to),
    ("GNU tar changes a directory's time when it writes there through a link", is_filled_by_a_link),
    ("GNU tar reads on after a null byte in a number", is_number_after_null),
    ("zipfile makes a file of a directory that only the MS-DOS attributes mark as one", is_directory_of_dos),
    ("tarfile takes the times in GNU headers for the beginning of a name", is_misread_by_tarfile),
]

# -- why `unpack` stops, and another program does not ------------------------------------------------------------------

KNOWN_COMPRESSIONS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}


EXTENDED = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)


class Stop(NamedTuple):
    """That `unpack` stops with an error, and a program does not. The other one is that of Python's own module."""

    program: str
    error: str
    pythons_error: str
    facts: Facts


def is_unknown_compression(stop: Stop) -> bool:
    if not stop.facts.is_zip:
        return stop.facts.data.startswith((b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18"))
    return any(info.compress_type not in KNOWN_COMPRESSIONS for _, info in stop.facts.members)


def is_compress(stop: Stop) -> bool:
    return not stop.facts.is_zip and stop.facts.data.startswith(b"\x1f\x9d")


def is_encrypted(stop: Stop) -> bool:
    return stop.facts.is_zip and any(info.flag_bits & 1 for _, info in stop.facts.members)


def is_overlap(stop: Stop) -> bool:
    return "Overlapped entries" in stop.error and "Overlapped entries" in stop.pythons_error


def is_refused_by_python(stop: Stop) -> bool:
    """By tarfile or zipfile too, which say of it what `unpack` says."""
    python = stop.pythons_error
    if "File is not a zip file" in python:  # so for `unpack` it may be a tar archive
        return True
    if "Invalid argument" in stop.error:  # of a file; tarfile and zipfile had it in memory
        return "negative seek" in python
    return bool(python) and stop.error.rpartition(": ")[2] in python


def is_silent_end(stop: Stop) -> bool:
    """tarfile has taken a header for the end that is none: there, the block is not of zeros, and its sum is wrong."""
    facts = stop.facts
    if facts.is_zip or stop.pythons_error or not facts.members:
        return False
    at = facts.end
    while (info := header(facts.plain, at)) is not None and info.type in EXTENDED:
        at += BLOCK + -(-info.size // BLOCK) * BLOCK
    return any(facts.plain[at : at + BLOCK]) and header(facts.plain, at) is None


def header(plain: bytes, at: int) -> tarfile.TarInfo | None:
    try:
        return tarfile.TarInfo.frombuf(plain[at : at + BLOCK], "utf-8", "surrogateescape")
    except tarfile.TarError:
        return None


def is_negative(stop: Stop) -> bool:
    """A size in base 256, below zero."""
    return not stop.facts.is_zip and stop.facts.plain[stop.facts.end :][SIZE : SIZE + 1] == b"\xff"


STOPS: list[tuple[str, Callable[[Stop], bool]]] = [
    ("this Python does not support the compression", is_unknown_compression),
    ("compressed by compress(1), which Python does not support", is_compress),
    ("encrypted", is_encrypted),
    ("its entries overlap, as in a zip bomb; zipfile stops too", is_overlap),
    ("damaged or truncated; tarfile or zipfile stops too", is_refused_by_python),
    ("a member has a negative size", is_negative),
    ("a header is invalid; tarfile silently takes it for the end of the archive", is_silent_end),
]


# -- planted faults ----------------------------------------------------------------------------------------------------


def with_type(entry: Entry) -> Entry | None:
    return entry._replace(type="d" if entry.type == "-" else "-")


# What may go wrong at one path: from what is there to what would be there, or None where that cannot go wrong so.
FAULTS: dict[str, Callable[[Entry], Entry | None]] = {
    "permissions": lambda entry: None if entry.type == "l" else entry._replace(mode=entry.mode ^ 0o010),
    "a time": lambda entry: entry._replace(time=entry.time + 1),
    "a content": lambda entry: entry._replace(content="x") if entry.type == "-" else None,
    "a target": lambda entry: entry._replace(target=f"./{entry.target}") if entry.type == "l" else None,
    "a copy for a hard link": lambda entry: entry._replace(group="") if entry.group else None,
    "a type": with_type,
}


def planted(ours: dict[str, Entry], facts: Facts) -> Iterator[tuple[str, dict[str, Entry]]]:
    """What `unpack` would have made with each of the faults at one path."""
    chance = random.Random(len(facts.data))
    paths = sorted(path for path in ours if path in facts.at)
    chance.shuffle(paths)
    for name, fault in FAULTS.items():
        for path in paths:
            changed = fault(ours[path])
            if changed is not None:
                yield name, {**ours, path: changed}
                break
    if paths:
        yield "nothing", {path: entry for path, entry in ours.items() if path != paths[0]}
    yield "one too many", {**ours, "one-too-many": Entry("-", 0o644, 0, "", "", "")}
