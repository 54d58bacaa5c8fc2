"""What a path reads and writes, with pathlib itself in the same table."""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from support.files import TREE, failure, plain, there

from verytmp import VeryTmpPath, VeryTmpRoot


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


@pytest.mark.parametrize("mode", ["r", "rt", "rb", "w", "wt", "wb", "a", "r+", "w+b"])
def test_what_an_open_file_says_of_itself(base: Path, host: Path, mode: str) -> None:
    """As pathlib has it from the built-in `open`, which is not always asked."""

    def said(path: Path) -> list[object]:
        file: Any
        with path.open(mode, encoding=None if "b" in mode else "utf-8") as file:
            names = ("mode", "encoding", "errors", "newlines", "line_buffering", "write_through", "closed")
            own = [getattr(file, name, None) for name in names]
            asked = [file.readable(), file.writable(), file.seekable(), file.isatty(), file.tell()]
            buffer = file if "b" in mode else file.buffer
            kinds = [type(file), type(buffer), type(buffer.raw), buffer.mode, buffer.raw.closefd]
            return [*kinds, *own, *asked, file.name == str(path)]

    (base / "f").write_text("potatoes")
    (host / "f").write_text("potatoes")
    assert said(base / "f") == said(host / "f")
    assert there(base) == {"f": b"" if "w" in mode else b"potatoes"}


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"mode": "wb", "encoding": "utf-8"}, ValueError),
        ({"mode": "wb", "errors": "strict"}, ValueError),
        ({"mode": "wb", "newline": ""}, ValueError),
        ({"mode": "w", "encoding": 1}, TypeError),
        ({"mode": "w", "errors": 1}, TypeError),
        ({"mode": "w", "newline": 1}, TypeError),
        ({"mode": "w", "buffering": "1"}, TypeError),
        ({"mode": "w", "buffering": 1.0}, TypeError),
        ({"mode": "w", "buffering": -1.0}, TypeError),
        ({"mode": "w", "encoding": "utf-8\0"}, ValueError),
        ({"mode": "w", "encoding": "\udc80"}, ValueError),
        ({"mode": "w", "errors": "strict\0"}, ValueError),
        ({"mode": "wz"}, ValueError),
        ({"mode": "wr"}, ValueError),
        ({"mode": "wtb"}, ValueError),
        ({"mode": ""}, ValueError),
    ],
    ids=repr,
)
def test_what_is_refused_before_it_is_opened(base: Path, arguments: dict[str, Any], error: type[Exception]) -> None:
    (base / "f").write_text("potatoes")
    with pytest.raises(error):
        (base / "f").open(**arguments)
    assert there(base) == {"f": b"potatoes"}


@pytest.mark.parametrize("buffering", [-1, 2, 100, 5000])
def test_what_is_buffered(tree: Path, host: Path, buffering: int) -> None:
    """As much as pathlib's files keep back, and read ahead; by a plain name, and through a link."""
    sizes = []
    for base in (tree, host):
        (base / "f").write_bytes(bytes(100_000))
        if not (base / "link").exists():
            (base / "link").symlink_to("f")
        for name in ("f", "link"):
            with (base / name).open("rb", buffering) as reader:
                assert isinstance(reader, io.BufferedReader)
                ahead = len(reader.peek())
            with (base / name).open("wb", buffering) as writer:
                kept = [os.fstat(writer.fileno()).st_size for _ in range(4) if writer.write(bytes(3000))]
            sizes.append((ahead, kept))
            (base / "f").write_bytes(bytes(100_000))
    assert len(set(map(repr, sizes))) == 1


@pytest.mark.parametrize("name", ["f", "link", "d/../f"])
def test_a_file_without_a_buffer(tree: Path, name: str) -> None:
    class Zero:
        def __index__(self) -> int:
            return 0

    zeros: list[Any] = [0, False, Zero()]
    for zero in zeros:
        with (tree / name).open("rb", zero) as file:
            assert type(file) is io.FileIO
            assert file.name == str(tree / name)


@pytest.mark.parametrize("name", ["f", "link", "d/../f"])
def test_a_warning_is_given_once(tree: Path, name: str) -> None:
    with pytest.warns(RuntimeWarning, match="line buffering") as warned, (tree / name).open("rb", 1) as reader:
        assert len(reader.peek()) == len("potatoes")
    assert len(warned) == 1
    with (tree / name).open("w", 1) as file:
        sizes = [os.fstat(file.fileno()).st_size for text in ("a", "\nb") if file.write(text)]
        assert (file.line_buffering, sizes) == (True, [0, 3])


@pytest.mark.parametrize("name", ["pipe", "to the pipe"])
def test_a_pipe_cannot_be_updated(base: Path, name: str) -> None:
    os.mkfifo(f"{plain(base)}/pipe")
    (base / "to the pipe").symlink_to("pipe")
    with pytest.raises(io.UnsupportedOperation, match="File or stream is not seekable") as caught:
        (base / name).open("r+")
    assert (caught.value.errno, caught.value.filename) == (None, None)


@pytest.mark.parametrize("arguments", [{"encoding": "nonsense"}, {"encoding": ""}, {"newline": "x"}], ids=repr)
@pytest.mark.parametrize("mode", ["r", "w", "r+"])
def test_texts_that_are_refused_close_what_was_opened(base: Path, mode: str, arguments: dict[str, Any]) -> None:
    """No descriptor is left, and no warning given."""
    (base / "f").write_text("potatoes")
    with pytest.raises((LookupError, ValueError)):
        (base / "f").open(mode, **arguments)


@pytest.mark.parametrize("name", ["d", "dlink", "d/../d", "up"])
def test_a_directory_is_not_read(tree: Path, name: str) -> None:
    """It is opened, and read(2) refuses."""
    with pytest.raises(IsADirectoryError) as caught:
        (tree / name).read_bytes()
    assert caught.value.filename == str(tree / name)


@pytest.mark.parametrize("mode", ["r", "rb", "w", "wb", "a", "r+"])
def test_a_directory_is_not_opened(base: Path, mode: str) -> None:
    (base / "d").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        (base / "d").open(mode)
    assert caught.value.filename == str(base / "d")


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


def test_the_built_in_open_may_be_somebody_elses(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pathlib's is io.open."""
    (base / "f").write_text("potatoes")
    monkeypatch.setattr("builtins.open", None)
    with (base / "f").open() as text, (base / "f").open("rb") as data:
        assert (text.read(), data.read()) == ("potatoes", b"potatoes")
