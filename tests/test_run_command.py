"""``verytmp run``, as users run it: its options, its exit status, its signals and its terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import kernel, refusals
from support.children import in_child

from verytmp import VeryTmpRoot
from verytmp._cli.run import parse
from verytmp._mounting.options import validated

COMMAND = [sys.executable, "-W", "error", "-m", "verytmp", "run"]
PATIENCE = 60  # seconds
ALL_THREE = pytest.mark.parametrize("mode", ["", "--keep", "--unshare-pid"])


def run(*arguments: str | os.PathLike[str], **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=PATIENCE, **options)


@pytest.fixture
def options(mode: str, host: Path) -> list[str]:
    """Those of the three ways to run a command: as this process, as a child, and as the first of a pid namespace."""
    return [mode, str(host / "kept")] if mode == "--keep" else [mode] if mode else []


# -- what it does ------------------------------------------------------------------------------------------------------


@ALL_THREE
def test_it_runs_in_a_directory_that_is_gone_then(options: list[str]) -> None:
    done = run(*options, "--", "sh", "-c", "pwd; echo $PWD; ls -A | wc -l; echo potatoes > f; cat f")
    assert done.stderr == ""
    here, variable, count, text = done.stdout.split()
    assert here == variable
    assert os.path.dirname(here) == "/verytmp"
    assert (count, text) == ("0", "potatoes")
    assert not os.path.exists(here)


@ALL_THREE
def test_the_status_is_the_commands(options: list[str]) -> None:
    for status in (0, 1, 7, 255):
        assert run(*options, "sh", "-c", f"exit {status}").returncode == status
        if "--keep" in options:
            os.rmdir(options[1])


@ALL_THREE
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL, signal.SIGUSR1, signal.SIGSEGV])
def test_a_signal_that_ends_it_ends_this(options: list[str], number: signal.Signals) -> None:
    assert run(*options, "sh", "-c", f"kill -{number.value} $$").returncode == -number


@ALL_THREE
def test_what_cannot_be_started(options: list[str], host: Path) -> None:
    (host / "f").touch()
    for name, status in (("/nonexistent", 127), (str(host / "f"), 126)):
        done = run(*options, name)
        assert done.returncode == status
        assert f"'{name}'" in done.stderr
        assert "Traceback" not in done.stderr
        if "--keep" in options:
            os.rmdir(options[1])


@ALL_THREE
def test_arguments_are_its_own(options: list[str]) -> None:
    code = "import sys; print(sys.argv[1:])"
    given = ["--help", "--", "--at", "", "a b", "$HOME", "ü"]
    assert run(*options, sys.executable, "-c", code, *given).stdout == f"{given}\n"
    if "--keep" not in options:
        assert run(*options, "--", sys.executable, "-c", code, "--", "x").stdout == "['--', 'x']\n"


@ALL_THREE
def test_in_a_pipeline(options: list[str]) -> None:
    """Streams and other descriptors are the command's; who reads no further ends it, as it ends any program."""
    assert run(*options, "tr", "a", "b", input="banana\n").stdout == "bbnbnb\n"
    line = f"{' '.join(COMMAND)} {' '.join(options)} yes | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.stdout, done.stderr) == (f"y\n{128 + signal.SIGPIPE}\n", "")


@pytest.mark.parametrize("mode", ["", "--keep"])
def test_descriptors_are_passed_on(options: list[str], host: Path) -> None:
    (host / "f").write_text("potatoes")
    line = f"{' '.join(COMMAND)} {' '.join(options)} cat /proc/self/fd/7 7<{host}/f; "
    line += f"{' '.join(COMMAND)} ls /proc/self/fd | wc -l; ls /proc/self/fd | wc -l"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=PATIENCE)
    assert done.stdout.startswith("potatoes")
    ours, shells = done.stdout.removeprefix("potatoes").split()
    assert ours == shells


def test_without_a_command_it_is_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/bin/sh")
    assert os.path.dirname(run(input="pwd").stdout) == "/verytmp"
    monkeypatch.setenv("SHELL", "/nonexistent")
    assert run().returncode == 127
    monkeypatch.delenv("SHELL")
    assert os.path.dirname(run(input="pwd").stdout) == "/verytmp"


def test_as_the_interpreter_of_a_script(host: Path) -> None:
    program = host / "program"
    program.write_text(f'#!/usr/bin/env -S {" ".join(COMMAND)} --chdir . -- sh\necho $0 $1; touch "$2"\n')
    program.chmod(0o755)
    done = subprocess.run(["./program", "a b", host / "f"], cwd=host, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.stdout, done.stderr) == ("./program a b\n", "")
    assert (host / "f").exists()


# -- options -----------------------------------------------------------------------------------------------------------


def test_at(host: Path) -> None:
    (host / "hidden").touch()
    done = run("--at", host, "sh", "-c", "pwd; ls; touch f; ls")
    assert done.stdout == f"{host}\nf\n"
    assert os.listdir(host) == ["hidden"]
    done = run("--at", "relative", "true")
    assert (done.returncode, "absolute path" in done.stderr) == (125, True)


def test_size() -> None:
    done = run("--size", "64k", "dd", "if=/dev/zero", "of=f", "bs=1k", "count=128")
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert run("--size", "banana", "true").returncode == 125


def test_host(host: Path) -> None:
    done = run("--host", "ro", "sh", "-c", f"touch f; touch {host}/f; ls")
    assert done.stdout == "f\n"
    assert "Read-only file system" in done.stderr
    assert os.listdir(host) == []
    assert run("--host", "none", "true").returncode == 2


def test_chdir(host: Path) -> None:
    assert run("--chdir", ".", "pwd", cwd=host).stdout == f"{host}\n"
    assert run("--chdir", "nonexistent", "pwd", cwd=host).returncode == 127


@pytest.mark.parametrize("end", ["exit 0", "exit 3", "kill -9 $$"])
def test_keep(host: Path, end: str) -> None:
    done = run(
        "--keep", "kept", "sh", "-c", f"mkdir d; echo potatoes > d/f; ln -s d/f link; chmod 700 d; {end}", cwd=host
    )
    assert done.returncode == {"exit 0": 0, "exit 3": 3}.get(end, -9)
    assert (host / "kept" / "d" / "f").read_text() == "potatoes\n"
    assert os.readlink(host / "kept" / "link") == "d/f"
    assert (host / "kept" / "d").stat().st_mode & 0o777 == 0o700


def test_what_cannot_be_kept(host: Path) -> None:
    (host / "full").mkdir()
    (host / "full" / "f").touch()
    done = run("--keep", host / "full", "touch", host / "ran")
    assert (done.returncode, "name a new directory" in done.stderr) == (125, True)
    done = run("--keep", "/nonexistent/d", "touch", host / "ran")
    assert (done.returncode, "/nonexistent/d" in done.stderr) == (125, True)
    assert not (host / "ran").exists()
    done = run("--keep", host / "kept", "sh", "-c", "mkfifo fifo; touch f")
    assert done.returncode == 125
    assert "fifo" in done.stderr
    assert os.listdir(host / "kept") == ["f"]
    done = run("--keep", host / "kept2", "sh", "-c", "mkfifo fifo; exit 5")
    assert done.returncode == 5


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into every directory")
def test_one_file_is_no_reason_to_lose_the_others(host: Path) -> None:
    done = run("--keep", host / "kept", "sh", "-c", "mkdir a c d; touch a/f b d/f z; chmod 0 b c; mkfifo d/p")
    assert done.returncode == 125
    assert sorted(os.listdir(host / "kept")) == ["a", "d", "z"]
    assert os.listdir(host / "kept" / "a") == ["f"]
    assert [f"'{name}'" in done.stderr for name in "bc"] == [True, True]
    assert "/proc/" not in done.stderr
    done = run("--keep", host / "none", "chmod", "0", ".")
    assert (done.returncode, "Permission denied" in done.stderr, "Traceback" in done.stderr) == (125, True, False)


def test_help_names_every_option() -> None:
    text = run("--help").stdout
    for option in ("--at", "--size", "--host", "--keep", "--chdir", "--unshare-pid", "--fallback"):
        assert f"  {option} " in text
    wrong = run("--banana", "x")
    assert (wrong.returncode, "--banana" in wrong.stderr) == (2, True)
    assert run("--hos", "ro", "true").returncode == 2  # no option is guessed


def test_options_that_a_root_has_too_are_the_roots() -> None:
    """By their names, defaults and values: the table of options is one."""
    defaults = VeryTmpRoot.__init__.__kwdefaults__ or {}
    asked = {name: value for name, value in vars(parse(["true"])).items() if name in defaults}
    assert asked == {name: defaults[name] for name in ("at", "size", "host", "fallback")}
    text = run("--help").stdout
    for name in ("host", "fallback"):
        shown = re.search(rf"--{name} {{([a-z,]+)}}", text)
        assert shown
        for value in shown[1].split(","):
            validated(defaults | {"at": True, name: value})
        with pytest.raises(ValueError, match="|".join(f"'{value}'" for value in shown[1].split(","))):
            validated(defaults | {"at": True, name: "banana"})


# -- signals -----------------------------------------------------------------------------------------------------------

WAITS = "trap 'echo got it; exit 5' USR1 TERM HUP INT; echo ready; while :; do sleep 0.05; done"


@pytest.mark.parametrize("mode", ["", "--keep"])
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_reach_it(options: list[str], number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_DFL)  # a shell cannot trap what is ignored when it starts, as by nohup
    process = subprocess.Popen([*COMMAND, *options, "sh", "-c", WAITS], stdout=subprocess.PIPE, text=True)
    signal.signal(number, before)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.read() == "got it\n"
        assert process.wait(PATIENCE) == 5


def test_signals_that_are_ignored_stay_so(host: Path) -> None:
    """As by nohup. And SIGPIPE, which every Python ignores, is the command's as it was."""
    for options in ([], ["--keep", host / "kept"]):
        told = []
        for command in ([], [*COMMAND, *options]):
            line = " ".join(map(str, ["trap '' HUP INT;", "exec", *command, "grep", "SigIgn", "/proc/self/status"]))
            done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=PATIENCE)
            told.append((done.stdout, done.stderr))
        assert told[0] == told[1]
        assert int(told[0][0].split()[1], 16) & 0xFFFF == 1 << signal.SIGHUP - 1 | 1 << signal.SIGINT - 1


def test_who_ignores_its_children(host: Path) -> None:
    """SIGCHLD may be ignored by whoever starts this: then nothing can be waited for."""

    def work() -> int:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        pid = os.posix_spawn(sys.executable, [*COMMAND, "--keep", str(host / "kept"), "sh", "-c", "exit 3"], os.environ)
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            return (host / "kept").is_dir()
        return False

    assert in_child(work)


# -- the terminal ------------------------------------------------------------------------------------------------------


class Terminal:
    """A program that has a terminal of its own, which is ours to type into."""

    def __init__(self, *command: str) -> None:
        pid, self.fd = pty.fork()
        if pid == 0:
            os.environ["PS1"] = "$ "
            os.execvp(command[0], command)
        self.pid = pid
        self.text = ""
        self.resize(40, 100)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def expect(self, text: str) -> str:
        """What has been shown up to this text."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.text:
            if not select.select([self.fd], [], [], max(0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"{text!r} is not in {self.text!r}")
            try:
                self.text += os.read(self.fd, 4096).decode()
            except OSError:  # EIO: nobody has it open any more
                raise AssertionError(f"{text!r} is not in {self.text!r}, and the program has ended") from None
        shown, _, self.text = self.text.partition(text)
        return shown

    def end(self) -> int:
        """Its exit status, as `subprocess` has it."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.01)
        raise AssertionError(f"it does not end: {self.text!r}")

    def close(self) -> None:
        os.close(self.fd)
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


@contextlib.contextmanager
def terminal(*command: str) -> Iterator[Terminal]:
    found = Terminal(*command)
    try:
        yield found
    finally:
        found.close()


@ALL_THREE
def test_it_has_the_terminal(options: list[str]) -> None:
    code = "import os; print('it is', all(map(os.isatty, (0, 1, 2))), os.get_terminal_size(), flush=True); input()"
    with terminal(*COMMAND, *options, sys.executable, "-c", code) as found:
        found.expect("it is True os.terminal_size(columns=100, lines=40)")
        found.type("\n")
        assert found.end() == 0


@ALL_THREE
def test_it_hears_of_a_new_size(options: list[str]) -> None:
    code = "import os, signal; signal.pthread_sigmask(signal.SIG_BLOCK, [28]); print('ready', flush=True)"
    code += "; signal.sigwait([28]); print(os.get_terminal_size())"
    with terminal(*COMMAND, *options, sys.executable, "-c", code) as found:
        found.expect("ready")
        found.resize(50, 132)
        found.expect("os.terminal_size(columns=132, lines=50)")
        assert found.end() == 0


@ALL_THREE
def test_ctrl_c(options: list[str]) -> None:
    with terminal(*COMMAND, *options, "sh", "-c", "echo ready; exec sleep 60") as found:
        found.expect("ready")
        found.type("\x03")
        assert found.end() == -signal.SIGINT


@pytest.mark.parametrize("mode", ["", "--keep"])
def test_ctrl_c_comes_once(options: list[str]) -> None:
    code = "import signal, time; n = []; signal.signal(2, lambda *_: n.append(1)); print('ready', flush=True)"
    code += "; time.sleep(0.5); print('heard', len(n))"
    with terminal(*COMMAND, *options, sys.executable, "-c", code) as found:
        found.expect("ready")
        found.type("\x03")
        found.expect("heard 1")


@ALL_THREE
def test_job_control(options: list[str]) -> None:
    """Ctrl-Z stops it and gives the shell its prompt, fg goes on, and the status is that of its end."""
    with terminal("bash", "--norc", "--noprofile", "-i") as found:
        found.expect("$ ")
        found.type(f"{' '.join(COMMAND)} {' '.join(options)} sh -c 'echo rea''dy; exec sleep 60'\n")
        found.expect("ready")
        found.type("\x1a")
        found.expect("Stopped")
        found.expect("$ ")
        found.type("fg\n")
        found.expect("sleep 60")
        time.sleep(0.2)
        found.type("\x03")
        found.expect("$ ")
        found.type("echo status $?\n")
        found.expect("status 130")


@ALL_THREE
def test_an_interactive_shell_in_it(options: list[str]) -> None:
    """With job control of its own."""
    with terminal(*COMMAND, *options, "bash", "--norc", "--noprofile", "-i") as found:
        found.expect("$ ")
        assert "no job control" not in found.text
        found.type("sleep 60\n")
        time.sleep(0.3)
        found.type("\x1a")
        found.expect("Stopped")
        found.expect("$ ")
        found.type("fg\n")
        found.expect("sleep 60")
        time.sleep(0.2)
        found.type("\x03")
        found.expect("$ ")
        found.type("pwd\n")
        found.expect("/verytmp/")
        found.type("exit 3\n")
        assert found.end() == 3


# -- where namespaces are refused --------------------------------------------------------------------------------------


def under_docker(*arguments: str) -> tuple[int, str, str]:
    """The exit status and what was written, under the refusals of Docker's default profile."""

    def work() -> tuple[int, str, str]:
        refusals.docker()
        done = run(*arguments)
        return done.returncode, done.stdout, done.stderr

    found: tuple[int, str, str] = in_child(work)
    return found


def test_a_refusal_says_what_to_do() -> None:
    status, output, error = under_docker("echo", "ran")
    assert (status, output) == (125, "")
    assert "verytmp run --fallback shm" in error
    assert "Traceback" not in error


def test_the_fallback(host: Path) -> None:
    status, output, error = under_docker("--fallback", "shm", "sh", "-c", "pwd; echo x > f; cat f; exit 4")
    assert status == 4
    here, text = output.split()
    assert here.startswith(f"/dev/shm/verytmp-{os.geteuid()}/")
    assert text == "x"
    assert not os.path.exists(here)
    assert "a root is a directory in /dev/shm" in error
    assert "Traceback" not in error
    status, _, error = under_docker("--fallback", "shm", "--keep", str(host / "kept"), "touch", "f")
    assert status == 0
    assert os.listdir(host / "kept") == ["f"]


def test_the_fallback_where_the_host_is_read_only(host: Path) -> None:
    script = f"echo x > f; cat f; touch {host}/f; truncate -s 0 {host}/there; echo x > /dev/null && echo device"
    (host / "there").write_text("x")
    status, output, error = under_docker("--fallback", "shm", "--host", "ro", "sh", "-c", script)
    assert (status, output) == (0, "x\ndevice\n"), error
    assert error.count("Permission denied") == 2
    assert (host / "there").read_text() == "x"
    assert os.listdir(host) == ["there"]


def test_what_the_fallback_cannot_keep() -> None:
    for option, value in (("--at", "/work"), ("--size", "1m")):
        status, output, error = under_docker("--fallback", "shm", option, value, "echo", "ran")
        assert (status, output) == (125, "")
        assert f"{option[2:]} cannot be kept" in error


def test_an_old_kernels_landlock_is_refused() -> None:
    def work() -> tuple[int, str]:
        refusals.docker()
        kernel.seccomp(kernel.Rule("landlock_create_ruleset", 38))
        done = run("--fallback", "shm", "--host", "ro", "echo", "ran")
        return done.returncode, done.stderr

    status, error = in_child(work)
    assert status == 125
    assert "this kernel has no Landlock (Linux 5.13)" in error
