"""What works where this runs, and how, as a line of JSON: ``python3 tests/support/survey.py [NAME...]``, those alone.

It is for places that have little but a Python: kernels (tests/kernels) and containers (tests/containers).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from verytmp import VeryTmpError, VeryTmpFallbackWarning, VeryTmpRoot, VeryTmpUnavailable
from verytmp._cli import doctor

AT = "/verytmp-survey"  # which is not there, so a private "/" is built
INSIDE = """
import os, sys
sys.path[:0] = [{source!r}]
import verytmp
verytmp.enter()
with verytmp.VeryTmpRoot() as root:
    os.chdir(root)
    assert os.getcwd() == os.path.realpath(root) == str(root)
    print(root)
"""


def how(root: VeryTmpRoot) -> str:
    return repr(root).rpartition(", made ")[2].removesuffix(">")


def plain() -> str:
    with VeryTmpRoot() as root:
        (root / "f").write_text("potatoes")
        return how(root) if root.nosymfollow else f"{how(root)}, links are followed"


def named() -> str:
    """A root with a name, which a program asks for."""
    with VeryTmpRoot(at=AT) as root:
        found = root.run(["sh", "-c", "pwd -P; echo potatoes > f"], check=True, stdout=subprocess.PIPE, text=True)
        if (found.stdout.strip(), (root / "f").read_text()) != (AT, "potatoes\n"):
            raise AssertionError(found.stdout)
        return how(root)


def read_only_host() -> str:
    with VeryTmpRoot(at=AT, host="ro") as root:
        code = "touch f && ! touch /tmp/verytmp-survey"
        root.run(["sh", "-c", code], check=True, stderr=subprocess.DEVNULL)
    return "works"


def run_command() -> str:
    command = [sys.executable, "-m", "verytmp", "run", "--at", AT, "--", "sh", "-c", "pwd -P"]
    return "works" if output(command) == AT else "the command is elsewhere"


def entered() -> str:
    code = INSIDE.format(source=str(Path(__file__).parents[2] / "src"))
    return "works" if output([sys.executable, "-c", code]).startswith("/verytmp/") else "no name"


class Refused(Exception):
    """A program said so."""


def output(command: list[str]) -> str:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        raise Refused(last) if "no private tmpfs could be made" in last else RuntimeError(last)
    return done.stdout.strip()


def cloned() -> str:
    with VeryTmpRoot() as root:
        (root / "f").write_text("potatoes")
        root.freeze()
        with root.clone() as clone:
            if (clone / "f").read_text() != "potatoes":
                raise AssertionError("a clone has other files")
            return how(clone)


def fallback() -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VeryTmpFallbackWarning)
        with VeryTmpRoot(fallback="shm") as root:
            (root / "f").write_text("potatoes")
            return f"{root.usage().total >> 20} MiB" if root.kind == "shm" else "not needed"


CALLS: dict[str, Callable[[], str]] = {
    "a root": plain,
    "named": named,
    "host=ro": read_only_host,
    "run": run_command,
    "enter": entered,
    "clone": cloned,
    "fallback": fallback,
}


def survey(names: list[str]) -> dict[str, str]:
    """What each of it answers. ``cause`` and ``remedy`` are of the first that is refused, and empty without one."""
    report = doctor.report()
    found = {"kernel": os.uname().release, "euid": str(os.geteuid()), "cause": "", "remedy": "", "of": ""}
    ways = {way["strategy"]: way["how"] if way["made"] else f"no: {way['how']}" for way in report["strategies"]}
    found["direct"], found["child"] = ways["directly"], ways["via a forked child"]
    for name in names or CALLS:
        try:
            found[name] = CALLS[name]()
        except VeryTmpUnavailable as error:
            found[name] = f"no: {error.step}: {doctor.format_errno(error.errno or 0, '')}".replace(":  (", " (")
            if not found["cause"]:
                found |= {"cause": str(error.cause), "remedy": error.remedy, "of": name}
        except Refused:
            found[name] = "no"
        except VeryTmpError as error:  # of a root that is there
            found[name] = f"no: {error.strerror}".partition(" (")[0]
            if not found["cause"]:
                found |= {"cause": "unknown", "remedy": str(error), "of": name}
        except Exception as error:
            found[name] = f"FAILED: {type(error).__name__}: {error}"
    return found


SHORTER = {
    "via a forked ": "",
    "directly, ": "",
    "as a clone by ": "",
    "not allowed to this process": "",
    "no: not tried: under a seccomp filter an unknown call may end the program": "not tried",
}


def short(text: str) -> str:
    """For a cell of the table."""
    for long, shorter in SHORTER.items():
        text = text.replace(long, shorter)
    return re.sub(r"^no: ([^:( ]+).*\((E\w+)\)$", r"no: \1, \2", text.removesuffix(": ").replace("|", "/"))


if __name__ == "__main__":
    print(json.dumps(survey(sys.argv[1:])))
