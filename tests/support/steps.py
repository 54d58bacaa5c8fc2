"""The system calls of one read through a symlink, as they were made: what docs/why-nothing-escapes.md draws."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import Any

from support.syscall_hooks import rebind_openers
from verytmp import VeryTmpRoot
from verytmp._confined.resolver import DIRECTORY

LINK = "/../../etc/passwd"
FLAGS = {os.O_RDONLY: "O_RDONLY", os.O_RDONLY | os.O_NOFOLLOW: "O_RDONLY|O_NOFOLLOW", DIRECTORY: "DIRECTORY"}


# What a call is made for, by the function that is under way.
PURPOSES = {"substitute_links": "the link's target, put in its place", "resolve": "the resolution"}
OPERATION = "the operation itself"


class Recorder:
    """Calls on descriptors, which it knows by the directory that was opened. The token is shown as such."""

    def __init__(self, above: int, token: str) -> None:
        self.lines: list[tuple[str, str, str]] = []
        self._places = {above: "above"}
        self._token = token
        self._open, self._readlink = os.open, os.readlink

    def open(self, name: str, flags: int, mode: int = 0o777, *, dir_fd: int) -> int:
        where = self._places[dir_fd]
        call = f'openat({where}, "{self.shown(name)}", {FLAGS[flags]})'
        found: int = self._noted(call, self._open, name, flags, mode, dir_fd=dir_fd)
        self._places[found] = self.lines[-1][2]
        return found

    def readlink(self, name: str, *, dir_fd: int) -> str:
        call = f'readlinkat({self._places[dir_fd]}, "{self.shown(name)}")'
        found: str = self._noted(call, self._readlink, name, dir_fd=dir_fd)
        return found

    def shown(self, name: str) -> str:
        return name.replace(self._token, "<token>")

    def _noted(self, call: str, make: Callable[..., Any], name: str, *arguments: Any, dir_fd: int) -> Any:
        try:
            found = make(name, *arguments, dir_fd=dir_fd)
        except OSError as error:
            self.lines.append((purpose(), call, errno.errorcode[error.errno or 0]))
            raise
        said = found if isinstance(found, str) else place(self._places[dir_fd], self.shown(name))
        self.lines.append((purpose(), call, said))
        return found


def purpose() -> str:
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code.co_name in PURPOSES:
            return PURPOSES[frame.f_code.co_name]
    return OPERATION


def place(where: str, name: str) -> str:
    return f"{where}/{name}".replace("above/<token>", "root")


def recorded() -> list[tuple[str, str, str]]:
    """What for, each call, and what the kernel answered."""
    with VeryTmpRoot() as root:
        (root / "inbox").mkdir()
        (root / "inbox" / "latest").symlink_to(LINK)
        (root / "etc").mkdir()
        (root / "etc" / "passwd").write_text("nobody's")
        path = root / "inbox" / "latest"
        recorder = Recorder(root.path._tree.fd, root.path._tree.token)
        originals = os.open, os.readlink
        os.open, os.readlink = recorder.open, recorder.readlink  # type: ignore[assignment]
        rebind_openers()
        try:
            assert path.read_text() == "nobody's"
        finally:
            os.open, os.readlink = originals
            rebind_openers()
    return recorder.lines


def drawn() -> str:
    lines = recorded()
    width = max(len(call) for _, call, _ in lines)
    text, before = "", ""
    for why, call, said in lines:
        text += f"{why}:\n" if why != before else ""
        text += f"  {call:<{width}}  {said}\n"
        before = why
    return f"```text\n{text}```\n"
