"""Run published projects' own tests with pytest's tmp_path and with --verytmp, and compare them test by test.

``python tests/real_suites.py [FOLDER [PROJECT...]]``: by hand, for it takes half an hour and the network. It makes an
environment for each project in the folder (by default a temporary one), and writes docs/real-suites.md when it has run
all of them. These suites are other people's programs: run it where they may do as they like.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parent.parent
PAGE = REPOSITORY / "docs" / "real-suites.md"
PATIENCE = 1800  # seconds for one suite, on a machine that has other work
FETCHING = 300  # seconds for packages to arrive: a connection may be left hanging
ATTEMPTS = 3


class Project(NamedTuple):
    name: str
    version: str
    needs: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ("tests",)


PROJECTS = [
    Project("aiofiles", "25.1.0", ("pytest-asyncio",)),
    Project(
        "build",
        "1.6.1",
        ("pytest-mock", "pytest-rerunfailures", "filelock", "setuptools", "setuptools-scm", "wheel", "virtualenv"),
        ("tests", "-m", "not network"),
    ),
    Project("cookiecutter", "2.7.1", ("pytest-mock", "pytest-cov", "freezegun")),
    Project("flit", "4.2.0", ("responses", "testpath")),
    Project("iniconfig", "2.3.1", (), ("testing",)),
    Project("installer", "1.1.0"),
    Project("nox", "2026.10.20"),
    Project("python-dotenv", "1.2.4", ("click", "sh")),
    Project("tinydb", "4.9.0", ("PyYAML",)),
    Project("wheel", "0.48.0", ("setuptools",)),
]

# Where a test ends otherwise than with pytest's tmp_path, the suite is run again with plain paths to a root: with these
# there is nothing of VeryTmpPath and of the plugin. A test that ends as it does with --verytmp is about the place then.
PLACE = "needs a working directory with a name, or a canonical path"
LINKS = "has other code follow a symlink"

# What is VeryTmpPath's own doing, by how the test's name begins.
DECIDED = {
    "nox: tests.test_sessions.TestSession::test_chdir": "`samefile` reads a string from the root on",
    "cookiecutter: tests.vcs.test_clone::test_clone_should_": "`pathlib.Path(path)` is plain, and does not equal it",
}

PLUGIN = """
import os, pathlib, re
import pytest

options = os.environ.get("VERYTMP_CONTROL")

def pytest_runtest_setup(item):
    if {"tmp_path", "tmp_path_factory", "tmpdir", "tmpdir_factory"} & set(getattr(item, "fixturenames", ())):
        item.user_properties.append(("tmp_path", "yes"))

if options:
    import verytmp

    @pytest.fixture
    def tmp_path(request):
        with verytmp.VeryTmpRoot(nosymfollow=options == "nosymfollow") as root:
            path = pathlib.Path(os.fspath(root), re.sub(r"\\W", "_", request.node.name)[:30] + "0")
            path.mkdir()
            yield path

    @pytest.fixture(scope="session")
    def tmp_path_factory(tmp_path_factory):
        with verytmp.VeryTmpRoot(nosymfollow=options == "nosymfollow") as root:
            numbers = iter(range(1_000_000))

            def mktemp(basename, numbered=True):
                path = pathlib.Path(os.fspath(root), f"{basename}{next(numbers)}" if numbered else basename)
                path.mkdir()
                return path

            tmp_path_factory.mktemp = mktemp
            yield tmp_path_factory
"""


class Outcome(NamedTuple):
    result: str
    text: str
    uses: bool


def call(
    *command: str | Path, folder: Path, environment: dict[str, str] | None = None, patience: float = PATIENCE
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=patience, stdin=subprocess.DEVNULL
    )


def checked(*command: str | Path, folder: Path) -> None:
    """What needs the network is tried again."""
    said = ""
    for _ in range(ATTEMPTS):
        try:
            result = call(*command, folder=folder, patience=FETCHING)
        except subprocess.TimeoutExpired as error:
            said = str(error)
        else:
            if not result.returncode:
                return
            said = f"{result.stdout[-2000:]}{result.stderr[-2000:]}"
    raise RuntimeError(f"{command}: {said}")


def prepared(project: Project, folder: Path) -> tuple[Path, Path]:
    """The Python of the project's environment, and the folder of its source."""
    python, ready = folder / "venv" / "bin" / "python", folder / "ready"
    if not ready.exists():  # one that was broken off is made anew
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        checked(sys.executable, "-m", "venv", folder / "venv", folder=folder)
        pip = (python, "-m", "pip", "-q")
        # The source has the tests, and what it installs is what they test.
        checked(*pip, "download", "--no-deps", "--no-binary=:all:", f"{project.name}=={project.version}", folder=folder)
        [archive] = folder.glob("*.tar.gz")
        with tarfile.open(archive) as source:
            source.extractall(folder / "source", filter="data")
        [source_folder] = (folder / "source").iterdir()
        checked(*pip, "install", source_folder, "pytest", *project.needs, folder=folder)
        ready.touch()
    checked(python, "-m", "pip", "-q", "install", "--force-reinstall", "--no-deps", REPOSITORY, folder=folder)
    checked(python, "-m", "pip", "-q", "install", "typing-extensions", folder=folder)
    (folder / "uses_tmp_path.py").write_text(PLUGIN)
    [source_folder] = (folder / "source").iterdir()
    return python, source_folder


def outcomes(python: Path, source: Path, project: Project, *options: str, control: str = "") -> dict[str, Outcome]:
    """Each test's outcome. One that is an error besides is that."""
    folder = source.parent.parent
    report = folder / "report.xml"
    report.unlink(missing_ok=True)
    environment = {
        **os.environ,
        "PATH": f"{python.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(folder),
        "VIRTUAL_ENV": str(folder / "venv"),
        "VERYTMP_CONTROL": control,
    }
    fixed = ("-p", "uses_tmp_path", "-p", "no:cacheprovider", "-p", "no:randomly", f"--junitxml={report}", "--tb=long")
    result = call(python, "-m", "pytest", *fixed, *options, *project.arguments, folder=source, environment=environment)
    if not report.exists():
        raise RuntimeError(f"{project.name}: {result.stdout[-3000:]}{result.stderr[-3000:]}")
    found: dict[str, Outcome] = {}
    for case in ET.parse(report).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        problems = [child for child in case if child.tag in ("failure", "error", "skipped")]
        result_of = problems[-1].tag if problems else "passed"
        text = "\n".join(f"{child.get('message')}\n{child.text}" for child in problems)
        found[name] = Outcome(result_of, text, case.find("properties/property[@name='tmp_path']") is not None)
    return found


def explained(
    python: Path, source: Path, project: Project, plain: dict[str, Outcome], ours: dict[str, Outcome]
) -> dict[str, str]:
    """The tests that end otherwise, and why; "?" where nobody knows."""
    different = [name for name in plain | ours if result_of(plain, name) != result_of(ours, name)]
    if not different:
        return {}
    there = outcomes(python, source, project, control="nosymfollow")
    linked = outcomes(python, source, project, control="symfollow")
    why: dict[str, str] = {}
    for name in different:
        if result_of(there, name) != result_of(plain, name):
            why[name] = LINKS if result_of(linked, name) == result_of(plain, name) else PLACE
        else:
            known = [words for begin, words in DECIDED.items() if f"{project.name}: {name}".startswith(begin)]
            why[name] = known[0] if known else "?"
    return why


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0] if arguments else tempfile.mkdtemp(prefix="verytmp-real-suites-")).absolute()
    folder.mkdir(exist_ok=True)
    chosen = [project for project in PROJECTS if not arguments[1:] or project.name in arguments[1:]]
    rows: list[str] = []
    unexplained = failing = 0
    for project in chosen:
        try:
            python, source = prepared(project, folder / project.name)
            plain = outcomes(python, source, project)
            ours = outcomes(python, source, project, "--verytmp")
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            print(f"--- {project.name}: {error}")
            unexplained += 1
            continue
        why = explained(python, source, project, plain, ours)
        for name, words in why.items():
            if words == "?":
                unexplained += 1
                text = ours[name].text[-2500:] if name in ours else "missing"
                print(f"--- {project.name}: {name}: {result_of(plain, name)}, then {result_of(ours, name)}\n{text}")
        uses = sum(outcome.uses for outcome in plain.values())
        failed = sum(outcome.result in ("failure", "error") for outcome in plain.values())
        reasons = "; ".join(f"{number}: {words}" for words, number in Counter(why.values()).most_common())
        cells = (project.name, project.version, len(plain), uses, len(plain) - len(why), len(why), reasons)
        rows.append("| " + " | ".join(map(str, cells)) + " |")
        failing += failed
        print(rows[-1], f"({failed} fail either way)" if failed else "", flush=True)
    if len(rows) == len(PROJECTS):
        text = PAGE.read_text()
        start, end = text.index("|---"), text.index("\n\n", text.index("|---"))
        start = text.index("\n", start) + 1
        text = text[:start] + "\n".join(rows) + text[end:]
        PAGE.write_text(re.sub(r"\d+ tests\nin all", f"{failing} tests\nin all", text))
    return 1 if unexplained else 0


def result_of(found: dict[str, Outcome], name: str) -> str:
    return found[name].result if name in found else "missing"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
