"""The root of one test."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from .. import VeryTmpRoot


class TestRoot:
    """A root that a fixture of one test has.

    Args:
        name: the fixture's.
        root: the root, which `close` closes.
        home: where the working directory goes back to, if the test has left it in the root.
    """

    def __init__(self, name: str, root: VeryTmpRoot, home: Path) -> None:
        self.name = name
        self.root = root
        self.home = home
        self.device: int = os.stat(root).st_dev
        # The fallback's directories are all on one device.
        self.place: str = os.path.realpath(root) if root.kind == "shm" else ""

    def entered(self) -> bool:
        """Whether the working directory is in it."""
        try:
            return os.stat(".").st_dev == self.device and (
                not self.place or f"{os.readlink('/proc/self/cwd')}/".startswith(f"{self.place}/")
            )
        except Exception:  # the test may have replaced os.stat
            return False

    def close(self) -> None:
        if self.entered():  # it would stay alive, and the next test would begin in it
            os.chdir(self.home)
        self.root.close()
