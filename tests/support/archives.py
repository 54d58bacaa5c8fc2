"""Archives, honest and evil, and the filters that tarfile unpacks them with."""

from __future__ import annotations

import inspect
import io
import os
import tarfile

import pytest

# They came with Python 3.11.4.
needs_filters = pytest.mark.skipif(not hasattr(tarfile, "data_filter"), reason="this Python's tarfile has no filters")
# Whether this Python's filters ask for the destination's canonical path so that a root's is an error.
CANONICALISES = hasattr(os.path, "ALLOW_MISSING")
CANONICALISES_LINKS = "realpath" in inspect.getsource(
    getattr(tarfile.TarFile, "makelink_with_filter", tarfile.TarFile.makelink)
)


def data_filter(member: tarfile.TarInfo, _: str) -> tarfile.TarInfo:
    """As docs/how-to/unpack.md says it: no Python's `tarfile` looks at the destination itself so."""
    return tarfile.data_filter(member, "/nonexistent")


def tar_filter(member: tarfile.TarInfo, _: str) -> tarfile.TarInfo:
    return tarfile.tar_filter(member, "/nonexistent")


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, link
    found.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    return found


def packed(
    *members: tarfile.TarInfo, form: int = tarfile.DEFAULT_FORMAT, content: bytes = b"evil", mode: str = "w"
) -> io.BytesIO:
    """An archive in memory, in which each file has this content."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, format=form) as archive:  # type: ignore[call-overload]
        for info in members:
            info.size = len(content) if info.isreg() else 0
            archive.addfile(info, io.BytesIO(content))
    file.seek(0)
    return file


def tar(*members: tarfile.TarInfo, form: int = tarfile.DEFAULT_FORMAT) -> tarfile.TarFile:
    """The same, opened: its files hold the word evil."""
    return tarfile.open(fileobj=packed(*members, form=form))
