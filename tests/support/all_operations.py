"""Every operation of the funnel, made on a hostile path or with a hostile target, and what an attack may do there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from support.canary import Canary
from verytmp import VeryTmpPath, VeryTmpRoot

# What an operation may answer instead of a result. RuntimeError is pathlib's for a loop of symlinks, before 3.13.
REFUSALS = (OSError, ValueError, NotImplementedError, RuntimeError)

INSIDE = b"inside"
MANY = 100  # more than any of our trees has


@dataclass
class Case:
    """A hostile string, the root that it is tried on, and another root beside it."""

    root: VeryTmpRoot
    other: VeryTmpRoot
    planted: Canary
    text: str

    @property
    def path(self) -> VeryTmpPath:
        return self.root / self.text

    @property
    def file(self) -> VeryTmpPath:
        """An innocent file in the root."""
        return self.root / "file"

    @property
    def new(self) -> VeryTmpPath:
        """A name that is not taken."""
        return self.root / f"{self.planted.mark}-new"


def opened(mode: str, case: Case) -> Any:
    with case.path.open(mode) as file:
        if file.writable():
            file.write("written" if "b" not in mode else b"written")
            file.flush()
        if not file.readable():
            return None
        file.seek(0)
        return file.read()


def below(paths: Iterable[VeryTmpPath]) -> list[Any]:
    """All that found paths tell of themselves. Whoever gets out need not find everything that is there."""
    found: list[Any] = []
    for path in islice(paths, MANY):
        try:
            found += [path.lstat(), path.stat(), path.read_bytes()]
        except REFUSALS:
            continue
    return found


def walked(path: VeryTmpPath, **keywords: Any) -> list[Any]:
    return [
        (names, files, *below(place / name for name in names + files))
        for place, names, files in islice(path.walk(**keywords), MANY)
    ]


def linked(case: Case, make: Callable[[Any], None], target: object) -> Any:
    make(target)
    return below([case.new])


def through(case: Case, words: str) -> Any:
    """A symlink is made with these words, and used in every way."""
    case.new.symlink_to(words)
    told: list[Any] = [case.new.readlink().as_posix() == words]
    for use in (
        lambda: case.new.read_bytes(),
        lambda: below(case.new.iterdir()),
        lambda: below(case.new.rglob("*")),
        lambda: case.new.resolve().read_bytes(),
        lambda: case.new.stat(),
        lambda: case.new.write_bytes(b"written"),
        lambda: case.new.chmod(0o755),
        lambda: case.new.touch(),
        lambda: (case.new / f"{case.planted.mark}-below").write_bytes(b"written"),
        lambda: (case.new / f"{case.planted.mark}-below").mkdir(),
        lambda: (case.new / "secret").unlink(),
    ):
        try:
            told.append(use())
        except REFUSALS:
            continue
    return told


def by_the_kernel(case: Case, call: Callable[[str], object]) -> object:
    """The path's string in the hands of others. They follow links only where the mount does, which is documented."""
    return call(os.fspath(case.path)) if case.root.nosymfollow else None


READING: dict[str, Callable[[Case], object]] = {
    "read_bytes": lambda c: c.path.read_bytes(),
    "read_text": lambda c: c.path.read_text(encoding="latin-1"),
    "open r": partial(opened, "r"),
    "open rb": partial(opened, "rb"),
    "stat": lambda c: c.path.stat(),
    "lstat": lambda c: c.path.lstat(),
    "is": lambda c: [
        c.path.exists(),
        c.path.exists(follow_symlinks=False),
        c.path.is_dir(),
        c.path.is_symlink(),
        c.path.is_fifo(),
        c.path.is_socket(),
        c.path.is_block_device(),
        c.path.is_char_device(),
        c.path.is_mount(),
    ],
    "info": lambda c: [c.path.info.exists(), c.path.info.is_dir(), c.path.info.is_file(), c.path.info.is_symlink()],
    "iterdir": lambda c: below(c.path.iterdir()),
    "glob": lambda c: below(c.path.glob("*")),
    "glob of it": lambda c: below(c.root.path.glob(c.text)),
    "glob above it": lambda c: below(c.path.glob("../*")),
    "rglob": lambda c: below(c.path.rglob("*", recurse_symlinks=True)),
    "rglob of it": lambda c: below(c.root.path.rglob(c.text)),
    "walk": lambda c: walked(c.path),
    "walk of links": lambda c: walked(c.path, follow_symlinks=True, top_down=False),
    "resolve": lambda c: c.path.resolve().read_bytes(),
    "resolve strictly": lambda c: c.path.resolve(strict=True).read_bytes(),
    "readlink": lambda c: c.path.readlink() == PurePosixPath(""),
    "samefile": lambda c: c.path.samefile(c.planted.secret) and c.planted.content,
    "samefile of it": lambda c: c.file.samefile(c.text),
    "owner": lambda c: [c.path.owner(), c.path.group()],
    "parents": lambda c: below(c.path.parents),
    "its string, opened": lambda c: by_the_kernel(c, lambda text: os.close(os.open(text, os.O_RDONLY))),
    "its string, stat": lambda c: by_the_kernel(c, os.stat),
    "its string, listed": lambda c: by_the_kernel(c, lambda text: os.listdir(text) and None),
}

CHANGING: dict[str, Callable[[Case], object]] = {
    "write_bytes": lambda c: c.path.write_bytes(b"written"),
    "write_text": lambda c: c.path.write_text("written"),
    **{f"open {mode}": partial(opened, mode) for mode in ("w", "wb", "a", "x", "r+", "w+b", "a+")},
    "touch": lambda c: c.path.touch(),
    "touch new": lambda c: c.path.touch(exist_ok=False),
    "chmod": lambda c: c.path.chmod(0o755),
    "lchmod": lambda c: c.path.lchmod(0o755),
    "mkdir": lambda c: c.path.mkdir(),
    "mkdir parents": lambda c: (c.path / f"{c.planted.mark}-a" / "b").mkdir(parents=True, exist_ok=True),
    "write below": lambda c: (c.path / f"{c.planted.mark}-below").write_bytes(b"written"),
    "write beside": lambda c: c.path.with_name(f"{c.planted.mark}-beside").write_bytes(b"written"),
    "unlink": lambda c: c.path.unlink(),
    "unlink below": lambda c: (c.path / "secret").unlink(missing_ok=True),
    "rmdir": lambda c: c.path.rmdir(),
    "rename it": lambda c: below([c.path.rename(c.new)]),
    "rename to it": lambda c: c.file.rename(c.text),
    "replace it": lambda c: below([c.path.replace(str(c.new))]),
    "replace by path": lambda c: c.file.replace(c.path),
    "hardlink to it": lambda c: linked(c, c.new.hardlink_to, c.text),
    "hardlink at it": lambda c: c.path.hardlink_to(c.file),
    "symlink at it": lambda c: c.path.symlink_to("file"),
    "symlink to it": lambda c: through(c, c.text),
    "symlink to its path": lambda c: linked(c, c.new.symlink_to, c.path),
    "copy it": lambda c: below([c.path.copy(c.new), *c.new.rglob("*")]),
    "copy its link": lambda c: below([c.path.copy(c.new, follow_symlinks=False, preserve_metadata=True)]),
    "copy to it": lambda c: c.file.copy(c.text),
    "copy into it": lambda c: c.file.copy_into(c.text),
    "copy it to another root": lambda c: below([c.path.copy(c.other / "copy"), *c.other.path.rglob("*")]),
    "copy it from another root": lambda c: (c.other / "file").copy(c.path),
    "move it": lambda c: below([c.path.move(c.new)]),
    "move to it": lambda c: c.file.move(c.text),
    "move into it": lambda c: c.file.move_into(c.text),
    "move it to another root": lambda c: below([c.path.move(c.other / "moved"), *c.other.path.rglob("*")]),
    "its string, made": lambda c: by_the_kernel(c, os.mkdir),
    "its string, unlinked": lambda c: by_the_kernel(c, os.unlink),
}
