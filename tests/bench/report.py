"""Results as tables of text, and what they come to beside the goals."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from bench.cases import CASES
from bench.grounds import OURS, PATHLIB


def duration(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def rows(table: dict[str, Any], grounds: list[str]) -> list[list[str]]:
    """A row for each case: our time and spread, and for the others their time and the ratio of ours to it."""
    found = []
    for name, results in table.items():
        ours = results[OURS]
        row = [name, f"{duration(ours['median'])} ±{ours['spread'] / 2:.0%}"]
        for ground in grounds:
            other = results.get(ground)
            row.append(f"{duration(other['median'])} ({other['ratio']:.2f})" if other else "")
        found.append(row)
    return found


def columns(table: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(ground for results in table.values() for ground in results if ground != OURS))


class Goal(NamedTuple):
    name: str
    limit: float
    measured: float | None
    unit: str = ""

    def text(self) -> list[str]:
        form = duration if self.unit == "s" else "{:.2f}".format
        if self.measured is None:
            return [self.name, f"≤ {form(self.limit)}", "not measured", ""]
        return [
            self.name,
            f"≤ {form(self.limit)}",
            form(self.measured),
            "yes" if self.measured <= self.limit else "**no**",
        ]


def ratios(results: dict[str, Any]) -> dict[str, float]:
    counted = {case.name for case in CASES if case.goal}
    return {name: row[PATHLIB]["ratio"] for name, row in results["single"].items() if name in counted}


def goals(results: dict[str, Any]) -> list[Goal]:
    """What was set out to be reached, and what was."""
    single = ratios(results)
    worst = max(single, key=lambda name: single[name]) if single else ""

    def at(group: str, name: str, ground: str = PATHLIB, what: str = "ratio") -> float | None:
        value = results[group].get(name, {}).get(ground, {}).get(what)
        return None if value is None else float(value)

    heap = [times["by a factory"] for _, times in results["sweeps"].get("a root, by the caller's memory", [])]
    links = {step: times[OURS] for step, times in results["sweeps"].get("stat, by symlinks", [])}
    size = results.get("path bytes")
    shm = "TemporaryDirectory, /dev/shm"

    def worst_shape(operation: str) -> float | None:
        shapes = results.get("shapes", {})
        return max((row[PATHLIB]["ratio"] for name, row in shapes.items() if name.startswith(operation)), default=None)

    return [
        Goal("mean of the single operations", 0.6, mean(list(single.values())) if single else None),
        Goal(f"the worst of them{f' ({worst})' if worst else ''}", 1.0, single.get(worst)),
        Goal("rglob of 10,000 files", 0.5, at("trees", "rglob('*') of 10,000 files")),
        Goal("walk of 10,000 files", 0.85, at("trees", "walk of 10,000 files")),
        Goal("walk, of the worst shape", 0.85, worst_shape("walk")),
        Goal("copy of 10,000 files", 0.5, at("trees", "copy of 10,000 files")),
        Goal("publish of 10,000 files", 0.7, at("trees", "publish of 10,000 files, beside copytree")),
        Goal("unpack of a tar archive", 0.85, at("trees", "unpack of 10,000 files (tar), beside extractall")),
        Goal("unpack of a zip archive", 0.85, at("trees", "unpack of 10,000 files (zip), beside extractall")),
        Goal("removal of 10,000 files", 0.2, at("trees", "removal of 10,000 files")),
        Goal("a symlink among nine names, against none", 6, links[1] / links[0] if links else None),
        Goal("a root by a factory's helper", 50e-6, at("roots", "a root, by a factory's helper", OURS, "median"), "s"),
        Goal("the same with 4 GiB of memory, against none", 1.5, max(heap) / heap[0] if heap else None),
        Goal("a root, directly, against TemporaryDirectory", 1.5, at("roots", "a root, directly", shm)),
        Goal("a root by a child, one thread", 4e-3, at("roots", "a root, by a child: one thread", OURS, "median"), "s"),
        Goal(
            "a root by a child, two threads", 30e-3, at("roots", "a root, by a child: two threads", OURS, "median"), "s"
        ),
        Goal("import, whole process", 1.1, at("import", "import")),
        Goal("bytes of a path", 1.0, size[OURS] / size[PATHLIB] if size else None),
    ]


def mean(values: list[float]) -> float:
    """The geometric one."""
    return math.exp(sum(map(math.log, values)) / len(values))


def aligned(head: list[str], body: list[list[str]]) -> str:
    widths = [max(len(row[at]) for row in [head, *body]) for at in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [head, *body]
    )


def tell(results: dict[str, Any]) -> None:
    for group in ("single", "trees", "shapes", "roots", "import", "published", "limits"):
        table = results[group]
        if table:
            grounds = columns(table)
            print(f"\n{group}\n{aligned(['', OURS, *grounds], rows(table, grounds))}")
    for name, steps in results["sweeps"].items():
        names = list(steps[0][1])
        body = [[f"{step:g}", *(duration(times[ground]) for ground in names)] for step, times in steps]
        print(f"\n{name}\n{aligned(['', *names], body)}")
    if "path bytes" in results:
        print("\nbytes of a path: " + ", ".join(f"{name} {size:.0f}" for name, size in results["path bytes"].items()))
    print("\n" + aligned(["goals", "", "", ""], [goal.text() for goal in goals(results) if goal.measured is not None]))
    for line in results["missing"]:
        print(f"not measured: {line}")
