"""The one owner of a root's descriptors, and the strings of its paths.

A path is here what it is to the kernel: the descriptor of the directory above a root, and a string: the root's token,
and a path in it, ``""`` for the root itself, with no empty, ``.`` or leading ``/`` component (`_paths.pure` ensures
that). The token is a random name, which no other directory has. So nothing is found under a descriptor that was closed
and whose fd was used again.
"""

from __future__ import annotations

import errno
from _weakref import ref  # weakref itself takes a millisecond to import
from functools import partial

from .owned_fd import KeptFds, raised
from .procfs import is_own_namespace, names, proc_fd
from .resolver import collapse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ClassVar, NoReturn

    from .owned_fd import OwnedFd

# The fd in a path's string is at least this one, where the limits allow it: a program's own files have lower ones. The
# token keeps a string of a root that is gone from leading to anything. But a program that makes missing directories
# (os.makedirs), or appends to the root's string, would make them in a directory that got the same fd meanwhile.
LOWEST_IN_STRINGS = 512


LOST = "the program has closed the descriptors of this root, as with os.closerange(): make a new root"


class RootFds:
    """A root's descriptors, for as long as anything refers to them.

    Args:
        fds: the owners of the descriptors of the directory above the root, and of the mount; none for a closed root, as
            it may come from another process. The mount's is kept because a mount that is in no namespace any more takes
            a lock of the whole machine whenever a file in it is closed.
        token: the root's name in the directory above it.
        inodes_above: so many directories of the same file system are not the user's.
        at: the root's name in a mount namespace, whose descriptor is the third one; with fewer descriptors, its name
            for all processes; empty if it has no name.
        host_read_only: whether Landlock has to keep programs from writing elsewhere, because no namespace does.
        read_only: whether it is a view of another root, with whose token it cannot be taken for that.

    Raises `OSError` where a descriptor has to be exchanged, and the process may have no more of them.
    """

    __slots__ = (
        "__weakref__", "_fds", "_place", "_root_fds",
        "around_close", "at", "fd", "host_read_only", "inodes_above", "key", "layers", "lower", "mounter", "named",
        "origin", "read_only", "token",
    )  # fmt: skip

    by_key: ClassVar[dict[str, ref[RootFds]]] = {}  # all of this process

    def __init__(
        self,
        fds: tuple[OwnedFd, ...],
        token: str,
        inodes_above: int,
        at: str = "",
        host_read_only: bool = False,
        read_only: bool = False,
    ) -> None:
        self._fds = KeptFds(*[raised(each, LOWEST_IN_STRINGS) for each in fds[:1]], *fds[1:])
        self._root_fds: list[KeptFds] = []  # of the root directory itself, which close() closes too
        self.around_close: tuple[Callable[[], None], Callable[[], None]] | None = None  # called before and after it
        # Kept for as long as this is open: who can change its mount; the layers of a clone, below its own; and all that
        # clones of it have, once they have been opened.
        self.mounter: object = None
        self.lower: object = None
        self.layers: object = None
        self.fd = self._fds.filenos[0] if fds else -1
        self.token = token
        self.inodes_above = inodes_above
        self.at = at
        self.host_read_only = host_read_only
        self.read_only = read_only
        self.key = f"{token}/" if read_only else token  # what it is known by in this process
        self._place = f"{self.fd}/{token}/"  # in /proc: strings are asked for more often than roots are made
        # In that namespace itself, strings begin with the name.
        self.named = f"{at}/" if at and len(self._fds.filenos) > 2 and is_own_namespace(self._fds.filenos[2]) else ""
        self.origin = self.drive()  # which a forked child goes on comparing and hashing by
        if fds:
            self.by_key[self.key] = ref(self, partial(forget, self.key))
            if at:
                names[token] = at

    @property
    def closed(self) -> bool:
        """Whether the descriptors are closed."""
        return self._fds.closed

    @property
    def filenos(self) -> tuple[int, ...]:
        """The file descriptors, in the order in which the constructor takes their owners."""
        return self._fds.filenos

    def kept_fds(self) -> KeptFds:
        """The descriptors, for a caller who keeps them when this object goes."""
        return self._fds

    def duplicates(self) -> tuple[OwnedFd, ...]:
        """As `KeptFds.duplicates`. `ValueError` if the root is closed."""
        try:
            return self._fds.duplicates()
        except OSError:
            self.check_open()
            raise

    def close(self) -> None:
        """Let go of the directory. Operations under way fail, later ones are refused. Closing again does nothing."""
        before, after = self.around_close or (None, None)
        if before is not None:
            before()
        self._fds.close(*self._root_fds)
        self.mounter = self.lower = self.layers = None
        if after is not None:
            after()

    def check_open(self) -> None:
        """Raise `ValueError` if the root is closed."""
        if self._fds.closed:
            raise ValueError("operation on a closed VeryTmpRoot") from None

    def raise_lost(self) -> NoReturn:
        """Raise `ValueError` if the root is closed, else `OSError` (EBADF): a program has closed its descriptors."""
        self.check_open()
        raise OSError(errno.EBADF, LOST, self.drive())

    def drive(self) -> str:
        """The root's directory, as every process of this user can open it."""
        return self.named[:-1] or f"{proc_fd()}{self._place[:-1]}"

    def string(self, relative: str) -> str:
        """A path as a string. It holds no ``..``: a program that cleans paths up lexically would leave the root.

        The root's own ends with a slash, as that of an anchor does: what is appended to it is looked for in the root.
        A real name has none.
        """
        if ".." in relative:
            relative = collapse(relative)
        if self.named:
            return self.named + relative if relative else self.at
        return f"{proc_fd()}{self._place}{relative}"

    def name(self, relative: str) -> str:
        """A path as programs in the root's mount namespace see it; as `string`, without ``..``.

        Raises `ValueError` if the root has no name.
        """
        if not self.at:
            raise ValueError("this root has no name: make it with at=, as in VeryTmpRoot(at='/work')")
        return f"{self.at}/{collapse(relative) if '..' in relative else relative}".rstrip("/")

    def namespace(self) -> int | None:
        """The fd of the mount namespace in which the root has its name; None if all processes see the name.

        Raises `ValueError` if the root has no name, or is closed; `OSError` (EBADF) if a program has closed its
        descriptors: another root's namespace may have that number.
        """
        self.name("")
        if not self._fds.are_ours():
            self.raise_lost()
        return self._fds.filenos[2] if len(self._fds.filenos) > 2 else None


def forget(key: str, _: object) -> None:
    """Forget a root whose `RootFds` has gone."""
    RootFds.by_key.pop(key, None)
    names.pop(key, None)
