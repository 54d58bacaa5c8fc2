"""The contents of a failed test's roots: shown in the report, and copied out."""

from __future__ import annotations

import errno
import os
import re
from contextlib import closing
from shutil import copyfile
from stat import S_IMODE, S_IRWXU, S_ISDIR, S_ISLNK, S_ISREG

from .root_of_test import TestDirectory, TestRoot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    import pytest

MOST = 40  # lines: about a screen, for a test may make millions of files
WIDEST = 160  # characters of a path
LONGEST = 200  # bytes of a test id in a file name, which has 255

NO_CANONICAL_PATH = (
    "In a private tmpfs, a canonical path (realpath) leads nowhere, and there is no os.getcwd(). If this test needs "
    "them, give it a directory on the host: @pytest.mark.real_tmp_path"
)
NO_LINKS = (
    "In a private tmpfs, the kernel follows no symlink; the methods of its paths do (path.open, path.read_text). If "
    "other code has to, give this test a directory on the host: @pytest.mark.real_tmp_path"
)
NO_NAME = "If this test passes with --verytmp, it needs a directory with a name: --verytmp=confined gives it none."
KEEP = "to look at these files afterwards: --verytmp-keep=DIR"
# By the messages of what needs it: Python, C, git, SQLite, Node.
MISSED = {
    "/dev/null/": NO_CANONICAL_PATH,
    "get current working directory": NO_CANONICAL_PATH,
    "unable to open database file": NO_CANONICAL_PATH,
    os.strerror(errno.ELOOP): NO_LINKS,
    "ELOOP": NO_LINKS,
}


def describe(report: pytest.TestReport, roots: list[TestRoot | TestDirectory], keep: Path | None) -> None:
    """Add a section to the report of a failed test: what its roots hold, and hints by the error's message.

    With *keep*, the contents are also copied there.
    """
    lines: list[str] = []
    for held in roots:
        lines.append(held.title())
        lines += listing(held.path)
    if roots and not keep:
        lines.append(KEEP)
    elif keep and roots:
        try:
            folder = new_folder(keep, report.nodeid)
            lines.append(f"kept in {folder}")
            for held in roots:
                lines += kept(held.path, folder / held.name)
        except OSError as error:
            lines.append(f"not kept: {error}")
    messages = "\n".join([report.longreprtext, *(text for _, text in report.sections)])
    missed = [advice for text, advice in MISSED.items() if text in messages]
    confined = [held for held in roots if isinstance(held, TestRoot)]
    if any(held.entered() for held in confined):
        missed.append(NO_CANONICAL_PATH)
    if not missed and any(held.name == "tmp_path" for held in confined):
        missed.append(NO_NAME)
    lines += dict.fromkeys(missed)
    if lines:
        report.sections.append(("verytmp", "\n".join(lines)))


def listing(top: Path) -> list[str]:
    """A line for each entry, at most MOST of them."""
    lines: list[str] = []
    with closing(entries(top)) as found:
        for path, status in found:
            if len(lines) == MOST:
                lines.append("  ... and more")
                break
            lines.append(f"  {printable(str(path.relative_to(top)))}{about(path, status)}")
    return lines


def about(path: Path, status: os.stat_result) -> str:
    if S_ISDIR(status.st_mode):
        return "/"
    if S_ISLNK(status.st_mode):
        return f" -> {printable(os.readlink(path))}"
    return f"  {status.st_size:,}" if S_ISREG(status.st_mode) else "  (neither file nor directory)"


def printable(text: str) -> str:
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= WIDEST else f"{text[:WIDEST]}..."


def entries(top: Path) -> Generator[tuple[Path, os.stat_result]]:
    """All that is below, in order. Directories that may not be read get the permissions for as long as this runs."""
    locked: list[tuple[Path, int]] = []
    left = [top]
    try:
        while left:
            path = left.pop()
            try:
                status = path.lstat()
                if path is not top:
                    yield path, status
                if S_ISDIR(status.st_mode):
                    if status.st_mode & S_IRWXU != S_IRWXU:
                        path.chmod(S_IRWXU)
                        locked.append((path, S_IMODE(status.st_mode)))
                    left += sorted(path.iterdir(), reverse=True)
            except FileNotFoundError:  # the test has a child that is still running
                continue
    finally:
        for path, mode in reversed(locked):
            path.chmod(mode)


def new_folder(keep: Path, nodeid: str) -> Path:
    """Make a directory for a test. An earlier run's is not removed: the new one gets a number."""
    name = re.sub(r"[^\w.\[\]-]+", "-", nodeid).encode()[:LONGEST].decode(errors="ignore").strip(".-")
    number = 0
    while True:
        folder = keep / (f"{name}.{number}" if number else name)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not folder.is_dir():
                raise
            number += 1
        else:
            return folder


def kept(top: Path, target: Path) -> list[str]:
    """Copy all that is in a root. Returns a line for each entry that could not be copied."""
    target.mkdir()
    failed: list[str] = []
    for path, status in entries(top):
        relative = path.relative_to(top)
        try:
            if S_ISDIR(status.st_mode):
                (target / relative).mkdir()
            elif S_ISREG(status.st_mode):
                if not status.st_mode & 0o400:
                    path.chmod(0o600)
                copyfile(path, target / relative)
            elif S_ISLNK(status.st_mode):
                os.symlink(os.readlink(path), target / relative)
            else:
                failed.append(f"  not kept: {printable(str(relative))}: neither file nor directory")
        except OSError as error:
            failed.append(f"  not kept: {printable(str(relative))}: {error.strerror}")
    return failed[:MOST]
