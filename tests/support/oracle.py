"""Plain pathlib in a chroot: what a `VeryTmpPath` is to do. Random operations, and what becomes of a tree by them.

`perform` runs the same operations on the same tree, here with plain paths in the child that has called chroot(2), there
with a root's. An operation is a method's name and its arguments, in which `Segment` stands for a path.
"""

from __future__ import annotations

import os
import pickle
import shutil
import socket
import stat
import struct
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, NamedTuple

from support import host_state, kernel


class Segment(NamedTuple):
    """A path among an operation's arguments: as a string, a pure path, or a path object of the base's own kind."""

    text: str
    kind: str = "str"

    def on(self, base: Path) -> str | PurePath:
        if self.kind == "str":
            return self.text
        return PurePosixPath(self.text) if self.kind == "pure" else base / self.text


class Operation(NamedTuple):
    path: str
    method: str
    arguments: tuple[Any, ...] = ()
    keywords: tuple[tuple[str, Any], ...] = ()


def perform(base: Path, directory: int, tree: host_state.Tree, operations: list[Operation]) -> list[tuple[Any, Any]]:
    """What each operation returns or raises, and the whole tree after it."""
    prepare(directory, tree)
    return performed(base, directory, operations)


def prepare(directory: int, tree: host_state.Tree) -> None:
    """Make the tree that operations begin with, and nothing else."""
    wipe(directory)
    os.chmod(itself(directory), 0o755)
    host_state.make("/" if directory < 0 else directory, tree)


def performed(base: Path, directory: int, operations: list[Operation]) -> list[tuple[Any, Any]]:
    return [(outcome(base, operation), picture(directory)) for operation in operations]


def outcome(base: Path, operation: Operation) -> Any:
    arguments = [value.on(base) if isinstance(value, Segment) else value for value in operation.arguments]
    try:
        path = base / operation.path
        if operation.method in EXTRAS:
            return plain(base, EXTRAS[operation.method](path, *arguments, **dict(operation.keywords)))
        member = getattr(path, operation.method)
        result = member(*arguments, **dict(operation.keywords)) if callable(member) else member
        return str(result) if operation.method in ("relative_to", "readlink") else plain(base, result)
    except OSError as error:
        return "OSError", error.errno
    except NotImplementedError:
        return "NotImplementedError"
    except (ValueError, RuntimeError, TypeError) as error:
        return type(error).__name__


def read(path: Path, mode: str, text: str) -> Any:
    with path.open(mode) as file:
        return file.write(text) if file.writable() else file.read()


def walk(path: Path, **keywords: Any) -> Any:
    """Path.walk, and os.walk where that is not there yet: their rules are the same."""
    if hasattr(path, "walk"):
        return sorted((plain(path, place), sorted(dirs), sorted(files)) for place, dirs, files in path.walk(**keywords))
    top_down, follow = keywords.get("top_down", True), keywords.get("follow_symlinks", False)
    return sorted(
        (
            plain(path, Path(place)),
            sorted(name for name in dirs if follow or not os.path.islink(os.path.join(place, name))),
            sorted([*files, *(name for name in dirs if not follow and os.path.islink(os.path.join(place, name)))]),
        )
        for place, dirs, files in os.walk(path, top_down, None, follow)
    )


def outside(name: str) -> Callable[..., Any]:
    """Copy or move, but not into itself by way of a symlink: pathlib does not notice, and there is no end to it."""
    keywords = {"follow_symlinks": False} if name.startswith("copy") else {}

    def call(path: Path, target: Path) -> Any:
        if target.resolve().is_relative_to(path.resolve()):
            return "skipped"
        return getattr(path, name)(target, **keywords)

    return call


def chmod(path: Path, mode: int) -> None:
    """But the base stays searchable: of a directory that is not, "/" says less than a root's own "." does (decided)."""
    try:
        mode |= 0o100 if path.samefile(path.absolute().parents[-1] if path.absolute().parents else path) else 0
    except (OSError, ValueError, RuntimeError):
        pass
    path.chmod(mode)


EXTRAS: dict[str, Callable[..., Any]] = {
    "open": read,
    "chmod": chmod,
    "walk": walk,
    **{name: outside(name) for name in ("copy", "copy_into", "move", "move_into")},
}


def plain(base: Path, value: Any) -> Any:
    """A result as both sides would write it."""
    if isinstance(value, os.stat_result):
        size = 0 if stat.S_ISDIR(value.st_mode) else value.st_size
        return stat.filemode(value.st_mode), value.st_nlink, size, value.st_uid, value.st_gid
    if isinstance(value, PurePath):
        return "/" + "/".join(value.parts[1:] if value.is_absolute() else value.parts)
    if isinstance(value, str | bytes | int | float | bool | None):
        return value
    if isinstance(value, list) and value and isinstance(value[0], tuple):
        return value
    return sorted(plain(base, item) for item in value)


def picture(directory: int) -> Any:
    """All that there is in a tree: types, permissions, contents, targets, and which names are one file."""
    files: dict[int, str] = {}

    def look(own: int, prefix: str) -> Iterator[Any]:
        for name in sorted(os.listdir(own)):
            try:
                status = os.lstat(name, dir_fd=own)
            except PermissionError:  # a directory that can be listed, and not searched
                yield name, None
                continue
            kind = stat.filemode(status.st_mode)
            if stat.S_ISLNK(status.st_mode):
                yield name, text(os.readlink(name, dir_fd=own))
            elif stat.S_ISDIR(status.st_mode):
                below = into(name, own)
                yield name, kind, below and list(closing(below, look(below, f"{prefix}{name}/")))
            else:
                first = files.setdefault(status.st_ino, prefix + name)
                yield name, kind, first, contents(name, own) if stat.S_ISREG(status.st_mode) else None

    own = into(itself(directory))
    return own and list(closing(own, look(own, "")))


def itself(directory: int) -> str:
    """A name for the base that can be opened and changed without permission to search it, as "." cannot."""
    return "/" if directory < 0 else f"/proc/self/fd/{directory}"


def text(target: str) -> str:
    """A link's. Where pathlib copies links (3.14), it tidies them up; ours are copied as they are."""
    return str(PurePosixPath(target)) if sys.version_info >= (3, 14) else target


def closing(descriptor: int, items: Iterator[Any]) -> Iterator[Any]:
    try:
        yield from items
    finally:
        os.close(descriptor)


def into(name: str, own: int | None = None) -> int | None:
    try:
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | (0 if own is None else os.O_NOFOLLOW), dir_fd=own)
    except PermissionError:
        return None


def contents(name: str, own: int) -> bytes | None:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=own)
    except PermissionError:
        return None
    with open(descriptor, "rb") as file:
        return file.read()


def wipe(directory: int) -> None:
    os.chmod(itself(directory), 0o700)
    empty(os.open(itself(directory), os.O_PATH))


def empty(own: int) -> None:
    reading = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=own)
    os.close(own)
    try:
        for name in os.listdir(reading):
            if stat.S_ISDIR(os.lstat(name, dir_fd=reading).st_mode):
                os.chmod(name, 0o700, dir_fd=reading)
                empty(os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=reading))
                os.rmdir(name, dir_fd=reading)
            else:
                os.unlink(name, dir_fd=reading)
    finally:
        os.close(reading)


class Oracle:
    """The child in its chroot. It is asked over a socket, and ends with it."""

    def __init__(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="verytmp-tests-", dir="/dev/shm")
        self.socket, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self.socket.close()
                self._answer(theirs)
            finally:
                os._exit(1)
        theirs.close()

    def _answer(self, asked: socket.socket) -> None:
        warm_up()
        if os.geteuid():
            kernel.user_namespace()
        os.chroot(self.folder)
        os.chdir("/")
        if os.geteuid():
            kernel.drop_capabilities()  # those that the namespace gave: they would open what permissions close
        file = asked.makefile("rwb")
        while length := file.read(8):
            tree, operations = pickle.loads(file.read(*struct.unpack("Q", length)))
            answer: object
            try:
                answer = perform(Path("/"), -1, tree, operations)
            except BaseException as error:
                answer = f"{error!r} {traceback.format_exc()}"
            data = pickle.dumps(answer)
            file.write(struct.pack("Q", len(data)) + data)
            file.flush()
        os._exit(0)

    def ask(self, tree: host_state.Tree, operations: list[Operation]) -> list[tuple[Any, Any]]:
        data = pickle.dumps((tree, operations))
        self.socket.sendall(struct.pack("Q", len(data)) + data)
        with self.socket.makefile("rb") as file:
            answer = pickle.loads(file.read(*struct.unpack("Q", file.read(8))))
        if isinstance(answer, list):
            return answer
        raise RuntimeError(answer)

    def close(self) -> None:
        self.socket.close()
        os.waitpid(self.pid, 0)
        os.chmod(self.folder, 0o700)
        empty(os.open(self.folder, os.O_PATH))
        os.rmdir(self.folder)


def warm_up() -> None:
    """Have pathlib load all that it will need: in the chroot there is nothing to load."""
    import fnmatch
    import glob

    _ = fnmatch, glob
    with tempfile.TemporaryDirectory(prefix="verytmp-tests-", dir="/dev/shm") as folder:
        path = Path(folder)
        list(path.rglob("*a?"))
        path.match("*")
        (path / "f").write_text("x", encoding="latin-1")
        (path / "f").write_text("x", encoding="utf-8")
        (path / "f").read_text(encoding="utf-8")
        if sys.version_info >= (3, 14):
            path.joinpath("f").copy(path / "g")
            path.joinpath("g").move(path / "h")
        shutil.rmtree(path / "none", ignore_errors=True)
        if sys.version_info >= (3, 13):
            path.full_match("**")
