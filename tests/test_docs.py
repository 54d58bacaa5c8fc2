"""What the documentation shows, run."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path

import pages
import pytest
from support import doc_blocks, refusals
from support.children import in_child
from support.doc_blocks import PAGES, REPOSITORY, Block

from verytmp import VeryTmpCause, VeryTmpRoot, VeryTmpUnavailable
from verytmp._diagnosis import facts

TESTED = re.compile(r"^(async )?def test_", re.MULTILINE)
OURS = [sys.executable, "-m", "pytest", "-p", "verytmp.pytest_plugin", "-p", "no:cacheprovider", "-W", "error"]


def run(command: list[str] | str, folder: Path) -> subprocess.CompletedProcess[str]:
    """In a folder, with the plugin but nobody else's, and with pytest's own directories there too."""
    (folder / "base").mkdir(exist_ok=True)
    environment = os.environ | {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_DEBUG_TEMPROOT": f"{folder}/base",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env=environment, shell=isinstance(command, str)
    )


def need_git(code: str) -> None:
    """Skip where what is shown starts git, and there is none."""
    if re.search(r"\bgit\b", code) and not shutil.which("git"):
        pytest.skip("git is not installed")


@pytest.mark.slow
@pytest.mark.parametrize("block", doc_blocks.blocks("python"), ids=str)
def test_python_blocks(block: Block, host: Path) -> None:
    """Those that define tests are given to pytest. What others print is shown below them."""
    if "tarfile.data_filter" in block.code and not hasattr(tarfile, "data_filter"):
        pytest.skip("this Python's tarfile has no filters")
    need_git(block.code)
    if TESTED.search(block.code):
        (host / "test_it.py").write_text(block.code)
        result = run([*OURS, *(["--verytmp"] if "(tmp_path)" in block.code else [])], host)
        assert " passed" in result.stdout, result.stdout
    else:
        result = run([sys.executable, "-W", "error", "-c", block.code], host)
        assert doc_blocks.agrees(f"\0{block.output or ''}\0", f"\0{result.stdout}\0"), result.stdout
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""


@pytest.mark.slow
@pytest.mark.parametrize("command", sorted({line for _, line in doc_blocks.commands() if not doc_blocks.reason(line)}))
def test_commands(command: str, host: Path) -> None:
    """As in a shell in which python3 is this Python, in a folder with a test in it."""
    need_git(command)
    (host / "test_it.py").write_text("def test_it(tmp_path):\n    (tmp_path / 'f.txt').write_text('potatoes')\n")
    python = f'"{sys.executable}"'
    plugin = "-p verytmp.pytest_plugin -p no:cacheprovider -W error"
    functions = f'python3() {{ {python} "$@"; }}; pytest() {{ {python} -m pytest {plugin} "$@"; }}'
    functions += f'; verytmp() {{ {python} -W error -m verytmp "$@"; }}'
    result = run(f"{functions}; {command}", host)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr == ""


def test_commands_that_are_not_run_are_shown() -> None:
    commands = [line for _, line in doc_blocks.commands()]
    assert commands
    for pattern in doc_blocks.NOT_RUN:
        assert any(doc_blocks.reason(line) == doc_blocks.NOT_RUN[pattern] for line in commands), (
            f"nobody shows {pattern}"
        )


def test_every_block_says_what_it_is() -> None:
    known = {"python", "console", "text", "json", "yaml", "toml", "ini"}
    for page in PAGES:
        for language in re.findall(r"^```(\S*)\n(?:.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE):
            assert language in known or language.startswith("{"), page


def test_there_are_blocks() -> None:
    assert len(doc_blocks.blocks("python")) >= 20


def test_the_parts_that_are_made() -> None:
    """``python tests/pages.py`` makes them."""
    for path, text in pages.written():
        assert path.read_text() == text


def test_what_is_measured_is_linked() -> None:
    """Whoever measures writes docs/performance.md. README links to it with the figures."""
    if pages.MEASURED.exists():
        assert "](docs/performance.md)" in (REPOSITORY / "README.md").read_text()


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            file, _, anchor = target.partition("#")
            if not target.startswith("https://"):
                found = page.parent / file if file else page
                assert found.exists(), f"{page.name}: {target}"
                assert not anchor or anchor in anchors(found), f"{page.name}: {target}"


def test_links_of_the_pages_that_the_wheel_brings() -> None:
    """An error names one of them, and so each leads to others that it brings."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    brought = {REPOSITORY / path for path in included if path.endswith(".md")}
    for page in brought:
        for target in re.findall(r"\]\(([^)\s#]+)[^)]*\)", page.read_text()):
            assert target.startswith("https://") or (page.parent / target).resolve() in brought, (
                f"{page.name}: {target}"
            )


def anchors(page: Path) -> set[str]:
    """As GitHub and MyST make them of headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_every_page_can_be_reached() -> None:
    listed = (REPOSITORY / "docs" / "index.md").read_text().splitlines()
    for page in (REPOSITORY / "docs").rglob("*.md"):
        name = str(page.relative_to(REPOSITORY / "docs").with_suffix(""))
        assert name == "index" or any(fnmatchcase(name, line) for line in listed), name


def test_every_module_is_in_the_layout() -> None:
    layout = (REPOSITORY / "CONTRIBUTING.md").read_text().partition("## The layout")[2]
    source = REPOSITORY / "src" / "verytmp"
    for package in (source, *sorted(source.glob("_*/"))):
        if package.name != "__pycache__":
            part = layout if package == source else layout.partition(f"    {package.name}/ ")[2]
            for file in package.glob("*.py"):
                indent = 4 if package == source else 8
                if package == source or file.name != "__init__.py":
                    assert f"\n{' ' * indent}{file.name} " in part, file


def test_every_attack_is_on_the_page() -> None:
    page = (REPOSITORY / "docs" / "adversaries.md").read_text()
    for file in (REPOSITORY / "tests" / "adversary").rglob("test_*.py"):
        words = ast.get_docstring(ast.parse(file.read_text())) or ""
        assert f"| {words.splitlines()[0].rstrip('.')} |" in page, file.name


def test_every_cause_is_in_the_guide() -> None:
    guide = (REPOSITORY / "docs" / "how-to" / "containers.md").read_text()
    for cause in VeryTmpCause:
        assert f"`{cause}`" in guide


def test_an_error_is_as_shown_and_leads_to_the_guide() -> None:
    def refused() -> str:
        refusals.docker()
        try:
            VeryTmpRoot()
        except VeryTmpUnavailable as error:
            return str(error)
        return ""

    error = in_child(refused)
    guide = error.rpartition(" and ")[2].removesuffix(")")
    assert Path(guide).read_text().startswith("# Where a root is refused")
    [block] = [block for block in doc_blocks.blocks("text") if block.code.startswith("no private tmpfs")]
    assert doc_blocks.agrees(block.code, error), error


def test_an_error_without_a_guide_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a zip file, say."""
    monkeypatch.setattr(facts, "__file__", "/nonexistent/verytmp/_diagnosis/facts.py")
    assert facts.guide() == "the page on containers of the documentation"


def test_a_failure_is_as_shown(host: Path) -> None:
    (host / "test_a.py").write_text(
        "def test_it(tmp_path):\n    (tmp_path / 'f.txt').write_text('potatoes')\n    assert False\n"
    )
    said = run([*OURS, "--verytmp", "--verytmp-keep=failures"], host).stdout
    [block] = [block for block in doc_blocks.blocks("text") if "kept in " in block.code]
    assert doc_blocks.agrees(block.code, said), said
    shutil.rmtree(host / "failures")
