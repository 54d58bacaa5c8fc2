"""An application: it makes a root, works in it as with any path, and hands results on."""

from collections.abc import Iterator
from io import BufferedRandom, BufferedReader, BufferedWriter, FileIO, TextIOWrapper
from pathlib import Path, PurePosixPath
from typing import Self, assert_type

from verytmp import VeryTmpPath, VeryTmpReport, VeryTmpRoot, VeryTmpUsage


def export(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)


class Workspace:
    def __init__(self, size: str = "64m") -> None:
        self.root = VeryTmpRoot(size=size, mode=0o700, nosymfollow=True)
        self.logs: VeryTmpPath = self.root / "logs"

    def __enter__(self) -> Self:
        self.logs.mkdir()
        return self

    def __exit__(self, *exception: object) -> None:
        self.root.close()

    def largest(self) -> VeryTmpPath | None:
        files = [path for path in self.root.path.rglob("*") if path.is_file()]
        return max(files, key=lambda path: path.stat().st_size, default=None)

    def export(self) -> None:
        export(self.logs)


with VeryTmpRoot() as root:
    assert_type(root, VeryTmpRoot)
    assert_type(root.path, VeryTmpPath)
    assert_type(root.usage(), VeryTmpUsage)
    root.clear()
    assert_type(root.usage().free, int)
    assert_type(root.fileno(), int)
    assert_type(root.closed, bool)
    assert_type(root.nosymfollow, bool)

    path = root / "a" / "b"
    assert_type(path, VeryTmpPath)
    assert_type(root.joinpath("a", PurePosixPath("b")), VeryTmpPath)
    assert_type(path.parent, VeryTmpPath)
    assert_type(path.with_name("c"), VeryTmpPath)
    assert_type(path.with_suffix(".txt"), VeryTmpPath)
    assert_type(path.joinpath("c", "d"), VeryTmpPath)
    assert_type(path.parents[0], VeryTmpPath)
    assert_type(path.absolute(), VeryTmpPath)
    assert_type(path.resolve(strict=True), VeryTmpPath)
    assert_type(path.expanduser(), VeryTmpPath)
    assert_type(path.rename("c"), VeryTmpPath)
    assert_type(path.replace(root / "d"), VeryTmpPath)
    assert_type(path.relative_to(root.path), PurePosixPath)
    assert_type(path.readlink(), PurePosixPath)
    assert_type(path.name, str)
    assert_type(path.parts, tuple[str, ...])

    export(path)

    assert_type(path.open(), TextIOWrapper)
    assert_type(path.open("w", encoding="utf-8"), TextIOWrapper)
    assert_type(path.open("rb"), BufferedReader)
    assert_type(path.open("wb"), BufferedWriter)
    assert_type(path.open("r+b"), BufferedRandom)
    assert_type(path.open("rb", buffering=0), FileIO)
    assert_type(path.read_bytes(), bytes)
    assert_type(path.read_text(encoding="utf-8"), str)
    assert_type(path.write_text("x"), int)

    for entry in path.iterdir():
        assert_type(entry, VeryTmpPath)
    for found in path.glob("*.txt"):
        assert_type(found, VeryTmpPath)
    for below in path.rglob("*"):
        assert_type(below, VeryTmpPath)

    kept: Iterator[VeryTmpPath] = (entry for entry in path.iterdir() if entry.suffix == ".txt")
    assert_type(sorted(kept), list[VeryTmpPath])


def deliver(root: VeryTmpRoot, upload: Path, out: Path) -> VeryTmpReport:
    report = (root / "in").unpack(upload, max_members=1000, progress=lambda done, total: print(done, total))
    assert_type(report.left_out, dict[str, str])
    assert_type(report.members, int)
    with upload.open("rb") as stream:
        (root / "in").unpack(stream)
    return (root / "in").publish(out, replace=True, mode=0o755, fsync=True)
