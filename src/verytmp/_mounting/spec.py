"""From Python's values to mount(8)'s words. Types are judged here; whether a value makes sense, the kernel says."""

from __future__ import annotations

import os
from operator import index

from .._confined.procfs import new_token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


VARIABLE = "VERYTMP_FALLBACK"  # in the environment: the default of *fallback*, for a whole run
default_at: bool | None = None  # of *at*: true once this process has entered a namespace
KEPT = (
    "mode",
    "nosymfollow",
    "host",
)  # and at=True: what a directory in /dev/shm has too, or is the default, which `nosymfollow` tells of

FORMS = {  # what to write for those that have a notation of their own
    "size": "bytes, or a str as '64m' or '10%'",
    "nr_blocks": "a number, or a str as '10k'",
    "nr_inodes": "a number, or a str as '10k'",
    "huge": "'never', 'always', 'within_size' or 'advise'",
    "mpol": "a policy as 'interleave' or 'bind:0-3'",
}


def mount_options(given: Mapping[str, object]) -> list[str]:
    """The words for what was asked for; None asks for nothing. `TypeError` or `ValueError` names the option."""
    if given.get("size") is not None and given.get("nr_blocks") is not None:
        raise ValueError("size and nr_blocks are two units of one limit: give one of them")
    given = dict(given)
    if given.get("at") is None:
        given["at"] = default_at
    named = given["at"] is not None and given["at"] is not False
    if not named:
        given.pop("at", None)
        if given.pop("host", "rw") != "rw":
            raise ValueError("host='ro' is for a root with a name: ask for at= too")
    words = []
    if given.get("nosymfollow") is None:  # programs need links; paths follow them without the kernel
        given["nosymfollow"] = True
    elif named and given["nosymfollow"]:
        words = ["name_nosymfollow"]
    return words + [word for key, value in given.items() if value is not None and (word := WORDS[key](key, value))]


def judged(asked: Mapping[str, object]) -> tuple[list[str], str]:
    """The words for a root's options, and what it may fall back to."""
    given = {key: value for key, value in asked.items() if key != "fallback"}
    return mount_options(given), fallback(asked.get("fallback"), given)


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
    return ", ".join(
        key
        for key, word in given.items()
        if not (key in KEPT or (key == "at" and word is True) or word is None or word is False)
    )


def passed_over(asked: Mapping[str, object]) -> str:
    """Why the environment's fallback is not taken, though somebody has asked for it."""
    given = {key: value for key, value in asked.items() if key != "fallback"}
    if asked.get("fallback") is not None or os.environ.get(VARIABLE) != "shm":
        return ""
    lost = unkept(given)
    return f"Leave out {lost}, which a directory in /dev/shm cannot keep: {VARIABLE}=shm was not taken for that."


def amount(key: str, value: object) -> str:
    if isinstance(value, str):
        return f"{key}={plain(key, value)}"
    return f"{key}={whole(key, value, 'an int, or a str as in mount(8)')}"


def identity(key: str, value: object) -> str:
    return f"{key}={whole(key, value, 'an int')}"


def permissions(key: str, value: object) -> str:
    number = whole(key, value, "an int, as for os.chmod()")
    if number > 0o7777:
        raise ValueError(f"{key} has bits that are no permissions: {number:#o}")
    return f"{key}={number:o}"


def text(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{key} must be a str, not {type(value).__name__}")
    return f"{key}={plain(key, value)}"


def flag(key: str, value: object) -> str:
    if not isinstance(value, bool):
        raise TypeError(f"{key} must be a bool, not {type(value).__name__}")
    return key if value else ""


def inode_width(key: str, value: object) -> str:
    return flag(key, value) or "inode32"


def whole(key: str, value: object, wanted: str) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        number = index(value)  # type: ignore[arg-type]  # the TypeError is the point
    except TypeError:
        raise TypeError(f"{key} must be {wanted}, not {type(value).__name__}") from None
    if number < 0:
        raise ValueError(f"{key} must not be negative: {number}")
    return number


def plain(key: str, value: str) -> str:
    if "\0" in value:
        raise ValueError(f"embedded null byte in {key}")
    return value


def named_at(key: str, value: object) -> str:
    if value is True:
        return f"{key}=/verytmp/{new_token()}"
    path: object = value.__fspath__() if isinstance(value, os.PathLike) else value
    if not isinstance(path, str):
        raise TypeError(f"{key} must be True, a str or a path, not {type(value).__name__}")
    if not path.startswith("/") or path.startswith("//") or os.path.normpath(path) != path or path == "/":
        raise ValueError(f"{key} must be an absolute path below /, without '.', '..' and '//': {path!r}")
    return f"{key}={plain(key, path)}"


def host_access(key: str, value: object) -> str:
    if value not in ("rw", "ro"):
        raise ValueError(f"{key} must be 'rw' or 'ro', not {value!r}")
    return f"{key}={value}"


WORDS: dict[str, Callable[[str, object], str]] = {
    "size": amount,
    "nr_blocks": amount,
    "nr_inodes": amount,
    "mode": permissions,
    "uid": identity,
    "gid": identity,
    "huge": text,
    "mpol": text,
    "inode64": inode_width,
    "noswap": flag,
    "noexec": flag,
    "nosymfollow": flag,
    "at": named_at,
    "host": host_access,
}
