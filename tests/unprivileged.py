"""Run a command as an ordinary user: ``python tests/unprivileged.py COMMAND [ARGUMENT...]``, as root.

An ordinary user may be unable to reach what root uses (an interpreter below /root, say). So this makes a mount
namespace of its own, in which every directory on the way to those can be passed, and shows nothing else.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

USER = 65534  # nobody
CLONE_NEWNS = 0x0002_0000
MS_BIND, MS_REC, MS_PRIVATE, MS_MOVE = 0x1000, 0x4000, 0x4_0000, 0x2000
STAGE = "/mnt"

libc = ctypes.CDLL(None, use_errno=True)


def checked(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def mount(source: str, target: str, flags: int, fstype: str = "", data: str = "") -> None:
    checked(libc.mount(source.encode(), target.encode(), fstype.encode(), flags, data.encode()))


def barred(path: Path) -> Path | None:
    """The first directory on the way that others may not pass."""
    for folder in reversed([path, *path.parents]):
        if folder.is_dir() and not folder.stat().st_mode & 0o001:
            return folder
    return None


def open_up(paths: list[Path]) -> None:
    """Let everybody pass to these: what bars the way is covered with a directory that shows them alone."""
    for bar in {bar for path in paths if (bar := barred(path))}:
        inside = [path for path in paths if path.is_relative_to(bar)]
        stages = [os.open(path, os.O_PATH) for path in inside]
        mount("tmpfs", str(bar), 0, "tmpfs", "mode=755")
        for path, stage in zip(inside, stages, strict=True):
            path.mkdir(parents=True, exist_ok=True)
            mount(f"/proc/self/fd/{stage}", str(path), MS_BIND | MS_REC)
            os.close(stage)


def main(command: list[str]) -> None:
    if os.geteuid() == 0:
        checked(libc.unshare(CLONE_NEWNS))
        mount("none", "/", MS_REC | MS_PRIVATE)
        here = Path.cwd()
        open_up([Path(path).resolve() for path in {sys.base_prefix, sys.prefix, str(here)}])
        os.chdir(here)
        os.setgroups([])
        os.setresgid(USER, USER, USER)
        os.setresuid(USER, USER, USER)
        os.environ["HOME"] = "/nonexistent"
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
