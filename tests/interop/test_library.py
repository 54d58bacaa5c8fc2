"""Paths in the hands of the rest of the standard library."""

from __future__ import annotations

import asyncio
import bz2
import configparser
import csv
import filecmp
import fileinput
import glob
import gzip
import hashlib
import json
import linecache
import logging
import logging.handlers
import lzma
import os
import pickle
import shutil
import subprocess
import sys
import tokenize
import tomllib
import zipapp
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import host_state
from support.compare_with_host import same, steps, string

from verytmp import VeryTmpRoot


def written(module: Any, base: Path) -> object:
    with module.open(base / "packed", "wt") as file:
        file.write("potatoes")
    with module.open(base / "packed") as file:
        result = file.read()
    os.remove(base / "packed")  # gzip's holds the time
    return result


def configured(base: Path) -> object:
    config = configparser.ConfigParser()
    (base / "c.ini").write_text("[a]\nb = c\n")
    assert list(map(str, config.read([base / "c.ini", base / "missing"]))) == [str(base / "c.ini")]
    return {name: dict(config[name]) for name in config.sections()}


def compared(base: Path) -> object:
    shutil.copytree(base / "d", base / "new")
    (base / "new" / "f").write_bytes(b"other")
    result = filecmp.dircmp(base / "d", base / "new")
    return result.same_files, result.diff_files, result.common_dirs, filecmp.cmp(base / "f", base / "g", False)


def with_file(call: Callable[[Any], object], mode: str = "rb") -> Callable[[Path], object]:
    def attempt(base: Path) -> object:
        with open(base / "t", mode) as file:
            return call(file)

    return attempt


def rows(base: Path) -> object:
    with open(base / "t", "w", newline="") as file:
        csv.writer(file).writerows([["a", "b c"], [1, '"']])
    with open(base / "t", newline="") as file:
        return list(csv.reader(file))


def jsoned(base: Path) -> object:
    with (base / "t").open("w") as file:
        json.dump({"a": [1, "b"], "p": base / "f"}, file, default=os.path.basename)
    with (base / "t").open() as file:
        return json.load(file)


def pickled(base: Path) -> object:
    with (base / "t").open("wb") as file:
        pickle.dump({"a": 1}, file)
    with (base / "t").open("rb") as file:
        return pickle.load(file)


def lines(base: Path) -> object:
    with fileinput.input([base / "d" / "s.py", base / "f"]) as found:
        return list(found)


def lines_in_place(base: Path) -> object:
    with fileinput.input(base / "d" / "s.py", inplace=True) as found:
        for line in found:
            print(line.upper(), end="")
    return (base / "d" / "s.py").read_bytes()


def python(base: Path) -> object:
    with tokenize.open(base / "d" / "s.py") as file:
        return file.encoding, file.read(), linecache.getline(os.fspath(base / "d" / "s.py"), 1)


def packed(base: Path) -> object:
    (base / "d" / "__main__.py").write_text("print('packed')")
    zipapp.create_archive(base / "d", base / "app.pyz")
    result = subprocess.run([sys.executable, base / "app.pyz"], capture_output=True, text=True).stdout
    os.remove(base / "app.pyz")
    return result


LIBRARY: dict[str, Callable[[Path], object]] = {
    "open": steps(lambda p: open(p / "f").close(), lambda p: open(p / "new", "x").close()),
    "gzip": lambda p: written(gzip, p),
    "bz2": lambda p: written(bz2, p),
    "lzma": lambda p: written(lzma, p),
    "configparser": configured,
    "csv": rows,
    "json": jsoned,
    "pickle": pickled,
    "filecmp": compared,
    "glob": lambda p: sorted(os.path.relpath(name, p) for name in glob.glob(f"{p}/**", recursive=True)),
    "glob root_dir": lambda p: sorted(glob.glob("**/*f*", root_dir=p, recursive=True)),
    "hashlib": lambda p: (p / "t").write_bytes(b"x") and with_file(lambda f: hashlib.file_digest(f, "md5").digest())(p),
    "tomllib": lambda p: (p / "t").write_text("a = [1, 2]") and with_file(tomllib.load)(p),
    "fileinput": lines,
    "fileinput in place": lines_in_place,
    "tokenize": python,
    "zipapp": packed,
}


@pytest.mark.parametrize("name", LIBRARY)
def test_library(root: VeryTmpRoot, host: Path, name: str) -> None:
    assert same(LIBRARY[name], root, host) != []
    linecache.clearcache()


def test_logging(root: VeryTmpRoot) -> None:
    logger = logging.getLogger("verytmp-tests")
    handlers: list[logging.FileHandler] = [
        logging.FileHandler(root / "plain"),
        logging.FileHandler(root / "late", delay=True),
        logging.handlers.WatchedFileHandler(root / "watched"),
        logging.handlers.RotatingFileHandler(root / "rotating", maxBytes=8, backupCount=2),
    ]
    for handler in handlers:
        logger.addHandler(handler)
    assert handlers[0].baseFilename == f"{string(root)}/plain"
    logger.warning("one")
    (root / "watched").rename(root / "moved")
    logger.warning("two")
    logger.warning("three")
    for handler in handlers:
        logger.removeHandler(handler)
        handler.close()
    whole = b"one\ntwo\nthree\n"
    assert host_state.look(root.fileno()) == {
        "plain": whole,
        "late": whole,
        "watched": b"two\nthree\n",
        "moved": b"one\n",
        "rotating": b"three\n",
        "rotating.1": b"two\n",
        "rotating.2": b"one\n",
    }


def test_asyncio(root: VeryTmpRoot) -> None:
    async def main() -> None:
        await asyncio.gather(*(asyncio.to_thread((root / str(n)).write_text, str(n)) for n in range(50)))
        texts = await asyncio.gather(*(asyncio.to_thread((root / str(n)).read_text) for n in range(50)))
        assert texts == [str(n) for n in range(50)]
        program = await asyncio.create_subprocess_exec("cp", root / "0", root / "new", cwd=root.path)
        assert await program.wait() == 0

    asyncio.run(main())
    assert host_state.look(root.fileno()) == {str(n): str(n).encode() for n in range(50)} | {"new": b"0"}


def test_asyncio_unix_sockets(root: VeryTmpRoot) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def main() -> bytes:
        async with await asyncio.start_unix_server(serve, root / "s"):
            reader, writer = await asyncio.open_unix_connection(root / "s")
            writer.write(b"hello\n")
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
            return answer

    assert asyncio.run(main()) == b"HELLO\n"
