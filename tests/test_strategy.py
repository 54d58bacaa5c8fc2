"""Who makes a mount: each strategy where it is meant to be taken, and what it leaves for later changes."""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
from support import kernel
from support.children import in_child
from support.factories import by_helper
from support.kernel import Rule

import verytmp
from verytmp import VeryTmpCause, VeryTmpFactory, VeryTmpRoot, VeryTmpUnavailable, _syscalls
from verytmp._mounting import child, strategy
from verytmp._programs.enter import go_inside

AT = "/verytmp-strategy"

pytestmark = pytest.mark.needs("MOUNT_ATTR_NOSYMFOLLOW")  # or mount(2) makes them


def privileged() -> Callable[..., VeryTmpRoot]:
    kernel.mounting_namespaces()
    return VeryTmpRoot


def filtered() -> Callable[..., VeryTmpRoot]:
    kernel.mounting_namespaces()
    kernel.seccomp(Rule("open_tree", errno.EPERM))  # any filter may end the process at another call
    return VeryTmpRoot


def unprivileged() -> Callable[..., VeryTmpRoot]:
    kernel.drop_capabilities(kernel.CAP_SYS_ADMIN)
    return VeryTmpRoot


def with_threads() -> Callable[..., VeryTmpRoot]:
    threading.Thread(target=signal.pause, daemon=True).start()
    return unprivileged()


def without_fsopen() -> Callable[..., VeryTmpRoot]:
    """As on Linux 5.1: no mount(2) in this process's own namespace, where others would see it."""

    def fsopen(fsname: str) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    _syscalls.fsopen = fsopen
    return privileged()


def in_mounts_of_another_namespace() -> Callable[..., VeryTmpRoot]:
    """As after ``nsenter --mount --setuid``: the user namespace that owns the mounts is this user's, and not entered.

    fsopen(2) asks for a capability there, and FSCONFIG_CMD_CREATE for one in this process's own.
    """
    kernel.mounting_namespaces()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        kernel.mounting_namespaces()
        os.write(writing, b"x")
        signal.pause()
    os.read(reading, 1)
    mounts = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
    kernel.libc.setns(mounts, kernel.CLONE_NEWNS)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return unprivileged()


def entered() -> Callable[..., VeryTmpRoot]:
    verytmp.enter()
    return VeryTmpRoot


@pytest.mark.parametrize(
    ("situation", "options", "how"),
    [
        (privileged, {}, "directly, by fsopen(2)"),
        (filtered, {}, "via a forked child, by fsopen(2)"),
        (unprivileged, {}, "via a forked child, by fsopen(2)"),
        (with_threads, {}, "via a fresh child, by fsopen(2)"),
        (without_fsopen, {}, "via a forked child, by mount(2)"),
        (in_mounts_of_another_namespace, {}, "via a forked child, by fsopen(2)"),
        (privileged, {"at": AT}, "via a forked child, by fsopen(2)"),
        (entered, {}, "in the namespace that this process has entered, by fsopen(2)"),
        (entered, {"at": AT, "host": "ro"}, "via a forked child, by fsopen(2)"),
    ],
)
def test_who_makes_it(situation: Callable[[], Callable[..., VeryTmpRoot]], options: dict[str, Any], how: str) -> None:
    def ask() -> tuple[str, bool]:
        with situation()(**options) as root:
            (root / "f").touch()
            mounter: Any = root._tree.mounter
            return root._how_made, mounter.in_entered

    assert in_child(ask) == (how, "entered" in how)


def test_an_option_that_is_refused_is_not_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(child, "perform")

    def ask() -> bool:
        with pytest.raises(ValueError, match="size"):
            privileged()(size="banana")
        return True

    assert in_child(ask)


def test_a_factory_tries_once_whether_this_process_may() -> None:
    """From the first refusal on, all roots are its helper's."""

    def ask() -> list[str]:
        kernel.mounting_namespaces()
        with VeryTmpFactory() as factory:
            made = [factory()._how_made]
            for wanted in (False, True):
                kernel.use_capability(kernel.CAP_SYS_ADMIN, wanted)
                made.append(factory()._how_made)
            return made

    assert [how.partition(",")[0] for how in in_child(ask)] == ["directly", *["via a helper process"] * 2]


def test_a_helper_that_cannot_be_had_leaves_it_to_a_child() -> None:
    def ask() -> list[str]:
        kernel.libc.prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: it would become a child of this process
        with VeryTmpFactory() as factory:
            return [factory()._how_made for _ in range(2)]

    assert by_helper(ask) == ["via a forked child, by fsopen(2)"] * 2


def test_a_name_that_another_root_has() -> None:
    """In a run of pytest, which has gone into its namespace by itself, the second one gets a namespace of its own."""

    def ask() -> list[str]:
        go_inside()
        with VeryTmpRoot(at=AT) as first, VeryTmpRoot(at=AT) as second:
            (second / "f").touch()
            assert os.listdir(AT) == []
            with pytest.raises(NotADirectoryError):  # any other refusal is one
                VeryTmpRoot(at="/dev/null")
            return [first._how_made, second._how_made]

    assert [how.partition(",")[0] for how in in_child(ask)] == [
        "in the namespace that this process has entered",
        "via a forked child",
    ]


def without_capabilities() -> Callable[..., VeryTmpRoot]:
    verytmp.enter()
    kernel.drop_capabilities()
    return VeryTmpRoot


@pytest.mark.parametrize(
    ("situation", "at"), [(unprivileged, None), (unprivileged, AT), (with_threads, AT), (without_capabilities, None)]
)
def test_it_can_be_changed_later(situation: Callable[[], Callable[..., VeryTmpRoot]], at: str | None) -> None:
    """In the user namespace in which it was made, which takes its descriptor; or by the helper that has made it."""

    def ask() -> int:
        with situation()(size="1m", at=at) as root:
            root.resize(size="2m")
            return root.usage().total

    assert in_child(ask) == 2 << 20


def test_the_name_of_a_file_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a chroot without /dev/null; a directory of that name does not do."""
    monkeypatch.setattr(strategy, "FILES", ("/nonexistent/null", "/proc", "/proc/version"))
    assert strategy.impossible_name() == "proc/version"
    monkeypatch.setattr(strategy, "FILES", ("/nonexistent/null", "/proc"))
    with pytest.raises(VeryTmpUnavailable, match=r"none of /nonexistent/null, /proc.*Mount /proc") as caught:
        strategy.impossible_name()
    assert (caught.value.step, caught.value.errno, caught.value.cause) == ("/dev/null", errno.ENOENT, VeryTmpCause.PROC)
