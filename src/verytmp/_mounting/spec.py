"""`MountSpec`: what a root is made from. Made once from the keywords, sent once, and never parsed again."""

from __future__ import annotations

import os
from _operator import attrgetter  # what operator itself loads beside it takes a fresh interpreter longer

# Bound here, so that what a test puts in os in its place does not reach the tokens of other tests. And not bound to
# os's, for such a test may be the first to import this.
try:
    from posix import urandom
except ImportError:  # not Linux
    from os import urandom

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any, Self

TOKEN_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
TOKEN_LENGTH = 8  # 36**8 are 2.8e12: no two roots of a machine have the same

SIZES = ("size", "nr_blocks", "nr_inodes")
PRIVATE = 0o700  # a root directory's permissions, where no others are asked for


def new_token() -> str:
    """A random name for a root's directory, which no other directory has."""
    return "".join([TOKEN_CHARACTERS[byte % len(TOKEN_CHARACTERS)] for byte in urandom(TOKEN_LENGTH)])


class MountSpec:
    """A tmpfs, and the root directory in it. Frozen; two are equal if all that they say is.

    Attributes:
        options: tmpfs's own, as pairs of a key and its value, as the user has written it; None for a flag.
        attributes: the mount's own, besides ``nosuid`` and ``nodev``, which every mount has: ``noexec``,
            ``nosymfollow``.
        mode: the root directory's permissions.
        uid, gid: its owner; None for the user who makes it.
        directory: what the directory above the root is called in the mount, as ``dev/null``. Empty until that is known,
            and so is the token.
        token: the root directory's name there.
        at: the root's name in a mount namespace of its own, an absolute path; empty for a root without one.
        host_read_only: nothing else can be written to in that namespace.
        fstype: the file system: ``tmpfs``, or ``ramfs``, which has no options.
        name_nosymfollow: the kernel follows no symlink by that name either.
    """

    __slots__ = (
        "at", "attributes", "directory", "fstype", "gid", "host_read_only", "mode", "name_nosymfollow", "options",
        "token", "uid",
    )  # fmt: skip
    options: tuple[tuple[str, str | None], ...]
    attributes: tuple[str, ...]
    mode: int
    uid: int | None
    gid: int | None
    directory: str
    token: str
    at: str
    host_read_only: bool
    name_nosymfollow: bool
    fstype: str

    def __init__(
        self,
        options: tuple[tuple[str, str | None], ...] = (),
        attributes: tuple[str, ...] = (),
        mode: int = PRIVATE,
        uid: int | None = None,
        gid: int | None = None,
        directory: str = "",
        token: str = "",
        at: str = "",
        host_read_only: bool = False,
        name_nosymfollow: bool = False,
        fstype: str = "tmpfs",
    ) -> None:
        put = object.__setattr__
        put(self, "options", options)
        put(self, "attributes", attributes)
        put(self, "mode", mode)
        put(self, "uid", uid)
        put(self, "gid", gid)
        put(self, "directory", directory)
        put(self, "token", token)
        put(self, "at", at)
        put(self, "host_read_only", host_read_only)
        put(self, "name_nosymfollow", name_nosymfollow)
        put(self, "fstype", fstype)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a {type(self).__name__} cannot be changed")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MountSpec) and values(self) == values(other)

    __hash__ = None  # type: ignore[assignment]  # it is no key

    def replace(self, **changed: Any) -> Self:
        """The same with other attributes."""
        made = object.__new__(type(self))
        for name, value in zip(self.__slots__, values(self), strict=True):
            object.__setattr__(made, name, changed.get(name, value))
        return made

    @property
    def name(self) -> str:
        """Where the root directory lies in the mount."""
        return f"{self.directory}/{self.token}"

    @property
    def inodes_above(self) -> int:
        """How many directories lie above the root: those of *directory*, and the mount's own."""
        return self.directory.count("/") + 2

    def settings(self, more_inodes: int = 0) -> Iterator[tuple[str, str | None]]:
        """The options as the kernel needs them, for what was asked for to come true in the root directory.

        The directories above the root, and *more_inodes*, are not the user's: ``nr_inodes`` grows by them.
        """
        for key, value in self.options:
            yield key, with_inodes(key, value, self.inodes_above + more_inodes)
        if self.fstype == "tmpfs":
            yield from self._owner()

    def _owner(self) -> Iterator[tuple[str, str]]:
        for key, number in (("uid", self.uid), ("gid", self.gid)):
            if number is not None:
                yield key, str(number)

    def asked(self) -> list[str]:
        """What was asked for, in the words of mount(8): nothing that is so by itself."""
        pairs = (*self.options, *self._owner())
        words = [key if value is None else f"{key}={value}" for key, value in pairs]
        words += [f"at={self.at}"] if self.at else []
        words += ["host=ro"] if self.host_read_only else []
        words += [f"fstype={self.fstype}"] if self.fstype != "tmpfs" else []
        mode = [] if self.mode == PRIVATE else [f"mode={self.mode:o}"]
        return [*mode, *words, *(name for name in self.attributes if name != "nosymfollow")]

    def encode(self) -> list[str]:
        """The fields of a message, of which `decode` makes the same value again."""
        owner = ["" if number is None else str(number) for number in (self.uid, self.gid)]
        options = [key if value is None else f"{key}={value}" for key, value in self.options]
        name = [self.at, "ro" if self.host_read_only else "", "nosymfollow" if self.name_nosymfollow else ""]
        facts = [self.directory, self.token, *name, self.fstype, str(self.mode), *owner]
        return [*facts, ",".join(self.attributes), *options]

    @classmethod
    def decode(cls, fields: Sequence[str]) -> Self:
        """The value that was encoded. `ValueError` where the fields are none."""
        directory, token, at, read_only, nosymfollow, fstype, mode, uid, gid, attributes, *options = fields
        pairs = [option.partition("=") for option in options]
        return cls(
            options=tuple((key, value if given else None) for key, given, value in pairs),
            attributes=tuple(filter(None, attributes.split(","))),
            mode=int(mode),
            uid=int(uid) if uid else None,
            gid=int(gid) if gid else None,
            directory=directory,
            token=token,
            at=at,
            host_read_only=bool(read_only),
            name_nosymfollow=bool(nosymfollow),
            fstype=fstype,
        )


values = attrgetter(*MountSpec.__slots__)  # of all attributes, as a tuple


def with_inodes(key: str, value: str | None, more: int) -> str | None:
    """An option's value, with so many *more* inodes if it is ``nr_inodes``.

    0 is no limit, and what is no number is refused by the kernel, in its own words.
    """
    number = parse_size(value) if key == "nr_inodes" and value is not None else None
    return str(number + more) if number else value


def is_too_large(value: str) -> bool:
    """Whether a size does not fit 64 bits: of such a number, the kernel would take what is left of it."""
    number = parse_size(value.removesuffix("%"))
    if number is None:
        return False
    if value.endswith("%"):
        number *= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return number >> 63 > 0


def parse_size(text: str) -> int | None:
    """A number as the kernel's memparse() reads it: C's notation, and perhaps one of K M G T P E. None for the rest."""
    hexadecimal = text[:2] in ("0x", "0X")
    power = ("KMGTP" if hexadecimal else "KMGTPE").find(text[-1:].upper() or "-") + 1
    digits = text[:-1] if power else text
    if not (digits.isascii() and digits.isalnum()):
        return None
    try:
        return int(digits, 16 if hexadecimal else 8 if digits[0] == "0" else 10) << (10 * power)
    except ValueError:
        return None
