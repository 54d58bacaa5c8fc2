"""Whole trees, and the six cases that D-MemFS is measured by: each is made once a round."""

from __future__ import annotations

import io
import os
import random
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bench.measure import Result, compared, results
from verytmp import VeryTmpPath, VeryTmpRoot

FILES = 10_000
FOLDERS = 100
MIB = 1 << 20


def planted(base: Any) -> Any:
    """A tree of so many small files in so many folders."""
    base.mkdir()
    for folder in range(FOLDERS):
        below = base / f"folder{folder}"
        below.mkdir()
        for number in range(FILES // FOLDERS):
            (below / f"{number}.txt").write_bytes(b"potatoes")
    return base


@contextmanager
def pair() -> Iterator[dict[str, Any]]:
    """An empty directory of ours, and one on /dev/shm."""
    with tempfile.TemporaryDirectory(prefix="verytmp-bench-", dir="/dev/shm") as folder, VeryTmpRoot() as root:
        yield {"verytmp": root.path, "pathlib": Path(folder)}


def walked(base: Any) -> int:
    if hasattr(base, "walk"):
        return sum(len(files) for _, _, files in base.walk())
    return sum(len(files) for _, _, files in os.walk(base))  # before Python 3.12


def copied(base: Any) -> None:
    """To a sibling; by shutil where pathlib has no copy (before Python 3.14)."""
    target = base.parent / "copy"
    if hasattr(base, "copy"):
        base.copy(target)
    else:
        shutil.copytree(base, target, copy_function=shutil.copyfile)


def trees(rounds: int) -> Iterator[tuple[str, dict[str, Result]]]:
    with pair() as bases:
        planted_at = {name: planted(base / "tree") for name, base in bases.items()}
        for case, call in (
            ("rglob('*') of 10,000 files", lambda base: sum(1 for _ in base.rglob("*"))),
            ("rglob('*.txt') of 10,000 files", lambda base: sum(1 for _ in base.rglob("*.txt"))),
            ("walk of 10,000 files", walked),
        ):
            yield case, compared({name: partial(call, base) for name, base in planted_at.items()}, rounds, once=True)
    yield "copy of 10,000 files", prepared(copied, rounds)
    yield "publish of 10,000 files, beside copytree", prepared(published_out, rounds)
    for suffix, pack in PACKERS.items():
        yield f"unpack of 10,000 files ({suffix}), beside extractall", unpackings(pack, rounds)
    yield "removal of 10,000 files", removals(rounds)


def published_out(base: Any) -> None:
    """From a root to the host, and between directories of the host."""
    if isinstance(base, VeryTmpPath):
        base.publish(base.parent / "copy", preserve_metadata=True)
    else:
        shutil.copytree(base, base.parent / "copy", symlinks=True)


def tarred(file: Path) -> None:
    with tarfile.open(file, "w") as archive:
        for number in range(FILES):
            info = tarfile.TarInfo(f"folder{number % FOLDERS}/{number}.txt")
            info.size = 8
            archive.addfile(info, io.BytesIO(b"potatoes"))


def zipped(file: Path) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(FILES):
            archive.writestr(f"folder{number % FOLDERS}/{number}.txt", b"potatoes" * 100)


PACKERS = {"tar": tarred, "zip": zipped}


def extracted(file: Path, folder: Path) -> None:
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            archive.extractall(folder)
    else:
        how: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        with tarfile.open(file) as opened:
            opened.extractall(folder, **how)


def unpackings(pack: Callable[[Path], None], rounds: int) -> dict[str, Result]:
    """`unpack` into a root, against extractall into a directory on /dev/shm."""
    with tempfile.TemporaryDirectory(prefix="verytmp-bench-", dir="/dev/shm") as folder:
        file = Path(folder, "archive")
        pack(file)
        times: dict[str, list[float]] = {"verytmp": [], "pathlib": []}
        for _ in range(rounds):
            with VeryTmpRoot() as root:
                calls: dict[str, Callable[[], object]] = {
                    "verytmp": partial(root.path.unpack, file),
                    "pathlib": partial(extracted, file, Path(folder, "x")),
                }
                for name, result in compared(calls, 1, once=True).items():
                    times[name].append(result.median)
            shutil.rmtree(Path(folder, "x"))
    return results(times)


def prepared(call: Callable[[Any], object], rounds: int) -> dict[str, Result]:
    """A call that leaves something behind, which goes before the next round, and is not measured."""
    with pair() as bases:
        planted_at = {name: planted(base / "tree") for name, base in bases.items()}
        calls = {name: partial(call, base) for name, base in planted_at.items()}
        times: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(rounds):
            for name, result in compared(calls, 1, once=True).items():
                times[name].append(result.median)
            for base in bases.values():
                shutil.rmtree(base / "copy") if type(base) is type(Path()) else removed(base / "copy")
    return results(times)


def removed(path: Any) -> None:
    for folder in path.iterdir():
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    path.rmdir()


def removals(rounds: int) -> dict[str, Result]:
    """Dropping a root, against rmtree."""
    times: dict[str, list[float]] = {"verytmp": [], "pathlib": []}
    for _ in range(rounds):
        root = VeryTmpRoot()
        planted(root / "tree")
        folder = tempfile.mkdtemp(prefix="verytmp-bench-", dir="/dev/shm")
        planted(Path(folder, "tree"))
        calls: dict[str, Callable[[], object]] = {"verytmp": root.close, "pathlib": partial(shutil.rmtree, folder)}
        for name, result in compared(calls, 1, once=True).items():
            times[name].append(result.median)
    return results(times)


# -- D-MemFS's cases, by what their names and published settings say ---------------------------------------------------


class Files:
    """Binary files by name, opened as each ground opens them."""

    def __init__(self, open_: Callable[[str, str], Any], mkdir: Callable[[str], object]) -> None:
        self.open = open_
        self.mkdir = mkdir

    def write(self, name: str, data: bytes) -> None:
        with self.open(name, "wb") as file:
            file.write(data)

    def read(self, name: str) -> Any:
        with self.open(name, "rb") as file:
            return file.read()


def small_files(files: Files) -> None:
    for number in range(300):
        files.write(f"/small{number}", b"x" * 4096)
    for number in range(300):
        files.read(f"/small{number}")


def stream(size: int, chunk: int) -> Callable[[Files], None]:
    data = b"x" * chunk

    def case(files: Files) -> None:
        with files.open("/stream", "wb") as file:
            for _ in range(size // chunk):
                file.write(data)
        with files.open("/stream", "rb") as file:
            while file.read(chunk):
                pass

    return case


def random_access(files: Files) -> None:
    choice = random.Random(1)
    files.write("/random", bytes(16 * MIB))
    with files.open("/random", "r+b") as file:
        for _ in range(1000):
            file.seek(choice.randrange(16 * MIB - 4096))
            file.write(b"x" * 4096)
            file.seek(choice.randrange(16 * MIB - 4096))
            file.read(4096)


def many_files(files: Files) -> None:
    choice = random.Random(1)
    for number in range(FILES):
        files.write(f"/many{number}", b"x" * 64)
    for _ in range(FILES):
        files.read(f"/many{choice.randrange(FILES)}")


def deep_tree(files: Files) -> None:
    name = ""
    for level in range(50):
        name += f"/level{level}"
        files.mkdir(name)
    files.write(f"{name}/leaf", b"x" * 100)
    for _ in range(300):
        files.read(f"{name}/leaf")


PUBLISHED: dict[str, Callable[[Files], None]] = {
    "small_files_rw: 300 of 4 KiB": small_files,
    "stream_write_read: 16 MiB by 64 KiB": stream(16 * MIB, 1 << 16),
    "random_access_rw: 16 MiB by 4 KiB": random_access,
    "large_stream_write_read: 128 MiB by 1 MiB": stream(128 * MIB, MIB),
    "many_files_random_read: 10,000 files": many_files,
    "deep_tree_read: 50 levels": deep_tree,
}


def ours(case: Callable[[Files], None]) -> None:
    with VeryTmpRoot() as root:
        case(Files(lambda name, mode: (root / name).open(mode), lambda name: (root / name).mkdir()))


def temporary(case: Callable[[Files], None], folder: str | None) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as base:
        case(Files(lambda name, mode: open(base + name, mode), lambda name: os.mkdir(base + name)))  # noqa: SIM115


def bytes_io(case: Callable[[Files], None]) -> None:
    """A dict of buffers: no file system, and so a bound."""

    class Kept(io.BytesIO):
        def close(self) -> None:
            pass

    held: dict[str, Kept] = {}

    def opened(name: str, mode: str) -> Kept:
        if mode == "wb":
            held[name] = Kept()
        held[name].seek(0)
        return held[name]

    case(Files(opened, lambda name: None))


def d_memfs(case: Callable[[Files], None]) -> None:
    from dmemfs import MemoryFileSystem

    made = MemoryFileSystem(max_quota=1 << 30)
    case(Files(made.open, made.mkdir))


def published(rounds: int) -> Iterator[tuple[str, dict[str, Result]]]:
    grounds: dict[str, Callable[[Callable[[Files], None]], None]] = {
        "verytmp": ours,
        "TemporaryDirectory, /dev/shm": lambda case: temporary(case, "/dev/shm"),
        "TemporaryDirectory, disk": lambda case: temporary(case, "/var/tmp"),
        "io.BytesIO": bytes_io,
    }
    try:
        import dmemfs  # noqa: F401
    except ImportError:
        pass
    else:
        grounds["D-MemFS"] = d_memfs
    for name, case in PUBLISHED.items():
        yield name, compared({ground: partial(run, case) for ground, run in grounds.items()}, rounds, once=True)
