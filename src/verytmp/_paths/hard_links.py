"""Files that have several names, kept so in a copy of their tree."""

from __future__ import annotations

import os

from .._confined.owned_fd import opened
from .._confined.resolver import DIRECTORY, fitting, step_into

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._confined.owned_fd import OwnedFd

    _Identity = tuple[int, int]  # the device and inode


class HardLinks:
    """The copies of files that have several names. What has been copied once gets a link to that copy.

    Args:
        top: a directory that all the copies are in, or below. The caller closes it.
    """

    def __init__(self, top: OwnedFd) -> None:
        self.top = top
        self._copies: dict[_Identity, tuple[list[str], _Identity]] = {}

    def add(self, status: os.stat_result, names: list[str], copy: OwnedFd) -> None:
        """Note a file's copy, which is at these *names* below the top."""
        if status.st_nlink > 1:
            self._copies[identity(status)] = names, identity(os.fstat(copy.fileno()))

    def link(self, status: os.stat_result, name: str, directory: int) -> bool:
        """Make *name* in *directory* a link to the copy of this file.

        Returns False if there is no such copy, or where it cannot be linked to: too many links, or a file system that
        has none. Then the file has to be copied.
        """
        if status.st_nlink < 2 or identity(status) not in self._copies:
            return False
        names, copy = self._copies[identity(status)]
        try:
            here = opened(".", DIRECTORY, self.top.fileno())
            done = 0
            while (end := fitting(names[:-1], done)) > done:  # a path of more than PATH_MAX takes several steps
                here = step_into("/".join(names[done:end]), here)
                done = end
            with here:
                os.link(names[-1], name, src_dir_fd=here.fileno(), dst_dir_fd=directory, follow_symlinks=False)
        except OSError:
            return False
        if identity(os.lstat(name, dir_fd=directory)) == copy:
            return True
        os.unlink(name, dir_fd=directory)  # somebody has put another file in the copy's place
        return False


def identity(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino
