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

Each row is a file in `tests/adversary`; CI runs a short form of it, and these are the results of one run. A test fails
if anything of the host is reached, a written byte is lost, or a descriptor, process, mount or file is left behind; then
this page is not written. `python tests/adversary/tally.py` generates it.

On {system}, Python {python}, as {user}{options}.

| attack | tests | counted | escapes | leaks | data lost |
|---|---|---|---|---|---|
"""
# Kept by hand: what takes hours. Whoever runs one of these again writes the figures here.
LONG = """
## The long forms

On the same Linux and Python, as root:

- `pytest tests/adversary/test_storm.py -k long_life -s --endurance 3600`. In an hour, one process made 277,000 roots,
  directly, through forked children, new interpreters and one helper process, and filled, raced and closed them. At each
  of eleven checks it had 12 descriptors and no child, and its helper 5 descriptors and 10.9 MB; its memory was 33.6 MB
  at the first and 33.8 MB at the last. It was allowed 500 user and 500 mount namespaces at a time. (There was one false
  alarm: another program had put its cache into the host's root directory. Such names are now ignored.)
- `pytest tests/adversary/test_storm.py -k killed --way shm --kills 500`. 1,000 processes were killed while they
  made and used fallback roots; the next root removed everything that they had left in /dev/shm.
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
    PAGE.write_text(head + "".join(rows) + LONG)
    return 0


def row(name: str, counts: dict[str, int]) -> str:
    words = (ast.get_docstring(ast.parse(next(HERE.rglob(f"{name}.py")).read_text())) or "").splitlines()[0].rstrip(".")
    counted = ", ".join(f"{count:,} {what}" for what, count in counts.items() if what != "tests")
    return f"| {words} | {counts['tests']:,} | {counted or '-'} | 0 | 0 | 0 |\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
