"""Run the rows of docs/compatibility.md, and make the page: ``python tests/adversary/report.py``.

It stays as it is if a row is not as the table says. What is not installed is told.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

TESTS = Path(__file__).parent.parent
PAGE = TESTS.parent / "docs" / "compatibility.md"

sys.path.insert(0, str(TESTS))

from support import canary  # noqa: E402
from support.compatibility import NOT_ASKED, after_enter, in_a_program, page  # noqa: E402
from support.programs import ROWS  # noqa: E402

from verytmp import VeryTmpRoot  # noqa: E402


def main() -> int:
    wrong = []
    with canary.planted() as bird:
        os.chdir(bird.cwd)
        os.environ["HOME"] = str(bird.home)
        for name, row in ROWS.items():
            if missing := row.missing():
                print(f"{name}: {missing} is not installed")
                continue
            with VeryTmpRoot() as root:
                outcome = row.measured(root)
                bird.look(root.fileno())
            by_name = (NOT_ASKED if NOT_ASKED in row.by_name else in_a_program(name), after_enter(row))
            print(f"{name}: {outcome}, {', '.join(by_name)}")
            if (outcome, by_name) != (row.expected(), row.by_name):
                wrong.append(name)
    if wrong:
        print(f"{PAGE.name} is left as it is: the table says otherwise of {', '.join(wrong)}")
        return 1
    PAGE.write_text(page(ROWS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
