"""The packages, read from the imports: who may know whom, who may call ctypes, and what `import verytmp` costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import verytmp
from verytmp._programs.run import START

SOURCE = Path(verytmp.__file__).parent
MODULES = sorted(
    ".".join(file.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__") for file in SOURCE.rglob("*.py")
)
FACE = "__init__"
PACKAGES = sorted({module.partition(".")[0] for module in MODULES if "." in module})

# What the modules of a package, and those at the top, may import from elsewhere in verytmp, for annotations too: whole
# packages, or single modules of them.
MAY_IMPORT = {
    "_confined": set[str](),
    "_diagnosis": set[str](),
    "errors": {"__init__", "_diagnosis"},
    "_syscalls": set[str](),
    "_paths": {"_confined", "_syscalls", "errors"},
    "_mounting": {"_confined.owned_fd", "_diagnosis", "_syscalls", "errors"},
    "_shm": {"_confined", "_diagnosis", "_mounting.spec", "errors"},
    "_programs": {"_confined", "_mounting", "_syscalls", "errors"},
    "_clone": {"_confined", "_diagnosis", "_mounting", "errors"},
    "_root": {"_clone", "_confined", "_diagnosis", "_mounting", "_paths", "_programs", "_shm", "errors"},
    "_factory": {"_mounting", "_root"},
    "_available": {"__init__", "_mounting.options", "_root", "errors"},
    "__init__": {
        "_available",
        "_diagnosis.causes",
        "_factory",
        "_paths.path",
        "_paths.report",
        "_programs.enter",
        "_root",
        "errors",
    },
    "_pytest": {"__init__", "_confined.removal", "_diagnosis.causes", "_mounting.options", "_programs.enter"},
    "pytest_plugin": {"__init__", "_pytest"},
    "_cli": {"__init__", "_available", "_programs", "_diagnosis", "_mounting", "_shm"},
    "__main__": {"__init__", "_cli", "_mounting.available", "_root"},
}

LAZY = [
    "_ctypes",
    "ctypes",
    "socket",
    "subprocess",
    "shutil",
    "tempfile",
    "multiprocessing",
    "typing",
    "typing_extensions",
    "weakref",
]


def source(module: str) -> Path:
    """The file of a module that is named from below the package."""
    path = SOURCE.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imports(module: str) -> set[str]:
    """What a module imports anywhere, also for annotations: of verytmp, ``.package.module``; others as they are."""
    found: set[str] = set()
    tree = ast.parse(source(module).read_text())
    above = ["verytmp", *module.split(".")[:-1]]
    if source(module).name == "__init__.py" and module != FACE:
        above.append(module)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {own(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = above[: len(above) - node.level + 1] if node.level else []
            base = ".".join([*start, *filter(None, [node.module])])
            found |= {own(f"{base}.{alias.name}") for alias in node.names}
    return found - {f".{module}"}


def own(name: str) -> str:
    """The module that a dotted name is of: ``.package.module`` in verytmp, ``.__init__`` for its public names."""
    if name != "verytmp" and not name.startswith("verytmp."):
        return name
    parts = name.split(".")[1:]
    while parts and ".".join(parts) not in MODULES:
        parts.pop()
    return "." + (".".join(parts) or FACE)


def package(module: str) -> str:
    return module.partition(".")[0]


def allowed(module: str, imported: str) -> bool:
    mine = package(module)
    return package(imported) == mine or bool({imported, package(imported)} & MAY_IMPORT[mine])


def test_every_package_is_in_the_table() -> None:
    assert {package(module) for module in MODULES} == set(MAY_IMPORT)


def test_a_root_and_a_program_on_its_way_into_it_need_no_ctypes() -> None:
    """Nor, in the interpreter by which a program gets there, os: they take it longer to load than all the rest."""
    code = "import sys; from verytmp import VeryTmpRoot; VeryTmpRoot().close(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "verytmp._syscalls" in loaded
    assert "ctypes" not in loaded
    code = START.replace("main(sys.argv[1:])", "print(*sys.modules)")
    fresh = [sys.executable, "-I", "-S", "-B", "-c", code]
    loaded = subprocess.run(fresh, check=True, capture_output=True, text=True).stdout.split()
    assert "verytmp._programs.trampoline" in loaded
    assert not {"ctypes", "os"} & set(loaded)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_what_its_package_may(module: str) -> None:
    inside = {name[1:] for name in imports(module) if name.startswith(".")}
    assert [name for name in sorted(inside) if not allowed(module, name)] == []


def test_there_is_no_cycle() -> None:
    """Not for annotations either. Public names do not count: `__init__` imports what is asked for."""
    above: dict[str, set[str]] = {
        module: {name[1:] for name in imports(module) if name.startswith(".")} - {FACE} for module in MODULES
    }
    above[FACE] = set()
    while ready := [module for module, needed in above.items() if not needed]:
        for module in ready:
            del above[module]
        for needed in above.values():
            needed.difference_update(ready)
    assert above == {}


def test_only_one_module_calls_ctypes() -> None:
    assert [module for module in MODULES if {"ctypes", "_ctypes"} & imports(module)] == ["_syscalls"]


def test_the_core_needs_the_standard_library_alone() -> None:
    for module in MODULES:
        outside = {package(name) for name in imports(module) if not name.startswith(".")} - sys.stdlib_module_names
        of_the_plugin = {"pytest"} if "pytest" in module else set()
        assert outside <= {"_typeshed", "__future__"} | of_the_plugin, module  # which exists for type checkers alone


def test_type_checkers_read_the_same_table() -> None:
    """The public names are imported when they are asked for, by a table; the block above it says the same."""
    read = {alias.name: node.module for node in ast.walk(ast.parse((SOURCE / "__init__.py").read_text()))
            if isinstance(node, ast.ImportFrom) for alias in node.names}  # fmt: skip
    assert read == verytmp.MODULE_OF


def test_the_package_itself_is_short() -> None:
    assert len((SOURCE / "__init__.py").read_text().splitlines()) < 60
    assert [name for name in verytmp.__all__ if not hasattr(verytmp, name)] == []
    for name in PACKAGES:
        assert len((SOURCE / name / "__init__.py").read_text().splitlines()) == 1, name


def test_import_loads_nothing_that_can_wait() -> None:
    """Beyond pathlib, and collections and functools, which pathlib itself has brought until 3.15."""
    code = "import collections, functools, pathlib, sys; before = set(sys.modules); from verytmp import VeryTmpRoot"
    code += "; print(*set(sys.modules) - before)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "verytmp" in loaded
    assert not set(loaded) & set(LAZY)
    assert set(loaded) - {"__future__", "select"} <= {"verytmp", *(f"verytmp.{module}" for module in MODULES)}
