"""What a copy has of its source besides bytes: modes, times, extended attributes."""

from __future__ import annotations

import errno
import os
import stat
from functools import partial
from pathlib import Path

import pytest
from support import host_state, kernel
from support.children import in_child
from support.copies import ACCESSED, MODIFIED, TREE, age, bring_in, failure, metadata

from verytmp import VeryTmpRoot
from verytmp._confined import copy_fd

MODES = {"d": 0o1750, "d/f": 0o640, "d/e": 0o500, "d/e/g": 0o400, "f": 0o754, "empty": 0o2}


def dress(directory: str) -> None:
    """Give all that is in TREE permissions and times of its own."""
    for name, mode in MODES.items():
        os.chmod(f"{directory}/{name}", mode)
    age(directory)


def undress(path: Path) -> None:
    """Let it be removed."""
    for place, dirs, _ in os.walk(path):
        for name in dirs:
            if not os.path.islink(f"{place}/{name}"):
                os.chmod(f"{place}/{name}", 0o700)


@pytest.mark.parametrize("name", ["d", "f"])
def test_a_secret_is_one_at_any_time(root: VeryTmpRoot, elsewhere: Path, name: str) -> None:
    seen: set[int] = set()

    def look(_: int, __: int | None) -> None:
        copy = elsewhere / name
        seen.update(stat.S_IMODE(path.lstat().st_mode) for path in [copy, *copy.rglob("*")] if not path.is_symlink())

    for path in root.path.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o700)
    (root / name).copy(elsewhere / name, follow_symlinks=False, preserve_metadata=True, progress=look)
    assert seen == {0o700}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
@pytest.mark.parametrize(("owner", "group", "mode"), [(1, 1, 0o755), (1, 0, 0o2755), (0, 1, 0o4755), (0, 0, 0o6755)])
def test_a_copy_runs_with_nobody_elses_rights(
    root: VeryTmpRoot, elsewhere: Path, owner: int, group: int, mode: int
) -> None:
    """Another user's set-user-ID program would run with the rights of whoever copies it."""
    path = root / "given"
    path.mkdir()
    for each in (path, path / "f"):
        each.touch()
        os.chown(each, owner, group)
        each.chmod(0o6755)
    path.copy(elsewhere / "given", preserve_metadata=True)
    for name in ("given", "given/f"):
        found = (elsewhere / name).stat()
        assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (mode, 0, 0)


def test_metadata_is_preserved(root: VeryTmpRoot, elsewhere: Path) -> None:
    dress(os.fspath(root))
    (root / "d").copy(elsewhere / "d", follow_symlinks=False, preserve_metadata=True)
    (root / "f").copy_into(elsewhere, preserve_metadata=True)
    (root / "dangling").copy_into(elsewhere, follow_symlinks=False, preserve_metadata=True)
    assert {entry[1:] for entry in metadata(elsewhere / "d").values()} == {(ACCESSED, MODIFIED)}
    assert {name: entry[0] for name, entry in metadata(elsewhere / "d").items()} == {
        ".": "drwxr-x--T",
        "f": "-rw-r-----",
        "e": "dr-x------",
        "e/g": "-r--------",
        "up": "lrwxrwxrwx",
        "in": "lrwxrwxrwx",
        "é \udcff\n": stat.filemode(os.stat(f"{os.fspath(root)}/d/é \udcff\n").st_mode),
    }
    assert metadata(elsewhere)["f"] == ("-rwxr-xr--", ACCESSED, MODIFIED)
    assert metadata(elsewhere)["dangling"] == ("lrwxrwxrwx", ACCESSED, MODIFIED)
    undress(elsewhere)


def test_metadata_of_what_a_link_leads_to(root: VeryTmpRoot, elsewhere: Path) -> None:
    os.chmod(f"{os.fspath(root)}/f", 0o751)
    os.utime(f"{os.fspath(root)}/f", ns=(ACCESSED, MODIFIED))
    os.utime(f"{os.fspath(root)}/link", ns=(1, 2), follow_symlinks=False)
    (root / "link").copy(elsewhere / "x", preserve_metadata=True)
    assert metadata(elsewhere)["x"] == ("-rwxr-x--x", ACCESSED, MODIFIED)


def test_metadata_is_left_behind(root: VeryTmpRoot, elsewhere: Path) -> None:
    dress(os.fspath(root))
    os.chmod(f"{os.fspath(root)}/d/e/g", 0o777)
    old = os.umask(0o022)
    try:
        (root / "d").copy(elsewhere / "d", follow_symlinks=False)
    finally:
        os.umask(old)
    found = metadata(elsewhere / "d")
    assert {name: entry[0] for name, entry in found.items()} == {
        ".": "drwxr-xr-x",
        "f": "-rw-r--r--",
        "e": "drwxr-xr-x",
        "e/g": "-rw-r--r--",
        "up": "lrwxrwxrwx",
        "in": "lrwxrwxrwx",
        "é \udcff\n": "-rw-r--r--",
    }
    assert not {entry[1:] for entry in found.values()} & {(ACCESSED, MODIFIED)}
    undress(elsewhere)


def test_metadata_comes_in(root: VeryTmpRoot, host: Path) -> None:
    host_state.make(str(host), TREE)
    dress(str(host))
    bring_in(host / "d", root / "new", follow_symlinks=False, preserve_metadata=True)
    assert metadata(root / "new") == metadata(host / "d")
    undress(host)


def test_a_files_mode_stays_without_metadata(root: VeryTmpRoot) -> None:
    """What is copied over keeps its own."""
    os.chmod(f"{os.fspath(root)}/empty", 0o600)
    os.chmod(f"{os.fspath(root)}/f", 0o755)
    (root / "f").copy("empty")
    assert os.stat(f"{os.fspath(root)}/empty").st_mode & 0o777 == 0o600


def test_extended_attributes(root: VeryTmpRoot, elsewhere: Path) -> None:
    for name, value in (("f", b"\0\xff"), ("d", b"of a directory")):
        try:
            os.setxattr(f"{os.fspath(root)}/{name}", "user.verytmp", value)
        except OSError as error:
            assert error.errno == errno.EOPNOTSUPP  # noqa: PT017
            pytest.skip("this kernel's tmpfs has no user extended attributes")
    os.chmod(f"{os.fspath(root)}/f", 0o400)  # which would refuse them, if it came first
    for name in ("f", "d"):
        (root / name).copy(elsewhere / f"with {name}", follow_symlinks=False, preserve_metadata=True)
        (root / name).copy(elsewhere / f"without {name}", follow_symlinks=False)
        with_them, without = (os.fspath(elsewhere / f"{how} {name}") for how in ("with", "without"))
        assert os.listxattr(with_them) == ["user.verytmp"]
        assert os.getxattr(with_them, "user.verytmp") == os.getxattr(root / name, "user.verytmp")
        assert os.listxattr(without) == []


def test_attributes_that_are_refused_are_left_behind(host: Path) -> None:
    """A FIFO takes none, a file of /proc has none; what is no file at all is an error."""
    (host / "f").touch()
    try:
        os.setxattr(host / "f", "user.verytmp", b"")
    except OSError as error:
        assert error.errno == errno.EOPNOTSUPP  # noqa: PT017
        pytest.skip("this kernel's tmpfs has no user extended attributes")
    os.mkfifo(host / "fifo")
    with (host / "f").open("rb") as file, (host / "fifo").open("r+b", 0) as fifo, open("/proc/self/stat", "rb") as stat:
        copy_fd.copy_metadata(file.fileno(), fifo.fileno())
        assert os.listxattr(fifo.fileno()) == []
        assert (host / "fifo").stat().st_mtime_ns == (host / "f").stat().st_mtime_ns
        assert copy_fd.extended_attributes(stat.fileno()) == []
    directory = os.open(host, os.O_PATH)
    with pytest.raises(OSError) as caught:
        copy_fd.extended_attributes(directory)
    os.close(directory)
    assert caught.value.errno == errno.EBADF


def test_a_file_system_without_attributes(root: VeryTmpRoot) -> None:
    def copy() -> int:
        kernel.seccomp(kernel.Rule("flistxattr", errno.EOPNOTSUPP))
        (root / "f").copy("copy", preserve_metadata=True)
        return os.stat(f"{os.fspath(root)}/copy").st_mode

    os.chmod(f"{os.fspath(root)}/f", 0o751)
    assert in_child(copy) & 0o777 == 0o751


def test_attributes_that_have_no_room(root: VeryTmpRoot) -> None:
    def copy() -> None:
        kernel.seccomp(kernel.Rule("fsetxattr", errno.ENOSPC))
        said = failure(lambda: (root / "f").copy("copy", preserve_metadata=True))
        assert said == (errno.ENOSPC, str(root / "f"), str(root / "copy"), [])

    try:
        os.setxattr(f"{os.fspath(root)}/f", "user.verytmp", b"")
    except OSError as error:
        assert error.errno == errno.EOPNOTSUPP  # noqa: PT017
        pytest.skip("this kernel's tmpfs has no user extended attributes")
    in_child(copy)
    assert (root / "copy").read_bytes() == (root / "f").read_bytes()


def test_metadata_that_is_refused_leaves_the_target_whole(host: Path) -> None:
    """As of somebody else's file, which may be written to, and not be given other times."""
    (host / "old").write_bytes(b"old")

    def copy() -> list[object]:
        with VeryTmpRoot() as root:
            (root / "new").write_bytes(b"potatoes")
            kernel.seccomp(kernel.Rule("utimensat", errno.EPERM))
            found: list[object] = []
            for target in (host / "old", root / "copy"):
                copy_it = partial((root / "new").copy, target, preserve_metadata=True)
                number, _, name, notes = failure(copy_it)
                found += [number, name == str(target), notes, target.read_bytes()]
            return found

    assert in_child(copy) == [errno.EPERM, True, [], b"potatoes"] * 2
