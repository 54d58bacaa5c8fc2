"""All measurements, in the form in which they are kept."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

from support.children import in_child

from bench import creation, limits, shapes, trees
from bench.cases import CASES, Case
from bench.grounds import OURS, grounds, pyfakefs
from bench.measure import Result, compared
from bench.sweeps import SWEEPS

Results = dict[str, Any]


def everything(only: str, rounds: int) -> Results:
    missing: list[str] = []
    results: Results = {
        "rounds": rounds,
        "single": table(single(only, rounds, missing)),
        "trees": table(chosen(only, "trees", trees.trees, rounds)),
        "shapes": table(chosen(only, "shapes", shapes.shapes, rounds)),
        "roots": table(chosen(only, "roots", creation.roots, rounds)),
        "import": table(chosen(only, "import", creation.imports, rounds)),
        "published": table(chosen(only, "published", trees.published, rounds)),
        "limits": table(chosen(only, "limits", limits.limits, rounds)),
        "sweeps": {},
        "missing": missing,
    }
    if not only or only in "bytes of a path":
        results["path bytes"] = creation.path_bytes()
    for sweep in SWEEPS:
        if only in sweep.name:
            say(sweep.name)
            results["sweeps"][sweep.name] = [[step, times] for step, times in sweep.steps(rounds)]
    return results


def single(only: str, rounds: int, missing: list[str]) -> Iterator[tuple[str, dict[str, Result]]]:
    cases = [case for case in CASES if only in case.name]
    if not cases:
        return
    try:
        apart: dict[str, Result] = in_child(measured_apart, cases, rounds)
    except ImportError as error:
        apart = {}
        missing.append(f"pyfakefs: {error}")
    with grounds(missing) as found:
        for case in cases:
            say(case.name)
            calls = {}
            for ground in found:
                call = getattr(case, ground.column)
                if call is not None:
                    calls[ground.name] = partial(call, ground.things)
            results = compared(calls, rounds)
            if case.name in apart:
                results["pyfakefs"] = against(results[OURS], apart[case.name])
            yield case.name, results


def measured_apart(cases: list[Case], rounds: int) -> dict[str, Result]:
    with pyfakefs() as ground:
        return {case.name: compared({"": partial(case.path, ground.things)}, rounds)[""] for case in cases}


def against(ours: Result, other: Result) -> Result:
    """What was not measured in turn has no better ratio than the medians'."""
    return other._replace(ratio=ours.median / other.median)


def chosen(only: str, name: str, measure: Any, rounds: int) -> Iterator[tuple[str, dict[str, Result]]]:
    if only in name:
        say(name)
        yield from measure(rounds)


def table(rows: Iterator[tuple[str, dict[str, Result]]]) -> dict[str, dict[str, dict[str, float]]]:
    return {name: {ground: result._asdict() for ground, result in results.items()} for name, results in rows}


def say(what: str) -> None:
    print(f"measuring {what} ...", file=sys.stderr, flush=True)
