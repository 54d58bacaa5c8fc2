"""What is in a tar or zip archive, member by member, read from front to back. Nothing is made here.

tarfile and zipfile read the formats. What is added is for archives that nobody trusts: headers have a bound, nothing
goes backwards, and an archive that is cut off, or is none, is an error where tarfile takes it for the end.
"""

from __future__ import annotations

import errno
import os
import sys
import tarfile
import time
import zipfile
from decimal import Context
from functools import lru_cache, partial
from io import BufferedReader, FileIO
from stat import S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK, S_IMODE
from tarfile import HeaderError

from ..errors import VeryTmpArchiveError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, NoReturn, TypeVar

    _T = TypeVar("_T")

CHUNK = 1 << 18  # bytes that are read and written at once
PATH_MAX = 4096  # bytes: names and targets are shorter
NOTHING_YET = "The archive's read() has nothing yet. Make the stream blocking: os.set_blocking(fd, True)"

# The bytes of headers before one member: extended names, attributes, the map of a sparse file. Go's and libarchive's
# bound for one of them. Before 3.11.10 and 3.12.6, tarfile takes quadratic time for digits in them (CVE-2024-6232).
HEADERS_MAX = 1 << 20 if (3, 11, 10) <= sys.version_info[:3] < (3, 12) or sys.version_info >= (3, 12, 6) else 1 << 15

# By the first bytes. (zipfile itself looks at the end: a tar archive may end with a zip archive.)
ZIP = (b"PK\3\4", b"PK\5\6", b"PK\7\x08")
HEAD = 6

FILE_MAX = (1 << 63) - 1
TIME_MAX = 10**9 << 62  # nanoseconds; utimensat(2) takes 64 bits of seconds
# Not the caller's context, which may round. 1e999999 is a number as well, and an int of it takes half a minute.
TIMES = Context(prec=40, Emin=-40, Emax=40, traps=[])

# Where the errors are from that tarfile and zipfile raise, and what they read with.
READERS = ("builtins", "tarfile", "zipfile", "gzip", "zlib", "_lzma", "struct", "compression.zstd")

HARD_LINK = -1  # beside stat(2)'s types
NAMES_OF_TYPES = {
    S_IFCHR: "a character device",
    S_IFBLK: "a block device",
    S_IFIFO: "a FIFO",
    S_IFSOCK: "a socket",
}
TAR_TYPES = {
    tarfile.DIRTYPE: S_IFDIR,
    tarfile.SYMTYPE: S_IFLNK,
    tarfile.LNKTYPE: HARD_LINK,
    tarfile.CHRTYPE: S_IFCHR,
    tarfile.BLKTYPE: S_IFBLK,
    tarfile.FIFOTYPE: S_IFIFO,
    b"D": S_IFDIR,  # GNU's incremental backups: a directory, and what was in it
}
VOLUME_LABEL = b"V"  # GNU's
MAGIC, PREFIX = slice(257, 265), slice(345, 500)  # in a header


class Member:
    """One member of an archive.

    Attributes:
        name: its name, as the archive has it.
        type: S_IFREG, S_IFDIR, S_IFLNK or `HARD_LINK`; or 0 for what is to be left out.
        mode: its permissions; None if the archive does not say.
        mtime: its time of modification, in nanoseconds; None likewise.
        target: a link's.
        reason: why it is left out.
        write: writes a file's content to a descriptor.
    """

    __slots__ = ("mode", "mtime", "name", "reason", "target", "type", "write")

    def __init__(
        self,
        name: str,
        kind: int,
        mode: int | None,
        mtime: int | None,
        target: str = "",
        reason: str = "",
        write: Callable[[int], object] = bool,
    ) -> None:
        self.name, self.type, self.mode, self.mtime = name, kind, mode, mtime
        self.target, self.reason, self.write = target, reason, write


def bad_archive(reason: object, cause: BaseException | None = None) -> NoReturn:
    raise VeryTmpArchiveError(errno.EBADMSG, f"The archive cannot be read: {reason}") from cause


class Raw:
    """The archive as it was given: a file, or a stream that cannot seek. Its first bytes are looked at, and stay.

    Attributes:
        head: those.
        failure: what reading has raised: an error of the stream's own, and not the archive's fault.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self._pushed_back = b""
        self.failure: BaseException | None = None
        try:
            self._seekable = bool(file.seekable()) and file.tell() >= 0
        except (AttributeError, OSError, ValueError):
            self._seekable = False
        self._position = 0  # a stream's
        self.head = self.peek(HEAD)

    def peek(self, size: int) -> bytes:
        position, head = self.tell(), self.read(size)
        if self._seekable:
            self.seek(position)
        else:
            self._pushed_back, self._position = head + self._pushed_back, position
        return head

    def read(self, size: int = -1) -> bytes:
        """Read so many bytes, or all that there are."""
        data, self._pushed_back = self._pushed_back, b""
        if size < 0:
            size = sys.maxsize
        try:
            while len(data) < size:  # a stream may give less than it is asked for, or more
                more = self._file.read(min(size - len(data), CHUNK))
                if more is None:
                    raise BlockingIOError(errno.EAGAIN, NOTHING_YET)
                if not isinstance(more, bytes):
                    raise TypeError(f"an archive's read() has to return bytes, not {type(more).__name__}")
                if not more:
                    break
                data = data + more if data else more
        except BaseException as error:
            self.failure = error
            raise
        data, self._pushed_back = data[:size], data[size:]
        self._position += len(data)
        return data

    def seekable(self) -> bool:
        return self._seekable

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        """How many bytes of a stream have been read, or where a file is."""
        return int(self._file.tell()) if self._seekable else self._position

    def fast(self) -> Any:
        """The file itself, if it is one of the system's: reading that can fail in no way of its own."""
        return self._file if type(self._file) is BufferedReader and type(self._file.raw) is FileIO else self

    def size(self) -> int | None:
        """How many bytes the file has; None for a stream."""
        if not self._seekable:
            return None
        position = self.tell()
        size = self.seek(0, os.SEEK_END)
        self.seek(position)
        return size


def members(
    raw: Raw, spool: Callable[[], Any], spend: Callable[[int], object], advance: Callable[[int], object]
) -> Iterator[Member]:
    """The members of an archive. Each has to be used before the next one is asked for.

    Args:
        raw: the archive.
        spool: returns an empty file, for a zip archive from a stream: its table of contents is at its end.
        spend: called with the number of each bytes that come out of the archive, contents or not.
        advance: called with the number of each bytes that are written.

    Raises:
        VeryTmpArchiveError: it cannot be read: it is no archive, is cut off, or has what is not known here.
    """
    if is_zip(raw):
        yield from zip_members(raw, raw.fast() if raw.seekable() else spooled(raw, spool()), spend, advance)
    else:
        yield from tar_members(Source(raw, spend), advance)


def reading(raw: Raw, call: Callable[..., _T], *args: Any) -> _T:
    """Have tarfile or zipfile read something. What they raise for an archive that is wrong is one error here."""
    try:
        return call(*args)
    except (VeryTmpArchiveError, MemoryError):
        raise
    except Exception as error:
        if raw.failure is not None:
            raise raw.failure from None
        kind = type(error)
        if kind.__module__ not in READERS or kind in (TimeoutError, InterruptedError):  # from a signal handler
            raise
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # EINVAL: to seek before the start
            raise
        bad_archive(str(error) or kind.__name__, error)


def is_zip(raw: Raw) -> bool:
    if raw.head.startswith(ZIP) or not raw.seekable():
        return raw.head.startswith(ZIP)
    try:  # a tar archive may end with a zip archive, too
        tarfile.TarInfo.frombuf(raw.peek(tarfile.BLOCKSIZE), "utf-8", "surrogateescape")
    except HeaderError:
        position = raw.tell()
        found = reading(raw, zipfile.is_zipfile, raw)  # a program that unpacks itself
        raw.seek(position)
        return found
    return False


def spooled(raw: Raw, file: Any) -> Any:
    while data := raw.read(CHUNK):
        while data:
            data = data[file.write(data) :]
    file.seek(0)
    return file


# -- tar ---------------------------------------------------------------------------------------------------------------


def decompressed(raw: Raw) -> Any:
    """A file with the content of *raw*, by whichever compression its first bytes say."""
    if raw.head.startswith(b"\x1f\x8b"):
        from gzip import GzipFile

        return GzipFile(fileobj=raw)
    if raw.head.startswith(b"BZh"):
        from bz2 import BZ2File

        return BZ2File(raw)
    if raw.head.startswith((b"\xfd7zXZ\0", b"\x5d\0\0")):
        from lzma import LZMAFile

        return LZMAFile(raw)  # type: ignore[arg-type]  # it needs no more than read()
    # zstd's frames, or one that is to be skipped (RFC 8878), as pzstd writes them first.
    if raw.head.startswith(b"\x28\xb5\x2f\xfd") or (
        b"\x50" <= raw.head[:1] <= b"\x5f" and raw.head[1:4] == b"\x2a\x4d\x18"
    ):
        from importlib import import_module

        try:
            return import_module("compression.zstd").ZstdFile(raw)
        except ImportError:
            bad_archive("it is compressed by zstd, which Python has since 3.14, if it was built with that")
    return raw


class Source:
    """What tarfile reads from: forwards alone, and with a bound for all that comes before a member."""

    def __init__(self, raw: Raw, spend: Callable[[int], object]) -> None:
        file = decompressed(raw)
        self.reading = partial(reading, raw)
        self._read = file.read
        self._compressed = file is not raw  # and is read all the same, where others seek
        self._seek = raw.seek if raw.seekable() and not self._compressed else None
        self._start = raw.tell()
        self._spend = spend
        self.position = 0
        self.headers = 0
        self.header = b""  # the last one

    def read(self, size: int) -> bytes:
        """Read a part of the headers."""
        self.headers += size
        if not 0 <= self.headers <= HEADERS_MAX:
            bad_archive(f"a member has more than {HEADERS_MAX} bytes of headers")
        data = self.content(size)
        if size == tarfile.BLOCKSIZE:
            self.header = data
        return data

    def content(self, size: int) -> bytes:
        data: bytes = self.reading(self._read, size)
        self.position += len(data)
        self._spend(len(data))
        return data

    def check_rest(self) -> None:
        """Read what is compressed to its end: its checksum comes last, and is that of all members."""
        try:
            while self._compressed and self.content(CHUNK):
                pass
        except VeryTmpArchiveError as error:
            if not str(error.__cause__).startswith("Not a gzipped file"):  # gzip(1) ignores what follows, too
                raise

    def tell(self) -> int:
        return self.position

    def seek(self, position: int) -> None:
        if position < self.position:
            bad_archive("a member begins before the end of the one before")
        if self._seek:
            self._seek(self._start + position)
            self.position = position
        while self.position < position and self.content(min(CHUNK, position - self.position)):
            pass


class CheckedInfo(tarfile.TarInfo):
    """A header that is none is an error, wherever it is. tarfile takes all but the first for the archive's end."""

    @classmethod
    def fromtarfile(cls, tarfile: Any) -> CheckedInfo:
        try:
            info = super().fromtarfile(tarfile)
        except HeaderError as error:
            # A block of zeros is the end, and nothing at all after a member.
            if type(error).__name__ == "EOFHeaderError" or (
                type(error).__name__ == "EmptyHeaderError" and tarfile.offset
            ):
                raise
            bad_archive(error)
        if info.size < 0:
            bad_archive("a member has a negative size")
        return info


def tar_members(source: Source, advance: Callable[[int], object]) -> Iterator[Member]:
    opened: Any = tarfile.TarFile  # which needs no more of a file than Source has
    archive = source.reading(partial(opened, fileobj=source, tarinfo=CheckedInfo))
    while (info := source.reading(archive.next)) is not None:
        archive.members.clear()  # there may be millions
        source.headers = 0
        yield tar_member(info, source, advance)
    source.check_rest()


def name_of(info: tarfile.TarInfo, header: bytes) -> str:
    """A member's name. Where POSIX has the beginning of a long one, GNU tar has times: tarfile takes them for that."""
    prefix = os.fsdecode(header[PREFIX].partition(b"\0")[0])
    return info.name.removeprefix(f"{prefix}/") if prefix and header[MAGIC] == tarfile.GNU_MAGIC else info.name


def tar_member(info: tarfile.TarInfo, source: Source, advance: Callable[[int], object]) -> Member:
    kind = TAR_TYPES.get(info.type, S_IFREG)
    reason = NAMES_OF_TYPES.get(kind, "the label of a volume" if info.type == VOLUME_LABEL else "")

    def write(descriptor: int) -> None:
        if info.sparse is not None:
            write_sparse(info, source, descriptor, advance)
        else:
            write_content(source, info.offset_data, info.size, descriptor, advance)

    name = name_of(info, source.header)
    return Member(name, 0 if reason else kind, info.mode & 0o7777, time_of(info), info.linkname, reason, write)


def write_content(source: Source, offset: int, size: int, descriptor: int, advance: Callable[[int], object]) -> None:
    source.seek(offset)
    left = size
    while left:
        data = source.content(min(left, CHUNK))
        if not data:
            bad_archive("unexpected end of data")
        left -= len(data)
        write_whole(descriptor, data, advance)


def write_whole(descriptor: int, data: bytes, advance: Callable[[int], object]) -> None:
    while data:
        written = os.write(descriptor, data)
        advance(written)
        data = data[written:]


def write_sparse(info: Any, source: Source, descriptor: int, advance: Callable[[int], object]) -> None:
    """Write the data of a sparse file, and leave the holes."""
    source.seek(info.offset_data)
    # Where the archive has another size too, of the data and the map, tarfile may have taken that.
    whole = int(info.pax_headers.get("GNU.sparse.realsize", info.size))
    if not all(0 <= offset <= FILE_MAX and size >= 0 for offset, size in [*info.sparse, (whole, 0)]):
        bad_archive("the map of a sparse file has numbers that are none")
    for offset, size in info.sparse:
        os.lseek(descriptor, offset, os.SEEK_SET)
        write_content(source, source.position, size, descriptor, advance)
    os.ftruncate(descriptor, whole)


def time_of(info: tarfile.TarInfo) -> int | None:
    """The time of modification in nanoseconds. tarfile makes a float of it, which is not exact enough."""
    text = info.pax_headers.get("mtime")
    try:
        mtime = int(info.mtime) * 10**9 if text is None else int(TIMES.multiply(TIMES.create_decimal(text), 10**9))
    except (ValueError, OverflowError):  # it is none, or too large
        return None
    return mtime if abs(mtime) < TIME_MAX else None


# -- zip ---------------------------------------------------------------------------------------------------------------

FAT, UNIX = 0, 3  # whose attributes an entry has, in the upper byte of "version made by"
FAT_DIRECTORY = 0x10
EXTENDED_TIMESTAMP = b"UT"  # Info-ZIP's extra field: a flag for each time, and the times as time_t
HAS_MTIME = 1


def zip_members(
    raw: Raw, file: Any, spend: Callable[[int], object], advance: Callable[[int], object]
) -> Iterator[Member]:
    call = partial(reading, raw)
    to_time = lru_cache(local_time)  # for this archive alone: the time zone may be another one then
    with reading(raw, zipfile.ZipFile, file) as archive:
        for info in archive.infolist():
            yield zip_member(call, archive, info, to_time, spend, advance)


def zip_member(
    reading: Callable[..., Any],
    archive: zipfile.ZipFile,
    info: zipfile.ZipInfo,
    to_time: Callable[..., int | None],
    spend: Callable[[int], object],
    advance: Callable[[int], object],
) -> Member:
    attributes = info.external_attr >> 16 if info.create_system == UNIX else 0
    is_dir = info.filename.endswith("/") or (info.create_system == FAT and info.external_attr & FAT_DIRECTORY)
    kind = S_IFDIR if is_dir else S_IFMT(attributes) or S_IFREG
    if kind == S_IFIFO and info.file_size:  # zip's standard input was a pipe
        kind = S_IFREG
    reason = NAMES_OF_TYPES.get(kind, "" if kind in (S_IFREG, S_IFDIR, S_IFLNK) else "of no known type")
    target = ""
    if kind == S_IFLNK:
        with reading(archive.open, info) as file:
            target = os.fsdecode(reading(file.read, PATH_MAX))

    def write(descriptor: int) -> None:
        with reading(archive.open, info) as file:
            while data := reading(file.read, CHUNK):
                spend(len(data))
                write_whole(descriptor, data, advance)
                if len(data) < CHUNK:  # that was the end, and its checksum is right
                    break

    mode = S_IMODE(attributes) if attributes else None
    return Member(info.filename, 0 if reason else kind, mode, zip_time(info, to_time), target, reason, write)


def zip_time(info: zipfile.ZipInfo, to_time: Callable[..., int | None]) -> int | None:
    """The time of modification in nanoseconds: Info-ZIP's, or that of MS-DOS, which is local and has two seconds."""
    extra = info.extra
    while len(extra) >= 4:
        size = int.from_bytes(extra[2:4], "little")
        field = extra[4 : 4 + size]
        if extra[:2] == EXTENDED_TIMESTAMP and len(field) >= 5 and field[0] & HAS_MTIME:
            return int.from_bytes(field[1:5], "little", signed=True) * 10**9
        extra = extra[4 + size :]
    return to_time(*info.date_time)


def local_time(year: int, month: int, day: int, hour: int, minute: int, second: int) -> int | None:
    try:
        return int(time.mktime((year, month, day, hour, minute, second, 0, 0, -1))) * 10**9
    except (ValueError, OverflowError):
        return None
