"""The mounting child, from its parent's side: whatever it does, the parent hears it, gives up in time, and reaps."""

from __future__ import annotations

import array
import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from support import host_state, kernel
from support.children import in_child, processes_with

from verytmp import VeryTmpFactory, VeryTmpRoot
from verytmp._mounting import answering, child_process, protocol
from verytmp._mounting import child as _helper
from verytmp._mounting.channel import Channel
from verytmp._mounting.child import Child
from verytmp._mounting.protocol import CallLog, Refused, Reply, Request
from verytmp._mounting.signals import Caller
from verytmp._mounting.spec import MountSpec

Speak = Callable[[socket.socket], object]

PTRACE_TRACEME = 0


def fds(*descriptors: int) -> list[tuple[int, int, bytes]]:
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors).tobytes())]


def hear(speak: Speak) -> Reply:
    """What the parent makes of a child that speaks so, and then ends. The child is gone afterwards, in any case."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with closing(Channel(ours.detach())) as channel:
        with theirs:
            pid = os.fork()
            if pid == 0:
                try:
                    speak(theirs)
                finally:
                    os._exit(0)
        child = Child(pid)
        try:
            caller = Caller(threads=1)
            with caller.signals:
                return _helper.read_answer(channel, child, caller)
        finally:
            child.kill()


def refusals(speak: Speak) -> list[tuple[str, int, str]]:
    with pytest.raises(Refused) as caught:
        hear(speak)
    return caught.value.refusals


def test_an_answer_comes_with_its_descriptor() -> None:
    reply = hear(lambda peer: peer.sendmsg([b"done\x001\0fsopen"], fds(os.open("/", os.O_PATH))))
    [fd] = reply.fds
    with fd:
        assert reply.how == "fsopen"
        assert os.readlink(f"/proc/self/fd/{fd.fileno()}") == "/"
        assert not os.get_inheritable(fd.fileno())


def test_refusals_arrive_whole() -> None:
    said = [("fsopen", errno.EPERM, "Operation not permitted"), ("mount", errno.EACCES, "Permission denied")]
    assert refusals(lambda peer: peer.send(protocol.encode_refusals(said))) == said


def test_a_child_that_says_nothing() -> None:
    assert refusals(lambda peer: None) == [("start", errno.ECONNRESET, "the one-shot child ended with status 0")]


def test_a_child_that_ends_in_a_step() -> None:
    def speak(peer: socket.socket) -> None:
        peer.send(b"step\0uid_map")
        os._exit(7)

    assert refusals(speak) == [("uid_map", errno.ECONNRESET, "the one-shot child ended with status 7")]


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (signal.SIGKILL, errno.ECONNRESET, "the one-shot child was killed by SIGKILL"),
        (signal.SIGSYS, errno.ENOSYS, "a seccomp filter killed the one-shot child (SIGSYS)"),
        (signal.SIGRTMIN + 3, errno.ECONNRESET, f"the one-shot child was killed by signal {signal.SIGRTMIN + 3}"),
    ],
)
def test_a_child_that_is_killed(number: int, code: int, words: str) -> None:
    def speak(peer: socket.socket) -> None:
        peer.send(b"step\0fsopen")
        os.kill(os.getpid(), number)
        time.sleep(60)

    assert refusals(speak) == [("fsopen", code, words)]


@pytest.mark.parametrize(
    "message",
    [
        b"\xff\xfe\xfd",
        b"done\0fsopen",
        b"done\0x\0fsopen",
        b"done\x00254\0fsopen",  # more than the kernel passes
        b"done\x001\0fsopen\0fsopen",
        b"done",
        b"tried",
        b"tmpfs\0size=1",
        b"step",
        b"step\0a\0b",
        b"refused",
        b"refused\0a\0b\0c",
        b"\0" * 9,
    ],
)
def test_nonsense_is_no_answer(message: bytes) -> None:
    [(step, number, text)] = refusals(lambda peer: peer.send(message))
    assert (step, number) == ("start", errno.EPROTO)
    assert "the one-shot child" in text


def test_descriptors_that_nobody_asked_for_are_closed() -> None:
    before = host_state.descriptors()

    def many(peer: socket.socket) -> None:
        peer.sendmsg([b"done\0fsopen"], fds(*[peer.fileno()] * 5))

    def more_than_announced(peer: socket.socket) -> None:
        peer.sendmsg([b"done\x001\0fsopen"], fds(*[peer.fileno()] * 5))

    def too_many(peer: socket.socket) -> None:
        peer.sendmsg([b"done\0fsopen"], fds(*[peer.fileno()] * 200))

    def with_nonsense(peer: socket.socket) -> None:
        peer.sendmsg([b"step\0fsopen\0x"], fds(*[peer.fileno()] * 3))

    assert len(hear(more_than_announced).fds) == 1
    assert refusals(many)[0][1] == errno.EPROTO
    assert refusals(too_many)[0][1] == errno.EPROTO
    assert refusals(with_nonsense)[0][1] == errno.EPROTO
    assert host_state.new_descriptors(before) == {}


@pytest.fixture
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_helper, "ANSWER_PATIENCE", 0.3)


@pytest.mark.usefixtures("little_patience")
def test_a_child_that_hangs_is_given_up() -> None:
    def speak(peer: socket.socket) -> None:
        peer.send(b"step\0mount")
        time.sleep(60)

    start = time.monotonic()
    assert refusals(speak) == [("mount", errno.ETIMEDOUT, "no answer from the one-shot child in 0.3 s")]
    assert time.monotonic() - start < 10


def test_a_dead_child_is_noticed_while_another_process_holds_its_socket() -> None:
    ended, end = os.pipe()

    def speak(peer: socket.socket) -> None:
        if os.fork() == 0:
            os.close(end)
            os.read(ended, 1)  # until the test is over

    try:
        start = time.monotonic()
        assert refusals(speak) == [("start", errno.ECONNRESET, "the one-shot child ended with status 0")]
        assert time.monotonic() - start < _helper.ANSWER_PATIENCE / 2
    finally:
        os.close(end)
        os.close(ended)


class Interrupted(Exception):
    pass


@pytest.fixture
def alarm() -> Iterator[None]:
    def interrupt(*_: object) -> None:
        raise Interrupted

    old = signal.signal(signal.SIGALRM, interrupt)
    yield
    signal.signal(signal.SIGALRM, old)


@pytest.mark.usefixtures("alarm")
def test_waiting_can_be_interrupted() -> None:
    def send_and_hang(_: socket.socket) -> None:
        time.sleep(0.2)  # whoever is slower to begin waiting meets it there all the same
        os.kill(os.getppid(), signal.SIGALRM)
        time.sleep(60)

    with pytest.raises(Interrupted):
        hear(send_and_hang)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()


@pytest.mark.parametrize("traced", [False, True])
def test_what_is_stopped(traced: bool) -> None:
    """By SIGSTOP alone, and where a debugger is told of that: the two states have letters of their own."""
    pid = os.fork()
    if pid == 0:
        if traced:
            kernel.libc.ptrace(PTRACE_TRACEME, 0, 0, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(1)
    assert not _helper.is_stopped(os.getpid())
    assert os.waitpid(pid, os.WUNTRACED)[0] == pid
    stopped = _helper.is_stopped(pid)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert stopped
    assert not _helper.is_stopped(pid)


SPEC = MountSpec(directory="dev/null", token="x7k2m9qa")
REQUEST = Request(protocol.TMPFS, SPEC.encode())


def perform(request: Request = REQUEST, threads: int = 1) -> Reply:
    caller = Caller(threads)
    with caller.signals:
        return _helper.perform(request, caller)


@pytest.mark.parametrize("threads", [1, 2], ids=["forked", "fresh"])
def test_a_child_mounts(threads: int) -> None:
    reply = perform(threads=threads)
    assert reply.how == "fsopen"
    above, mount, *namespace = reply.fds  # the user namespace that this process needed, and may share
    assert os.listdir(f"/proc/self/fd/{above.fileno()}") == ["x7k2m9qa"]
    for fd in (above, mount, *namespace):
        assert not os.get_inheritable(fd.fileno())
        fd.close()


@pytest.mark.parametrize("threads", [1, 2], ids=["forked", "fresh"])
def test_a_child_refuses(threads: int) -> None:
    with pytest.raises(Refused) as caught:
        perform(Request(protocol.TMPFS, SPEC.replace(options=(("size", "banana"),)).encode()), threads)
    assert caught.value.refusals == [("fsconfig(size)", errno.EINVAL, "tmpfs: Bad value for 'size'")]


def test_an_operation_that_is_not_on_the_table() -> None:
    with pytest.raises(Refused) as caught:
        perform(Request("no such operation"))
    assert "no such operation" in caught.value.refusals[0][2]


def test_without_standard_streams() -> None:
    """The socket may then be descriptor 0 itself, where dup2 changes nothing."""

    def make() -> str:
        for descriptor in range(3):
            os.close(descriptor)
        return perform(threads=2).how

    assert in_child(make) == "fsopen"


def reap_all(*_: object) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


@pytest.mark.parametrize("threads", [1, 2], ids=["forked", "fresh"])
@pytest.mark.parametrize("disposition", [signal.SIG_IGN, "reaper"])
def test_somebody_else_reaps(threads: int, disposition: object) -> None:
    def make() -> list[str]:
        if disposition == "reaper":
            signal.signal(signal.SIGCHLD, reap_all)
        else:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        for _ in range(5):
            for fd in perform(threads=threads).fds:
                fd.close()
        return host_state.children()

    assert in_child(make) == []


def test_the_fresh_interpreter_loads_the_childs_rooms_alone() -> None:
    """Not the package's face, with pathlib behind it, nor site; Python itself says what it imports.

    It is waited for: `socket` alone, with enum and selectors, took a third of its life.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        ours.send(REQUEST.encode())
        command = [sys.executable, "-I", "-S", "-B", "-X", "importtime", child_process.__file__]
        with theirs:
            result = subprocess.run(command, stdin=theirs.fileno(), stderr=subprocess.PIPE, text=True)
        while message := ours.recv(protocol.MESSAGE_BYTES):
            last = message
    assert protocol.decode(last)[0] == protocol.DONE
    loaded = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    few = ("answering", "child_process", "named", "namespaces", "protocol", "spec", "tmpfs")
    modules = {"verytmp._syscalls", "verytmp._mounting", *(f"verytmp._mounting.{name}" for name in few)}
    assert {name for name in loaded if name.startswith("verytmp")} == modules
    assert not loaded & {"site", "pathlib", "typing", "subprocess", "contextlib"}
    assert not loaded & {"socket", "selectors", "enum", "collections", "functools", "re"}


def test_a_parent_that_dies_first_leaves_no_child() -> None:
    """Killed before it has asked for anything. A child that waited for it would keep every root of it alive."""
    code = """
import os, signal
from verytmp._mounting import child as _helper
from verytmp._mounting.channel import Channel
from verytmp._mounting.protocol import Request
from verytmp._mounting.signals import Caller
Channel.ask = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
caller = Caller(threads=THREADS)
with caller.signals:
    _helper.perform(Request("tmpfs"), caller)
"""
    for threads in ("1", "2"):
        mark = uuid.uuid4().hex
        environment = os.environ | {"VERYTMP_TEST_MARK": mark}
        killed = subprocess.run([sys.executable, "-c", code.replace("THREADS", threads)], env=environment)
        assert killed.returncode == -signal.SIGKILL
        deadline = time.monotonic() + 10
        while left := processes_with(mark):
            assert time.monotonic() < deadline, left
            time.sleep(0.01)


def test_a_function_that_runs_after_each_fork_gets_no_root_in_the_child() -> None:
    """Its child's child would run it too, and so on."""
    code = """
import os
from verytmp import VeryTmpUnavailable
from verytmp._mounting import child as _helper
from verytmp._mounting.protocol import Request
from verytmp._mounting.signals import Caller
from verytmp._mounting.spec import MountSpec
caller = Caller(threads=1)
def ask():
    with caller.signals:
        spec = MountSpec(directory="dev/null", token="x7k2m9qa")
        return _helper.perform(Request("tmpfs", spec.encode()), caller)
os.register_at_fork(after_in_child=ask)
print(len(ask().fds) >= 2)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "True\n")
    assert result.stderr.count("Exception ignored in") == 1


def test_roots_are_made_while_the_interpreter_shuts_down() -> None:
    """Python 3.12 refuses to fork then."""
    code = """
import atexit
from verytmp._mounting import child as _helper
from verytmp._mounting.protocol import Request
from verytmp._mounting.signals import Caller
from verytmp._mounting.spec import MountSpec
caller = Caller(threads=1)
@atexit.register
def ask():
    with caller.signals:
        spec = MountSpec(directory="dev/null", token="x7k2m9qa")
        print(len(_helper.perform(Request("tmpfs", spec.encode()), caller).fds) >= 2)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "True\n", "")


@pytest.mark.parametrize("name", ["geteuid", "getegid", "getuid", "getgid", "getpid", "getppid"])
@pytest.mark.parametrize("answer", [0, 4711])
def test_what_a_test_has_put_in_the_place_of_a_user_or_a_process(
    monkeypatch: pytest.MonkeyPatch, name: str, answer: int
) -> None:
    """As programs are tested that ask whether they are root: the root is the real user's."""

    def make() -> set[tuple[str, int]]:
        user = os.geteuid()
        kernel.drop_capabilities(kernel.CAP_SYS_ADMIN)
        with VeryTmpFactory() as factory:
            monkeypatch.setattr(os, name, lambda: answer)
            roots = [VeryTmpRoot(), factory(), factory(), VeryTmpRoot(fallback="shm")]
            return {(root.kind, root.path.stat().st_uid - user) for root in roots}

    assert in_child(make) == {("tmpfs", 0)}


SUB_INTERPRETER = """
import importlib, sys
sys.path.insert(0, {tests!r})
from support import kernel
kernel.drop_capabilities(kernel.CAP_SYS_ADMIN)
for name in "_interpreters", "_xxsubinterpreters":
    try:
        interpreters = importlib.import_module(name)
    except ImportError:
        continue
    number = interpreters.create({kind})
    failed = interpreters.run_string(number, "import sys; sys.path[:] = " + repr(sys.path) + {code!r})
    assert failed is None, failed
    interpreters.destroy(number)
    break
"""
# The kind that may fork, by Python's own account, as mod_wsgi's are; its forked child ends at once.
LEGACY = "'legacy'" if sys.version_info >= (3, 13) else "isolated=False"


@pytest.mark.parametrize("kind", ["", LEGACY], ids=["isolated", "legacy"])
@pytest.mark.parametrize("executable", [sys.executable, "/usr/sbin/apache2"], ids=["spawns", "cannot spawn"])
def test_a_sub_interpreter_gets_a_root_or_a_sentence(kind: str, executable: str) -> None:
    code = f"""
sys.executable = {executable!r}
import subprocess
from verytmp import VeryTmpRoot, VeryTmpUnavailable
try:
    VeryTmpRoot().close()
    with VeryTmpRoot(at=True) as root:
        try:
            subprocess.run(["true"])
        except RuntimeError:  # an isolated one starts no programs before Python 3.12
            pass
        else:
            root.run(["true"], check=True)
    print("made")
except VeryTmpUnavailable as error:
    print("refused:", error.step, error.cause)
"""
    run = SUB_INTERPRETER.format(tests=os.path.dirname(__file__), kind=kind, code=code)
    result = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    if result.stdout != "refused: import python\n" or kind:  # ctypes is not for all
        assert result.stdout == ("made\n" if executable == sys.executable else "refused: fork python\n")


# -- the child's side --------------------------------------------------------------------------------------------------


def test_whatever_goes_wrong_in_the_child_is_told() -> None:
    def fail(_: Request, log: CallLog) -> tuple[bytes, list[int]]:
        log("fsopen")
        raise ZeroDivisionError("of all things")

    def refuse(_: Request, log: CallLog) -> tuple[bytes, list[int]]:
        raise OSError(errno.EPERM, "it says no")

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        log = answering.ReportedCalls(theirs)
        ours.send(REQUEST.encode())
        assert answering.answer(theirs, log, fail)
        ours.send(REQUEST.encode())
        assert answering.answer(theirs, log, refuse)
        ours.send(b"banana")
        assert answering.answer(theirs, log, refuse)
        ours.shutdown(socket.SHUT_WR)
        assert not answering.answer(theirs, log, refuse)
        said = [protocol.decode(ours.recv(protocol.MESSAGE_BYTES)) for _ in range(4)]
    assert said == [
        ("step", ["fsopen"]),
        ("refused", ["fsopen", str(errno.EIO), "ZeroDivisionError('of all things')"]),
        ("refused", ["recvmsg", str(errno.EPERM), "it says no"]),
        ("refused", ["recvmsg", str(errno.EPROTO), "'' is no number of descriptors"]),
    ]


def test_a_process_that_has_no_descriptor() -> None:
    assert child_process.pidfd(0) is None


@pytest.mark.parametrize("executable", ["", "gone", "relative", "directory", "no text"])
def test_without_an_interpreter_a_copy_will_do(executable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    value: Any = {
        "": None,
        "gone": "/nonexistent/python3",
        "relative": os.path.relpath(sys.executable),
        "directory": "/usr/lib/python3",
        "no text": b"/usr/bin/python3",
    }[executable]
    monkeypatch.setattr(sys, "executable", value)
    assert _helper.interpreter() == ""
    for fd in perform(threads=2).fds:
        fd.close()


ENVIRONMENTS: dict[str, Any] = {
    "too long": {"X": "x" * (1 << 17), "LD_LIBRARY_PATH": "/" * (1 << 17)},
    "a NUL": {"X": "a\0b", "LD_LIBRARY_PATH": "a\0b"},
    "no text": {"X": None, 3: "x", "LD_LIBRARY_PATH": 3},
    "no bytes": {"LD_LIBRARY_PATH": "\ud800"},
    "an equals sign": {"VERYTMP_A=B": "x", "=": "x"},
    "for others": {"PYTHONHOME": "/nonexistent", "LD_PRELOAD": "/nonexistent"},
    "nothing": {},
}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_fresh_interpreter_needs_no_environment(environment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", ENVIRONMENTS[environment])
    assert _helper.environment() == {}
    for fd in perform(threads=2).fds:
        fd.close()


def test_a_fresh_interpreter_finds_its_own_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"LD_LIBRARY_PATH": "/opt/python/lib", "HOME": "/root", "VERYTMP_X": "y"})
    assert _helper.environment() == {b"LD_LIBRARY_PATH": b"/opt/python/lib", b"VERYTMP_X": b"y"}
