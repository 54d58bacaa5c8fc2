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
from support.compatibility import page  # noqa: E402
from support.programs import ROWS  # noqa: E402

from verytmp import VeryTmpRoot  # noqa: E402


def main() -> int:
    wrong = []
    with canary.planted() as bird:
        os.chdir(bird.cwd)
        os.environ["HOME"] = str(bird.home)
        for name, row in ROWS.items():
            missing = row.missing()
            with VeryTmpRoot() as root:
                outcome = f"{missing} is not installed" if missing else row.measured(root)
                bird.look(root.fileno())
            print(f"{name}: {outcome}")
            if not missing and outcome != row.expected():
                wrong.append(name)
            bird.check()
    if wrong:
        print(f"{PAGE.name} is left as it is: the table says otherwise of {', '.join(wrong)}")
        return 1
    PAGE.write_text(page(ROWS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
