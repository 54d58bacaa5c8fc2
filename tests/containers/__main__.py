"""Run the library in containers and sandboxes: ``python3 tests/containers [--install] [NAME...]``, as root.

In each place, a survey of what works and how is taken, as root and as an ordinary user. Where something is refused, the
remedy that is printed is followed to the letter: a place may change only by words that are in it. That has to help.

The table of docs/how-to/containers.md gets what was found, and what could not be had. Those that are not installed are
installed by apt-get with --install. What is downloaded is kept in /var/tmp/verytmp-kernels.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from support import debian
from support.debian import run
from support.survey import short

from containers import places
from containers.places import Place
from containers.rows import stored

PAGE = debian.REPOSITORY / "docs" / "how-to" / "containers.md"
PART = "containers", "tests/containers"
COLUMNS = ("direct", "child", "named", "clone")
IN_ONE = "`python3 tests/kernels newest --apparmor`"
PATIENCE = 300  # seconds for one survey, in an emulated processor
ROUNDS = 3  # one remedy may uncover a second refusal


class Found(NamedTuple):
    survey: dict[str, str]
    error: str  # where there is none


def look(command: list[str]) -> Found:
    """What the survey finds, started by this command."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Found({}, str(error))
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            return Found(json.loads(line), "")
    return Found({}, (done.stderr.strip() or done.stdout.strip() or f"status {done.returncode}").splitlines()[-1])


def follow(place: Place, survey: dict[str, str]) -> Iterator[str]:
    """Do what is printed, each of what it offers: what came of it."""
    for words, changed in place.remedies(survey["remedy"]):
        done, found = followed([words], changed)
        text = f"`{'`, then `'.join(done)}`"
        if found.error or found.survey["cause"] or "FAILED" in str(found.survey):
            yield f"FAILED: {text}: {found.error or found.survey}"
        else:
            yield f"{text}: {short(found.survey['a root'])}"


def followed(done: list[str], place: Place) -> tuple[list[str], Found]:
    """What is found after it was done; if that is a refusal once more, after its remedy too."""
    found = look(place.command())
    if found.survey.get("cause") and len(done) < ROUNDS:
        for words, changed in place.remedies(found.survey["remedy"]):
            if changed != place:
                return followed([*done, words], changed)
    return done, found


def row(place: Place, survey: dict[str, str]) -> list[str]:
    cells = [place.name, "root" if survey["euid"] == "0" else "user"]
    cells += [short(survey[name]) for name in COLUMNS]
    if not survey["cause"]:
        return [*cells, "", "", ""]
    helped = list(follow(place, survey)) or [f"FAILED: nothing to do was found in: {survey['remedy']}"]
    return [*cells, f"`{survey['cause']}`", "; ".join(helped), survey["fallback"]]


def tried(wanted: list[Place], absent: list[str]) -> list[list[str]]:
    """The table's rows; and what could not be had, with the reason."""
    rows: list[list[str]] = []
    for place in wanted:
        if not shutil.which(place.tool):
            absent.append(f"{place.name}: {place.tool} is not installed")
            continue
        found = look(place.command())
        if found.error:
            absent.append(f"{place.name}: {found.error}")
            print(f"not tried: {absent[-1]}", file=sys.stderr, flush=True)
            continue
        rows.append(row(place, found.survey))
        print(*rows[-1], sep=" | ", file=sys.stderr, flush=True)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--install", action="store_true", help="install what is missing, by apt-get")
    parser.add_argument("--json", action="store_true", help="in a kernel that tests/kernels has booted: the rows alone")
    parser.add_argument("name", nargs="*", help="only places that have this in their names")
    arguments = parser.parse_args()
    if os.geteuid():
        raise SystemExit("containers are made by root")
    known = places.of_a_kernel() if arguments.json else places.all_of()
    wanted = [place for place in known if any(name in place.name for name in arguments.name or [""])]
    if arguments.json:
        print(json.dumps(tried(wanted, [])))
        return 0
    missing = sorted({place.package for place in wanted if place.package and not shutil.which(place.tool)})
    if arguments.install and missing:
        run("apt-get", "-q", "update")
        for package in missing:
            subprocess.run(["apt-get", "-q", "-y", "--no-install-recommends", "install", package], check=False)
    absent: list[str] = []
    with places.ready(any(place.tool == "dockerd" for place in wanted)):
        rows = stored(tried(wanted, absent), places.names())
    absent += places.NOT_TO_BE_HAD
    titles = ("where", "as", *COLUMNS, "cause", "what was done about it, and how a root is made then", "fallback")
    lines = [f"| {' | '.join(cells)} |" for cells in (titles, ["---"] * len(titles), *rows)]
    about = (
        f"Linux {os.uname().release}; AppArmor, and the setting that Debian alone has, in a virtual machine ({IN_ONE})."
    )
    body = "\n".join([*lines, "", about, "", "Not tried:", "", *(f"- {each}" for each in absent), ""])
    print(body)
    debian.replaced(PAGE, *PART, body)
    return 1 if "FAILED" in body else 0


if __name__ == "__main__":
    sys.exit(main())
