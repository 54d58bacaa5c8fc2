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

`python tests/bench` generates this page. It measures all cases in turn, in one process, with the garbage collector
off. Each figure is the median of {rounds} rounds (at least seven where only the goals are shown), and each round is
the best of three measurements. Times are CPU times; for roots, threads and whole processes they are wall-clock times.
The figure after ± is half the interquartile range. The figure in brackets is a ratio, computed within each round:
verytmp's time divided by the other's. Below 1, verytmp is faster. [The numbers](performance.json).

{machine}

## Goals

"""
SINGLE = """
## Single operations

`pathlib` is `pathlib.Path` on `/dev/shm`, and `os` stands for the functions of `os` with strings, also on `/dev/shm`.
The others keep files in the memory of this process: they make no system calls, and no other program can see the
files. pyfakefs replaces `os` itself, and so is measured separately.

"""
TREES = "\n## Whole trees\n\n"
SHAPES = """
## Shapes of trees

Each operation works on a whole tree. What is fast on one shape may be slow on another. Copies are compared with
shutil's where pathlib has none (before Python 3.14), and removals with `shutil.rmtree`.

"""
ROOTS = """
## Making a root

Making a root of 64 MiB and closing it, compared with `tempfile.TemporaryDirectory`. The helper and the child are for
processes that may not mount.

"""
IMPORTS = """
## Import

These are the times of whole processes. `import verytmp` loads very little. What roots and paths need, including
pathlib, is loaded when a name of the package is first used.

"""
PUBLISHED = """
## The cases that D-MemFS publishes

These cases have the names and settings of D-MemFS's own benchmark, but were written anew. Each measurement includes
making and removing the file system. `io.BytesIO` in a dict is not a file system: it shows how fast Python is without
one. The large stream has 128 MiB instead of 512.

"""
LIMITS = """
## What limits the speed

Here verytmp is compared with the bare system calls, made through `os`: nothing is faster in Python.

- `open` takes little longer than the built-in `open` with an opener that opens the file in the root. Three quarters
  of the time are spent on the file object and its buffer, as in pathlib. The rest is one openat(2), which no signal
  can interrupt, and one getpid(2), for the file's name.
- `walk` spends most of its time reading names, which takes pathlib just as long. Where directories have few names, what
  counts is that a directory is opened relative to the one above it and listed by its descriptor: these bare calls
  alone take 1.07 of the time that pathlib's one call takes.
- `copy` of a tree of symlinks that are followed: each of them is resolved in the root, not by the kernel.
- `unpack` of a zip archive takes about nine tenths of the time of `extractall`; the goal was 0.85. An entry of 800
  bytes, measured alone: zipfile takes 22 µs to read it, in both cases; the system calls that create, fill and close the
  file take 11 µs; permissions and time, which `extractall` does not set, take 3 µs; and verytmp's own code takes 14 µs.
  When the two are measured in turn, `unpack` takes 76 µs, and `extractall` 82 µs.
- Removal: when the last descriptor is closed, the kernel frees everything, file by file. No names are looked up.
- A root: the kernel makes a file system, and on unmounting waits for an RCU grace period, until no CPU can be using
  the mount. `TemporaryDirectory` makes one directory. With a factory's helper, two messages are exchanged besides.

"""
SWEPT = "\n## How costs grow\n\n"
# The last parts of the page, each of which is measured by a command of its own.
APART = {
    "cores": """
## Many cores

A hundred bytes written, read and so on, by several workers at once: each in a root of its own or in a directory of its
own in one root, next to directories of `/dev/shm`. A cell is the time of one operation, on average over all workers,
and in brackets how long verytmp takes for each second of `/dev/shm`'s. The last column shows whether verytmp loses
more by company than `/dev/shm` does: that it does not is 1. Threads of a Python with a global interpreter lock take
turns, in both.

""",
    "large": """
## Large and many

Whether anything gets slower, or is not given back, where there is much of it. What is slower in both columns is the
machine's: a virtual one may get its memory only as it is used.

""",
    "jobs": """
## What users do

Each job is measured from beginning to end: the directory is made, the programs run in it, and the directory is
removed. The root has a name. The figure in brackets is verytmp's time divided by the other's.

""",
}


def write(docs: Path, python: str, results: dict[str, Any]) -> None:
    known = measured(docs)
    known[python] = results
    known = dict(sorted(known.items(), key=lambda item: [int(part) for part in re.findall(r"\d+", item[0])]))
    (docs / "performance.json").write_text(json.dumps(rounded(known), indent=1) + "\n")
    render(docs, python)


def write_apart(docs: Path, name: str, python: str, table: str) -> None:
    """One of the last parts, as measured on one Python."""
    apart = measured_apart(docs)
    apart.setdefault(name, {})[python] = table
    (docs / "performance" / "apart.json").write_text(json.dumps(apart, indent=1, sort_keys=True) + "\n")
    render(docs, python)


def measured(docs: Path) -> dict[str, Any]:
    file = docs / "performance.json"
    return dict(json.loads(file.read_text())) if file.exists() else {}


def measured_apart(docs: Path) -> dict[str, dict[str, str]]:
    file = docs / "performance" / "apart.json"
    return dict(json.loads(file.read_text())) if file.exists() else {}


def render(docs: Path, python: str) -> None:
    """Write the page, of all that is known."""
    known, apart = measured(docs), measured_apart(docs)
    shown = "3.13" if "3.13" in known else python  # one Python is enough for the tables
    folder = docs / "performance"
    folder.mkdir(exist_ok=True)
    page = text(known, shown, folder) if known else ""
    for name, head in APART.items():
        page += head + "\n".join(apart.get(name, {"": "Not measured.\n"}).values())
    (docs / "performance.md").write_text(page)


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
    return f"{table}\nGoals whose figure is in bold are not reached.\n"


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
