"""Run published projects' own tests with pytest's tmp_path and with --verytmp, and compare all of them, test by test.

``python tests/real_suites.py [FOLDER [PROJECT...]]``: by hand and as root, for it takes hours and the network. It
makes an environment for each project in the folder (by default a temporary one), runs its tests as root and as an
ordinary user, in one process and in two, and writes the project's line of docs/real-suites.md. What it has found, it
leaves in the folder, and goes on from there next time. These suites are other people's programs: run it where they may
do as they like.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Any, NamedTuple

REPOSITORY = Path(__file__).parent.parent
PAGE = REPOSITORY / "docs" / "real-suites.md"
ORDINARY = REPOSITORY / "tests" / "unprivileged.py"
USER = 65534  # which that runs commands as
PATIENCE = 1800  # seconds for one suite, on a machine that has other work
FETCHING = 300  # seconds for packages to arrive: a connection may be left hanging
ATTEMPTS = 3
SHOWN = 10  # names of tests
FOUND = "found.json"  # in a project's folder: what each way has come to


class Project(NamedTuple):
    name: str
    version: str
    needs: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ("tests",)


PROJECTS = [
    Project("aiofiles", "25.1.0", ("pytest-asyncio",)),
    Project("black", "26.10.1", ("pytest<9", "parameterized", "aiohttp", "click")),
    Project(
        "build",
        "1.6.1",
        ("pytest-mock", "pytest-rerunfailures", "filelock", "setuptools", "setuptools-scm", "wheel", "virtualenv"),
        ("tests", "-m", "not network"),
    ),
    Project("click", "8.5.1"),
    Project("cookiecutter", "2.7.1", ("pytest-mock", "pytest-cov", "freezegun")),
    Project("dulwich", "1.2.21", ("setuptools", "paramiko", "merge3"), ("tests",)),
    Project("flit", "4.2.0", ("responses", "testpath")),
    Project("iniconfig", "2.3.1", (), ("testing",)),
    Project("installer", "1.1.0"),
    Project("isort", "9.0.2", ("black", "colorama", "hypothesis", "pytest-mock", "natsort", "toml"), ("tests/unit",)),
    Project("nox", "2026.10.20"),
    Project("path", "17.1.1", ("appdirs", "packaging", "more_itertools", "pygments")),
    Project(
        "poetry-core", "2.5.0", ("pytest-mock", "build", "setuptools", "tomli-w", "virtualenv", "trove-classifiers")
    ),
    Project("python-dotenv", "1.2.4", ("click", "sh")),
    Project("setuptools-scm", "10.3.4", ("build", "pytest-timeout", "rich", "setuptools", "wheel"), ("testing_scm",)),
    Project("sqlite-utils", "4.2.1", ("hypothesis", "click", "cogapp")),
    Project(
        "starlette",
        "1.10.0",
        (
            "httpx",
            "httpx2",
            "itsdangerous",
            "jinja2",
            "python-multipart",
            "pyyaml",
            "trio",
            "anyio",
            "opentelemetry-sdk",
        ),
    ),
    Project("tinydb", "4.9.0", ("PyYAML",)),
    Project(
        "virtualenv", "21.5.1", ("pytest-mock", "pytest-freezer", "flaky", "packaging", "setuptools", "time-machine")
    ),
    Project("watchdog", "7.1.0", ("pytest-timeout", "pytest-cov", "eventlet", "flaky", "PyYAML")),
    Project("wheel", "0.48.0", ("setuptools",)),
]

# Why a test ends otherwise, by how its name begins.
KNOWN = {"sqlite-utils: tests.test_cli_bulk::test_cli_bulk_batch_size": "gives another process a second"}

PLUGIN = """
def pytest_runtest_setup(item):
    item.user_properties.append(("nodeid", item.nodeid))
    if {"tmp_path", "tmp_path_factory", "tmpdir", "tmpdir_factory"} & set(getattr(item, "fixturenames", ())):
        item.user_properties.append(("tmp_path", "yes"))
"""

FIXED = ("-p", "uses_tmp_path", "-p", "no:cacheprovider", "-p", "no:randomly", "--tb=long")


class Outcome(NamedTuple):
    result: str
    text: str
    uses: bool
    nodeid: str


class Way(NamedTuple):
    """How a suite is run: a column of the table. Without the first option, for comparison."""

    title: str
    ordinary: bool
    options: tuple[str, ...]


WAYS = [
    Way("a user", True, ("--verytmp",)),
    Way("root", False, ("--verytmp",)),
    Way("a user, `-n 2`", True, ("--verytmp", "-n", "2")),
]


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
        # For ":all:", what it is built with would be built as well: Rust and all.
        source_only = ("--no-deps", f"--no-binary={project.name}")
        checked(*pip, "download", *source_only, f"{project.name}=={project.version}", folder=folder)
        [archive] = folder.glob("*.tar.gz")
        with tarfile.open(archive) as source:
            source.extractall(folder / "source", filter="data")
        [source_folder] = (folder / "source").iterdir()
        checked(*pip, "install", source_folder, "pytest", "pytest-xdist", *project.needs, folder=folder)
        ready.touch()
    checked(python, "-m", "pip", "-q", "install", "--force-reinstall", "--no-deps", REPOSITORY, folder=folder)
    checked(python, "-m", "pip", "-q", "install", "typing-extensions", folder=folder)
    (folder / "uses_tmp_path.py").write_text(PLUGIN)
    [source_folder] = (folder / "source").iterdir()
    return python, source_folder


def outcomes(python: Path, source: Path, project: Project, ordinary: bool, *options: str) -> dict[str, Outcome]:
    """Each test's outcome, in a copy of the source and a home of its own. One that is an error besides is that."""
    folder = source.parent.parent
    copy = folder / "run"
    if copy.exists():
        call("chmod", "-R", "u+rwX", copy, folder=folder)
        shutil.rmtree(copy)
    shutil.copytree(source, copy / source.name, symlinks=True)
    (copy / "home").mkdir()
    if ordinary:
        call("chown", "-R", f"{USER}:{USER}", copy, folder=folder)
    report = copy / "home" / "report.xml"
    environment = {
        **os.environ,
        "PATH": f"{python.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(folder),
        "VIRTUAL_ENV": str(folder / "venv"),
        "HOME": str(copy / "home"),
        "PYTHONHASHSEED": "0",  # or the two processes find sets of parameters in different orders
    }
    prefix = (sys.executable, ORDINARY) if ordinary else ()
    command = (*prefix, python, "-m", "pytest", *FIXED, f"--junitxml={report}", *options)
    result = call(*command, folder=copy / source.name, environment=environment)
    if not report.exists():
        raise RuntimeError(f"{project.name}: {result.stdout[-3000:]}{result.stderr[-3000:]}")
    found: dict[str, Outcome] = {}
    for case in ET.parse(report).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        problems = [child for child in case if child.tag in ("failure", "error", "skipped")]
        result_of = problems[-1].tag if problems else "passed"
        text = "\n".join(f"{child.get('message')}\n{child.text}" for child in problems)
        properties = {each.get("name"): each.get("value") for each in case.iterfind("properties/property")}
        found[name] = Outcome(result_of, text, "tmp_path" in properties, properties.get("nodeid") or "")
    return found


def different(plain: dict[str, Outcome], ours: dict[str, Outcome]) -> list[str]:
    return [name for name in plain | ours if result_of(plain, name) != result_of(ours, name)]


def unsteady(
    python: Path, source: Path, project: Project, way: Way, names: list[str], plain: dict[str, Outcome]
) -> set[str]:
    """Those tests that, run by themselves, end as they do without the plugin; or, without it, otherwise than before."""
    nodes = [plain[name].nodeid for name in names if name in plain and plain[name].nodeid]
    if not nodes:
        return set()
    steady: set[str] = set()
    again = outcomes(python, source, project, way.ordinary, *nodes)
    ours = outcomes(python, source, project, way.ordinary, way.options[0], *nodes)
    for name in names:
        if result_of(again, name) != result_of(plain, name) or result_of(ours, name) == result_of(again, name):
            steady.add(name)
    return steady


def cell(python: Path, source: Path, project: Project, way: Way, plain: dict[str, Outcome]) -> tuple[str, int]:
    """What the table says of one way, and how many differences nobody has explained."""
    ours = outcomes(python, source, project, way.ordinary, *way.options, *project.arguments)
    names = different(plain, ours)
    if not names:
        return "0", 0
    loose = unsteady(python, source, project, way, names, plain)
    why: Counter[str] = Counter()
    unexplained = 0
    for name in set(names) - loose:
        known = [words for begin, words in KNOWN.items() if f"{project.name}: {name}".startswith(begin)]
        why[known[0] if known else "?"] += 1
        if not known:
            unexplained += 1
            text = ours[name].text[-2500:] if name in ours else "missing"
            print(f"--- {project.name}, {way.title}: {name}: {result_of(plain, name)}, then {result_of(ours, name)}")
            print(text, flush=True)
    text = str(sum(why.values()))
    notes = [f"{number}: {words}" for words, number in why.most_common()]
    if loose:
        notes.append(f"{len(loose)} unsteady")
        some = ", ".join(sorted(loose)[:SHOWN])
        print(f"--- {project.name}, {way.title}: {len(loose)} unsteady: {some}", flush=True)
    return f"{text} ({'; '.join(notes)})" if notes else text, unexplained


@contextlib.contextmanager
def alone(folder: Path) -> Generator[None]:
    """Refuse to work where another command does: each would remove what the other one's tests are running in."""
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(f"another command is at work in {folder}") from None
        yield


def row(project: Project, folder: Path) -> tuple[str, int]:
    """The project's line of the table, which is written way by way, and how many differences nobody has explained."""
    store = folder / FOUND
    found: dict[str, Any] = json.loads(store.read_text()) if store.exists() else {}
    missing = [way for way in WAYS if way.title not in found]
    line = written(project, found)
    python, source = prepared(project, folder) if missing else (folder, folder)
    for way in missing:
        plain = outcomes(python, source, project, way.ordinary, *way.options[1:], *project.arguments)
        failed = sum(outcome.result in ("failure", "error") for outcome in plain.values())
        if failed == len(plain):  # a module is missing, and nothing was collected
            raise RuntimeError("without the plugin, no test passes")
        uses = sum(outcome.uses for outcome in plain.values())
        found[way.title] = [*cell(python, source, project, way, plain), len(plain), uses, failed]
        store.write_text(json.dumps(found))
        line = written(project, found)
    return line, sum(found[way.title][1] for way in WAYS)


def written(project: Project, found: dict[str, Any]) -> str:
    """The project's line of the page's table, in the place of the one that it had: what is not found stays."""
    above, head, below = re.split(r"(\|---.*\n)", PAGE.read_text(), maxsplit=1)
    table, below = re.fullmatch(r"((?:\|[^\n]*\n)*)(.*)", below, re.DOTALL).groups()  # type: ignore[union-attr]
    lines = {each.split()[1]: each for each in table.splitlines()}
    before = lines.get(project.name, "").split(" | ")[5:]  # may be empty
    old = dict(zip([way.title for way in WAYS], [text.removesuffix(" |") for text in before], strict=False))
    if found:
        counts = found[next(iter(found))][2:]
        cells = [found[way.title][0] if way.title in found else old.get(way.title, "not run") for way in WAYS]
        lines[project.name] = "| " + " | ".join(map(str, (project.name, project.version, *counts, *cells))) + " |"
        PAGE.write_text(above + head + "".join(f"{lines[name]}\n" for name in sorted(lines)) + below)
    return lines.get(project.name, "")


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0] if arguments else tempfile.mkdtemp(prefix="verytmp-real-suites-")).absolute()
    folder.mkdir(exist_ok=True)
    chosen = [project for project in PROJECTS if not arguments[1:] or project.name in arguments[1:]]
    unexplained = 0
    for project in chosen:
        try:
            with alone(folder / project.name):
                line, number = row(project, folder / project.name)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            print(f"--- {project.name}: {error}", flush=True)
            unexplained += 1
            continue
        unexplained += number
        print(line, flush=True)
    return 1 if unexplained else 0


def result_of(found: dict[str, Outcome], name: str) -> str:
    return found[name].result if name in found else "missing"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
