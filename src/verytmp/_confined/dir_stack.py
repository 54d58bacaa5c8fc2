"""The way down a tree of directories and up again, by descriptors: linear in its depth, with two open at a time.

Each directory is entered by its name in the one above it, and left by ``..``. That has to lead to the directory which
was above when it was entered, by device and inode number. If a directory was moved in between, nothing is done in its
new place.
"""

from __future__ import annotations

import errno
import os

from .owned_fd import opened

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    from .owned_fd import OwnedFd

MOVED = "A directory was moved meanwhile"


class DirStack:
    """The current directory of a traversal, and those above it.

    Attributes:
        here: the current directory's descriptor, which the stack closes.
        status: its status when it was entered.
        names: the names that lead to it from the first directory.
    """

    __slots__ = ("_above", "_flags", "here", "names", "status")

    def __init__(self, top: OwnedFd, flags: int) -> None:
        """Begin in *top*. On the way up, directories are opened with these *flags* of open(2)."""
        self.here = top
        self.status = os.fstat(top.fileno())
        self.names: list[str] = []
        self._flags = flags
        # Of each directory above: its descriptor if it is open, its status, and whether it has to stay open.
        self._above: list[tuple[OwnedFd | None, os.stat_result, bool]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.here.close()
        for above, _, _ in self._above:
            if above is not None:
                above.close()

    @property
    def fd(self) -> int:
        return self.here.fileno()

    def push(self, name: str, below: OwnedFd, by_link: bool = False) -> None:
        """Make *below*, which *name* leads to, the current directory.

        The one above stays open until a directory in *below* is entered: most have none in them, and so need no ``..``.
        If a symlink was followed (*by_link*), it stays open for longer, because ``..`` does not lead back to it.
        """
        status = os.fstat(below.fileno())
        if self._above:
            above, above_status, stays = self._above[-1]
            if above is not None and not stays:
                above.close()
                self._above[-1] = None, above_status, False
        self._above.append((self.here, self.status, by_link))
        self.names.append(name)
        self.here, self.status = below, status

    def pop(self) -> OwnedFd:
        """Go back to the directory above. The one that was left is returned, and the caller closes it.

        Raises:
            OSError: ENOENT, if the directory above is not the one that it was.
        """
        above, status, _ = self._above[-1]
        if above is None:
            above = opened("..", self._flags, self.fd)
            if not os.path.samestat(os.fstat(above.fileno()), status):
                above.close()
                raise OSError(errno.ENOENT, MOVED)
        self._above.pop()
        self.names.pop()
        left, self.here, self.status = self.here, above, status
        return left

    def traverse(
        self, names_here: Callable[[], list[str]], enter: Callable[[str], bool]
    ) -> Iterator[tuple[str, OwnedFd]]:
        """Visit the current directory and all below it, depth first, without recursion.

        *names_here* is called in each directory, and returns the names of those in it that are to be visited. *enter*
        is given such a name, and pushes it; or returns False if there is nothing to visit.

        Yields:
            Each directory that was left, once all below it was visited: its name in the current directory, which is the
            one above it, and its descriptor, which is closed afterwards.
        """
        depth = len(self.names)
        left = [names_here()]
        while True:
            if left[-1]:
                if enter(left[-1].pop()):
                    left.append(names_here())
                continue
            left.pop()
            if len(self.names) == depth:
                return
            name = self.names[-1]
            with self.pop() as directory:
                yield name, directory

    def path(self, error: OSError) -> str:
        """Where an error of a call in the current directory occurred, relative to the first directory."""
        name = error.filename
        return "/".join([*self.names, name] if isinstance(name, str) and name not in (".", "..") else self.names)
