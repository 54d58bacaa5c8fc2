"""The stubs, as type checkers see them beside the modules: uses without a mistake, and mistakes that are seen."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
SAMPLES = sorted((REPOSITORY / "tests" / "typing").glob("*.py"))
PYTHONS = ["3.11", "3.12", "3.13", "3.14", "3.15"]

Report = tuple[str, int, str]  # a file, a line, a code


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The package as the wheel has it, and the samples, where no settings of ours are in sight."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(REPOSITORY / "src" / "verytmp", folder / "verytmp", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(REPOSITORY / "stubs" / "verytmp", folder / "verytmp", dirs_exist_ok=True)
    for sample in SAMPLES:
        shutil.copy(sample, folder)
    (folder / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    (folder / "pyrefly.toml").touch()
    yield folder
    shutil.rmtree(folder)


def reports(folder: Path, *command: str) -> str:
    """What a checker prints about the samples."""
    names = [sample.name for sample in SAMPLES]
    result = subprocess.run([*command, *names], cwd=folder, capture_output=True, text=True)
    assert result.returncode == 1, result.stdout + result.stderr  # there are mistakes, and nothing worse
    return result.stdout


def mypy(folder: Path, version: str) -> Iterator[Report]:
    command = [sys.executable, "-m", "mypy", "--strict", "--output", "json", "--python-version", version]
    for line in reports(folder, *command, "--cache-dir", str(folder / "cache")).splitlines():
        found = json.loads(line)
        if found["severity"] == "error":
            yield found["file"], found["line"], found["code"]


def pyright(folder: Path, version: str) -> Iterator[Report]:
    command = [beside("pyright"), "--outputjson", "--pythonversion", version, "--pythonpath", sys.executable]
    for found in json.loads(reports(folder, *command))["generalDiagnostics"]:
        # A type that is unknown is so because of another mistake in that line.
        if found["severity"] == "error" and not found["rule"].startswith("reportUnknown"):
            yield Path(found["file"]).name, found["range"]["start"]["line"] + 1, found["rule"]


def ty(folder: Path, version: str) -> Iterator[Report]:
    command = [beside("ty"), "check", "--output-format", "concise", "--python-version", version, "--python", sys.prefix]
    for line in reports(folder, *command).splitlines():
        if match := re.match(r"(.*?):(\d+):\d+: (?:error|warning)\[(.*?)\]", line):
            yield match[1], int(match[2]), match[3]


def pyrefly(folder: Path, version: str) -> Iterator[Report]:
    command = [beside("pyrefly"), "check", "--output-format", "min-text", "--python-version", version]
    for line in reports(folder, *command, "--python-interpreter-path", sys.executable).splitlines():
        if match := re.match(r"\s*(?:ERROR|WARN) (.*?):(\d+):.*\[(.*?)\]$", line):
            yield match[1], int(match[2]), match[3]


def beside(name: str) -> str:
    """A program that was installed with this Python."""
    return str(Path(sys.executable).parent / name)


CHECKERS: list[Callable[[Path, str], Iterator[Report]]] = [mypy, pyright, ty, pyrefly]


def pinned(index: int) -> set[Report]:
    """What the checker of this index should report: nothing but what is written above each mistake."""
    lines = (REPOSITORY / "tests" / "typing" / "mistakes.py").read_text().splitlines()
    return {
        ("mistakes.py", number + 1, code)
        for number, line in enumerate(lines, 1)
        if line.startswith("# ")
        for code in line[2:].split(" | ")[index].split("+")
        if code != "-"
    }


@pytest.mark.slow
@pytest.mark.parametrize("version", PYTHONS)
@pytest.mark.parametrize("checker", CHECKERS)
def test_samples(project: Path, checker: Callable[[Path, str], Iterator[Report]], version: str) -> None:
    expected = pinned(CHECKERS.index(checker))
    assert len(expected) > 20
    assert set(checker(project, version)) == expected


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.stem)
def test_no_sample_silences_a_checker(sample: Path) -> None:
    with sample.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            assert token.string not in ("cast", "Any")
            assert token.type != tokenize.COMMENT or "ignore" not in token.string


SUPPRESSION = re.compile(r"#\s*(?:type: ignore|pyright: ignore|noqa)(?P<code>[\[:][^#]*)?")


@pytest.mark.parametrize("folder", ["src", "stubs"])
def test_every_suppression_is_narrow_and_says_why(folder: str) -> None:
    """In words of its own: what silences another checker is no reason."""
    for path in sorted((REPOSITORY / folder).rglob("*.py*")):
        if path.suffix in (".py", ".pyi"):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                if found := SUPPRESSION.search(line):
                    assert found["code"], f"{path.name}:{number}: which?"
                    assert re.search(r"# +\w", SUPPRESSION.sub("", line)), f"{path.name}:{number}: why?"


STUB = "verytmp/__init__.pyi"
# Mistakes in the stub, and what stubtest says of each. (What the package itself uses, mypy misses before that.)
MUTATIONS = {
    'walk is inconsistent, stub parameter "onerror" differs': ("on_error: Callable", "onerror: Callable"),
    'walk is inconsistent, runtime parameter "top_down"': ("top_down: bool = True", "top_down: bool = False"),
    'stub does not have parameter "noswap"': ("    noswap: bool\n", ""),
    "VeryTmpRoot.clear is not present in stub": ("    def clear(self)", "    def emptied(self)"),
}


def stubtest(project: Path) -> str:
    """What it prints: nothing, where the stubs are as the code."""
    command = [sys.executable, "-m", "mypy.stubtest", "verytmp", "--concise"]
    return subprocess.run(command, cwd=project, capture_output=True, text=True).stdout


@pytest.mark.slow
def test_stubs_against_the_code(project: Path) -> None:
    """And that stubtest would see it if they differed."""
    assert stubtest(project) == ""
    stub = (project / STUB).read_text()
    mistaken = stub
    for old, new in MUTATIONS.values():
        assert stub.count(old) == 1
        mistaken = mistaken.replace(old, new)
    (project / STUB).write_text(mistaken)
    try:
        said = stubtest(project)
    finally:
        (project / STUB).write_text(stub)
    assert [words for words in MUTATIONS if words not in said] == []
