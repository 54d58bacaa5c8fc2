"""`VeryTmpPath.info`: `pathlib.types.PathInfo` (3.14), on every Python."""

from __future__ import annotations

from stat import S_ISDIR, S_ISLNK, S_ISREG

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os

    from .._confined.tree import Tree


class Info:
    """A path's type, asked of the kernel once and then kept. A path that cannot be looked at does not exist."""

    __slots__ = ("_known", "_relative", "_tree")

    def __init__(self, tree: Tree, relative: str) -> None:
        self._tree = tree
        self._relative = relative
        self._known: dict[bool, os.stat_result | None] = {}

    def __repr__(self) -> str:
        return "<VeryTmpPath.info>"

    def _status(self, follow: bool) -> os.stat_result | None:
        if follow not in self._known:
            try:
                self._known[follow] = self._tree.stat_or_none(self._relative, follow)
            except OSError:
                self._known[follow] = None
            except ValueError:  # no file can have this name
                self._tree.check_open()
                self._known[follow] = None
        return self._known[follow]

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it exists. Of a symlink, by default, whether its target does."""
        return self._status(follow_symlinks) is not None

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is a directory."""
        status = self._status(follow_symlinks)
        return status is not None and S_ISDIR(status.st_mode)

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is a regular file."""
        status = self._status(follow_symlinks)
        return status is not None and S_ISREG(status.st_mode)

    def is_symlink(self) -> bool:
        """Whether it is a symlink."""
        status = self._status(False)
        return status is not None and S_ISLNK(status.st_mode)
