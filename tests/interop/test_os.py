"""Paths, and their strings, in the hands of os."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from support.children import in_child
from support.compare_with_host import about, same, steps

from verytmp import VeryTmpRoot


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
