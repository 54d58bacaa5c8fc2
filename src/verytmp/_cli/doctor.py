"""``python -m verytmp doctor``: where this is, what can be made here and how fast, and what to do if nothing can.

It changes nothing: what it makes is gone before it ends.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from errno import errorcode

from .._available import available
from .._diagnosis.facts import facts, guide
from .._mounting import child, probes, strategy
from .._mounting.options import VARIABLE, validated
from .._mounting.protocol import Refused
from .._mounting.signals import Caller, without_interrupts
from .._mounting.spec import MountSpec, new_token
from .._shm import PLACE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

# What verytmp asks of the kernel: since which Linux it is there, what it is for, and what stands in for it. The page
# docs/kernel-features.md is made of it, and `probes.try_features` asks for each.
FEATURES = {
    "user namespaces": ("4.19", "a child process in which an ordinary user may mount", "CAP_SYS_ADMIN"),
    "fsopen": ("5.2", "fsopen(2), fsmount(2): a mount that is detached from the start", "mount(2) in the child"),
    "MOUNT_ATTR_NOSYMFOLLOW": ("5.14", "the kernel follows no symlinks, for any process", "MS_NOSYMFOLLOW"),
    "mount": ("4.19", "mount(2), umount2(2) in new namespaces, where fsopen(2) is refused", ""),
    "MS_NOSYMFOLLOW": (
        "5.10",
        "as above, by mount(2)",
        "component-wise resolution, which confines paths but not strings",
    ),
    "pidfd_open": (
        "5.3",
        "a helper process notices the end of its owner",
        "the end of their socket, which a forked child may keep open",
    ),
    "copy_file_range": ("5.3", "copies of large files within the kernel", "sendfile(2), or read(2) and write(2)"),
    "user.* attributes": ("6.6", "copy(preserve_metadata=True)", "they are left out"),
    "huge": ("4.7", "the option huge=", "refused when asked for"),
    "inode64": ("5.9", "the option inode64=", "refused when asked for"),
    "noswap": ("6.4", "the option noswap=, with privileges", "refused when asked for"),
    "ramfs": ("5.2", "the option fstype='ramfs'", "refused when asked for"),
    "freeze, resize": ("5.2", "fspick(2): VeryTmpRoot.freeze and resize", "refused when asked for"),
    "read_only": ("6.15", "VeryTmpRoot.read_only: a second mount of a detached mount", "refused when asked for"),
    "at=": ("5.2", "open_tree(2), move_mount(2): VeryTmpRoot(at=), run, verytmp run, enter", "refused when asked for"),
    "host='ro'": ("5.12", "mount_setattr(2): VeryTmpRoot(at=, host='ro')", "refused when asked for"),
    "clone": ("6.15", "VeryTmpRoot.clone by overlayfs, in a detached mount", "everything is copied"),
}
# What the report calls the facts that are no file's own names.
LABELS = {
    "namespaces": "user namespaces in this kernel",
    "root": "this process's root directory",
    "inside": "signs of a container",
}
GREEN, RED, PLAIN = "\033[32m", "\033[31m", "\033[0m"


def main(as_json: bool) -> int:
    """Print the report: 0 if a private tmpfs can be made here, else 1."""
    found = report()
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        print("\n".join(lines(found, colour)))
    return 0 if found["works"] else 1


def report() -> dict[str, Any]:
    """All that is found, for programs."""
    from .. import __version__

    found = available()
    return {
        "verytmp": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "environment": facts(),
        "strategies": [{"strategy": way, **tried(call)} for way, call in strategies()],
        "features": [
            {"feature": name, "found": None if number is None else not number, "answer": answer(number or 0, text)}
            | about
            for name, number, text, about in features()
        ],
        "fallback": {"asked for": os.environ.get(VARIABLE, ""), "place": PLACE, "writable": os.access(PLACE, os.W_OK)},
        "works": bool(found),
        "verdict": str(found).partition(". ")[0].rstrip("."),
        "step": found.error.step if found.error else "",
        "cause": str(found.cause or ""),
        "evidence": list(found.error.evidence) if found.error else [],
        "remedy": found.remedy,
        "guide": guide(),
    }


def strategies() -> Iterator[tuple[str, Callable[[], str]]]:
    """Each strategy for making the mount, whichever `VeryTmpRoot` would take."""

    def directly() -> str:
        if facts().get("Seccomp", "0") != "0":
            return "not tried: under a seccomp filter an unknown call may end the program"
        return made(strategy.directly(spec(), Caller()))

    def by_a_child(threads: int) -> str:
        _ = Caller().threads  # without /proc, which a child may do without, the root's paths have no strings
        return made(strategy.by_child(spec(), Caller(threads)))

    def spec() -> MountSpec:
        return validated({})[0].replace(at="", directory=strategy.impossible_name(), token=new_token())

    def made(mounted: strategy.Mounted | None) -> str:
        if mounted is None:
            return "not allowed to this process"
        return mounted.how.rpartition(", ")[2]

    yield "directly", directly
    yield "via a forked child", lambda: by_a_child(1)
    yield "via a fresh child", lambda: by_a_child(2)


def tried(call: Callable[[], str]) -> dict[str, Any]:
    start = time.perf_counter()
    try:
        made, how = True, call()
        made = not how.startswith("not")
    except Refused as refused:
        step, number, text = refused.refusals[-1]
        made, how = False, f"{step}: {format_errno(number, text)}"
    except OSError as error:
        made, how = False, format_errno(error.errno or 0, error.strerror or "")
    return {"made": made, "how": how, "milliseconds": round(1000 * (time.perf_counter() - start), 2)}


def features() -> Iterator[tuple[str, int | None, str, dict[str, str]]]:
    """What the kernel answers, asked by a child in namespaces of its own: no number where it cannot be asked."""
    try:
        caller = Caller(threads=1)
        answers = without_interrupts(lambda: child.probe(probes.FEATURES, caller), caller)
        outcomes = {name: (number, text) for name, number, text in answers}
    except OSError as error:
        outcomes = {"": (error.errno or 0, error.strerror or "")}
    refused = next((format_errno(*outcome) for name, outcome in outcomes.items() if name not in FEATURES), "not asked")
    for name, (linux, why, instead) in FEATURES.items():
        number, text = outcomes.get(name, (None, refused))
        yield name, number, text, {"linux": linux, "for": why, "instead": instead}


def answer(number: int | None, text: str) -> str:
    """The kernel's, with its number; or what was seen, which has none."""
    return format_errno(number, text) if number and text == os.strerror(number) else text


def format_errno(number: int, text: str) -> str:
    return f"{text} ({errorcode[number]})" if number in errorcode else text


def lines(found: dict[str, Any], colour: bool) -> Iterator[str]:
    """The report, for people."""

    def mark(good: bool) -> str:
        word = "yes" if good else "no "
        return f"{GREEN if good else RED}{word}{PLAIN}" if colour else word

    yield f"verytmp {found['verytmp']}, {found['python']}, {found['environment'].get('kernel', sys.platform)}"
    verdict = f"{found['verdict'][0].upper()}{found['verdict'][1:]}."
    yield f"\n{GREEN if found['works'] else RED}{verdict}{PLAIN}" if colour else f"\n{verdict}"
    if found["cause"]:
        yield f"    cause: {found['cause']}" + (f" ({'; '.join(found['evidence'])})" if found["evidence"] else "")
    if found["remedy"]:
        yield f"    remedy: {found['remedy']}"
    if not found["works"]:
        yield f"    guide: {found['guide']}"
    yield "\nEnvironment"
    for name, text in found["environment"].items():
        if name != "kernel":
            yield f"  {LABELS.get(name, name):<46} {' | '.join(text.split(chr(10))) or '-'}"
    yield "\nMount strategies"
    for way in found["strategies"]:
        yield f"  {mark(way['made'])} {way['strategy']:<20} {way['milliseconds']:8.2f} ms  {way['how']}"
    yield "\nKernel features"
    if all(feature["found"] is None for feature in found["features"]):
        yield f"  ?   could not be checked: {found['features'][0]['answer']}"
        found = found | {"features": []}
    for feature in found["features"]:
        yield f"  {mark(feature['found'])} {feature['feature']:<24} Linux {feature['linux']}: {feature['for']}"
        if not feature["found"]:
            yield f"      {feature['answer']}; instead: {feature['instead'] or 'nothing'}"
    fallback = found["fallback"]
    yield "\nFallback"
    asked = f"{VARIABLE}={fallback['asked for']}" if fallback["asked for"] else f"{VARIABLE} is not set"
    can = "can" if fallback["writable"] else "cannot"
    yield f"  {mark(fallback['writable'])} {fallback['place']} {can} be written to; {asked}"
