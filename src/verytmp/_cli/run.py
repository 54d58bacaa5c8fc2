"""``verytmp run``: any program, in a private directory in memory that is gone when it ends."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import warnings
from pathlib import Path

from .. import VeryTmpFallbackWarning, VeryTmpRoot, VeryTmpUnavailable
from .._programs.follow import end_by, follow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PROGRAM = "verytmp run"
FAILED, NOT_STARTED, SIGNALLED = 125, 126, 128  # as of env(1), timeout(1) and the shell

DESCRIPTION = """\
Run a program in a private directory in memory, which is gone when the program ends, however it ends.

The program starts in that directory, which is empty. It has a name (by default /verytmp/<random>), so programs that ask
for their own path work there: git, SQLite, node, pip. No other process sees it. The rest of the system is as usual.
Exit status, signals and the terminal are the program's own. Without COMMAND, your shell ($SHELL) is started.
"""

EXAMPLES = """\
examples:
  verytmp run                                   a shell in a directory that is gone when you leave it
  verytmp run -- git clone /srv/project.git .   the clone is gone at the end, too: see --keep
  verytmp run --keep result -- make -f ~/Makefile
                                                what make leaves in the directory is in ./result afterwards
  verytmp run --at /tmp -- pytest ~/project     every program in it has a /tmp of its own: no litter
  verytmp run --size 100m --host ro -- ~/script
                                                at most 100 MiB, and nothing else can be written to
  #!/usr/bin/env -S verytmp run --chdir . -- sh
                                                as the first line of a script: --chdir . lets sh find the script

exit status: the program's. A signal that ends the program ends this command as well. 127: there is no such program;
126: it cannot be started; 125: the directory could not be made, or the program succeeded and --keep failed; 2: an
option is wrong.

--host ro does not restrict the network, devices, or access to your other processes. It is not a sandbox for programs
that you do not trust.
"""


def main(arguments: list[str]) -> int:
    """Run a command. Returns its exit status; where nothing is left to be done, this process becomes the command."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else the shell has it ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends this as other programs, without a traceback
    asked = parse(arguments)
    try:
        keep = asked.keep and empty_directory(asked.keep)
        start = os.path.abspath(asked.chdir) if asked.chdir else None
        root = make_root(asked)
        command, fds = root.wrap(asked.command, cwd=start, unshare_pid=asked.unshare_pid)
        os.environ["PWD"] = start or str(root.at)
    except (OSError, ValueError) as error:
        print(f"{PROGRAM}: {in_options(error)}", file=sys.stderr)
        return FAILED
    for fd in fds:
        os.set_inheritable(fd, True)
    if root.kind == "tmpfs" and not keep:  # the namespace, and so the root, lasts as long as the command
        os.execv(command[0], command)
    status = supervise(command)
    failed = bool(keep) and not kept(root, keep)
    root.close()
    if os.WIFSIGNALED(status):
        end_by(os.WTERMSIG(status))
        return SIGNALLED + os.WTERMSIG(status)  # where this is the first process of a container, no signal ends it
    return os.waitstatus_to_exitcode(status) or (FAILED if failed else 0)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        usage=f"{PROGRAM} [OPTION...] [--] [COMMAND [ARGUMENT...]]",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--at",
        metavar="DIR",
        help="the name of the directory. An existing directory of that name is hidden from the program",
    )
    add("--size", help="limit for the size of its files: 64m, or 10%% of the memory; by default half of the memory")
    add("--host", choices=("rw", "ro"), default="rw", help="ro: only this directory can be written to")
    add("--keep", metavar="DIR", help="copy what the program leaves to this new directory, whatever the exit status")
    add("--chdir", metavar="DIR", help="start in DIR instead; a relative DIR begins at the current directory")
    add("--unshare-pid", action="store_true", help="end everything the program started when the program ends")
    shm = "where namespaces are refused (as in Docker), use a directory in /dev/shm, which is removed at the end"
    add("--fallback", choices=("none", "shm"), help=shm)
    add("command", nargs=argparse.REMAINDER, metavar="COMMAND", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.command[:1] == ["--"]:
        del asked.command[0]
    asked.command = asked.command or [os.environ.get("SHELL") or "/bin/sh"]
    return asked


def empty_directory(name: str) -> Path:
    """The directory to copy to, which is made before anything is run whose result might have no place."""
    path = Path(name).absolute()
    path.mkdir(exist_ok=True)
    if any(path.iterdir()):
        raise FileExistsError(f"--keep {name}: it is not empty; name a new directory")
    return path


def make_root(asked: argparse.Namespace) -> VeryTmpRoot:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", VeryTmpFallbackWarning)
        root = VeryTmpRoot(at=asked.at or True, size=asked.size, host=asked.host, fallback=asked.fallback)
    for warning in caught:
        print(f"{PROGRAM}: {warning.message}", file=sys.stderr)
    return root


def in_options(error: Exception) -> str:
    """An error in the words of the command line."""
    text = str(error)
    if isinstance(error, VeryTmpUnavailable):
        text = text.replace('VeryTmpRoot(fallback="shm")', f"{PROGRAM} --fallback shm")
    return text


def supervise(command: list[str]) -> int:
    """Run a command to its end, as if it was this process: its wait status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # who has started this may ignore it: then nothing can be waited for
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    child = os.fork()
    if child == 0:
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.execv(command[0], command)
        finally:
            os._exit(NOT_STARTED)
    return follow(child)


def kept(root: VeryTmpRoot, target: Path) -> bool:
    """Copy what is in the root. Whether all of it could be: what could not is printed."""

    def tried(copy: Callable[..., object], there: Path) -> bool:
        try:
            copy(there, follow_symlinks=False, preserve_metadata=True)
        except OSError as error:
            text = str(error).replace(str(root.path), "")
            notes = "".join(f" {note}" for note in getattr(error, "__notes__", ()))
            print(f"{PROGRAM}: --keep: {text}.{notes}", file=sys.stderr)
            return False
        return True

    if tried(root.path.copy_into, target):
        return True
    try:
        entries = sorted(root.path.iterdir())
    except OSError:  # which the first error has said
        return False
    for entry in entries:  # an error ends a copy, but one file is no reason to lose the others
        special = not (entry.is_symlink() or entry.is_dir() or entry.is_file())  # which the first error has named
        if not special and not os.path.lexists(target / entry.name):
            tried(entry.copy, target / entry.name)
    return False
