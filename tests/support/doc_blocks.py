"""What pages show: their code blocks, and what is done with each language."""

from __future__ import annotations

import re
import textwrap
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parent.parent.parent
PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])
BLOCK = re.compile(r"^ *```(\w+)\n(.*?)^ *```\n(?:\n *```text\n(.*?)^ *```\n)?", re.DOTALL | re.MULTILINE)

# Commands that no test can run, and why; fnmatch's patterns. All others are run, in a fresh folder.
NOT_RUN = {
    "python3 -m pip install *": "it installs from the network; .ci/run runs README's in fresh environments",
    "python3 tests/unprivileged.py *": "it is this suite; .ci/run runs it",
    "python3 -m pytest --way shm": "it is this suite; .ci/run runs it",
    "python3 -m pytest --way clone *": "it is this suite",
    "python3 -m pytest --way ramfs *": "it is this suite",
    "python3 -m pytest tests/adversary *": "it takes hours; .ci/run runs the short form",
    "python3 tests/adversary/fuzz*.py *": "it takes hours, and needs atheris",
    "python3 tests/mutants.py": "it takes half an hour",
    "python3 tests/kernels *": "it boots kernels, for hours",
    "python3 tests/containers*": "it installs containers, and takes minutes",
    "python3 tests/real_archives.py *": "it needs archives, and takes minutes",
    "python3 tests/real_suites.py *": "it installs from the network",
    "python3 -m twine upload *": "it publishes",
    "python3 -m sphinx *": "it needs the documentation's packages; .ci/run runs it",
    "git *": "it changes the repository, and publishes it",
    "docker *": "there is no Docker where the tests run",
    "podman *": "there is no Podman where the tests run",
    "firejail *": "there is no firejail where the tests run",
    "sudo *": "it changes the machine",
    "echo * | *sudo *": "it changes the machine",
    ".ci/*": "it runs this suite",
    "nox *": "it runs this suite",
}


class Block(NamedTuple):
    page: Path
    number: int
    language: str
    code: str
    output: str | None  # the block of text right below it

    def __str__(self) -> str:
        return f"{self.page.relative_to(REPOSITORY)}-{self.number}".replace("/", "-")


def blocks(*languages: str) -> list[Block]:
    return [
        Block(page, number, match[1], textwrap.dedent(match[2]), match[3] and textwrap.dedent(match[3]))
        for page in PAGES
        for number, match in enumerate(BLOCK.finditer(page.read_text()))
        if match[1] in languages
    ]


def commands() -> list[tuple[Path, str]]:
    """The lines of all shell blocks, but for their comments."""
    return [
        (block.page, line.partition("  #")[0])
        for block in blocks("console", "sh", "bash", "shell")
        for line in block.code.replace("|\n", "|").splitlines()
    ]


def reason(command: str) -> str | None:
    """Why a command is not run; None if it is."""
    return next((why for pattern, why in NOT_RUN.items() if fnmatchcase(command, pattern)), None)


def agrees(shown: str, said: str) -> bool:
    """Whether a text is what is shown, in which ``…`` stands for anything, and lines are broken where they need be."""
    parts = (r"\s+".join(map(re.escape, part.split())) for part in shown.split("…"))
    return re.search(r"\s*.*\s*".join(parts), said, re.DOTALL) is not None
