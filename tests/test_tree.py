"""The one owner of a root's descriptors: what `close` does to paths and threads that still use them."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
from support import host_state, kernel, syscall_hooks
from support.all_operations import OPERATIONS, Place
from support.children import HIGH, in_child

from verytmp import VeryTmpFactory, VeryTmpPath, VeryTmpRoot
from verytmp._confined.owned_fd import KeptFds, owner
from verytmp._confined.tree import Tree

FREE_THREADED = not getattr(sys, "_is_gil_enabled", lambda: True)()

AS_STRING: dict[str, Callable[[VeryTmpPath], object]] = {
    "os.fspath": os.fspath, "bytes": bytes, "built-in open": open, "pathlib.Path": Path,
}  # fmt: skip


def perform(name: str, path: VeryTmpPath, place: Place) -> object:
    return AS_STRING[name](path) if name in AS_STRING else OPERATIONS[name].call(path, place)


@pytest.mark.parametrize("path", ["", "f", "d/f", "link/f", "../f", "missing"])
@pytest.mark.parametrize("follow", [False, True], ids=["nosymfollow", "symfollow"])
def test_a_closed_root_refuses_every_operation(path: str, follow: bool) -> None:
    root = VeryTmpRoot(nosymfollow=not follow)
    host_state.make(root.fileno(), {"f": b"", "d": {"f": b""}, "link": "-> d"})
    root.close()
    with VeryTmpRoot() as other:
        host_state.make(other.fileno(), {"file": b""})
        answers: dict[str, object] = {}
        for name in (*OPERATIONS, *AS_STRING):
            try:
                answers[name] = perform(name, root / path, Place(root, other))
            except ValueError as error:
                answers[name] = str(error)
        assert answers == dict.fromkeys(answers, "operation on a closed VeryTmpRoot")


def test_a_closed_root_still_has_its_strings() -> None:
    root = VeryTmpRoot()
    path = root / "a" / "f"
    before = str(path), repr(path), path.parts, hash(path), str(root)
    root.close()
    assert (str(path), repr(path), path.parts, hash(path), str(root)) == before
    assert "closed" in repr(root)


@pytest.mark.tmpfs
def test_a_living_roots_mount_is_in_a_namespace() -> None:
    """Else each close and each path walk would take a lock of the whole machine: open_tree(2) tells (Linux 6.15)."""

    def clone() -> None:
        kernel.mounting_namespaces()
        for fd in root.path._tree.filenos:
            kernel.open_tree_clone(fd)

    with VeryTmpRoot(at=False) as root:  # one with a name is a copy of a mount, which the kernel does not copy again
        in_child(clone)


def test_nothing_of_a_root_is_inherited(root: VeryTmpRoot) -> None:
    assert not any(os.get_inheritable(fd) for fd in (root.fileno(), *root.path._tree.filenos))


def test_no_root_takes_the_number_of_a_standard_stream() -> None:
    """A thread may be writing to one that is closed."""

    def make() -> tuple[list[int], bool]:
        for stream in range(3):
            os.close(stream)
        root = VeryTmpRoot()
        (root / "f").write_text("potatoes")
        return [fd for fd in (root.fileno(), *root.path._tree.filenos) if fd < 3], (root / "f").exists()

    assert in_child(make) == ([], True)


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
        return found, 0 in host_state.descriptors()

    assert in_child(used) == ([b"x", 0, True], False)


def test_a_failure_of_what_fills_a_file_is_not_its_path_s(root: VeryTmpRoot) -> None:
    """It may be about another file's links. The new file is not made once more, by the resolver."""

    def fill(_: int) -> None:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))

    def number() -> int | None:
        os.close(0)  # which is the new file's then
        with pytest.raises(OSError) as caught:
            root.path._tree.make_file("f", fill)
        return caught.value.errno

    assert in_child(number) == errno.ELOOP


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
    assert host_state.look(root.fileno()) == {"d": {}, "f": b"x"}
    assert {path.name for path in (root / up).iterdir()} == {"d", "f"}
    with (root / up / "f").open() as file:
        assert file.read() == "x"


@pytest.mark.parametrize("ask", [lambda root: root.path.stat(), lambda root: root.usage()], ids=["stat", "usage"])
def test_closed_while_it_is_asked(root: VeryTmpRoot, ask: Callable[[VeryTmpRoot], object]) -> None:
    """And something else has the number by then, which would answer."""

    def close() -> None:
        fd = root.path._tree.fd
        root.close()
        os.dup2(here, fd)

    here = os.open("/", os.O_PATH)
    try:
        with syscall_hooks.interposed({0: close}), pytest.raises(ValueError, match="closed VeryTmpRoot"):
            ask(root)
    finally:
        os.close(root.path._tree.fd)
        os.close(here)


def test_a_number_that_the_program_has_closed(root: VeryTmpRoot) -> None:
    def ask() -> list[object]:
        os.close(root.path._tree.fd)
        try:
            root.path.stat()
        except OSError as error:
            return [error.errno, error.filename == str(root.path)]
        return []

    assert in_child(ask) == [errno.EBADF, True]


def test_all_trees_are_known() -> None:
    root = VeryTmpRoot()
    token = root.path._tree.token
    here = Tree.by_key[token]
    assert here() is root.path._tree
    del root
    assert token not in Tree.by_key


def test_closing_again_does_nothing(root: VeryTmpRoot) -> None:
    root.close()
    root.close()
    assert root.closed


def test_closing_by_several_threads_at_once() -> None:
    """Each returns, and one of them has closed it; the numbers may be another file's by then."""
    roots = [VeryTmpRoot() for _ in range(30)]
    turns = threading.Barrier(3)
    errors: list[BaseException] = []

    def close_all() -> None:
        for root in roots:
            turns.wait()
            try:
                root.close()
                assert root.closed
            except BaseException as error:
                errors.append(error)

    threads = [threading.Thread(target=close_all) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_closed_root_keeps_no_descriptor() -> None:
    before = host_state.descriptors()
    root = VeryTmpRoot()
    path, _ = root / "f", root.fileno()
    root.close()
    assert host_state.new_descriptors(before) == {}
    assert not path.name.startswith("/")


class Interrupted(Exception):
    """What a signal handler raises."""


def before_opcode(count: int, call: Callable[[], object]) -> None:
    """Make a call, and raise `Interrupted` before its opcode of this number."""

    def step() -> None:
        nonlocal count
        count -= 1
        if count == 0:
            raise Interrupted

    monitoring: Any = getattr(
        sys, "monitoring", None
    )  # Python 3.12's, whose sys.settrace sees nothing of the call here
    if monitoring:
        tool = monitoring.OPTIMIZER_ID

        def instruction(code: CodeType, offset: int) -> None:
            if code.co_filename != __file__:
                step()

        monitoring.use_tool_id(tool, "interruptions")
        monitoring.register_callback(tool, monitoring.events.INSTRUCTION, instruction)
        monitoring.set_events(tool, monitoring.events.INSTRUCTION)
        try:
            call()
        finally:
            monitoring.set_events(tool, monitoring.events.NO_EVENTS)
            monitoring.free_tool_id(tool)
        return

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        frame.f_trace_opcodes = True
        if event == "opcode":
            step()
        return trace

    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(None)


def test_a_close_that_is_interrupted_has_closed_everything_or_nothing() -> None:
    """It was so that `closed` was true, and the string still opened. Interrupted before each opcode in turn."""

    def interrupted_at(count: int, make: VeryTmpFactory) -> tuple[bool, bool, int, bool]:
        root = make(at=False)
        fds = {root.fileno(), *root.path._tree.filenos}
        ended = True
        try:
            before_opcode(count, root.close)
        except Interrupted:
            ended = False
        still_open = fds & host_state.descriptors().keys()
        answer = ended, root.closed, len(still_open), os.path.exists(str(root))
        root.close()
        assert not fds & host_state.descriptors().keys()
        return answer

    seen = set()
    # One root keeps the user namespace: in the destructor of that, exceptions are only reported. The same holds of what
    # the garbage collector calls (Hypothesis has a callback there).
    with VeryTmpFactory() as make, make(at=False), only_new_garbage():
        for count in range(1, 5000):
            ended, closed, still_open, exists = interrupted_at(count, make)
            assert (closed, still_open, exists) in ((True, 0, False), (False, 3, True)), count
            seen.add(closed)
            if ended:
                break
    assert ended
    assert seen == {False, True}


def test_dropping_the_last_reference_closes_at_once() -> None:
    before = host_state.descriptors()
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
        assert host_state.new_descriptors(before) == {}
    finally:
        gc.enable()


@contextlib.contextmanager
def only_new_garbage() -> Iterator[None]:
    """The collector looks at what is made in here alone, and when it is told to: all of pytest's takes it 30 ms."""
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()  # what is frozen is nobody's referrer, and Hypothesis asks for those
        gc.enable()


@pytest.mark.parametrize("path", ["", "f", "d/f", "link/f", "../f", "missing", "missing/f", "f/x", "loop", "x" * 300])
def test_nothing_refers_to_itself(path: str) -> None:
    """Neither what an operation makes nor the error that it raises: a cycle would keep the root for a while."""
    wrong = []
    tree: host_state.Tree = {"file": b"", "f": b"", "d": {"f": b""}, "link": "-> d", "loop": "-> loop"}
    with VeryTmpFactory() as make, make() as other:  # a root by a child takes longer than all else
        host_state.make(other.fileno(), {"file": b""})
        for name in (*OPERATIONS, *AS_STRING):
            for _ in range(2 if FREE_THREADED else 1):  # there, what a module's import leaves is the collector's
                with only_new_garbage():
                    with make() as root:
                        host_state.make(root.fileno(), tree)
                        with contextlib.suppress(OSError, RuntimeError):
                            getattr(perform(name, root / path, Place(root, other)), "close", str)()
                    del root
                    count = gc.collect()
            if count:
                wrong.append((name, count))
    assert wrong == []


def test_a_refused_root_refers_to_nothing() -> None:
    with only_new_garbage():
        with pytest.raises(ValueError):
            VeryTmpRoot(size="banana")
        gc.collect()  # what pytest made
        for _ in range(2):
            try:
                VeryTmpRoot(size="banana")
            except ValueError:
                pass
        assert gc.collect() == 0


def test_open_files_go_on() -> None:
    root = VeryTmpRoot()
    with (root / "f").open("w+") as file:
        root.close()
        file.write("potatoes")
        file.seek(0)
        assert file.read() == "potatoes"


def test_closing_takes_no_descriptor() -> None:
    roots = [VeryTmpRoot() for _ in range(3)]
    before = host_state.descriptors()
    for root in roots:
        root.close()
    assert host_state.descriptors().keys() <= before.keys()


@pytest.mark.tmpfs
def test_closing_needs_no_descriptor() -> None:
    def close() -> tuple[set[int], str]:
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
        return set(root.path._tree.filenos) & set(host_state.descriptors()), said

    left, said = in_child(close)
    assert left == set()
    assert "closed" in said


@pytest.mark.parametrize("dropped", [False, True], ids=["closed", "dropped"])
@pytest.mark.parametrize("used", [False, True], ids=["unused", "used"])
def test_a_program_that_closes_all_descriptors_loses_nothing_of_its_own(dropped: bool, used: bool) -> None:
    """A daemon closes everything, and its own files then have our numbers. Those must not be touched."""

    def daemon() -> tuple[list[str], list[str]]:
        root = VeryTmpRoot()
        if used:
            root.fileno()
        lowest, highest = min(host_state.descriptors()), max(root.path._tree.filenos)
        os.closerange(max(lowest, 3), HIGH)
        taken = [os.open("/", os.O_PATH) for _ in range(highest + 20)]
        others = host_state.descriptors()
        if dropped:
            del root
        else:
            root.close()
        gc.collect()
        return [os.readlink(f"/proc/self/fd/{fd}") for fd in taken], [
            path for fd, path in host_state.descriptors().items() if others.get(fd) != path
        ]

    links, new = in_child(daemon)
    assert set(links) == {"/"}
    assert new == []


@pytest.mark.tmpfs
def test_a_root_in_the_place_of_one_whose_descriptors_were_closed() -> None:
    """It gets the fds, and its file system the device number: all that tells the two apart is what we know of them."""

    def daemon() -> tuple[list[str], int, str]:
        os.closerange(3, HIGH)
        root = VeryTmpRoot()
        number = root.fileno()
        os.closerange(3, HIGH)
        new = VeryTmpRoot(size="1m")
        its_own = os.open(new, os.O_RDONLY)
        assert its_own == number
        assert new.path._tree.filenos == root.path._tree.filenos
        assert os.fstat(new.path._tree.fd).st_dev == new.path.stat().st_dev
        (new / "f").write_text("potatoes")
        calls: dict[str, Callable[[], object]] = {
            "usage": root.usage, "freeze": root.freeze, "resize": partial(root.resize, size="2m"),
            "read_only": root.read_only, "clone": root.clone, "clear": root.clear, "fileno": root.fileno,
            "read": (root / "f").read_text, "pickle": partial(ForkingPickler.dumps, root),
        }  # fmt: skip
        worked = []
        for name, call in calls.items():
            with contextlib.suppress(OSError, ValueError):
                call()
                worked.append(name)
        del root, calls, call
        gc.collect()
        os.fstat(its_own)
        return worked, new.usage().total, (new / "f").read_text()

    assert in_child(daemon) == ([], 1 << 20, "potatoes")


def test_a_number_that_a_program_has_closed_is_not_given_out() -> None:
    def closed() -> tuple[int | None, str, str]:
        with VeryTmpRoot() as root:
            os.close(root.fileno())
            with pytest.raises(OSError, match="make a new root") as caught:
                root.fileno()
            return caught.value.errno, caught.value.filename, os.path.dirname(os.fspath(root / "f"))

    number, path, expected = in_child(closed)
    assert (number, path) == (errno.EBADF, expected)


def test_descriptors_in_the_place_of_those_that_another_copy_of_this_package_has_kept() -> None:
    """A program has dropped all its modules and imported them anew, and closed all descriptors in between."""

    def daemon() -> bool:
        os.closerange(3, HIGH)
        kept = KeptFds(owner(os.open("/", os.O_PATH)))
        os.closerange(3, HIGH)
        for name in [name for name in sys.modules if name.partition(".")[0] == "verytmp"]:
            del sys.modules[name]
        from verytmp._confined import owned_fd

        new = owned_fd.KeptFds(owned_fd.owner(os.open("/", os.O_PATH)))
        assert type(new) is not KeptFds
        assert (new.filenos, new.identities) == (kept.filenos, kept.identities)
        del kept
        gc.collect()
        return new.are_ours()

    assert in_child(daemon)


def test_what_has_no_inode_of_its_own_is_closed_beside_what_has() -> None:
    """As a helper's pidfd before Linux 6.9, and any eventfd: the program's has the same identity."""

    def daemon(close_all: bool, by_hand: bool) -> bool:
        os.closerange(3, HIGH)
        witness = KeptFds(owner(os.open("/", os.O_PATH)))
        kept = KeptFds(owner(os.eventfd(0)), beside=witness)
        number = kept.fileno()
        if close_all:
            os.closerange(3, HIGH)
            assert [os.eventfd(0), os.eventfd(0)][-1] == number
            assert not witness.are_ours()
        if by_hand:
            witness.close()
            witness.close()
        del kept
        gc.collect()
        return number in host_state.descriptors()

    assert in_child(daemon, True, False)
    assert in_child(daemon, True, True)
    assert not in_child(daemon, False, True)
    assert not in_child(daemon, False, False)


@pytest.mark.skipif(
    FREE_THREADED, reason="a free-threaded Python writes out only some of the files that are open at its end"
)
def test_files_that_a_program_has_in_place_of_ours_are_written_out(host: Path) -> None:
    """At the interpreter's end too, when the modules go before the program's own files."""
    code = """
import os, sys
from verytmp import VeryTmpRoot
root = VeryTmpRoot()
fds = root.path._tree.filenos
os.closerange(3, 1000)
files = [open(f"{sys.argv[1]}/{number}", "w") for number in range(max(fds) + 1)]
for file in files:
    file.write("potatoes")
del root
"""
    subprocess.run([sys.executable, "-c", code, host], check=True)
    assert {file.read_text() for file in host.iterdir()} == {"potatoes"}


def test_operations_of_a_closed_root_touch_no_directory_that_has_its_number(host: Path) -> None:
    (host / "f").write_text("the host's")

    def use() -> list[str]:
        root = VeryTmpRoot()
        path, fd = root / "f", root.path._tree.fd
        root.close()
        os.dup2(os.open(host, os.O_PATH), fd)
        said = []
        for name in (*OPERATIONS, *AS_STRING):
            for each in (path, root.path):
                with contextlib.suppress(ValueError):
                    said.append(f"{name}: {perform(name, each, Place(root, root))!r}")
        return said

    assert [said for said in in_child(use) if not said.startswith(("built-in", "pathlib"))] == []
    assert host_state.look(str(host)) == {"f": b"the host's"}


def test_operations_touch_no_directory_that_has_its_number_though_it_is_not_closed(host: Path) -> None:
    """The program has closed all descriptors, and opened its own."""
    (host / "f").write_text("the host's")

    def use() -> list[str]:
        root = VeryTmpRoot()
        root.fileno()
        os.closerange(3, HIGH)
        while (fd := os.open(host, os.O_RDONLY)) < root.path._tree.fd:
            pass
        assert fd == root.path._tree.fd
        said = []
        with contextlib.suppress(OSError, ValueError):
            said.append(f"of the host: {root.fileno()}")
        for name in (*OPERATIONS, *AS_STRING):
            for each in (root / "f", root.path):
                with contextlib.suppress(OSError, ValueError):
                    said.append(f"{name}: {perform(name, each, Place(root, root))!r}")
        with contextlib.suppress(OSError, ValueError):
            said.append(repr(root.usage()))
        return said

    said = in_child(use)
    assert {line for line in said if "True" in line or "host" in line or "Usage" in line} == set()
    assert host_state.look(str(host)) == {"f": b"the host's"}
