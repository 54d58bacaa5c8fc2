"""The rows that have been found so far, each by what it is of: a run is of some places, and the table of all."""

from __future__ import annotations

import json

from support.debian import KEPT

FILE = KEPT / "rows.json"
KEY = 2  # cells: the place, and the user


def stored(rows: list[list[str]], names: list[str]) -> list[list[str]]:
    """Keep these too, and return all that are kept, in the order of the names."""
    kept: list[list[str]] = json.loads(FILE.read_text()) if FILE.exists() else []
    found = {tuple(row[:KEY]): row for row in [*kept, *rows]}
    ordered = sorted((row for row in found.values() if row[0] in names), key=lambda row: (names.index(row[0]), row[1]))
    FILE.write_text(json.dumps(ordered))
    return ordered
