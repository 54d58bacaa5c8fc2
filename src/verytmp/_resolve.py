"""The resolver: a walk under the root, one component at a time, that no symlink and no ``..`` leads out of.

It serves what the kernel cannot do in one call: links in a mount that refuses to follow them, ``..``, and paths longer
than PATH_MAX. It follows as after chroot(2): an absolute link begins at the root, and ``..`` stops there.
"""

from __future__ import annotations

import errno
import os
import time
from stat import S_ISDIR, S_ISLNK

from ._owner import opened
from ._proc import path_in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from select import epoll

LINKS_MAX = 40  # as the kernel's MAXSYMLINKS: path_resolution(7)
STRAIGHT_LINKS = 8  # for more, a walk is the shorter way
ATTEMPTS = 16  # at a name that is a link and a directory in turn
STRIDE_BYTES = 4000  # fewer than PATH_MAX, 4096: what fits is entered in one call
DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW if hasattr(os, "O_PATH") else 0


def open_root(above: int, token: str) -> epoll:
    """The owner of a root directory's descriptor, by the descriptor of the directory above it."""
    return opened(token, DIRECTORY, above)


def resolve(
    above: int, token: str, relative: str, follow: bool, strides: bool, create: bool = False
) -> tuple[epoll, str]:
    """Where *relative* leads: the owner of a directory's descriptor, which the caller closes, and a name in it.

    With *follow*, the name was no symlink when it was looked at. It may be one by now, so whatever the caller does with
    it must not follow. ``.`` means the directory itself. Without *follow*, it is the path's last component.

    With *strides*, the mount follows no symlinks: many components can be entered at once, for a link among them is
    refused. Deep trees would take forever else. With *create*, the name is for O_CREAT: a link's ``a/`` makes no ``a``.
    """
    if "\0" in relative:  # whatever comes before it
        raise ValueError("embedded null byte")
    here = open_root(above, token)
    way: list[str] = []  # the names from the root to *here*, none of them a link
    try:
        names = relative.split("/")[::-1]
        links = 0
        slashed = False
        single = 0  # so many names are taken one by one, for among them is no directory
        while True:
            many = ahead(names) if strides and not single else []
            if len(many) > 1:
                try:
                    here = enter("./" + "/".join(many), here)  # a target's "/" is an empty name: no path may begin so
                except OSError as error:
                    if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                        raise
                    single = len(many)
                else:
                    del names[-len(many) :]
                    way += [step for step in many if step not in ("", ".")]
                    continue
            single = max(0, single - 1)
            name = names.pop()
            last = not names
            if last and not follow:
                return here, name or "."
            target = None
            if name == "..":
                # The kernel's own would leave a root that is no mount's, and lead anywhere if *here* was moved. So the
                # way is taken again, but for its last step. *here* has to be searchable all the same.
                enter(".", here).close()
                names = [*(["."] if last else names), *way[-2::-1]]
                here = open_root(above, token)
                way, last, single = [], False, 0
            elif name in ("", "."):  # of a link's target: "a//b", "a/"
                pass
            elif last:
                if slashed:
                    raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
                target = readlink(name, here)
                if target is None:
                    return here, name
            else:
                for attempt in range(ATTEMPTS):
                    try:
                        here = enter(name, here)
                        way.append(name)
                        break
                    except OSError as error:
                        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                            raise
                        target = readlink(name, here)
                        if target is not None:
                            break
                        if attempt == ATTEMPTS - 1 or not changing(name, here.fileno()):
                            raise
                        fall_out_of_step(attempt)
            if target is not None:
                links += 1
                if links > LINKS_MAX:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                if target.startswith("/"):
                    target = path_in_root(target, token) or target
                    here.close()
                    here = open_root(above, token)
                    way = []
                if last and create and target.endswith("/"):
                    slashed = True
                    target = target.rstrip("/")
                names += target.split("/")[::-1]
                single = 0
            elif last:
                return here, "."
    except BaseException:
        here.close()  # the traceback would keep it
        raise


def straightened(above: int, token: str, relative: str, follow: bool) -> Iterator[str]:
    """Paths to the same place, each with one link less in it, found by reading the links: until that takes a walk.

    Only for a mount that follows none: one call is made with each until one works, and the kernel refuses what still
    has a link in it. No directory is opened, which takes a third of a walk's time where there is one link.
    """
    names = relative.split("/")
    first = links = 0  # no name before this one is a link
    while links < STRAIGHT_LINKS:
        low, high = first, len(names) - 1 - (not follow)
        words = None
        while words is None:  # halving what is left, for the one that has no link before it
            if low > high:
                return
            first = (low + high) // 2
            try:
                words = os.readlink("/".join([token, *names[: first + 1]]), dir_fd=above)
            except OSError as error:
                if error.errno == errno.EINVAL:  # it is something else, and there is no link before it
                    low = first + 1
                elif error.errno == errno.ELOOP:
                    high = first - 1
                else:
                    return
        links += 1
        if words[0] == "/":
            words = path_in_root(words, token) or words
        if "/" not in words and words not in (".", ".."):  # another name in the same directory: most links are so
            names[first] = words
        else:
            steps = [name for name in words.split("/") if name not in ("", ".")]
            if not steps or ".." in steps or words.endswith(("/", "/.")):
                return
            names[first : first + 1] = steps
            if words.startswith("/"):
                del names[:first]
                first = 0
        yield "/".join(names)


def ahead(names: list[str]) -> list[str]:
    """The next components that one call may enter: not the last one of all, and no ``..``."""
    size = 0
    for index in range(len(names) - 1, 0, -1):
        size += 1 + 4 * len(names[index])  # a character is four bytes at most
        if size > STRIDE_BYTES or names[index] == "..":
            return names[:index:-1]
    return names[:0:-1]


def enter(name: str, here: epoll) -> epoll:
    """The owner of a directory in *here*, which is closed for it."""
    there = opened(name, DIRECTORY, here.fileno())
    here.close()
    return there


def readlink(name: str, here: epoll) -> str | None:
    """A symlink's target; None for anything else, or nothing at all."""
    try:
        return os.readlink(name, dir_fd=here.fileno())
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise


def changing(name: str, directory: int) -> bool:
    """Whether there is a directory or a link now, where neither was seen a moment ago."""
    try:
        mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    except OSError:
        return False
    return S_ISDIR(mode) or S_ISLNK(mode)


def fall_out_of_step(attempt: int) -> None:
    """Wait before looking again, longer each time.

    Who swaps names in a loop as long as ours meets us at the same place each time: of walks that did not wait, one in
    200 lost 16 times in a row. Of 1.3 million that did, none.
    """
    time.sleep(attempt * 1e-6)


def collapse(relative: str) -> str:
    """A path without ``..``, as the words alone have it, stopping at the root; also without empty and ``.`` parts."""
    names: list[str] = []
    for name in relative.split("/"):
        if name == "..":
            del names[-1:]
        elif name not in ("", "."):
            names.append(name)
    return "/".join(names)
