"""`VeryTmpRoot`'s keywords: the table of options, and the `MountSpec` that they make.

Types are checked here. Whether a value makes sense, the kernel says.
"""

from __future__ import annotations

import os
from operator import index

from .spec import SIZES, MountSpec, is_too_large, new_token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


VARIABLE = "VERYTMP_FALLBACK"  # in the environment: the default of *fallback*, for a whole run
default_at: bool | None = None  # of *at*: true once this process has entered a namespace
# What a directory in /dev/shm has too; of `nosymfollow`, the property tells that it is false.
SHM_OPTIONS = ("mode", "nosymfollow", "host")
SHM_VALUES = {"at": True, "fstype": "tmpfs"}

FORMS = {  # what to write for those that have a notation of their own
    "size": "bytes, or a str as '64m' or '10%'",
    "nr_blocks": "a number, or a str as '10k'",
    "nr_inodes": "a number, or a str as '10k'",
    "huge": "'never', 'always', 'within_size' or 'advise'",
    "mpol": "a policy as 'interleave' or 'bind:0-3'",
}


def make_spec(given: Mapping[str, object]) -> MountSpec:
    """The spec of what was asked for; None asks for nothing. `TypeError` or `ValueError` names the option."""
    if given.get("size") is not None and given.get("nr_blocks") is not None:
        raise ValueError("size and nr_blocks are two units of one limit: give one of them")
    values = {key: OPTIONS[key](key, value) for key, value in given.items() if value is not None}
    fstype = values.pop("fstype", "tmpfs")
    if fstype == "ramfs" and (lost := [key for key in TMPFS_OPTIONS if values.get(key)]):
        raise ValueError(f"{', '.join(lost)}: a ramfs has no limits and no options; fstype='tmpfs' has")
    at = values.pop("at", "")
    read_only = values.pop("host", "rw") == "ro"
    if read_only and not at:
        raise ValueError("host='ro' needs a root with a name: give at= too")
    attributes = tuple(key for key in ATTRIBUTES if values.pop(key, False))
    directory = {key: values.pop(key) for key in ("mode", "uid", "gid") if key in values}
    if values.get("inode64") is False:
        values["inode32"] = values.pop("inode64") is False
    options = tuple((key, None if value is True else value) for key, value in values.items() if value is not False)
    options = options if fstype == "tmpfs" else ()  # noswap it is by nature
    return MountSpec(options, attributes, **directory, at=at, host_read_only=read_only, fstype=fstype)


def validated(asked: Mapping[str, object]) -> tuple[MountSpec, str]:
    """The spec of a root's options, and what it may fall back to: ``"shm"`` or ``"none"``."""
    given = {key: value for key, value in asked.items() if key != "fallback"}
    instead = fallback(asked.get("fallback"), given)
    if given.get("at") is None:
        given["at"] = default_at
    nosymfollow = given.get("nosymfollow")
    if nosymfollow is None:  # programs need links where a root has a name; paths follow them without the kernel
        given["nosymfollow"] = True
    spec = make_spec(given)
    return spec.replace(name_nosymfollow=True) if spec.at and nosymfollow else spec, instead


def fallback(asked: object, given: Mapping[str, object]) -> str:
    """``"shm"`` or ``"none"``. The environment's default gives way to options that could not be kept."""
    value = os.environ.get(VARIABLE) or "none" if asked is None else asked
    if value not in ("shm", "none"):
        name = VARIABLE if asked is None else "fallback"
        raise ValueError(f"{name} must be 'shm' or 'none', not {value!r}")
    if value == "shm" and (lost := unkept(given)):
        if asked is None:
            return "none"
        raise ValueError(f"{lost} cannot be kept in a directory in /dev/shm: ask for that or for the fallback")
    return str(value)


def unkept(given: Mapping[str, object]) -> str:
    """The options that a directory in /dev/shm could not keep."""
    asked = [key for key, value in given.items() if value is not None and value is not False]
    return ", ".join(key for key in asked if key not in SHM_OPTIONS and given[key] != SHM_VALUES.get(key))


def passed_over(asked: Mapping[str, object]) -> str:
    """Why the environment's fallback is not taken, though somebody has asked for it."""
    given = {key: value for key, value in asked.items() if key != "fallback"}
    if asked.get("fallback") is not None or os.environ.get(VARIABLE) != "shm":
        return ""
    lost = unkept(given)
    return f"Leave out {lost}, which a directory in /dev/shm cannot keep: {VARIABLE}=shm was not taken for that."


def format_size(key: str, value: object) -> str:
    """A size as the kernel reads it."""
    if not isinstance(value, str):
        value = str(check_int(key, value, "an int, or a str as in mount(8)"))
    if is_too_large(check_str(key, value)):
        raise ValueError(f"{key}={value} is larger than a file system can be")
    return value


def check_id(key: str, value: object) -> int:
    return check_int(key, value, "an int")


def check_mode(key: str, value: object) -> int:
    number = check_int(key, value, "an int, as for os.chmod()")
    if number > 0o7777:
        raise ValueError(f"{key} has bits that are no permissions: {number:#o}")
    return number


def check_str(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{key} must be a str, not {type(value).__name__}")
    if "\0" in value:
        raise ValueError(f"embedded null byte in {key}")
    return value


def check_flag(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{key} must be a bool, not {type(value).__name__}")
    return value


def check_at(key: str, value: object) -> str:
    """The name that a root is to have: an absolute path; empty for none."""
    if value is True:
        return f"/verytmp/{new_token()}"
    if value is False:
        return ""
    try:
        path = os.fspath(value)  # type: ignore[call-overload]  # the TypeError is the point
    except TypeError:
        path = None
    if not isinstance(path, str):
        raise TypeError(f"{key} must be True, a str or a path, not {type(value).__name__}")
    if not path.startswith("/") or path.startswith("//") or os.path.normpath(path) != path or path == "/":
        raise ValueError(f"{key} must be an absolute path below /, without '.', '..' and '//': {path!r}")
    return check_str(key, path)


def check_host(key: str, value: object) -> str:
    if value not in ("rw", "ro"):
        raise ValueError(f"{key} must be 'rw' or 'ro', not {value!r}")
    return str(value)


def check_fstype(key: str, value: object) -> str:
    if value not in ("tmpfs", "ramfs"):
        raise ValueError(f"{key} must be 'tmpfs' or 'ramfs', not {value!r}")
    return str(value)


def check_int(key: str, value: object, wanted: str) -> int:
    """The number that a value is. `TypeError` says what was *wanted*."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = index(value)  # type: ignore[arg-type]  # the TypeError is the point
    except TypeError:
        raise TypeError(f"{key} must be {wanted}, not {type(value).__name__}") from None
    if number < 0:
        raise ValueError(f"{key} must not be negative: {number}")
    return number


# Each option, and what makes of its value what a spec holds.
OPTIONS: dict[str, Callable[[str, object], Any]] = {
    **dict.fromkeys(SIZES, format_size),
    "mode": check_mode,
    "uid": check_id,
    "gid": check_id,
    "huge": check_str,
    "mpol": check_str,
    "inode64": check_flag,
    "noswap": check_flag,
    "noexec": check_flag,
    "nosymfollow": check_flag,
    "at": check_at,
    "host": check_host,
    "fstype": check_fstype,
}
TMPFS_OPTIONS = (*SIZES, "huge", "mpol", "inode64")  # which a ramfs would ignore without a word
ATTRIBUTES = ("noexec", "nosymfollow")  # those of the mount, and not of the file system
