"""The root of one test, or its directory in the root of the run."""

from __future__ import annotations

import os

from .directories import bring_back, remove

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from .. import VeryTmpPath, VeryTmpRoot


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

    @property
    def path(self) -> VeryTmpPath:
        return self.root.path

    @property
    def closed(self) -> bool:
        return self.root.closed

    def title(self) -> str:
        """What it is called in a report."""
        return f"{self.name}: {self.root.usage().used:,} bytes"

    def end(self) -> None:
        self.close()

    def close(self) -> None:
        if self.entered():  # it would stay alive, and the next test would begin in it
            os.chdir(self.home)
        self.root.close()


class TestDirectory:
    """The tmp_path of one test, in a run with --verytmp.

    Args:
        name: the fixture's.
        path: the directory.
        home: where the working directory goes back to, if the test has left it there.
        root: what is mounted on the directory, if something is. `close` closes it.
    """

    def __init__(self, name: str, path: Path, home: Path, root: VeryTmpRoot | None) -> None:
        self.name = name
        self.path = path
        self.home = home
        self.root = root
        self.closed: bool = False

    def title(self) -> str:
        """What it is called in a report."""
        return f"{self.name}: {self.path}"

    def entered(self) -> bool:
        """Whether the test may have met what a name spares it: no."""
        return False

    def close(self) -> None:
        """At the fixture's end: its descriptors must not be found in the test's own fixtures. Other files stay, for
        fixtures that came before it may still need them.
        """
        if self.root is not None:
            bring_back(os.fspath(self.path), os.fspath(self.home))
            self.root.close()
            self.closed = True

    def end(self) -> None:
        """At the test's end."""
        self.close()
        bring_back(os.fspath(self.path), os.fspath(self.home))
        remove(self.path)
        self.closed = True
