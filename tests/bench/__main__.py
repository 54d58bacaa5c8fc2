"""Measure, print tables, and write the numbers, the charts and the page that shows them: ``python tests/bench``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import machine, page, report, run

DOCS = Path(__file__).parents[2] / "docs"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python tests/bench", description=__doc__)
    parser.add_argument(
        "--only", default="", help="measure cases and sweeps whose names contain this, and write nothing"
    )
    parser.add_argument("--rounds", type=int, default=9, help="how often each is measured (at least 7 for the page)")
    parser.add_argument("--output", type=Path, default=DOCS, help="the folder to write to: docs/")
    arguments = parser.parse_args()
    results = run.everything(arguments.only, arguments.rounds)
    report.tell(results)
    if not arguments.only:
        page.write(arguments.output, machine.python(), {"machine": machine.described(), **results})


if __name__ == "__main__":
    main()
