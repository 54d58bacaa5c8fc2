"""Copies and moves in every direction: inside a root, between two, out to the host, and in."""

from __future__ import annotations

import errno
import os
import platform
import resource
import shutil
import signal
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from support import ground, kernel
from support.children import in_child

from verytmp import VeryTmpPath, VeryTmpRoot, _copy

TREE: ground.Tree = {
    "f": b"potatoes",
    "empty": b"",
    "link": "-> f",
    "dlink": "-> d",
    "dangling": "-> missing",
    "d": {"f": b"d/f", "e": {"g": b"g"}, "up": "-> ../f", "in": "-> e", "é \udcff\n": b"odd"},
}
D: Any = TREE["d"]
FOLLOWED = D | {"up": b"potatoes", "in": {"g": b"g"}}

NEWS_TO_THE_KERNEL = {
    "x86_64": {"copy_file_range": 326, "sendfile": 40},
    "aarch64": {"copy_file_range": 285, "sendfile": 71},
}
kernel.NUMBERS.update(NEWS_TO_THE_KERNEL[platform.machine()])

# Later than any ctime, so that reading does not change it (relatime); and nanoseconds that a float would lose.
ACCESSED, MODIFIED = 4_102_444_800_123_456_789, 1_000_000_000_987_654_321


@pytest.fixture
def root(request: pytest.FixtureRequest) -> Iterator[VeryTmpRoot]:
    with VeryTmpRoot(nosymfollow=getattr(request, "param", True)) as made:
        ground.make(made.fileno(), TREE)
        yield made


on_both_mounts = pytest.mark.parametrize("root", [True, False], ids=["nosymfollow", "symfollow"], indirect=True)


@pytest.fixture(params=["inside", "another root", "the host"])
def elsewhere(request: pytest.FixtureRequest, root: VeryTmpRoot) -> Iterator[Path]:
    """An empty directory to copy to, as a path that says where it is."""
    if request.param == "inside":
        (root / "there").mkdir()
        yield root / "there"
    elif request.param == "another root":
        with VeryTmpRoot(nosymfollow=False) as other:
            yield other.path
    else:
        yield request.getfixturevalue("host")


def there(path: Path | VeryTmpRoot) -> ground.Tree:
    return ground.look(os.fspath(path))


def failure(call: Callable[[], object]) -> tuple[int | None, str, str | None, list[str]]:
    """A call's errno, the names that it gives, and its notes."""
    with pytest.raises(OSError) as caught:
        call()
    error = caught.value
    assert type(error) is type(OSError(error.errno, ""))
    return error.errno, error.filename, error.filename2, getattr(error, "__notes__", [])


def bring_in(source: Path, target: VeryTmpPath, **keywords: bool) -> None:
    """What `source.copy(target)`, of Python 3.14, asks of its target."""
    target._copy_from(source, **keywords)


# -- copy ------------------------------------------------------------------------------------------------------------

PLACES = ["nosymfollow", "symfollow", *(["pathlib"] if hasattr(Path, "copy") else [])]


@pytest.mark.parametrize("base", PLACES, indirect=True)
@pytest.mark.parametrize(
    ("source", "target", "follow", "change"),
    [
        ("f", "new", True, {"new": b"potatoes"}),
        ("empty", "new", True, {"new": b""}),
        ("empty", "f", True, {"f": b""}),
        ("f", "empty", True, {"empty": b"potatoes"}),
        ("f", "dangling", True, {"missing": b"potatoes"}),
        ("d/f", "link", True, {"f": b"d/f"}),
        ("f", "dlink/f", True, {"d": D | {"f": b"potatoes"}}),
        ("dlink/f", "new", True, {"new": b"d/f"}),
        ("d/../f", "d/e/../new", True, {"d": D | {"new": b"potatoes"}}),
        ("link", "new", True, {"new": b"potatoes"}),
        ("link", "new", False, {"new": "-> f"}),
        ("f", "new", False, {"new": b"potatoes"}),
        ("dangling", "new", False, {"new": "-> missing"}),
        ("dlink", "new", True, {"new": FOLLOWED}),
        ("dlink", "new", False, {"new": "-> d"}),
        ("d", "new", True, {"new": FOLLOWED}),
        ("d", "new", False, {"new": D}),
        ("d/e", "d/new", True, {"d": D | {"new": {"g": b"g"}}}),
        ("d/e", "dlink/new", True, {"d": D | {"new": {"g": b"g"}}}),
        ("d/e", "d/ee", True, {"d": D | {"ee": {"g": b"g"}}}),
    ],
)
def test_copy(base: Any, source: str, target: str, follow: bool, change: ground.Tree) -> None:
    ground.make(os.fspath(base), TREE)
    result = (base / source).copy(base / target, follow_symlinks=follow)
    assert result == base / target
    assert type(result) is type(base)
    assert there(base) == TREE | change


@on_both_mounts
@pytest.mark.parametrize("follow", [True, False])
def test_copy_anywhere(root: VeryTmpRoot, elsewhere: Path, follow: bool) -> None:
    assert (root / "d").copy(elsewhere / "new", follow_symlinks=follow) == elsewhere / "new"
    assert (root / "link").copy_into(elsewhere, follow_symlinks=follow) == elsewhere / "link"
    assert type((root / "d" / "e").copy_into(elsewhere)) is type(elsewhere)
    assert there(elsewhere) == {
        "new": FOLLOWED if follow else D,
        "link": b"potatoes" if follow else "-> f",
        "e": {"g": b"g"},
    }
    changed = there(root)
    changed.pop("there", None)
    assert changed == TREE


@on_both_mounts
def test_words_are_read_in_the_root(root: VeryTmpRoot, host: Path) -> None:
    """A string or a pure path is no way out: only a path that says where it is."""
    (root / str(host)).mkdir(parents=True)
    assert (root / "f").copy(f"{host}/a") == root / f"{host}/a"
    assert (root / "f").copy(PurePosixPath(host / "b")) == root / f"{host}/b"
    assert (root / "f").copy_into(str(host)) == root / f"{host}/f"
    assert (root / "empty").copy_into(PurePosixPath(host)) == root / f"{host}/empty"
    assert (root / "link").move(f"{host}/c") == root / f"{host}/c"
    assert (root / "dangling").move_into(PurePosixPath(host)) == root / f"{host}/dangling"
    assert (root / "f").copy(f"../../../..{host}/up") == root / f"../../../..{host}/up"
    assert (root / "f").copy(str(root / "own")) == root / "own"
    assert there(host) == {}
    assert there(root / str(host)) == {
        "a": b"potatoes",
        "b": b"potatoes",
        "c": "-> f",
        "dangling": "-> missing",
        "empty": b"",
        "f": b"potatoes",
        "up": b"potatoes",
    }
    assert there(root)["own"] == b"potatoes"


@on_both_mounts
def test_a_link_in_the_root_is_no_way_out(root: VeryTmpRoot, host: Path) -> None:
    (host / "f").write_bytes(b"the host's")
    os.symlink(host, f"{os.fspath(root)}/out")
    for call in (
        lambda: (root / "f").copy("out/f"),
        lambda: (root / "f").copy_into("out"),
        lambda: (root / "f").move("out/f"),
        lambda: (root / "out" / "f").copy("stolen"),
        lambda: (root / "out").copy("stolen"),
    ):
        assert failure(call)[0] == errno.ENOENT
    assert there(host) == {"f": b"the host's"}


def test_a_relative_plain_path_is_the_hosts(root: VeryTmpRoot, host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(host)
    assert (root / "f").copy(Path("out")) == Path("out")
    assert there(host) == {"out": b"potatoes"}


def test_a_plain_path_into_the_root_is_written_there(root: VeryTmpRoot) -> None:
    target = Path(root / "new")
    assert (root / "f").copy(target) == target
    assert there(root) == TREE | {"new": b"potatoes"}


@on_both_mounts
def test_the_whole_root(root: VeryTmpRoot, host: Path) -> None:
    with VeryTmpRoot() as other:
        assert root.path.copy(other / "all", follow_symlinks=False) == other / "all"
        assert root.path.copy(host / "all", follow_symlinks=False) == host / "all"
        assert there(other) == there(host) == {"all": TREE}


def test_a_root_has_no_name_to_go_by(root: VeryTmpRoot, elsewhere: Path) -> None:
    before = there(root)
    for call in (root.path.copy_into, root.path.move_into):
        for target in (elsewhere, "d"):
            with pytest.raises(ValueError, match="has an empty name"):
                call(target)
    assert there(root) == before
    assert there(elsewhere) == {}


# -- in from the host --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("follow", [True, False])
def test_in(host: Path, follow: bool) -> None:
    ground.make(str(host), TREE)
    for nosymfollow in (True, False):
        with VeryTmpRoot(nosymfollow=nosymfollow) as root:
            bring_in(host / "d", root / "x", follow_symlinks=follow)
            bring_in(host / "link", root / "y", follow_symlinks=follow)
            assert there(root) == {"x": FOLLOWED if follow else D, "y": b"potatoes" if follow else "-> f"}


@pytest.mark.parametrize("symlinks", [True, False])
def test_copytree(host: Path, symlinks: bool) -> None:
    ground.make(str(host), TREE)
    (host / "dangling").unlink()
    expected = {name: TREE[name] for name in TREE if name != "dangling"}
    if not symlinks:
        expected |= {"link": b"potatoes", "dlink": FOLLOWED, "d": FOLLOWED}
    with VeryTmpRoot() as root:
        assert shutil.copytree(host, root / "x", symlinks=symlinks) == root / "x"
        assert there(root) == {"x": expected}
        os.mkdir(host / "back")
        if symlinks:  # what the kernel follows for nobody, shutil cannot read
            shutil.copytree(root / "x", host / "back", symlinks=True, dirs_exist_ok=True)
            assert there(host / "back") == expected


if sys.version_info >= (3, 14):

    @pytest.mark.parametrize("follow", [True, False])
    def test_in_by_pathlib(host: Path, follow: bool) -> None:
        ground.make(str(host), TREE)
        with VeryTmpRoot() as root:
            assert (host / "d").copy(root / "x", follow_symlinks=follow) == root / "x"
            assert (host / "link").copy_into(root.path, follow_symlinks=follow) == root / "link"
            assert (host / "empty").copy(root / "y", preserve_metadata=True) == root / "y"
            assert there(root) == {
                "x": FOLLOWED if follow else D,
                "link": b"potatoes" if follow else "-> f",
                "y": b"",
            }
            assert os.fspath(host) not in os.readlink(f"{os.fspath(root)}/link") if not follow else True

    def test_moved_in_by_pathlib(host: Path) -> None:
        ground.make(str(host), TREE)
        with VeryTmpRoot() as root:
            (host / "d").move(root / "x")
            (host / "f").move_into(root.path)
            assert there(root) == {"x": D, "f": b"potatoes"}
            assert there(host) == {name: TREE[name] for name in TREE if name not in ("d", "f")}


SIZELESS = [
    name
    for name in (
        "/proc/self/mounts",
        "/proc/self/cmdline",
        "/proc/filesystems",
        "/proc/devices",
        "/sys/devices/system/cpu/possible",  # its size is a page
    )
    if os.path.exists(name)
]


@pytest.mark.parametrize("name", SIZELESS)
def test_a_file_whose_size_says_nothing(root: VeryTmpRoot, name: str) -> None:
    with open(name, "rb") as file:
        content = file.read()
    bring_in(Path(name), root / "f")
    assert there(root)["f"] == content


# -- onto and into itself ----------------------------------------------------------------------------------------------


def special(root: VeryTmpRoot) -> None:
    """What is no file, directory or symlink; and a second name for a file."""
    os.mkfifo(f"{os.fspath(root)}/fifo")
    os.mkfifo(f"{os.fspath(root)}/d/e/fifo")
    os.link(f"{os.fspath(root)}/f", f"{os.fspath(root)}/hard")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{os.fspath(root)}/socket")


def within_seconds(call: Callable[[], object]) -> Any:
    """What it does in a child that is killed if it waits for the other end of something, or finds no end.

    The names of an error are as this process would write them.
    """

    def run() -> Any:
        signal.alarm(20)
        try:
            call()
        except OSError as error:
            return error.errno, named(error.filename), named(error.filename2), getattr(error, "__notes__", [])
        return "done"

    parent = os.getpid()

    def named(path: str | None) -> str | None:
        return path and path.replace(f"/proc/{os.getpid()}/", f"/proc/{parent}/")

    return in_child(run)


@on_both_mounts
@pytest.mark.parametrize(
    ("source", "target", "follow", "number"),
    [
        ("f", "f", True, errno.EINVAL),
        ("f", "link", True, errno.EINVAL),
        ("link", "f", True, errno.EINVAL),
        ("f", "hard", True, errno.EINVAL),
        ("d/f", "dlink/f", True, errno.EINVAL),
        ("f", "d/../f", True, errno.EINVAL),
        ("link", "link", False, errno.EINVAL),
        ("link", "f", False, errno.EEXIST),
        ("link", "dlink/up", False, errno.EEXIST),
        ("d", "d", True, errno.EINVAL),
        ("d", "dlink", True, errno.EEXIST),
        ("dlink", "d", True, errno.EEXIST),
        ("d", "d/x", True, errno.EINVAL),
        ("d", "d/e/x", True, errno.EINVAL),
        ("d", "dlink/x", True, errno.EINVAL),
        ("d", "dlink/e/x", True, errno.EINVAL),
        ("d", "d/in/x", False, errno.EINVAL),
        ("d", "d/e/../x", False, errno.EINVAL),
        ("dlink", "d/x", True, errno.EINVAL),
        ("d/e/..", "d/x", True, errno.EINVAL),
        ("", "", True, errno.EINVAL),
        ("", "x", True, errno.EINVAL),
        ("", "d/x", False, errno.EINVAL),
        ("d/..", "x", False, errno.EINVAL),
        ("d/..", "d/e/x", False, errno.EINVAL),
        ("..", "dlink/x", False, errno.EINVAL),
        ("fifo", "x", True, errno.EINVAL),
        ("socket", "x", True, errno.EINVAL),
        ("missing", "x", True, errno.ENOENT),
        ("dangling", "x", True, errno.ENOENT),
        ("f/x", "y", True, errno.ENOTDIR),
        ("f", "missing/x", True, errno.ENOENT),
        ("d", "missing/x", True, errno.ENOENT),
        ("f", "d", True, errno.EISDIR),
        ("d", "f", True, errno.EEXIST),
        ("f", "x" * 256, True, errno.ENAMETOOLONG),
    ],
)
def test_a_copy_that_cannot_be(root: VeryTmpRoot, source: str, target: str, follow: bool, number: int) -> None:
    special(root)
    before = there(root)
    said = within_seconds(lambda: (root / source).copy(target, follow_symlinks=follow))
    assert said != "done"
    assert said[0] == number
    assert there(root) == before


@on_both_mounts
@pytest.mark.parametrize("target", ["", "x", "e/x", "in/x", "up/x"])
@pytest.mark.parametrize("verb", ["copy", "move"])
def test_into_itself_by_a_plain_path(root: VeryTmpRoot, verb: str, target: str) -> None:
    """Only the kernel knows that it leads back here."""
    before = there(root)
    said = within_seconds(lambda: getattr(root / "d", verb)(Path(root / "d") / target))
    assert said != "done"
    assert said[0] in (errno.EINVAL, errno.EEXIST, errno.ENOTDIR, errno.ELOOP)
    assert there(root) == before


@on_both_mounts
@pytest.mark.parametrize("name", ["f", "link"])
def test_onto_itself_by_a_plain_path(root: VeryTmpRoot, name: str) -> None:
    path, target = root / name, Path(root / "f")
    for verb in ("copy", "move"):
        number, *names, _ = failure(lambda verb=verb: getattr(path, verb)(target))  # type: ignore[misc]
        assert (number, *names) in {(errno.EINVAL, str(path), str(target)), (errno.EEXIST, "f", str(target))}
    assert there(root) == TREE


@pytest.mark.parametrize("up", ["..", ".", "/"])
def test_a_copy_that_comes_upon_itself_ends(root: VeryTmpRoot, elsewhere: Path, up: str) -> None:
    """By way of a link to what is above it."""
    os.symlink(up, f"{os.fspath(root)}/d/round")
    os.unlink(f"{os.fspath(root)}/dangling")
    said = within_seconds(lambda: (root / "d").copy(elsewhere / "x"))
    assert said[0] in (errno.EINVAL, errno.ELOOP)
    remains = there(root)
    remains.pop("there", None)
    assert remains == {name: TREE[name] for name in TREE if name != "dangling"} | {"d": D | {"round": f"-> {up}"}}


@on_both_mounts
def test_into_the_copy_of_an_ancestor(root: VeryTmpRoot) -> None:
    """What is copied holds a link to the directory in which the copy is made."""
    os.symlink("/there", f"{os.fspath(root)}/d/round")
    (root / "there").mkdir()
    said = within_seconds(lambda: (root / "d").copy("there/x"))
    assert said[0] == errno.EINVAL


# -- FIFOs, sockets, devices -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["copy", "copy_into"])
def test_what_cannot_be_copied_is_refused(root: VeryTmpRoot, elsewhere: Path, verb: str) -> None:
    special(root)
    for name in ("fifo", "socket"):
        target = elsewhere if verb == "copy_into" else elsewhere / name
        said = within_seconds(lambda name=name, target=target: getattr(root / name, verb)(target))  # type: ignore[misc]
        assert said == (errno.EINVAL, str(root / name), str(elsewhere / name), [])
    assert there(elsewhere) == {}
    said = within_seconds(lambda: (root / "d").copy(elsewhere / "d", follow_symlinks=False))
    assert said == (errno.EINVAL, str(root / "d/e/fifo"), str(elsewhere / "d/e/fifo"), [])


def test_what_cannot_be_copied_in_is_refused(root: VeryTmpRoot, host: Path) -> None:
    os.mkfifo(host / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(host / "socket"))
    for name in (host / "fifo", host / "socket", Path("/dev/null")):
        assert within_seconds(lambda name=name: bring_in(name, root / "x"))[0] == errno.EINVAL  # type: ignore[misc]
    assert there(root) == TREE


def test_a_fifo_is_moved_within_a_root(root: VeryTmpRoot) -> None:
    special(root)
    (root / "fifo").move("d/moved")
    assert stat.S_ISFIFO(os.lstat(f"{os.fspath(root)}/d/moved").st_mode)
    assert not os.path.lexists(f"{os.fspath(root)}/fifo")


@pytest.mark.parametrize("reader", [True, False])
def test_a_fifo_in_the_targets_place_stays(root: VeryTmpRoot, elsewhere: Path, reader: bool) -> None:
    """Whether or not it takes what is written, it is no half-made copy."""
    fifo = os.fspath(elsewhere / "fifo")
    os.mkfifo(fifo)

    def call() -> None:
        if reader:
            os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        (root / "f").copy(elsewhere / "fifo")

    assert within_seconds(call) is not None
    assert stat.S_ISFIFO(os.lstat(fifo).st_mode)


if os.geteuid() == 0:

    def test_a_device_in_the_targets_place_stays(root: VeryTmpRoot, host: Path) -> None:
        """Or a copy to /dev/null would be the end of it."""
        os.mknod(host / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        assert within_seconds(lambda: (root / "f").copy(host / "null")) is not None
        assert stat.S_ISCHR(os.lstat(host / "null").st_mode)


# -- metadata ----------------------------------------------------------------------------------------------------------

MODES = {"d": 0o1750, "d/f": 0o640, "d/e": 0o500, "d/e/g": 0o400, "f": 0o754, "empty": 0o2}


def dress(directory: str) -> None:
    """Give all that is in TREE permissions and times of its own."""
    for name, mode in MODES.items():
        os.chmod(f"{directory}/{name}", mode)
    age(directory)


def age(directory: str) -> None:
    for name in ("d/e/g", "d/e", "d/f", "d/up", "d/in", "d/é \udcff\n", "d", "f", "empty", "link", "dlink", "dangling"):
        os.utime(f"{directory}/{name}", ns=(ACCESSED, MODIFIED), follow_symlinks=False)


def metadata(path: Path) -> dict[str, tuple[str, int, int]]:
    """What is there, with permissions and times."""
    top = os.fspath(path)
    found = {}
    for name in [".", *(os.path.join(place, each) for place, dirs, files in os.walk(top) for each in dirs + files)]:
        status = os.lstat(os.path.join(top, name))
        found[os.path.relpath(os.path.join(top, name), top)] = (
            stat.filemode(status.st_mode),
            status.st_atime_ns,
            status.st_mtime_ns,
        )
    return found


def undress(path: Path) -> None:
    """Let it be removed."""
    for place, dirs, _ in os.walk(path):
        for name in dirs:
            if not os.path.islink(f"{place}/{name}"):
                os.chmod(f"{place}/{name}", 0o700)


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
    old = os.umask(0o027)
    try:
        (root / "d").copy(elsewhere / "d", follow_symlinks=False)
    finally:
        os.umask(old)
    found = metadata(elsewhere / "d")
    assert {name: entry[0] for name, entry in found.items()} == {
        ".": "drwxr-x---",
        "f": "-rw-r-----",
        "e": "drwxr-x---",
        "e/g": "-rw-r-----",
        "up": "lrwxrwxrwx",
        "in": "lrwxrwxrwx",
        "é \udcff\n": "-rw-r-----",
    }
    assert not {entry[1:] for entry in found.values()} & {(ACCESSED, MODIFIED)}
    undress(elsewhere)


def test_metadata_comes_in(root: VeryTmpRoot, host: Path) -> None:
    ground.make(str(host), TREE)
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
        _copy.copy_metadata(file.fileno(), fifo.fileno())
        assert os.listxattr(fifo.fileno()) == []
        assert (host / "fifo").stat().st_mtime_ns == (host / "f").stat().st_mtime_ns
        assert _copy.extended_attributes(stat.fileno()) == []
    directory = os.open(host, os.O_PATH)
    with pytest.raises(OSError) as caught:
        _copy.extended_attributes(directory)
    os.close(directory)
    assert caught.value.errno == errno.EBADF


# -- bytes and holes ---------------------------------------------------------------------------------------------------

SIZE = (8 << 20) + 5
REFUSED = {
    "nothing": (),
    "copy_file_range": ("copy_file_range",),
    "both calls": ("copy_file_range", "sendfile"),
}
LAYOUTS = {
    "holes between": [(0, 70_000), (1 << 20, 4096), ((4 << 20) - 100, 300_000), (SIZE - 9, 9)],
    "a hole at both ends": [(2 << 20, 1 << 20)],
    "no hole": [(0, SIZE)],
    "nothing but a hole": [],
}


def sparse(path: str, pieces: list[tuple[int, int]], size: int = SIZE) -> None:
    with open(path, "wb") as file:
        file.truncate(size)
        for start, length in pieces:
            os.pwrite(file.fileno(), os.urandom(length), start)


def refuse(calls: tuple[str, ...], number: int) -> None:
    """Have the kernel refuse these calls in this process, and see that it does."""
    if calls:
        kernel.seccomp(*(kernel.Rule(call, number) for call in calls))
    for name in calls:
        with pytest.raises(OSError):
            getattr(os, name)(0, 1, 0, 0) if name == "sendfile" else getattr(os, name)(0, 1, 0)


@pytest.mark.parametrize("refused", REFUSED)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_bytes_and_holes(root: VeryTmpRoot, elsewhere: Path, layout: str, refused: str) -> None:
    source, target = os.fspath(root / "big"), os.fspath(elsewhere / "copy")
    sparse(source, LAYOUTS[layout])

    def copy() -> None:
        refuse(REFUSED[refused], errno.EPERM)
        (root / "big").copy(elsewhere / "copy")

    copy() if refused == "nothing" else in_child(copy)
    assert Path(target).read_bytes() == Path(source).read_bytes()
    assert os.stat(target).st_blocks <= os.stat(source).st_blocks


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF])
def test_whatever_the_kernel_says_against_its_own_calls(host: Path, number: int) -> None:
    data = os.urandom(3_000_000)
    with VeryTmpRoot() as root:
        (root / "f").write_bytes(data)
        for calls in (("copy_file_range",), ("sendfile",), ("copy_file_range", "sendfile")):

            def copy(calls: tuple[str, ...] = calls) -> None:
                refuse(calls, number)
                (root / "f").copy("g")
                (root / "f").copy(host / "g")

            in_child(copy)
            assert there(root)["g"] == there(host)["g"] == data


def test_a_file_system_that_does_not_tell_of_holes(host: Path) -> None:
    """/proc's answers EINVAL. It is shorter than it says too."""
    with (host / "large").open("wb") as file:
        file.truncate(1 << 20)
    with open("/proc/self/maps", "rb", 0) as reading, (host / "copy").open("wb") as writing:
        _copy.copy_bytes(reading.fileno(), writing.fileno(), (host / "large").stat())
        with pytest.raises(OSError):
            _copy.copy_bytes(writing.fileno(), writing.fileno(), (host / "large").stat())
    assert b"r-xp" in (host / "copy").read_bytes()


def test_holes_come_in(root: VeryTmpRoot, host: Path) -> None:
    sparse(str(host / "big"), LAYOUTS["holes between"])
    bring_in(host / "big", root / "big")
    assert Path(root / "big").read_bytes() == (host / "big").read_bytes()
    assert os.stat(root / "big").st_blocks <= os.stat(host / "big").st_blocks


def test_a_hole_of_five_gigabytes(root: VeryTmpRoot, elsewhere: Path) -> None:
    size = 5 << 30
    sparse(os.fspath(root / "big"), [(size - 10, 5)], size)
    target = os.fspath((root / "big").copy(elsewhere / "copy"))
    assert os.stat(target).st_size == size
    assert os.stat(target).st_blocks <= os.stat(root / "big").st_blocks
    with open(target, "rb") as copied, open(root / "big", "rb") as file:
        for end in (copied, file):
            end.seek(size - 4096)
        assert copied.read() == file.read()


def test_a_longer_file_is_replaced(root: VeryTmpRoot, elsewhere: Path) -> None:
    for name, size in (("big", SIZE), ("small", 100_000), ("hole", 0)):
        sparse(os.fspath(root / name), [(0, size)], max(size, 5000))
    for name in ("big", "small", "hole", "f", "empty"):
        (root / name).copy(elsewhere / "x")
        assert there(elsewhere)["x"] == there(root)[name]


# -- no room -----------------------------------------------------------------------------------------------------------

NOTE = "The target, of which only a part was written, is removed."


@pytest.mark.parametrize("refused", REFUSED)
@pytest.mark.parametrize("verb", ["copy", "copy_into", "move", "move_into"])
def test_a_file_that_does_not_fit_is_not_there(root: VeryTmpRoot, verb: str, refused: str) -> None:
    sparse(os.fspath(root / "big"), [(0, 3 << 20)])
    before = there(root)
    with VeryTmpRoot(size="1m") as other:
        (other / "kept").write_bytes(b"x" * 1000)
        target = other.path if verb.endswith("into") else other / "big"

        def call() -> object:
            refuse(REFUSED[refused], errno.EPERM)
            return getattr(root / "big", verb)(target)

        assert within_seconds(call) == (errno.ENOSPC, str(root / "big"), str(other / "big"), [NOTE])
        assert there(other) == {"kept": b"x" * 1000}
        assert other.usage().used < 100_000
    assert there(root) == before


def test_nor_in_its_own_root() -> None:
    with VeryTmpRoot(size="1m") as root:
        data = os.urandom(700_000)
        (root / "f").write_bytes(data)
        said = failure(lambda: (root / "f").copy("g"))
        assert said == (errno.ENOSPC, str(root / "f"), str(root / "g"), [NOTE])
        assert there(root) == {"f": data}
        (root / "f").move("g")
        assert there(root) == {"g": data}


def test_nor_when_it_comes_in(host: Path) -> None:
    sparse(str(host / "f"), [(0, 3 << 20)])
    with VeryTmpRoot(size="1m") as root:
        said = failure(lambda: bring_in(host / "f", root / "g"))
        assert said == (errno.ENOSPC, str(host / "f"), str(root / "g"), [NOTE])
        assert there(root) == {}


def test_nor_by_way_of_a_link(root: VeryTmpRoot) -> None:
    """What was written a part of is what the link leads to."""
    sparse(os.fspath(root / "big"), [(0, 3 << 20)])
    with VeryTmpRoot(size="1m") as other:
        (other / "link").symlink_to("real")
        assert failure(lambda: (root / "big").copy(other / "link"))[0] == errno.ENOSPC
        assert "real" not in there(other)
        assert other.usage().used < 100_000


def test_nor_beyond_the_limit_of_a_files_size(root: VeryTmpRoot, elsewhere: Path) -> None:
    sparse(os.fspath(root / "big"), [(0, 3 << 20)])

    def call() -> object:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        return (root / "big").copy(elsewhere / "big")

    assert within_seconds(call) == (errno.EFBIG, str(root / "big"), str(elsewhere / "big"), [NOTE])
    assert there(elsewhere) == {}


def test_what_is_gone_already_is_not_removed(root: VeryTmpRoot) -> None:
    path = root / "gone"
    with path.open("wb") as file:
        path.unlink()
        assert not _copy.removed(path, file.fileno())
        path.write_bytes(b"another one")
        assert not _copy.removed(path, file.fileno())
    assert path.read_bytes() == b"another one"


def test_nor_when_it_is_interrupted(root: VeryTmpRoot, elsewhere: Path) -> None:
    (root / "f").write_bytes(b"potatoes" * 10_000)  # less is copied by two calls, between which no event is

    def interrupt(event: str, _: object) -> None:
        if event == "os.truncate":
            raise KeyboardInterrupt

    def call() -> str:
        sys.addaudithook(interrupt)  # for good
        try:
            (root / "f").copy(elsewhere / "x")
        except KeyboardInterrupt:
            return "interrupted"
        return "not interrupted"

    assert in_child(call) == "interrupted"
    assert there(elsewhere) == {}


def test_of_a_tree_the_files_that_fit_are_whole(root: VeryTmpRoot) -> None:
    for name in ("1", "2", "3", "4"):
        sparse(os.fspath(root / "d" / name), [(0, 400_000)], 400_000)
    sources: Any = there(root / "d")
    with VeryTmpRoot(size="1m") as other:
        number, _, target, notes = failure(lambda: (root / "d").move(other / "d"))
        assert (number, notes) == (errno.ENOSPC, [NOTE])
        copied: Any = there(other)["d"]
        assert os.path.basename(str(target)) not in copied
        assert {name: copied[name] for name in copied if name in "1234"}
        assert all(sources[name] == content for name, content in copied.items())
    assert there(root / "d") == sources


def test_no_room_for_another_name(root: VeryTmpRoot) -> None:
    with VeryTmpRoot(nr_inodes=3) as other:
        (root / "f").copy(other / "1")
        (root / "link").copy(other / "2", follow_symlinks=False)
        for name in ("f", "d", "link"):
            path, target = root / name, other / "3"
            assert failure(lambda path=path, target=target: path.move(target))[0] == errno.ENOSPC  # type: ignore[misc]
        assert there(other) == {"1": b"potatoes", "2": "-> f"}
    assert there(root) == TREE


# -- move --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", PLACES, indirect=True)
@pytest.mark.parametrize(
    ("source", "target", "change"),
    [
        ("f", "new", {"new": b"potatoes"}),
        ("f", "empty", {"empty": b"potatoes"}),
        ("f", "dangling", {"dangling": b"potatoes"}),
        ("link", "new", {"new": "-> f"}),
        ("dlink", "new", {"new": "-> d"}),
        ("dangling", "new", {"new": "-> missing"}),
        ("d", "new", {"new": D}),
        ("dlink/f", "new", {"d": {name: D[name] for name in D if name != "f"}, "new": b"d/f"}),
        ("f", "dlink/f", {"d": D | {"f": b"potatoes"}}),
    ],
)
def test_move(base: Any, source: str, target: str, change: ground.Tree) -> None:
    ground.make(os.fspath(base), TREE)
    inode = os.lstat((base / source).parent.resolve() / (base / source).name).st_ino
    result = (base / source).move(base / target)
    assert result == base / target
    assert type(result) is type(base)
    assert there(base) == {name: TREE[name] for name in TREE if name != source} | change
    assert os.lstat((base / target).parent.resolve() / (base / target).name).st_ino == inode


def test_move_anywhere(root: VeryTmpRoot, elsewhere: Path) -> None:
    """All as it is: links as links, permissions and times kept."""
    os.chmod(f"{os.fspath(root)}/d/f", 0o604)
    os.chmod(f"{os.fspath(root)}/d", 0o710)
    age(os.fspath(root))
    before = metadata(root / "d")
    result = (root / "d").move(elsewhere / "new")
    assert result == elsewhere / "new"
    assert type(result) is type(elsewhere)
    assert metadata(elsewhere / "new") == before
    assert (root / "link").move_into(elsewhere) == elsewhere / "link"
    assert metadata(elsewhere)["link"] == ("lrwxrwxrwx", ACCESSED, MODIFIED)
    assert (root / "f").move_into(elsewhere) == elsewhere / "f"
    assert (root / "dangling").move(elsewhere / "dangling") == elsewhere / "dangling"
    assert there(elsewhere) == {"new": D, "link": "-> f", "f": b"potatoes", "dangling": "-> missing"}
    remains = there(root)
    remains.pop("there", None)
    assert remains == {"empty": b"", "dlink": "-> d"}


def test_a_moved_link_leaves_what_it_leads_to(root: VeryTmpRoot, elsewhere: Path) -> None:
    (root / "dlink").move_into(elsewhere)
    (root / "d" / "in").move_into(elsewhere)
    assert there(elsewhere) == {"dlink": "-> d", "in": "-> e"}
    assert there(root)["d"] == {name: D[name] for name in D if name != "in"}


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("d", "missing/x"),
        ("f", "missing/x"),
        ("link", "missing/x"),
        ("d", "a file"),
        ("d", "a directory"),
        ("f", "a directory"),
        ("link", "a directory"),
        ("d", "a file/x"),
        ("f", "a file/x"),
        ("d", "x" * 256),
        ("missing", "x"),
        ("d", "nul\0"),
    ],
)
def test_a_move_that_fails_loses_nothing(root: VeryTmpRoot, elsewhere: Path, source: str, target: str) -> None:
    os.mkdir(elsewhere / "a directory")
    (elsewhere / "a directory" / "x").write_bytes(b"x")
    (elsewhere / "a file").write_bytes(b"y")
    before, around = there(root), there(elsewhere)
    with pytest.raises(ValueError if "\0" in target else OSError):
        (root / source).move(elsewhere / target)
    assert there(root) == before
    assert there(elsewhere) == around


def test_a_tree_that_cannot_be_copied_stays(root: VeryTmpRoot, host: Path) -> None:
    special(root)
    before = there(root)
    with VeryTmpRoot() as other:
        for target in (other / "x", host / "x"):
            said = within_seconds(lambda target=target: (root / "d").move(target))  # type: ignore[misc]
            assert said[0] == errno.EINVAL
            assert there(root) == before


@on_both_mounts
@pytest.mark.parametrize(
    ("source", "target"), [("d", "d"), ("d", "d/x"), ("d", "d/e/x"), ("d", "dlink/x"), ("d", "d/in/x"), ("f", "link")]
)
def test_a_move_into_itself(root: VeryTmpRoot, source: str, target: str) -> None:
    before = there(root)
    assert failure(lambda: (root / source).move(target))[0] == errno.EINVAL
    assert failure(lambda: (root / source).move(root / target))[0] == errno.EINVAL
    assert there(root) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into every directory")
def test_what_may_not_be_read_stays(root: VeryTmpRoot, elsewhere: Path) -> None:
    os.chmod(f"{os.fspath(root)}/f", 0)
    os.chmod(f"{os.fspath(root)}/d/e", 0)
    try:
        assert failure(lambda: (root / "f").copy(elsewhere / "f"))[0] == errno.EACCES
        assert failure(lambda: (root / "d" / "e").copy(elsewhere / "e"))[0] == errno.EACCES
        assert there(elsewhere) == {}
        if not isinstance(elsewhere, VeryTmpPath):
            assert failure(lambda: (root / "d").move(elsewhere / "d"))[0] == errno.EACCES
    finally:
        os.chmod(f"{os.fspath(root)}/f", 0o600)
        os.chmod(f"{os.fspath(root)}/d/e", 0o700)
    remains = there(root)
    remains.pop("there", None)
    assert remains == TREE


# -- the rest ----------------------------------------------------------------------------------------------------------


def test_no_descriptor_is_left(root: VeryTmpRoot, elsewhere: Path) -> None:
    special(root)
    before = ground.descriptors()
    for source, target, follow in (
        ("f", "1", True),
        ("dlink", "2", False),
        ("f", "missing/x", True),
        ("missing", "x", True),
        ("d", "2", True),
        ("fifo", "4", True),
        ("d", "5", True),
    ):
        try:
            (root / source).copy(elsewhere / target, follow_symlinks=follow, preserve_metadata=True)
            if follow:
                (root / source).move(elsewhere / target)
        except OSError:
            pass
        assert ground.new_descriptors(before) == {}


def test_a_closed_root(root: VeryTmpRoot, elsewhere: Path) -> None:
    with VeryTmpRoot() as other:
        (other / "f").write_bytes(b"f")
        path = other / "f"
    for verb in ("copy", "copy_into", "move", "move_into"):
        with pytest.raises(ValueError, match="closed"):
            getattr(path, verb)(elsewhere)
        with pytest.raises(ValueError, match="closed"):
            getattr(root / "f", verb)(path)
        with pytest.raises(ValueError, match="closed"):
            getattr(root / "d", verb)(path)
    assert there(elsewhere) == {}
    remains = there(root)
    remains.pop("there", None)
    assert remains == TREE


@pytest.mark.parametrize("target", [b"x", 1, None])
def test_a_target_that_is_none(root: VeryTmpRoot, target: Any) -> None:
    for verb in ("copy", "copy_into", "move", "move_into"):
        with pytest.raises(TypeError):
            getattr(root / "f", verb)(target)
    assert there(root) == TREE


# -- what an adversary found -------------------------------------------------------------------------------------------


@pytest.fixture
def bare() -> Iterator[VeryTmpRoot]:
    with VeryTmpRoot() as made:
        yield made


def test_nothing_half_copied_by_a_plain_path_to_a_root(bare: VeryTmpRoot) -> None:
    """Whose own way to canonicalise it leads nowhere."""
    (bare / "big").write_bytes(b"x" * (3 << 20))
    with VeryTmpRoot(size="1m") as other:
        with pytest.raises(OSError) as caught:
            (bare / "big").copy(Path(other / "t"))
        assert caught.value.errno == errno.ENOSPC
        assert "removed" in caught.value.__notes__[0]
        assert os.listdir(os.fspath(other)) == []


def test_deleting_what_was_moved_follows_no_link(bare: VeryTmpRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory is exchanged for a link to another one, when its files are about to be deleted."""
    ground.make(bare.fileno(), {"src": {"sub": {"f1": b"1", "f2": b"2"}}, "victim": {"f1": b"1", "f2": b"2"}})
    unlink = os.unlink

    def exchange(name: str, *, dir_fd: int) -> None:
        monkeypatch.undo()
        os.rename("src/sub", "moved", src_dir_fd=bare.fileno(), dst_dir_fd=bare.fileno())
        os.symlink("../victim", "src/sub", dir_fd=bare.fileno())
        unlink(name, dir_fd=dir_fd)

    with VeryTmpRoot() as other:
        monkeypatch.setattr(os, "unlink", exchange)
        (bare / "src").move(other / "dst")
        assert there(other)["dst"] == {"sub": {"f1": b"1", "f2": b"2"}}
    assert there(bare)["victim"] == {"f1": b"1", "f2": b"2"}


def test_what_a_copy_returns_is_asked_anew(bare: VeryTmpRoot) -> None:
    (bare / "f").touch()
    new = bare / "new"
    assert not new.info.exists()
    assert (bare / "f").copy(new).info.exists()
    with VeryTmpRoot() as other:
        moved = other / "moved"
        assert not moved.info.exists()
        assert (bare / "f").move(moved).info.exists()


def test_a_root_itself_is_not_moved(bare: VeryTmpRoot) -> None:
    (bare / "f").touch()
    with VeryTmpRoot() as other:
        assert failure(lambda: bare.path.move(other / "x"))[0] == errno.EBUSY
        assert there(other) == {}
    assert there(bare) == {"f": b""}


def test_a_closed_root_comes_first(bare: VeryTmpRoot) -> None:
    bare.close()
    for call in (
        bare.path.resolve,
        (bare.path / "..").resolve,
        lambda: bare.path.copy("/x"),
        lambda: bare.path.copy_into("/x"),
        lambda: bare.path.move("/x"),
        lambda: bare.path.move_into("/x"),
    ):
        with pytest.raises(ValueError, match="closed"):
            call()


def test_another_root_as_a_target(bare: VeryTmpRoot) -> None:
    (bare / "f").touch()
    with VeryTmpRoot() as other:
        for verb in ("rename", "replace", "hardlink_to", "symlink_to"):
            assert failure(lambda verb=verb: getattr(bare / "f", verb)(other))[0] == errno.EXDEV  # type: ignore[misc]
    with os.scandir(os.fspath(bare)) as entries:
        assert [(bare / "f").samefile(entry) for entry in entries] == [True]
