"""What a root costs, by the way in which it is made, beside `TemporaryDirectory`; an import; and a path's bytes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from support import kernel
from support.children import in_child

from bench.measure import WALL, Result, compared
from verytmp import VeryTmpFactory, VeryTmpRoot

GIB = 1 << 30


def root() -> None:
    VeryTmpRoot(size="64m").close()


def closed(factory: VeryTmpFactory) -> None:
    factory().close()


def directory(place: str) -> Callable[[], None]:
    def make() -> None:
        tempfile.TemporaryDirectory(dir=place).cleanup()

    return make


SHM = "TemporaryDirectory, /dev/shm"
TWINS = {SHM: directory("/dev/shm"), "TemporaryDirectory, disk": directory("/var/tmp")}


def by_factory(rounds: int, heap: int = 0, twins: bool = True) -> dict[str, Result]:
    """Where this process may not mount: a child's results, which has so many bytes of its own."""

    def measured() -> dict[str, Result]:
        kernel.drop_capabilities(kernel.CAP_SYS_ADMIN)
        held = bytearray(b"\1") * heap
        with VeryTmpFactory(size="64m") as factory:
            factory()
            calls: dict[str, Callable[[], object]] = {"verytmp": partial(closed, factory), **(TWINS if twins else {})}
            results = compared(calls, rounds, clock=WALL)
        assert len(held) == heap
        return results

    return results_of(measured)


def by_child(rounds: int, heap: int = 0, threads: int = 1, twins: bool = True) -> dict[str, Result]:
    """As without a factory: each root has a child of its own."""

    def measured() -> dict[str, Result]:
        kernel.drop_capabilities(kernel.CAP_SYS_ADMIN)
        held = bytearray(b"\1") * heap
        stop = threading.Event()
        for _ in range(threads - 1):
            threading.Thread(target=stop.wait).start()
        results = compared({"verytmp": root, **(TWINS if twins else {})}, rounds, clock=WALL)
        stop.set()
        assert len(held) == heap
        return results

    return results_of(measured)


def results_of(measured: Callable[[], dict[str, Result]]) -> dict[str, Result]:
    found: dict[str, Result] = in_child(measured)
    return found


def roots(rounds: int) -> Iterator[tuple[str, dict[str, Result]]]:
    if "directly" in repr(VeryTmpRoot()):
        yield "a root, directly", compared({"verytmp": root, **TWINS}, rounds, clock=WALL)
        with VeryTmpFactory(size="64m") as factory:
            made = compared({"verytmp": partial(closed, factory), **TWINS}, rounds, clock=WALL)
        yield "a root, directly, by a factory", made
    yield "a root, by a factory's helper", by_factory(rounds)
    yield "a root, by a child: one thread", by_child(rounds)
    yield "a root, by a child: two threads", by_child(rounds, threads=2)


def imports(rounds: int) -> Iterator[tuple[str, dict[str, Result]]]:
    """Whole processes, with the directory that verytmp is in among the first, for both.

    What a root and paths need is only loaded with the first name that is asked for: so that is measured too.
    """
    import verytmp

    source = str(Path(verytmp.__file__).parents[1])

    def process(statement: str) -> Callable[[], object]:
        code = f"import sys; sys.path.insert(0, {source!r}); {statement}"
        return lambda: subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)

    theirs = process("import pathlib")
    for name, ours in (
        ("import", "import verytmp"),
        ("import, with VeryTmpRoot", "from verytmp import VeryTmpRoot"),
        ("import, and make a root", "from verytmp import VeryTmpRoot; VeryTmpRoot()"),
    ):
        yield name, compared({"verytmp": process(ours), "pathlib": theirs}, 2 * rounds, clock=WALL)


def path_bytes() -> dict[str, float]:
    """Bytes of one live path, of many that were made of one directory by names that are kept anyway."""
    names = [f"file{number}.txt" for number in range(10_000)]
    made = VeryTmpRoot()

    def held(base: Any) -> float:
        tracemalloc.start()
        paths = [base / name for name in names]
        size = tracemalloc.get_traced_memory()[0] / len(paths)
        tracemalloc.stop()
        return size

    return {"verytmp": held(made / "hello"), "pathlib": held(Path("/dev/shm/hello"))}
