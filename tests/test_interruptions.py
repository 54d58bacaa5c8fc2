"""What a signal handler that raises may come between, and a thread that closes: nothing is lost, or closed twice."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable

import pytest
from support import host_state, kernel
from support.children import in_child

from verytmp import VeryTmpRoot
from verytmp._confined.owned_fd import call_owned, call_uninterrupted

pytestmark = pytest.mark.slow


class Interrupted(Exception):
    pass


def storm(make: Callable[[], Callable[[], object]], count: int, period: float) -> tuple[dict[int, str], list[str]]:
    """Call a function again and again, with so many interruptions: which descriptors are left, and what else it raised.

    The first call makes what the second one is to use, so that all goes when this ends.
    """
    caught, armed, others = 0, False, []

    def interrupt(*_: object) -> None:
        nonlocal caught, armed
        if armed:
            caught, armed = caught + 1, False
            raise Interrupted

    warnings.simplefilter(
        "ignore", ResourceWarning
    )  # of a file whose opening was interrupted: it is closed all the same
    # One that comes in a callback of the garbage collector (Hypothesis has one) is nobody's to catch. pytest would keep
    # it, and with it the frames that it came to, and their roots.
    sys.unraisablehook = lambda _: None
    call = make()
    call()
    before = host_state.descriptors()
    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, period, period)
    while caught < count:
        try:
            armed = True
            call()
            armed = False
        except Interrupted:
            pass
        except OSError as error:
            others.append(repr(error))
    signal.setitimer(signal.ITIMER_REAL, 0)
    return host_state.new_descriptors(before), others


@pytest.mark.parametrize("owned", [False, True])
def test_a_call_is_not_interrupted(owned: bool) -> None:
    """No descriptor is lost between a call and the name for its result."""

    def with_a_name() -> None:
        fd = -1
        try:
            fd = call_uninterrupted(os.dup, 2)
        finally:
            if fd >= 0:
                os.close(fd)

    def with_an_owner() -> None:
        call_owned(os.dup, 2)

    left, others = in_child(storm, lambda: with_an_owner if owned else with_a_name, 1000, 0.0001)
    assert (left, others) == ({}, [])


@pytest.mark.parametrize("kind", ["root", "clone", "view"])
@pytest.mark.parametrize("threads", [1, 2])
def test_roots_are_made(threads: int, kind: str) -> None:
    """No descriptor, child or blocked signal is left. Where there is a second thread, it is given signals too."""

    def prepare() -> Callable[[], object]:
        if kind == "root":
            return lambda: VeryTmpRoot().close()
        template = VeryTmpRoot()
        if kind == "view":
            return lambda: template.read_only().close()
        template.freeze()
        return lambda: template.clone().close()

    def interrupted() -> tuple[dict[int, str], list[str], list[str], set[int]]:
        over = threading.Event()
        if threads > 1:
            threading.Thread(target=over.wait).start()
        left, others = storm(prepare, 300 if kind == "root" else 100, 0.0007)
        for _ in range(100):  # what a thread has begun goes on for a moment
            if not left and not host_state.children():
                break
            time.sleep(0.05)
            gc.collect()  # an exception that came at the wrong moment may be in a circle with what it interrupted
            left = {number: path for number, path in host_state.descriptors().items() if left.get(number) == path}
        over.set()
        return left, others, host_state.children(), set(signal.pthread_sigmask(signal.SIG_BLOCK, []))

    left, others, children, mask = in_child(interrupted)
    assert (left, others, children, mask) == ({}, [], [], set())


@pytest.mark.parametrize(
    "operation",
    [
        "open",
        "text",
        "append",
        "open link",
        "directory",
        "read_bytes",
        "write_bytes",
        "touch",
        "iterdir",
        "link",
        "above",
        "chmod",
        "rename",
        "rglob",
    ],
)
@pytest.mark.parametrize("nosymfollow", [True, False])
def test_paths_are_used(operation: str, nosymfollow: bool) -> None:
    def make() -> Callable[[], object]:
        root = VeryTmpRoot(nosymfollow=nosymfollow)
        path = root / "d" / "f"
        path.parent.mkdir()
        path.write_bytes(b"x" * 100)
        (root / "l").symlink_to("d")
        calls: dict[str, Callable[[], object]] = {
            "open": lambda: path.open("rb").close(),
            "text": lambda: path.open("w").close(),
            "append": lambda: path.open("ab", 7).close(),
            "open link": (root / "l" / "f").open,
            "directory": lambda: refused(path.parent.open),
            "read_bytes": path.read_bytes,
            "write_bytes": lambda: path.write_bytes(b"y"),
            "touch": (root / "t").touch,
            "iterdir": lambda: list(path.parent.iterdir()),
            "link": (root / "l" / "f").read_bytes,
            "above": (root / "d" / ".." / "d" / "f").read_bytes,
            "chmod": lambda: (root / "l").chmod(0o700),
            "rename": lambda: path.rename("/d/f"),
            "rglob": lambda: list(root.path.rglob("*")),
        }
        return calls[operation]

    def refused(call: Callable[[], object]) -> None:
        try:
            call()
        except IsADirectoryError:
            pass

    left, others = in_child(storm, make, 150, 0.0002)
    assert (left, others) == ({}, [])


@pytest.mark.parametrize("mode", ["rb", "w"])
def test_an_audit_hook_refuses(mode: str) -> None:
    """It is asked about a descriptor that is open already, when a file object is made of it."""

    def refused() -> tuple[int, dict[int, str]]:
        path = VeryTmpRoot() / "f"
        path.touch()
        before, count, armed = host_state.descriptors(), 0, [True]

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            if armed and event == "open" and isinstance(arguments[0], int):
                raise Interrupted

        sys.addaudithook(hook)
        for _ in range(10):
            try:
                path.open(mode).close()
            except Interrupted:
                count += 1
        armed.clear()
        return count, host_state.new_descriptors(before)

    assert in_child(refused) == (10, {})


@pytest.mark.parametrize("operation", ["touch", "iterdir", "stat", "open"])
def test_closing_comes_between(operation: str) -> None:
    """One thread closes the root while another uses its directory itself."""

    def race() -> tuple[int, dict[int, str]]:
        VeryTmpRoot().close()
        before = host_state.descriptors()
        refused = 0
        for _ in range(100):
            root = VeryTmpRoot()
            path = root.path
            calls: dict[str, Callable[[], object]] = {
                "touch": path.touch,
                "iterdir": lambda path=path: list(path.iterdir()),  # type: ignore[misc]
                "stat": path.stat,
                "open": lambda path=path: path.open().close(),  # type: ignore[misc]
            }
            closer = threading.Thread(target=root.close)
            closer.start()
            try:
                while True:
                    try:
                        calls[operation]()
                    except IsADirectoryError:
                        pass
            except ValueError:
                refused += 1
            closer.join()
            del root, path, calls, closer
        return refused, host_state.new_descriptors(before)

    refused, left = in_child(race)
    assert refused == 100
    assert left == {}


def test_a_signal_is_handled_as_soon_as_the_root_is_made() -> None:
    def ask() -> bool:
        seen = []
        signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
        os.kill(os.getpid(), signal.SIGUSR1)
        with VeryTmpRoot():
            pass
        return bool(seen) and signal.pthread_sigmask(signal.SIG_BLOCK, []) == {signal.SIGUSR2}

    assert in_child(ask)


@pytest.mark.parametrize("nosymfollow", [True, False])
def test_a_directory_and_a_link_change_places(nosymfollow: bool) -> None:
    """Both have what is looked for, so it is there at every moment, and found."""

    def swap() -> tuple[int, int]:
        root = VeryTmpRoot(nosymfollow=nosymfollow)
        for directory in ("slot", "real"):
            (root / directory).mkdir()
            (root / directory / "inside").write_text("x")
        (root / "link").symlink_to("real")
        over = threading.Event()

        def exchange() -> None:
            while not over.is_set():
                kernel.exchange(root.fileno(), "slot", "link")

        swapper = threading.Thread(target=exchange)
        swapper.start()
        path, missed, count = root / "slot" / "inside", 0, 0
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            missed += not path.exists()
            count += path.read_text() == "x"
        over.set()
        swapper.join()
        return missed, count

    missed, count = in_child(swap)
    assert missed == 0
    assert count > 100
