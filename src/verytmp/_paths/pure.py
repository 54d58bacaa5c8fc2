"""The pure half of `VeryTmpPath`: all that needs no system call.

A path is two slots: its root, as a `Tree`, and a relative string. That is normalised when it is made, as pathlib does
it: no empty and no ``.`` component, no ``/`` at either end; ``..`` stays. All that is not simple is left to a
`PurePosixPath`, and so follows the running Python.
"""

from __future__ import annotations

import os
import posixpath
import sys
from operator import ge, gt, le, lt
from pathlib import Path, PosixPath, PurePath, PurePosixPath

from .._confined.procfs import path_in_root
from .._confined.resolver import collapse
from .._confined.tree import Tree
from .glob import full_match, match

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from types import ModuleType
    from typing import Any, Never, Self

    from _typeshed import StrPath

    from .info import Info


new = object.__new__

# Our attributes are kept in slots of pathlib's, which would stay empty. With slots of its own, a path would be larger
# than a host path.
SLOT_ALIASES = {"_tree": "_drv", "_rel": "_root", "_name": "_str", "_facts": "_hash"}


class VeryTmpPurePath(PosixPath):
    """A path's components, its strings, and comparisons."""

    __slots__ = tuple(ours for ours, theirs in SLOT_ALIASES.items() if not hasattr(PosixPath, theirs))

    _facts: Info
    _name: str | None  # where it is known already
    _rel: str
    _tree: Tree

    # `suffixes` and `stem` are pathlib's own, which use `name`. So are `suffix`, since Python 3.14, and `parser`,
    # since 3.13.
    if sys.version_info < (3, 13):
        parser: ModuleType = posixpath

    def __new__(cls, *args: Never) -> Self:  # pyright: ignore[reportInconsistentConstructor]  # it makes none
        raise TypeError(f"a {cls.__name__} comes from a root: VeryTmpRoot() / 'name', or VeryTmpRoot().path")

    def _derive(self, relative: str) -> Self:
        path = new(type(self))
        path._tree = self._tree
        path._rel = relative
        path._name = None
        return path

    def _derive_each(self, relatives: Iterable[str]) -> Generator[Self]:
        """As `_derive` for each, without a call for each: a third of the time."""
        kind, tree = type(self), self._tree
        for relative in relatives:
            path = new(kind)
            path._tree = tree
            path._rel = relative
            path._name = None
            yield path

    def _entries(self, names: Iterable[str]) -> Generator[Self]:
        """The paths of a directory's entries."""
        kind, tree = type(self), self._tree
        prefix = f"{self._rel}/" if self._rel else ""
        for name in names:
            path = new(kind)
            path._tree = tree
            path._rel = prefix + name
            path._name = name
            yield path

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    # -- strings ---------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        return self._tree.string(self._rel)

    def __fspath__(self) -> str:
        self._tree.check_open()
        return self._tree.string(self._rel)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'/' + self._rel!r})"

    def as_posix(self) -> str:
        """The same as `str`."""
        return str(self)

    def as_uri(self) -> str:
        """The path as a ``file:`` URI, for the programs of this user."""
        return PosixPath(os.fspath(self)).as_uri()

    # -- comparisons -----------------------------------------------------------------------------------------

    def _original(self) -> str:
        """Its string in the process that made or received the root.

        Paths are compared and hashed by it, so that both stay the same in a forked child, where `str` changes.
        """
        relative = self._rel
        if ".." in relative:
            relative = collapse(relative)
        return f"{self._tree.origin}/{relative}" if relative else self._tree.origin

    if hash(PosixPath("/a/b")) == hash("/a/b"):

        def __hash__(self) -> int:
            return hash(self._original())

    else:  # Python 3.11: by its parts

        def __hash__(self) -> int:
            return hash(("/", *self._original()[1:].split("/")))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, VeryTmpPurePath):
            return self._rel == other._rel and self._tree is other._tree
        if isinstance(other, PurePosixPath):
            return str(other) == self._original()
        return False if isinstance(other, PurePath) else NotImplemented

    def __lt__(self, other: PurePath) -> bool:
        return self._ordered(lt, other)

    def __le__(self, other: PurePath) -> bool:
        return self._ordered(le, other)

    def __gt__(self, other: PurePath) -> bool:
        return self._ordered(gt, other)

    def __ge__(self, other: PurePath) -> bool:
        return self._ordered(ge, other)

    def _ordered(self, compare: Callable[[Any, Any], bool], other: object) -> bool:
        if isinstance(other, VeryTmpPurePath):
            if other._tree is self._tree:
                return bool(compare(self._rel.split("/"), other._rel.split("/")))
            other = PosixPath(other._original())
        elif not isinstance(other, PurePosixPath):
            return NotImplemented  # type: ignore[no-any-return]  # as object's comparisons do
        return bool(compare(PosixPath(self._original()), other))

    # -- its parts -----------------------------------------------------------------------------------------------------

    @property
    def drive(self) -> str:
        """The root directory's string."""
        return self._tree.drive()

    @property
    def root(self) -> str:
        """Always ``"/"``."""
        return "/"

    @property
    def anchor(self) -> str:
        """The drive and the root."""
        return f"{self._tree.drive()}/"

    @property
    def parts(self) -> tuple[str, ...]:
        """The anchor and the names."""
        return (self.anchor, *map(sys.intern, self._rel.split("/"))) if self._rel else (self.anchor,)

    @property
    def name(self) -> str:
        """The last name; empty for the root."""
        name = self._name
        if name is None:
            name = self._name = self._rel.rpartition("/")[2]
        return name

    if sys.version_info < (3, 14):  # whose rule is another, and whose pathlib is as fast

        @property
        def suffix(self) -> str:
            """The last name's end, from its last dot on, if that is neither its first nor its last character."""
            name = self._name
            if name is None:  # not by `name`: a call takes a third of this
                name = self._name = self._rel.rpartition("/")[2]
            dot = name.rfind(".")
            return name[dot:] if 0 < dot < len(name) - 1 else ""

    @property
    def parent(self) -> Self:
        """The path without its last name; the root's is the root."""
        path = new(type(self))  # not by `_derive`: a call takes a fifth of this
        path._tree = self._tree
        path._rel = self._rel.rpartition("/")[0]
        path._name = None
        return path

    @property
    def parents(self) -> tuple[Self, ...]:
        """The paths above it, up to the root."""
        names = self._rel.split("/") if self._rel else []
        return tuple(self._derive("/".join(names[:end])) for end in range(len(names) - 1, -1, -1))

    def is_absolute(self) -> bool:
        """True: every path here begins at its root."""
        return True

    def absolute(self) -> Self:
        """The path itself: it is absolute."""
        return self

    def expanduser(self) -> Self:
        """The path itself: an absolute path does not begin with ``~``."""
        return self

    # -- other paths made of it ----------------------------------------------------------------------------------------

    @property
    def _inside(self) -> PurePosixPath:
        """The path as after chroot(2) into the root."""
        return PurePosixPath("/" + self._rel)

    def with_name(self, name: str) -> Self:
        """The path with another last name. `ValueError` if it has none, or the new one is no name."""
        if self._rel and is_plain_name(name):  # 0.4 us; the line below takes 3, and raises the error
            head, slash, _ = self._rel.rpartition("/")
            return self._derive(f"{head}{slash}{name}")
        return self._derive(str(self._inside.with_name(as_exact_str(name)))[1:])

    def with_stem(self, stem: str) -> Self:
        """The path with another last name but for its `suffix`. `ValueError` as for `with_name`."""
        if is_plain_name(stem):
            return self.with_name(stem + self.suffix)
        return self._derive(str(self._inside.with_stem(as_exact_str(stem)))[1:])

    def with_suffix(self, suffix: str) -> Self:
        """The path with another `suffix`; none, if it is empty. `ValueError` as for `with_name`."""
        if type(suffix) is str and (not suffix or (suffix[0] == "." and is_plain_name(suffix))) and (stem := self.stem):
            return self.with_name(stem + suffix)
        return self._derive(str(self._inside.with_suffix(as_exact_str(suffix)))[1:])

    def with_segments(self, *pathsegments: StrPath) -> Self:
        """The path that these segments make, from the root on."""
        return self._derive("").joinpath(*pathsegments)

    def joinpath(self, *pathsegments: StrPath) -> Self:
        """Add segments. An absolute one begins at the root again, and a `VeryTmpPath` replaces everything before it."""
        path = self._derive(self._rel)  # always a new object, for its `info` is read again
        for segment in pathsegments:
            path = path._join(segment)
        return path

    def __truediv__(self, key: StrPath) -> Self:
        if type(key) is str and "/" not in key and key and key != ".":
            # A single name: 0.25 us instead of 0.6.
            path = new(type(self))
            path._tree = self._tree
            path._rel = f"{self._rel}/{key}" if self._rel else key
            path._name = key
            return path
        try:
            return self._join(key)
        except TypeError:
            return NotImplemented

    def __rtruediv__(self, key: StrPath) -> Self:
        try:
            text_of(key)
        except TypeError:
            return NotImplemented
        return self

    def _join(self, segment: StrPath) -> Self:
        tree = getattr(segment, "_tree", None)
        if isinstance(tree, Tree):  # another path, or a root
            path = self._derive(getattr(segment, "_rel", ""))
            path._tree = tree
            return path
        text, relative = text_of(segment), self._rel
        if text.startswith("/"):
            text = self._without_drive(text)
            relative = ""
        names = [name for name in text.split("/") if name and name != "."]
        if relative:
            names.insert(0, relative)
        return self._derive("/".join(names))

    def _without_drive(self, text: str) -> str:
        """A string, beginning at the root if it is one of this root's own, also of another process."""
        return path_in_root(text, self._tree.token) or text

    # -- relative to other paths ---------------------------------------------------------------------------------------

    def _as_inside(self, other: StrPath) -> tuple[PurePosixPath, PurePosixPath] | None:
        """This path and another one, as pure paths with the same start; None for a path of another root.

        A string or a pure path begins at the root. With a host path, this one is its string.
        """
        if isinstance(other, VeryTmpPurePath):
            return (self._inside, other._inside) if other._tree is self._tree else None
        if not isinstance(other, str) and getattr(other, "_tree", self._tree) is not self._tree:
            return None  # another root
        text = text_of(other)
        within = self._without_drive(text)
        if isinstance(other, Path) and within is text:
            return PurePosixPath(self._original()), PurePosixPath(text)
        return self._inside, PurePosixPath(within)

    def relative_to(self, other: StrPath, *others: StrPath, walk_up: bool = False) -> PurePosixPath:  # type: ignore[override]  # by decision
        """This path relative to another one of this root: a pure path. (*walk_up* is of Python 3.12.)

        `ValueError` for a path of another root, and, without *walk_up*, for one that is not above this path.
        """
        if isinstance(other, VeryTmpPurePath) and other._tree is self._tree and not others and self._rel:
            # The string begins with the other one: 1.5 us instead of 10.
            above = f"{other._rel}/" if other._rel else ""
            if self._rel.startswith(above):
                return PurePosixPath(self._rel[len(above) :])
        both = self._as_inside(other)
        if both is None:
            raise ValueError(f"{str(self)!r} and {str(other)!r} have different anchors")
        path, start = both
        if sys.version_info >= (3, 12):
            return path.relative_to(start, *others, walk_up=walk_up)  # pyright: ignore[reportDeprecated]  # several are refused by the Pythons that refuse them
        else:
            if walk_up:
                return walked_up(path, start.joinpath(*others))
            return path.relative_to(start, *others)

    def is_relative_to(self, other: StrPath, *others: StrPath) -> bool:
        """Whether it is another path of this root, or below it."""
        both = self._as_inside(other)
        return both is not None and both[0].is_relative_to(both[1], *others)  # pyright: ignore[reportDeprecated]  # several are refused by the Pythons that refuse them

    def match(self, path_pattern: StrPath, *, case_sensitive: bool | None = None) -> bool:
        """Whether a pattern matches it: from the right; all of it, from the root on, if the pattern is absolute.

        (*case_sensitive* is of Python 3.12.)
        """
        both = self._as_inside(path_pattern)
        if both is None:
            return False
        path, pattern = both
        if sys.version_info >= (3, 12):
            return path.match(str(pattern), case_sensitive=case_sensitive)
        else:
            return match(path.parts, pattern.parts, case_sensitive is not False)

    def full_match(self, pattern: StrPath, *, case_sensitive: bool | None = None) -> bool:
        """Whether a pattern, in which ``**`` stands for any number of names, matches all of it (of Python 3.13)."""
        both = self._as_inside(pattern)
        if both is None:
            return False
        path, other = both
        if sys.version_info >= (3, 13):
            return path.full_match(other, case_sensitive=case_sensitive)
        else:
            text = str(other) if other.parts else ""
            return full_match(str(path), text, case_sensitive is not False)


def host_path(path: str) -> PosixPath:
    """A host path, with all that it caches."""
    made = PosixPath(path)
    _ = str(made), made.parts, hash(made), made < made  # noqa: PLR0124  # comparing fills a cache
    return made


def cached_slot(slot: str) -> property:
    """A private slot of pathlib's, which its own code reads (``Path(p)``, comparisons): its value in the host path.

    Ours stays empty. A ``__getattr__`` for all of them would make every attribute of a path slower by a fifth.
    """

    def get(path: VeryTmpPurePath) -> object:
        return getattr(host_path(os.fspath(path)), slot)

    return property(get)


for ours, theirs in SLOT_ALIASES.items():
    if hasattr(PosixPath, theirs):
        setattr(VeryTmpPurePath, ours, getattr(PosixPath, theirs))

for base in PosixPath.__mro__:
    for slot in base.__dict__.get("__slots__", ()):
        if hasattr(host_path("/"), slot):
            setattr(VeryTmpPurePath, slot, cached_slot(slot))


def walked_up(path: PurePosixPath, other: PurePosixPath) -> PurePosixPath:
    """`PurePath.relative_to` with *walk_up*, for Python 3.11."""
    for steps, start in enumerate([other, *other.parents]):
        if path.is_relative_to(start):
            return PurePosixPath(*[".."] * steps, path.relative_to(start))
        if start.name == "..":
            raise ValueError(f"'..' segment in {str(other)!r} cannot be walked")
    raise ValueError(f"{str(path)!r} and {str(other)!r} have different anchors")


def text_of(segment: StrPath) -> str:
    """A segment's string. Raises the `TypeError` of pathlib for what has none."""
    text = os.fspath(segment)
    if not isinstance(text, str):
        raise TypeError(
            "argument should be a str or an os.PathLike object where __fspath__ returns a str, "
            f"not {type(text).__name__!r}"
        )
    exact: str = as_exact_str(text)
    return exact


def is_plain_name(name: object) -> bool:
    """Whether every Python's pathlib takes it for a name, unchanged."""
    return type(name) is str and "/" not in name and name not in ("", ".")


def as_exact_str(text: Any) -> Any:
    """The string itself, of a subclass too: that might override split() and the like."""
    return str.__str__(text) if isinstance(text, str) else text
