"""The descriptor's one owner: what `close` does to paths, strings and threads that still use the number."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import resource
import stat
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
from support import ground, kernel, moments
from support.children import HIGH, in_child

from verytmp import VeryTmpPath, VeryTmpRoot
from verytmp._owner import opened
from verytmp._spare import Spare
from verytmp._tree import Tree

OPERATIONS: dict[str, Callable[[VeryTmpPath], object]] = {
    "stat": lambda p: p.stat(),
    "lstat": lambda p: p.lstat(),
    "exists": lambda p: p.exists(),
    "is_dir": lambda p: p.is_dir(),
    "is_file": lambda p: p.is_file(),
    "open": lambda p: p.open(),
    "read_bytes": lambda p: p.read_bytes(),
    "read_text": lambda p: p.read_text(),
    "write_bytes": lambda p: p.write_bytes(b""),
    "write_text": lambda p: p.write_text(""),
    "mkdir": lambda p: p.mkdir(),
    "mkdir parents": lambda p: p.mkdir(parents=True, exist_ok=True),
    "iterdir": lambda p: p.iterdir(),
    "unlink": lambda p: p.unlink(),
    "unlink missing_ok": lambda p: p.unlink(missing_ok=True),
    "rmdir": lambda p: p.rmdir(),
    "rename": lambda p: p.rename("x"),
    "replace": lambda p: p.replace("x"),
    "touch": lambda p: p.touch(),
    "os.fspath": os.fspath,
    "bytes": bytes,
    "built-in open": open,
    "pathlib.Path": Path,
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("path", ["", "f", "d/f", "link/f", "../f", "missing"])
@pytest.mark.parametrize("follow", [False, True], ids=["nosymfollow", "symfollow"])
def test_a_closed_root_refuses_every_operation(name: str, path: str, follow: bool) -> None:
    root = VeryTmpRoot(nosymfollow=not follow)
    ground.make(root.fileno(), {"f": b"", "d": {"f": b""}, "link": "-> d"})
    root.close()
    with pytest.raises(ValueError, match="closed VeryTmpRoot"):
        OPERATIONS[name](root / path)


def test_a_closed_root_still_has_its_words() -> None:
    root = VeryTmpRoot()
    path = root / "a" / "f"
    before = str(path), repr(path), path.parts, hash(path), str(root)
    root.close()
    assert (str(path), repr(path), path.parts, hash(path), str(root)) == before
    assert "closed" in repr(root)


def test_what_lies_under_a_closed_number_is_not_inherited(root: VeryTmpRoot) -> None:
    number = root.fileno()
    root.close()
    assert not os.get_inheritable(number)


def test_roots_share_what_will_lie_under_their_numbers() -> None:
    before = ground.descriptors()
    roots = [VeryTmpRoot() for _ in range(3)]
    assert list(ground.new_descriptors(before).values()).count("anon_inode:[eventpoll]") <= 1
    assert {root.path._tree._spare for root in roots} == {roots[0].path._tree._spare}


def test_a_root_whose_number_is_0_is_open(root: VeryTmpRoot) -> None:
    """As in a program without standard input."""

    def read() -> tuple[int, list[str], str]:
        spare = root.path._tree._spare
        os.close(0)
        tree = Tree(opened(".", os.O_RDONLY | os.O_DIRECTORY, root.fileno()), spare)
        number, names = tree.fd, tree.listdir("")
        tree.check_open()
        tree.statvfs()
        tree.close()
        try:
            tree.check_open()
        except ValueError as error:
            return number, names, str(error)
        return number, names, ""

    (root / "f").touch()
    assert in_child(read) == (0, ["f"], "operation on a closed VeryTmpRoot")


def test_files_are_closed_whose_number_is_0(root: VeryTmpRoot) -> None:
    def used() -> tuple[list[object], bool]:
        path, found = root / "d" / "f", list[object]()
        path.parent.mkdir()
        os.close(0)
        path.write_bytes(b"x")
        found.append(path.read_bytes())
        with path.open("rb") as file:
            found.append(file.fileno())
        try:
            path.parent.open()
        except IsADirectoryError as error:
            found.append(error.filename == str(path.parent))
        return found, 0 in ground.descriptors()

    assert in_child(used) == ([b"x", 0, True], False)


@pytest.mark.parametrize(
    "call",
    [
        lambda tree, name: tree.read(name),
        lambda tree, name: tree.write(name, b""),
        lambda tree, name: tree.listdir(os.path.dirname(name)),
        lambda tree, name: tree.file(name, "rb", -1, None, None, None),
        lambda tree, name: tree.stat(name),
        lambda tree, name: tree.chmod(name, 0),
        lambda tree, name: tree.unlink(name),
        lambda tree, name: tree.rename(name, "f"),
    ],
    ids=["read", "write", "listdir", "file", "stat", "chmod", "unlink", "rename"],
)
def test_a_string_that_begins_with_a_slash_is_the_roots(
    root: VeryTmpRoot, host: Path, call: Callable[[Tree, str], object]
) -> None:
    """No path has one. The kernel would take it from its own root, whatever directory it is given."""
    (host / "secret").write_text("secret")
    with pytest.raises(FileNotFoundError):
        call(root.path._tree, f"{host}/secret")
    assert (host / "secret").read_text() == "secret"


@pytest.mark.parametrize("up", ["..", "../..", "d/../.."])
def test_dots_stop_at_the_root_for_what_is_in_a_file(root: VeryTmpRoot, up: str) -> None:
    """The kernel's own would lead to the directories above, which are in the same mount."""
    (root / "d").mkdir()
    (root / up / "f").write_text("x")
    assert (root / up / "f").read_bytes() == b"x"
    assert ground.look(root.fileno()) == {"d": {}, "f": b"x"}
    assert {path.name for path in (root / up).iterdir()} == {"d", "f"}
    with (root / up / "f").open() as file:
        assert file.read() == "x"


@pytest.mark.parametrize("ask", [lambda root: root.path.stat(), lambda root: root.usage()], ids=["stat", "usage"])
def test_closed_while_it_is_asked(root: VeryTmpRoot, ask: Callable[[VeryTmpRoot], object]) -> None:
    """What lies under the number by then would answer."""
    with moments.interposed({0: root.close}), pytest.raises(ValueError, match="closed VeryTmpRoot"):
        ask(root)


def test_a_number_that_the_program_has_closed(root: VeryTmpRoot) -> None:
    def ask() -> list[object]:
        os.close(root.fileno())
        try:
            root.path.stat()
        except OSError as error:
            return [error.errno, error.filename == str(root.path)]
        return []

    assert in_child(ask) == [errno.EBADF, True]


def test_all_trees_are_known(root: VeryTmpRoot) -> None:
    assert root.path._tree in Spare.trees


def test_closing_again_does_nothing(root: VeryTmpRoot) -> None:
    root.close()
    root.close()
    assert root.closed


def test_a_string_of_a_closed_root_leads_nowhere() -> None:
    root = VeryTmpRoot()
    (root / "f").write_text("potatoes")
    directory, file = os.fspath(root), str(root / "f")
    root.close()
    other = os.open("/", os.O_PATH)  # which would get the number, if it were free
    try:
        for path in (file, f"{directory}/..", f"{directory}/../../../etc/passwd"):
            with pytest.raises(NotADirectoryError):
                os.stat(path)
        with pytest.raises(OSError) as caught:
            os.open(directory, os.O_WRONLY)
        assert caught.value.errno in (errno.ENXIO, errno.EACCES)
    finally:
        os.close(other)


def test_the_number_is_not_given_to_another_file() -> None:
    root = VeryTmpRoot()
    path, number = root / "f", root.fileno()
    root.close()
    del root
    taken = [os.open("/", os.O_PATH) for _ in range(20)]
    try:
        assert number not in taken
        with pytest.raises(NotADirectoryError):
            os.stat("etc", dir_fd=number)
        with pytest.raises(ValueError):
            path.exists()
    finally:
        for descriptor in taken:
            os.close(descriptor)


def test_the_number_is_given_back_with_the_last_reference() -> None:
    gc.collect()  # or another one's number is given back meanwhile, and taken
    before = ground.descriptors()
    root = VeryTmpRoot()
    path = root / "f"
    root.close()
    assert ground.new_descriptors(before) != {}
    del root, path
    assert ground.new_descriptors(before) == {}


def test_dropping_the_last_reference_closes_at_once() -> None:
    before = ground.descriptors()
    gc.disable()
    try:
        root = VeryTmpRoot()
        path = (root / "a") / "b"
        (root / "a").mkdir()
        tree = weakref.ref(root)
        del root
        assert tree() is None
        path.write_text("a path keeps the directory alive")
        assert path.read_text() == "a path keeps the directory alive"
        del path
        assert ground.new_descriptors(before) == {}
    finally:
        gc.enable()


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("path", ["", "f", "d/f", "link/f", "../f", "missing", "missing/f", "f/x", "loop", "x" * 300])
def test_nothing_refers_to_itself(name: str, path: str) -> None:
    """Neither what an operation makes nor the error that it raises: a circle would keep the root for a while."""
    VeryTmpRoot()
    gc.collect()
    gc.disable()
    try:
        with VeryTmpRoot() as root:
            ground.make(root.fileno(), {"f": b"", "d": {"f": b""}, "link": "-> d", "loop": "-> loop"})
            try:
                result = OPERATIONS[name](root / path)
            except OSError:
                pass
            else:
                getattr(result, "close", str)()
                del result
        del root
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_a_refused_root_refers_to_nothing() -> None:
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(ValueError):
            VeryTmpRoot(size="banana")
        gc.collect()  # what pytest made
        for _ in range(2):
            try:
                VeryTmpRoot(size="banana")
            except ValueError:
                pass
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_open_files_go_on() -> None:
    root = VeryTmpRoot()
    with (root / "f").open("w+") as file:
        root.close()
        file.write("potatoes")
        file.seek(0)
        assert file.read() == "potatoes"


def test_closing_takes_no_descriptor() -> None:
    roots = [VeryTmpRoot() for _ in range(3)]
    before = ground.descriptors()
    for root in roots:
        root.close()
    assert ground.descriptors().keys() <= before.keys()


@pytest.mark.tmpfs
def test_closing_needs_no_descriptor() -> None:
    def close() -> tuple[list[str], str]:
        root = VeryTmpRoot()
        path = root / "f"
        taken = kernel.fill_descriptor_table()
        root.close()
        try:
            path.stat()
        except ValueError as error:
            said = str(error)
        for descriptor in taken:
            os.close(descriptor)
        return [path for path in ground.descriptors().values() if "/dev/null/verytmp" in path], said

    left, said = in_child(close)
    assert left == []
    assert "closed" in said


@pytest.mark.tmpfs
def test_closing_needs_no_room_in_the_descriptor_table() -> None:
    """Below a limit that was lowered, dup2 answers EBADF. The root is closed all the same."""

    def close() -> tuple[bool, list[str]]:
        root = VeryTmpRoot()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (root.fileno(), hard))
        root.close()
        root.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return root.closed, [path for path in ground.descriptors().values() if "/dev/null/verytmp" in path]

    assert in_child(close) == (True, [])


@pytest.mark.tmpfs
def test_a_number_that_went_to_somebody_else_is_not_used(host: Path) -> None:
    """It did where there was no room for what takes its place. An operation must not end up in the other directory."""
    (host / "f").write_text("the host's")

    def use() -> list[str]:
        root = VeryTmpRoot()
        path, number = root / "f", root.fileno()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))
        root.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.dup2(os.open(host, os.O_PATH), number)
        said = []
        for name, operation in OPERATIONS.items():
            if name not in ("built-in open", "pathlib.Path"):
                with contextlib.suppress(ValueError):
                    said.append(f"{name}: {operation(path)!r}")
        return said

    assert in_child(use) == []
    assert (host / "f").read_text() == "the host's"


def test_a_program_that_closes_all_descriptors_loses_nothing_of_its_own() -> None:
    """A daemon closes everything, and its own files then have our numbers. Closing the root must not touch those."""

    def daemon() -> tuple[bool, list[str]]:
        root = VeryTmpRoot()
        own = root.fileno()
        os.closerange(3, own)
        os.closerange(own + 1, HIGH)
        taken = [os.open("/", os.O_PATH) for _ in range(20)]
        root.close()
        is_directory = stat.S_ISDIR(os.stat(own).st_mode)
        return is_directory, [os.readlink(f"/proc/self/fd/{descriptor}") for descriptor in taken]

    assert in_child(daemon) == (False, ["/"] * 20)
