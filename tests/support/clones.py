"""``--way clone``: each root is a clone of a frozen one, and so are the trees that tests begin with."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support import host_state
from verytmp import VeryTmpFactory, VeryTmpPath, VeryTmpRoot

active: tuple[VeryTmpFactory, VeryTmpRoot] | None = None  # what makes them, and the frozen root that they are clones of


def activate() -> None:
    """Have `VeryTmpRoot` make clones from now on, by a helper where this process may not mount: that is quicker."""
    global active
    factory = VeryTmpFactory()
    active = factory, factory.root()
    active[1].freeze()
    setattr(VeryTmpRoot, "__init__", cloning_init)  # noqa: B010  # mypy forbids the assignment


def cloning_init(self: VeryTmpRoot, **options: Any) -> None:
    assert active is not None
    made: Any = active[1].clone(**{"mode": 0o700} | options)
    inside: Any = self
    inside._tree, inside._kind, inside._how_made, inside._remove_fallback = (
        made._tree, made._kind, made._how_made, made._remove_fallback,
    )  # fmt: skip


@contextmanager
def planted(base: Path, tree: host_state.Tree) -> Iterator[Path]:
    """A directory with this tree in it: *base*, or the root directory of a clone of its root."""
    host_state.make(os.fspath(base), tree)
    if not active or not isinstance(base, VeryTmpPath):
        yield base
        return
    inside: Any = base
    frozen = VeryTmpRoot._from_parts(inside._tree, "overlay", "", None)
    with cloned(frozen) as root:
        yield root.path


@contextmanager
def cloned(root: VeryTmpRoot) -> Iterator[VeryTmpRoot]:
    """The root, or a clone of it, which is frozen then."""
    if not active:
        yield root
        return
    root.freeze()
    with root.clone(nosymfollow=root.nosymfollow) as clone:
        yield clone


NAMES = ["f", "g", "d", "d/f", "d/e", "link", "n", "d/n"]
CHANGES = ["write_text", "append", "mkdir", "unlink", "rmdir", "rename", "symlink_to", "touch", "chmod"]


def change(chance: random.Random, *places: VeryTmpRoot, hard_links: bool = False) -> tuple[str, list[object]]:
    """Make one random change in each of these, or none: what it was, and 0 or the errno of each.

    Without *hard_links*, for those of a layer break when they are written to; and an ordinary user's do when a
    directory of a layer is renamed.
    """
    name, other = chance.choice(NAMES), chance.choice(NAMES)
    call = chance.choice([*CHANGES, "hardlink_to"] if hard_links else CHANGES)
    text, mode = str(chance.random()), chance.choice([0o700, 0o755])
    answers: list[object] = []
    if call == "rename" and one_file(places[-1] / name, places[-1] / other):
        return "nothing", [0] * len(places)  # ESTALE, for an ordinary user (docs/how-to/checkpoints.md)
    for place in places:
        path = place / name
        try:
            if call == "append":
                with path.open("a") as file:
                    file.write(text)
            elif call in ("rename", "symlink_to"):
                getattr(path, call)(other)
            elif call == "hardlink_to":
                path.hardlink_to(place / other)
            else:
                words: dict[str, list[object]] = {"write_text": [text], "chmod": [mode]}
                getattr(path, call)(*words.get(call, []))
            answers.append(0)
        except OSError as error:
            answers.append(error.errno)
    return f"{call} {name} {other}", answers


def one_file(one: VeryTmpPath, other: VeryTmpPath) -> bool:
    """Whether both names are there, and of one file."""
    try:
        first, second = one.lstat(), other.lstat()
    except OSError:
        return False
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)
