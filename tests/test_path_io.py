"""What a path does to files, with pathlib itself in the same table. What is really there is asked of os."""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import ground, kernel
from support.children import in_child

from verytmp import VeryTmpPath, VeryTmpRoot

TREE: ground.Tree = {
    "f": b"potatoes",
    "empty": b"",
    "text": b"one\r\ntwo\rthree\n",
    "latin": b"caf\xe9",
    "d": {"f": b"d/f", "e": {}},
    "link": "-> f",
    "dlink": "-> d",
    "chain": "-> dlink",
    "dangling": "-> missing",
    "loop": "-> loop",
    "up": "-> d/..",
}


@pytest.fixture
def tree(base: Path) -> Path:
    ground.make(os.fspath(base), TREE)
    return base


def there(base: Path) -> ground.Tree:
    return ground.look(os.fspath(base))


def failure(call: Callable[[], object]) -> tuple[int | None, str, str | None]:
    """A call's errno, and the names that it gives."""
    with pytest.raises(OSError) as caught:
        call()
    error = caught.value
    assert type(error) is type(OSError(error.errno, ""))
    return error.errno, error.filename, error.filename2


# -- looking -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("f", "f"),
        ("d", "d"),
        ("d/f", "d/f"),
        ("link", "f"),
        ("dlink", "d"),
        ("dlink/f", "d/f"),
        ("chain/e", "d/e"),
        ("d/../f", "f"),
        ("up/f", "f"),
        ("up", "."),
        ("", "."),
    ],
)
def test_stat(tree: Path, name: str, where: str) -> None:
    assert os.path.samestat((tree / name).stat(), os.lstat(f"{plain(tree)}/{where}"))


def plain(tree: Path) -> str:
    """A tree's string, for os."""
    return os.fspath(tree)


@pytest.mark.parametrize("name", ["f", "link", "dlink", "dangling", "loop", "dlink/f"])
def test_lstat(tree: Path, name: str) -> None:
    status = (tree / name).lstat()
    assert stat.S_ISLNK(status.st_mode) == (name in ("link", "dlink", "dangling", "loop"))
    assert (tree / name).stat(follow_symlinks=False) == status


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("f", "exists is_file"),
        ("d", "exists is_dir"),
        ("link", "exists is_file"),
        ("dlink", "exists is_dir"),
        ("chain", "exists is_dir"),
        ("up", "exists is_dir"),
        ("up/up/up/f", "exists is_file"),
        ("dangling", ""),
        ("loop", ""),
        ("missing", ""),
        ("missing/f", ""),
        ("f/x", ""),
        ("d/../f", "exists is_file"),
        ("nul\0", ""),
        ("\ud800", ""),
        ("", "exists is_dir"),
    ],
)
def test_kinds(tree: Path, name: str, kinds: str) -> None:
    path = tree / name
    assert [kind for kind in ("exists", "is_dir", "is_file") if getattr(path, kind)()] == kinds.split()


def test_kinds_without_following(root: VeryTmpRoot) -> None:
    ground.make(root.fileno(), TREE)
    for name, exists, is_dir, is_file in (
        ("f", True, False, True),
        ("d", True, True, False),
        ("dangling", True, False, False),
        ("dlink", True, False, False),
        ("link", True, False, False),
        ("missing", False, False, False),
    ):
        path = root / name
        assert path.exists(follow_symlinks=False) == exists
        assert path.is_dir(follow_symlinks=False) == is_dir
        assert path.is_file(follow_symlinks=False) == is_file


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into every directory")
def test_kinds_where_nobody_may_look(tree: Path) -> None:
    os.chmod(f"{plain(tree)}/d", 0)
    try:
        path = tree / "d" / "f"
        if sys.version_info >= (3, 14):
            assert not path.exists()
        else:
            assert failure(path.exists) == (errno.EACCES, str(path), None)
        assert failure(path.stat) == (errno.EACCES, str(path), None)
    finally:
        os.chmod(f"{plain(tree)}/d", 0o700)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into every directory")
def test_what_may_be_listed_and_not_searched(tree: Path) -> None:
    """As the host has it: a directory's name, or a link to it that ends in "/", is enough to list it."""
    os.symlink("d/", f"{plain(tree)}/slashed")
    for path, closed in ((tree / "d", "d"), (tree / "slashed", "d"), (tree, "")):
        os.chmod(f"{plain(tree)}/{closed}", 0o400)
        try:
            assert [entry.name for entry in path.iterdir()]
            assert stat.S_IMODE(path.stat().st_mode) == 0o400
            if path == tree:
                for act, number in (
                    (path.mkdir, errno.EEXIST),
                    (path.unlink, errno.EISDIR),
                    (path.readlink, errno.EINVAL),
                ):
                    assert failure(act) == (number, str(path), None)
        finally:
            path.chmod(0o700)
        assert stat.S_IMODE(os.stat(f"{plain(tree)}/{closed}").st_mode) == 0o700


# -- reading and writing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["f", "link", "dlink/f", "chain/f", "empty", "up/f", "d/../f", "d/../d/./f"])
def test_read(tree: Path, name: str) -> None:
    content = {"f": b"potatoes", "link": b"potatoes", "empty": b"", "up/f": b"potatoes", "d/../f": b"potatoes"}
    assert (tree / name).read_bytes() == content.get(name, b"d/f")
    assert (tree / name).read_text() == content.get(name, b"d/f").decode()
    with (tree / name).open("rb") as file:
        assert file.read() == content.get(name, b"d/f")


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 65536, 65537, 3 << 20])
def test_sizes(base: Path, size: int) -> None:
    data = os.urandom(size)
    path = base / "f"
    assert path.write_bytes(data) == size
    assert there(base) == {"f": data}
    assert path.read_bytes() == data


def test_read_what_knows_no_size(base: Path) -> None:
    os.mkfifo(f"{plain(base)}/fifo")
    for size in (0, 1, 65536, 65537, 200_000):
        pid = os.fork()
        if pid == 0:
            try:
                with open(f"{plain(base)}/fifo", "wb") as file:
                    file.write(b"x" * size)
            finally:
                os._exit(0)
        assert (base / "fifo").read_bytes() == b"x" * size
        os.waitpid(pid, 0)


def test_write_replaces(tree: Path) -> None:
    for name in ("f", "link", "dangling"):
        assert (tree / name).write_bytes(name.encode()) == len(name)
        assert (tree / name).write_text(f"{name}!") == len(name) + 1
    assert there(tree) == TREE | {"f": b"link!", "missing": b"dangling!"}


@pytest.mark.parametrize("data", [bytearray(b"abc"), memoryview(b"abc"), memoryview(b"a_b_c_")[::2].tobytes()])
def test_write_any_buffer(base: Path, data: Any) -> None:
    assert (base / "f").write_bytes(data) == 3
    assert there(base)["f"] == bytes(data)


def test_write_a_buffer_of_numbers(base: Path) -> None:
    import array

    numbers = array.array("i", [1, 2, 3])
    assert (base / "f").write_bytes(numbers) == 12
    assert there(base)["f"] == numbers.tobytes()


@pytest.mark.parametrize(
    ("text", "arguments", "data"),
    [
        ("potatoes", {}, b"potatoes"),
        ("", {}, b""),
        ("é\n", {"encoding": "utf-8"}, b"\xc3\xa9\n"),
        ("é", {"encoding": "latin-1"}, b"\xe9"),
        ("é", {"encoding": "ascii", "errors": "replace"}, b"?"),
        ("é", {"encoding": "utf-16-le"}, b"\xe9\0"),
        ("é", {"encoding": "utf-8-sig"}, b"\xef\xbb\xbf\xc3\xa9"),
        ("a\nb\r\nc", {"newline": ""}, b"a\nb\r\nc"),
        ("a\nb", {"newline": "\r\n"}, b"a\r\nb"),
        ("a\nb", {"newline": "\r"}, b"a\rb"),
        ("a\nb", {"newline": "\n"}, b"a\nb"),
    ],
)
def test_write_text(base: Path, text: str, arguments: dict[str, str], data: bytes) -> None:
    assert (base / "f").write_text(text, **arguments) == len(text)
    assert there(base) == {"f": data}


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("text", {}, "one\ntwo\nthree\n"),
        ("text", {"newline": ""}, "one\r\ntwo\rthree\n"),
        ("text", {"newline": "\n"}, "one\r\ntwo\rthree\n"),
        ("latin", {"encoding": "latin-1"}, "café"),
        ("latin", {"encoding": "utf-8", "errors": "ignore"}, "caf"),
        ("latin", {"encoding": "utf-8", "errors": "surrogateescape"}, "caf\udce9"),
    ],
)
def test_read_text(tree: Path, name: str, arguments: dict[str, str], text: str) -> None:
    if "newline" in arguments and sys.version_info < (3, 13) and not isinstance(tree, VeryTmpPath):
        arguments = {}  # pathlib has it since 3.13
        text = "one\ntwo\nthree\n"
    assert (tree / name).read_text(**arguments) == text


def test_text_that_cannot_be(tree: Path) -> None:
    with pytest.raises(UnicodeDecodeError):
        (tree / "latin").read_text("utf-8")
    with pytest.raises(TypeError, match="data must be str, not bytes"):
        (tree / "f").write_text(b"x")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        (tree / "f").write_bytes("x")  # type: ignore[arg-type]
    for read in ((tree / "f").read_text, (tree / "f").open):
        with pytest.raises(LookupError):
            read(encoding="no such encoding")
    with pytest.raises(ValueError):
        (tree / "f").open(newline="x")
    assert there(tree) == TREE


def test_text_that_cannot_be_encoded_leaves_the_file(root: VeryTmpRoot) -> None:
    """pathlib has emptied it by then."""
    (root / "f").write_text("potatoes")
    with pytest.raises(UnicodeEncodeError):
        (root / "f").write_text("\ud800", encoding="utf-8")
    with pytest.raises(ValueError):
        (root / "f").write_text("x", newline="x")
    assert there(root.path) == {"f": b"potatoes"}


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("r", io.TextIOWrapper),
        ("rb", io.BufferedReader),
        ("r+b", io.BufferedRandom),
        ("wb", io.BufferedWriter),
        ("a", io.TextIOWrapper),
        ("x", io.TextIOWrapper),
    ],
)
def test_open(tree: Path, mode: str, kind: type) -> None:
    path = tree / ("new" if mode == "x" else "f")
    with path.open(mode) as file:
        assert type(file) is kind
        assert file.name == str(path)
        assert not os.get_inheritable(file.fileno())
    with path.open("rb", buffering=0) as raw:
        assert type(raw) is io.FileIO


def test_open_modes(tree: Path) -> None:
    with (tree / "f").open("a") as file:
        file.write("!")
    with (tree / "f").open("r+") as file:
        file.write("P")
    with (tree / "new").open("x") as file:
        file.write("n")
    with (tree / "dangling").open("w") as file:
        file.write("m")
    assert there(tree) == TREE | {"f": b"Potatoes!", "new": b"n", "missing": b"m"}
    assert failure(lambda: (tree / "new").open("x"))[0] == errno.EEXIST
    assert failure(lambda: (tree / "link").open("x"))[0] == errno.EEXIST


def test_encoding_warnings_name_the_caller(root: VeryTmpRoot) -> None:
    import subprocess

    code = """
from verytmp import VeryTmpRoot
path = VeryTmpRoot() / "f"
path.write_text("x")
path.read_text()
path.open().close()
"""
    command = [sys.executable, "-X", "warn_default_encoding", "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [line.split(":")[:2] for line in result.stderr.splitlines() if "EncodingWarning" in line] == [
        ["<string>", "4"],
        ["<string>", "5"],
        ["<string>", "6"],
    ]


def test_what_is_known_of_a_path_has_a_name(base: Path) -> None:
    if isinstance(base, VeryTmpPath):
        assert repr(base.info) == "<VeryTmpPath.info>"


@pytest.mark.parametrize("umask", [0o027, 0], ids=oct)
def test_new_files_have_the_umasks_mode(base: Path, umask: int) -> None:
    old = os.umask(umask)
    try:
        (base / "bytes").write_bytes(b"")
        (base / "text").write_text("")
        (base / "open").open("w").close()
        (base / "touch").touch()
        (base / "private").touch(0o600)
        (base / "d").mkdir()
        (base / "shut").mkdir(0o500)
    finally:
        os.umask(old)
    modes = {name: oct(os.lstat(f"{plain(base)}/{name}").st_mode & 0o7777) for name in os.listdir(base)}
    assert modes == {
        "bytes": oct(0o666 & ~umask),
        "text": oct(0o666 & ~umask),
        "open": oct(0o666 & ~umask),
        "touch": oct(0o666 & ~umask),
        "private": "0o600",
        "d": oct(0o777 & ~umask),
        "shut": "0o500",
    }


# -- entries -----------------------------------------------------------------------------------------------------------


def test_iterdir(tree: Path) -> None:
    assert {path.name for path in tree.iterdir()} == set(TREE)
    assert {path.name for path in (tree / "chain").iterdir()} == {"f", "e"}
    assert list((tree / "d" / "e").iterdir()) == []
    for path in tree.iterdir():
        assert type(path) is type(tree)
        assert path.parent == tree
    if isinstance(tree, VeryTmpPath):
        assert sorted(map(str, tree.iterdir())) == sorted(str(tree) + name for name in TREE)


def test_mkdir(tree: Path) -> None:
    (tree / "new").mkdir()
    (tree / "new" / "deep" / "er").mkdir(parents=True)
    (tree / "dlink" / "x").mkdir()
    (tree / "d" / ".." / "y").mkdir()
    (tree / "d").mkdir(exist_ok=True)
    (tree / "dlink").mkdir(exist_ok=True)
    (tree / "d" / "e" / ".." / "z").mkdir(parents=True)
    (tree / "p" / ".." / "q").mkdir(parents=True)
    tree.mkdir(exist_ok=True, parents=True)
    expected = TREE | {"new": {"deep": {"er": {}}}, "y": {}, "p": {}, "q": {}}
    expected["d"] = {"f": b"d/f", "e": {}, "x": {}, "z": {}}
    assert there(tree) == expected


def test_mkdir_parents_have_their_own_mode(root: VeryTmpRoot) -> None:
    (root / "a" / "b" / "c").mkdir(0o750, parents=True, parent_mode=0o700)
    assert [oct((root / name).stat().st_mode & 0o777) for name in ("a", "a/b", "a/b/c")] == ["0o700", "0o700", "0o750"]


def test_unlink_and_rmdir(tree: Path) -> None:
    for name in ("f", "link", "dangling", "loop", "dlink/f"):
        (tree / name).unlink()
    (tree / "missing").unlink(missing_ok=True)
    (tree / "d" / "e").rmdir()
    (tree / "dlink").unlink()
    (tree / "d" / ".." / "chain").unlink()
    assert there(tree) == {"empty": b"", "text": TREE["text"], "latin": b"caf\xe9", "d": {}, "up": "-> d/.."}


def test_touch(base: Path) -> None:
    (base / "f").touch()
    (base / "f").touch(exist_ok=True)
    assert there(base) == {"f": b""}
    os.utime(f"{plain(base)}/f", (1, 1))
    (base / "f").touch()
    assert os.stat(f"{plain(base)}/f").st_mtime > 1e9
    assert failure(lambda: (base / "f").touch(exist_ok=False))[0] == errno.EEXIST
    os.symlink("f", f"{plain(base)}/link")
    os.utime(f"{plain(base)}/f", (1, 1))
    (base / "link").touch()
    assert os.stat(f"{plain(base)}/f").st_mtime > 1e9
    os.symlink("new", f"{plain(base)}/dangling")
    (base / "dangling").touch()
    assert there(base) == {"f": b"", "link": "-> f", "dangling": "-> new", "new": b""}


@pytest.mark.parametrize("verb", ["rename", "replace"])
def test_rename(tree: Path, verb: str) -> None:
    def move(source: str, target: str) -> None:
        result = getattr(tree / source, verb)(tree / target)
        assert result == tree / target
        assert type(result) is type(tree)

    move("f", "g")
    move("dlink/f", "h")
    move("link", "empty")  # a symlink itself; and over a file
    move("d", "dd")
    move("dd/../text", "dd/text")
    move("loop", "dd/loop")
    assert there(tree) == {
        "g": b"potatoes",
        "h": b"d/f",
        "empty": "-> f",
        "latin": b"caf\xe9",
        "dd": {"e": {}, "text": TREE["text"], "loop": "-> loop"},
        "dlink": "-> d",
        "chain": "-> dlink",
        "dangling": "-> missing",
        "up": "-> d/..",
    }


def test_a_renames_words_are_read_in_the_root(root: VeryTmpRoot) -> None:
    from pathlib import PurePosixPath

    (root / "d").mkdir()
    (root / "d" / "f").write_text("f")
    assert (root / "d" / "f").rename("g") == root / "g"
    assert (root / "g").rename("/d/h") == root / "d" / "h"
    assert (root / "d/h").rename(PurePosixPath("i")) == root / "i"
    assert (root / "i").rename(str(root / "j")) == root / "j"
    assert (root / "j").rename(Path(root / "k")) == root / "k"
    assert there(root.path) == {"d": {}, "k": b"f"}


def test_a_rename_out_of_the_root_is_another_file_system(root: VeryTmpRoot, host: Path) -> None:
    with VeryTmpRoot() as other:
        path = root / "f"
        path.write_text("f")
        for target in (host / "f", Path("f"), other / "f"):
            assert failure(lambda target=target: path.rename(target)) == (errno.EXDEV, str(path), str(target))  # type: ignore[misc]
            assert failure(lambda target=target: path.replace(target))[0] == errno.EXDEV  # type: ignore[misc]
        assert there(root.path) == {"f": b"f"}
        assert there(other.path) == {}
        assert list(host.iterdir()) == []


# -- failures: the kernel's errno, and the path's own string -----------------------------------------------------------

FAILURES: list[tuple[str, Callable[[Path], object], int]] = [
    ("missing", lambda p: p.stat(), errno.ENOENT),
    ("missing", lambda p: p.lstat(), errno.ENOENT),
    ("missing/x", lambda p: p.stat(), errno.ENOENT),
    ("f/x", lambda p: p.stat(), errno.ENOTDIR),
    ("loop", lambda p: p.stat(), errno.ELOOP),
    ("loop/x", lambda p: p.stat(), errno.ELOOP),
    ("dangling", lambda p: p.stat(), errno.ENOENT),
    ("x" * 256, lambda p: p.stat(), errno.ENAMETOOLONG),
    ("d/../missing", lambda p: p.stat(), errno.ENOENT),
    ("f/..", lambda p: p.stat(), errno.ENOTDIR),
    ("missing", lambda p: p.open(), errno.ENOENT),
    ("missing/x", lambda p: p.open("w"), errno.ENOENT),
    ("d", lambda p: p.open(), errno.EISDIR),
    ("d", lambda p: p.open("w"), errno.EISDIR),
    ("d", lambda p: p.read_bytes(), errno.EISDIR),
    ("dlink", lambda p: p.read_text(), errno.EISDIR),
    ("d", lambda p: p.write_bytes(b""), errno.EISDIR),
    ("loop", lambda p: p.write_text(""), errno.ELOOP),
    ("missing/x", lambda p: p.write_bytes(b""), errno.ENOENT),
    ("f", lambda p: p.mkdir(), errno.EEXIST),
    ("f", lambda p: p.mkdir(exist_ok=True), errno.EEXIST),
    ("f", lambda p: p.mkdir(parents=True, exist_ok=True), errno.EEXIST),
    ("d", lambda p: p.mkdir(), errno.EEXIST),
    ("link", lambda p: p.mkdir(exist_ok=True), errno.EEXIST),
    ("dangling", lambda p: p.mkdir(exist_ok=True), errno.EEXIST),
    ("missing/x", lambda p: p.mkdir(), errno.ENOENT),
    ("f/x", lambda p: p.mkdir(parents=True), errno.ENOTDIR),
    ("missing", lambda p: p.unlink(), errno.ENOENT),
    ("d", lambda p: p.unlink(), errno.EISDIR),
    ("f/x", lambda p: p.unlink(missing_ok=True), errno.ENOTDIR),
    ("d", lambda p: p.rmdir(), errno.ENOTEMPTY),
    ("f", lambda p: p.rmdir(), errno.ENOTDIR),
    ("dlink", lambda p: p.rmdir(), errno.ENOTDIR),
    ("missing", lambda p: p.rmdir(), errno.ENOENT),
    ("d/..", lambda p: p.rmdir(), errno.ENOTEMPTY),
    ("missing", lambda p: list(p.iterdir()), errno.ENOENT),
    ("f", lambda p: list(p.iterdir()), errno.ENOTDIR),
    ("loop", lambda p: list(p.iterdir()), errno.ELOOP),
    ("missing/x", lambda p: p.touch(), errno.ENOENT),
    ("f", lambda p: p.touch(exist_ok=False), errno.EEXIST),
]


@pytest.mark.parametrize(
    ("name", "call", "number"), FAILURES, ids=[f"{name[:9]}-{index}" for index, (name, *_) in enumerate(FAILURES)]
)
def test_failures(tree: Path, name: str, call: Callable[[Path], object], number: int) -> None:
    path = tree / name
    said = failure(lambda: call(path))
    assert said[0] == number
    assert said[1] == str(path)
    assert there(tree) == TREE


@pytest.mark.parametrize(
    ("source", "target", "number"),
    [
        ("missing", "x", errno.ENOENT),
        ("f", "missing/x", errno.ENOENT),
        ("f", "d", errno.EISDIR),
        ("d", "f", errno.ENOTDIR),
        ("d", "d/e/x", errno.EINVAL),
        ("f", "f/x", errno.ENOTDIR),
        ("d/e", "d", errno.ENOTEMPTY),
        ("d/..", "x", errno.EBUSY),
    ],
)
def test_rename_failures(tree: Path, source: str, target: str, number: int) -> None:
    said = failure(lambda: (tree / source).rename(tree / target))
    assert said == (number, str(tree / source), str(tree / target))
    assert there(tree) == TREE


def test_the_root_itself_is_no_entry(root: VeryTmpRoot) -> None:
    """As "/" is none after chroot(2)."""
    ground.make(root.fileno(), TREE)
    path = root.path
    for call, number in (
        (lambda: path.rmdir(), errno.EBUSY),
        (lambda: path.unlink(), errno.EISDIR),
        (lambda: path.mkdir(), errno.EEXIST),
        (lambda: path.rename("x"), errno.EBUSY),
        (lambda: (root / "d").rename("/"), errno.EBUSY),
        (lambda: path.write_bytes(b""), errno.EISDIR),
        (lambda: (root / "..").rmdir(), errno.ENOTEMPTY),
        (lambda: (root / "..").rename("x"), errno.EBUSY),
    ):
        assert failure(call)[0] == number
    assert there(path) == TREE


@pytest.mark.parametrize("name", ["nul\0", "\ud800"])
def test_no_name_for_a_file(tree: Path, name: str) -> None:
    path = tree / name
    for call in (
        path.stat,
        path.open,
        path.read_bytes,
        path.mkdir,
        path.unlink,
        path.rmdir,
        lambda: path.rename(tree / "x"),
    ):
        with pytest.raises(ValueError):
            call()
    with pytest.raises(ValueError):
        (tree / "f").rename(path)
    assert there(tree) == TREE


def test_names_that_are_no_text(base: Path) -> None:
    path = base / os.fsdecode(b"\xff\xfe")
    path.write_text("x")
    assert os.listdir(os.fsencode(plain(base))) == [b"\xff\xfe"]
    assert [file.read_text() for file in base.iterdir()] == ["x"]


def test_a_full_root_says_so() -> None:
    with VeryTmpRoot(size="16k", nr_inodes=3) as root:
        path = root / "f"
        assert failure(lambda: path.write_bytes(b"x" * 20_000)) == (errno.ENOSPC, str(path), None)
        assert path.read_bytes() == b"x" * 16384  # what fitted is there, as with any file system
        path.write_bytes(b"y" * 16384)
        (root / "g").touch()
        assert failure((root / "h").touch) == (errno.ENOSPC, str(root / "h"), None)
        assert failure((root / "h").mkdir) == (errno.ENOSPC, str(root / "h"), None)
        assert path.read_bytes() == b"y" * 16384


# -- corners -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["..", "../..", "d/../..", "dlink/../.."])
def test_above_the_root_is_the_root(root: VeryTmpRoot, name: str) -> None:
    ground.make(root.fileno(), TREE)
    for status in (
        (root / name).stat(),
        (root / name).lstat(),
        (root / name).stat(follow_symlinks=False),
    ):
        assert os.path.samestat(status, os.stat(root.fileno()))
    assert (root / name).exists(follow_symlinks=False)
    assert (root / name).is_dir(follow_symlinks=False)


def test_a_closed_root_comes_before_another_file_system(root: VeryTmpRoot, host: Path) -> None:
    path = root / "f"
    with VeryTmpRoot() as other:
        root.close()
        for target in (host / "x", other / "x", "/x"):
            with pytest.raises(ValueError, match="closed"):
                path.rename(target)


@pytest.mark.parametrize("name", ["missing/../f\0", "f/../\0", "..\0"])
def test_a_null_byte_comes_before_what_is_missing(tree: Path, name: str) -> None:
    with pytest.raises(ValueError, match="embedded null"):
        (tree / name).stat()


def test_bytes_that_do_not_lie_together(tree: Path) -> None:
    with pytest.raises(BufferError):
        (tree / "f").write_bytes(memoryview(b"abcdef")[::2])
    assert there(tree)["f"] in (b"potatoes", b"")  # pathlib has truncated it


@pytest.mark.parametrize("way", ["chmod", "lchmod", "nofollow"])
def test_permissions(tree: Path, way: str) -> None:
    if isinstance(tree, VeryTmpPath):  # pathlib can only do the first on Linux
        changes: dict[str, Callable[[Path], None]] = {
            "chmod": lambda path: path.chmod(0o640),
            "lchmod": lambda path: path.lchmod(0o640),
            "nofollow": lambda path: path.chmod(0o640, follow_symlinks=False),
        }
        change = changes[way]
        for name in ("f", "d/../f") + (("link",) if way == "chmod" else ()):
            os.chmod(f"{plain(tree)}/f", 0o600)
            change(tree / name)
            assert stat.S_IMODE(os.stat(f"{plain(tree)}/f").st_mode) == 0o640
        if way != "chmod":
            with pytest.raises(NotImplementedError):
                change(tree / "link")
    else:
        (tree / "f").chmod(0o640)
        assert stat.S_IMODE(os.stat(tree / "f").st_mode) == 0o640


@pytest.mark.tmpfs
def test_without_proc() -> None:
    """In a chroot without one, what needs no name goes on."""

    def elsewhere() -> tuple[float, list[str], list[str], str]:
        root = VeryTmpRoot()
        (root / "d").mkdir()
        (root / "f").write_text("potatoes")
        os.utime("f", (1, 1), dir_fd=root.fileno())
        kernel.hide_proc()
        (root / "f").touch()
        names = sorted(path.name for path in root.path.iterdir())
        above = sorted(path.name for path in (root / "d" / "..").iterdir())
        return os.stat("f", dir_fd=root.fileno()).st_mtime, names, above, (root / "d" / ".." / "f").read_text()

    modified, names, above, text = in_child(elsewhere)
    assert modified > 1
    assert names == above == ["d", "f"]
    assert text == "potatoes"
