"""Plant small mistakes in what everything rests on: ``python tests/mutants.py [MODULE...]``, as root or not.

Each mistake is one of `support.mutation`, and has to be noticed by a test. Those that are not are looked up in
`mutants.toml`, which says why no test can. If that explains all of a module's, its lines go into the page, in which
those of other modules stay.

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
import tomllib
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from queue import SimpleQueue

from support.mutation import Mutant, mutants

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "mutants.md"
REASONS = HERE / "mutants.toml"
WORKERS = int(os.environ.get("WORKERS", "2"))

# Whose tests, a line for each run of pytest. The quick ones are first: most mutants meet their end there.
MODULES = {
    "_confined/resolver": ["test_resolve.py", "adversary/test_resolution.py"],
    "_confined/owned_fd": ["test_owned_fd.py", "test_root.py", "test_tree.py"],
    "_paths/pure": ["test_path_pure.py", "test_surface.py"],
    "_confined/tree": ["test_tree.py", "test_confinement.py", "files test_named.py", "test_interruptions.py"],
    "_mounting/spec": ["test_wire.py test_options.py test_mount.py", "test_root.py"],
    "_mounting/protocol": ["test_wire.py", "factory/test_factory.py"],
    "_mounting/strategy": [
        "test_strategy.py",
        "test_root.py",
        "factory/test_factory.py test_user_namespace.py",
        "test_named.py test_unavailable.py",
        "test_enter.py",
        "factory/test_factory_death.py",
    ],
}
SLOW = ("test_interruptions.py", "factory/test_factory_death.py")  # all tests there have that marker
# Where not the whole module is meant: its functions, and what they are.
OWNING = ("__init__", "_with_open_fd", "file")
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
LEFT_OUT += " and not test_a_limit_that_is_reached_is_not_remembered and not test_another_group_gets_another_one"
LEFT_OUT += " and not test_root_keeps_its_capabilities and not test_a_root_of_whom_root_has_become"
LEFT_OUT += " and not test_another_user_is_refused and not test_a_forked_child_whose_files"
OPTIONS = ["-x", "-q", "-p", "no:cacheprovider", "-k", LEFT_OUT]
OPTIONS += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of what is loaded beforehand

HEAD = """# What no test noticed

A test that cannot fail proves nothing. So `python tests/mutants.py` plants small mistakes in the most important
modules, one at a time, runs the tests of that module, and generates this page. A mistake is a replaced operator, a
number changed by one, a negated condition, or a statement that is left out. Such a run takes an hour or more, so
modules are also run singly (`python tests/mutants.py MODULE`), and not for each change. If a module's mistakes are all
noticed or explained, the run writes its lines; modules that are not in the table have not been run under their present
names. In `_paths/pure` only the rules of joining are changed, and in `_confined/tree` only what owns descriptors and
opens files: the rest of both is compared with pathlib.

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
    unexplained = 0
    for module in modules or MODULES:
        lines = rows(module, reasons.get(module, {}))
        if any("**?**" in line for line in lines):
            print("\n".join(lines))
            unexplained += 1
        else:
            write_page(module, lines)
    return 1 if unexplained else 0


def write_page(module: str, lines: list[str]) -> None:
    """Put in a module's lines. Those of other modules stay; the first line of each is its row of the first table."""
    earlier = PAGE.read_text().splitlines()
    found = {each: [line for line in earlier if line.startswith(f"| `{each}`")] for each in MODULES} | {module: lines}
    counts = "".join(f"{line}\n" for each in found.values() for line in each[:1])
    survivors = "".join(f"{line}\n" for each in found.values() for line in each[1:])
    PAGE.write_text(f"{HEAD}{counts}{WHY}{survivors}")


def rows(module: str, reasons: dict[str, str]) -> list[str]:
    """A module's row of the first table, and those of the second."""
    what, places = PARTS.get(module, ("", set()))
    planted = mutants((HERE.parent / f"src/verytmp/{module}.py").read_text())
    planted = [mutant for mutant in planted if not places or mutant.place in places]
    ends = tested(module, planted)
    left = [mutant.key for mutant, end in zip(planted, ends, strict=True) if end == "passed"]
    for key in reasons.keys() - set(left):
        print(f"{module}: a reason for what is noticed, or is no more: {key}", file=sys.stderr)
    hung = ends.count("hung")
    what = what and f": {what}"
    found = [f"| `{module}`{what} | {len(ends)} | {len(ends) - len(left) - hung} | {hung} | {len(left)} |"]
    for key in left:
        code = key.replace("|", r"\|")  # or it would end the cell
        found.append(f"| `{module}` | `{code}` | {reasons.get(key, '**?**')} |")
    return found


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
            end, seconds = worker.ask(files, 3600)
            if end != "passed":
                sys.exit(f"{files}: {end} without any mutant")
            patience.append(3 * seconds + 5)
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
        self._times = count(1)
        cache = copy.with_name(f"{copy.name}-cache")  # without it, each of the tests' children compiles everything
        cache.mkdir()
        cache.chmod(0o777)
        command = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        # Tests that are killed leave something there.
        command += ["sh", "-c", 'mount -t tmpfs tmpfs /dev/shm && exec "$@"', "-"]
        if os.geteuid() == 0:
            command = [sys.executable, "tests/unprivileged.py", *command]
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        self._process = subprocess.Popen(
            [*command, sys.executable, "tests/support/mutant_worker.py"],
            cwd=copy,
            env=environment | {"PYTHONPATH": f"{copy}/src", "PYTHONPYCACHEPREFIX": str(cache)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def meet(self, module: str, mutant: Mutant, patience: list[float]) -> str:
        file = self.copy / f"src/verytmp/{module}.py"
        original = file.read_text()
        self._write(file, mutant.source)
        try:
            for files, limit in zip(MODULES[module], patience, strict=True):
                end, _ = self.ask(files, limit)
                if end != "passed":
                    return end
            return "passed"
        finally:
            self._write(file, original)

    def _write(self, file: Path, source: str) -> None:
        """With a time of its own: what was compiled earlier is told by that, in whole seconds, and by the size."""
        file.write_text(source)
        seconds = next(self._times)
        os.utime(file, (seconds, seconds))

    def ask(self, files: str, patience: float) -> tuple[str, float]:
        """How it ended, and its CPU time; no more than `patience`, both in seconds."""
        assert self._process.stdin
        assert self._process.stdout
        marks = ["-m", "slow"] if files in SLOW else []
        arguments = [*OPTIONS, *marks, *(f"tests/{file}" for file in files.split())]
        print(json.dumps([arguments, patience]), file=self._process.stdin, flush=True)
        end, seconds = json.loads(self._process.stdout.readline())
        return end, seconds


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
