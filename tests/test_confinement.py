"""Why nothing escapes: one test for each fact that the confinement rests on, and attempts to get out."""

from __future__ import annotations

import ctypes
import errno
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest
from support import host_state
from support.all_operations import OPERATIONS, Place
from support.children import in_child
from support.kernel import libc

from verytmp import VeryTmpPath, VeryTmpRoot

SECRET = b"the host's secret"
UP = "/".join([".."] * 30)


@pytest.fixture(params=[True, False], ids=["nosymfollow", "symfollow"])
def root(request: pytest.FixtureRequest) -> Iterator[VeryTmpRoot]:
    with VeryTmpRoot(nosymfollow=request.param) as made:
        yield made


@pytest.fixture
def secret(host: Path) -> Path:
    path = host / "secret"
    path.write_bytes(SECRET)
    return path


# -- the facts ---------------------------------------------------------------------------------------------------------


@pytest.mark.tmpfs
def test_it_is_in_no_mount_table(root: VeryTmpRoot) -> None:
    """Of any process whose table can be read; and mountinfo shows all of a namespace."""
    device = os.stat(root.fileno()).st_dev
    number = f" {os.major(device)}:{os.minor(device)} "
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            table = Path(f"/proc/{process}/mountinfo").read_text()
        except OSError:
            continue
        assert number not in table


@pytest.mark.tmpfs
def test_a_string_that_goes_up_stays_in_the_mount(root: VeryTmpRoot, secret: Path) -> None:
    """The mount is detached: it has no parent to go up to."""
    for path in (f"{os.fspath(root)}/{UP}{secret}", f"{os.fspath(root)}/{UP}/etc/passwd"):
        with pytest.raises(FileNotFoundError):
            os.stat(path)
    assert not os.path.samefile(f"{os.fspath(root)}/{UP}", "/")
    # Of a clone, what it has changed is there a second time, and overlayfs's own: no less its own, and memory too.
    above = {"dev", "upper", "work"} if root.kind == "overlay" else {"dev"}
    assert set(os.listdir(f"{os.fspath(root)}/{UP}")) == above


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to every directory")
def test_nothing_is_made_above_the_root(root: VeryTmpRoot) -> None:
    """But for the one directory above it, where its name is: or nobody could remove it, and make it anew."""
    for above in ("../..", "../../.."):
        with pytest.raises(PermissionError):
            os.mkdir(f"{os.fspath(root)}/{above}/x")


@pytest.mark.tmpfs
def test_the_kernel_follows_no_link_for_anybody(secret: Path) -> None:
    with VeryTmpRoot() as root:
        os.symlink(secret, os.fspath(root / "absolute"))
        os.symlink("f", os.fspath(root / "relative"))
        (root / "f").write_text("inside")
        for name in ("absolute", "relative"):
            with pytest.raises(OSError) as caught:
                Path(os.fspath(root / name)).read_bytes()
            assert caught.value.errno == errno.ELOOP
            cat = subprocess.run(["cat", root / name], capture_output=True)
            assert cat.returncode == 1
            assert SECRET not in cat.stdout


@pytest.mark.tmpfs
def test_its_canonical_path_is_nobodys(root: VeryTmpRoot) -> None:
    """What canonicalises a path gets a name below /dev/null, where nobody can make anything."""
    path = root / "d" / "f.db"
    path.parent.mkdir()
    canonical = os.path.realpath(path)
    assert canonical == f"/dev/null/{os.path.basename(os.fspath(root))}/d/f.db"
    for attempt in (
        lambda: Path(canonical).touch(),
        lambda: os.makedirs(os.path.dirname(canonical), exist_ok=True),
        lambda: os.stat(canonical),
    ):
        with pytest.raises((NotADirectoryError, FileExistsError)):
            attempt()
    assert not Path(canonical).exists()
    assert subprocess.run(["mkdir", "-p", os.path.dirname(canonical)], capture_output=True).returncode == 1


@pytest.mark.needs("host='ro'")
def test_the_descriptor_gives_no_power_over_the_mount(root: VeryTmpRoot) -> None:
    """Who held fsmount's own could change the mount's attributes."""
    attributes = (ctypes.c_uint64 * 4)(0, 0x20_0000, 0, 0)  # clear MOUNT_ATTR_NOSYMFOLLOW
    at_empty_path, mount_setattr = 0x1000, 442
    assert libc.syscall(mount_setattr, root.fileno(), b"", at_empty_path, attributes, 32) == -1
    assert ctypes.get_errno() in (errno.EINVAL, errno.EPERM)


@pytest.mark.needs("read_only")
@pytest.mark.tmpfs
def test_a_view_gives_no_way_to_write(root: VeryTmpRoot) -> None:
    """Neither by its strings, up and down again, nor by its descriptors, nor by a link to a place that can be."""
    host_state.make(root.fileno(), {"f": b"inside", "d": {}})
    with root.read_only() as view:
        string, fd = os.fspath(view), view.fileno()
        file = os.open(f"{string}/f", os.O_RDONLY)
        ways = [string, f"{string}/../{os.path.basename(string)}", f"/proc/self/fd/{fd}", f"/proc/self/fd/{fd}/d/.."]
        ways += [f"{string}/../../../upper"] if root.kind == "overlay" else []
        calls: list[Callable[[], object]] = [
            *(lambda way=way: os.open(f"{way}/f", os.O_WRONLY) for way in ways[:4]),
            *(lambda way=way: os.mkdir(f"{way}/new") for way in ways),
            lambda: os.open(f"/proc/self/fd/{file}", os.O_RDWR),
            lambda: os.open("f", os.O_WRONLY | os.O_TRUNC, dir_fd=fd),
            lambda: os.fchmod(file, 0),
            lambda: os.utime(file),
            lambda: os.setxattr(file, "user.x", b""),
            lambda: os.truncate(f"{string}/f", 0),
            lambda: os.link(f"{string}/f", f"{os.fspath(root)}/g"),
            lambda: os.rename(f"{string}/f", f"{os.fspath(root)}/g"),
            lambda: os.rename(f"{os.fspath(root)}/f", f"{string}/g"),
        ]
        for number, call in enumerate(calls):
            with pytest.raises(OSError) as caught:
                call()
            assert caught.value.errno in (errno.EROFS, errno.EXDEV), number
        os.close(file)
        attributes = (ctypes.c_uint64 * 4)(0, 1, 0, 0)  # clear MOUNT_ATTR_RDONLY
        assert libc.syscall(442, fd, b"", 0x1000, attributes, 32) == -1
        assert ctypes.get_errno() in (errno.EINVAL, errno.EPERM)
    assert host_state.look(root.fileno()) == {"f": b"inside", "d": {}}


# -- attempts ----------------------------------------------------------------------------------------------------------

# What is true of a link that is there, wherever it leads, or of a place where nothing is.
NO_ANSWER: tuple[object, ...] = (False, [], [False, False, False])


def attempts(root: VeryTmpRoot, secret: Path) -> dict[str, VeryTmpPath]:
    """Paths that would be the secret's, if anything were followed that must not be."""
    links = {
        "absolute": str(secret),
        "up": f"{UP}{secret}",
        "folder": str(secret.parent),
        "folder slash": f"{secret.parent}/",
        "top": f"{UP}/",
        "proc root": f"/proc/self/root{secret}",
        "proc cwd": f"/proc/self/cwd/{UP}{secret}",
        "own drive up": f"{os.fspath(root)}/{UP}{secret}",
    }
    for name, target in links.items():
        os.symlink(target, f"{os.fspath(root)}/{name}")
    os.symlink("absolute", f"{os.fspath(root)}/chain")
    os.mkdir(f"{os.fspath(root)}/d")
    os.symlink("../up", f"{os.fspath(root)}/d/chain")
    tail = str(secret).lstrip("/")
    return {
        "the string itself": root / str(secret),
        "dots": root / f"{UP}{secret}",
        "dots after a directory": root / "d" / f"{UP}{secret}",
        "a path object": root / secret,
        "a pure path": root / PurePosixPath(f"{UP}{secret}"),
        "double slash": root / f"//{secret}",
        "link": root / "absolute",
        "link up": root / "up",
        "link to the folder": root / "folder" / "secret",
        "link to the folder, with a slash": root / "folder slash" / "secret",
        "link to the top": root / "top" / tail,
        "links dots": root / "top" / f"{UP}{secret}",
        "magic link": root / "proc root",
        "magic link to the cwd": root / "proc cwd",
        "its own drive": root / "own drive up",
        "chain": root / "chain",
        "chain in a directory": root / "d" / "chain",
        "its own string": root / f"{os.fspath(root)}/{UP}{secret}",
    }


READS = [name for name, operation in OPERATIONS.items() if not (operation.changes or operation.of_link)]
WRITES = [name for name, operation in OPERATIONS.items() if operation.changes]


@pytest.mark.parametrize("name", READS)
def test_nothing_is_read_outside(root: VeryTmpRoot, secret: Path, name: str) -> None:
    for how, path in attempts(root, secret).items():
        try:
            found = OPERATIONS[name].call(path, Place(root, root))
        except (FileNotFoundError, NotADirectoryError):
            continue
        assert found in NO_ANSWER, how


@pytest.mark.parametrize("name", WRITES)
def test_nothing_is_changed_outside(root: VeryTmpRoot, secret: Path, name: str) -> None:
    before = host_state.look(str(secret.parent))
    status = os.stat(secret)
    with VeryTmpRoot() as other:
        host_state.make(other.fileno(), {"file": b"inside"})
        for path in attempts(root, secret).values():
            (root / "file").write_bytes(b"inside")
            try:
                OPERATIONS[name].call(path, Place(root, other))
            except (OSError, NotImplementedError):
                pass
            assert host_state.look(str(secret.parent)) == before
    assert os.stat(secret).st_mtime_ns == status.st_mtime_ns


def test_what_is_written_lands_inside(root: VeryTmpRoot, secret: Path) -> None:
    """An absolute path, by whatever link, is the root's own."""
    for name, target in (("absolute", str(secret)), ("up", f"{UP}{secret}")):
        os.symlink(target, f"{os.fspath(root)}/{name}")
    (root / str(secret)).parent.mkdir(parents=True)
    (root / "absolute").write_bytes(b"inside")
    assert (root / "up").read_bytes() == b"inside"
    assert (root / str(secret)).read_bytes() == b"inside"
    assert secret.read_bytes() == SECRET


@pytest.mark.slow
@pytest.mark.tmpfs
@pytest.mark.parametrize("way", ["clone", "ramfs"])
def test_of_clones_and_of_a_ramfs(way: str) -> None:
    """The attempts once more, on roots of other kinds: `nox -s kinds` does all that there is for them."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--way", way, __file__]
    done = subprocess.run([*command, "-k", "outside and nosymfollow"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout


# -- strings in the hands of others --------------------------------------------------------------------------------


@pytest.mark.tmpfs
def test_sqlite_makes_nothing_on_the_host(root: VeryTmpRoot) -> None:
    """SQLite canonicalises since 3.39. In the root directory of a mount of its own it would write to the host's /."""
    path = root / "verytmp-canary.db"
    if sqlite3.sqlite_version_info < (3, 39):
        sqlite3.connect(path).close()
    else:
        with pytest.raises(sqlite3.OperationalError, match="unable to open database file"):
            sqlite3.connect(path)
    assert not os.path.exists("/verytmp-canary.db")
    assert set(host_state.look(root.fileno())) <= {"verytmp-canary.db"}


def test_a_program_with_its_working_directory_there(root: VeryTmpRoot) -> None:
    (root / "f").write_text("inside")
    code = (
        "import os; print(open('f').read()); open('g', 'w').write('x'); print(os.path.exists('../../../../etc/passwd'))"
    )
    child = subprocess.run([sys.executable, "-c", code], cwd=root.path, capture_output=True, text=True, check=True)
    assert child.stdout == "inside\nFalse\n"
    assert host_state.look(root.fileno()) == {"f": b"inside", "g": b"x"}


@pytest.mark.tmpfs
def test_a_working_directory_there_has_no_name(root: VeryTmpRoot) -> None:
    """And the error is the one that programs know: CPython goes on after ENOENT."""

    def ask() -> str:
        os.chdir(root.path)
        return os.getcwd()

    with pytest.raises(FileNotFoundError):
        in_child(ask)


@pytest.mark.tmpfs
def test_a_path_out_of_lexical_hands(root: VeryTmpRoot) -> None:
    for path in (root / UP / "etc/passwd", root / "d" / UP / "etc" / "passwd"):
        for clean in (os.path.abspath, os.path.normpath):
            assert clean(path).startswith(os.fspath(root) + "/")
        assert os.path.realpath(path).startswith(f"/dev/null/{os.path.basename(os.fspath(root))}/")
