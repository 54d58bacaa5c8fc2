"""Published archives, by `unpack` and, as root, by others after chroot(2): `python3 tests/real_archives.py FOLDER`.

FOLDER has a folder for each maker of archives, with archives in it. What each program makes of each archive is compared
with what `unpack` makes: types, permissions, times, contents, links and their targets. It writes
docs/real-archives.md, and fails if there is a difference that nobody has explained.
"""

from __future__ import annotations

import bz2
import gzip
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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from support.archive_rules import DIFFERENCES, STOPS, Difference, Entry, Facts, Stop, digest, planted

from verytmp import VeryTmpRoot

PAGE = Path(__file__).parent.parent / "docs" / "real-archives.md"
SIZE = "2g"
SECONDS = 20  # for one program and one archive
TOOLS = ".verytmp-tools"
BLOCK = 4096
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

LINES = 10  # of what is not explained of one archive
KINDS = {
    "same": "the same",
    "explained": "explained",
    "both stop": "both stop",
    "it stops": "only it stops",
    "unpack stops": "only `unpack` stops",
}
MAKERS = {
    "archive-tar-new": "Archive::Tar (Perl)",
    "commons-compress": "Apache commons-compress",
    "compress": "Go's archive/zip, and fuzzers' corpora (klauspost/compress)",
    "cpython": "CPython",
    "debian": "Debian's packages",
    "django": "Django",
    "jszip": "JSZip",
    "libarchive": "libarchive",
    "libzip": "libzip",
    "node-tar": "node-tar",
    "npm": "packages of npm",
    "perl-Archive-Zip": "Archive::Zip (Perl)",
    "rubyzip": "rubyzip",
    "sdists": "sdists of PyPI",
    "sharpcompress": "SharpCompress: 7-Zip, WinZip, PKWARE",
    "tar-rs": "tar-rs",
    "tar-split": "Go's archive/tar (tar-split)",
    "tar-stream": "tar-stream",
    "wheels": "wheels of PyPI",
    "yauzl": "yauzl",
    "zip2": "zip2 (Rust)",
}
INTRODUCTION = """\
# Real archives

{archives} published archives of {makers} projects were unpacked; most of them were made to test such programs. Each one
was unpacked by `unpack` into a root, and, after chroot(2), by `tarfile` or `zipfile`, by GNU tar or unzip, and by
bsdtar. The results were compared: types, permissions, times, contents, links with their targets, and groups of hard
links. Permissions and times were also compared with the archive's own headers. (For zipfile, only types and contents
were compared, because it sets nothing else.) `tests/real_archives.py` wrote this page, as root, on Python {0}.{1}.

In the first two tables, each archive counts once for each other program. "The same" means that the results are equal,
and "explained" that a difference comes from the other program, or from what the archive's headers say. "Both stop" and
the like count archives on which a program ends with an error. The other tables list the explanations.
"""
END = """\
`unpack` stops at a damaged archive, because otherwise nobody could tell what is missing.

An explanation is a rule that looks at the archive's headers, and not only at the kind of the difference: see
`tests/support/archive_rules.py`. To test the rules, {all} faults were planted, one of each kind in each archive: wrong
permissions, times, contents, types and targets, a copy in the place of a hard link, a missing member, an extra one. The
rules left {noticed} of them unexplained, as they should. The others are in archives that do not say what would be right
(a time that is not a number), or that no other program unpacks in the same way.

The archives of six projects (Go, Django, JSZip, Archive::Zip, tar-stream, npm) were set aside until all differences in
the others were explained. Then eleven of these 255 archives had new differences. Four of them came from two faults of
`unpack`, which are fixed: the size of some sparse files, and the error for a zip archive whose directory seems to begin
before the start of the file.
"""


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
                with open(path, "rb", 0) as file:
                    content = digest(blocks(file.fileno()), status.st_size)
                if status.st_nlink > 1:
                    group = first.setdefault(status.st_ino, os.path.relpath(path, top))
            elif kind == "l":
                target = os.readlink(path)
            mode = 0 if kind == "l" else stat.S_IMODE(status.st_mode)
            found[os.path.relpath(path, top)] = Entry(kind, mode, status.st_mtime_ns // 10**9, content, target, group)
    return found


def blocks(file: int) -> Iterator[tuple[int, bytes]]:
    """A file's blocks that are no holes, with their places: there are files of many gigabytes that are nothing else."""
    size = os.fstat(file).st_size
    at = 0
    while at < size:
        try:
            at = os.lseek(file, at, os.SEEK_DATA)
        except OSError:  # ENXIO: nothing but a hole
            break
        end = os.lseek(file, at, os.SEEK_HOLE)
        for start in range(at, end, BLOCK):
            yield start, os.pread(file, min(BLOCK, end - start), start)
        at = end


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
            signal.alarm(SECONDS + 5)  # for Python's own
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
        command = [*COMMANDS[program], *arguments]
        result = subprocess.run(command, capture_output=True, env=environment, stdin=0, timeout=SECONDS)
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


def compared(ours: dict[str, Entry], theirs: dict[str, Entry], program: str, named: set[str]) -> list[Difference]:
    found = []
    elsewhere = renamed(ours, theirs)
    for path, mine in sorted(ours.items()):
        other = theirs.get(elsewhere.get(path, path))
        if other is None:
            found.append(Difference(program, "extra", path, mine, None))
        elif mine.type != other.type:
            found.append(Difference(program, "type", path, mine, other))
        else:
            if path in elsewhere:
                found.append(Difference(program, "name", path, mine, other, elsewhere[path]))
            for field in COMPARED.get(program, ALL).split():
                if field in ("mode", "time") and path not in named:
                    continue  # a directory that no member is about
                if getattr(mine, field) != getattr(other, field):
                    found.append(Difference(program, field, path, mine, other))
    left = sorted(theirs.keys() - ours.keys() - set(elsewhere.values()))
    return found + [Difference(program, "missing", path, None, theirs[path]) for path in left]


def renamed(ours: dict[str, Entry], theirs: dict[str, Entry]) -> dict[str, str]:
    """What a program has made by a name that is the same but for what is no ASCII, or a backslash for a slash."""
    candidates: dict[object, list[str]] = {}
    for path in sorted(theirs.keys() - ours.keys()):
        candidates.setdefault(likeness(path, theirs[path]), []).append(path)
    found = {}
    for path in sorted(ours.keys() - theirs.keys()):
        if like := candidates.get(likeness(path, ours[path])):
            found[path] = like.pop(0)
    return found


def likeness(path: str, entry: Entry) -> object:
    # unzip has a plus for a letter that it does not know, and nothing for what cannot be printed.
    alike = "".join(character for character in path if " " <= character <= "~" and character != "+")
    return alike.replace("\\", "/").rstrip("/"), entry.type, entry.content, entry.target


def by_zipfile(data: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall("/")


def by_tarfile(data: bytes, how: Any) -> None:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        archive.extractall("/", **how)


class Outcome:
    """What all programs have made of one archive.

    Attributes:
        facts: what the archive says itself.
        stopped: why `unpack` stopped; or an empty string.
        ours: what it has made.
        failures: why another program stopped, by its name; an empty string if it did not.
        theirs: what each has made that did not.
    """

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        is_zip = not path.name.lower().endswith(TAR)
        self.path, self.stopped, self.members = path, "", 0
        self.python = "zipfile" if is_zip else "tarfile"
        self.failures: dict[str, str] = {}
        self.theirs: dict[str, dict[str, Entry]] = {}
        left_out: dict[str, str] = {}
        with VeryTmpRoot(size=SIZE) as root:
            started = time.monotonic()
            try:
                report = root.path.unpack(path, max_members=100_000)
                self.members, left_out = report.members, report.left_out
            except OSError as error:
                self.stopped = error.strerror or str(error)
            self.seconds = time.monotonic() - started
            self.ours = look(os.fspath(root))
        try:
            plain = data if is_zip else tar_of(data)
        except Exception:  # all stop there
            plain = b""
        self.facts = Facts(data, plain, is_zip, left_out)
        for program, prepare in programs(path, data, is_zip).items():
            self.failures[program], made = unpacked_by(prepare)
            if not self.failures[program]:
                self.theirs[program] = made

    def differences(self, ours: dict[str, Entry]) -> list[Difference]:
        found = self.facts.check(ours)
        for program, theirs in self.theirs.items():
            found += compared(ours, theirs, program, {*self.facts.at})
        return found


def unpacked_by(prepare: Callable[[str], Callable[[], None]]) -> tuple[str, dict[str, Entry]]:
    """Why it stopped, and what it has made."""
    out = tempfile.mkdtemp(prefix="verytmp-real-archives-", dir="/dev/shm")
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=755", "none", out], check=True)
    try:
        try:
            failed = in_child(prepare(out), out)
        except Exception as error:  # its compression is not known, say
            failed = repr(error)
        return failed, look(out)
    finally:
        subprocess.run(["umount", "-R", "-l", out], check=True)
        os.rmdir(out)


class Tables:
    """What the page says."""

    def __init__(self) -> None:
        self.makers: dict[str, Counter[str]] = {}
        self.programs: dict[str, Counter[str]] = {}
        self.reasons: dict[tuple[str, bool], Counter[str]] = {}  # by text, and whether `unpack` stops
        self.faults: Counter[str] = Counter()

    def add(self, outcome: Outcome) -> list[str]:
        """Count one archive. Returns what nobody has explained."""
        wrong: list[str] = []
        maker = self.makers.setdefault(outcome.path.parent.name, Counter())
        maker.update(archives=1, members=outcome.members, unpacked=not outcome.stopped)
        if outcome.seconds > SECONDS:
            wrong.append(f"it took {outcome.seconds:.0f} s")
        if not outcome.stopped:
            wrong += map(str, self.unexplained(outcome, "the archive", outcome.facts.check(outcome.ours), {}))
        for program, failed in outcome.failures.items():
            kind = "both stop" if failed and outcome.stopped else "it stops" if failed else ""
            if not kind and outcome.stopped:
                kind = "unpack stops"
                stop = Stop(program, outcome.stopped, outcome.failures[outcome.python], outcome.facts)
                reason = next((text for text, test in STOPS if test(stop)), "")
                self.reasons.setdefault((reason, True), Counter())[program] += 1
                if not reason:
                    wrong.append(f"{program} unpacks, and unpack stops: {outcome.stopped}")
            if not kind:
                seen: dict[str, None] = {}
                theirs = outcome.theirs[program]
                differences = compared(outcome.ours, theirs, program, {*outcome.facts.at})
                wrong += map(str, self.unexplained(outcome, program, differences, seen))
                kind = "explained" if differences else "same"
                for reason in seen:
                    self.reasons.setdefault((reason, False), Counter())[program] += 1
            maker[kind] += 1
            self.programs.setdefault(program, Counter())[kind] += 1
        if not wrong and not outcome.stopped and outcome.theirs:
            self.plant(outcome)
        return wrong

    def page(self) -> str:
        total = sum(self.makers.values(), Counter[str]())
        kinds = ("archives", "unpacked", "members", *KINDS)
        lines = [
            *INTRODUCTION.format(*sys.version_info, archives=total["archives"], makers=len(self.makers)).splitlines(),
            "",
            f"| from | archives | unpacked by `unpack` | members | {' | '.join(KINDS.values())} |",
            "|---|" + "---:|" * len(kinds),
        ]
        for name, found in [*sorted(self.makers.items()), ("all", total)]:
            lines.append(f"| {MAKERS.get(name, name)} | " + " | ".join(f"{found[kind]:,}" for kind in kinds) + " |")
        lines += ["", f"| program | {' | '.join(KINDS.values())} |", "|---|" + "---:|" * len(KINDS)]
        for name, found in self.programs.items():
            lines.append(f"| {name} | " + " | ".join(f"{found[kind]:,}" for kind in KINDS) + " |")
        for title, stops in (("explanation of a difference", False), ("why only `unpack` stops", True)):
            lines += ["", f"| {title} | compared with | archives |", "|---|---|---:|"]
            rows = [(found.total(), text, found) for (text, stop), found in self.reasons.items() if stop == stops]
            for count, text, found in sorted(rows, key=lambda row: (-row[0], row[1])):
                lines.append(f"| {text} | {', '.join(sorted(found))} | {count} |")
        return (
            "\n".join([*lines, "", *END.format(all=self.faults["all"], noticed=self.faults["noticed"]).splitlines()])
            + "\n"
        )

    @staticmethod
    def unexplained(
        outcome: Outcome, program: str, differences: list[Difference], seen: dict[str, None]
    ) -> list[Difference]:
        left = []
        for difference in differences:
            for text, test in DIFFERENCES:
                if test(difference, outcome.facts):
                    seen[text] = None
                    break
            else:
                left.append(difference)
        return left

    def plant(self, outcome: Outcome) -> None:
        """Change what `unpack` has made in one place, and see whether that is a difference which nobody explains."""
        for name, ours in planted(outcome.ours, outcome.facts):
            found = self.unexplained(outcome, "", outcome.differences(ours), {})
            self.faults.update({"all": 1, "noticed": bool(found)})
            if not found:
                print(f"    not noticed: {name} in {outcome.path}")


def main(*folders: str) -> int:
    if not os.environ.get("VERYTMP_UNSHARED"):  # the mounts are nobody else's
        os.environ["VERYTMP_UNSHARED"] = "1"
        shutil.rmtree(FOLDER)
        os.execvp("unshare", ["unshare", "--mount", sys.executable, *sys.argv])
    os.environ["TZ"] = "UTC"
    time.tzset()
    os.umask(0o022)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    tables = Tables()
    wrong: list[str] = []
    try:
        for path in sorted(found for folder in folders for found in Path(folder).glob("*/*")):
            new = tables.add(Outcome(path))
            wrong += [f"{path}: {each}" for each in new]
            lines = [f"{path.parent.name} {path.name}", *new[:LINES]]
            print("\n    ".join(lines).encode(errors="backslashreplace").decode(), flush=True)
    finally:
        shutil.rmtree(FOLDER)
    PAGE.write_text(tables.page())
    print(f"{len(wrong)} differences that nobody has explained")
    return 1 if wrong or tables.faults["noticed"] < 0.99 * tables.faults["all"] else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
