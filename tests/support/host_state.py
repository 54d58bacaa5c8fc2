"""What is really there, asked of the kernel with os alone, and never of the classes under test."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

Tree = dict[str, object]


def look(directory: int | str) -> Tree:
    """A directory's whole tree: bytes for a file, ``"-> target"`` for a symlink, a dict for a directory."""
    found: Tree = {}
    own = (
        os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=directory)
        if isinstance(directory, int)
        else os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    )
    try:
        for name in sorted(os.listdir(own)):
            mode = os.lstat(name, dir_fd=own).st_mode
            if stat.S_ISLNK(mode):
                found[name] = f"-> {os.readlink(name, dir_fd=own)}"
            elif stat.S_ISDIR(mode):
                below = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=own)
                try:
                    found[name] = look(below)
                finally:
                    os.close(below)
            elif stat.S_ISREG(mode):
                descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=own)
                with open(descriptor, "rb") as file:
                    found[name] = file.read()
            else:
                found[name] = stat.filemode(mode)
    finally:
        os.close(own)
    return found


def make(directory: int | str, tree: Tree) -> None:
    """Make what `look` would find."""
    own = (
        os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=directory)
        if isinstance(directory, int)
        else os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    )
    try:
        for name, content in tree.items():
            if isinstance(content, dict):
                os.mkdir(name, dir_fd=own)
                below = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=own)
                try:
                    make(below, content)
                finally:
                    os.close(below)
            elif isinstance(content, str):
                os.symlink(content.removeprefix("-> "), name, dir_fd=own)
            elif isinstance(content, bytes):
                descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=own)
                with open(descriptor, "wb") as file:
                    file.write(content)
    finally:
        os.close(own)


def descriptors(process: int | str = "self") -> dict[int, str]:
    """A process's descriptors, by default this one's, but for the one that they are read with."""
    found = {}
    for number in os.listdir(f"/proc/{process}/fd"):
        try:
            found[int(number)] = os.readlink(f"/proc/{process}/fd/{number}")
        except FileNotFoundError:
            pass
    return found


def new_descriptors(before: dict[int, str]) -> dict[int, str]:
    """What there is now and was not *before*, by number and path."""
    return {number: path for number, path in descriptors().items() if before.get(number) != path}


def children() -> list[str]:
    """This process's children, dead ones that nobody has reaped among them."""
    found = []
    for task in os.listdir("/proc/self/task"):
        try:
            found += _read(f"/proc/self/task/{task}/children").split()
        except FileNotFoundError:  # a thread that has ended meanwhile
            pass
    return found


def threads() -> int:
    """This process's threads, as the kernel counts them: also those that Python does not know, or not any more."""
    return len(os.listdir("/proc/self/task"))


def running(mark: str) -> list[str]:
    """The processes that have this in their command line."""
    return [pid for pid in filter(str.isdigit, os.listdir("/proc")) if mark in command(pid)]


def command(pid: str) -> str:
    """A process's command line, or an empty string."""
    try:
        return _read(f"/proc/{pid}/cmdline").replace("\0", " ")
    except OSError:
        return ""


def mounts() -> list[str]:
    return _read("/proc/self/mountinfo").splitlines()


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()


def names(*folders: str) -> Iterator[str]:
    """Everything that lies in these directories."""
    for folder in folders:
        for name in os.listdir(folder):
            yield os.path.join(folder, name)


def shared_memory() -> int:
    """The bytes in tmpfs files on this machine: /proc/meminfo."""
    return (
        next(int(line.split()[1]) for line in _read("/proc/meminfo").splitlines() if line.startswith("Shmem:")) * 1024
    )


def resident(process: int | str = "self") -> int:
    """The bytes of memory that a process has, by default this one."""
    return int(_read(f"/proc/{process}/statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def of_pidfd(descriptor: int) -> int:
    """The process that a pidfd_open(2)'s descriptor is of; -1 if it has ended."""
    lines = _read(f"/proc/self/fdinfo/{descriptor}").splitlines()
    return next(int(line.partition(":")[2]) for line in lines if line.startswith("Pid:"))


def fallback() -> list[str] | None:
    """What this user's fallback roots are in, if there are any. Other users' suites may run at the same time."""
    home = f"/dev/shm/verytmp-{os.geteuid()}"
    return sorted(os.listdir(home)) if os.path.isdir(home) else None
