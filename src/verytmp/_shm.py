"""A directory in /dev/shm, for where no private tmpfs can be made, and the caller has said that this will do.

    /dev/shm/verytmp-<uid>/     one for each user
        <random>/               one for each root, locked by the process that made it for as long as that lives
            <token>/            the root directory, by its random name

The lock is flock(2)'s: it goes with the process, even by ``kill -9``, and so whoever makes the next root can tell the
dead ones, and removes them. The user's own directory is locked too: shared while a root is made, until it has its lock;
exclusively while somebody looks for dead ones. So nothing is taken for dead that is about to be born.
"""

from __future__ import annotations

import errno
import os
import re
import time
import warnings
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN, flock
from posix import geteuid, getpid  # a test may have put others in os
from weakref import finalize

from ._confined.owned_fd import KeptFds, identity, opened
from ._confined.removal import empty
from ._confined.tree import Tree
from ._diagnosis.causes import BEFORE
from ._diagnosis.rules import MORE_FILES
from ._mounting.spec import new_token
from .errors import VeryTmpFallbackWarning, VeryTmpUnavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from select import epoll

    from ._mounting.spec import MountSpec

PLACE = "/dev/shm"
LISTABLE = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
PATIENCE = 5.0  # seconds: a look for dead ones takes milliseconds
PAUSE = 0.001
OFTEN = "it is removed as often as it is made"
NAME_BYTES = 8
OURS = re.compile(f"[0-9a-f]{{{2 * NAME_BYTES}}}")  # what else lies there is not for us to remove
ATTEMPTS = 16  # the user's directory may go between two calls, with the last root in it

REMEDIES = {
    **MORE_FILES,
    errno.ENOENT: f"There is no {PLACE}: mount a tmpfs there.",
    errno.ENOSPC: f"{PLACE} is full: make room in it, or more of it (docker run --shm-size=256m).",
    errno.EROFS: f"{PLACE} can only be read: mount a tmpfs there.",
}


def remedies() -> dict[int, str]:
    if os.access(PLACE, os.W_OK):
        return REMEDIES
    return REMEDIES | {errno.EACCES: f"This user may not write to {PLACE}: give it the mode 1777."}


_warned: set[tuple[str, int | None]] = set()


def directory(refused: VeryTmpUnavailable, spec: MountSpec) -> tuple[Tree, Callable[[], object]]:
    """A new directory's tree, and what removes it: at the latest when the tree is garbage, or the program ends."""
    home = f"{PLACE}/verytmp-{geteuid()}"
    token = new_token()
    held = None
    try:
        remove_stale(home)
        for _ in range(ATTEMPTS):
            try:
                held, name = make(home, token, spec.mode)
                break
            except FileNotFoundError:
                continue
        else:
            raise OSError(errno.EAGAIN, OFTEN)
        at = f"{home}/{name}/{token}" if spec.at else ""
        above = opened(".", os.O_PATH | os.O_DIRECTORY, held.fileno())
        tree = Tree((above,), token, 0, at, spec.host_read_only)
    except OSError as error:
        error.__traceback__ = None  # it holds frames, and so locks
        if held:
            held.close()
        undo(home)
        reason = f"{error.strerror}{BEFORE}{refused.step}: {refused.reason}"
        remedy = f"{remedies().get(error.errno or 0, f'Look at {home}.')} {refused.remedy}".strip()
        raise VeryTmpUnavailable(error.errno or 0, home, reason, remedy, "fallback", refused.evidence) from None
    removal = finalize(tree, remove, home, name, held, getpid())
    try:
        warn_once(refused)
    except BaseException:  # warnings are errors here
        removal()
        raise
    return tree, removal


def warn_once(refused: VeryTmpUnavailable) -> None:
    """Warn, once for each cause. Where warnings are errors there is no root."""
    what = refused.step, refused.errno
    if what not in _warned:
        from ._diagnosis.causes import KEYWORD  # an advice that has been taken

        why = str(refused).replace(f"with weaker guarantees and no limits: {KEYWORD}; ", "")
        warnings.warn(f"a root is a directory in {PLACE}: {why}", VeryTmpFallbackWarning, stacklevel=5)
        _warned.add(what)


def make(home: str, token: str, mode: int) -> tuple[KeptFds, str]:
    """A new directory that is locked before anybody can take it for dead, with the root in it."""
    with open_user_dir(home) as user:
        lock(user, LOCK_SH)
        try:
            name = os.urandom(NAME_BYTES).hex()
            os.mkdir(name, 0o700, dir_fd=user.fileno())
            held = KeptFds(opened(name, LISTABLE, user.fileno()))
            flock(held, LOCK_EX | LOCK_NB)
        finally:
            flock(user, LOCK_UN)  # closing is not enough: a child that was forked meanwhile has a copy
    os.mkdir(token, 0o700, dir_fd=held.fileno())
    os.chmod(token, mode, dir_fd=held.fileno())  # mkdir(2) obeys the umask
    return held, name


def open_user_dir(home: str) -> epoll:
    """This user's directory, made if need be. /dev/shm is everybody's: somebody else's may lie under the name."""
    for _ in range(ATTEMPTS):
        try:
            os.mkdir(home, 0o700)
        except FileExistsError:
            pass
        try:
            user = opened(home, LISTABLE, None)
        except FileNotFoundError:
            continue
        status = os.fstat(user.fileno())
        if status.st_uid != geteuid() or status.st_mode & 0o777 != 0o700:  # a set-group-ID /dev/shm hands that down
            raise OSError(errno.EPERM, "it is not this user's alone")
        return user
    raise OSError(errno.EAGAIN, OFTEN)


def lock(directory: epoll, how: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return flock(directory, how | LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
        time.sleep(PAUSE)


def remove_stale(home: str) -> None:
    """Remove what processes have left that ended before they could."""
    dead: list[tuple[str, epoll]] = []
    with open_user_dir(home) as user:
        try:
            flock(user, LOCK_EX | LOCK_NB)
        except BlockingIOError:  # somebody makes a root, or looks too
            return
        device = os.fstat(user.fileno()).st_dev
        try:
            for name in filter(OURS.fullmatch, os.listdir(user.fileno())):
                try:
                    found = opened(name, LISTABLE, user.fileno())
                    flock(found, LOCK_EX | LOCK_NB)
                except OSError:  # it lives, or the table of open files is full
                    continue
                if os.fstat(found.fileno()).st_dev == device:  # or somebody has mounted something there
                    dead.append((name, found))
        finally:
            flock(user, LOCK_UN)
    for name, found in dead:
        with found:
            try:
                remove_root_dir(f"{home}/{name}", identity(found.fileno()))
            except OSError:  # the next one will
                continue


def remove_root_dir(path: str, made: tuple[int, int] | None) -> None:
    """Remove a directory with all that is in it, if it is still the one that was made.

    It is opened by its name. What a program that closes all descriptors has put under the lock's number must not go.
    """
    for attempt in range(ATTEMPTS):
        try:
            with opened(path, LISTABLE, None) as directory:
                if made is None or identity(directory.fileno()) != made:
                    raise OSError(errno.ESTALE, "something else is there now")
                empty(directory, made[0], override_permissions=True)
            os.rmdir(path)
            break
        except OSError as error:
            if error.errno != errno.ENOTEMPTY or attempt == ATTEMPTS - 1:  # a thread is still writing
                raise


def remove(home: str, name: str, held: KeptFds, pid: int) -> None:
    """Remove a root's directory, and the user's after the last of them. A forked child's copy is not the one."""
    if getpid() != pid:
        return
    path = f"{home}/{name}"
    try:
        remove_root_dir(path, held.identities[0])
    except OSError as error:
        warnings.warn(f"{path} is left until the next root is made: {error}", VeryTmpFallbackWarning, stacklevel=3)
    held.close()
    try:
        os.rmdir(home)
    except OSError:
        pass


def remove_left() -> None:
    """Remove what killed processes of this user have left, when a root is made that is none of these.

    It takes one system call where there is nothing.
    """
    if os.path.exists(home := f"{PLACE}/verytmp-{geteuid()}"):
        undo(home)


def undo(home: str) -> None:
    """Remove what was made of a root that could not be made to the end, and what killed processes have left."""
    try:
        remove_stale(home)
        os.rmdir(home)
    except OSError:  # others have roots there, or there is no descriptor left for it: the next one will
        pass
