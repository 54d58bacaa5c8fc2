"""Limits of a process, one step at a time: descriptors, memory, signals without end. Nothing is lost, or half-done."""

from __future__ import annotations

import errno
import gc
import os
import resource
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import host_state, kernel
from support.all_operations import INSIDE
from support.children import in_child
from support.makers import made
from support.race_targets import ANSWERS, LOOKS, OPERATIONS, TREES, RaceTarget, tree

from verytmp import VeryTmpRoot, VeryTmpUnavailable

pytestmark = pytest.mark.slow

ENOUGH = 16  # descriptors that no operation needs all of


@pytest.fixture(autouse=True)
def confined() -> None:
    """No tripwire in a process that has no descriptors or memory left; nobody leads it out here."""


def attempt(target: RaceTarget, name: str) -> object:
    try:
        return OPERATIONS[name](target.root / "slot", target)
    except OSError as error:
        return error


# -- descriptors -------------------------------------------------------------------------------------------------------


def test_descriptors_run_out_in_an_operation(target: RaceTarget) -> None:
    """With none, one, two... free descriptors: EMFILE, and a tree as it was, until they are enough."""

    def run_out() -> tuple[list[str], Counter[str]]:
        wrong: list[str] = []
        refused: Counter[str] = Counter()
        for name in OPERATIONS:
            target.reset()
            attempt(target, name)  # what is loaded once is there
            for free in range(ENOUGH):
                target.reset()
                before = host_state.look(target.fd)
                taken = kernel.fill_descriptor_table(free)
                result = attempt(target, name)
                left = kernel.fill_descriptor_table()
                for descriptor in (*taken, *left):
                    os.close(descriptor)
                if len(left) != free:
                    wrong.append(f"{name} with {free}: {free - len(left)} descriptors were lost")
                if not isinstance(result, OSError):
                    if name not in LOOKS:  # which look away
                        break
                    continue
                refused[name] += 1
                if result.errno != (errno.ENOENT if name in ANSWERS else errno.EMFILE):
                    wrong.append(f"{name} with {free}: {result!r}")
                if host_state.look(target.fd) != before and not moved(target, name):
                    wrong.append(f"{name} with {free}: it changed something")
            else:
                if name not in LOOKS:
                    wrong.append(f"{name} was never done")
        return wrong, refused

    wrong, refused = in_child(run_out)
    assert wrong == []
    assert {"open rb f", "read_bytes f", "iterdir", "write_bytes f", "open x+b new", "copy f", "move out"} <= set(
        refused
    )


def moved(target: RaceTarget, name: str) -> bool:
    """Whether what an operation has changed is but a copy that was not finished, or what was moved and is all there."""
    there: Any = host_state.look(target.other.fileno()).get("new")
    if name in ("move out d", "move out"):
        return bool(there == (tree(INSIDE) if name == "move out" else tree(INSIDE)["d"]))
    return name in TREES


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("way", ["direct", "helper"])
def test_descriptors_run_out_while_a_root_is_made(way: str, threads: int) -> None:
    """By the directly mounting process, via a forked child, by a fresh one: an error with a remedy, or a root."""

    def run_out() -> tuple[list[str], int]:
        if way == "helper":
            kernel.drop_capabilities(kernel.CAP_SYS_ADMIN)
        stop = threading.Event()
        for _ in range(threads - 1):
            threading.Thread(target=stop.wait, daemon=True).start()
        VeryTmpRoot().close()
        wrong: list[str] = []
        refused = 0
        for free in range(ENOUGH):
            taken = kernel.fill_descriptor_table(free)
            made = False
            try:
                VeryTmpRoot().close()
                made = True
            except VeryTmpUnavailable as error:
                refused += 1
                if error.errno != errno.EMFILE or "ulimit" not in error.remedy:
                    wrong.append(f"with {free}: {error}")
            left = kernel.fill_descriptor_table()
            for descriptor in (*taken, *left):
                os.close(descriptor)
            if len(left) != free:
                wrong.append(f"with {free}: {free - len(left)} descriptors were lost")
            if host_state.children():
                wrong.append(f"with {free}: a child is left")
            if made:
                break
        return wrong, refused

    wrong, refused = in_child(run_out)
    assert wrong == []
    assert refused >= 2


CHANGES: dict[str, Callable[[VeryTmpRoot], VeryTmpRoot | None]] = {
    "freeze": VeryTmpRoot.freeze,
    "resize": lambda root: root.resize(size="2m"),
    "read_only": VeryTmpRoot.read_only,
    "clone": VeryTmpRoot.clone,
    "clone of a clone": VeryTmpRoot.clone,
    "clone with a name": lambda root: root.clone(at=True),
    "clone by copying": VeryTmpRoot.clone,
}


def to_be_changed(name: str, make: Callable[..., VeryTmpRoot]) -> VeryTmpRoot:
    root = make(size="1m", at=False)
    host_state.make(root.fileno(), tree(INSIDE))
    if name.startswith("clone") and "copying" not in name:
        root.freeze()
        root.clone(at=False).close()  # what stays open from the first one on
    if name == "clone of a clone":
        with root:
            root = root.clone(size="1m", at=False)
        root.freeze()
        root.clone(at=False).close()
    return root


@pytest.mark.tmpfs
@pytest.mark.parametrize(
    ("way", "name"),
    [
        *(("here", name) for name in CHANGES),
        *(("child", name) for name in ("freeze", "read_only", "clone with a name")),
        *(("helper", name) for name in ("freeze", "clone", "clone by copying")),
        *(("entered", name) for name in ("freeze", "clone of a clone")),
    ],
)
def test_descriptors_run_out_while_a_root_is_changed(way: str, name: str) -> None:
    """With none, one, two... free descriptors: it is done, or EMFILE, and the root is as it was."""

    def run_out(make: Callable[..., VeryTmpRoot]) -> tuple[list[str], int]:
        wrong: list[str] = []
        refused = 0
        for free in range(3 * ENOUGH):
            root = to_be_changed(name, make)
            before = root.frozen, root.usage(), host_state.look(root.fileno())
            taken = kernel.fill_descriptor_table(free)
            done: VeryTmpRoot | None = None
            number = 0
            try:
                done = CHANGES[name](root)
            except OSError as error:
                number = error.errno or -1
            gc.collect()
            left = kernel.fill_descriptor_table()
            for descriptor in (*taken, *left):
                os.close(descriptor)
            if host_state.children():
                wrong.append(f"with {free}: a child is left")
            if not number:
                if done is not None:
                    if name.startswith("clone") and (done.kind == "overlay") == ("copying" in name):
                        wrong.append(f"with {free}: {done!r}")
                    if host_state.look(done.fileno()) != before[2]:
                        wrong.append(f"with {free}: {host_state.look(done.fileno())}")
                    done.close()
                elif (root.frozen, root.usage()) == before[:2]:
                    wrong.append(f"with {free}: nothing was done")
                root.close()
                return wrong, refused
            refused += 1
            if number != errno.EMFILE:
                wrong.append(f"with {free}: {errno.errorcode.get(number)}")
            if len(left) != free:
                wrong.append(f"with {free}: {free - len(left)} descriptors were lost")
            if (root.frozen, root.usage(), host_state.look(root.fileno())) != before:
                wrong.append(f"with {free}: it changed something")
            root.close()
        return [*wrong, "it was never done"], refused

    wrong, refused = in_child(made, way, run_out)
    assert wrong == []
    assert refused >= 2


# -- memory ------------------------------------------------------------------------------------------------------------


# More than malloc keeps once it is freed, and than the 64 MiB that it reserves for the arena of a thread (mallopt(3)).
BIG = 80 << 20


MOUNTING = [f"{what}{way}" for what in ("make", "freeze", "view", "clone") for way in ("", " by a child")]


def address_space() -> int:
    """This process's, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


@pytest.mark.parametrize("name", ["read_bytes", "read_text", "write_text", "copy", "rglob", *MOUNTING])
def test_memory_runs_out(name: str) -> None:
    """With so many more bytes of address space than there are, a step at a time: MemoryError, or it is done."""

    def run_out() -> tuple[Counter[str], dict[int, str]]:
        if name.endswith("by a child"):
            kernel.drop_capabilities(kernel.CAP_SYS_ADMIN)
        root = VeryTmpRoot()
        big, text = root / "big", "x" * BIG
        big.write_bytes(bytes(BIG))
        for number in range(300):
            (root / str(number)).touch()
        calls: dict[str, Callable[[], object]] = {
            "read_bytes": big.read_bytes,
            "read_text": big.read_text,
            "write_text": lambda: (root / "new").write_text(text),
            "copy": lambda: big.copy("new"),
            "rglob": lambda: list(root.path.rglob("*")),
            "make": lambda: VeryTmpRoot().close(),
            "freeze": lambda: VeryTmpRoot().freeze(),
            "view": lambda: root.read_only().close(),
            "clone": lambda: template.clone().close(),
        }
        calls |= {f"{name} by a child": call for name, call in calls.items()}
        template = VeryTmpRoot()
        (template / "f").touch()
        template.freeze()
        calls[name]()
        kept = [b""]
        size = address_space()
        while address_space() - size < BIG:  # use up what earlier tests have freed: the next comes from the kernel
            size = address_space()
            kept.append(bytes(BIG))
        kept.pop()
        outcomes: Counter[str] = Counter()
        before = host_state.descriptors()
        for more in range(0, 4 * BIG, BIG // 3):
            limit = resource.getrlimit(resource.RLIMIT_AS)
            resource.setrlimit(resource.RLIMIT_AS, (address_space() + more, limit[1]))
            try:
                calls[name]()
                outcome = "done"
            except MemoryError:
                outcome = "MemoryError"
            except OSError as error:
                outcome = errno.errorcode[error.errno or 0]
            finally:
                resource.setrlimit(resource.RLIMIT_AS, limit)
            outcomes[outcome] += 1
            if big.stat().st_size != BIG or host_state.children():
                outcomes["lost"] += 1
        calls[name]()
        return outcomes, host_state.new_descriptors(before)

    outcomes, left = in_child(run_out)
    assert left == {}
    assert set(outcomes) <= {"done", "MemoryError", "ENOMEM"}
    assert outcomes["done"] > 0
    if name in ("read_bytes", "read_text", "write_text"):
        assert outcomes["MemoryError"] > 0


# -- sizes, processes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nosymfollow", [True, False])
def test_files_may_not_grow(nosymfollow: bool) -> None:
    """RLIMIT_FSIZE is EFBIG for a write: Python ignores SIGXFSZ. Roots can be made all the same."""

    def write() -> tuple[list[int], host_state.Tree]:
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
        root = VeryTmpRoot(nosymfollow=nosymfollow)
        numbers = []
        for name, size in (
            ("a", 5000),
            ("b", 5001),
            ("c", 1000),
        ):
            try:
                (root / name).write_bytes(bytes(size))
                numbers.append(0)
            except OSError as error:
                numbers.append(error.errno or 0)
        return numbers, host_state.look(root.fileno())

    numbers, found = in_child(write)
    assert numbers == [errno.EFBIG, errno.EFBIG, 0]
    assert found == {"a": bytes(1000), "b": bytes(1000), "c": bytes(1000)}


@pytest.mark.skipif(os.geteuid() == 0, reason="root is beyond RLIMIT_NPROC")
def test_no_more_threads() -> None:
    """A process that may start no thread: what would be made in one is made without; and a child cannot be."""

    def make() -> tuple[int, str]:
        stop = threading.Event()
        thread = threading.Thread(target=stop.wait)
        thread.start()
        resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
        try:
            VeryTmpRoot()
        except VeryTmpUnavailable as error:
            return error.errno or 0, error.remedy
        finally:
            stop.set()
            thread.join()
        return 0, ""

    number, remedy = in_child(make)
    assert number == errno.EAGAIN
    assert "ulimit -u" in remedy


@pytest.mark.tmpfs
def test_mount_namespaces_run_out() -> None:
    """Where this process mounts by itself, fsmount(2) takes one for a moment: ENOSPC, after a while of waiting."""

    def make() -> tuple[int, str, str, bool]:
        kernel.mounting_namespaces()
        VeryTmpRoot().close()
        kernel.most_namespaces("mnt", 1)  # which is the one that this process is in
        start = time.monotonic()
        with pytest.raises(VeryTmpUnavailable) as caught:
            VeryTmpRoot()
        waited = time.monotonic() - start
        kernel.most_namespaces("mnt", 100)
        VeryTmpRoot().close()
        return caught.value.errno or 0, caught.value.step, caught.value.remedy, waited > 0.1

    number, step, remedy, waited = in_child(make)
    assert (number, step) == (errno.ENOSPC, "fsmount")
    assert "max_mnt_namespaces" in remedy
    assert waited


@pytest.mark.tmpfs
def test_a_mount_namespace_that_is_still_being_freed() -> None:
    """It is waited for, and then there is a root."""

    def make() -> str:
        kernel.mounting_namespaces()
        kernel.most_namespaces("mnt", 1)
        raiser = os.fork()
        if raiser == 0:
            time.sleep(0.08)
            kernel.most_namespaces("mnt", 100)
            os._exit(0)
        try:
            with VeryTmpRoot() as root:
                return repr(root)
        finally:
            os.waitpid(raiser, 0)

    assert "directly" in in_child(make)


# -- signals -----------------------------------------------------------------------------------------------------------


def test_signals_every_millisecond(target: RaceTarget) -> None:
    """A handler that returns: every call that EINTR ended is made again, and nobody notices."""

    def storm() -> tuple[int, list[str], dict[int, str]]:
        seen = 0

        def handle(*_: object) -> None:
            nonlocal seen
            seen += 1

        for name in OPERATIONS:
            target.reset()
            attempt(target, name)
        before = host_state.descriptors()
        wrong: list[str] = []
        signal.signal(signal.SIGALRM, handle)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        for _ in range(3):
            VeryTmpRoot().close()
            for name in OPERATIONS:
                target.reset()
                result = attempt(target, name)
                if isinstance(result, OSError):
                    wrong.append(f"{name}: {result!r}")
        signal.setitimer(signal.ITIMER_REAL, 0)
        return seen, wrong, host_state.new_descriptors(before)

    seen, wrong, left = in_child(storm)
    assert (wrong, left) == ([], {})
    assert seen > 20


@pytest.mark.parametrize("way", ["direct", "helper"])
@pytest.mark.parametrize("threads", [1, 3])
def test_an_interrupt_at_every_step_of_making_a_root(way: str, threads: int) -> None:
    """Ctrl-C before each call of os and of the mounting modules: KeyboardInterrupt, and nothing is left of the root."""

    def interrupted() -> tuple[int, int, dict[int, str], list[str]]:
        if way == "helper":
            kernel.drop_capabilities(kernel.CAP_SYS_ADMIN)
        stop = threading.Event()
        for _ in range(threads - 1):
            threading.Thread(target=stop.wait, daemon=True).start()
        VeryTmpRoot().close()
        before = host_state.descriptors()
        caught = number = 0
        calls = 1
        main = os.getpid()

        def profile(frame: Any, event: str, _: object) -> None:
            nonlocal calls
            if event in ("call", "c_call") and os.getpid() == main and "verytmp" in frame.f_code.co_filename:
                calls += 1
                if calls == number:
                    os.kill(main, signal.SIGINT)

        signal.signal(signal.SIGINT, signal.default_int_handler)
        # A destructor's exception is only reported. pytest keeps what it is about, with the descriptors in it.
        sys.unraisablehook = lambda _: None
        while number <= calls:
            number, calls = number + 1, 0
            sys.setprofile(profile)
            threading.setprofile(profile)
            try:
                VeryTmpRoot().close()
            except KeyboardInterrupt:
                caught += 1
            finally:
                sys.setprofile(None)
                threading.setprofile(None)
        for _ in range(100):  # what a thread has begun goes on for a moment
            left = host_state.new_descriptors(before)
            if not left and not host_state.children():
                break
            time.sleep(0.02)
        return number, caught, left, host_state.children()

    number, caught, left, children = in_child(interrupted)
    assert (left, children) == ({}, [])
    assert caught > 20
    assert caught > number / 2
