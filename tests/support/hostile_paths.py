"""Every operation on a hostile path, or with a hostile target: what an attack may do."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from support.all_operations import OPERATIONS, REFUSALS, Operation, below, looked_at
from support.canary import Canary
from verytmp import VeryTmpPath, VeryTmpRoot


@dataclass
class Case:
    """A hostile string, the root that it is tried on, and another root beside it."""

    root: VeryTmpRoot
    other: VeryTmpRoot
    planted: Canary
    text: str

    @property
    def path(self) -> VeryTmpPath:
        return self.root / self.text

    @property
    def file(self) -> VeryTmpPath:
        """An innocent file in the root."""
        return self.root / "file"

    @property
    def new(self) -> VeryTmpPath:
        """A name that is not taken."""
        return self.root / f"{self.planted.mark}-new"


def on_path(operation: Operation) -> Callable[[Case], object]:
    return lambda case: seen(operation.call(case.path, case), case)


def on_text(operation: Operation) -> Callable[[Case], object]:
    return lambda case: seen(operation.call(case.text, case), case)


def seen(result: object, case: Case) -> object:
    """What there is to see after an operation: its result, and what is new in both roots."""
    return [looked_at(result), below([case.new, *case.new.rglob("*"), *case.other.path.rglob("*")])]


def through(case: Case, text: str) -> Any:
    """A symlink is made with this target, and used in every way."""
    case.new.symlink_to(text)
    found: list[Any] = [case.new.readlink().as_posix() == text]
    for use in (
        lambda: case.new.read_bytes(),
        lambda: below(case.new.iterdir()),
        lambda: below(case.new.rglob("*")),
        lambda: case.new.resolve().read_bytes(),
        lambda: case.new.stat(),
        lambda: case.new.write_bytes(b"written"),
        lambda: case.new.chmod(0o755),
        lambda: case.new.touch(),
        lambda: (case.new / f"{case.planted.mark}-below").write_bytes(b"written"),
        lambda: (case.new / f"{case.planted.mark}-below").mkdir(),
        lambda: (case.new / "secret").unlink(),
    ):
        try:
            found.append(use())
        except REFUSALS:
            continue
    return found


def by_the_kernel(case: Case, call: Callable[[str], object]) -> object:
    """The path's string in the hands of others. They follow links only where the mount does, which is documented."""
    return call(os.fspath(case.path)) if case.root.nosymfollow else None


READING: dict[str, Callable[[Case], object]] = {
    **{name: on_path(operation) for name, operation in OPERATIONS.items() if not operation.changes},
    "glob of it": lambda c: below(c.root.path.glob(c.text)),
    "rglob of it": lambda c: below(c.root.path.rglob(c.text)),
    "samefile as the host's": lambda c: c.path.samefile(c.planted.secret) and c.planted.content,
    "samefile of its text": lambda c: c.file.samefile(c.text),
    "parents": lambda c: below(c.path.parents),
    "its string, opened": lambda c: by_the_kernel(c, lambda text: os.close(os.open(text, os.O_RDONLY))),
    "its string, stat": lambda c: by_the_kernel(c, os.stat),
    "its string, listed": lambda c: by_the_kernel(c, lambda text: os.listdir(text) and None),
}
CHANGING: dict[str, Callable[[Case], object]] = {
    **{name: on_path(operation) for name, operation in OPERATIONS.items() if operation.changes},
    **{f"{name} by text": on_text(operation) for name, operation in OPERATIONS.items() if operation.as_argument},
    "symlink to its text, used": lambda c: through(c, c.text),
    "write below": lambda c: (c.path / f"{c.planted.mark}-below").write_bytes(b"written"),
    "write beside": lambda c: c.path.with_name(f"{c.planted.mark}-beside").write_bytes(b"written"),
    "unlink below": lambda c: (c.path / "secret").unlink(missing_ok=True),
    "its string, made": lambda c: by_the_kernel(c, os.mkdir),
    "its string, unlinked": lambda c: by_the_kernel(c, os.unlink),
}
