"""Interoperation: paths, and their strings, in the hands of the standard library, of the kernel and of programs.

Where the host shows what should come of it, the same call is made in an ordinary directory beside it.
"""

from __future__ import annotations

import asyncio
import bz2
import compileall
import configparser
import copy
import csv
import errno
import filecmp
import fileinput
import functools
import glob
import gzip
import hashlib
import importlib.resources
import importlib.util
import json
import linecache
import logging
import logging.handlers
import lzma
import mmap
import os
import pickle
import py_compile
import runpy
import shutil
import socket
import stat
import subprocess
import sys
import tarfile
import tempfile
import tokenize
import tomllib
import zipapp
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PosixPath, PurePath, PurePosixPath
from typing import Any

import pytest
from support import ground
from support.archives import CANONICALISES, CANONICALISES_LINKS, data_filter, member, tar, tar_filter
from support.children import in_child

from verytmp import VeryTmpPath, VeryTmpRoot

TREE: ground.Tree = {
    "f": b"potatoes",
    "g": b"more potatoes",
    "d": {"f": b"d/f", "e": {"deep": b"deep"}, "s.py": b"x = 1\n"},
    "empty": {},
}
LINKED = TREE | {"link": "-> f", "dlink": "-> d", "dangling": "-> missing"}
UP = "/".join([".."] * 30)


@pytest.fixture(params=[True, False], ids=["nosymfollow", "symfollow"])
def root(request: pytest.FixtureRequest) -> Iterator[VeryTmpRoot]:
    with VeryTmpRoot(nosymfollow=request.param) as made:
        yield made


def string(root: VeryTmpRoot) -> str:
    return os.fspath(root)


def same(call: Callable[[Path], object], root: VeryTmpRoot, host: Path, tree: ground.Tree = TREE) -> object:
    """Make a call in a tree in the root and in one on the host: its result, and what it leaves, must be the same."""
    plain = host / "tree"
    plain.mkdir()
    ground.make(root.fileno(), tree)
    ground.make(str(plain), tree)
    result = call(root.path)
    assert result == call(plain)
    assert ground.look(root.fileno()) == ground.look(str(plain))
    assert permissions(string(root)) == permissions(str(plain))
    return result


def permissions(folder: str) -> dict[str, object]:
    """Of all that there is; and owners, links, sizes."""
    paths = [os.path.join(top, name) for top, dirs, files in os.walk(folder) for name in (*dirs, *files)]
    return {path.removeprefix(folder): about(path) for path in paths}


def about(path: str | Path) -> tuple[object, ...]:
    status = os.lstat(path)
    size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
    return stat.filemode(status.st_mode), status.st_nlink, size, status.st_uid, status.st_gid


def steps(*calls: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda base: [call(base) for call in calls]


# -- the language ------------------------------------------------------------------------------------------------------


def test_a_plain_path_of_one(root: VeryTmpRoot) -> None:
    path = root / "d" / "f.txt"
    for plain in (Path(path), PosixPath(path), Path(root.path, "d", "f.txt"), Path(root, "d", "f.txt")):
        assert type(plain) is PosixPath
        assert str(plain) == str(path) == f"{string(root)}/d/f.txt"
        assert plain.parts[-2:] == ("d", "f.txt")
        assert plain.parent.parent == Path(root)
        plain.parent.mkdir(exist_ok=True)
        plain.write_text("by its string")
        assert path.read_text() == "by its string"
    assert type(PurePosixPath(path)) is type(PurePath(path)) is PurePosixPath
    assert Path(path) == Path(str(path))
    assert str(Path(root.path)) == string(root)


def test_copies(root: VeryTmpRoot) -> None:
    path = root / "d" / "f"
    assert copy.copy(path) == copy.deepcopy(path) == path
    assert copy.deepcopy({"paths": [path, path.parent]}) == {"paths": [path, path.parent]}
    copy.deepcopy(path.parent).mkdir()
    assert ground.look(root.fileno()) == {"d": {}}


def test_singledispatch(root: VeryTmpRoot) -> None:
    @functools.singledispatch
    def kind(_: object) -> str:
        return "object"

    kind.register(os.PathLike, lambda _: "PathLike")
    assert kind(root / "f") == kind(root) == "PathLike"
    for base in (PurePath, Path, PosixPath, VeryTmpPath):
        kind.register(base, lambda _, base=base: base.__name__)
        assert kind(root / "f") == base.__name__
        assert kind(root) == "PathLike"
    assert kind(Path("f")) == "PosixPath"


def test_match_statements(root: VeryTmpRoot) -> None:
    def kind(thing: object) -> object:
        match thing:
            case str():
                return "str"
            case VeryTmpPath(name="f", parent=VeryTmpPath(name=parent)):
                return parent
            case VeryTmpPath(suffix=".txt" | ".md"):
                return "text"
            case Path(parts=[_, first, *_]) if isinstance(thing, VeryTmpPath):
                return first
            case Path():
                return "path"
            case os.PathLike():
                return "PathLike"
        return None

    things = (root / "d" / "f", root / "a.txt", root / "x" / "y", root.path, Path("f"), root, str(root))
    assert [kind(thing) for thing in things] == ["d", "text", "x", "path", "path", "PathLike", "str"]


# -- os ----------------------------------------------------------------------------------------------------------------


def scanned(base: Path) -> object:
    with os.scandir(base) as entries:
        found = list(entries)
    assert all(entry.path == os.path.join(base, entry.name) for entry in found)
    return sorted((entry.name, entry.is_dir(), entry.is_file(), entry.stat().st_mode) for entry in found)


def walked(base: Path) -> object:
    return sorted((os.path.relpath(top, base), sorted(dirs), sorted(files)) for top, dirs, files in os.walk(base))


def fwalked(base: Path) -> object:
    return sorted((os.path.relpath(top, base), sorted(files), fd >= 0) for top, _, files, fd in os.fwalk(base))


def opened(base: Path) -> object:
    descriptor = os.open(base / "new", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o640)
    try:
        os.write(descriptor, b"written")
        os.ftruncate(descriptor, 5)
        return os.pread(descriptor, 10, 1)
    finally:
        os.close(descriptor)


def by_dir_fd(base: Path) -> object:
    directory = os.open(base / "d", os.O_PATH)
    try:
        os.mkdir("new", dir_fd=directory)
        os.rename("f", "g", src_dir_fd=directory, dst_dir_fd=directory)
        return os.stat("g", dir_fd=directory).st_size
    finally:
        os.close(directory)


def spawned(base: Path) -> object:
    action = os.POSIX_SPAWN_OPEN, 1, os.fspath(base / "out"), os.O_WRONLY | os.O_CREAT, 0o600
    pid = os.posix_spawn("/bin/cat", ["cat", os.fspath(base / "f")], os.environ, file_actions=[action])
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def times(base: Path) -> object:
    os.utime(base / "f", (1, 2))
    os.utime(base / "g", ns=(3, 4))
    return [(os.stat(base / name).st_atime_ns, os.stat(base / name).st_mtime_ns) for name in "fg"]


def refused(call: Callable[[Path], object], name: str) -> Callable[[Path], object]:
    """Its errno, and that it names the path that it was given."""

    def attempt(base: Path) -> object:
        with pytest.raises(OSError) as caught:
            call(base / name)
        assert os.fspath(caught.value.filename) == os.fspath(base / name)
        return caught.value.errno

    return attempt


OS: dict[str, Callable[[Path], object]] = {
    "listdir": lambda p: sorted(os.listdir(p)),
    "listdir below": lambda p: sorted(os.listdir(p / "d")),
    "scandir": scanned,
    "walk": walked,
    "fwalk": fwalked,
    "stat": lambda p: [about(p / name) for name in ("f", "d", "d/f")],
    "stat missing": refused(os.stat, "missing"),
    "stat below a file": refused(os.stat, "f/x"),
    "statvfs": lambda p: os.statvfs(p / "f").f_namemax,
    "pathconf": lambda p: os.pathconf(p / "f", "PC_NAME_MAX"),
    "access": lambda p: [os.access(p / name, mode) for name in ("f", "missing") for mode in (os.F_OK, os.R_OK)],
    "open": opened,
    "open missing": refused(lambda p: os.open(p, os.O_RDONLY), "missing"),
    "dir_fd": by_dir_fd,
    "mkdir": lambda p: os.mkdir(p / "new", 0o750),
    "mkdir again": refused(os.mkdir, "d"),
    "makedirs": steps(lambda p: os.makedirs(p / "a" / "b" / "c"), lambda p: os.makedirs(p / "a" / "b", exist_ok=True)),
    "rename": lambda p: os.rename(p / "f", p / "d" / "new"),
    "rename over": lambda p: os.rename(p / "f", p / "g"),
    "replace": lambda p: os.replace(p / "d", p / "empty"),
    "renames": lambda p: os.renames(p / "empty", p / "a" / "b" / "c"),
    "link": lambda p: os.link(p / "f", p / "new"),
    "symlink": steps(lambda p: os.symlink("../f", p / "d" / "new"), lambda p: os.readlink(p / "d" / "new")),
    "remove": lambda p: os.remove(p / "f"),
    "unlink": lambda p: os.unlink(p / "d" / "f"),
    "rmdir": lambda p: os.rmdir(p / "empty"),
    "rmdir of a full one": refused(os.rmdir, "d"),
    "removedirs": steps(lambda p: os.makedirs(p / "a" / "b"), lambda p: os.removedirs(p / "a" / "b")),
    "truncate": steps(lambda p: os.truncate(p / "f", 3), lambda p: os.truncate(p / "g", 20)),
    "utime": times,
    "chmod": lambda p: os.chmod(p / "f", 0o4510),
    "chmod of a directory": lambda p: os.chmod(p / "d", 0o1711),
    "chown": steps(lambda p: os.chown(p / "f", os.getuid(), os.getgid()), lambda p: os.lchown(p / "g", -1, -1)),
    "mkfifo": lambda p: os.mkfifo(p / "new", 0o600),
    "mknod": lambda p: os.mknod(p / "new", stat.S_IFREG | 0o604),
    "posix_spawn": spawned,
    "chdir": lambda p: in_child(steps(lambda p: os.chdir(p / "d"), lambda p: sorted(os.listdir())), p),
    "path.exists": lambda p: [os.path.exists(p / name) for name in ("f", "missing", "d/e")],
    "path.isfile, isdir": lambda p: [(os.path.isfile(p / name), os.path.isdir(p / name)) for name in ("f", "d", "x")],
    "path.getsize": lambda p: os.path.getsize(p / "f"),
    "path.ismount": lambda p: os.path.ismount(p / "d"),
    "path.samefile": lambda p: [os.path.samefile(p / "f", p / "d" / ".." / name) for name in "fg"],
    "path.basename": lambda p: (os.path.basename(p / "d" / "f.x"), os.path.splitext(p / "f.x")[1]),
    "path.dirname": lambda p: os.path.dirname(p / "d" / "f") == os.fspath(p / "d"),
    "path.join": lambda p: os.path.join(p / "d", "f") == os.fspath(p / "d" / "f"),
    "path.relpath": lambda p: os.path.relpath(p / "d" / "f", p / "g"),
    "path.commonpath": lambda p: os.path.commonpath([p / "d" / "f", p / "d" / "e"]) == os.fspath(p / "d"),
    "path.abspath": lambda p: os.path.abspath(p / "d" / "." / "f") == os.fspath(p / "d" / "f"),
    "fsencode": lambda p: os.fsencode(p / "d\udcff").removeprefix(os.fsencode(p)).lstrip(b"/"),
}


@pytest.mark.parametrize("name", OS)
def test_os(root: VeryTmpRoot, host: Path, name: str) -> None:
    same(OS[name], root, host)


# -- shutil ------------------------------------------------------------------------------------------------------------


def relative(result: str | Path, base: Path) -> str:
    return os.path.relpath(result, base)


def preserved(base: Path) -> object:
    os.chmod(base / "f", 0o640)
    os.utime(base / "f", ns=(5, 6))
    shutil.copy2(base / "f", base / "d" / "new")
    shutil.copystat(base / "f", base / "g")
    shutil.copymode(base / "f", base / "d" / "f")
    return [os.stat(base / name).st_mtime_ns for name in ("d/new", "g")]


FILTERS = [data_filter, tar_filter, "fully_trusted"]


def archived(form: str) -> Callable[[Path], object]:
    def call(base: Path) -> object:
        made = shutil.make_archive(os.fspath(base / "packed"), form, root_dir=base / "d")
        how: Any = {"filter": FILTERS[0]} if form != "zip" else {}
        shutil.unpack_archive(made, base / "empty", **how)
        shutil.unpack_archive(Path(made), base / "new" / "er", form, **how)
        os.remove(made)  # it holds the time
        return relative(made, base)

    return call


def which(base: Path) -> object:
    os.chmod(base / "f", 0o700)
    found = shutil.which("f", path=base)
    assert found is not None
    return relative(found, base), shutil.which("g", path=base), shutil.which(base / "f") == os.fspath(base / "f")


SHUTIL: dict[str, Callable[[Path], object]] = {
    "copy": lambda p: relative(shutil.copy(p / "f", p / "new"), p),
    "copy into": lambda p: relative(shutil.copy(p / "g", p / "d"), p),
    "copy2 and its like": preserved,
    "copyfile": lambda p: relative(shutil.copyfile(p / "f", p / "g"), p),
    "copytree": lambda p: relative(shutil.copytree(p / "d", p / "new" / "d"), p),
    "copytree onto": lambda p: relative(shutil.copytree(p / "d", p / "empty", dirs_exist_ok=True), p),
    "copytree ignoring": lambda p: shutil.copytree(p / "d", p / "new", ignore=shutil.ignore_patterns("*.py")) is None,
    "move": lambda p: relative(shutil.move(p / "f", p / "new"), p),
    "move into": lambda p: relative(shutil.move(p / "f", p / "d" / "e"), p),
    "move a directory": lambda p: relative(shutil.move(p / "d", p / "empty"), p),
    "rmtree": lambda p: shutil.rmtree(p / "d"),
    "chown": lambda p: shutil.chown(p / "f", os.getuid(), os.getgid()),
    "zip": archived("zip"),
    "tar": archived("tar"),
    "gztar": archived("gztar"),
    "bztar": archived("bztar"),
    "xztar": archived("xztar"),
    "which": which,
}


@pytest.mark.parametrize("name", SHUTIL)
def test_shutil(root: VeryTmpRoot, host: Path, name: str) -> None:
    same(SHUTIL[name], root, host)


def test_copytree_in_and_out(root: VeryTmpRoot, host: Path) -> None:
    ground.make(str(host), {"in": LINKED})
    os.chmod(host / "in" / "f", 0o640)
    assert shutil.copytree(host / "in", root / "x", symlinks=True) == root / "x"
    assert ground.look(root.fileno()) == {"x": LINKED}
    assert shutil.copytree(root / "x", host / "out", symlinks=True) == host / "out"
    assert ground.look(str(host / "out")) == LINKED
    assert about(host / "out" / "f") == about(host / "in" / "f")


def test_copytree_follows_what_the_kernel_does(root: VeryTmpRoot, host: Path) -> None:
    ground.make(root.fileno(), {"x": TREE | {"link": "-> f"}})
    if root.nosymfollow:
        with pytest.raises(shutil.Error, match="link"):
            shutil.copytree(root / "x", host / "out")
        assert ground.look(str(host / "out")) == TREE
    else:
        shutil.copytree(root / "x", host / "out")
        assert ground.look(str(host / "out")) == TREE | {"link": b"potatoes"}


def test_move_in_and_out(root: VeryTmpRoot, host: Path) -> None:
    ground.make(str(host), {"in": LINKED})
    assert shutil.move(host / "in", root / "x") == root / "x"
    assert ground.look(str(host)) == {}
    assert ground.look(root.fileno()) == {"x": LINKED}
    assert shutil.move(root / "x" / "f", host) == f"{host}/f"
    assert shutil.move(root / "x", host / "out") == host / "out"
    assert ground.look(root.fileno()) == {}
    assert ground.look(str(host)) == {"f": b"potatoes", "out": {n: t for n, t in LINKED.items() if n != "f"}}


def test_move_between_roots(root: VeryTmpRoot) -> None:
    with VeryTmpRoot() as other:
        ground.make(root.fileno(), {"x": LINKED})
        assert shutil.move(root / "x", other / "y") == other / "y"
        assert ground.look(root.fileno()) == {}
        assert ground.look(other.fileno()) == {"y": LINKED}


def test_rmtree_follows_no_link(root: VeryTmpRoot, host: Path) -> None:
    ground.make(str(host), TREE)
    ground.make(root.fileno(), {"x": {"out": f"-> {host}", "d": {"up": f"-> {UP}{host}"}}, "f": b""})
    shutil.rmtree(root / "x")
    assert ground.look(root.fileno()) == {"f": b""}
    assert ground.look(str(host)) == TREE


def test_rmtree_of_the_root_empties_it(root: VeryTmpRoot) -> None:
    """And fails at the end, for nothing can remove the root itself."""
    ground.make(root.fileno(), TREE)
    with pytest.raises(OSError):
        shutil.rmtree(root.path)
    assert ground.look(root.fileno()) == {}
    (root / "f").touch()


def test_disk_usage() -> None:
    with VeryTmpRoot(size="1m") as root:
        (root / "f").write_bytes(b"x" * 8192)
        for path in (root, root.path, root / "f"):
            assert tuple(shutil.disk_usage(path)) == root.usage() == (1 << 20, 8192, (1 << 20) - 8192)


# -- archives ----------------------------------------------------------------------------------------------------------


def test_zipfile(root: VeryTmpRoot) -> None:
    ground.make(root.fileno(), TREE)
    with zipfile.ZipFile(root / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        assert archive.filename == f"{string(root)}/a.zip"
        for path in sorted((root / "d").rglob("*")):
            archive.write(path, str(path.relative_to(root.path)))
        archive.writestr("text", "by words")
    assert zipfile.is_zipfile(root / "a.zip")
    with zipfile.ZipFile(root / "a.zip") as archive:
        archive.extractall(root / "out")
        assert archive.extract("text", root / "one") == f"{string(root)}/one/text"
        assert zipfile.Path(archive, "d/").joinpath("f").read_bytes() == b"d/f"
    assert ground.look(root.fileno())["out"] == {"d": TREE["d"], "text": b"by words"}
    assert ground.look(root.fileno())["one"] == {"text": b"by words"}


def test_an_evil_zipfile(root: VeryTmpRoot, host: Path) -> None:
    """Its own sanitising works; no path of it is the host's."""
    with zipfile.ZipFile(root / "a.zip", "w") as archive:
        for name in ("../up", f"{UP}/upmost", f"{host}/absolute"):
            archive.writestr(name, "evil")
    with zipfile.ZipFile(root / "a.zip") as archive:
        archive.extractall(root / "out")
    assert ground.look(str(host)) == {}
    assert os.path.isfile(f"{string(root)}/out{host}/absolute")
    assert {"up", "upmost"} < ground.look(root.fileno())["out"].keys()  # type: ignore[attr-defined]


@pytest.mark.parametrize("how", FILTERS)
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_tarfile(root: VeryTmpRoot, mode: Any, how: Any) -> None:
    ground.make(root.fileno(), {"x": LINKED})
    os.chmod(f"{string(root)}/x/f", 0o640)
    os.utime(f"{string(root)}/x/f", (1, 2))
    os.link(f"{string(root)}/x/f", f"{string(root)}/x/hard")
    with tarfile.open(root / "a.tar", mode) as archive:
        archive.add(root / "x", "x")
        assert archive.name == f"{string(root)}/a.tar"
    assert tarfile.is_tarfile(root / "a.tar")
    with tarfile.open(root / "a.tar") as archive:
        archive.extractall(root / "out", filter=how)
    assert ground.look(root.fileno())["out"] == {"x": LINKED | {"hard": b"potatoes"}}
    extracted = os.stat(f"{string(root)}/out/x/f")
    links = 1 if CANONICALISES_LINKS else 2
    assert (stat.S_IMODE(extracted.st_mode), extracted.st_mtime, extracted.st_nlink) == (0o640, 2, links)


@pytest.mark.parametrize("how", ["data", "tar"])
def test_tarfile_with_a_filter_of_its_own(root: VeryTmpRoot, how: Any) -> None:
    """Which canonicalises, since 3.14: then it unpacks nothing, and says so."""
    with tar(member("f")) as archive:
        if CANONICALISES:
            with pytest.raises(NotADirectoryError, match="/dev/null"):
                archive.extractall(root.path, filter=how)
            assert ground.look(root.fileno()) == {}
        else:
            archive.extractall(root.path, filter=how)
            assert ground.look(root.fileno()) == {"f": b"evil"}


@pytest.mark.parametrize(
    ("members", "error"),
    [
        ([member("../up")], "OutsideDestinationError"),
        ([member(f"{UP}/etc/passwd")], "OutsideDestinationError"),
        ([member("d/../../up")], "OutsideDestinationError"),
        ([member("link", tarfile.SYMTYPE, "/etc/passwd")], "AbsoluteLinkError"),
        ([member("link", tarfile.SYMTYPE, "../up")], "LinkOutsideDestinationError"),
        ([member("link", tarfile.SYMTYPE, f"{UP}/etc/passwd")], "LinkOutsideDestinationError"),
        ([member("link", tarfile.LNKTYPE, "../up")], "LinkOutsideDestinationError"),
        ([member("link", tarfile.LNKTYPE, "/etc/passwd")], "AbsoluteLinkError"),
        ([member("device", tarfile.CHRTYPE)], "SpecialFileError"),
        ([member("fifo", tarfile.FIFOTYPE)], "SpecialFileError"),
    ],
)
def test_an_evil_tarfile_is_refused(root: VeryTmpRoot, members: list[tarfile.TarInfo], error: str) -> None:
    (root / "up").write_text("innocent")
    with tar(*members) as archive, pytest.raises(getattr(tarfile, error)):
        archive.extractall(root / "out", filter=data_filter)
    assert set(ground.look(root.fileno())) <= {"up", "out"}
    assert ground.look(root.fileno())["up"] == b"innocent"
    assert ground.look(root.fileno()).get("out", {}) == {}


@pytest.mark.parametrize("how", FILTERS)
@pytest.mark.tmpfs
def test_an_evil_tarfile_does_not_reach_the_host(host: Path, how: Any) -> None:
    """Whoever trusts it fully: dots end in the mount, and a link leads nowhere."""
    (host / "secret").write_text("the host's")
    attempts = [
        [member(f"{UP}{host}/secret")],
        [member("link", tarfile.SYMTYPE, str(host)), member("link/secret")],
        [member("link", tarfile.SYMTYPE, f"{UP}{host}"), member("link/new")],
    ]
    for members in attempts:
        with VeryTmpRoot() as root, tar(*members) as archive:
            try:
                archive.extractall(root / "out", filter=how)
            except (OSError, tarfile.TarError):
                pass
            assert ground.look(str(host)) == {"secret": b"the host's"}


# -- temporary files ---------------------------------------------------------------------------------------------------


def test_temporary_file(root: VeryTmpRoot) -> None:
    with tempfile.TemporaryFile(dir=root.path) as file:
        file.write(b"nameless")
        file.flush()
        assert os.fstat(file.fileno()).st_dev == os.fstat(root.fileno()).st_dev
        assert os.fstat(file.fileno()).st_nlink == 0
        assert ground.look(root.fileno()) == {}


def test_named_temporary_file(root: VeryTmpRoot) -> None:
    with tempfile.NamedTemporaryFile("w", dir=root.path, prefix="p-", suffix=".s") as file:
        file.write("named")
        file.flush()
        folder, name = os.path.split(file.name)
        assert folder == string(root)
        assert name.startswith("p-")
        assert name.endswith(".s")
        assert ground.look(root.fileno()) == {name: b"named"}
    assert ground.look(root.fileno()) == {}


def test_mkstemp(root: VeryTmpRoot) -> None:
    descriptor, name = tempfile.mkstemp(dir=root.path)
    os.write(descriptor, b"x")
    os.close(descriptor)
    assert ground.look(root.fileno()) == {os.path.basename(name): b"x"}
    assert os.path.dirname(name) == string(root)
    assert stat.S_IMODE(os.stat(name).st_mode) == 0o600


def test_mkdtemp(root: VeryTmpRoot) -> None:
    (root / "d").mkdir()
    name = tempfile.mkdtemp(dir=root / "d")
    assert os.path.dirname(name) == os.fspath(root / "d")
    assert ground.look(root.fileno()) == {"d": {os.path.basename(name): {}}}
    assert root / "d" / name == root / "d" / os.path.basename(name)


def test_temporary_directory(root: VeryTmpRoot, host: Path) -> None:
    (host / "f").touch()
    with tempfile.TemporaryDirectory(dir=root.path) as name:
        ground.make(name, TREE | {"out": f"-> {host}"})
        assert set(ground.look(root.fileno())) == {os.path.basename(name)}
    assert ground.look(root.fileno()) == {}
    assert ground.look(str(host)) == {"f": b""}


def test_spooled_temporary_file(root: VeryTmpRoot) -> None:
    with tempfile.SpooledTemporaryFile(4, dir=string(root)) as file:
        file.write(b"more than four")
        assert os.fstat(file.fileno()).st_dev == os.fstat(root.fileno()).st_dev


# -- the kernel --------------------------------------------------------------------------------------------------------


def test_mmap(root: VeryTmpRoot) -> None:
    path = root / "f"
    path.write_bytes(b"x" * 8192)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        root.close()
        memory[4096:4100] = b"here"
        memory.flush()
        assert file.read() == b"x" * 4096 + b"here" + b"x" * 4092


def test_mmap_of_a_string(root: VeryTmpRoot) -> None:
    (root / "f").write_bytes(b"potatoes")
    with open(root / "f", "r+b") as file, mmap.mmap(file.fileno(), 8) as memory:
        memory[:3] = b"TOM"
    assert ground.look(root.fileno()) == {"f": b"TOMatoes"}


def test_sendfile(root: VeryTmpRoot, host: Path) -> None:
    data = os.urandom(100_000)
    (host / "f").write_bytes(data)
    for source, target in ((host / "f", root / "in"), (root / "in", root / "again"), (root / "again", host / "out")):
        with source.open("rb") as reading, target.open("wb") as writing:
            assert os.sendfile(writing.fileno(), reading.fileno(), 0, len(data)) == len(data)
    assert ground.look(root.fileno()) == {"in": data, "again": data}
    assert (host / "out").read_bytes() == data


def test_copy_file_range(root: VeryTmpRoot) -> None:
    (root / "f").write_bytes(b"potatoes")
    with (root / "f").open("rb") as reading, (root / "new").open("wb") as writing:
        assert os.copy_file_range(reading.fileno(), writing.fileno(), 100) == 8
    assert ground.look(root.fileno()) == {"f": b"potatoes", "new": b"potatoes"}


def test_sendfile_to_a_socket(root: VeryTmpRoot) -> None:
    (root / "f").write_bytes(b"potatoes")
    here, there = socket.socketpair()
    with here, there, (root / "f").open("rb") as file:
        assert here.sendfile(file) == 8
        assert there.recv(100) == b"potatoes"


def test_unix_sockets(root: VeryTmpRoot) -> None:
    (root / "d").mkdir()
    name = os.fspath(root / "d" / "socket")
    assert len(os.fsencode(name)) < 108
    with (
        socket.socket(socket.AF_UNIX) as listening,
        socket.socket(socket.AF_UNIX) as calling,
    ):
        listening.bind(name)
        listening.listen()
        assert (root / "d" / "socket").is_socket()
        calling.connect(name)
        answering, _ = listening.accept()
        with answering:
            assert answering.getsockname() == calling.getpeername() == name
            calling.sendall(b"hello")
            assert answering.recv(5) == b"hello"
        assert ground.look(root.fileno()) == {"d": {"socket": about(name)[0]}}
    (root / "d" / "socket").unlink()
    assert ground.look(root.fileno()) == {"d": {}}


def test_unix_datagrams(root: VeryTmpRoot) -> None:
    names = [os.fspath(root / name) for name in "ab"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as a, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as b:
        a.bind(names[0])
        b.bind(names[1])
        a.sendto(b"hello", names[1])
        assert b.recvfrom(10) == (b"hello", names[0])


def test_a_unix_socket_of_a_string_that_is_too_long(root: VeryTmpRoot) -> None:
    """It is the string that counts; by the directory's descriptor it is short again."""
    folder = root / ("d" * 120)
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as calling:
        with pytest.raises(OSError, match="too long"):
            listening.bind(os.fspath(folder / "s"))
        descriptor = os.open(folder, os.O_PATH)
        try:
            listening.bind(f"/proc/self/fd/{descriptor}/s")
            listening.listen()
            calling.connect(f"/proc/self/fd/{descriptor}/s")
        finally:
            os.close(descriptor)
    assert (folder / "s").is_socket()


def user_xattrs() -> bool:
    with tempfile.NamedTemporaryFile(prefix=f"verytmp-tests-{os.getpid()}-", dir="/dev/shm") as file:
        try:
            os.setxattr(file.fileno(), "user.probe", b"")
        except OSError:
            return False
    return True


@pytest.mark.skipif(not user_xattrs(), reason="this kernel's tmpfs has no user extended attributes")
def test_xattr(root: VeryTmpRoot, host: Path) -> None:
    def call(base: Path) -> object:
        os.setxattr(base / "f", "user.verytmp", b"value")
        os.setxattr(base / "d", "user.other", b"")
        os.setxattr(base / "f", "user.gone", b"x", follow_symlinks=False)
        os.removexattr(base / "f", "user.gone")
        shutil.copy2(base / "f", base / "new")
        shutil.copytree(base / "d", base / "tree")
        with pytest.raises(OSError) as caught:
            os.getxattr(base / "f", "user.gone")
        assert caught.value.errno == errno.ENODATA
        names = ("f", "g", "new", "d", "tree")
        return [{key: os.getxattr(base / name, key) for key in user(base / name)} for name in names]

    def user(path: Path) -> list[str]:
        return sorted(key for key in os.listxattr(path) if key.startswith("user."))

    value, other = {"user.verytmp": b"value"}, {"user.other": b""}
    assert same(call, root, host) == [value, {}, value, other, other]


# -- programs ----------------------------------------------------------------------------------------------------------


def test_programs_arguments(root: VeryTmpRoot) -> None:
    ground.make(root.fileno(), TREE)
    cat = subprocess.run(["cat", root / "f", root / "d" / "f"], capture_output=True, check=True)
    assert cat.stdout == b"potatoesd/f"
    subprocess.run(["cp", "-r", root / "d", root / "new"], check=True)
    subprocess.run(["rm", "-r", root / "d"], check=True)
    shell = f"ls {root / 'new'} > {root / 'listing'}"
    subprocess.run(shell, shell=True, check=True)
    expected = TREE | {"new": TREE["d"], "listing": b"e\nf\ns.py\n"}
    assert ground.look(root.fileno()) == {name: what for name, what in expected.items() if name != "d"}


def test_programs_working_directory(root: VeryTmpRoot) -> None:
    ground.make(root.fileno(), TREE)
    for folder in (root, root.path, root / "d" / "..", os.fspath(root)):
        ls = subprocess.run(["ls"], cwd=folder, capture_output=True, text=True, check=True)
        assert ls.stdout.split() == ["d", "empty", "f", "g"]
    subprocess.run(["sh", "-c", "cat f > ../copy; cat ../../../../../etc/passwd"], cwd=root / "d", capture_output=True)
    assert ground.look(root.fileno()) == TREE | {"copy": b"d/f"}


def test_programs_streams_and_environment(root: VeryTmpRoot) -> None:
    (root / "in").write_text("potatoes")
    with (root / "in").open() as stdin, (root / "out").open("w") as stdout, (root / "err").open("wb") as stderr:
        code = 'cat; cat "$FILE" >&2'
        environment = os.environ | {"FILE": os.fspath(root / "in")}
        subprocess.run(["sh", "-c", code], stdin=stdin, stdout=stdout, stderr=stderr, env=environment, check=True)
    assert ground.look(root.fileno()) == dict.fromkeys(("in", "out", "err"), b"potatoes")


def test_a_program_in_it(root: VeryTmpRoot) -> None:
    program = root / "program"
    program.write_text('#!/bin/sh\necho "$0 $1"\n')
    program.chmod(0o700)
    for name in (program, os.fspath(program)):
        done = subprocess.run([name, "x"], capture_output=True, text=True, check=True)
        assert done.stdout == f"{program} x\n"
    here = subprocess.run(["./program", "x"], cwd=root.path, capture_output=True, text=True, check=True)
    assert here.stdout == "./program x\n"
    shutil.copy2("/bin/true", root / "true")
    assert subprocess.run([root / "true"]).returncode == 0


# -- Python's own code -------------------------------------------------------------------------------------------------

PACKAGE: ground.Tree = {
    "verytmp_canary": {
        "__init__.py": b"from .sub import value\n",
        "sub.py": b"value = 'imported'\n",
        "data.txt": b"potatoes",
        "__main__.py": b"value = 'run'\n",
    },
    "verytmp_lonely.py": b"import sys\nvalue = 'lonely'\n",
}


@pytest.fixture
def package(root: VeryTmpRoot, monkeypatch: pytest.MonkeyPatch) -> Iterator[VeryTmpRoot]:
    ground.make(root.fileno(), PACKAGE)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    modules, importers = set(sys.modules), set(sys.path_importer_cache)
    yield root
    for name in set(sys.modules) - modules:
        if name.startswith("verytmp_"):
            del sys.modules[name]
    for name in set(sys.path_importer_cache) - importers:
        del sys.path_importer_cache[name]
    linecache.clearcache()


def test_import(package: VeryTmpRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(package.path))
    canary: Any = importlib.import_module("verytmp_canary")
    lonely: Any = importlib.import_module("verytmp_lonely")
    assert (canary.value, lonely.value) == ("imported", "lonely")
    assert canary.__file__ == os.fspath(package / "verytmp_canary" / "__init__.py")
    assert importlib.resources.files("verytmp_canary").joinpath("data.txt").read_text() == "potatoes"
    tag = sys.implementation.cache_tag
    for name in ("verytmp_canary/__pycache__/sub", "verytmp_canary/__pycache__/__init__", "__pycache__/verytmp_lonely"):
        assert os.path.isfile(f"{string(package)}/{name}.{tag}.pyc")


def test_import_by_location(package: VeryTmpRoot) -> None:
    path = package / "verytmp_lonely.py"
    spec = importlib.util.spec_from_file_location("verytmp_lonely", path)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.value == "lonely"
    assert module.__file__ == os.fspath(path)


def test_import_of_a_zipfile(package: VeryTmpRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.make_archive(os.fspath(package / "packed"), "zip", package.path, "verytmp_canary")
    monkeypatch.syspath_prepend(os.fspath(package / "packed.zip"))
    canary: Any = importlib.import_module("verytmp_canary")
    assert canary.value == "imported"
    assert canary.__file__ == os.fspath(package / "packed.zip" / "verytmp_canary" / "__init__.py")


def test_run(package: VeryTmpRoot) -> None:
    for path in (package / "verytmp_canary" / "__main__.py", package / "verytmp_canary"):
        assert runpy.run_path(os.fspath(path))["value"] == "run"
    (package / "script.py").write_text("import sys, verytmp_lonely; print(sys.argv, verytmp_lonely.value)")
    done = subprocess.run([sys.executable, package / "script.py", "x"], capture_output=True, text=True, check=True)
    assert done.stdout == f"{[os.fspath(package / 'script.py'), 'x']} lonely\n"


def test_compileall(package: VeryTmpRoot) -> None:
    tag = sys.implementation.cache_tag
    assert compileall.compile_dir(package.path, quiet=1)
    before = ground.look(package.fileno())
    assert set(before.pop("__pycache__")) == {f"verytmp_lonely.{tag}.pyc"}  # type: ignore[call-overload]
    found: Any = before["verytmp_canary"]
    assert set(found["__pycache__"]) == {f"{name}.{tag}.pyc" for name in ("__init__", "sub", "__main__")}
    assert compileall.compile_file(package / "verytmp_lonely.py", quiet=1, legacy=True, force=True)
    assert os.path.isfile(f"{string(package)}/verytmp_lonely.pyc")
    compiled: object = py_compile.compile(
        os.fspath(package / "verytmp_lonely.py"), os.fspath(package / "new.pyc"), doraise=True
    )
    assert compiled == os.fspath(package / "new.pyc")
    assert runpy.run_path(os.fspath(package / "new.pyc"))["value"] == "lonely"


def test_compileall_says_what_is_wrong(package: VeryTmpRoot, capsys: pytest.CaptureFixture[str]) -> None:
    (package / "verytmp_canary" / "sub.py").write_text("value =")
    assert not compileall.compile_dir(package.path, quiet=1)
    assert os.fspath(package / "verytmp_canary" / "sub.py") in capsys.readouterr().out


# -- the rest of the standard library ----------------------------------------------------------------------------------


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
    assert ground.look(root.fileno()) == {
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
    assert ground.look(root.fileno()) == {str(n): str(n).encode() for n in range(50)} | {"new": b"0"}


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
