"""One user namespace for all roots of a process that children make: shared, entered again, and gone with the last."""

from __future__ import annotations

import errno
import gc
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support import host_state, kernel, refusals
from support.children import HIGH, in_child
from support.kernel import Rule

from verytmp import VeryTmpFactory, VeryTmpRoot

NOBODY = 65534


def namespaces() -> set[str]:
    """The user namespaces that this process has descriptors of; each root's share one descriptor."""
    found = [path for path in host_state.descriptors().values() if path.startswith("user:")]
    assert len(found) == len(set(found))
    return set(found)


def unprivileged(ask: Callable[[], object], *rules: Rule) -> object:
    """What *ask* returns in a process that may not mount itself."""

    def prepared() -> object:
        kernel.drop_capabilities(kernel.CAP_SYS_ADMIN)
        if rules:
            kernel.seccomp(*rules)
        return ask()

    return in_child(prepared)


def test_all_roots_are_in_one_which_goes_with_the_last() -> None:
    def ask() -> list[int]:
        counts = []
        first, second = VeryTmpRoot(), VeryTmpRoot()
        counts.append(len(namespaces()))
        with VeryTmpFactory() as factory:
            third = factory.root()
            counts.append(len(namespaces()))
        before = namespaces()
        first.close()
        path = third / "f"
        del third
        second.close()
        counts.append(len(namespaces() & before))  # a path keeps its root
        del path
        gc.collect()
        counts.append(len(namespaces()))
        with VeryTmpRoot():
            counts.append(len(namespaces()))
        return counts

    assert unprivileged(ask) == [1, 1, 1, 0, 1]


def test_a_refusal_does_not_keep_it() -> None:
    def ask() -> tuple[int, type]:
        with VeryTmpRoot(), pytest.raises(ValueError, match="size") as refused:
            VeryTmpRoot(size="banana")
        return len(namespaces()), refused.type  # its traceback has frames in which that is known

    assert unprivileged(ask) == (0, ValueError)


def test_many_roots_take_one_of_what_a_limit_allows() -> None:
    def ask() -> int:
        kernel.limit_namespaces("user", 2)  # one of them is the namespace that has the limit
        return len([VeryTmpRoot() for _ in range(5)])

    assert in_child(ask) == 5


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS])
def test_where_it_cannot_be_entered_there_is_another_one(number: int) -> None:
    def ask() -> int:
        roots = [VeryTmpRoot() for _ in range(3)]
        (roots[-1] / "f").touch()
        return len(namespaces())

    assert unprivileged(ask, Rule("setns", number)) == 3


@pytest.mark.parametrize("files", [0, 600])  # whichever number it had, one of the program's files has it then
def test_a_program_that_closes_all_descriptors_loses_it(files: int) -> None:
    def ask() -> list[str]:
        kept = VeryTmpRoot()
        os.closerange(3, HIGH)
        opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(files)]
        with VeryTmpRoot() as root:
            (root / "f").touch()
        kept.close()
        return [path for path in map(os.readlink, (f"/proc/self/fd/{fd}" for fd in opened)) if path != os.devnull]

    assert unprivileged(ask) == []


def test_a_forked_child_enters_it_too() -> None:
    def ask() -> bool:
        with VeryTmpRoot():
            before = namespaces()

            def make() -> bool:
                with VeryTmpRoot():
                    return namespaces() == before

            return bool(in_child(make))

    assert unprivileged(ask)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_another_group_gets_another_one() -> None:
    """The first one does not map it. (Another user may not enter it at all.)"""

    def ask() -> tuple[int, int]:
        with VeryTmpRoot():
            os.setresgid(NOBODY, NOBODY, NOBODY)
            with VeryTmpRoot() as second:
                return len(namespaces()), second.path.stat().st_gid

    assert unprivileged(ask) == (2, NOBODY)


def test_a_proc_without_setgroups(host: Path) -> None:
    """gid_map is written all the same: it asks for nothing where there is no such file."""

    def make() -> tuple[bytes, bool, str]:
        refusals.proc_without_setgroups(str(host))
        with VeryTmpRoot() as root:
            (root / "f").write_bytes(b"hello")
            return (root / "f").read_bytes(), os.path.exists("/proc/self/setgroups"), repr(root)

    read, there, how = in_child(make)
    assert (read, there) == (b"hello", False)
    assert "via a " in how
