"""Every operation of a path, once: the tests of confinement, races, attacks and closed roots are made from this table.

`tests/test_surface.py` compares it with the public names of the newest pathlib: an operation that is not here fails.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from support import archives
from verytmp import VeryTmpPath, VeryTmpRoot

# What an operation may answer instead of a result. RuntimeError is pathlib's for a loop of symlinks, before 3.13.
REFUSALS = (OSError, ValueError, NotImplementedError, RuntimeError)

INSIDE = b"inside"
MANY = 100  # more than any of our trees has


class Kind(Enum):
    """What an operation does, and in how many steps. Many steps may see different trees."""

    READ = auto()
    READ_MANY = auto()
    WRITE = auto()
    WRITE_MANY = auto()


class Place(NamedTuple):
    """What an operation needs besides its path. `race_targets` and `hostile_paths` have their own, with more in it."""

    root: VeryTmpRoot
    other: VeryTmpRoot

    @property
    def file(self) -> VeryTmpPath:
        """An innocent file in the root."""
        return self.root / "file"

    @property
    def new(self) -> VeryTmpPath:
        """A name in the root that is not taken."""
        return self.root / "new"


@dataclass(frozen=True)
class Operation:
    """One way to call a method.

    Args:
        call: the call, on a path and in a place.
        kind: what it does.
        raced: on which paths it is tried while names are exchanged, below the directory that is (`race_targets`).
        as_argument: the path is an argument, and may be a string.
        of_link: it is about a symlink itself.
    """

    call: Callable[[Any, Any], object]
    kind: Kind
    raced: tuple[str, ...] = ()
    as_argument: bool = False
    of_link: bool = False

    @property
    def changes(self) -> bool:
        return self.kind in (Kind.WRITE, Kind.WRITE_MANY)


def opened(path: Any, mode: str) -> list[Any]:
    with path.open(mode) as file:
        found: list[Any] = [os.fstat(file.fileno())]
        if file.writable():
            file.write(INSIDE if "b" in mode else INSIDE.decode())
            file.flush()
        if file.readable():
            file.seek(0)
            found.append(file.read())
        return found


def opened_in(mode: str, path: Any, _: object) -> list[Any]:
    return opened(path, mode)


def archive() -> io.BytesIO:
    """An archive of what the trees of `race_targets` have, and of a file that is new."""
    return archives.packed(
        archives.member("f"),
        archives.member("d", tarfile.DIRTYPE),
        archives.member("d/f"),
        archives.member("new", tarfile.LNKTYPE, "f"),
        archives.member("link", tarfile.SYMTYPE, "d"),
        archives.member("link/below"),
        content=INSIDE,
    )


def reads(call: Callable[[Any, Any], object], *raced: str, many: bool = False, of_link: bool = False) -> Operation:
    return Operation(call, Kind.READ_MANY if many else Kind.READ, raced, of_link=of_link)


def changes(
    call: Callable[[Any, Any], object], *raced: str, many: bool = False, as_argument: bool = False
) -> Operation:
    return Operation(call, Kind.WRITE_MANY if many else Kind.WRITE, raced, as_argument)


# By pathlib's name, with what is particular to the call behind it.
OPERATIONS: dict[str, Operation] = {
    "stat": reads(lambda p, _: p.stat(), "f", "", "d/f", ".."),
    "lstat": reads(lambda p, _: p.lstat(), "f", of_link=True),
    "exists": reads(lambda p, _: p.exists(), "f"),
    "exists, not following": reads(lambda p, _: p.exists(follow_symlinks=False), of_link=True),
    "is_file": reads(lambda p, _: p.is_file(), "f"),
    "is_dir": reads(lambda p, _: p.is_dir(), ""),
    "is_symlink": reads(lambda p, _: p.is_symlink(), "l", of_link=True),
    "is_fifo": reads(lambda p, _: p.is_fifo()),
    "is_socket": reads(lambda p, _: p.is_socket()),
    "is_block_device": reads(lambda p, _: p.is_block_device()),
    "is_char_device": reads(lambda p, _: p.is_char_device()),
    "is_mount": reads(lambda p, _: p.is_mount(), of_link=True),
    "info": reads(lambda p, _: p.info.is_dir(), "d"),
    "info of all": reads(lambda p, _: [p.info.exists(), p.info.is_file(), p.info.is_symlink()], of_link=True),
    "samefile": reads(lambda p, _: p.samefile(p), "f", many=True),
    "owner": reads(lambda p, _: p.owner()),
    "group": reads(lambda p, _: p.group()),
    "open r": reads(lambda p, _: opened(p, "r")),
    "open rb": reads(lambda p, _: opened(p, "rb"), "f"),
    "read_bytes": reads(lambda p, _: p.read_bytes(), "f", "l", "d/f", "d/../f"),
    "read_text": reads(lambda p, _: p.read_text(encoding="latin-1"), "f"),
    "iterdir": reads(lambda p, _: list(islice(p.iterdir(), MANY)), "", "d"),
    "readlink": reads(lambda p, _: p.readlink(), "l", of_link=True),
    "resolve": reads(lambda p, _: p.resolve(), "d/f", "../slot/d/../../f", many=True, of_link=True),
    "resolve strictly": reads(lambda p, _: p.resolve(strict=True), many=True),
    "glob": reads(lambda p, _: list(islice(p.glob("*"), MANY)), "", many=True),
    "glob above": reads(lambda p, _: list(islice(p.glob("../*"), MANY)), many=True, of_link=True),
    "rglob": reads(lambda p, _: list(islice(p.rglob("*"), MANY)), "", many=True),
    "rglob by links": reads(lambda p, _: list(islice(p.rglob("*", recurse_symlinks=True), MANY)), "", many=True),
    "walk": reads(lambda p, _: list(islice(p.walk(), MANY)), "", many=True),
    "walk by links": reads(lambda p, _: list(islice(p.walk(follow_symlinks=True, top_down=False), MANY)), many=True),
    "write_bytes": changes(lambda p, _: p.write_bytes(INSIDE), "f", "l"),
    "write_text": changes(lambda p, _: p.write_text(INSIDE.decode()), "f"),
    **{f"open {mode}": changes(partial(opened_in, mode)) for mode in ("w", "wb", "a", "x", "r+", "a+")},
    "open a+b": changes(lambda p, _: opened(p, "a+b"), "f"),
    "open w+b": changes(lambda p, _: opened(p, "w+b"), "f"),
    "open x+b": changes(lambda p, _: opened(p, "x+b"), "new"),
    "touch": changes(lambda p, _: p.touch(), "f"),
    "touch new": changes(lambda p, _: p.touch(exist_ok=False), "new"),
    "chmod": changes(lambda p, _: p.chmod(0o750), "f", ""),
    "lchmod": changes(lambda p, _: p.lchmod(0o750)),
    "mkdir": changes(lambda p, _: p.mkdir(), "new"),
    "mkdir parents": changes(lambda p, _: (p / "a" / "b").mkdir(parents=True, exist_ok=True), "new", many=True),
    "rmdir": changes(lambda p, _: p.rmdir(), "empty"),
    "unlink": changes(lambda p, _: p.unlink(), "f"),
    "unlink missing_ok": changes(lambda p, _: p.unlink(missing_ok=True)),
    "symlink_to": changes(lambda p, _: p.symlink_to("f"), "new"),
    "symlink_to it": changes(lambda p, place: place.new.symlink_to(p), as_argument=True),
    "hardlink_to": changes(lambda p, place: p.hardlink_to(place.file), "new"),
    "hardlink_to it": changes(lambda p, place: place.new.hardlink_to(p), "f", as_argument=True),
    "rename": changes(lambda p, place: p.rename(place.new), "f", "d"),
    "rename to it": changes(lambda p, place: place.file.rename(p), "f", as_argument=True),
    "replace": changes(lambda p, place: p.replace(str(place.new))),
    "replace it": changes(lambda p, place: place.file.replace(p), as_argument=True),
    "copy": changes(lambda p, place: p.copy(place.new), "f"),
    "copy to it": changes(lambda p, place: place.file.copy(p), "new", as_argument=True),
    "copy the link": changes(lambda p, place: p.copy(place.new, follow_symlinks=False, preserve_metadata=True)),
    "copy tree": changes(lambda p, place: p.copy(place.new), "", many=True),
    "copy tree to it": changes(lambda p, place: place.file.with_name("empty").copy(p), "new", many=True),
    "copy out": changes(lambda p, place: p.copy(place.other / "new", preserve_metadata=True), "", many=True),
    "copy in": changes(lambda p, place: (place.other / "file").copy(p), many=True),
    "copy_into": changes(lambda p, place: place.file.copy_into(p), many=True, as_argument=True),
    "move": changes(lambda p, place: p.move(place.new), many=True),
    "move to it": changes(lambda p, place: place.file.move(p), many=True, as_argument=True),
    "move out": changes(lambda p, place: p.move(place.other / "new"), "f", "d", "", many=True),
    "move_into": changes(lambda p, place: place.file.move_into(p), many=True, as_argument=True),
    "publish": changes(lambda p, place: p.publish(place.other / "new", preserve_metadata=True), "f", "", many=True),
    "publish what it leads to": changes(
        lambda p, place: p.publish(place.other / "new", follow_symlinks=True, fsync=True), many=True
    ),
    "publish to it": changes(lambda p, place: place.file.publish(p, replace=True), "f", "d", many=True),
    "unpack": changes(lambda p, _: p.unpack(archive()), "", "new", many=True),
}

# These ask the kernel nothing.
PURE = {
    "absolute", "anchor", "as_posix", "as_uri", "drive", "expanduser", "full_match", "is_absolute", "is_junction",
    "is_relative_to", "is_reserved", "joinpath", "match", "name", "parent", "parents", "parser", "parts", "relative_to",
    "root", "stem", "suffix", "suffixes", "with_name", "with_segments", "with_stem", "with_suffix",
}  # fmt: skip
REFUSED = {"cwd", "from_uri", "home"}
# The same as another one, and deprecated or for old Pythons.
ALIASES = {"link_to"}


def covered() -> set[str]:
    """The public names that are accounted for."""
    return {name.partition(" ")[0].rstrip(",") for name in OPERATIONS} | PURE | REFUSED | ALIASES


def looked_at(found: Any) -> Any:
    """An operation's result, in which paths are replaced by what they say of themselves: by all ways of reading."""
    if isinstance(found, VeryTmpPath):
        answers: list[Any] = []
        for look in (found.lstat, found.stat, found.read_bytes):
            try:
                answers.append(look())
            except REFUSALS:
                continue
        return answers
    if isinstance(found, tuple) and len(found) == 3 and isinstance(found[0], VeryTmpPath):  # of `walk`
        place, names, files = found
        return [names, files, *(looked_at(place / name) for name in names + files)]
    if isinstance(found, list):
        return [looked_at(each) for each in found]
    return found


def below(paths: Iterable[VeryTmpPath]) -> list[Any]:
    """All that found paths tell of themselves."""
    return [looked_at(path) for path in islice(paths, MANY)]
