"""All that is asked of a change, each in an environment of its own: `nox --list`. `.ci/run` runs it in two lanes."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path

import nox

PROJECT = nox.project.load_toml("pyproject.toml")
# It names free-threaded ones too.
PYTHONS = [version for version in nox.project.python_versions(PROJECT) if version[-1] != "t"]
# The newest that machines have: those after it are tried by `.ci/newer` where they are not here.
OLDEST, NEWEST = PYTHONS[0], "3.13"
ROOT = os.geteuid() == 0
# Nobody else has this /tmp and /dev/shm (`.ci/run` sees to it): whatever is new there after a suite is its doing.
ALONE = ["--alone"] if "APART" in os.environ else []

nox.needs_version = ">=2024.10"
nox.options.default_venv_backend = "venv"  # whose pip is the one that README's commands meet
nox.options.sessions = ["readme", "suite", "fallback", "lint", "types", "wheel", "documentation", "oldest_pytest"]

# How a root is made, and ends: the rest of the suite meets descriptors alone, whichever way they came.
MAKING = [
    f"tests/test_{name}.py" for name in ("confinement", "diagnose", "doctor", "helper", "main", "mount", "options")
]
MAKING += [f"tests/test_{name}.py" for name in ("imports", "root", "shm", "strings", "tree", "unavailable", "wire")]
# What a path promises, and the attacks.
PATHS = ["tests/files", "tests/searching", *(f"tests/test_{name}.py" for name in ("resolve", "confinement", "oracle"))]
PATHS += [f"tests/adversary/test_{name}.py" for name in ("archives", "attacks", "programs", "resolution")]
PATHS += ["tests/adversary/test_process_states.py", "tests/adversary/test_storm.py"]


KINDS = ["tests/files", "tests/searching", "tests/copying", "tests/interop"]
KINDS += [f"tests/test_{name}.py" for name in ("resolve", "confinement", "oracle")]
KINDS += [f"tests/adversary/test_{name}.py" for name in ("attacks", "races")]


# What knows Python's version.
VERSIONED = ["tests/files", "tests/searching", "tests/copying"]
VERSIONED += [f"tests/test_{name}.py" for name in ("path_pure", "cpython", "surface", "oracle", "strings", "typing")]
VERSIONED += [f"tests/test_{name}.py" for name in ("root", "helper", "named", "programs", "enter", "clone", "freeze")]


def chosen(python: str, way: str) -> list[str]:
    """All of it runs once each way: directly on the oldest Python, with what is slow, and by the helper on the newest.
    There, the other way's part is what makes roots, with what is slow and real programs, and the type checkers, which
    are asked once. Other Pythons run what knows their version."""
    if python == OLDEST and way == "direct":
        return ["-m", "", "--ignore=tests/test_typing.py"]
    if python == NEWEST and way == "helper":
        return ["--ignore=tests/test_typing.py"]
    if python == NEWEST:
        return ["-m", "", *MAKING, "tests/test_typing.py"]
    if python == OLDEST:
        return ["-m", "", *MAKING, "tests/adversary/test_programs.py", "tests/test_docs.py"]
    return VERSIONED


def readmes() -> list[str]:
    """The README's commands, read from it: they are what users run."""
    lines = Path("README.md").read_text().splitlines()
    return [lines[index + 1] for index, line in enumerate(lines) if line == "```console"]


def run_suite(session: nox.Session, *command: str, external: bool = False) -> None:
    """Run a suite, and once more what failed in it, in a process of its own, as CPython's buildbots do: beside another
    lane, a test raises a false alarm at times. What fails again has failed; what passes then is said at CI's end.
    """
    cache = Path(session.virtualenv.location, "failed")
    shutil.rmtree(cache, ignore_errors=True)
    cache.mkdir()
    cache.chmod(0o777)  # for an ordinary user too
    command = (*command, "-o", f"cache_dir={cache}")
    session.run(*command, external=external, success_codes=[0, 1])
    failed = cache / "v/cache/lastfailed"
    if failed.exists():
        names = list(json.loads(failed.read_text()))
        session.run(*command, "--last-failed", external=external)
        session.warn(f"FAILED beside another lane, and passed alone: {names}")


def environment() -> dict[str, str]:
    return {"PYTHONDONTWRITEBYTECODE": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}


def group(name: str) -> list[str]:
    return list(nox.project.dependency_groups(PROJECT, name))


@nox.session(python=PYTHONS)
def readme(session: nox.Session) -> None:
    """The README's main job, in a fresh environment; and the stubs that it installed, against the code."""
    session.env.update(environment())
    session.run("bash", "-c", readmes()[0], external=True)
    session.install("mypy", "pytest")
    with session.chdir(session.create_tmp()):
        # 3.11 makes room in a tuple with attributes, and stubtest sees that, which a stub could say of no other Python.
        Path("allowed").write_text(r"verytmp(\._root)?\.VeryTmpUsage" if session.python == "3.11" else "")
        session.run("stubtest", "verytmp", "--allowlist", "allowed")


@nox.session(python=PYTHONS)
def suite(session: nox.Session) -> None:
    """The README's test command, both ways, or the one that is given: `nox -s suite-3.13 -- helper`."""
    session.env.update(environment())
    install, command = readmes()[1].split(" && ")
    session.run_install("bash", "-c", install, external=True)
    # As an installation is. Without it, each of the suite's thousands of children compiles all: half of the whole time.
    session.run_install("python", "-m", "compileall", "-q", "src", "tests")
    python = str(session.python)
    for way in session.posargs or (["direct", "helper"] if ROOT else ["helper"]):
        skips = "root" if way == "direct" else "user"
        options = [f"--way={way}", *ALONE, f"--allowed-skips=.ci/skips-{skips}"]
        options += chosen(python, way)
        if ROOT and way == "helper":
            run_suite(session, "python", "tests/unprivileged.py", "python", "-m", "pytest", *options)
        else:
            run_suite(session, "bash", "-c", f'{command} "$@"', "-", *options, external=True)


@nox.session(python=NEWEST)
def fallback(session: nox.Session) -> None:
    """The fallback's directories: what a path promises holds there too."""
    session.env.update(environment())
    session.install("-e", ".[test]")
    session.run("python", "-m", "compileall", "-q", "src", "tests")
    skips = ["--allowed-skips=.ci/skips-shm", f"--allowed-skips=.ci/skips-{'root' if ROOT else 'user'}"]
    run_suite(session, "python", "-m", "pytest", "--way=shm", *skips, *PATHS)


@nox.session(python=NEWEST)
def kinds(session: nox.Session) -> None:
    """What a path promises, on clones and on a ramfs. It takes ten minutes, and so is for who has changed these."""
    session.env.update(environment())
    session.install("-e", ".[test]")
    for way in ("clone", "ramfs"):
        session.run("python", "-m", "pytest", "-p", "no:cacheprovider", "-m", "", f"--way={way}", *KINDS)


@nox.session(python=NEWEST)
def lint(session: nox.Session) -> None:
    """What reads the text: the code's, the workflow's, the fragments of the changelog."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("codespell")
    session.run("zizmor", "--offline", "--quiet", ".github")
    session.run("towncrier", "build", "--draft", "--version", "0", silent=True)
    if f"python: {json.dumps(PYTHONS)}" not in Path(".github/workflows/ci.yml").read_text():
        session.error("the workflow tries other Pythons than the classifiers name")


@nox.session(python=NEWEST)
def types(session: nox.Session) -> None:
    """The code and its tests, for every Python."""
    session.install("-e", ".[test]", "nox")
    for python in PYTHONS:
        session.run("mypy", "--python-version", python, "src", "tests", "noxfile.py")
    session.run("pyright", "--pythonpath", str(Path(session.bin, "python")))


@nox.session(python=NEWEST)
def wheel(session: nox.Session) -> None:
    """The wheel, and the sdist's: what is in them, their metadata, and the types that users' checkers see."""
    session.env.update(environment())
    session.install("build", "twine")
    dist = Path(session.create_tmp()).resolve() / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    session.run("python", "-m", "build", "-o", f"{dist}", ".")
    session.run("python", "tests/distribution.py", f"{dist}")
    session.run("twine", "check", "--strict", *map(str, dist.iterdir()))
    [built], [sources] = dist.glob("*.whl"), dist.glob("*.tar.gz")
    session.run("tar", "-xzf", f"{sources}", "-C", f"{dist}", external=True)
    session.run("python", "-m", "build", "--wheel", "-o", f"{dist / 'again'}", f"{sources}".removesuffix(".tar.gz"))
    [again] = (dist / "again").glob("*.whl")
    if listed(built) != listed(again):
        session.error("the sdist makes another wheel than the checkout")
    session.install(f"{built}[test]")
    with session.chdir(dist):
        session.run("pyright", "--verifytypes", "verytmp", "--ignoreexternal")


def listed(built: Path) -> list[tuple[str, int]]:
    with zipfile.ZipFile(built) as archive:
        return sorted((info.filename, info.CRC) for info in archive.infolist())


@nox.session(python=NEWEST)
def documentation(session: nox.Session) -> None:
    """It is built without a warning."""
    session.install("-e", ".", *group("docs"))
    session.run("python", "-m", "sphinx", "-q", "-W", "--keep-going", "docs", f"{session.create_tmp()}/docs")


@nox.session(python=NEWEST)
def oldest_pytest(session: nox.Session) -> None:
    """The plugin, on the oldest pytest, installed."""
    session.env.update(environment())
    session.install(".", "pytest==8.0.0", "pytest-asyncio==0.23.8", "pytest-xdist", "anyio", "hypothesis")
    tests = sorted(map(str, Path("tests").glob("test_plugin*.py")))
    run_suite(session, "python", "-m", "pytest", *ALONE, "--allowed-skips=/dev/null", *tests)
