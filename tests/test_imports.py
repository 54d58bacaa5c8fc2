"""The rooms, read from the imports: who may know whom, who may call ctypes, and what `import verytmp` costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import verytmp

SOURCE = Path(verytmp.__file__).parent
ROOMS = sorted(file.stem for file in SOURCE.glob("*.py"))

# Each room, and the rooms that it may import when it is loaded or later. Data flows down this table, and only down.
KNOWS = {
    "__main__": {"__init__", "_doctor", "_root"},
    "_doctor": {"__init__", "_available", "_facts", "_helper", "_mount", "_options", "_shm", "_signals"},
    "pytest_plugin": {"__init__", "_pytest_roots", "_pytest_tmp_path"},
    "_pytest_tmp_path": {"_pytest_roots"},
    "_pytest_roots": {"__init__", "_options", "_pytest_keep"},
    "_pytest_keep": set(),
    "__init__": {"_root", "_path", "errors"},
    "_factory": {"_options", "_resident", "_root"},
    "_available": {"_causes", "_root", "errors"},
    "_root": {"_delete", "_diagnose", "_facts", "_path", "_python", "_tree", "_make", "_options", "_shm", "errors"},
    "_make": {
        "_causes",
        "_diagnose",
        "_facts",
        "_helper",
        "_mount",
        "_options",
        "_owner",
        "_proc",
        "_signals",
        "_tree",
        "_wire",
        "errors",
    },
    "_resident": {"_helper", "_line", "_linux", "_owner", "_proc", "_signals", "_wire"},
    "_line": {"_helper", "_owner", "_wire"},
    "_shm": {"_causes", "_delete", "_diagnose", "_owner", "_proc", "_tree", "errors"},
    "_diagnose": {"_causes", "_facts", "_python", "_wire"},
    "_path": {"_copy", "_glob", "_info", "_pure", "_realpath", "_tree", "errors"},
    "_copy": {"_delete", "_dir_stack", "_owner", "_pure", "_resolve", "_tree"},
    "_delete": {"_contents", "_dir_stack", "_glob", "_owner", "_proc", "_pure", "_resolve", "_tree"},
    "_dir_stack": {"_owner"},
    "_pure": {"_glob", "_info", "_proc", "_resolve", "_tree"},
    "_glob": {"_tree"},
    "_info": {"_tree"},
    "_realpath": {"_resolve", "_tree"},
    "_tree": {"_contents", "_files", "_owner", "_proc", "_resolve", "_travel"},
    "_travel": {"_owner"},
    "_resolve": {"_owner", "_proc"},
    "_proc": set(),
    "_contents": set(),
    "_files": set(),
    "_helper": {"_child", "_linux", "_owner", "_python", "_signals", "_wire"},
    "_owner": set(),
    "_python": set(),
    "_child": {"_linux", "_mount", "_wire"},
    "_mount": {"_linux", "_wire"},
    "_signals": {"_linux"},
    "_options": set(),
    "_wire": set(),
    "_linux": set(),
    "errors": {"_causes", "_facts"},
    "_facts": set(),
    "_causes": set(),
}

LAZY = [
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


def imports(room: str) -> set[str]:
    """The modules that a room imports anywhere, but for its annotations: the package's rooms by their names alone."""
    found: set[str] = set()
    tree = ast.parse((SOURCE / f"{room}.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {own(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = f"verytmp.{node.module or ''}".rstrip(".") if node.level else str(node.module)
            found |= {own(f"verytmp.{alias.name}" if module == "verytmp" else module) for alias in node.names}
    return found


def test_rooms_of_the_plugin_are_for_pytest_alone() -> None:
    for room, known in KNOWS.items():
        assert "pytest" in room or not [name for name in known if "pytest" in name], room


def own(module: str) -> str:
    """A room as ``.room``; what the face hands on as ``.__init__``; other modules as they are."""
    package, _, room = module.partition(".")
    if package != "verytmp":
        return module
    return f".{room}" if room in ROOMS else ".__init__"


def test_every_room_is_on_the_table() -> None:
    assert set(KNOWS) == set(ROOMS)


def test_the_table_has_no_circle() -> None:
    order = list(KNOWS)
    for room, known in KNOWS.items():
        below = order[order.index(room) + 1 :]
        assert known <= set(below), room


def test_rooms_know_what_the_table_says() -> None:
    for room in ROOMS:
        assert {name[1:] for name in imports(room) if name.startswith(".")} - {room} <= KNOWS[room], room


def test_only_one_room_calls_ctypes() -> None:
    assert [room for room in ROOMS if "ctypes" in imports(room)] == ["_linux"]


def test_path_rooms_are_not_privileged() -> None:
    privileged = {"._linux", "._mount", "._child", "._helper"}
    privileged |= {"._line", "._resident", "._make", "._factory"}
    for room in (
        "_path",
        "_pure",
        "_copy",
        "_delete",
        "_dir_stack",
        "_shm",
        "_glob",
        "_info",
        "_realpath",
        "_tree",
        "_travel",
        "_resolve",
        "_contents",
        "_files",
        "_proc",
    ):
        assert not imports(room) & privileged, room


def test_the_core_needs_the_standard_library_alone() -> None:
    for room in ROOMS:
        outside = {
            name.partition(".")[0] for name in imports(room) if not name.startswith(".")
        } - sys.stdlib_module_names
        of_the_plugin = {"pytest"} if "pytest" in room else set()
        assert outside <= {"_typeshed"} | of_the_plugin, room  # which exists for type checkers alone


def test_the_face_is_a_sign_on_the_door() -> None:
    assert len((SOURCE / "__init__.py").read_text().splitlines()) < 60
    assert [name for name in verytmp.__all__ if not hasattr(verytmp, name)] == []


def test_import_loads_nothing_that_can_wait() -> None:
    """Beyond pathlib, and collections and functools, which pathlib itself has brought until 3.15."""
    code = "import collections, functools, pathlib, sys; before = set(sys.modules); from verytmp import VeryTmpRoot"
    code += "; print(*set(sys.modules) - before)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "verytmp" in loaded
    assert not set(loaded) & set(LAZY)
    assert set(loaded) - {"__future__", "select"} <= {"verytmp", *(f"verytmp.{room}" for room in ROOMS)}
