"""The canary: a secret and a tree that are planted on the host, and must be untouched and unread after an attack.

Whoever attacks puts the canary's mark into the names that it makes, so that what lands on the host can be told from
what other programs make there. What is planted is dated long ago, and read last before it was written: then the
kernel notes whoever reads it (relatime), and no change can hide in a clock's tick.
"""

from __future__ import annotations

import os
import secrets
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePath

from support import host_state, oracle

READ, WRITTEN = 1, 2  # seconds since 1970
PREFIX = "verytmp-tests-"
TOOLS = {".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", ".coverage", "__pycache__"}  # may come meanwhile
SEARCHED = 1 << 20  # bytes of each file in a root, for the secret

Status = tuple[object, ...]


class Canary:
    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.mark = self.folder.name
        self.content = f"the secret of {self.mark}: {secrets.token_hex(16)}".encode()
        self.vault = self.folder / "vault"
        self.secret = self.vault / "secret"
        self.home = self.folder / "home"  # for whoever runs meanwhile: it stays as it is too
        self.cwd = self.folder / "cwd"
        content = self.content
        host_state.make(
            folder,
            {
                "vault": {
                    "secret": content,
                    "link": "-> secret",
                    "absolute": f"-> {self.secret}",
                    "d": {"deep": content, "up": "-> ..", "d": {}},
                    "empty": {},
                },
                "home": {"kept": b"kept"},
                "cwd": {"kept": b"kept", "secret": content, "d": {}},
            },
        )
        os.link(self.secret, self.vault / "hard")
        self.planted = [str(path) for path in sorted(self.folder.rglob("*"), reverse=True)]
        for path in [folder, *self.planted]:
            if not os.path.islink(path):
                os.chmod(path, 0o755)  # for other users too
            os.utime(path, (READ, WRITTEN), follow_symlinks=False)
        self.home_before, self.cwd_before = os.path.expanduser("~"), os.getcwd()
        self.before = self._statuses()
        self.top = top()
        self.identities = {(status.st_dev, status.st_ino) for status in map(os.lstat, [folder, *self.planted, "/"])}

    def _statuses(self) -> dict[str, Status | None]:
        """Of all that is planted. Nothing is opened for it: that would be noted too."""
        return {path: self._status(path) for path in self.planted}

    def _status(self, path: str) -> Status | None:
        try:
            status = os.lstat(path)
        except OSError:
            return None
        read = status.st_atime_ns if path.startswith(str(self.vault)) else None
        owner = (status.st_uid, status.st_gid)
        kept = (status.st_ino, status.st_mode, status.st_nlink, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        return *kept, *owner, read

    def touched(self) -> list[str]:
        """What of all that is planted is not as it was: the cheap half of `changes`."""
        after = self._statuses()
        return [path for path, status in self.before.items() if after[path] != status]

    def changes(self) -> list[str]:
        """What is not as it was, or new on the host."""
        found = self.touched()
        found += [path for path in host_state.names(str(self.folder)) if path not in self.planted]
        now = top()
        # Files come and go with other programs: of those, our mark tells which are ours. A run with --alone sees all.
        found += [f"/{name}" for name in self.top.keys() | now.keys() if self.mark in name]
        lasting = [name for name, status in self.top.items() if status[2] is False]  # directories, and links
        found += [f"/{name}" for name in lasting if now.get(name) != self.top[name] and not name.startswith(PREFIX)]
        places = {"/", "/tmp", "/dev/shm", "/dev", tempfile.gettempdir(), self.home_before, self.cwd_before}
        for place in places:
            if os.access(place, os.R_OK):
                found += [os.path.join(place, name) for name in os.listdir(place) if self.mark in name]
        found.remove(str(self.folder))
        return found

    def check(self) -> None:
        changes = self.changes()
        assert changes == [], f"changed or read on the host: {changes}"

    def tells(self, value: object) -> bool:
        """Whether what a root's path has answered is the secret, or tells of the host's files."""
        if isinstance(value, bytes | bytearray | memoryview):
            return self.content in bytes(value)
        if isinstance(value, str):
            return self.content.decode() in value
        if isinstance(value, os.stat_result):
            return (value.st_dev, value.st_ino) in self.identities
        if isinstance(value, Mapping):
            return any(map(self.tells, value.items()))
        if isinstance(value, Iterable) and not isinstance(value, PurePath):
            return any(map(self.tells, value))
        return False

    def look(self, directory: int) -> None:
        """Fail if anything in a root is the host's, or holds the secret."""
        device = os.stat(directory).st_dev
        for path, status, content in contents(directory):
            assert status.st_dev == device, f"{path} is of another file system"
            assert not self.tells(status), f"{path} is the host's"
            assert not self.tells(content), f"{path} holds the secret"


def top() -> dict[str, Status]:
    """The host's root directory: what is in it, and of which kind; of files, which bytes as far as the kernel tells."""
    found: dict[str, Status] = {}
    for name in set(os.listdir("/")) - TOOLS:
        try:
            status = os.lstat(f"/{name}")
        except OSError:
            continue
        regular = stat.S_ISREG(status.st_mode)
        found[name] = (status.st_mode, status.st_ino, regular and (status.st_size, status.st_mtime_ns))
    return found


def contents(directory: int, prefix: str = "") -> Iterator[tuple[str, os.stat_result, bytes]]:
    """All that is in a tree, as far as it can be read."""
    try:
        own = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=directory)
    except OSError:
        return
    try:
        for name in os.listdir(own):
            path = f"{prefix}/{name}"
            status = os.lstat(name, dir_fd=own)
            data = b""
            flags = os.O_NOFOLLOW | (os.O_PATH if stat.S_ISDIR(status.st_mode) else os.O_RDONLY)
            if stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode):
                try:
                    below = os.open(name, flags, dir_fd=own)
                except OSError:
                    yield path, status, data
                    continue
                try:
                    if stat.S_ISDIR(status.st_mode):
                        yield from contents(below, path)
                    else:
                        data = os.read(below, SEARCHED)
                finally:
                    os.close(below)
            yield path, status, data
    finally:
        os.close(own)


@contextmanager
def planted() -> Iterator[Canary]:
    """Plant a canary, which is to be asked in the end (`Canary.check`)."""
    folder = tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir="/dev/shm")
    try:
        yield Canary(folder)
    finally:
        own = os.open(folder, os.O_PATH)
        oracle.wipe(own)  # whatever has become of the permissions in it
        os.close(own)
        os.rmdir(folder)
