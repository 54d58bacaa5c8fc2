"""What adversaries attack: a tree of which one directory is exchanged for a link to the host, and all operations on it.

The root holds ``slot``, a directory, and ``link``, which for the host leads to a directory of its own. That path exists
in the root too, with the same names in it. So whichever of the two is called ``slot``, an operation finds what it looks
for, and finds it in the root; what the host has under these names is a secret.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from support import host_state, kernel
from support.oracle import wipe
from verytmp import VeryTmpPath, VeryTmpRoot

INSIDE, SECRET = b"inside", b"the host's secret"
NAMES = {"f", "d", "empty", "l"}
UP = "/".join([".."] * 30)

# How the link spells the host's directory.
SPELLINGS: dict[str, Callable[[Path], str]] = {
    "absolute": str,
    "up": lambda host: f"{UP}{host}",
    "slashes": lambda host: f"//{host}//",
}


def tree(content: bytes) -> host_state.Tree:
    return {"f": content, "d": {"f": content}, "empty": {}, "l": "-> f"}


class RaceTarget:
    """A root and a directory of the host, with what an operation must not touch in it."""

    def __init__(self, root: VeryTmpRoot, host: Path, other: VeryTmpRoot, spelling: str = "absolute") -> None:
        self.root, self.host, self.other = root, host, other
        self.words = SPELLINGS[spelling](host)
        self.device = os.stat(root.fileno()).st_dev
        self.fd = root.fileno()
        if not os.listdir(host):
            host_state.make(str(host), tree(SECRET) | {"host only": SECRET, "slot": tree(SECRET)})
        self.untouched = self.look_at_host()

    def reset(self, changed: bool = True) -> None:
        """Put everything back; where an operation has *changed* nothing, an adversary has exchanged names at most."""
        if not changed:
            if os.path.islink(f"{os.fspath(self.root)}/slot"):
                self.exchange()
            return
        for root in (self.root, self.other):
            wipe(root.fileno())
        inside: host_state.Tree = tree(INSIDE)
        for name in reversed(self.host.parts[1:]):
            inside = {name: inside}
        host_state.make(self.fd, {"slot": tree(INSIDE), "link": f"-> {self.words}", "f": INSIDE, "empty": {}, **inside})

    def look_at_host(self) -> list[Any]:
        """Everything there, each with its times and numbers of links: whatever is done to it changes one of them."""
        return list(_statuses(str(self.host)))

    def exchange(self) -> None:
        kernel.exchange(self.fd, "slot", "link")

    def escaped(self, result: object) -> str:
        """How a result, or the host, tells that an operation got out; empty if none did."""
        return "the host was changed" if self.look_at_host() != self.untouched else self.read_outside(result)

    def read_outside(self, result: object) -> str:
        text = repr(result)
        if SECRET.decode() in text or "host only" in text:
            return f"the host was read: {text}"
        for status in result if isinstance(result, list) else [result]:
            if isinstance(status, os.stat_result) and status.st_dev != self.device:
                return f"the host was looked at: {text}"
        return ""


def _statuses(folder: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        status = os.lstat(entry.path)
        yield entry.path, (status.st_mode, status.st_nlink, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if entry.is_dir(follow_symlinks=False):
            yield from _statuses(entry.path)
    status = os.lstat(folder)
    yield folder, (status.st_mode, status.st_nlink, status.st_mtime_ns, status.st_ctime_ns)


def opened(path: VeryTmpPath, mode: str, data: bytes = b"") -> list[Any]:
    with path.open(mode) as file:
        status = os.fstat(file.fileno())
        return [status, file.write(data) if data else file.read()]


def walked(path: VeryTmpPath) -> list[Any]:
    return [(str(place), directories, files) for place, directories, files in path.walk()]


# Each operation, on ``slot``; what it gives is looked at for the host's secrets.
READS: dict[str, Callable[[VeryTmpPath, RaceTarget], object]] = {
    "stat": lambda p, _: (p / "f").stat(),
    "stat directory": lambda p, _: p.stat(),
    "stat below": lambda p, _: (p / "d" / "f").stat(),
    "stat above": lambda p, _: (p / "..").stat(),
    "lstat": lambda p, _: (p / "f").lstat(),
    "exists": lambda p, _: (p / "f").exists() or missing(),
    "is_file": lambda p, _: (p / "f").is_file() or missing(),
    "is_dir": lambda p, _: p.is_dir() or missing(),
    "info": lambda p, _: (p / "d").info.is_dir() or missing(),
    "open": lambda p, _: opened(p / "f", "rb"),
    "read_bytes": lambda p, _: (p / "f").read_bytes(),
    "read_text": lambda p, _: (p / "f").read_text(),
    "read by a link": lambda p, _: (p / "l").read_bytes(),
    "read below": lambda p, _: (p / "d" / "f").read_bytes(),
    "read back and forth": lambda p, _: (p / "d" / ".." / "f").read_bytes(),
    "read from above": lambda p, _: (p / ".." / "slot" / "d" / ".." / ".." / "f").exists(),
    "iterdir": lambda p, _: all_of({path.name for path in p.iterdir()}),
    "iterdir below": lambda p, _: [path.name for path in (p / "d").iterdir()],
    "readlink": lambda p, _: (p / "l").readlink(),
    "samefile": lambda p, _: (p / "f").samefile(p / "f"),
    "lexists": lambda p, _: (p / "l").is_symlink() or missing(),
}
LOOKS: dict[str, Callable[[VeryTmpPath, RaceTarget], object]] = {  # in many steps, which may see different trees
    "resolve": lambda p, _: str((p / "d" / "f").resolve()),
    "glob": lambda p, _: sorted(map(str, p.glob("*"))),
    "rglob": lambda p, _: sorted(map(str, p.rglob("*"))),
    "rglob by links": lambda p, _: sorted(map(str, p.rglob("*", recurse_symlinks=True))),
    "walk": lambda p, _: walked(p),
}
WRITES: dict[str, Callable[[VeryTmpPath, RaceTarget], object]] = {
    "write_bytes": lambda p, _: (p / "f").write_bytes(INSIDE),
    "write_text": lambda p, _: (p / "f").write_text("inside"),
    "write by a link": lambda p, _: (p / "l").write_bytes(INSIDE),
    "append": lambda p, _: opened(p / "f", "a+b", INSIDE),
    "truncate": lambda p, _: opened(p / "f", "w+b", INSIDE),
    "create": lambda p, _: opened(p / "new", "x+b", INSIDE),
    "touch": lambda p, _: (p / "f").touch(),
    "touch new": lambda p, _: (p / "new").touch(exist_ok=False),
    "chmod": lambda p, _: (p / "f").chmod(0o640),
    "chmod directory": lambda p, _: p.chmod(0o750),
    "mkdir": lambda p, _: (p / "new").mkdir(),
    "rmdir": lambda p, _: (p / "empty").rmdir(),
    "unlink": lambda p, _: (p / "f").unlink(),
    "symlink_to": lambda p, _: (p / "new").symlink_to("f"),
    "hardlink_to": lambda p, _: (p / "new").hardlink_to(p / "f"),
    "rename from": lambda p, _: (p / "f").rename("/new"),
    "rename to": lambda p, target: (target.root / "f").rename(p / "f"),
    "rename within": lambda p, _: (p / "d").rename(p / "new"),
    "rename above": lambda p, _: (p / "f").rename(p / ".." / "new"),
    "copy file": lambda p, _: (p / "f").copy("/new").read_bytes(),
    "copy to": lambda p, target: str((target.root / "f").copy(p / "new")),
}
TREES: dict[str, Callable[[VeryTmpPath, RaceTarget], object]] = {  # in many steps
    "mkdir parents": lambda p, _: (p / "new" / "a" / "b").mkdir(parents=True),
    "copy tree": lambda p, _: walked(p.copy("/new")),
    "copy tree to": lambda p, target: walked((target.root / "empty").copy(p / "new")),
    "copy elsewhere": lambda p, target: walked(p.copy(target.other / "new", preserve_metadata=True)),
    "move file": lambda p, target: (p / "f").move(target.other / "new").read_bytes(),
    "move tree": lambda p, target: walked((p / "d").move(target.other / "new")),
    "move all": lambda p, target: walked(p.move(target.other / "new")),
}
OPERATIONS = READS | LOOKS | WRITES | TREES
# What answers "there is nothing" for all that cannot be looked at, as pathlib does.
ANSWERS = {"info"} | ({"exists", "is_file", "is_dir", "lexists"} if sys.version_info >= (3, 14) else set())


def missing() -> object:
    raise FileNotFoundError(errno.ENOENT, "it was there at every moment")


def all_of(names: set[str]) -> set[str]:
    return names if names >= NAMES else missing()  # type: ignore[return-value]
