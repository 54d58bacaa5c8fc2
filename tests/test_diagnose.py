"""From a refusal to its cause and a remedy. What can be made real is; of the rest, the rules are told."""

from __future__ import annotations

import errno
import gc
import os
import platform
import resource
import select
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support import kernel, refusals
from support.children import in_child
from support.kernel import Rule

from verytmp import VeryTmpCause, VeryTmpFactory, VeryTmpRoot, VeryTmpUnavailable, available
from verytmp._diagnosis.rules import judge

UNSHARE = "unshare(CLONE_NEWUSER|CLONE_NEWNS)"
ENOSYS_MOUNTS = [Rule(call, errno.ENOSYS) for call in ("fsopen", "fsconfig", "fsmount", "mount")]


def refusal(set_up: Callable[[], object], threads: int = 1) -> VeryTmpUnavailable:
    """What making a root raises in a child that was set up so; everything is loaded before, as in a program."""

    def make() -> Any:
        VeryTmpRoot().close()
        gc.collect()  # descriptors in the garbage of earlier tests would be closed in the middle of this
        set_up()
        stop = threading.Event()
        for _ in range(threads - 1):
            threading.Thread(target=stop.wait, daemon=True).start()
        try:
            VeryTmpRoot().close()
        except VeryTmpUnavailable as error:
            stop.set()
            assert not available()
            return error
        return "a root was made"

    error = in_child(make)
    assert isinstance(error, VeryTmpUnavailable), error
    return error


@pytest.mark.parametrize("threads", [1, 3], ids=["forked", "fresh"])
@pytest.mark.parametrize(
    ("set_up", "step", "cause", "evidence", "remedy"),
    [
        (refusals.docker, UNSHARE, VeryTmpCause.SECCOMP_CALL, "unshare(0): EPERM", "seccomp"),
        (refusals.crio, UNSHARE, VeryTmpCause.SECCOMP_CALL, "Seccomp: 2", "seccomp"),
        (
            refusals.systemd_namespaces,
            UNSHARE,
            VeryTmpCause.SECCOMP_FLAGS,
            "unshare(CLONE_NEWUSER|1): EPERM",
            "RestrictNamespaces=user mnt",
        ),
        (refusals.systemd_mounts, "mount(MS_PRIVATE)", VeryTmpCause.SECCOMP_CALL, "Seccomp: 2", "fsopen"),
        (refusals.systemd_mounts_killing, "fsopen", VeryTmpCause.SECCOMP_CALL, "Seccomp: 2", "fsopen"),
        (
            partial(kernel.limit_namespaces, "user", 0),
            UNSHARE,
            VeryTmpCause.SYSCTL,
            "user.max_user_namespaces: 0",
            "sudo sysctl -w user.max_user_namespaces=15000",
        ),
        (
            partial(kernel.limit_namespaces, "mnt", 0),
            UNSHARE,
            VeryTmpCause.SYSCTL,
            "user.max_mnt_namespaces: 0",
            "sudo sysctl -w user.max_mnt_namespaces=15000",
        ),
        (
            refusals.root_without_setfcap,
            "uid_map",
            VeryTmpCause.CAPABILITY,
            "CapEff: 0000000000000000",
            "--cap-add SETFCAP",
        ),
        (refusals.read_only_proc, "setgroups", VeryTmpCause.PROC, "", "remount,rw /proc"),
        (kernel.hide_proc, "/proc/thread-self/status", VeryTmpCause.PROC, "", "mount -t proc proc /proc"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_made_real(
    set_up: Callable[[], object], step: str, cause: VeryTmpCause, evidence: str, remedy: str, threads: int
) -> None:
    error = refusal(set_up, threads)
    assert error.step == step
    assert error.cause is cause
    assert evidence in "; ".join(error.evidence)
    assert remedy in error.remedy
    less = 'with weaker guarantees and no limits: VeryTmpRoot(fallback="shm"); '
    assert f" What to do: {error.remedy} ({less}more: python -m verytmp doctor, and " in str(error)


def test_in_a_chroot(host: Path) -> None:
    error = refusal(lambda: refusals.chroot(str(host)))
    assert (error.step, error.errno, error.cause) == (UNSHARE, errno.EPERM, VeryTmpCause.CHROOT)
    assert "root: not mounted" in error.evidence
    assert "pivot_root" in error.remedy


def test_in_a_chroot_onto_a_mount_point(host: Path) -> None:
    """From inside it looks like any root, so that is said to be likely, and no more."""
    error = refusal(lambda: refusals.chroot(str(host), mounted=True))
    assert (error.step, error.errno, error.cause) == (UNSHARE, errno.EPERM, VeryTmpCause.UNKNOWN)
    assert "root: mounted" in error.evidence
    assert error.remedy.startswith("Most likely this is a chroot onto a mount point: enter the tree with pivot_root(2)")


@pytest.mark.skipif(not refusals.has_landlock(), reason="this kernel has no Landlock")
def test_under_landlock() -> None:
    error = refusal(refusals.landlock)
    assert (error.step, error.errno, error.cause) == ("setgroups", errno.EACCES, VeryTmpCause.LANDLOCK)
    assert "before the process is restricted" in error.remedy


def test_one_namespace_and_no_more() -> None:
    def make() -> Any:
        kernel.limit_namespaces("mnt", 2)  # the mount's own, and its maker's; the user namespace is one for all
        with VeryTmpRoot(), pytest.raises(VeryTmpUnavailable) as caught:
            VeryTmpRoot()
        return caught.value

    error = in_child(make)
    assert error.cause is VeryTmpCause.LIMIT
    assert "user.max_mnt_namespaces: 2" in error.evidence
    assert "Close other roots" in error.remedy


def test_a_kernel_without_any_of_it() -> None:
    def none() -> None:
        refusals.unprivileged()
        kernel.seccomp(*ENOSYS_MOUNTS)

    error = refusal(none)
    assert error.errno == errno.ENOSYS
    assert error.cause is VeryTmpCause.SECCOMP_CALL  # which is what makes this kernel an old one


def test_a_kernel_with_the_old_call_alone() -> None:
    """Down to mount(2), there is a root."""

    def make() -> str:
        refusals.unprivileged()
        kernel.seccomp(*ENOSYS_MOUNTS[:3])
        return repr(VeryTmpRoot())

    assert "by mount(2)" in in_child(make)


@pytest.mark.skipif(os.geteuid() == 0, reason="root is beyond RLIMIT_NPROC")
def test_no_more_processes() -> None:
    error = refusal(lambda: resource.setrlimit(resource.RLIMIT_NPROC, (1, 1)))
    assert (error.step, error.cause) == ("fork", VeryTmpCause.LIMIT)
    assert "ulimit -u" in error.remedy


def test_the_table_of_open_files_is_full() -> None:
    error = refusal(lambda: kernel.fill_descriptor_table(0))
    assert error.cause is VeryTmpCause.DESCRIPTORS
    assert "ulimit -n" in error.remedy


def test_a_diagnosis_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing() -> dict[str, str]:
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr("verytmp._mounting.refusals.facts", nothing)
    error = refusal(refusals.docker)
    assert (error.step, error.errno, error.cause) == (UNSHARE, errno.EPERM, VeryTmpCause.UNKNOWN)
    assert "the diagnosis failed: ZeroDivisionError" in str(error)


UBUNTU = {"kernel.apparmor_restrict_unprivileged_userns": "1", "Seccomp": "0"}
FEDORA = {"selinux": "1", "label": "system_u:system_r:container_t:s0:c1,c2", "Seccomp": "0"}
PLAIN = {"Seccomp": "0", "root": "mounted", "euid": "1000", "egid": "1000", "CapEff": "0", "namespaces": "yes"}
CONFINED = PLAIN | {"label": "app (enforce)"}
ALLOWED = {"unshare(0)": 0, "unshare(CLONE_NEWUSER|1)": errno.EINVAL}


@pytest.mark.parametrize(
    ("refused", "facts", "tried", "cause", "remedy"),
    [
        # Ubuntu 24.04: unshare succeeds, and AppArmor takes the capabilities away.
        ([("setgroups", errno.EACCES)], UBUNTU, ALLOWED, "apparmor", "apparmor_restrict_unprivileged_userns=0"),
        ([("uid_map", errno.EPERM)], UBUNTU, ALLOWED, "apparmor", "flags=(unconfined)"),
        (
            [("setgroups", errno.EACCES)],
            PLAIN | {"label after that": "unprivileged_userns (enforce)"},
            ALLOWED,
            "apparmor",
            "Allow it for one program, by an AppArmor profile with flags=(unconfined)",  # Debian has no such setting
        ),
        ([("fsopen", errno.EPERM), ("mount", errno.EACCES)], UBUNTU, ALLOWED, "apparmor", "sysctl"),
        # AppArmor 4.1: a profile that confines files, without attach_disconnected; one without userns; one that lets
        # namespaces be made, and takes capabilities.
        ([("mkdirat", errno.EACCES)], CONFINED, ALLOWED, "apparmor", "profile app flags=(attach_disconnected)"),
        ([("mkdirat", errno.EACCES)], CONFINED | {"Seccomp": "2"}, ALLOWED, "apparmor", "(attach_disconnected)"),
        ([(UNSHARE, errno.EACCES)], CONFINED, ALLOWED, "apparmor", "To the AppArmor profile app add: userns (from"),
        ([("setgroups", errno.EACCES)], CONFINED, ALLOWED, "apparmor", "@{PROC}"),
        (
            [(UNSHARE, errno.EPERM)],
            PLAIN | {"label after that": "unprivileged_userns (enforce)"},
            ALLOWED | {"unshare(CLONE_NEWUSER)": 0},
            "apparmor",
            "for one program",
        ),
        # 5.10: one without capabilities refuses both, and either.
        (
            [(UNSHARE, errno.EPERM)],
            CONFINED,
            ALLOWED | {"unshare(CLONE_NEWUSER)": errno.EPERM},
            "apparmor",
            "To the AppArmor profile app add: userns (from AppArmor 4.0 on), capability sys_admin,",
        ),
        # firejail: its default profile, and with --seccomp.
        (
            [(UNSHARE, errno.EPERM)],
            PLAIN | {"Seccomp": "2", "inside": "firejail docker"},
            {"unshare(0)": 0, "unshare(CLONE_NEWUSER|1)": errno.EPERM},
            "seccomp-flags",
            "--ignore=restrict-namespaces --ignore=seccomp",
        ),
        (
            [(UNSHARE, errno.EPERM)],
            PLAIN | {"Seccomp": "2", "inside": "firejail docker"},
            {"unshare(0)": errno.EPERM},
            "seccomp-call",
            "--ignore=restrict-namespaces --ignore=seccomp",
        ),
        (
            [("open_tree", errno.EPERM)],
            PLAIN | {"Seccomp": "2", "inside": "firejail"},
            ALLOWED,
            "seccomp-call",
            "!open_tree,!move_mount,!mount_setattr' in its place.",
        ),
        ([("uid_map", errno.EPERM)], PLAIN | {"euid": "0"}, ALLOWED, "capability", "docker run --cap-add"),
        (
            [("uid_map", errno.EPERM)],
            PLAIN | {"euid": "0", "inside": "podman"},
            ALLOWED,
            "capability",
            "podman run --cap-add",
        ),
        ([(UNSHARE, errno.EACCES)], UBUNTU | {"label": "unconfined"}, ALLOWED, "apparmor", "sysctl"),
        # Docker's own AppArmor profile, where its seccomp profile was opened for mount(2) alone.
        (
            [("fsopen", errno.EPERM), ("mount", errno.EACCES)],
            PLAIN | {"label": "docker-default (enforce)"},
            ALLOWED,
            "apparmor",
            "mount fstype=tmpfs",
        ),
        ([(UNSHARE, errno.EACCES)], FEDORA, ALLOWED, "selinux", "ausearch"),
        ([("fsconfig(CMD_CREATE)", errno.EACCES)], FEDORA, ALLOWED, "selinux", "label=disable"),
        ([("mkdirat", errno.EACCES)], FEDORA, ALLOWED, "selinux", "label=disable"),
        # gVisor before the new mount API, and a kernel with nothing at all.
        (
            [("fsopen", errno.ENOSYS), ("mount", errno.ENOSYS)],
            PLAIN | {"kernel": "Linux 4.4.0"},
            {},
            "kernel",
            "fsopen",
        ),
        # gVisor of July 2024, asked for a root with a name, which mount(2) alone cannot make.
        ([("fsopen", errno.ENOSYS)], PLAIN | {"inside": "gvisor"}, ALLOWED, "kernel", "leave out at="),
        ([("fsopen", errno.ENODEV)], PLAIN, ALLOWED, "kernel", "tmpfs"),
        ([(UNSHARE, errno.ENOSYS)], PLAIN, {}, "kernel", "namespaces"),
        ([(UNSHARE, errno.EINVAL)], PLAIN | {"namespaces": "no"}, {}, "kernel", "WSL"),
        # Debian 10, linux-hardened.
        (
            [(UNSHARE, errno.EPERM)],
            PLAIN | {"kernel.unprivileged_userns_clone": "0"},
            ALLOWED,
            "sysctl",
            "kernel.unprivileged_userns_clone=1",
        ),
        ([(UNSHARE, errno.EPERM)], PLAIN | {"uid_map": "0 100000 500"}, ALLOWED, "uid-map", "mapped"),
        ([(UNSHARE, errno.EPERM)], PLAIN, ALLOWED, "unknown", "Most likely this is a chroot onto a mount point"),
        ([(UNSHARE, errno.EPERM)], PLAIN | {"root": "not mounted"}, ALLOWED, "chroot", "pivot_root"),
        ([(UNSHARE, errno.EACCES)], PLAIN, ALLOWED, "unknown", ""),
        ([("uid_map", errno.EPERM)], PLAIN, ALLOWED, "unknown", ""),
        ([("setgroups", errno.EACCES)], FEDORA, ALLOWED, "selinux", "ausearch"),
        ([("setgroups", errno.EACCES)], PLAIN, ALLOWED, "landlock", "before the process is restricted"),
        ([("fork", errno.EAGAIN)], PLAIN, {}, "limit", "ulimit -u"),
        ([(UNSHARE, errno.EUSERS)], PLAIN, ALLOWED, "limit", "Leave"),
        # bwrap --disable-userns: the limit is further out, and cannot be read.
        (
            [(UNSHARE, errno.ENOSPC)],
            PLAIN | {"user.max_user_namespaces": "2147483647", "user.max_mnt_namespaces": "2147483647"},
            ALLOWED,
            "limit",
            "bwrap",
        ),
        ([("fsmount", errno.ENOSPC)], PLAIN | {"user.max_mnt_namespaces": "5"}, ALLOWED, "limit", "raise the limit"),
        ([("uid_map", errno.EPERM)], PLAIN | {"inside": "lambda"}, ALLOWED, "seccomp-call", "AWS Lambda"),
        ([("mkdirat", errno.EOVERFLOW)], PLAIN, ALLOWED, "uid-map", "as the user"),
        ([("mount(MS_PRIVATE)", errno.EPERM)], PLAIN, ALLOWED, "landlock", "before the process is restricted"),
        # As Debian's runsc of 2022 answers, a user and root.
        ([("mount(MS_PRIVATE)", errno.EPERM)], PLAIN | {"inside": "gvisor"}, ALLOWED, "kernel", "a newer gVisor"),
        ([("mount(MS_SLAVE)", errno.EINVAL)], PLAIN | {"inside": "gvisor"}, ALLOWED, "kernel", "a newer gVisor"),
        ([("posix_spawn", errno.ENOENT)], PLAIN, {}, "python", ""),
        ([("start", errno.ETIMEDOUT)], PLAIN, {}, "child", "dmesg"),
        # Each container has its own way of saying it.
        *(
            (
                [(UNSHARE, errno.EPERM)],
                PLAIN | {"Seccomp": "2", "inside": inside},
                {"unshare(0)": 1},
                "seccomp-call",
                words,
            )
            for inside, words in {
                "docker": "docker run --security-opt seccomp=",
                "podman": "podman run",
                "docker kubernetes": "seccompProfile",
                "flatpak": "Flatpak",
                "snap": "userns interface",
                "": "SystemCallFilter=@mount",
            }.items()
        ),
    ],
)
def test_told(
    refused: list[tuple[str, int]], facts: dict[str, str], tried: dict[str, int], cause: str, remedy: str
) -> None:
    """AppArmor, SELinux, gVisor and old kernels are not to be had here: their signatures, as they were seen."""
    verdict = judge([(step, number, os.strerror(number)) for step, number in refused], facts, tried)
    assert verdict.cause == cause
    assert remedy in verdict.remedy
    assert bool(verdict.remedy) == bool(remedy)


def test_every_cause_is_met() -> None:
    """A cause that nothing can have would be a promise."""
    words = "".join(Path(__file__).with_name(f"test_{name}.py").read_text() for name in ("diagnose", "shm", "root"))
    unmet = [cause for cause in VeryTmpCause if f"VeryTmpCause.{cause.name}" not in words and str(cause) not in words]
    assert unmet == []


def test_an_answer_in_words() -> None:
    answer = available()
    assert repr(answer) == f"<VeryTmpAvailability: {answer}>"


GREEN = pytest.mark.parametrize(
    ("package", "patcher", "asked", "call"),
    [
        ("gevent", "gevent.monkey", "is_module_patched", "gevent.monkey.patch_all()"),
        ("eventlet", "eventlet.patcher", "is_monkey_patched", "eventlet.monkey_patch()"),
    ],
)


def patch(patcher: str, asked: str) -> None:
    """What gevent and eventlet leave when they have replaced modules' calls. Each of them may be there idly, too."""
    for name, function in (("gevent.monkey", "is_module_patched"), ("eventlet.patcher", "is_monkey_patched")):
        sys.modules[name] = module = ModuleType(name)
        setattr(module, function, lambda name, does=asked == function: does and name in ("select", "socket"))
    del select.epoll
    if patcher == "eventlet.patcher":
        del select.poll


@GREEN
def test_green_threads(package: str, patcher: str, asked: str, call: str) -> None:
    """They let others run in the middle of what they have replaced, in the child too."""

    def make() -> tuple[object, ...]:
        kernel.drop_capabilities(kernel.CAP_SYS_ADMIN)
        with VeryTmpFactory() as factory:
            factory().close()
            patch(patcher, asked)
            factory().close()  # its helper is there already
        with pytest.raises(VeryTmpUnavailable):
            VeryTmpFactory()()
        error = available().error
        assert error
        return error.cause, error.step, error.remedy

    remedy = f"Import verytmp and make the roots before {call}, or in another process."
    assert in_child(make) == (VeryTmpCause.PYTHON, package, remedy)


LATE = """
import sys
sys.path.insert(0, {tests!r})
from test_diagnose import patch
for name in [name for name in sys.modules if name.startswith("verytmp")]:
    del sys.modules[name]
patch({patcher!r}, {asked!r})
from verytmp import VeryTmpRoot, VeryTmpUnavailable
for fallback in ("none", "shm"):
    try:
        VeryTmpRoot(fallback=fallback)
    except VeryTmpUnavailable as error:
        print(error.cause, error.step, error.reason, error.remedy)
"""


@GREEN
def test_green_threads_from_the_start(package: str, patcher: str, asked: str, call: str) -> None:
    code = LATE.format(tests=os.path.dirname(__file__), patcher=patcher, asked=asked)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    gone = "select.epoll" if package == "gevent" else "select.epoll, select.poll"
    line = f"python select.epoll {package} has taken {gone} away Import verytmp and make the roots before {call}, or "
    assert (result.stdout, result.stderr) == (f"{line}in another process.\n" * 2, "")


PYPY = """
import os, platform, runpy, sys
for name in ("O_PATH", "posix_spawn", "posix_spawnp", "POSIX_SPAWN_DUP2", "pidfd_open", "P_PIDFD", "setxattr"):
    if hasattr(os, name):
        delattr(os, name)
sys.implementation.name = "pypy"
platform.python_implementation = lambda: "PyPy"
runpy.run_module("verytmp", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("arguments", [[], ["doctor"], ["doctor", "--json"]])
def test_another_python(arguments: list[str]) -> None:
    result = subprocess.run([sys.executable, "-c", PYPY, *arguments], capture_output=True, text=True)
    version = f"PyPy {platform.python_version()}"
    reason = f"verytmp needs CPython, and this is {version}, which has no os.O_PATH, os.posix_spawn"
    assert result.returncode == 1
    assert f"no private tmpfs could be made: os.O_PATH: {reason} (ENOSYS)." in result.stdout + result.stderr
    assert "What to do: Use CPython." in result.stdout + result.stderr
    assert "Traceback" not in result.stderr


LACKING = """
import select
del select.poll
import verytmp
for make in (verytmp.VeryTmpRoot, verytmp.VeryTmpFactory, lambda: verytmp.VeryTmpRoot(fallback="shm")):
    try:
        make()
    except verytmp.VeryTmpUnavailable as error:
        print(error.cause, error.step, error.reason, error.remedy)
"""


def test_a_python_without_what_is_needed() -> None:
    result = subprocess.run([sys.executable, "-c", LACKING], capture_output=True, text=True)
    line = (
        f"python select.poll this CPython {platform.python_version()} has no select.poll Use a Python that was built "
    )
    assert (result.stdout, result.stderr) == (f"{line}with it, or find out what has removed it.\n" * 3, "")
