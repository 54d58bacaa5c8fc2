"""Published archives, by `unpack` and, as root, by others after chroot(2): `python3 tests/real_archives.py FOLDER`.

FOLDER has a folder for each maker of archives, with archives in it. What each program makes of each archive is compared
with what `unpack` makes: types, permissions, times, contents, links and their targets. It writes
docs/real-archives.md, and fails if there is a difference that nobody has explained.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

from verytmp import VeryTmpRoot

PAGE = Path(__file__).parent.parent / "docs" / "real-archives.md"
SIZE = "2g"
SECONDS = 20  # for one program and one archive
TOOLS = ".verytmp-tools"
TAR = (
    ".tar",
    ".tgz",
    ".tbz",
    ".tbz2",
    ".txz",
    ".gtar",
    ".pax",
    ".tar.gz",
    ".tar.bz2",
    ".tar.xz",
    ".tar.lzma",
    ".tar.zst",
    ".tar.z",
)
OPENERS: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress, b"BZh": bz2.decompress, b"\xfd7zXZ\0": lzma.decompress, b"\x5d\0\0": lzma.decompress,
}  # fmt: skip

# What a program does otherwise by its nature. Of zipfile: no permissions, times and links at all.
COMPARED = {"zipfile": "type content"}
ALL = "type mode time content target group"


class Entry(NamedTuple):
    """What is at one path."""

    type: str
    mode: int
    time: int
    content: str
    target: str
    group: str  # the first of a file's names, if it has several


def look(top: str) -> dict[str, Entry]:
    """All that is below a directory, by path."""
    found: dict[str, Entry] = {}
    first: dict[int, str] = {}
    for place, directories, files in os.walk(top):
        directories.sort()
        if place == top and TOOLS in directories:
            directories.remove(TOOLS)
        for name in sorted(directories + files):
            path = os.path.join(place, name)
            try:
                status = os.lstat(path)
            except OSError:  # deeper than a path can say: unpack has made it all the same
                continue
            kind = stat.filemode(status.st_mode)[0]
            content = target = group = ""
            if kind == "-":
                with open(path, "rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
                if status.st_nlink > 1:
                    group = first.setdefault(status.st_ino, os.path.relpath(path, top))
            elif kind == "l":
                target = os.readlink(path)
            mode = 0 if kind == "l" else stat.S_IMODE(status.st_mode)
            found[os.path.relpath(path, top)] = Entry(kind, mode, int(status.st_mtime), content, target, group)
    return found


def tar_of(data: bytes) -> bytes:
    for magic, opener in OPENERS.items():
        if data.startswith(magic):
            return opener(data)
    return data


def in_child(call: Callable[[], None], out: str) -> str:
    """Run in a child whose root is *out*. Returns its error, or an empty string."""
    receiver, sender = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(SECONDS)
            os.chroot(out)
            os.chdir("/")
            os.umask(0o022)
            devnull = os.memfd_create("null")
            os.dup2(devnull, 1)
            call()
        except BaseException as error:
            os.write(sender, f"{type(error).__name__}: {error}".encode(errors="replace")[:300])
        finally:
            os._exit(0)
    os.close(sender)
    with open(receiver, "rb") as file:
        message = file.read().decode()
    _, status = os.waitpid(pid, 0)
    return message or ("" if status == 0 else f"ended with status {status}")


def tools(folder: str, program: str) -> list[str]:
    """Put a program and its libraries into a folder. Returns the command by which it runs after chroot."""
    path = shutil.which(program)
    assert path, f"{program} is not installed"
    lines = subprocess.run(["ldd", path], capture_output=True, text=True, check=True).stdout
    libraries = re.findall(r"(/\S+)", lines)
    for each in (path, *libraries):
        shutil.copy(os.path.realpath(each), os.path.join(folder, os.path.basename(each)))
    loader = next(os.path.basename(each) for each in libraries if "ld-linux" in each)
    return [f"/{TOOLS}/{loader}", "--library-path", f"/{TOOLS}", f"/{TOOLS}/{program}"]


def with_tools(out: str, program: str, archive: bytes, *arguments: str) -> Callable[[], None]:
    """Put the archive into *out*, and the programs; return what runs one of them there."""
    folder = os.path.join(out, TOOLS)
    os.mkdir(folder)
    subprocess.run(["mount", "--bind", FOLDER, folder], check=True)
    Path(folder, "archive").write_bytes(archive)

    def run() -> None:
        environment = {"LC_ALL": "C.utf8", "LOCPATH": f"/{TOOLS}", "TZ": "UTC"}
        result = subprocess.run([*COMMANDS[program], *arguments], capture_output=True, env=environment, stdin=0)
        if result.returncode > (1 if program == "unzip" else 0):  # 1: a warning
            raise OSError(" ".join(result.stderr.decode(errors="replace").split())[-200:])

    return run


FOLDER = tempfile.mkdtemp(prefix="verytmp-real-archives-", dir="/dev/shm")
COMMANDS = {program: tools(FOLDER, program) for program in ("tar", "bsdtar", "unzip")}
shutil.copytree("/usr/lib/locale/C.utf8", os.path.join(FOLDER, "C.utf8"))


def programs(path: Path, data: bytes, is_zip: bool) -> dict[str, Callable[[str], Callable[[], None]]]:
    """What unpacks this archive: each is given a directory, and returns what is to be called after chroot."""
    found: dict[str, Callable[[str], Callable[[], None]]] = {}
    if is_zip:
        found["zipfile"] = lambda out: lambda: by_zipfile(data)
        found["unzip"] = lambda out: with_tools(out, "unzip", data, "-o", "-q", f"/{TOOLS}/archive", "-d", "/")
    else:
        how: dict[str, Any] = {"filter": "fully_trusted"} if hasattr(tarfile, "data_filter") else {}
        found["tarfile"] = lambda out: lambda: by_tarfile(data, how)
        found["GNU tar"] = lambda out: with_tools(
            out, "tar", tar_of(data), "-xpP", "--no-same-owner", "-f", f"/{TOOLS}/archive"
        )
    found["bsdtar"] = lambda out: with_tools(out, "bsdtar", data, "-xpPo", "-f", f"/{TOOLS}/archive")
    return found


def compared(ours: dict[str, Entry], theirs: dict[str, Entry], program: str, named: set[str]) -> list[tuple[str, str]]:
    """The differences: what kind, and where."""
    found = []
    for path in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(path), theirs.get(path)
        if mine is None:
            found.append((f"only there: {other.type}", path))  # type: ignore[union-attr]
        elif other is None:
            found.append((f"only here: {mine.type}", path))
        else:
            for field in COMPARED.get(program, ALL).split():
                if field in ("mode", "time") and path not in named:
                    continue  # a directory that no member is about
                if getattr(mine, field) != getattr(other, field):
                    found.append((field, f"{path}: {getattr(mine, field)!r} {getattr(other, field)!r}"))
    return found


def by_zipfile(data: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall("/")


def by_tarfile(data: bytes, how: Any) -> None:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        archive.extractall("/", **how)


def names_in(data: bytes, is_zip: bool) -> set[str]:
    try:
        if is_zip:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                listed = archive.namelist()
        else:
            with tarfile.open(fileobj=io.BytesIO(data)) as opened:
                listed = opened.getnames()
    except Exception:
        return set()
    return {os.path.normpath("/" + name)[1:].lstrip("/") for name in listed}


# Where `unpack` stops, and another program does not; by what its error says.
STOPS = {
    "compression method|compressed by zstd": "compressed in a way that this Python does not know",
    r"\.tar\.Z|COMPRESS-386": "compressed by compress(1), which Python does not know",
    "encrypted|password|strong encryption": "encrypted",
    "bad checksum|invalid header|truncated header|unexpected end|negative size|sparse|headers": (
        "damaged, or cut off: tarfile takes a header that is none for the end, in silence; others skip it"
    ),
    "Overlapped entries": "its entries overlap, as those of a bomb",
    "CRC": "a file is longer than the archive says, and unzip cuts it off",
    "not a zip|central directory|multiple disks|Bad magic|differ|extra field": (
        "damaged, or in parts: bsdtar reads what it finds"
    ),
    "Not a directory|Is a directory|File exists": "its members contradict each other",
    "name too long": "a name is too long",
}
# A difference of what is made, by program, kind and path.
DIFFERENCES = {
    r".*: only there: [pcbs]": "devices and FIFOs are left out",
    r"only there: -: : label": "the label of a volume is left out",
    r"only there: d": "a directory that a name only passes on its way to `..` is not made",
    r"tarfile: time: -.*empty": "a time that is no number is not set",
    r"tarfile: time: l": "tarfile does not set the times of links",
    r"GNU tar: time: [dl-]": "GNU tar makes links to outside at the end, and so changes the times of their directories",
    r"(bsdtar|unzip): (mode|time): .*": "no Unix attributes in the zip archive, or other times among its extra fields",
    r"zipfile: (type|content|target).*": "zipfile makes a file of a link",
    r"zipfile: only (here|there): .*": "zipfile drops each `..`, and what is before it stays",
    r"unzip: .*": "unzip cuts names and changes characters in its own way",
    r"bsdtar: .*": "bsdtar reads other fields, such as AppleDouble files, or names in their own encoding",
    r"GNU tar: .*test-times|GNU tar: .*: 1421\d": "tarfile takes GNU's times of access for a part of the name",
    r".*: group.*": "a link's target had been replaced by then",
}


def reason_for(table: dict[str, str], text: str) -> str:
    return next((reason for pattern, reason in table.items() if re.search(pattern, text)), "")


def one(path: Path, counts: dict[str, Counter[str]], reasons: Counter[str]) -> tuple[int, list[str]]:
    """Unpack one archive by all programs. Returns how many members it has, and what nobody has explained."""
    data = path.read_bytes()
    is_zip = not path.name.lower().endswith(TAR)
    wrong: list[str] = []
    message, members = "", 0
    with VeryTmpRoot(size=SIZE) as root:
        started = time.monotonic()
        try:
            members = root.path.unpack(path, max_members=100_000).members
        except OSError as error:
            message = f"{path.name}: {error}"
        if time.monotonic() - started > SECONDS:
            wrong.append(f"{path}: it took {time.monotonic() - started:.0f} s")
        ours = look(os.fspath(root))
    named = names_in(data, is_zip)
    for program, prepare in programs(path, data, is_zip).items():
        out = tempfile.mkdtemp(prefix="verytmp-real-archives-", dir="/dev/shm")
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=755", "none", out], check=True)
        try:
            try:
                failed = in_child(prepare(out), out)
            except Exception as error:  # its compression is not known, say
                failed = repr(error)
            theirs = look(out)
        finally:
            subprocess.run(["umount", "-R", "-l", out], check=True)
            os.rmdir(out)
        if failed:
            counts[program]["both stop" if message else "it stops"] += 1
            continue
        if message:
            counts[program]["unpack stops"] += 1
            reason = reason_for(STOPS, message)
            reasons[f"unpack stops: {reason}"] += 1
            if not reason:
                wrong.append(f"{program} unpacks {message}")
            continue
        differences = compared(ours, theirs, program, named)
        counts[program]["explained" if differences else "same"] += 1
        found = set()
        for kind, where in differences:
            entry = ours.get(where.partition(": ")[0])
            text = f"{program}: {kind}: {entry.type if entry else ''}: {where}"
            reason = reason_for(DIFFERENCES, text)
            found.add(reason)
            if not reason:
                wrong.append(f"{path}: {text}")
        reasons.update(found - {""})
    return members, wrong


def main(folder: str) -> int:
    if not os.environ.get("VERYTMP_UNSHARED"):  # the mounts are nobody else's
        os.environ["VERYTMP_UNSHARED"] = "1"
        shutil.rmtree(FOLDER)
        os.execvp("unshare", ["unshare", "--mount", sys.executable, *sys.argv])
    os.environ["TZ"] = "UTC"
    time.tzset()
    os.umask(0o022)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    counts: dict[str, Counter[str]] = {name: Counter() for name in ("tarfile", "GNU tar", "zipfile", "unzip", "bsdtar")}
    reasons: Counter[str] = Counter()
    makers: dict[str, Counter[str]] = {}
    wrong: list[str] = []
    try:
        for path in sorted(Path(folder).glob("*/*")):
            members, found = one(path, counts, reasons)
            wrong += found
            makers.setdefault(path.parent.name, Counter()).update(archives=1, members=members, unpacked=members > 0)
            print(f"{path.parent.name} {path.name}: {members} members", *found, sep="\n    ", flush=True)
    finally:
        shutil.rmtree(FOLDER)
    PAGE.write_text(page(makers, counts, reasons))
    print(*wrong, sep="\n")
    return 1 if wrong else 0


def all_of(makers: dict[str, Counter[str]]) -> str:
    total = sum(makers.values(), Counter[str]())
    return f"| all | {total['archives']} | {total['unpacked']} | {total['members']:,} |"


def page(makers: dict[str, Counter[str]], counts: dict[str, Counter[str]], reasons: Counter[str]) -> str:
    lines = [
        "# Real archives",
        "",
        "Published archives, most of them made to test programs that unpack. Each was unpacked by `unpack` into a",
        "root, and after chroot(2) by other programs. Types, permissions, times, contents, links and their targets",
        "were compared (of zipfile, types and contents: it sets nothing else). Written by `tests/real_archives.py`,",
        f"as root, on Python {sys.version_info.major}.{sys.version_info.minor}.",
        "",
        "| from | archives | unpacked | members |",
        "|---|---:|---:|---:|",
        *(f"| {name} | {n['archives']} | {n['unpacked']} | {n['members']:,} |" for name, n in makers.items()),
        all_of(makers),
        "",
        "| program | the same | explained differences | it stops, `unpack` does not | both stop | `unpack` stops |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for program, found in counts.items():
        kinds = ("same", "explained", "it stops", "both stop", "unpack stops")
        lines.append(f"| {program} | " + " | ".join(str(found[kind]) for kind in kinds) + " |")
    lines += ["", "| difference, or why `unpack` stops | pairs |", "|---|---:|"]
    lines += [f"| {reason} | {number} |" for reason, number in reasons.most_common()]
    lines += ["", "`unpack` stops where an archive is damaged, for nobody could tell what is missing otherwise."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
