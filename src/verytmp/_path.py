"""`VeryTmpPath`: a map from pathlib's names to the confined operations of `_tree`.

A path is two slots: its tree, and a relative string. That is normalised when it is made, as pathlib does it: no empty
and no ``.`` component, no ``/`` at either end; ``..`` stays.
"""

from __future__ import annotations

import io
import os
import sys
from errno import EXDEV
from pathlib import Path, PosixPath, PurePath, PurePosixPath
from stat import S_ISDIR, S_ISREG

from ._tree import Tree
from .errors import UnsupportedOperation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import IO, Any, Never, NoReturn, Self

    from _typeshed import ReadableBuffer, StrPath


class VeryTmpPath(PosixPath):
    """A path in a `VeryTmpRoot`: a `pathlib.Path` whose drive is that root.

    A root makes paths (``root / "name"``, ``root.path``), and paths make further ones; the class itself makes none.
    Nothing that is done through a path reaches outside its root: absolute paths and symlinks begin at the root, and
    ``..`` stops there, as after chroot(2).

    A path keeps its root's directory alive. `str` and `os.fspath` give a path that every process of the same user can
    open while the root is. After the root's `close`, `ValueError` is raised by every operation and by `os.fspath`, but
    not by `str` and `repr`.

    What is not said otherwise is as in `pathlib.Path`. Errors are `OSError`s whose `filename` is ``str(path)``.
    """

    __slots__ = ("_rel", "_tree")

    _rel: str
    _tree: Tree

    def __new__(cls, *args: Never) -> Self:  # pyright: ignore[reportInconsistentConstructor]  # it makes none
        raise TypeError(f"a {cls.__name__} comes from a root: VeryTmpRoot() / 'name', or VeryTmpRoot().path")

    @classmethod
    def cwd(cls) -> NoReturn:
        """Refused: the current directory is the host's."""
        raise UnsupportedOperation(f"{cls.__name__}.cwd(): the current directory is in no root")

    @classmethod
    def home(cls) -> NoReturn:
        """Refused: home directories are the host's."""
        raise UnsupportedOperation(f"{cls.__name__}.home(): nobody's home is in a root")

    @classmethod
    def from_uri(cls, uri: str) -> NoReturn:
        """Refused: a URI names a file of the host."""
        raise UnsupportedOperation(f"{cls.__name__}.from_uri(): a URI names no root")

    def _derive(self, relative: str) -> Self:
        path = object.__new__(type(self))
        path._tree = self._tree
        path._rel = relative
        return path

    if not TYPE_CHECKING:  # or no checker would miss an attribute again

        def __getattr__(self, name: str) -> object:
            # pathlib's own code (`Path(p)`, comparisons) reads private slots of its class, which are never filled here.
            # The equivalent plain path has them. It must fill all that it caches, or that code would cache it in us.
            if name not in PLAIN_SLOTS:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            plain = PosixPath(os.fspath(self))
            _ = str(plain), plain.parts, hash(plain), plain < plain  # noqa: PLR0124
            return getattr(plain, name)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"cannot pickle a {type(self).__name__}: the directory that it lies in has no name to be found by"
        )

    # -- the pure part -------------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        return self._tree.string(self._rel)

    def __fspath__(self) -> str:
        self._tree.check_open()
        return self._tree.string(self._rel)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'/' + self._rel!r})"

    def __hash__(self) -> int:
        return hash(self._rel)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, VeryTmpPath):
            # Not NotImplemented: a plain path would then compare strings.
            return False if isinstance(other, PurePath) else NotImplemented
        return self._rel == other._rel and self._tree is other._tree

    def __lt__(self, other: PurePath) -> bool:
        return self.parts < other.parts if isinstance(other, PurePosixPath) else NotImplemented

    def __le__(self, other: PurePath) -> bool:
        return self.parts <= other.parts if isinstance(other, PurePosixPath) else NotImplemented

    def __gt__(self, other: PurePath) -> bool:
        return self.parts > other.parts if isinstance(other, PurePosixPath) else NotImplemented

    def __ge__(self, other: PurePath) -> bool:
        return self.parts >= other.parts if isinstance(other, PurePosixPath) else NotImplemented

    @property
    def drive(self) -> str:
        """The root's directory: ``os.fspath(root)``."""
        return self._tree.drive()

    @property
    def root(self) -> str:
        """Always ``"/"``."""
        return "/"

    @property
    def anchor(self) -> str:
        """The drive and the root."""
        return self._tree.string("")

    @property
    def parts(self) -> tuple[str, ...]:
        """The anchor and the names."""
        return (self.anchor, *self._rel.split("/")) if self._rel else (self.anchor,)

    @property
    def name(self) -> str:
        """The last name; empty for the root."""
        return self._rel.rpartition("/")[2]

    @property
    def parent(self) -> Self:
        """The path without its last name; the root's is the root."""
        return self._derive(self._rel.rpartition("/")[0])

    def is_absolute(self) -> bool:
        """True: every path here begins at its root."""
        return True

    def as_posix(self) -> str:
        """The same as `str`."""
        return str(self)

    def with_segments(self, *pathsegments: StrPath) -> Self:
        """The path that these segments make, from the root on."""
        return self._derive("").joinpath(*pathsegments)

    def joinpath(self, *pathsegments: StrPath) -> Self:
        """Add segments. An absolute one begins at the root again; a `VeryTmpPath` takes the place of what was there."""
        path = self
        for segment in pathsegments:
            path = path._join(segment)
        return path

    def __truediv__(self, key: StrPath) -> Self:
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
            drive = self._tree.drive()
            if text.startswith(drive + "/") or text == drive:
                text = text[len(drive) :]
            relative = ""
        names = [name for name in text.split("/") if name and name != "."]
        if relative:
            names.insert(0, relative)
        return self._derive("/".join(names))

    # -- what a path leads to ------------------------------------------------------------------------------------------

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """stat(2)."""
        return self._tree.stat(self._rel, follow_symlinks)

    def lstat(self) -> os.stat_result:
        """lstat(2): of a symlink itself."""
        return self._tree.stat(self._rel, False)

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        """Whether there is anything; for a symlink, unless told otherwise, whether it leads to anything."""
        return self._mode(follow_symlinks) is not None

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is a directory."""
        mode = self._mode(follow_symlinks)
        return mode is not None and S_ISDIR(mode)

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is a regular file."""
        mode = self._mode(follow_symlinks)
        return mode is not None and S_ISREG(mode)

    def _mode(self, follow: bool) -> int | None:
        """The file's type and permissions, or None: whatever pathlib takes for "there is nothing" in this Python."""
        try:
            status = self._tree.find(self._rel, follow)
        except OSError:
            if EVERY_ERROR_IS_NOTHING:
                return None
            raise
        except ValueError:  # no name that a file could have
            self._tree.check_open()
            return None
        return status and status.st_mode

    def open(  # type: ignore[override]  # the overloads are the stub's
        self,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[Any]:
        """Open the file, as the built-in `open` does."""
        if "b" not in mode:
            encoding = io.text_encoding(encoding)
        return open(str(self), mode, buffering, encoding, errors, newline, opener=self._opener)

    def _opener(self, _: str, flags: int) -> int:
        return self._tree.open(self._rel, flags, 0o666)

    def read_bytes(self) -> bytes:
        """The file's bytes."""
        return self._tree.read(self._rel)

    def read_text(self, encoding: str | None = None, errors: str | None = None, newline: str | None = None) -> str:
        """The file's text. *newline* is as for the built-in `open` (pathlib has it since 3.13)."""
        encoding = io.text_encoding(encoding)
        return io.TextIOWrapper(io.BytesIO(self.read_bytes()), encoding, errors, newline).read()

    def write_bytes(self, data: ReadableBuffer) -> int:
        """Make the file hold these bytes. Their number."""
        view = memoryview(data).cast("B")
        self._tree.write(self._rel, view)
        return len(view)

    def write_text(
        self, data: str, encoding: str | None = None, errors: str | None = None, newline: str | None = None
    ) -> int:
        """Make the file hold this text. The number of characters. If it cannot be encoded, the file stays as it was."""
        encoding = io.text_encoding(encoding)
        if not isinstance(data, str):
            raise TypeError(f"data must be str, not {type(data).__name__}")
        file = io.BytesIO()
        text = io.TextIOWrapper(file, encoding, errors, newline)
        text.write(data)
        text.flush()
        self._tree.write(self._rel, file.getvalue())
        return len(data)

    def iterdir(self) -> Generator[Self]:
        """The directory's entries, in no order."""
        prefix = f"{self._rel}/" if self._rel else ""
        names = self._tree.listdir(self._rel)
        return (self._derive(prefix + name) for name in names)

    def touch(self, mode: int = 0o666, exist_ok: bool = True) -> None:
        """Make the file if it is not there; else set its times to now."""
        if exist_ok:
            try:
                self._tree.utime(self._rel)
            except OSError:
                pass
            else:
                return
        flags = os.O_CREAT | os.O_WRONLY | (0 if exist_ok else os.O_EXCL)
        os.close(self._tree.open(self._rel, flags, mode))

    # -- directory entries ---------------------------------------------------------------------------------------------

    def mkdir(
        self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False, *, parent_mode: int | None = None
    ) -> None:
        """Make the directory; with *parents*, those above it too, with *parent_mode* (pathlib has that since 3.15)."""
        try:
            self._tree.mkdir(self._rel, mode)
        except FileNotFoundError:
            if not parents or not self._rel:
                raise
            self.parent.mkdir(0o777 if parent_mode is None else parent_mode, True, True, parent_mode=parent_mode)
            self.mkdir(mode, False, exist_ok)
        except OSError:
            # Whether it is there comes first: the kernel may have named another reason.
            if not exist_ok or not self.is_dir():
                raise

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the file or symlink."""
        try:
            self._tree.unlink(self._rel)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def rmdir(self) -> None:
        """Remove the directory, which must be empty."""
        self._tree.rmdir(self._rel)

    def rename(self, target: StrPath) -> Self:
        """Give it another name in this root, and return that path. What had the name is replaced, as by rename(2).

        A string or a pure path is read from the root on. Another root's path, or a plain `pathlib.Path`, names another
        file system: `OSError` (EXDEV).
        """
        path = self._here(target)
        self._tree.rename(self._rel, path._rel)
        return path

    replace = rename

    def _here(self, target: StrPath) -> Self:
        """The path in this root that an operation within one file system is to use as its other end."""
        path = self.with_segments(target)
        if path._tree is not self._tree or (isinstance(target, Path) and str(path) != str(target)):
            raise OSError(EXDEV, os.strerror(EXDEV), str(self), None, str(target))
        return path


# exists(), is_dir() and the like: before 3.14 they raise what is not plainly "there is nothing", as EACCES.
EVERY_ERROR_IS_NOTHING = sys.version_info >= (3, 14)

PLAIN_SLOTS = frozenset(slot for base in PosixPath.__mro__ for slot in base.__dict__.get("__slots__", ()))


def text_of(segment: StrPath) -> str:
    """A segment's string. `TypeError` as pathlib words it."""
    text = os.fspath(segment)
    if not isinstance(text, str):
        raise TypeError(
            "argument should be a str or an os.PathLike object where __fspath__ returns a str, "
            f"not {type(text).__name__!r}"
        )
    return text


# Until each of pathlib's names is decided here, the others are refused: pathlib's own code would go to the host.
INHERITED = {"suffix", "suffixes", "stem", "parser"}  # these look at `name` alone


def refused(name: str, original: object) -> object:
    def refuse(self: VeryTmpPath, *args: object, **kwargs: object) -> NoReturn:
        raise UnsupportedOperation(f"{type(self).__name__}.{name} is not supported yet")

    refuse.__wrapped__ = original  # type: ignore[attr-defined]  # whose signature is then this one's
    return property(refuse) if isinstance(original, property) else refuse


for name in dir(PosixPath):
    if not name.startswith("_") and name not in VeryTmpPath.__dict__ and name not in INHERITED:
        setattr(VeryTmpPath, name, refused(name, getattr(PosixPath, name)))
