"""Component-wise resolution under the root, which no symlink and no ``..`` leads out of.

It is for what the kernel cannot do in one call: links in a mount that refuses to follow them, ``..``, and paths longer
than PATH_MAX. It follows as after chroot(2): an absolute link begins at the root, and ``..`` stops there.
"""

from __future__ import annotations

import errno
import os
import time
from stat import S_ISDIR, S_ISLNK

from .owned_fd import opened
from .procfs import path_in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .owned_fd import OwnedFd

LINKS_MAX = 40  # as the kernel's MAXSYMLINKS: path_resolution(7)
PATH_MAX = 4096
STRAIGHT_LINKS = 8  # for more, component-wise resolution is faster
ATTEMPTS = 16  # at a name that is swapped between a link and a directory
STRIDE_BYTES = 4000  # fewer than PATH_MAX: paths that are this long are entered in one call
DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW if hasattr(os, "O_PATH") else 0

# The most components that one resolution takes besides the path's own: those of LINKS_MAX targets, each of which has
# fewer than PATH_MAX bytes, and so at most half as many components. Each is taken once, so nothing that the kernel
# would resolve needs more. It ends what other threads' renames, or a lack of descriptors, would prolong.
TARGETS_COMPONENTS_MAX = LINKS_MAX * PATH_MAX // 2


def resolve(
    above: int, token: str, relative: str, follow: bool, strides: bool, create: bool = False
) -> tuple[OwnedFd, str]:
    """Where *relative* leads: the owner of a directory's descriptor, which the caller closes, and a name in it.

    The root is the directory *token* in the one of the file descriptor *above*.

    With *follow*, the name was no symlink when it was looked at. It may be one by now, so the caller's call must not
    follow it. ``.`` means the directory itself. Without *follow*, it is the path's last component.

    With *strides*, the mount follows no symlinks: many components can be entered in one call, for the kernel refuses a
    link among them. With *create*, the name is for O_CREAT: a link's ``a/`` makes no ``a``.

    Raises the `OSError` that the kernel would, and `ValueError` for a null byte.
    """
    if "\0" in relative:  # whatever comes before it
        raise ValueError("embedded null byte")
    resolution = Resolution(above, token, strides)
    try:
        name = resolution.take(relative.split("/"), follow, create)
        return resolution.leave(), name
    except BaseException:
        resolution.close()  # the traceback would keep it
        raise


class Resolution:
    """One component-wise resolution: the directories from the root to the current one, and what has been counted.

    ``..`` goes back to a directory that this resolution has opened in the one above it. The kernel's own ``..`` would
    leave a root that is no mount's, and lead anywhere if the current directory was moved meanwhile.

    Not all these directories stay open, for there may be thousands, and a process often has 1,024 descriptors. At depth
    d, the root does, and one at depth e if d - e is less than four times the largest power of two that divides e. So
    there are at most two for each power of two: 21 at 1,000 levels, 33 at 65,535. Going back by k levels leads to one
    that is open, or to less than k levels below one (or below the start of a stride). Those are entered again, and kept
    in the same way: even a path that goes up and down all the time takes a few calls for each component, however deep
    it is.

    When the process has no descriptor left, all but the current directory are closed. What is needed again is then
    resolved again from the root on, within the same bound.
    """

    __slots__ = (
        "_above",
        "_kept",
        "_left",
        "_links",
        "_searchable",
        "_starved",
        "_strides",
        "_token",
        "current",
        "names",
    )

    def __init__(self, above: int, token: str, strides: bool) -> None:
        """Begin at the root, as `resolve` takes it."""
        self._above = above
        self._token = token
        self._strides = strides
        self.current = open_root(above, token)
        self._kept = {0: self.current}  # the open directories by depth, the deepest one last
        self._links = 0
        self._left = TARGETS_COMPONENTS_MAX
        self._starved = False
        self.names: list[str] = []  # from the root to the current directory, none of them a link
        self._searchable = False

    def close(self) -> None:
        """Close all directories."""
        for directory in self._kept.values():
            directory.close()

    def leave(self) -> OwnedFd:
        """The current directory, which the caller closes from now on; all others are closed."""
        for directory in self._kept.values():
            if directory is not self.current:
                directory.close()
        return self.current

    def step(self, name: str) -> None:
        """Enter a directory, which must be no link. Raises `OSError`, and has not entered it then."""
        depth = len(self.names) + 1
        try:
            self._kept[depth] = opened(name, DIRECTORY, self.current.fileno())
        except OSError as error:
            if not self._given_up(error):
                raise
            self._kept[depth] = opened(name, DIRECTORY, self.current.fileno())
        self.names.append(name)
        self.current = self._kept[depth]
        self._searchable = False
        # Only one can have been kept for long enough by now: the next power of two divides both or neither.
        expired = depth - 4 * (depth & -depth)  # never 0, the root's: no number is four times its lowest bit
        if expired in self._kept:
            self._kept.pop(expired).close()

    def stride(self, components: list[str]) -> None:
        """Enter several directories in one call, which only a mount that follows no links makes safe.

        Raises `OSError`, and has entered none of them then.
        """
        path = "./" + "/".join(components)  # the first may be empty
        new = [name for name in components if name not in ("", ".")]
        depth = len(self.names) + len(new)
        try:
            directory = opened(path, DIRECTORY, self.current.fileno())
        except OSError as error:
            if not self._given_up(error):
                raise
            directory = opened(path, DIRECTORY, self.current.fileno())
        if not new:
            directory.close()
            return
        self._kept[depth] = self.current = directory
        self.names += new
        self._searchable = False
        for level in [*self._kept]:
            if 0 < level <= depth - 4 * (level & -level):
                self._kept.pop(level).close()

    def up(self, levels: int) -> list[str]:
        """Go back by a number of levels, at most to the root.

        Returns the names that have to be resolved again to get there: none, unless they have been renamed, or the
        process has no descriptor left.
        """
        depth = max(0, len(self.names) - levels)
        for level in [level for level in self._kept if level > depth]:
            self._kept.pop(level).close()
        starved = not self._kept
        if starved:
            self._kept[0] = open_root(self._above, self._token)
        nearest = next(reversed(self._kept))
        self.current = self._kept[nearest]
        again = self.names[nearest:depth]
        del self.names[nearest:]
        done = 0
        while done < len(again) and not starved:
            # In several steps: the directories between are needed if the path goes up again.
            reach = fitting(again, done) if self._strides else done + 1
            stop = most_even(nearest + done, nearest + reach) - nearest
            try:
                if stop == done + 1:
                    self.step(again[done])
                else:
                    self.stride(again[done:stop])
            except OSError:
                break
            done = stop
        self._searchable = True  # a name in it has been looked up, or it is a root that was checked
        return again[done:]

    def check_searchable(self) -> None:
        """Raise `OSError` (EACCES) unless names may be looked up in the current directory: ``..`` is such a name."""
        if not self._searchable:
            os.stat(".", dir_fd=self.current.fileno())
            self._searchable = True

    def _given_up(self, error: OSError) -> bool:
        """Close the kept directories if *error* is a lack of descriptors. Returns whether there were any to close."""
        if error.errno not in (errno.EMFILE, errno.ENFILE) or len(self._kept) < 2:
            return False
        self._starved = True
        for level in [level for level in self._kept if level != len(self.names)]:
            self._kept.pop(level).close()
        return True

    def _exhausted(self) -> OSError:
        """The error after more components than any path can have: EMFILE if descriptors were lacking, else ELOOP."""
        number = errno.EMFILE if self._starved else errno.ELOOP
        return OSError(number, os.strerror(number))

    def take(self, components: list[str], follow: bool, create: bool = False) -> str:
        """Resolve *components* from the current directory on; the other arguments are those of `resolve`.

        Returns the name in the directory that is then the current one.
        """
        self._left += len(components)
        pending = components[::-1]
        slashed = False
        step_singly_for = 0  # the number of names to take one by one, for one of them is no directory
        while True:
            many = next_chunk(pending) if self._strides and not step_singly_for else []
            if len(many) > 1:
                try:
                    self.stride(many)
                except OSError as error:
                    if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                        raise
                    step_singly_for = len(many)
                else:
                    del pending[-len(many) :]
                    self._left -= len(many)
                    continue
            step_singly_for = max(0, step_singly_for - 1)
            self._left -= 1
            if self._left < 0:
                raise self._exhausted()
            name = pending.pop()
            last = not pending
            if last and not follow:
                return name or "."
            target = None
            if name == "..":
                self.check_searchable()
                levels = 1
                while len(pending) > (not follow) and pending[-1] in ("..", ".", ""):
                    self._left -= 1
                    levels += pending.pop() == ".."
                again = self.up(levels)
                if not pending and again:
                    pending.append("")
                pending += again[::-1]
                last = not pending
            elif name == ".":  # of a link's target: "a/./b", "a/."
                self.check_searchable()
            elif not name:  # "a//b", "a/"
                pass
            elif last:
                if slashed:
                    raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
                target = readlink(name, self.current)
                if target is None:
                    return name
            else:
                try:
                    self.step(name)
                except OSError as error:
                    target = self._not_entered(name, error)
            if target is not None:
                if last and create and target.endswith("/"):
                    slashed = True
                    target = target.rstrip("/")
                pending += self._followed(target)[::-1]
                step_singly_for = 0
            elif last:
                return "."

    def _not_entered(self, name: str, error: OSError) -> str | None:
        """The target of a name that could not be entered because it is a symlink; None if it could be entered later.

        Raises *error* if it is neither. Where names are being swapped, it is tried again, at most ATTEMPTS times.
        """
        for attempt in range(ATTEMPTS):
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                break
            target = readlink(name, self.current)
            if target is not None:
                return target
            if attempt == ATTEMPTS - 1 or not is_being_swapped(name, self.current.fileno()):
                break
            backoff(attempt)
            try:
                self.step(name)
                return None
            except OSError as another:
                error = another
        try:
            raise error
        finally:
            del error  # its traceback refers to this frame: no reference cycle may keep the frames above alive

    def _followed(self, target: str) -> list[str]:
        """The components of a link's target; goes to the root first if it is absolute.

        Raises `OSError` (ELOOP) after LINKS_MAX links.
        """
        self._links += 1
        if self._links > LINKS_MAX:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        below = below_root(target, self._token)
        if below is not None:
            self.up(len(self.names))
            target = below
        components = [name for name in target.split("/") if name]
        return components if components and not target.endswith("/") else [*components, ""]


def open_root(above: int, token: str) -> OwnedFd:
    """The owner of a descriptor of the root itself, where each resolution begins and absolute targets lead."""
    return opened(token, DIRECTORY, above)


def below_root(target: str, token: str) -> str | None:
    """An absolute target's path from the root on, as after chroot(2); None for a relative one.

    A string of the root begins at the root too: a program that was given it may have made the link.
    """
    return (path_in_root(target, token) or target)[1:] if target.startswith("/") else None


def substitute_links(above: int, token: str, relative: str, follow: bool) -> Iterator[str]:
    """Paths to the same place, each with one link less in it, found by reading the links; until one has an inner "..".

    Only for a mount that follows none: one call is made with each until one works, and the kernel refuses what still
    has a link in it. No directory is opened, which for one link takes a third of the time of component-wise resolution.
    """
    if not relative or ".." in relative:
        return
    names = relative.split("/")
    first = links = 0  # no name before this one is a link
    while links < STRAIGHT_LINKS:
        low, high = first, len(names) - 1 - (not follow)
        target = None
        while target is None:  # binary search for the first link
            if low > high:
                return
            first = (low + high) // 2
            try:
                target = os.readlink("/".join([token, *names[: first + 1]]), dir_fd=above)
            except OSError as error:
                if error.errno == errno.EINVAL:  # it is no link, and none is before it
                    low = first + 1
                elif error.errno == errno.ELOOP:
                    high = first - 1
                else:
                    return
        links += 1
        if "/" not in target and target not in (".", ".."):  # another name in the same directory, as in most links
            names[first] = target
        else:
            below = below_root(target, token)
            steps = [name for name in (target if below is None else below).split("/") if name not in ("", ".")]
            ups = 0 if below is not None else next((n for n, name in enumerate(steps) if name != ".."), 0)
            if not steps[ups:] or ".." in steps[ups:] or target.endswith(("/", "/.")):
                return
            names[first : first + 1] = steps[ups:]
            # Before it are directories that could be searched: so ".." drops one name, and stops at the root.
            kept = 0 if below is not None else max(0, first - ups)
            del names[kept:first]
            first = kept
        yield "/".join(names)


def next_chunk(pending: list[str]) -> list[str]:
    """The next components that one call may enter: up to ``..``, never the last one. *pending* is in reverse order."""
    size = 0
    for index in range(len(pending) - 1, 0, -1):
        size += 1 + 4 * len(pending[index])  # a character is four bytes at most
        if size > STRIDE_BYTES or pending[index] == "..":
            return pending[:index:-1]
    return pending[:0:-1]


def fitting(names: list[str], start: int) -> int:
    """The end of a slice of *names* from *start* on that one call may enter; it has one name at least."""
    size = 0
    for index in range(start, len(names)):
        size += 1 + 4 * len(names[index])
        if size > STRIDE_BYTES:
            return max(index, start + 1)
    return len(names)


def most_even(low: int, high: int) -> int:
    """The number in ``low < n <= high`` that is divisible by the largest power of two."""
    while (evener := high & (high - 1)) > low:
        high = evener
    return high


def step_into(name: str, current: OwnedFd) -> OwnedFd:
    """Open a directory in *current*, and close *current*."""
    there = opened(name, DIRECTORY, current.fileno())
    current.close()
    return there


def readlink(name: str, current: OwnedFd) -> str | None:
    """A symlink's target; None for anything else, or nothing at all."""
    try:
        return os.readlink(name, dir_fd=current.fileno())
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise


def is_being_swapped(name: str, directory: int) -> bool:
    """Whether a name is a directory or a link now, after a call has found that it is neither."""
    try:
        mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    except OSError:
        return False
    return S_ISDIR(mode) or S_ISLNK(mode)


def backoff(attempt: int) -> None:
    """Wait before the next attempt, longer each time.

    An attacker whose rename loop has our period wins every time: without delays, one resolution in 200 lost 16 times in
    a row; with them, none of 1.3 million.
    """
    time.sleep(attempt * 1e-6)


def collapse(relative: str) -> str:
    """A path with its ``..`` removed lexically, at most up to the root; also without empty and ``.`` components."""
    names: list[str] = []
    for name in relative.split("/"):
        if name == "..":
            del names[-1:]
        elif name not in ("", "."):
            names.append(name)
    return "/".join(names)
