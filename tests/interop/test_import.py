"""Python's own code in a root: imported, run, compiled."""

from __future__ import annotations

import compileall
import importlib.resources
import importlib.util
import linecache
import os
import py_compile
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from support import host_state
from support.compare_with_host import string

from verytmp import VeryTmpRoot

PACKAGE: host_state.Tree = {
    "verytmp_canary": {
        "__init__.py": b"from .sub import value\n",
        "sub.py": b"value = 'imported'\n",
        "data.txt": b"potatoes",
        "__main__.py": b"value = 'run'\n",
    },
    "verytmp_lonely.py": b"import sys\nvalue = 'lonely'\n",
}


@pytest.fixture
def package(root: VeryTmpRoot, monkeypatch: pytest.MonkeyPatch) -> Iterator[VeryTmpRoot]:
    host_state.make(root.fileno(), PACKAGE)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    modules, importers = set(sys.modules), set(sys.path_importer_cache)
    yield root
    for name in set(sys.modules) - modules:
        if name.startswith("verytmp_"):
            del sys.modules[name]
    for name in set(sys.path_importer_cache) - importers:
        del sys.path_importer_cache[name]
    linecache.clearcache()


def test_import(package: VeryTmpRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(package.path))
    canary: Any = importlib.import_module("verytmp_canary")
    lonely: Any = importlib.import_module("verytmp_lonely")
    assert (canary.value, lonely.value) == ("imported", "lonely")
    assert canary.__file__ == os.fspath(package / "verytmp_canary" / "__init__.py")
    assert importlib.resources.files("verytmp_canary").joinpath("data.txt").read_text() == "potatoes"
    tag = sys.implementation.cache_tag
    for name in ("verytmp_canary/__pycache__/sub", "verytmp_canary/__pycache__/__init__", "__pycache__/verytmp_lonely"):
        assert os.path.isfile(f"{string(package)}/{name}.{tag}.pyc")


def test_import_by_location(package: VeryTmpRoot) -> None:
    path = package / "verytmp_lonely.py"
    spec = importlib.util.spec_from_file_location("verytmp_lonely", path)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.value == "lonely"
    assert module.__file__ == os.fspath(path)


def test_import_of_a_zipfile(package: VeryTmpRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.make_archive(os.fspath(package / "packed"), "zip", package.path, "verytmp_canary")
    monkeypatch.syspath_prepend(os.fspath(package / "packed.zip"))
    canary: Any = importlib.import_module("verytmp_canary")
    assert canary.value == "imported"
    assert canary.__file__ == os.fspath(package / "packed.zip" / "verytmp_canary" / "__init__.py")


def test_run(package: VeryTmpRoot) -> None:
    for path in (package / "verytmp_canary" / "__main__.py", package / "verytmp_canary"):
        assert runpy.run_path(os.fspath(path))["value"] == "run"
    (package / "script.py").write_text("import sys, verytmp_lonely; print(sys.argv, verytmp_lonely.value)")
    done = subprocess.run([sys.executable, package / "script.py", "x"], capture_output=True, text=True, check=True)
    assert done.stdout == f"{[os.fspath(package / 'script.py'), 'x']} lonely\n"


def test_compileall(package: VeryTmpRoot) -> None:
    tag = sys.implementation.cache_tag
    assert compileall.compile_dir(package.path, quiet=1)
    before = host_state.look(package.fileno())
    assert set(before.pop("__pycache__")) == {f"verytmp_lonely.{tag}.pyc"}  # type: ignore[call-overload]
    found: Any = before["verytmp_canary"]
    assert set(found["__pycache__"]) == {f"{name}.{tag}.pyc" for name in ("__init__", "sub", "__main__")}
    assert compileall.compile_file(package / "verytmp_lonely.py", quiet=1, legacy=True, force=True)
    assert os.path.isfile(f"{string(package)}/verytmp_lonely.pyc")
    compiled: object = py_compile.compile(
        os.fspath(package / "verytmp_lonely.py"), os.fspath(package / "new.pyc"), doraise=True
    )
    assert compiled == os.fspath(package / "new.pyc")
    assert runpy.run_path(os.fspath(package / "new.pyc"))["value"] == "lonely"


def test_compileall_says_what_is_wrong(package: VeryTmpRoot, capsys: pytest.CaptureFixture[str]) -> None:
    (package / "verytmp_canary" / "sub.py").write_text("value =")
    assert not compileall.compile_dir(package.path, quiet=1)
    assert os.fspath(package / "verytmp_canary" / "sub.py") in capsys.readouterr().out
