"""Real input: the interpreter's own standard library, in a root."""

from __future__ import annotations

import compileall
import filecmp
import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from support import host_state

from verytmp import VeryTmpPath, VeryTmpRoot

LIBRARY = Path(sysconfig.get_path("stdlib"))
# Tests and what is not the library's own; and links of a distribution, which may lead anywhere.
LEFT_OUT = re.compile(r"site-packages|dist-packages|tests?|idle_test|__pycache__|lib-dynload|config-.*")
Kinds = dict[str, tuple[str, int]]


def left_out(folder: str, names: Iterable[str]) -> set[str]:
    """For `shutil.copytree`."""
    return {name for name in names if LEFT_OUT.fullmatch(name) or os.path.islink(os.path.join(folder, name))}


def files_of(top: str) -> dict[str, bytes]:
    """All files with their content, by os alone."""
    found = {}
    for place, directories, names in os.walk(top):
        skipped = left_out(place, directories + names)
        directories[:] = [name for name in directories if name not in skipped]
        for name in names:
            if name not in skipped:
                path = os.path.join(place, name)
                with open(path, "rb") as file:
                    found[os.path.relpath(path, top)] = file.read()
    return found


def directories_of(top: str) -> set[str]:
    return {
        os.path.relpath(os.path.join(place, name), top)
        for place, directories, _ in os.walk(top)
        for name in directories
    }


def facts(top: str) -> Kinds:
    """Each file's permissions and time of modification."""
    found = {}
    for place, _, names in os.walk(top):
        for name in names:
            path = os.path.join(place, name)
            status = os.lstat(path)
            found[os.path.relpath(path, top)] = (stat.filemode(status.st_mode), status.st_mtime_ns)
    return found


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    found = files_of(str(LIBRARY))
    assert len(found) > 500
    assert {"os.py", "json/decoder.py", "encodings/utf_8.py"} <= found.keys()
    return found


@pytest.fixture
def library(root: VeryTmpRoot) -> VeryTmpPath:
    assert shutil.copytree(LIBRARY, root / "lib", ignore=left_out) == root / "lib"
    return root / "lib"


def within(base: Path, found: Iterable[Path]) -> set[str]:
    return {str(path.relative_to(base)) for path in found}


def test_it_is_copied_in(library: VeryTmpPath, files: dict[str, bytes]) -> None:
    assert files_of(os.fspath(library)) == files
    there = facts(str(LIBRARY))
    assert facts(os.fspath(library)) == {name: there[name] for name in files}
    assert {name: (library / name).read_bytes() for name in files} == files


if sys.version_info >= (3, 14):

    def test_it_is_copied_in_by_pathlib(root: VeryTmpRoot, files: dict[str, bytes], host: Path) -> None:
        shutil.copytree(LIBRARY, host / "lib", ignore=left_out)
        assert (host / "lib").copy(root / "lib", preserve_metadata=True) == root / "lib"
        assert files_of(os.fspath(root / "lib")) == files
        assert facts(os.fspath(root / "lib")) == facts(str(host / "lib"))


def test_it_is_searched(library: VeryTmpPath, files: dict[str, bytes]) -> None:
    directories = directories_of(os.fspath(library))
    expected: dict[str, Callable[[str], bool]] = {
        "**/*.py": lambda name: name.endswith(".py"),
        "*.py": lambda name: "/" not in name and name.endswith(".py"),
        "*/__init__.py": lambda name: name.count("/") == 1 and name.endswith("/__init__.py"),
        "**/__init__.py": lambda name: os.path.basename(name) == "__init__.py",
        "json/*": lambda name: name.startswith("json/") and name.count("/") == 1,
        "encodings/cp12*.py": lambda name: name.startswith("encodings/cp12"),
        "**/[a-c]*[!0-9].py": lambda name: bool(re.fullmatch(r"(.*/)?[a-c][^/]*[^0-9/]\.py", name)),
    }
    for pattern, wanted in expected.items():
        assert within(library, library.glob(pattern)) == {name for name in files if wanted(name)}
    assert within(library, library.rglob("*")) == files.keys() | directories
    assert within(library, library.rglob("*.py")) == within(library, library.glob("**/*.py"))
    assert sum(1 for _ in library.rglob("*")) == len(files) + len(directories)


def test_it_is_walked(library: VeryTmpPath, files: dict[str, bytes]) -> None:
    for top_down in (True, False):
        found = {
            str((place / name).relative_to(library)): (place / name).stat().st_size
            for place, _, names in library.walk(top_down)
            for name in names
        }
        assert found == {name: len(content) for name, content in files.items()}


def test_it_is_compiled(library: VeryTmpPath, files: dict[str, bytes]) -> None:
    package = library / "asyncio"
    assert compileall.compile_dir(package, quiet=2)
    compiled = within(package, package.rglob("*.pyc"))
    tag = sys.implementation.cache_tag
    assert compiled == {
        re.sub(r"([^/]*)\.py$", rf"__pycache__/\1.{tag}.pyc", name.removeprefix("asyncio/"))
        for name in files
        if name.startswith("asyncio/") and name.endswith(".py")
    }
    assert len(compiled) > 20


def test_it_is_imported_from(library: VeryTmpPath) -> None:
    code = """
import sys
sys.path.insert(0, sys.argv[1])
for name in [name for name in sys.modules if name.partition(".")[0] in ("json", "email", "xml", "string")]:
    del sys.modules[name]
import email.message, json, string, xml.etree.ElementTree
for module in (json, json.decoder, email.message, string, xml.etree.ElementTree):
    print(module.__file__)
assert json.loads('{"a": [1, 2]}') == {"a": [1, 2]}
"""
    command = [sys.executable, "-I", "-S", "-c", code, os.fspath(library)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    names = ("json/__init__.py", "json/decoder.py", "email/message.py", "string", "xml/etree/ElementTree.py")
    for line, name in zip(result.stdout.splitlines(), names, strict=True):
        assert line.startswith(str(library / name))
    assert list((library / "json" / "__pycache__").iterdir())  # what it has compiled


def test_a_whole_interpreter_runs_on_it(library: VeryTmpPath) -> None:
    environment = {"PYTHONHOME": "/nonexistent", "PYTHONPATH": os.fspath(library), "PYTHONDONTWRITEBYTECODE": "1"}
    code = "import os, encodings, json, sys; print(os.__file__, encodings.__file__, json.__file__, sys.path[1])"
    command = [sys.executable, "-S", "-c", code]
    # The library's place is asked of PYTHONPATH before anything else. Frozen modules have none.
    command[1:1] = ["-X", "frozen_modules=off"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    for path in result.stdout.split():
        assert path.startswith(os.fspath(library))


def test_it_is_zipped_and_unzipped(library: VeryTmpPath, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(library.parent / "lib.zip", "w") as archive:
        for path in library.rglob("*"):
            archive.write(path, str(path.relative_to(library)))
    with zipfile.ZipFile(library.parent / "lib.zip") as archive:
        archive.extractall(library.parent / "unzipped")
    assert files_of(f"{os.fspath(library.parent)}/unzipped") == files


def test_it_is_moved_to_another_root_and_out(library: VeryTmpPath, files: dict[str, bytes], host: Path) -> None:
    before = facts(os.fspath(library))
    with VeryTmpRoot() as other:
        assert library.move(other / "moved") == other / "moved"
        assert host_state.look(os.fspath(library.parent)) == {}
        assert files_of(os.fspath(other / "moved")) == files
        assert facts(os.fspath(other / "moved")) == before
        moved = other / "moved"
        assert moved.copy(host / "lib", preserve_metadata=True) == host / "lib"
        assert differences(filecmp.dircmp(LIBRARY, host / "lib", ignore=[])) == []
        assert filecmp.cmpfiles(LIBRARY, host / "lib", files, shallow=False) == (list(files), [], [])
        assert facts(str(host / "lib")) == before


def differences(comparison: filecmp.dircmp[str]) -> list[str]:
    """What is on the right alone, or differs."""
    found = [*comparison.right_only, *comparison.diff_files, *comparison.funny_files]
    for below in comparison.subdirs.values():
        found += differences(below)
    return found


def test_it_is_copied_within_the_root(library: VeryTmpPath, files: dict[str, bytes]) -> None:
    assert library.copy("again") == library.parent / "again"
    assert files_of(f"{os.fspath(library.parent)}/again") == files
    assert {path.suffix for path in (library.parent / "again").rglob("*.py")} == {".py"}
    for path in (library.parent / "again").iterdir():
        if path.is_file():
            path.unlink()
    assert files_of(os.fspath(library)) == files
