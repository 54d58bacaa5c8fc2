"""The resolver: a walk under the root, one component at a time, that no symlink and no ``..`` leads out of.

It serves what the kernel cannot do in one call: links in a mount that refuses to follow them, ``..``, and paths longer
than PATH_MAX. It follows as after chroot(2): an absolute link begins at the root, and ``..`` stops there.
"""

from __future__ import annotations

import errno
import os

LINKS_MAX = 40  # as the kernel's MAXSYMLINKS: path_resolution(7)
DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW if hasattr(os, "O_PATH") else 0


def resolve(root: int, relative: str, follow: bool) -> tuple[int, str]:
    """Where *relative* leads: the descriptor of a directory, which the caller closes, and a name in it.

    With *follow*, the name was no symlink when it was looked at. It may be one by now, so whatever the caller does with
    it must not follow. An empty name means the directory itself. Without *follow*, it is the path's last component.
    """
    here = os.open(".", DIRECTORY, dir_fd=root)
    try:
        top = identity(here)
        names = relative.split("/")[::-1]
        links = 0
        while True:
            name = names.pop()
            last = not names
            if last and not follow:
                return here, name or "."
            target = None
            if name == "..":
                if identity(here) != top:
                    here = enter("..", here)
            elif name in ("", "."):  # of a link's target: "a//b", "a/"
                pass
            elif last:
                target = readlink(name, here)
                if target is None:
                    return here, name
            else:
                try:
                    here = enter(name, here)
                except OSError as error:
                    if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                        raise
                    target = readlink(name, here)
                    if target is None:
                        raise
            if target is not None:
                links += 1
                if links > LINKS_MAX:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                if target.startswith("/"):
                    top_again = os.open(".", DIRECTORY, dir_fd=root)
                    os.close(here)
                    here = top_again
                names += target.split("/")[::-1]
            elif last:
                return here, ""
    except BaseException:
        os.close(here)
        raise


def enter(name: str, here: int) -> int:
    """The descriptor of a directory in *here*, which is closed for it."""
    there = os.open(name, DIRECTORY, dir_fd=here)
    os.close(here)
    return there


def readlink(name: str, here: int) -> str | None:
    """A symlink's target; None for anything else, or nothing at all."""
    try:
        return os.readlink(name, dir_fd=here)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise


def identity(directory: int) -> tuple[int, int]:
    status = os.stat(directory)
    return status.st_dev, status.st_ino
