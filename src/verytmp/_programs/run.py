"""Programs in a root's mount namespace, by `subprocess`'s own means: `VeryTmpRoot.run`, `popen` and `wrap`."""

from __future__ import annotations

import _thread
import errno
import gc
import os
import signal
import sys
from contextlib import closing, contextmanager
from functools import partial
from io import FileIO
from subprocess import PIPE, CalledProcessError, CompletedProcess, Popen, SubprocessError, TimeoutExpired

from .. import _syscalls
from .._confined.owned_fd import pipe
from .._confined.procfs import is_own_namespace
from .._confined.tree import Tree
from .._mounting.child import FORKED_MAX, in_main_interpreter, interpreter
from .._mounting.signals import start_thread
from . import trampoline
from .trampoline import IGNORED_BY_PYTHON, STARTED, Plan, enter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from typing import Any

# What a fresh interpreter runs: modules alone, which are compiled already, and not the package's `__init__`.
START = f"""\
import sys
package = sys.modules["verytmp"] = type(sys)("verytmp")
package.__path__ = [{os.path.dirname(os.path.dirname(__file__))!r}]
from verytmp._programs.trampoline import main
main(sys.argv[1:])
"""
REPORT_BYTES = 65536  # of what went wrong, which is a few file names long


def run(
    tree: Tree,
    args: object,
    *,
    input: Any = None,  # noqa: A002  # its name there
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    **options: Any,
) -> CompletedProcess[Any]:
    """`subprocess.run`, in the root's namespace."""
    if input is not None:
        if options.get("stdin") is not None:
            raise ValueError("stdin and input arguments may not both be used.")
        options["stdin"] = PIPE
    if capture_output:
        if options.get("stdout") is not None or options.get("stderr") is not None:
            raise ValueError("stdout and stderr arguments may not be used with capture_output.")
        options["stdout"] = options["stderr"] = PIPE
    with popen(tree, args, **options) as process:
        try:
            stdout, stderr = process.communicate(input, timeout=timeout)
        except TimeoutExpired:  # its `output` is what had come by then
            process.kill()
            process.wait()
            raise
        except BaseException:
            process.kill()
            raise
        status = process.poll()
        assert status is not None
        if check and status:
            raise CalledProcessError(status, process.args, output=stdout, stderr=stderr)
    return CompletedProcess(process.args, status, stdout, stderr)


def popen(
    tree: Tree,
    args: Any,
    *,
    executable: Any = None,
    shell: bool = False,
    cwd: Any = None,
    env: Mapping[Any, Any] | None = None,
    preexec_fn: Any = None,
    restore_signals: bool = True,
    pass_fds: Any = (),
    user: Any = None,
    group: Any = None,
    extra_groups: Any = None,
    unshare_pid: bool = False,
    **options: Any,
) -> Popen[Any]:
    """`subprocess.Popen`, in the root's namespace."""
    names, words = words_of(args, tree)
    if shell:
        words = [os.fsdecode(in_name(executable or "/bin/sh", tree)), "-c", *words]
        executable = words[0]
    if env is not None:
        env = {in_name(key, tree): in_name(value, tree) for key, value in env.items()}
    with kept_namespace(tree) as namespace:
        plan = Plan(
            **way_in(tree, namespace),
            report="",
            cwd=directory(cwd, tree),
            groups="" if extra_groups is None else ",".join(str(group_id(each)) for each in extra_groups) or "-",
            group="" if group is None else str(group_id(group)),
            user="" if user is None else str(user_id(user)),
            ignored="" if restore_signals else ignored(),
            pids="1" if unshare_pid else "",
            executable=os.fsdecode(in_name(executable or words[0], tree)),
        )
        options |= {"env": env, "restore_signals": restore_signals, "pass_fds": pass_fds}
        its_own = {"executable": plan.executable, "cwd": plan.cwd, "preexec_fn": preexec_fn}
        users = {"user": user, "group": group, "extra_groups": extra_groups}
        natively = partial(Popen, words, **its_own, **users, **options)
        direct = not unshare_pid and not plan.writable
        process = None
        if direct and not plan.namespace:
            process = natively()
        else:
            found = State()
            if direct and found.may_thread:
                process = from_thread(int(plan.namespace), natively)
            if process is None:
                process = by_trampoline(plan, words, preexec_fn, options, found)
    process.args = names
    return process


def wrap(
    tree: Tree, args: Any, *, executable: Any = None, cwd: Any = None, unshare_pid: bool = False
) -> tuple[list[str], tuple[int, ...]]:
    """The arguments that start a program in the root's namespace, and the file descriptors to pass to it."""
    _, words = words_of(args, tree)
    plan = Plan(
        **way_in(tree, tree.namespace()),
        report="",
        cwd=directory(cwd, tree),
        groups="",
        group="",
        user="",
        ignored="",
        pids="1" if unshare_pid else "",
        executable=os.fsdecode(in_name(executable or words[0], tree)),
    )
    return command(plan, words), tuple(int(fd) for fd in (plan.namespace,) if fd)


# -- what a program is started with ------------------------------------------------------------------------------------


def words_of(args: Any, tree: Tree) -> tuple[Any, list[str]]:
    """The arguments with the root's paths by their names: as they were given, and as a list."""
    if isinstance(args, str | bytes | os.PathLike):
        names = in_name(args, tree)
        return names, [os.fsdecode(names)]
    names = [in_name(each, tree) for each in args]
    return names, [os.fsdecode(each) for each in names]


@contextmanager
def kept_namespace(tree: Tree) -> Generator[int | None]:
    """A duplicate of the descriptor of a root's mount namespace; None if there is none.

    Another thread may close the root meanwhile, and get its number for another root, where the program would run then.
    """
    if tree.namespace() is None:
        yield None
        return
    kept = tree.duplicates()
    try:
        yield kept[2].fileno()
    finally:
        for each in kept:
            each.close()


def way_in(tree: Tree, namespace: int | None) -> dict[str, str]:
    """The fields of a `Plan` that say how a program gets to where the root has its name."""
    foreign = namespace is not None and not is_own_namespace(namespace)
    return {"namespace": str(namespace) if foreign else "", "writable": tree.at if tree.host_read_only else ""}


def in_name(value: Any, tree: Tree) -> Any:
    """A path of the root as its name in the namespace; anything else as it is."""
    other = getattr(value, "_tree", None)
    if not isinstance(other, Tree):
        return value
    if other is not tree:
        raise ValueError(f"{value!r} belongs to another root, which cannot be seen from this one's namespace")
    return tree.name(getattr(value, "_rel", ""))


def directory(cwd: Any, tree: Tree) -> str:
    """The directory to start in: by default the root, from which a relative one begins."""
    found = os.path.join(tree.name(""), "" if cwd is None else os.fsdecode(in_name(cwd, tree)))
    if "\0" in found:
        raise ValueError("embedded null byte")
    return found


def user_id(user: str | int) -> int:
    if isinstance(user, str):
        from pwd import getpwnam

        return getpwnam(user).pw_uid
    return checked_id("user", user)


def group_id(group: str | int) -> int:
    if isinstance(group, str):
        from grp import getgrnam

        return getgrnam(group).gr_gid
    return checked_id("group", group)


def checked_id(what: str, value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{what} must be a str or an int, not {type(value).__name__}")
    if value < 0:
        raise ValueError(f"{what} must not be negative: {value}")
    return value


def ignored() -> str:
    """Which signals a program inherits as ignored, of those that every Python ignores."""
    return ",".join(str(int(each)) for each in IGNORED_BY_PYTHON if signal.getsignal(each) is signal.SIG_IGN)


# -- how it is started -------------------------------------------------------------------------------------------------


class State:
    """What decides how a program is started, of proc_pid_status(5).

    Attributes:
        threads: how many there are in this process.
        size: of this process, in bytes.
        filtered: whether a seccomp filter is on this thread.
        capabilities: those that it may use.
    """

    def __init__(self) -> None:
        with FileIO("/proc/thread-self/status") as file:  # the built-in `open` may be a test's own
            status = file.read(8192)
        threads, size, capabilities = (
            status.partition(name)[2].split(None, 1)[0] for name in (b"\nThreads:", b"\nVmRSS:", b"\nCapPrm:")
        )
        self.threads, self.size, self.capabilities = int(threads), int(size) << 10, int(capabilities, 16)
        self.filtered = b"\nSeccomp:\t" in status and b"\nSeccomp:\t0\n" not in status

    @property
    def may_fork(self) -> bool:
        """Whether a forked copy of this process may run Python: it has one thread. And not much to be copied.

        In a sub-interpreter, `subprocess` takes no preexec_fn.
        """
        return self.threads == 1 and self.size <= FORKED_MAX and in_main_interpreter()

    @property
    def may_thread(self) -> bool:
        """Whether this process may have one more thread: it has others. And no filter may end it for setns(2)."""
        return self.threads > 1 and not self.filtered and not sys.is_finalizing()  # then no other thread runs


def from_thread(namespace: int, make: Callable[[], Popen[Any]]) -> Popen[Any] | None:
    """Start a program in a thread that has entered the mount namespace.

    None where this process may not enter it, as an ordinary user's: a thread cannot enter the user namespace that owns
    it.

    The thread stays until the program ends: a signal that the program has asked for at the end of its parent
    (PR_SET_PDEATHSIG) comes at the end of the thread that has started it.
    """
    outcome: list[Popen[Any] | BaseException | None] = []
    making = [make]
    ended = _thread.allocate_lock()
    ended.acquire()
    caller = _thread.get_native_id()

    def run() -> None:
        pid = started()
        if pid is not None:
            try:
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            except ChildProcessError:  # somebody else has waited for it
                pass

    def started() -> int | None:
        found: Popen[Any] | BaseException | None = None
        try:
            make = making.pop()  # the thread is not to keep what belongs to the program: its pipes
        except IndexError:  # the caller has taken it back
            return None
        collecting = gc.isenabled()
        gc.disable()  # what a collection would end may have files, whose names are others here
        try:
            if _thread.get_native_id() != caller and enter_namespace():  # gevent's threads are none
                found = make()
        except BaseException as error:
            found = error
        finally:
            if collecting:
                gc.enable()
        outcome.append(found)
        pid: int | None = getattr(found, "pid", None)
        ended.release()
        return pid

    def enter_namespace() -> bool:
        try:
            _syscalls.unshare(_syscalls.CLONE_FS)
            _syscalls.setns(namespace, _syscalls.CLONE_NEWNS)
        except OSError:
            return False
        return True

    try:
        if not start_thread(run):
            return None
        ended.acquire()
    except BaseException:
        try:
            making.pop()
        except IndexError:  # the thread has it
            if not outcome:  # it comes in a millisecond; or it had come, and the interruption too, before it was taken
                ended.acquire()
            process = outcome.pop()
            if process is not None and not isinstance(process, BaseException):
                process.kill()
                with process:
                    pass
        raise
    found = outcome.pop()
    if isinstance(found, BaseException):
        raise found
    return found


def by_trampoline(plan: Plan, words: list[str], preexec_fn: Any, options: dict[str, Any], found: State) -> Popen[Any]:
    """Start a program by way of a process of ours that becomes it: a copy of this one, or a fresh interpreter."""
    report, told = pipe()
    with closing(report), closing(told):
        plan.report = str(told.fileno())
        if not plan.pids and found.may_fork:
            try:
                return forked(plan, words, preexec_fn, options, found.capabilities)
            except SubprocessError:
                told.close()
                raise_reported(report.fileno())  # or it was preexec_fn
                raise
        if preexec_fn is not None:
            raise ValueError("preexec_fn needs a process with one thread, and less than 256 MiB, to be called in")
        process = spawned(plan, words, options)
        told.close()
        confirm(process, report.fileno())
        return process


def forked(plan: Plan, words: list[str], preexec_fn: Any, options: dict[str, Any], capabilities: int) -> Popen[Any]:
    """Start a program in a copy of this process, which enters the namespaces first."""

    def enter_first() -> None:
        try:
            enter(plan, capabilities)
        except OSError as error:
            trampoline.report(plan, error)
            raise
        if preexec_fn is not None:
            preexec_fn()

    return Popen(  # `may_fork` has seen that there is one thread
        words,
        executable=plan.executable,
        preexec_fn=enter_first,  # noqa: PLW1509  # there is one thread
        **options,
    )


def spawned(plan: Plan, words: list[str], options: dict[str, Any]) -> Popen[Any]:
    """Start a program by way of a fresh interpreter."""
    kept = [*options.pop("pass_fds"), *(int(fd) for fd in (plan.namespace, plan.report) if fd)]
    if not options.pop("close_fds", True):
        kept += inheritable()
    return Popen(command(plan, words), pass_fds=kept, **options)


def command(plan: Plan, words: list[str]) -> list[str]:
    executable = interpreter()
    if not executable:
        raise OSError(errno.ENOENT, "sys.executable is not a Python to start a program with", sys.executable)
    return [executable, "-I", "-S", "-B", "-c", START, *plan, *words]


def inheritable() -> list[int]:
    """The file descriptors that a program would inherit."""
    found: list[int] = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.get_inheritable(int(name)):
                found.append(int(name))
        except OSError:  # the one that they were listed with
            pass
    return found


def confirm(process: Popen[Any], report: int) -> None:
    """Wait until the program itself runs. If it cannot be started, there is no process, and an `OSError`."""
    try:
        if not raise_reported(report):
            raise OSError(errno.ECONNRESET, "the interpreter that was to start the program ended without an answer")
    except BaseException:
        process.kill()
        with process:
            pass
        raise


def raise_reported(report: int) -> bool:
    """Wait until whoever may report something has ended, or runs the program. Raise what went wrong.

    Returns whether the program was started as far as this tells: an end without a word is none.
    """
    text = b"".join(iter(lambda: os.read(report, REPORT_BYTES), b""))
    number, _, rest = text.removeprefix(STARTED).decode("utf-8", "surrogateescape").partition("\0")
    if number:
        message, _, filename = rest.partition("\0")
        raise OSError(int(number), message, filename or None)
    return bool(text)
