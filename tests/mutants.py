"""Plant small mistakes in what everything rests on: ``python tests/mutants.py [MODULE...]``, as root or not.

Each mistake is one of `support.mutation`, and has to be noticed by a test. Those that are not are looked up in
`mutants.toml`, which says why no test can. The page is written if that explains them all.

A mutant may do anything to the host. So its tests run as an ordinary user, in namespaces of their own, in which that
user is called root and may mount.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from support.mutation import Mutant, mutants

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "mutants.md"
REASONS = HERE / "mutants.toml"
WORKERS = 2

# Whose tests, a line for each run of pytest. The quick ones are first: most mutants meet their end there.
MODULES = {
    "_confined/resolver": ["test_resolve.py", "adversary/test_resolution.py"],
    "_confined/owned_fd": ["test_tree.py", "test_root.py"],
    "_paths/pure": ["test_path_pure.py", "test_surface.py"],
    "_confined/tree": ["test_tree.py", "test_confinement.py", "files", "test_interruptions.py"],
    "_mounting/spec": ["test_wire.py test_options.py test_mount.py", "test_root.py"],
    "_mounting/protocol": ["test_wire.py", "factory/test_factory.py"],
    "_mounting/strategy": [
        "test_options.py test_root.py",
        "test_mount.py",
        "factory/test_factory.py test_user_namespace.py",
    ],
}
# Where not the whole module is meant: its functions, and what they are.
OWNING = ("__init__", "close", "check_open", "_with_open_fd", "file")
JOINS = ("__truediv__", "__rtruediv__", "joinpath", "with_segments", "_join", "_without_drive", "_derive", "_inside")
PARTS = {
    "_paths/pure": (
        "the rules of joining",
        {*(f"VeryTmpPurePath.{name}" for name in JOINS), "text_of", "is_plain_name", "as_exact_str"},
    ),
    "_confined/tree": ("the owner, and what opens files", {f"Tree.{name}" for name in OWNING}),
}
# What is about other things than the mutant, or what is forbidden in the namespace.
LEFT_OUT = "not planted_bug and not would_trip and not test_owner and not noswap"
OPTIONS = ["-x", "-q", "-m", "", "-p", "no:cacheprovider", "-k", LEFT_OUT]
OPTIONS += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of what is loaded beforehand

HEAD = """# What no test noticed

A test that cannot fail proves nothing. So `python tests/mutants.py` plants small mistakes in the most important
modules, one at a time, runs the tests of that module, and generates this page. A mistake is a replaced operator, a
number changed by one, a negated condition, or a statement that is left out. In `_paths/pure` only the rules of
joining are changed, and in `_confined/tree` only what owns descriptors and opens files: the rest of both is compared
with pathlib.

Coverage is measured separately: `python tests/covered.py` prints what the tests do not reach, and fails if that is more
than 3 % of all lines and branches. `pyproject.toml` lists the few exceptions.

| module | mistakes | a test failed | a test hung | not noticed |
|---|---|---|---|---|
"""

WHY = """
## Why they were not noticed

| module | mistake | why it is harmless, or cannot be noticed |
|---|---|---|
"""


def main(modules: list[str]) -> int:
    reasons: dict[str, dict[str, str]] = tomllib.loads(REASONS.read_text())
    rows, survivors = "", ""
    unexplained = 0
    for module in modules or MODULES:
        what, places = PARTS.get(module, ("", set()))
        planted = mutants((HERE.parent / f"src/verytmp/{module}.py").read_text())
        planted = [mutant for mutant in planted if not places or mutant.place in places]
        ends = tested(module, planted)
        left = [mutant.key for mutant, end in zip(planted, ends, strict=True) if end == "passed"]
        hung = ends.count("hung")
        what = what and f": {what}"
        rows += f"| `{module}`{what} | {len(ends)} | {len(ends) - len(left) - hung} | {hung} | {len(left)} |\n"
        for key in left:
            reason = reasons.get(module, {}).get(key)
            unexplained += not reason
            code = key.replace("|", r"\|")  # or it would end the cell
            survivors += f"| `{module}` | `{code}` | {reason or '**?**'} |\n"
    page = f"{HEAD}{rows}{WHY}{survivors}"
    if unexplained or modules:
        print(page)
    else:
        PAGE.write_text(page)
    return 1 if unexplained else 0


def tested(module: str, planted: list[Mutant]) -> list[str]:
    """What became of each: ``passed``, ``hung``, or ``failed`` with the test that noticed it."""
    with tempfile.TemporaryDirectory(prefix="verytmp-mutants-", dir="/var/tmp") as folder:
        os.chmod(folder, 0o755)
        workers: SimpleQueue[Worker] = SimpleQueue()
        for number in range(WORKERS):
            workers.put(Worker(Path(folder, str(number))))
        worker = workers.get()
        patience = []
        for files in MODULES[module]:
            start = time.monotonic()
            if worker.ask(files, 3600) != "passed":
                sys.exit(f"{files}: fails without any mutant")
            patience.append(3 * (time.monotonic() - start) + 5)
        workers.put(worker)

        def one(mutant: Mutant) -> str:
            worker = workers.get()
            try:
                end = worker.meet(module, mutant, patience)
            finally:
                workers.put(worker)
            print(f"{end} {mutant.key}", file=sys.stderr, flush=True)
            return end

        with ThreadPoolExecutor(WORKERS) as pool:
            return list(pool.map(one, planted))


class Worker:
    """A copy of the checkout, and a process that runs tests in it."""

    def __init__(self, copy: Path) -> None:
        self.copy = copy
        shutil.copytree(HERE.parent, copy, ignore=shutil.ignore_patterns(".git", "__pycache__", ".*_cache"))
        command = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        if os.geteuid() == 0:
            command = [sys.executable, "tests/unprivileged.py", *command]
        self._process = subprocess.Popen(
            [*command, sys.executable, "tests/support/mutant_worker.py"],
            cwd=copy,
            env=os.environ | {"PYTHONPATH": f"{copy}/src", "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def meet(self, module: str, mutant: Mutant, patience: list[float]) -> str:
        file = self.copy / f"src/verytmp/{module}.py"
        original = file.read_text()
        file.write_text(mutant.source)
        try:
            for files, limit in zip(MODULES[module], patience, strict=True):
                end = self.ask(files, limit)
                if end != "passed":
                    return end
            return "passed"
        finally:
            file.write_text(original)

    def ask(self, files: str, patience: float) -> str:
        assert self._process.stdin
        assert self._process.stdout
        arguments = [*OPTIONS, *(f"tests/{file}" for file in files.split())]
        print(json.dumps([arguments, patience]), file=self._process.stdin, flush=True)
        return self._process.stdout.readline().strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
