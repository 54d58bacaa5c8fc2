"""Strings that outlive their root: they lead to nothing of the host's, whatever is opened under their number.

Each test keeps a string as programs do (in a log handler, a child, a cache), ends the root, and opens a directory of
the host under every number that was the root's. Then nothing of the host may be read, written or removed.
"""

from __future__ import annotations

import ctypes
import errno
import importlib
import linecache
import logging
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import host_state, kernel
from support.children import in_child
from support.programs import OWN_STRING

from verytmp import VeryTmpRoot, VeryTmpUnavailable
from verytmp._mounting import strategy

KEPT: host_state.Tree = {"f": b"the host's", "d": {"g": b"the host's too"}}


@pytest.fixture
def kept(host: Path) -> Iterator[Path]:
    """A directory of the host, whose tree must stay what it is."""
    host_state.make(str(host), KEPT)
    yield host
    assert host_state.look(str(host)) == KEPT


def taken_over(numbers: set[int], directory: Path) -> list[int]:
    """Open a directory under each of these numbers."""
    opened = os.open(directory, os.O_RDONLY)
    for number in numbers:
        os.dup2(opened, number, inheritable=True)
    os.close(opened)
    return sorted(numbers)


def ended(directory: Path, *, drop: bool = False) -> tuple[str, list[int]]:
    """The string of a root that is closed or dropped, with a directory under its numbers."""
    root = VeryTmpRoot()
    text, numbers = str(root.path), {root.fileno(), *root.path._tree.filenos}
    host_state.make(text, KEPT)
    if not drop:
        root.close()
    del root
    return text, taken_over(numbers, directory)


USES: dict[str, Callable[[str], object]] = {
    "read": lambda s: Path(s, "f").read_bytes(),
    "write": lambda s: Path(s, "f").write_bytes(b"x"),
    "write what is appended to the string": lambda s: Path(s + "out").write_bytes(b"x"),
    "write a new one": lambda s: Path(s, "new").touch(),
    "append": lambda s: open(f"{s}f", "a").close(),
    "mkdir": lambda s: os.mkdir(f"{s}/new"),
    "unlink": lambda s: os.unlink(f"{s}/f"),
    "rename": lambda s: os.rename(f"{s}/f", f"{s}/g"),
    "rmtree": lambda s: shutil.rmtree(s),
    "rmtree of a directory": lambda s: shutil.rmtree(f"{s}/d"),
    "copytree": lambda s: shutil.copytree(s, f"{s}/copy"),
    "listdir": lambda s: os.listdir(s),
    "walk": lambda s: [][:] if list(os.walk(s)) == [] else ["walked"],
    "chdir": lambda s: os.chdir(s),
    "tempfile": lambda s: tempfile.mkstemp(dir=s),
    "chmod": lambda s: os.chmod(s, 0),
    "a program": lambda s: subprocess.run(["rm", "-rf", f"{s}/f", f"{s}/d"], check=True).args[4:],
    "a program that writes": lambda s: subprocess.check_output(["sh", "-c", 'echo x > "$0"/f', s], stderr=-3),
}


@pytest.mark.parametrize("drop", [False, True], ids=["closed", "dropped"])
@pytest.mark.parametrize("use", USES)
def test_what_a_program_does_with_it(kept: Path, use: str, drop: bool) -> None:
    def try_it() -> object:
        text, _ = ended(kept, drop=drop)
        try:
            return USES[use](text) or None
        except (OSError, subprocess.CalledProcessError):
            return None

    assert in_child(try_it) is None


def test_the_error_is_that_nothing_is_there(kept: Path) -> None:
    def read() -> int | None:
        text, _ = ended(kept)
        try:
            open(f"{text}/f").close()
        except OSError as error:
            return error.errno
        return None

    assert in_child(read) == errno.ENOENT


def test_a_number_in_a_string_is_no_program_s_own(host: Path) -> None:
    """What makes missing directories would make the token's in one that is opened under the number."""

    def make() -> None:
        with VeryTmpRoot() as root:
            text = str(root.path)
        for _ in range(200):
            os.open(host, os.O_RDONLY)
        with pytest.raises(FileNotFoundError):
            os.makedirs(f"{text}/new")
        with pytest.raises(FileNotFoundError):
            shutil.make_archive(text, "tar", "/dev")

    in_child(make)
    assert os.listdir(host) == []


def test_a_test_that_mocks_os_and_imports_first() -> None:
    """What it has put there must not be in the strings of the tests after it."""
    code = """
import os, unittest.mock
with unittest.mock.patch.multiple(os, readlink=lambda path: "1", getpid=lambda: 1, urandom=lambda size: bytes(size)):
    import verytmp._paths.path
from verytmp import VeryTmpRoot
first, second = VeryTmpRoot(), VeryTmpRoot()
(first / "f").write_text("first")
assert open(first / "f").read() == "first"
assert first._tree.token != second._tree.token
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_root_that_takes_the_numbers_is_another_one(root: VeryTmpRoot) -> None:
    """Its files are not found by the old string, nor the old one's by its own."""
    with VeryTmpRoot() as old:
        text = str(old.path)
        (old / "f").write_text("old")
    with VeryTmpRoot() as new:
        (new / "f").write_text("new")
        assert str(new.path) != text
        assert not os.path.exists(f"{text}/f")


@pytest.mark.slow
def test_strings_never_repeat() -> None:
    texts = set()
    for _ in range(200):
        with VeryTmpRoot() as root:
            texts.add(str(root.path))
            texts.add(os.path.basename(os.fspath(root)))
    assert len(texts) == 400


def test_a_log_handler(kept: Path) -> None:
    def log() -> None:
        root = VeryTmpRoot()
        numbers = {root.fileno(), *root.path._tree.filenos}
        handler = logging.FileHandler(str(root / "f"), delay=True)
        root.close()
        taken_over(numbers, kept)
        logging.raiseExceptions = False  # since Python 3.14 it is the handler's own affair
        try:
            handler.emit(logging.makeLogRecord({"msg": "potatoes"}))
        except FileNotFoundError:
            pass
        assert handler.stream is None  # nothing was opened

    in_child(log)


SCRIPT = """
import atexit, os, shutil, sys
from verytmp import VeryTmpRoot
host, what = sys.argv[1:]
root = VeryTmpRoot()
text, numbers = str(root.path), {root.fileno(), *root.path._tree.filenos}
def take_over():
    directory = os.open(host, os.O_RDONLY)
    for number in numbers: os.dup2(directory, number)
if what == "atexit":
    atexit.register(shutil.rmtree, text, ignore_errors=True)
    root.close()
    take_over()
elif what == "exec":
    # The process is the same, and so is its number; the descriptors that were close-on-exec are free.
    code = f'''
import os, shutil
directory = os.open({host!r}, os.O_RDONLY)
for number in {numbers}: os.dup2(directory, number)
shutil.rmtree({text!r}, ignore_errors=True)
try: open({text!r} + "/f", "w")
except OSError: pass
'''
    os.execv(sys.executable, [sys.executable, "-c", code])
elif what == "fork":
    if os.fork() == 0:
        root.close()
        take_over()
        shutil.rmtree(text, ignore_errors=True)  # the parent's, which is the root's all the same
        own = text.replace(f"/proc/{os.getppid()}/", f"/proc/{os.getpid()}/")
        shutil.rmtree(own, ignore_errors=True)
        os._exit(0)
    os.wait()
elif what == "slow child":
    import subprocess
    child = subprocess.Popen(["sh", "-c", f"read line; rm -rf {text}/f {text}/d; echo x > {text}/f"],
                             stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    root.close()
    take_over()
    child.communicate(b"go")
"""


@pytest.mark.parametrize("what", ["atexit", "exec", "fork", "slow child"])
def test_programs_that_keep_it(kept: Path, what: str) -> None:
    subprocess.run([sys.executable, "-c", SCRIPT, kept, what], check=True)


def test_a_limit_that_is_lowered_and_raised(kept: Path) -> None:
    """Then the numbers are free, though a path still lives."""

    def use() -> list[str]:
        root = VeryTmpRoot()
        path, text, numbers = root / "f", str(root.path), {root.fileno(), *root.path._tree.filenos}
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(numbers), hard))
        root.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        taken_over(numbers, kept)
        said = []
        for call in (path.read_bytes, path.unlink, lambda: path.write_bytes(b"x"), lambda: shutil.rmtree(text)):
            try:
                said.append(repr(call()))
            except (OSError, ValueError):
                continue
        return said

    assert in_child(use) == []


def test_tmpdir_inherited(kept: Path) -> None:
    """Of a child that makes its temporary files when the root is gone: the next directory is taken."""

    def make() -> tuple[str, bool]:
        root = VeryTmpRoot()
        os.environ["TMPDIR"] = str(root.path)
        numbers = {root.fileno(), *root.path._tree.filenos}
        root.close()
        taken_over(numbers, kept)
        code = "import tempfile; print(tempfile.gettempdir())"
        found = subprocess.check_output([sys.executable, "-c", code], text=True, pass_fds=numbers)
        return found.strip(), True

    found, _ = in_child(make)
    assert not found.startswith("/proc/")


# -- what caches by string ---------------------------------------------------------------------------------------------


def test_linecache() -> None:
    for text in ("one\n", "two\n"):
        with VeryTmpRoot() as root:
            (root / "f.py").write_text(text)
            assert linecache.getline(str(root / "f.py"), 1) == text


def test_zip_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("one", "two"):
        with VeryTmpRoot() as root, zipfile.ZipFile(root / "a.zip", "w") as archive:
            archive.writestr("zipped_potatoes.py", f"text = {text!r}")
            archive.close()
            monkeypatch.syspath_prepend(str(root / "a.zip"))
            module: Any = importlib.import_module("zipped_potatoes")
            assert module.text == text
            del sys.modules["zipped_potatoes"]


def test_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("one", "two"):
        with VeryTmpRoot() as root:
            (root / "plain_potatoes.py").write_text(f"text = {text!r}")
            monkeypatch.syspath_prepend(str(root.path))
            module: Any = importlib.import_module("plain_potatoes")
            assert module.text == text
            del sys.modules["plain_potatoes"]


def test_shared_libraries() -> None:
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("cc is not installed")

    def load() -> list[int]:
        answers = []
        for number in (1, 2):
            with VeryTmpRoot() as root:
                (root / "f.c").write_text(f"int answer(void) {{ return {number}; }}")
                library = str(root / "f.so")
                subprocess.run([compiler, "-shared", "-o", library, str(root / "f.c")], check=True)
                answers.append(ctypes.CDLL(library).answer())
        return answers

    assert in_child(load) == [1, 2]


# -- a root's own string, as any directory's ---------------------------------------------------------------------------


@pytest.mark.parametrize("slash", ["", "/"], ids=["fspath(root)", "str(root.path)"])
@pytest.mark.parametrize("program", OWN_STRING)
def test_programs_take_it_for_the_directory_that_it_is(root: VeryTmpRoot, host: Path, program: str, slash: str) -> None:
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    host_state.make(root.fileno(), KEPT)
    text = os.fspath(root) + slash
    done = [word.format(root=text, out=host) for word in ("sh", "-euc", OWN_STRING[program])]
    subprocess.run(done, check=True, stdout=subprocess.DEVNULL)
    assert sorted(path.name for path in host.rglob("*") if path.is_file()) == ["f", "g"]
    assert {path.read_bytes() for path in host.rglob("*") if path.is_file()} == {b"the host's", b"the host's too"}


def test_os_and_shutil_take_it_for_the_directory_that_it_is(root: VeryTmpRoot, host: Path) -> None:
    host_state.make(root.fileno(), KEPT)
    for text in (os.fspath(root), str(root.path)):
        assert not os.path.islink(text)
        assert os.path.isdir(text)
        assert [name for _, *names in os.walk(text) for found in names for name in found] == ["d", "f", "g"]
        shutil.copytree(text, host / "copy", symlinks=True)
        assert host_state.look(str(host / "copy")) == KEPT
        shutil.rmtree(host / "copy")
    shutil.rmtree(root)
    assert not os.path.exists(root)


def test_a_directory_of_tempfiles_cleaned_up_after_the_root() -> None:
    """As one that is gone: that is what the clean-up wants."""
    root = VeryTmpRoot()
    directory = tempfile.TemporaryDirectory(dir=root.path)
    Path(directory.name, "f").touch()
    root.close()
    directory.cleanup()
    assert not os.path.exists(directory.name)


# -- where /dev/null is no file ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tree", "name"),
    [
        ({"dev": {"null": b""}}, "dev/null"),
        ({"dev": {"null": {}}, "etc": {"passwd": b""}}, "etc/passwd"),
        ({"proc": {"version": b""}}, "proc/version"),
        ({"some file": b""}, ""),
    ],
    ids=["dev/null", "a directory", "missing", "none"],
)
def test_what_a_root_is_called_in_a_chroot(root: VeryTmpRoot, tree: dict[str, Any], name: str) -> None:
    """As a file that is there, so that nothing can be below it."""
    if os.geteuid():
        pytest.skip("only root may go into a chroot")
    host_state.make(root.fileno(), tree)

    def ask() -> str:
        os.chroot(root)
        return strategy.impossible_name()

    if name:
        assert in_child(ask) == name
    else:
        with pytest.raises(VeryTmpUnavailable, match="make /dev/null"):
            in_child(ask)


@pytest.mark.tmpfs
def test_a_root_in_a_chroot_without_dev_null(host: Path) -> None:
    if os.geteuid():
        pytest.skip("only root may go into a chroot")
    host_state.make(str(host), {"proc": {}})

    def make() -> tuple[str, int, tuple[int, ...], str]:
        kernel.bind("/proc", f"{host}/proc")
        os.chroot(host)
        made = VeryTmpRoot(nr_inodes=20, at=False)
        (made / "f").write_text("potatoes")
        canonical = os.path.realpath(made / "f")
        try:
            os.stat(canonical)
        except OSError as error:
            return canonical, error.errno or 0, made.usage().inodes, (made / "f").read_text()
        return canonical, 0, (), ""

    canonical, number, inodes, text = in_child(make)
    assert canonical.startswith("/proc/version/")
    assert (number, inodes, text) == (errno.ENOTDIR, (20, 2, 18), "potatoes")
