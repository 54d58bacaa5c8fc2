"""Where the cases run: each ground has the same small tree, and paths or a store to reach it by."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from verytmp import VeryTmpRoot

TEXT = b"potatoes " * 11 + b"\n"
OURS = "verytmp"
PATHLIB = "pathlib"  # on /dev/shm


class Things(NamedTuple):
    """What a case works on: path objects, strings for os, or names in a store."""

    base: Any
    folder: Any
    file: Any
    missing: Any
    hundred: Any
    store: Any = None


class Ground(NamedTuple):
    """A name, the column of the table of cases that it runs, and its things."""

    name: str
    column: str
    things: Things


def things(
    base: Any, join: Callable[..., Any] = lambda base, *names: base.joinpath(*names), store: Any = None
) -> Things:
    return Things(
        base,
        join(base, "hello"),
        join(base, "hello", "f.txt"),
        join(base, "hello", "missing.txt"),
        join(base, "hundred"),
        store,
    )


def filled(found: Things) -> Things:
    """Make the tree, with the ground's own calls."""
    store = found.store
    if store is None:
        found.folder.mkdir()
        found.hundred.mkdir()
        found.file.write_bytes(TEXT)
        for number in range(100):
            (found.hundred / f"{number}.{'txt' if number % 2 else 'py'}").write_bytes(b"")
    else:
        store.mkdir(found.folder)
        store.mkdir(found.hundred)
        store.write(found.file, TEXT)
        for number in range(100):
            store.write(f"{found.hundred}/{number}.{'txt' if number % 2 else 'py'}", b"")
    return found


def slashed(*names: str) -> str:
    return "/".join(names)


@contextlib.contextmanager
def grounds(missing: list[str]) -> Iterator[list[Ground]]:
    """All that there are here, ours first. What is not installed is put on the list."""
    folder = tempfile.mkdtemp(prefix="verytmp-bench-", dir="/dev/shm")
    try:
        with VeryTmpRoot() as root:
            made = [
                Ground(OURS, "path", filled(things(root.path))),
                Ground(PATHLIB, "path", filled(things(Path(folder)))),
                Ground("os", "os", things(folder, os.path.join)),
            ]
            for name, column, make in OTHERS:
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        made.append(Ground(name, column, filled(make())))
                except ImportError as error:
                    missing.append(f"{name}: {error}")
            yield made
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def pyfakefs() -> Iterator[Ground]:
    """It puts its own modules in the place of os and others, so nothing else can be measured meanwhile."""
    from pyfakefs.fake_filesystem_unittest import Patcher

    with Patcher():
        base = __import__("pathlib").Path("/base")
        base.mkdir()
        yield Ground("pyfakefs", "path", filled(things(base)))


def universal_pathlib() -> Things:
    from upath import UPath

    return things(UPath("memory:///base"))


def fsspec() -> Things:
    from fsspec.implementations.memory import MemoryFileSystem

    class Fsspec:
        def __init__(self) -> None:
            self.fs = MemoryFileSystem(skip_instance_cache=True)
            self.mkdir = self.fs.mkdir
            self.write = self.fs.pipe_file
            self.read = self.fs.cat_file
            self.exists = self.fs.exists
            self.stat = self.fs.info
            self.is_file = self.fs.isfile
            self.is_dir = self.fs.isdir
            self.rmdir = self.fs.rmdir
            self.unlink = self.fs.rm_file
            self.rename = self.fs.mv
            self.glob = self.fs.glob

        def names(self, path: str) -> list[Any]:
            found: list[Any] = self.fs.ls(path, detail=False)
            return found

        def open(self, path: str) -> Any:
            return self.fs.open(path, "rb")

    return things("/bench", slashed, Fsspec())


def pyfilesystem2() -> Things:
    from fs.memoryfs import MemoryFS

    class PyFilesystem2:
        def __init__(self) -> None:
            self.fs = MemoryFS()
            self.fs.makedir("/bench")
            self.mkdir = self.fs.makedir
            self.write = self.fs.writebytes
            self.read = self.fs.readbytes
            self.exists = self.fs.exists
            self.stat = lambda path: self.fs.getinfo(path, ["details"])
            self.is_file = self.fs.isfile
            self.is_dir = self.fs.isdir
            self.names = self.fs.listdir
            self.rmdir = self.fs.removedir
            self.unlink = self.fs.remove
            self.rename = self.fs.move
            self.open = lambda path: self.fs.openbin(path)
            self.glob = lambda pattern: list(self.fs.glob(pattern))

    return things("/bench", slashed, PyFilesystem2())


def d_memfs() -> Things:
    from dmemfs import MemoryFileSystem

    class DMemFS:
        def __init__(self) -> None:
            self.fs = MemoryFileSystem(max_quota=1 << 30)
            self.fs.mkdir("/bench")
            self.mkdir = self.fs.mkdir
            self.exists = self.fs.exists
            self.stat = self.fs.stat
            self.is_file = self.fs.is_file
            self.is_dir = self.fs.is_dir
            self.names = self.fs.listdir
            self.rmdir = self.fs.rmtree
            self.unlink = self.fs.remove
            self.rename = self.fs.rename
            self.open = lambda path: self.fs.open(path, "rb")
            self.glob = self.fs.glob

        def write(self, path: str, data: bytes) -> None:
            with self.fs.open(path, "wb") as file:
                file.write(data)

        def read(self, path: str) -> Any:
            with self.fs.open(path, "rb") as file:
                return file.read()

    return things("/bench", slashed, DMemFS())


# Those that have paths of their own are used by those; the others by a store's functions.
OTHERS: list[tuple[str, str, Callable[[], Things]]] = [
    ("universal-pathlib", "path", universal_pathlib),
    ("fsspec", "store", fsspec),
    ("PyFilesystem2", "store", pyfilesystem2),
    ("D-MemFS", "store", d_memfs),
]
