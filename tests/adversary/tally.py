"""Run the attacks, and write what they came to: ``python tests/adversary/tally.py [OPTIONS OF PYTEST...]``.

The page is left as it is if one of them succeeds.
"""

from __future__ import annotations

import ast
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "docs" / "adversaries.md"
HEAD = """# What was attacked

Each row is a file of `tests/adversary`, run by CI in a short form; this is what one run came to. A test that saw
anything of the host, lost a byte that was written, or left a descriptor, process, mount or file behind, would have
failed, and there would be no page. `python tests/adversary/tally.py` makes it.

On {system}, Python {python}, as {user}{options}.

| attack | tests | counted | escapes | leaks | data lost |
|---|---|---|---|---|---|
"""


def main(options: list[str]) -> int:
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [sys.executable, "-m", "pytest", str(HERE), "-q", "-p", "no:cacheprovider", "--tally", file.name]
        if status := subprocess.run([*command, *options]).returncode:
            return status
        tally: dict[str, dict[str, int]] = json.load(file)
    rows = [row(name, counts) for name, counts in sorted(tally.items())]
    head = HEAD.format(
        system=f"{platform.system()} {platform.release().partition('-')[0]}",
        python=platform.python_version(),
        user="an ordinary user" if os.geteuid() else "root",
        options=f", with `{' '.join(options)}`" if options else "",
    )
    PAGE.write_text(head + "".join(rows))
    return 0


def row(name: str, counts: dict[str, int]) -> str:
    words = (ast.get_docstring(ast.parse((HERE / f"{name}.py").read_text())) or "").splitlines()[0].rstrip(".")
    counted = ", ".join(f"{count:,} {what}" for what, count in counts.items() if what != "tests")
    return f"| {words} | {counts['tests']:,} | {counted or '-'} | 0 | 0 | 0 |\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
