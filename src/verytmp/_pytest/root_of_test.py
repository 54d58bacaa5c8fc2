"""The root of one test."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from .. import VeryTmpRoot


class TestRoot:
    """A test's root."""

    def __init__(self, name: str, root: VeryTmpRoot, home: Path) -> None:
        self.name = name
        self.root = root
        self.home = home
        self.device: int = os.stat(root).st_dev
        self.place: str = (
            os.path.realpath(root) if root.kind == "shm" else ""
        )  # elsewhere, the device is the root's own

    def entered(self) -> bool:
        """Whether the working directory is in it."""
        try:
            return os.stat(".").st_dev == self.device and (
                not self.place or f"{os.readlink('/proc/self/cwd')}/".startswith(f"{self.place}/")
            )
        except Exception:  # of a test that has put something in the place of os.stat, say
            return False

    def close(self) -> None:
        if self.entered():  # it would live on, and the next test begin in it
            os.chdir(self.home)
        self.root.close()
