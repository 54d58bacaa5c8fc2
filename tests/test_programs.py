"""Programs where a root has its name: as `subprocess` starts them, with its keywords and errors."""

from __future__ import annotations

import _thread
import asyncio
import functools
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT, CalledProcessError, Popen, TimeoutExpired
from typing import Any

import pytest
from support import host_state, kernel
from support.children import HIGH, in_child

import verytmp
from verytmp import VeryTmpRoot
from verytmp._mounting.child import FORKED_MAX, should_fork
from verytmp._mounting.signals import Caller
from verytmp._programs import run as programs
from verytmp._programs import trampoline
from verytmp._programs.run import State

AT = "/work"


@pytest.fixture(autouse=True)
def passable_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """PATH without directories that this user may not pass: behind them, a missing program is EACCES."""
    found = os.get_exec_path()
    monkeypatch.setenv("PATH", ":".join(folder for folder in found if os.access(folder, os.X_OK)))


WAYS = ["a fork", "a fresh interpreter", *(["a thread"] if kernel.may_mount() else [])]


@pytest.fixture(params=WAYS)
def named(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[VeryTmpRoot]:
    """A root with a name, in each of the ways by which programs get into its namespace."""
    start_by(monkeypatch, request.param)
    with VeryTmpRoot(at=AT, size="64m") as root:
        yield root


def start_by(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    monkeypatch.setattr(State, "may_fork", way == "a fork")
    monkeypatch.setattr(State, "may_thread", way == "a thread")
    if way == "a thread":
        monkeypatch.setattr(programs, "by_trampoline", None)


def output(root: VeryTmpRoot, *args: object, **options: Any) -> str:
    return str(root.run(list(args), check=True, stdout=PIPE, text=True, **options).stdout)


# -- as subprocess -----------------------------------------------------------------------------------------------------

SCRIPT = "import sys, os; print(os.getcwd()); print(sys.stdin.read(), file=sys.stderr); sys.exit(3)"

SAME: dict[str, tuple[Any, dict[str, Any]]] = {
    "a list": (["sh", "-c", "echo out; echo err >&2; exit 3"], {"capture_output": True}),
    "a string": ("true", {}),
    "a path": (Path("/bin/true"), {}),
    "bytes": ([b"printf", b"%s", b"\xff\xfe"], {"stdout": PIPE}),
    "shell": ("echo $0 $((1 + 1)); exit 4", {"shell": True, "stdout": PIPE}),
    "shell with arguments": (["echo $0 $1", "zero", "one"], {"shell": True, "stdout": PIPE}),
    "another shell": ("echo $0", {"shell": True, "executable": "/bin/bash", "stdout": PIPE}),
    "executable": (["a name", "-c", "echo $0"], {"executable": "/bin/sh", "stdout": PIPE}),
    "input": (["cat"], {"input": b"potatoes\n", "stdout": PIPE}),
    "text": (["cat"], {"input": "p\u00f6tatoes\n", "stdout": PIPE, "text": True, "encoding": "utf-8"}),
    "errors": (["printf", "\\377"], {"stdout": PIPE, "encoding": "ascii", "errors": "replace"}),
    "universal newlines": (["printf", "a\\r\\nb"], {"stdout": PIPE, "universal_newlines": True}),
    "stderr to stdout": (["sh", "-c", "echo err >&2"], {"stdout": PIPE, "stderr": STDOUT}),
    "killed": (["sh", "-c", "kill -9 $$"], {}),
    "env": (["env"], {"env": {"ONE": "1", "PATH": os.defpath}, "stdout": PIPE}),
    "an empty env": (["/usr/bin/env"], {"env": {}, "stdout": PIPE}),
    "a C locale": (["env"], {"env": {"PATH": os.defpath, "LC_ALL": "C", "LC_CTYPE": "C"}, "stdout": PIPE}),
    "no locale": (["/usr/bin/env"], {"env": {"PATH": "/"}, "stdout": PIPE}),
    "cwd": (["pwd"], {"cwd": "/usr", "stdout": PIPE}),
    "umask": (["sh", "-c", "umask"], {"umask": 0o027, "stdout": PIPE}),
    "signals": (["grep", "SigIgn", "/proc/self/status"], {"stdout": PIPE}),
    "signals kept": (["grep", "SigIgn", "/proc/self/status"], {"stdout": PIPE, "restore_signals": False}),
    "blocked signals": (["grep", "SigBlk", "/proc/self/status"], {"stdout": PIPE}),
    "status": (["false"], {"check": True}),
    "status with output": (["sh", "-c", "echo out; exit 5"], {"check": True, "capture_output": True}),
    "not there": (["verytmp-nonesuch"], {}),
    "not there with a path": (["/verytmp/nonesuch"], {}),
    "no program": (["/etc/passwd"], {}),
    "a directory": (["/"], {}),
    "no cwd": (["true"], {"cwd": "/verytmp-nonesuch"}),
    "cwd is a file": (["true"], {"cwd": "/etc/passwd"}),
    "not found in PATH": (["true"], {"env": {"PATH": "/verytmp-nonesuch"}}),
    "a user": (["id", "-u"], {"user": os.geteuid(), "stdout": PIPE}),
    "a null byte": (["true", "a\0b"], {}),
    "a null byte in cwd": (["true"], {"cwd": "a\0b"}),
    "a number": (["true", 7], {}),
    "nothing": ([], {}),
    "input and stdin": (["true"], {"input": b"", "stdin": PIPE}),
    "capture and stdout": (["true"], {"capture_output": True, "stdout": PIPE}),
    "no such keyword": (["true"], {"nonesuch": 1}),
    "no such user": (["true"], {"user": "verytmp-nonesuch"}),
    "a negative user": (["true"], {"user": -1}),
    "a user of another type": (["true"], {"user": 1.5}),
    "a new session": (["sh", "-c", "ps -o sid= -p $$ | tr -d ' '; test $(ps -o sid= -p $$) = $$"], {
        "start_new_session": True, "stdout": DEVNULL,
    }),
    "a process group": (["sh", "-c", "test $(ps -o pgid= -p $$) = $$"], {"process_group": 0}),
}  # fmt: skip


def outcome(call: Callable[..., Any], args: Any, options: dict[str, Any]) -> Any:
    try:
        done = call(args, **options)
    except OSError as error:
        return type(error), error.errno, error.filename
    except CalledProcessError as error:
        return error.returncode, error.cmd, error.output, error.stderr
    except (ValueError, TypeError, KeyError, IndexError) as error:
        return type(error)
    return done.args, done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("case", SAME)
def test_it_is_as_subprocess(named: VeryTmpRoot, case: str) -> None:
    args, options = SAME[case]
    assert outcome(named.run, args, options) == outcome(subprocess.run, args, options)


def test_bash_is_there_for_the_table() -> None:
    assert os.access("/bin/bash", os.X_OK)


# -- what is another's -------------------------------------------------------------------------------------------------


def test_paths_become_names(named: VeryTmpRoot) -> None:
    (named / "d").mkdir()
    (named / "d" / "f").write_text("potatoes")
    path = named / "d" / "f"
    done = named.run(["cat", path], capture_output=True, text=True)
    assert (done.args, done.stdout) == (["cat", f"{AT}/d/f"], "potatoes")
    assert output(named, "pwd") == f"{AT}\n"
    assert output(named, "pwd", cwd=named / "d") == f"{AT}/d\n"
    assert output(named, "pwd", cwd="d") == f"{AT}/d\n"
    assert output(named, "ls", named) == "d\n"
    assert output(named, "sh", "-c", "echo $F", env={**os.environ, "F": path}) == f"{AT}/d/f\n"
    path.write_text("#!/bin/sh\necho $0\n")
    path.chmod(0o700)
    assert output(named, path) == f"{AT}/d/f\n"
    assert output(named, "./f", cwd=path.parent) == "./f\n"
    assert named.run(path, stdout=PIPE, text=True).stdout == f"{AT}/d/f\n"
    assert output(named, "zero", executable=path) == f"{AT}/d/f\n"
    assert output(named, "f", env={"PATH": named / "d"}) == f"{AT}/d/f\n"


def test_another_roots_path_is_refused(named: VeryTmpRoot) -> None:
    with VeryTmpRoot(at=AT) as other:
        for args, options in (
            (["cat", other / "f"], {}),
            (["true"], {"cwd": other}),
            (["true"], {"env": {"F": other / "f"}}),
            (["true"], {"executable": other / "f"}),
        ):
            with pytest.raises(ValueError, match="another root"):
                named.run(args, **options)
        with pytest.raises(ValueError, match="another root"):
            named.wrap(["cat", other / "f"])


def test_a_program_gets_no_descriptor_and_no_capability(named: VeryTmpRoot) -> None:
    code = "import os; print(*sorted(os.listdir('/proc/self/fd'))); print(open('/proc/self/status').read())"
    fds, _, status = output(named, sys.executable, "-I", "-S", "-c", code).partition("\n")
    assert fds == "0 1 2 3"  # the last is what it lists them with
    had = Path("/proc/self/status").read_text().splitlines()
    for line in status.splitlines():
        if line.startswith(("CapInh", "CapPrm", "CapEff", "CapAmb")):
            assert line in had
        if line.startswith("CapBnd") and os.geteuid():
            assert int(line.split()[1], 16) == 0


def test_unreadable_files_stay_unreadable(named: VeryTmpRoot) -> None:
    (named / "secret").write_text("potatoes")
    (named / "secret").chmod(0)
    (named / "closed").mkdir(0)
    assert named.run(["cat", "secret"], capture_output=True).returncode == (1 if os.geteuid() else 0)
    if os.geteuid():
        with pytest.raises(PermissionError):
            named.run(["true"], cwd=named / "closed")
    (named / "closed").chmod(0o700)


def test_descriptors_are_passed(named: VeryTmpRoot) -> None:
    reader, writer = os.pipe()
    try:
        named.run(["sh", "-c", f"echo hello >/proc/self/fd/{writer}"], pass_fds=[writer], check=True)
        assert os.read(reader, 10) == b"hello\n"
        os.set_inheritable(writer, True)
        named.run(["sh", "-c", f"echo inherited >/proc/self/fd/{writer}"], close_fds=False, check=True)
        assert os.read(reader, 10) == b"inherited\n"
        os.set_inheritable(writer, False)
        refused = named.run(["sh", "-c", f"echo lost >/proc/self/fd/{writer}"], close_fds=False, stderr=DEVNULL)
        assert refused.returncode
    finally:
        os.close(reader)
        os.close(writer)


def test_a_timeout_ends_it(named: VeryTmpRoot) -> None:
    begin = time.monotonic()
    with pytest.raises(TimeoutExpired) as expired:
        named.run(["sh", "-c", "echo begun; exec sleep 60"], timeout=0.5, stdout=PIPE)
    assert time.monotonic() - begin < 30
    assert expired.value.output == b"begun\n"


def test_its_process_is_the_program(named: VeryTmpRoot) -> None:
    with named.popen(["sh", "-c", "echo $$; read x; exit $x"], stdin=PIPE, stdout=PIPE, text=True) as process:
        assert isinstance(process, Popen)
        assert process.stdout is not None
        assert int(process.stdout.readline()) == process.pid
        assert process.poll() is None
        process.communicate("9\n")
    assert process.returncode == 9
    with named.popen(["sleep", "60"]) as process:
        process.send_signal(signal.SIGUSR1)
        assert process.wait() == -signal.SIGUSR1


def test_a_group_is_killed(named: VeryTmpRoot) -> None:
    with named.popen(["sh", "-c", "sleep 60 & echo; wait"], start_new_session=True, stdout=PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.killpg(process.pid, signal.SIGTERM)
        assert process.stdout.read() == b""  # the one in the background holds it too
        assert process.wait() == -signal.SIGTERM


def test_threads(named: VeryTmpRoot) -> None:
    """Each of them starts programs at the same time."""
    found: list[str] = []

    def work(number: int) -> None:
        found.extend(output(named, "echo", number_text) for number_text in map(str, range(number, number + 3)))

    threads = [threading.Thread(target=work, args=(10 * number,)) for number in range(4)]
    with pytest.MonkeyPatch.context() as patch:
        patch.undo()
        patch.setattr(State, "may_fork", False)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(map(int, found)) == sorted(10 * each + more for each in range(4) for more in range(3))


def test_a_process_with_threads_is_not_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "FORKED_MAX", 1 << 40)  # pytest may be large
    assert in_child(lambda: State().may_fork)  # a worker of xdist's has threads
    monkeypatch.setattr(programs, "forked", None)
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        assert not State().may_fork
        assert State().may_thread
        with VeryTmpRoot(at=AT) as root, warnings.catch_warnings():
            warnings.simplefilter("error")
            assert output(root, "pwd") == f"{AT}\n"
            if not kernel.may_mount():  # else it is run as `subprocess` does
                with pytest.raises(ValueError, match="preexec_fn needs a process with one thread"):
                    root.run(["true"], preexec_fn=print)
    finally:
        stop.set()
        thread.join()


def test_a_filtered_process_gets_no_thread() -> None:
    def filtered() -> bool:
        kernel.seccomp(kernel.Rule("setns", 0))
        stop = threading.Event()
        threading.Thread(target=stop.wait).start()
        try:
            return State().may_thread
        finally:
            stop.set()

    assert in_child(filtered) is False


def from_thread(work: Callable[[VeryTmpRoot], object]) -> Any:
    """What *work* returns, in a process of its own in which a thread may enter a root's namespace."""

    def child() -> object:
        if not kernel.may_mount():
            kernel.mounting_namespaces()
        with pytest.MonkeyPatch.context() as patch, VeryTmpRoot(at=AT) as root:
            start_by(patch, "a thread")
            return work(root)

    return in_child(child)


def test_a_signal_at_the_parents_end_does_not_come_earlier() -> None:
    """The parent is a thread, as far as PR_SET_PDEATHSIG goes."""
    die = functools.partial(kernel.libc.prctl, 1, signal.SIGTERM, 0, 0, 0)
    assert from_thread(lambda root: root.run(["sleep", "0.2"], preexec_fn=die).returncode) == 0


def test_a_start_that_is_interrupted_leaves_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupted

    started: list[Popen[Any]] = []

    def slow(*args: Any, **options: Any) -> Popen[Any]:
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.1)
        started.append(Popen(*args, **options))
        return started[0]

    def work(root: VeryTmpRoot) -> int:
        signal.signal(signal.SIGUSR1, interrupt)
        with pytest.raises(Interrupted):
            root.run(["sleep", "60"], stdin=PIPE, stdout=PIPE)
        return started[0].returncode

    monkeypatch.setattr(programs, "Popen", slow)
    assert from_thread(work) == -signal.SIGKILL


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("begun", [True, False])
def test_an_interruption_before_the_thread_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, begun: bool, error: type[BaseException]
) -> None:
    """Without a GIL, the thread runs at once: it has started a program, or will not."""
    started: list[Popen[Any]] = []
    held = threading.Event()

    def keep(*args: Any, **options: Any) -> Popen[Any]:
        started.append(Popen(*args, **options))
        held.set()
        return started[0]

    def interrupted(run: Callable[..., object], arguments: tuple[object, ...]) -> None:
        if begun:
            start(run, arguments)
            held.wait()
            raise error
        threads.append(run)
        raise error

    def work(root: VeryTmpRoot) -> list[int]:
        monkeypatch.setattr(_thread, "start_new_thread", interrupted)
        with pytest.raises(error):
            root.run(["sleep", "60"], stdin=PIPE, stdout=PIPE)
        for run in threads:
            run()
        return [each.returncode for each in started]

    start = _thread.start_new_thread
    threads: list[Callable[..., object]] = []
    monkeypatch.setattr(programs, "Popen", keep)
    assert from_thread(work) == ([-signal.SIGKILL] if begun else [])


def test_an_interruption_after_the_thread_was_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal that came meanwhile is seen when the lock is there, which will not be released again."""
    started: list[Popen[Any]] = []

    class Lock:
        def __init__(self) -> None:
            self.lock = allocate()
            self.taken = 0
            self.release = self.lock.release

        def acquire(self) -> None:
            assert self.lock.acquire(timeout=30)
            self.taken += 1
            if self.taken == 2:  # the first time, it is made ready
                raise KeyboardInterrupt

    def keep(*args: Any, **options: Any) -> Popen[Any]:
        started.append(Popen(*args, **options))
        return started[0]

    def work(root: VeryTmpRoot) -> int:
        monkeypatch.setattr(_thread, "allocate_lock", Lock)
        with pytest.raises(KeyboardInterrupt):
            root.run(["sleep", "60"], stdin=PIPE, stdout=PIPE)
        return started[0].returncode

    allocate = _thread.allocate_lock
    monkeypatch.setattr(programs, "Popen", keep)
    assert from_thread(work) == -signal.SIGKILL


def test_the_thread_keeps_nothing_of_the_program() -> None:
    """Its pipes close when nobody else has them."""

    def work(root: VeryTmpRoot) -> bytes:
        reader, writer = os.pipe()
        with open(writer, "wb") as file:
            process = root.popen(["sh", "-c", "exec sleep 60 <&- >&-"], stdout=file)
        gone = weakref.ref(process.stdout or file)
        del file
        assert gone() is None
        said = os.read(reader, 1)
        process.kill()
        process.wait()
        return said

    assert from_thread(work) == b""


def test_where_threads_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """As gevent has them: this very thread must not enter the namespace."""

    def at_once(function: Callable[[], object], args: tuple[()]) -> None:
        function(*args)

    def work(root: VeryTmpRoot) -> list[bool]:
        monkeypatch.setattr(programs, "by_trampoline", by_trampoline)
        monkeypatch.setattr(State, "may_fork", True)
        before = os.readlink("/proc/thread-self/ns/mnt")
        found = output(root, "pwd") == f"{AT}\n"
        return [found, before == os.readlink("/proc/thread-self/ns/mnt")]

    by_trampoline = programs.by_trampoline
    monkeypatch.setattr("_thread.start_new_thread", at_once)
    assert from_thread(work) == [True, True]


def test_whatever_goes_wrong_in_the_thread_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: object) -> None:
        raise MemoryError

    def work(root: VeryTmpRoot) -> None:
        monkeypatch.setattr("verytmp._syscalls.setns", no_memory)
        root.run(["true"])

    with pytest.raises(MemoryError):
        from_thread(work)


def test_no_garbage_is_collected_in_a_thread_that_is_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be an object that removes a directory by its name."""
    enabled: list[bool] = []

    def start(*args: Any, **options: Any) -> Popen[Any]:
        enabled.append(gc.isenabled())
        return Popen(*args, **options)

    def work(root: VeryTmpRoot) -> list[bool]:
        root.run(["true"], check=True)
        return [*enabled, gc.isenabled()]

    monkeypatch.setattr(programs, "Popen", start)
    assert from_thread(work) == [False, True]


def test_a_large_process_is_not_forked() -> None:
    def large() -> tuple[bool, bool]:
        held = bytearray(FORKED_MAX + (16 << 20))
        held[::4096] = b"x" * len(held[::4096])
        return State().may_fork, should_fork(Caller())

    assert in_child(large) == (False, False)


def test_a_root_that_is_closed_while_a_program_starts(named: VeryTmpRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its numbers are another root's then, whose namespace the program must not enter."""
    (named / "whose").write_text("its own")
    others: list[VeryTmpRoot] = []

    class Closing(State):
        def __init__(self) -> None:
            super().__init__()
            named.close()
            others.append(VeryTmpRoot(at=AT))
            (others[0] / "whose").write_text("another's")

    monkeypatch.setattr(programs, "State", Closing)
    assert output(named, "cat", "whose") == "its own"
    others[0].close()


def test_preexec_fn_runs_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "FORKED_MAX", 1 << 40)  # pytest may be large

    def run() -> None:
        with VeryTmpRoot(at=AT) as root:
            root.run(["true"], preexec_fn=lambda: open("made", "w").close(), check=True)
            assert (root / "made").exists()
            with pytest.raises(subprocess.SubprocessError, match="preexec_fn"):
                root.run(["true"], preexec_fn=lambda: 1 / 0)

    in_child(run)  # which has one thread


def test_where_there_is_no_interpreter(named: VeryTmpRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "")
    if State().may_fork or State().may_thread:
        assert output(named, "pwd") == f"{AT}\n"
    else:
        with pytest.raises(FileNotFoundError, match=r"sys\.executable"):
            named.run(["true"])


def test_an_interpreter_that_ends_is_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    start_by(monkeypatch, "a fresh interpreter")
    monkeypatch.setattr(programs, "interpreter", lambda: "/bin/true")
    with VeryTmpRoot(at=AT) as root, pytest.raises(ConnectionResetError, match="ended without an answer"):
        root.run(["true"])


def test_other_users_and_groups() -> None:
    """In a user namespace, which has this user and its group alone. Other groups stay, as numbers that have no name."""

    def work() -> list[object]:
        may = os.geteuid() == 0
        kernel.drop_capabilities(kernel.CAP_SYS_ADMIN)
        found: list[object] = []
        asked: list[dict[str, Any]] = [{"extra_groups": [5, 6]}, {"extra_groups": []}, {"group": 5}, {"user": 65533}]
        with VeryTmpRoot(at=AT) as root:
            for options in asked:
                try:
                    found.append(output(root, "grep", "Groups", "/proc/self/status", **options).split()[1:])
                except PermissionError as error:
                    found.append(str(error))
        if not may:
            assert found[:2] == ["[Errno 1] Operation not permitted"] * 2
            found[:2] = [["65534", "65534"], []]
        return found

    assert in_child(work) == [["65534", "65534"], [], f"[Errno 1] {trampoline.ALONE}", f"[Errno 1] {trampoline.ALONE}"]


# -- for other spawners ------------------------------------------------------------------------------------------------


def test_wrap(named: VeryTmpRoot) -> None:
    (named / "f").write_text("potatoes")
    args, fds = named.wrap(["cat", named / "f"])
    assert subprocess.run(args, pass_fds=fds, stdout=PIPE, check=True).stdout == b"potatoes"
    args, fds = named.wrap("pwd", cwd="/usr")
    assert subprocess.run(args, pass_fds=fds, stdout=PIPE, check=True).stdout == b"/usr\n"
    for words, status, text in (
        (["verytmp-nonesuch"], trampoline.NOT_FOUND, "No such file or directory: 'verytmp-nonesuch'"),
        (["/etc/passwd"], trampoline.NOT_STARTED, "Permission denied: '/etc/passwd'"),
    ):
        args, fds = named.wrap(words)
        done = subprocess.run(args, pass_fds=fds, stderr=PIPE, text=True, check=False)
        assert done.returncode == status
        assert done.stderr == f"verytmp: [Errno {13 if status == 126 else 2}] {text}\n"
    if fds:
        done = subprocess.run(args, stderr=PIPE, text=True, check=False)
        assert done.returncode == trampoline.NOT_STARTED
        assert "the root's descriptor was not passed on" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.needs("namespaces")
def test_a_root_in_the_place_of_one_whose_descriptors_were_closed() -> None:
    """No program that is meant for the one runs in the other's namespace, which has got the number."""

    def daemon() -> list[str]:
        os.closerange(3, HIGH)
        first = VeryTmpRoot(at=AT)
        held = first.path._tree.filenos
        os.closerange(3, HIGH)
        new = VeryTmpRoot(at=AT)
        assert new.path._tree.filenos == held
        (new / "secret").touch()
        found = []
        for start in (first.wrap, first.run, first.popen):
            try:
                found.append(repr(start(["ls", AT])))
            except (OSError, ValueError) as error:
                found.append(type(error).__name__)
        return found

    assert set(in_child(daemon)) <= {"OSError", "ValueError"}


def test_asyncio(named: VeryTmpRoot) -> None:
    async def main() -> tuple[bytes, int | None]:
        args, fds = named.wrap(["sh", "-c", "pwd; cat; exit 4"])
        process = await asyncio.create_subprocess_exec(*args, pass_fds=fds, stdin=PIPE, stdout=PIPE)
        stdout, _ = await process.communicate(b"potatoes")
        return stdout, process.returncode

    assert asyncio.run(main()) == (f"{AT}\npotatoes".encode(), 4)


# -- a pid namespace ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"unshare_pid": True}])
def test_the_root_may_hide_this_package(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """And all that a program's start takes from there."""
    start_by(monkeypatch, "a fresh interpreter")
    with VeryTmpRoot(at=os.path.dirname(verytmp.__path__[0])) as root:
        assert root.run(["ls", "-A"], stdout=PIPE, **options).stdout == b""


@pytest.fixture
def alone() -> Iterator[VeryTmpRoot]:
    with VeryTmpRoot(at=AT) as root:
        yield root


SURVIVORS = "(setsid sleep {0} &) ; sh -c 'sleep {0} & sleep {0} &' ; nohup sleep {0} >/dev/null 2>&1 & sleep 0.1; "


def test_it_ends_where_the_end_of_children_is_ignored(alone: VeryTmpRoot) -> None:
    """What is ignored is inherited by the process that is to follow the program."""

    def work() -> int:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        process = alone.popen(["sh", "-c", "exit 7"], unshare_pid=True)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        return process.wait(60)

    assert in_child(work) == 7


def test_nothing_outlives_it(alone: VeryTmpRoot) -> None:
    mark = f"60.{os.getpid()}"
    done = alone.run(SURVIVORS.format(mark) + "echo $$; exit 7", shell=True, stdout=PIPE, unshare_pid=True)
    assert (done.returncode, done.stdout) == (7, b"2\n")
    assert host_state.running(mark) == []


@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_nothing_outlives_one_that_is_killed(alone: VeryTmpRoot, how: str) -> None:
    mark = f"61.{os.getpid()}"
    script = SURVIVORS.format(mark) + f"echo; exec sleep {mark}"
    with alone.popen(script, shell=True, stdout=PIPE, unshare_pid=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert len(host_state.running(mark)) >= 4
        getattr(process, how)()
        assert process.wait() == (-signal.SIGKILL if how == "kill" else -signal.SIGTERM)
    for _ in range(100):
        if not host_state.running(mark):
            break
        time.sleep(0.02)
    assert host_state.running(mark) == []


def test_its_proc_is_its_own(alone: VeryTmpRoot) -> None:
    script = "ls -d /proc/[0-9]* | wc -l; cat /proc/self/comm; readlink /proc/self/fd/0; grep CapEff /proc/1/status"
    done = alone.run(script, shell=True, stdin=DEVNULL, stdout=PIPE, text=True, unshare_pid=True)
    count, name, stdin, capabilities = done.stdout.splitlines()
    assert int(count) <= 5
    assert (name, stdin) == ("cat", "/dev/null")
    assert capabilities.split()[1] == "0000000000000000"
    assert output(alone, "ls", "/proc").split() != []  # the others' is not changed
    assert f"/proc/{os.getpid()}" in output(alone, "ls", "-d", f"/proc/{os.getpid()}")


def test_its_streams_end_with_it(alone: VeryTmpRoot) -> None:
    """Not with the processes that stay beside it."""
    with alone.popen(["sh", "-c", "exec >&-; sleep 60"], stdout=PIPE, unshare_pid=True) as process:
        assert process.stdout is not None
        assert process.stdout.read() == b""
        process.kill()


def test_it_stops_and_goes_on(alone: VeryTmpRoot) -> None:
    with alone.popen(["sh", "-c", "kill -STOP $$; exit 5"], unshare_pid=True) as process:
        assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
        process.send_signal(signal.SIGCONT)
        assert process.wait() == 5


def test_a_missing_program_is_missing_there_too(alone: VeryTmpRoot) -> None:
    with pytest.raises(FileNotFoundError) as missing:
        alone.run(["verytmp-nonesuch"], unshare_pid=True)
    assert missing.value.filename == "verytmp-nonesuch"
    args, fds = alone.wrap(["sh", "-c", "exit 6"], unshare_pid=True)
    assert subprocess.run(args, pass_fds=fds, check=False).returncode == 6


@pytest.mark.needs("host='ro'")
def test_proc_is_read_only_if_the_host_is() -> None:
    with VeryTmpRoot(at=AT, host="ro") as root:
        done = root.run(["grep", " /proc ", "/proc/self/mounts"], stdout=PIPE, text=True, unshare_pid=True)
        assert done.stdout.splitlines()[-1].split()[3].startswith("ro,")


def test_no_descriptor_is_left(alone: VeryTmpRoot) -> None:
    output(alone, "true")
    gc.collect()
    before = host_state.descriptors()
    for _ in range(20):
        alone.run(["true"], capture_output=True, check=True)
        with pytest.raises(FileNotFoundError):
            alone.run(["verytmp-nonesuch"], stdout=PIPE, stdin=PIPE)
    assert host_state.new_descriptors(before) == {}


def test_a_test_that_replaces_the_builtin_open(alone: VeryTmpRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    """As pyfakefs does: a program starts all the same."""

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("the built-in open was called")

    monkeypatch.setattr("builtins.open", refused)
    assert alone.run(["true"]).returncode == 0
