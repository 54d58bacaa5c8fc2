import sys
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path, PurePosixPath
from subprocess import CompletedProcess, Popen
from types import TracebackType
from typing import (
    IO,
    Any,
    Literal,
    NamedTuple,
    Never,
    NoReturn,
    Protocol,
    Self,
    TypeAlias,
    TypedDict,
    TypeVar,
    overload,
    type_check_only,
)

from _typeshed import ReadableBuffer, StrOrBytesPath, StrPath, SupportsRead
from typing_extensions import Unpack, deprecated, override

from .errors import UnsupportedOperation as UnsupportedOperation
from .errors import VeryTmpArchiveError as VeryTmpArchiveError
from .errors import VeryTmpError as VeryTmpError
from .errors import VeryTmpFallbackWarning as VeryTmpFallbackWarning
from .errors import VeryTmpUnavailable as VeryTmpUnavailable

__all__ = [
    "UnsupportedOperation",
    "VeryTmpArchiveError",
    "VeryTmpAvailability",
    "VeryTmpCause",
    "VeryTmpError",
    "VeryTmpFactory",
    "VeryTmpFallbackWarning",
    "VeryTmpPath",
    "VeryTmpReport",
    "VeryTmpRoot",
    "VeryTmpUnavailable",
    "VeryTmpUsage",
    "__version__",
    "available",
    "enter",
]

__version__: str

if sys.version_info >= (3, 14):
    from pathlib.types import PathInfo as _PathInfo
else:
    @type_check_only
    class _PathInfo(Protocol):
        def exists(self, *, follow_symlinks: bool = True) -> bool: ...
        def is_dir(self, *, follow_symlinks: bool = True) -> bool: ...
        def is_file(self, *, follow_symlinks: bool = True) -> bool: ...
        def is_symlink(self) -> bool: ...

_PathT = TypeVar("_PathT", bound=Path)  # a pure path is read within the root

@type_check_only
class _Amounts(NamedTuple):
    total: int
    used: int
    free: int

class VeryTmpUsage(_Amounts):
    inodes: _Amounts
    def __new__(cls, total: int, used: int, free: int, inodes: tuple[int, int, int] = ...) -> Self: ...
    def __reduce__(self) -> tuple[object, ...]: ...

@type_check_only
class VeryTmpOptions(TypedDict, total=False):
    """The options of a root, for functions that pass them on: ``**options: Unpack[VeryTmpOptions]``."""

    size: int | str | None
    nr_inodes: int | str | None
    mode: int
    noexec: bool
    nosymfollow: bool | None
    huge: str | None
    nr_blocks: int | str | None
    uid: int | None
    gid: int | None
    mpol: str | None
    inode64: bool | None
    noswap: bool
    at: StrPath | bool | None
    host: Literal["rw", "ro"]
    fstype: Literal["tmpfs", "ramfs"]
    fallback: Literal["shm", "none"] | None

_Progress: TypeAlias = Callable[[int, int | None], object]  # bytes so far, and in all

_Command: TypeAlias = StrOrBytesPath | Sequence[StrOrBytesPath]

@type_check_only
class _ProgramOptions(TypedDict, total=False):
    """The keywords of `subprocess.Popen` that do not change the result's type, and *unshare_pid*."""

    bufsize: int
    executable: StrOrBytesPath | None
    stdin: int | IO[Any] | None
    stdout: int | IO[Any] | None
    stderr: int | IO[Any] | None
    preexec_fn: Callable[[], object] | None
    close_fds: bool
    shell: bool
    cwd: StrOrBytesPath | None
    env: Mapping[str, StrOrBytesPath] | Mapping[bytes, StrOrBytesPath] | None
    restore_signals: bool
    start_new_session: bool
    pass_fds: Collection[int]
    user: str | int | None
    group: str | int | None
    extra_groups: Iterable[str | int] | None
    umask: int
    pipesize: int
    process_group: int | None
    unshare_pid: bool

@type_check_only
class _RunOptions(_ProgramOptions, total=False):
    capture_output: bool
    check: bool
    timeout: float | None

class VeryTmpRoot:
    def __init__(self, **options: Unpack[VeryTmpOptions]) -> None: ...
    @property
    def path(self) -> VeryTmpPath: ...
    @property
    def kind(self) -> Literal["tmpfs", "ramfs", "overlay", "shm"]: ...
    @property
    def frozen(self) -> bool: ...
    @property
    def nosymfollow(self) -> bool: ...
    @property
    def closed(self) -> bool: ...
    def joinpath(self, *pathsegments: StrPath) -> VeryTmpPath: ...
    def __truediv__(self, key: StrPath) -> VeryTmpPath: ...
    def __fspath__(self) -> str: ...
    def __copy__(self) -> NoReturn: ...
    def __deepcopy__(self, memo: object) -> NoReturn: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...
    @property
    def at(self) -> PurePosixPath: ...
    @overload
    def run(
        self,
        args: _Command,
        *,
        text: Literal[True],
        encoding: str | None = None,
        errors: str | None = None,
        universal_newlines: bool | None = None,
        input: str | None = None,
        **options: Unpack[_RunOptions],
    ) -> CompletedProcess[str]: ...
    @overload
    def run(
        self,
        args: _Command,
        *,
        text: bool | None = None,
        encoding: str,
        errors: str | None = None,
        universal_newlines: bool | None = None,
        input: str | None = None,
        **options: Unpack[_RunOptions],
    ) -> CompletedProcess[str]: ...
    @overload
    def run(
        self,
        args: _Command,
        *,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str,
        universal_newlines: bool | None = None,
        input: str | None = None,
        **options: Unpack[_RunOptions],
    ) -> CompletedProcess[str]: ...
    @overload
    def run(
        self,
        args: _Command,
        *,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        universal_newlines: Literal[True],
        input: str | None = None,
        **options: Unpack[_RunOptions],
    ) -> CompletedProcess[str]: ...
    @overload
    def run(
        self,
        args: _Command,
        *,
        text: Literal[False] | None = None,
        encoding: None = None,
        errors: None = None,
        universal_newlines: Literal[False] | None = None,
        input: ReadableBuffer | None = None,
        **options: Unpack[_RunOptions],
    ) -> CompletedProcess[bytes]: ...
    @overload
    def run(
        self,
        args: _Command,
        *,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        universal_newlines: bool | None = None,
        input: ReadableBuffer | str | None = None,
        **options: Unpack[_RunOptions],
    ) -> CompletedProcess[Any]: ...
    @overload
    def popen(
        self,
        args: _Command,
        *,
        text: Literal[True],
        encoding: str | None = None,
        errors: str | None = None,
        universal_newlines: bool | None = None,
        **options: Unpack[_ProgramOptions],
    ) -> Popen[str]: ...
    @overload
    def popen(
        self,
        args: _Command,
        *,
        text: bool | None = None,
        encoding: str,
        errors: str | None = None,
        universal_newlines: bool | None = None,
        **options: Unpack[_ProgramOptions],
    ) -> Popen[str]: ...
    @overload
    def popen(
        self,
        args: _Command,
        *,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str,
        universal_newlines: bool | None = None,
        **options: Unpack[_ProgramOptions],
    ) -> Popen[str]: ...
    @overload
    def popen(
        self,
        args: _Command,
        *,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        universal_newlines: Literal[True],
        **options: Unpack[_ProgramOptions],
    ) -> Popen[str]: ...
    @overload
    def popen(
        self,
        args: _Command,
        *,
        text: Literal[False] | None = None,
        encoding: None = None,
        errors: None = None,
        universal_newlines: Literal[False] | None = None,
        **options: Unpack[_ProgramOptions],
    ) -> Popen[bytes]: ...
    @overload
    def popen(
        self,
        args: _Command,
        *,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        universal_newlines: bool | None = None,
        **options: Unpack[_ProgramOptions],
    ) -> Popen[Any]: ...
    def wrap(
        self,
        args: _Command,
        *,
        executable: StrOrBytesPath | None = None,
        cwd: StrOrBytesPath | None = None,
        unshare_pid: bool = False,
    ) -> tuple[list[str], tuple[int, ...]]: ...
    def fileno(self) -> int: ...
    def clear(self) -> None: ...
    def usage(self) -> VeryTmpUsage: ...
    def resize(
        self, *, size: int | str | None = None, nr_blocks: int | str | None = None, nr_inodes: int | str | None = None
    ) -> None: ...
    def freeze(self) -> None: ...
    def clone(self, **options: Unpack[VeryTmpOptions]) -> Self: ...
    def read_only(self) -> Self: ...
    def close(self) -> None: ...

class VeryTmpCause(StrEnum):
    SECCOMP_CALL = "seccomp-call"
    SECCOMP_FLAGS = "seccomp-flags"
    APPARMOR = "apparmor"
    SELINUX = "selinux"
    LANDLOCK = "landlock"
    SYSCTL = "sysctl"
    LIMIT = "limit"
    DESCRIPTORS = "descriptors"
    CHROOT = "chroot"
    UID_MAP = "uid-map"
    CAPABILITY = "capability"
    PROC = "proc"
    KERNEL = "kernel"
    CHILD = "child"
    PYTHON = "python"
    FALLBACK = "fallback"
    NOT_LINUX = "not-linux"
    UNKNOWN = "unknown"
    @property
    def description(self) -> str: ...

class VeryTmpAvailability:
    error: VeryTmpUnavailable | None
    method: str
    def __init__(self, method: str = "", error: VeryTmpUnavailable | None = None) -> None: ...
    def __bool__(self) -> bool: ...
    @property
    def cause(self) -> VeryTmpCause | None: ...
    @property
    def remedy(self) -> str: ...

def available() -> VeryTmpAvailability: ...
def enter() -> None: ...

class VeryTmpFactory:
    def __init__(self, **options: Unpack[VeryTmpOptions]) -> None: ...
    def root(self, **options: Unpack[VeryTmpOptions]) -> VeryTmpRoot: ...
    def __call__(self, **options: Unpack[VeryTmpOptions]) -> VeryTmpRoot: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...
    @property
    def closed(self) -> bool: ...
    def close(self) -> None: ...

@type_check_only
class _Counts(NamedTuple):
    members: int
    bytes: int
    left_out: dict[str, str]
    renamed: dict[str, str]

class VeryTmpReport(_Counts): ...

class VeryTmpPath(Path):
    """A path in a root. Its signatures are `pathlib.Path`'s, except for these, most of which newer Pythons have."""

    def __new__(cls, never: Never, /, *args: Never) -> Self: ...  # a root makes them  # pyright: ignore[reportInconsistentConstructor]
    @property
    def at(self) -> PurePosixPath: ...
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
    def relative_to(  # type: ignore[override]  # a pure path, by decision  # pyright: ignore[reportIncompatibleMethodOverride]
        self, other: StrPath, *others: StrPath, walk_up: bool = False
    ) -> PurePosixPath: ...
    def is_relative_to(self, other: StrPath, *others: StrPath) -> bool: ...
    def match(self, path_pattern: StrPath, *, case_sensitive: bool | None = None) -> bool: ...
    def full_match(self, pattern: StrPath, *, case_sensitive: bool | None = None) -> bool: ...
    @override
    def exists(self, *, follow_symlinks: bool = True) -> bool: ...
    @override
    def is_dir(self, *, follow_symlinks: bool = True) -> bool: ...
    @override
    def is_file(self, *, follow_symlinks: bool = True) -> bool: ...
    def is_junction(self) -> bool: ...
    @property
    def info(self) -> _PathInfo: ...
    @override
    def samefile(self, other_path: StrPath) -> bool: ...
    @override
    def owner(self, *, follow_symlinks: bool = True) -> str: ...
    @override
    def group(self, *, follow_symlinks: bool = True) -> str: ...
    @override
    def read_text(self, encoding: str | None = None, errors: str | None = None, newline: str | None = None) -> str: ...
    @override
    def glob(
        self, pattern: StrPath, *, case_sensitive: bool | None = None, recurse_symlinks: bool = False
    ) -> Generator[Self]: ...
    @override
    def rglob(
        self, pattern: StrPath, *, case_sensitive: bool | None = None, recurse_symlinks: bool = False
    ) -> Generator[Self]: ...
    def walk(
        self,
        top_down: bool = True,
        on_error: Callable[[OSError], object] | None = None,
        follow_symlinks: bool = False,
    ) -> Iterator[tuple[Self, list[str], list[str]]]: ...
    @override
    def mkdir(
        self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False, *, parent_mode: int | None = None
    ) -> None: ...
    @override
    def readlink(self) -> PurePosixPath: ...  # type: ignore[override]  # a pure path, by decision
    @override
    def symlink_to(self, target: StrPath, target_is_directory: bool = False) -> None: ...  # type: ignore[override]  # no bytes
    @override
    def hardlink_to(self, target: StrPath) -> None: ...  # type: ignore[override]  # no bytes
    if sys.version_info < (3, 12):
        @deprecated("Deprecated since Python 3.10, removed in 3.12: use hardlink_to(), which is the other way round.")
        @override
        def link_to(self, target: StrPath) -> None: ...  # type: ignore[override]  # no bytes

    @override
    def rename(self, target: StrPath) -> Self: ...
    @override
    def replace(self, target: StrPath) -> Self: ...
    @overload  # type: ignore[override, unused-ignore]  # a str stays inside; there is nothing to override before 3.14
    def copy(  # type: ignore[overload-overlap]  # a str is no Path
        self,
        target: _PathT,
        *,
        follow_symlinks: bool = True,
        preserve_metadata: bool = False,
        progress: _Progress | None = None,
    ) -> _PathT: ...
    @overload
    def copy(
        self,
        target: StrPath,
        *,
        follow_symlinks: bool = True,
        preserve_metadata: bool = False,
        progress: _Progress | None = None,
    ) -> Self: ...
    @overload  # type: ignore[override, unused-ignore]  # a str stays inside; there is nothing to override before 3.14
    def copy_into(  # type: ignore[overload-overlap]  # a str is no Path
        self,
        target_dir: _PathT,
        *,
        follow_symlinks: bool = True,
        preserve_metadata: bool = False,
        progress: _Progress | None = None,
    ) -> _PathT: ...
    @overload
    def copy_into(
        self,
        target_dir: StrPath,
        *,
        follow_symlinks: bool = True,
        preserve_metadata: bool = False,
        progress: _Progress | None = None,
    ) -> Self: ...
    @overload  # type: ignore[override, unused-ignore]  # a str stays inside; there is nothing to override before 3.14
    def move(self, target: _PathT) -> _PathT: ...  # type: ignore[overload-overlap]  # a str is no Path
    @overload
    def move(self, target: StrPath) -> Self: ...
    @overload  # type: ignore[override, unused-ignore]  # a str stays inside; there is nothing to override before 3.14
    def move_into(self, target_dir: _PathT) -> _PathT: ...  # type: ignore[overload-overlap]  # a str is no Path
    @overload
    def move_into(self, target_dir: StrPath) -> Self: ...
    def publish(
        self,
        target: Path,
        *,
        replace: bool = False,
        follow_symlinks: bool = False,
        preserve_metadata: bool = False,
        mode: int | None = None,
        fsync: bool = False,
        progress: _Progress | None = None,
    ) -> VeryTmpReport: ...
    def unpack(
        self,
        archive: StrPath | SupportsRead[bytes],
        *,
        max_members: int | None = None,
        progress: _Progress | None = None,
    ) -> VeryTmpReport: ...
