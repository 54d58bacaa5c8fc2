"""The table of single operations: what is done with a path, and the same with os and strings, and with a store."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Callable
from typing import Any, NamedTuple

from bench.grounds import TEXT, Things

Call = Callable[[Things], object]


class Case(NamedTuple):
    name: str
    path: Call
    os: Call | None = None
    store: Call | None = None
    goal: bool = True  # counted in the mean


def create_and_unlink(path: Any) -> None:
    path.touch()
    path.unlink()


def mkdir_and_rmdir(path: Any) -> None:
    path.mkdir()
    path.rmdir()


def rename_and_back(path: Any, other: Any) -> None:
    path.rename(other)
    other.rename(path)


def read(name: str) -> bytes:
    with open(name, "rb", 0) as file:
        return file.read()


def write(name: str, data: bytes) -> None:
    with open(name, "wb", 0) as file:
        file.write(data)


def os_create_and_unlink(name: str) -> None:
    os.close(os.open(name, os.O_CREAT | os.O_WRONLY, 0o666))
    os.unlink(name)


def os_mkdir_and_rmdir(name: str) -> None:
    os.mkdir(name)
    os.rmdir(name)


def os_rename_and_back(name: str, other: str) -> None:
    os.rename(name, other)
    os.rename(other, name)


def store_create_and_unlink(t: Things) -> None:
    t.store.write(f"{t.folder}/new", b"")
    t.store.unlink(f"{t.folder}/new")


def store_mkdir_and_rmdir(t: Things) -> None:
    t.store.mkdir(f"{t.folder}/new")
    t.store.rmdir(f"{t.folder}/new")


def store_rename_and_back(t: Things) -> None:
    t.store.rename(t.file, f"{t.folder}/other")
    t.store.rename(f"{t.folder}/other", t.file)


STRING = TEXT.decode()

CASES = [
    Case("join", lambda t: t.base / "a" / "b", lambda t: os.path.join(t.base, "a", "b")),
    Case("parent", lambda t: t.file.parent, lambda t: os.path.dirname(t.file)),
    Case("name", lambda t: t.file.name, lambda t: os.path.basename(t.file)),
    Case("suffix", lambda t: t.file.suffix, lambda t: os.path.splitext(t.file)[1]),
    Case("join and str", lambda t: str(t.base / "a"), lambda t: os.path.join(t.base, "a")),
    Case("stat", lambda t: t.file.stat(), lambda t: os.stat(t.file), lambda t: t.store.stat(t.file)),
    Case("exists", lambda t: t.file.exists(), lambda t: os.path.exists(t.file), lambda t: t.store.exists(t.file)),
    Case(
        "exists not",
        lambda t: t.missing.exists(),
        lambda t: os.path.exists(t.missing),
        lambda t: t.store.exists(t.missing),
    ),
    Case("is_file", lambda t: t.file.is_file(), lambda t: os.path.isfile(t.file), lambda t: t.store.is_file(t.file)),
    Case("is_dir", lambda t: t.folder.is_dir(), lambda t: os.path.isdir(t.folder), lambda t: t.store.is_dir(t.folder)),
    Case("read_bytes", lambda t: t.file.read_bytes(), lambda t: read(t.file), lambda t: t.store.read(t.file)),
    Case("read_text", lambda t: t.file.read_text("utf-8"), lambda t: read(t.file).decode()),
    Case(
        "write_bytes",
        lambda t: t.file.write_bytes(TEXT),
        lambda t: write(t.file, TEXT),
        lambda t: t.store.write(t.file, TEXT),
    ),
    Case("write_text", lambda t: t.file.write_text(STRING, "utf-8"), lambda t: write(t.file, STRING.encode())),
    Case(
        "open and close",
        lambda t: t.file.open("rb").close(),
        lambda t: open(t.file, "rb").close(),
        lambda t: t.store.open(t.file).close(),
    ),
    Case(
        "create and unlink",
        lambda t: create_and_unlink(t.folder / "new"),
        lambda t: os_create_and_unlink(f"{t.folder}/new"),
        store_create_and_unlink,
    ),
    Case(
        "mkdir and rmdir",
        lambda t: mkdir_and_rmdir(t.folder / "new"),
        lambda t: os_mkdir_and_rmdir(f"{t.folder}/new"),
        store_mkdir_and_rmdir,
    ),
    Case(
        "rename and back",
        lambda t: rename_and_back(t.file, t.folder / "other"),
        lambda t: os_rename_and_back(t.file, f"{t.folder}/other"),
        store_rename_and_back,
    ),
    Case(
        "iterdir of 100",
        lambda t: list(t.hundred.iterdir()),
        lambda t: os.listdir(t.hundred),
        lambda t: t.store.names(t.hundred),
    ),
    Case(
        "glob of 100",
        lambda t: list(t.hundred.glob("*.txt")),
        lambda t: fnmatch.filter(os.listdir(t.hundred), "*.txt"),
        lambda t: t.store.glob(f"{t.hundred}/*.txt"),
    ),
    Case("with_name", lambda t: t.file.with_name("g.txt"), goal=False),
    Case("with_suffix", lambda t: t.file.with_suffix(".py"), goal=False),
    Case("relative_to", lambda t: t.file.relative_to(t.base), goal=False),
    Case("parts", lambda t: (t.base / "a").parts, goal=False),
    Case("equal and hash", lambda t: (t.file == t.missing, hash(t.file)), goal=False),
]
