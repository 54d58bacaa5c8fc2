"""docs/performance.md, its charts, and performance.json, which holds what was measured on each Python."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from bench import charts
from bench.report import columns, goals, ratios, rows
from bench.sweeps import SWEEPS

HEAD = """\
# Performance

This page is written by `python tests/bench`, which measures everything in turn, in one process, with the garbage
collector off, and takes the median of {rounds} rounds (of seven at least, where only the goals are shown), of the best
of three times each. Times are the processor's; for roots, threads and whole processes, the wall clock's. What follows ±
is half the distance between the quartiles. In brackets is a ratio, of each round's pair: how long verytmp takes for
each second of that other one. Below 1, verytmp is faster. [The numbers](performance.json).

{machine}

## Goals

"""
SINGLE = """
## Single operations

`pathlib` is `pathlib.Path` on `/dev/shm`, and `os` the functions of os with strings, there too. The others keep files
in this process's memory: they ask no kernel, and no other program can see what is in them. pyfakefs takes the place of
os itself, and so is measured apart.

"""
TREES = "\n## Whole trees\n\n"
SHAPES = """
## Shapes of trees

All of a tree: what is fast on one shape may be slow on another one. Copies are beside shutil's where pathlib has none
(before Python 3.14), removals beside its rmtree.

"""
ROOTS = """
## Making a root

Of 64 MiB, and letting it go, beside `tempfile.TemporaryDirectory`. The helper, and the child, are for a process that
may not mount.

"""
IMPORTS = """
## Import

Whole processes. `import verytmp` loads next to nothing; what roots and paths need comes with the first name that is
asked for, and pathlib is in that.

"""
PUBLISHED = """
## The cases that D-MemFS publishes

By their names and settings, rewritten here; the file system is made and goes within each measurement. `io.BytesIO` in
a dict is no file system: it shows what there is to be had without one. The large stream is of 128 MiB instead of 512.

"""
LIMITS = """
## What stands in the way

Beside the system calls alone, by os and with nothing around them: in Python, nothing is faster.

- `open`: little more than the built-in one takes with an opener that opens the file in the root. Three quarters of it
  are the file object's and its buffer's, as they are of pathlib's. The rest is openat(2) with a directory, called in a
  way that no signal can interrupt, and the file's name, for which getpid(2) is asked.
- `walk`: most of its time is spent reading names, and pathlib spends as much on that.
- `unpack` of a zip archive: 0.94 of `extractall`, where 0.85 was the goal. Of an entry of 800 bytes, alone: zipfile
  reads it in 22 µs, for both; creating, filling and closing the file takes 11 µs by system calls; permissions and time,
  which `extractall` does not set, 3 µs; and all that is ours 14 µs. In turn they take 76 µs, and `extractall` 82.
- Removal: close(2) of the last descriptor gives everything back, file by file. No name is looked up any more.
- A root: the kernel makes a file system, and when its mount goes, waits until no processor can be using it.
  `TemporaryDirectory` makes one directory.

"""
SWEPT = "\n## How costs grow\n\n"
JOBS = """
## What users do

From beginning to end: the directory is made, the programs run in it, and it goes. The root has a name. In brackets is
how long verytmp takes for each second of that other one.

<!-- written by tests/bench/jobs.py -->
"""


def write(docs: Path, python: str, results: dict[str, Any]) -> None:
    file = docs / "performance.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    known[python] = results
    known = dict(sorted(known.items(), key=lambda item: [int(part) for part in re.findall(r"\d+", item[0])]))
    file.write_text(json.dumps(rounded(known), indent=1) + "\n")
    shown = "3.13" if "3.13" in known else python  # one Python is enough for the tables
    folder = docs / "performance"
    folder.mkdir(exist_ok=True)
    page = docs / "performance.md"
    jobs = page.read_text().partition(JOBS)[2] if page.exists() else ""
    page.write_text(text(known, shown, folder) + JOBS + (jobs or "Not measured.\n"))


def write_jobs(docs: Path, table: str) -> None:
    """The last part of the page, which is measured by itself."""
    page = docs / "performance.md"
    page.write_text(page.read_text().partition(JOBS)[0] + JOBS + table)


def text(known: dict[str, Any], shown: str, folder: Path) -> str:
    results = known[shown]
    machine = results["machine"]
    pythons = ", ".join(dict.fromkeys(found["machine"]["python"] for found in known.values()))
    about = f"Machine: {machine['processor']}, {machine['memory']}; {machine['kernel']}. {pythons}; tables and charts "
    page = HEAD.format(rounds=results["rounds"], machine=f"{about}{machine['python']}.")
    page += (
        reached(known)
        + SINGLE
        + picture(
            folder, "single", charts.bars("Single operations, against pathlib.Path on /dev/shm", ratios(results), 0.65)
        )
    )
    page += (
        grid(results["single"])
        + TREES
        + grid(results["trees"])
        + SHAPES
        + grid(results.get("shapes", {}))
        + ROOTS
        + grid(results["roots"])
    )
    page += IMPORTS + grid(results["import"])
    page += PUBLISHED + grid(results["published"]) + LIMITS + grid(results["limits"]) + SWEPT
    for sweep in SWEEPS:
        steps = results["sweeps"][sweep.name]
        chart = charts.lines(sweep.name, sweep.unit, steps, sweep.straight)
        page += picture(folder, sweep.name, chart)
    missing = "; ".join(results["missing"])
    return page + (f"Not measured: {missing}.\n" if missing else "")


def reached(known: dict[str, Any]) -> str:
    """The goals, with a column for each Python."""
    body: dict[str, list[str]] = {}
    for results in known.values():
        for at, goal in enumerate(goals(results)):
            _, limit, measured, kept = goal.text()
            body.setdefault(str(at), [goal.name.partition(" (")[0], limit]).append(
                f"**{measured}**" if kept == "**no**" else measured
            )
    table = markdown(["", "goal", *known], list(body.values()))
    return f"{table}\nWhat is in bold is not reached.\n"


def grid(table: dict[str, Any]) -> str:
    grounds = columns(table)
    return markdown(["", "verytmp", *grounds], rows(table, grounds)) if table else "Not measured.\n"


def markdown(head: list[str], body: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)


def picture(folder: Path, title: str, svg: str) -> str:
    name = title.replace(",", "").replace("'", "").replace(" ", "-")
    (folder / f"{name}.svg").write_text(svg)
    return f"![{title}](performance/{name}.svg)\n\n"


def rounded(value: Any) -> Any:
    """Three digits and a bit: more is noise, and changes with every run."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(below) for key, below in value.items()}
    return [rounded(below) for below in value] if isinstance(value, list) else value
