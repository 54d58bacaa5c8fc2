"""Write those parts of README and docs/ that are made of something else: ``python tests/pages.py``.

A part lies between ``<!-- name: made by tests/pages.py -->`` and ``<!-- end of name -->``. `tests/test_docs.py` asks
that it is as this would write it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.report import duration
from support import steps
from test_imports import FACE, MAY_IMPORT, package

from verytmp._cli import doctor

REPOSITORY = Path(__file__).parent.parent
MEASURED = REPOSITORY / "docs" / "performance.json"  # tests/bench writes it
PYTHON = "3.13"  # one is enough for README

# What README tells of what was measured: in which table, by which names there, and what it is to be called.
OPERATIONS = (
    ("single", "stat", "`stat`"),
    ("single", "read_text", "`read_text` of a small file"),
    ("trees", "rglob('*') of 10,000 files", "`rglob` over 10,000 files"),
    ("roots", "a root, by a factory's helper", "a root, made by a factory"),
    ("roots", "a root, by a child: one thread", "a root, made by a child of its own"),
)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def features() -> str:
    """What the doctor asks the kernel for."""
    return table(
        ("feature", "Linux", "used for", "what stands in for it"),
        [
            (f"`{name}`" if " " not in name else name, linux, why, instead or "nothing")
            for name, (linux, why, instead) in doctor.FEATURES.items()
        ],
    )


def figures() -> str:
    """Some of what was measured; nothing, where nothing was."""
    if not MEASURED.exists():
        return ""
    measured = json.loads(MEASURED.read_text())
    results = measured.get(PYTHON) or next(iter(measured.values()))
    rows = []
    for group, name, shown in OPERATIONS:
        found = results[group].get(name, {})
        twin = next((twin for twin in found if twin != "verytmp"), None)
        if twin:
            beside = "`pathlib`" if twin == "pathlib" else f"`{twin.partition(',')[0]}`"
            rows.append((shown, duration(found["verytmp"]["median"]), f"{duration(found[twin]['median'])}, {beside}"))
    head = ("", "verytmp", "on /dev/shm")
    machine = results["machine"]
    return (
        f"{table(head, rows)}\n{machine['python']}, {machine['kernel']}, {machine['processor']}. `python3 tests/bench` "
        "measures these, and [much more](docs/performance.md).\n"
    )


def packages() -> str:
    """The packages and the modules beside them, each above all that it may import."""
    below = {name: {package(each) for each in allowed} - {name} for name, allowed in MAY_IMPORT.items()}
    for name in (*below[FACE], "errors"):
        below[name] = below[name] - {FACE}  # the public names are imported when they are first used
    floors: list[list[str]] = []
    while left := [name for name in below if not any(name in floor for floor in floors)]:
        done = {name for floor in floors for name in floor}
        floors.append([name for name in left if below[name] <= done])
        if not floors[-1]:
            raise ValueError(f"there is a cycle among {left}")
    lines = []
    for floor in reversed(floors):
        for name in sorted(floor):
            imported = sorted(MAY_IMPORT[name]) or ["the standard library alone"]
            lines.append(f"{name:<14} -> {', '.join('public names' if each == FACE else each for each in imported)}\n")
        lines.append("\n")
    return f"```text\n{''.join(lines).rstrip()}\n```\n".replace(f"{FACE:<14}", "public names  ")


PARTS: dict[tuple[str, str], Callable[[], str]] = {
    ("README.md", "figures"): figures,
    ("CONTRIBUTING.md", "packages"): packages,
    ("docs/kernel-features.md", "features"): features,
    ("docs/why-nothing-escapes.md", "steps"): steps.drawn,
}


def written() -> Iterator[tuple[Path, str]]:
    """Each page with its parts as they should be."""
    for (page, name), make in PARTS.items():
        path = REPOSITORY / page
        text = path.read_text()
        begin, end = f"<!-- {name}: made by tests/pages.py -->\n", f"<!-- end of {name} -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ValueError(f"{page} has no place for {name}")
        part = make()
        yield path, text.partition(begin)[0] + begin + (f"\n{part}\n" if part else "") + end + text.partition(end)[2]


def main() -> None:
    for path, text in written():
        if path.read_text() != text:
            path.write_text(text)
            print(path)


if __name__ == "__main__":
    main()
