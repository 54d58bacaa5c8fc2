from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Never, NoReturn, Self

from _typeshed import StrPath
from typing_extensions import override

from .errors import UnsupportedOperation as UnsupportedOperation
from .errors import VeryTmpError as VeryTmpError
from .errors import VeryTmpUnavailable as VeryTmpUnavailable

__all__ = [
    "UnsupportedOperation",
    "VeryTmpError",
    "VeryTmpPath",
    "VeryTmpRoot",
    "VeryTmpUnavailable",
    "VeryTmpUsage",
    "__version__",
]

__version__: str

class VeryTmpUsage(NamedTuple):
    total: int
    used: int
    free: int

class VeryTmpRoot:
    def __init__(
        self,
        *,
        size: int | str | None = None,
        nr_inodes: int | str | None = None,
        mode: int = 0o700,
        noexec: bool = False,
        nosymfollow: bool = True,
        huge: str | None = None,
        nr_blocks: int | str | None = None,
        uid: int | None = None,
        gid: int | None = None,
        mpol: str | None = None,
        inode64: bool | None = None,
        noswap: bool = False,
    ) -> None: ...
    @property
    def path(self) -> VeryTmpPath: ...
    @property
    def nosymfollow(self) -> bool: ...
    @property
    def closed(self) -> bool: ...
    def joinpath(self, *pathsegments: StrPath) -> VeryTmpPath: ...
    def __truediv__(self, key: StrPath) -> VeryTmpPath: ...
    def __fspath__(self) -> str: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...
    def fileno(self) -> int: ...
    def usage(self) -> VeryTmpUsage: ...
    def close(self) -> None: ...

class VeryTmpPath(Path):
    """A path in a root. Its signatures are `pathlib.Path`'s, but for those below."""

    def __new__(cls, *args: Never) -> Self: ...  # a root makes them  # pyright: ignore[reportInconsistentConstructor]
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object) -> Self: ...
    @classmethod
    @override
    def cwd(cls) -> NoReturn: ...
    @classmethod
    @override
    def home(cls) -> NoReturn: ...
    @classmethod
    def from_uri(cls, uri: str) -> NoReturn: ...
    def with_segments(self, *pathsegments: StrPath) -> Self: ...
    @override
    def exists(self, *, follow_symlinks: bool = True) -> bool: ...
    @override
    def is_dir(self, *, follow_symlinks: bool = True) -> bool: ...
    @override
    def is_file(self, *, follow_symlinks: bool = True) -> bool: ...
    @override
    def read_text(self, encoding: str | None = None, errors: str | None = None, newline: str | None = None) -> str: ...
    @override
    def mkdir(
        self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False, *, parent_mode: int | None = None
    ) -> None: ...
    @override
    def rename(self, target: StrPath) -> Self: ...
    @override
    def replace(self, target: StrPath) -> Self: ...
