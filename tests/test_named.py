"""A root with a name: where it is mounted, who sees it, and when it is gone."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from support import host_state, kernel
from support.children import in_child, processes_with

from verytmp import VeryTmpCause, VeryTmpFactory, VeryTmpPath, VeryTmpRoot, VeryTmpUnavailable

MIB = 1 << 20
MISSING = "/verytmp-named"
PLACES = ["/tmp", MISSING, f"{MISSING}/deep/er"]


def output(root: VeryTmpRoot, *args: object, **options: Any) -> str:
    """What a program writes that runs where the root has its name."""
    return str(root.run(list(args), check=True, stdout=subprocess.PIPE, text=True, **options).stdout).strip()


def lines(root: VeryTmpRoot, file: str) -> list[str]:
    return output(root, "cat", file).splitlines()


@pytest.fixture
def named() -> Iterator[VeryTmpRoot]:
    with VeryTmpRoot(at="/work", size="16m") as root:
        yield root


@pytest.mark.parametrize("at", PLACES)
def test_it_is_at_its_name(at: str) -> None:
    with VeryTmpRoot(at=at, size=MIB, mode=0o750) as root:
        (root / "f").write_text("potatoes")
        assert output(root, "cat", f"{at}/f") == "potatoes"
        output(root, "sh", "-c", f"mkdir {at}/d && echo there > {at}/d/f")
        assert (root / "d" / "f").read_text() == "there\n"
        assert output(root, "stat", "-c", "%a %u", at) == f"750 {os.geteuid()}"
        assert root.usage().total == MIB
        assert output(root, "stat", "-f", "-c", "%b", at) == str(MIB // os.sysconf("SC_PAGE_SIZE"))


@pytest.mark.parametrize("at", PLACES)
def test_nobody_else_sees_it(at: str) -> None:
    def seen() -> tuple[object, ...]:
        return host_state.mounts(), sorted(os.listdir("/")), os.path.exists(f"{at}/of-the-root")

    before = seen()
    with VeryTmpRoot(at=at) as root:
        (root / "of-the-root").touch()
        assert seen() == before
        output(root, "test", "-e", f"{at}/of-the-root")
    assert seen() == before


def test_all_that_the_host_has_is_there() -> None:
    """A directory that is missing on the host gets a "/" of its own, which hides nothing."""
    with VeryTmpRoot(at=MISSING) as root:
        names = output(root, "ls", "-A", "/").splitlines()
        assert {*names} == {*os.listdir("/"), MISSING[1:], "verytmp"}  # the last for roots that take any name
        for name in os.listdir("/"):
            status = os.lstat(f"/{name}")
            assert output(root, "stat", "-c", "%i %F", f"/{name}").partition(" ")[0] == str(status.st_ino) or (
                os.path.islink(f"/{name}") and output(root, "readlink", f"/{name}") == os.readlink(f"/{name}")
            )
        mine = {line.split()[4] for line in host_state.mounts()}
        assert mine | {MISSING} <= {line.split()[4] for line in lines(root, "/proc/self/mountinfo")}
        refused = root.run(["mkdir", "/new"], stderr=subprocess.PIPE, text=True)
        assert refused.returncode
        assert "Read-only" in refused.stderr


def test_the_hosts_content_is_not_seen_at_the_name(host: Path) -> None:
    (host / "of-the-host").touch()
    with VeryTmpRoot(at=host) as root:
        assert output(root, "ls", host) == ""
        assert root.at == PurePosixPath(host)


def test_true_is_a_name_anywhere() -> None:
    with VeryTmpRoot(at=True) as root, VeryTmpRoot(at=True) as other:
        assert str(root.at).startswith("/verytmp/")
        assert root.at != other.at
        assert output(root, "pwd") == str(root.at)


def test_paths_know_their_names(named: VeryTmpRoot) -> None:
    assert named.at == PurePosixPath("/work")
    assert (named / "a" / "b").at == PurePosixPath("/work/a/b")
    assert named.path.at == PurePosixPath("/work")
    assert (named / "a" / ".." / ".." / "b").at == PurePosixPath("/work/b")  # which programs would leave
    assert "/work" in repr(named)


def test_a_root_without_a_name_says_so(root: VeryTmpRoot) -> None:
    for ask in (lambda: root.at, lambda: (root / "f").at, lambda: root.run(["true"]), lambda: root.wrap(["true"])):
        with pytest.raises(ValueError, match="has no name: make it with at="):
            ask()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"at": "work"}, ValueError, "at must be an absolute path"),
        ({"at": "/"}, ValueError, "at must be an absolute path"),
        ({"at": "/a/../b"}, ValueError, "at must be an absolute path"),
        ({"at": "//a"}, ValueError, "at must be an absolute path"),
        ({"at": "/a\0"}, ValueError, "null byte in at"),
        ({"at": 7}, TypeError, "at must be True, a str or a path, not int"),
        ({"at": b"/a"}, TypeError, "not bytes"),
        ({"at": "/work", "host": "no"}, ValueError, "host must be 'rw' or 'ro', not 'no'"),
        ({"host": "ro"}, ValueError, "host='ro' needs a root with a name"),
        ({"at": "/work", "fallback": "shm"}, ValueError, "at cannot be kept"),
    ],
)
def test_what_is_no_name(options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        VeryTmpRoot(**options)


def test_a_fork_has_it_too(named: VeryTmpRoot) -> None:
    (named / "f").write_text("potatoes")
    assert in_child(output, named, "cat", "f") == "potatoes"


def test_a_name_that_nothing_can_be_at() -> None:
    with pytest.raises(FileNotFoundError, match="or take a name right below /") as missing:
        VeryTmpRoot(at="/proc/nowhere/at/all")
    assert missing.value.filename == "/proc/nowhere/at/all"
    with pytest.raises(NotADirectoryError) as file:
        VeryTmpRoot(at="/proc/version")
    assert file.value.filename == "/proc/version"


# -- links -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "strings", "name"), [(None, False, True), (True, False, False), (False, True, True)])
def test_who_follows_links(asked: bool | None, strings: bool, name: bool) -> None:
    """The name does by default, for programs need it; and no string of a path."""
    with VeryTmpRoot(at="/work", nosymfollow=asked) as root:
        (root / "f").write_text("potatoes")
        (root / "link").symlink_to("f")
        assert (root / "link").read_text() == "potatoes"
        assert root.run(["cat", "link"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == (not name)
        assert root.nosymfollow == (not strings)
        if strings:
            assert Path(str(root / "link")).read_text() == "potatoes"
        else:
            with pytest.raises(OSError, match="symbolic links") as refused:
                Path(str(root / "link")).read_text()
            assert refused.value.errno == errno.ELOOP


@pytest.mark.parametrize("answer", [errno.ENOSYS, errno.EINVAL])
@pytest.mark.parametrize("asked", [None, True])
def test_before_there_is_an_attribute_against_links(asked: bool | None, answer: int) -> None:
    """Linux 5.10 to 5.13: by the old call, which keeps the other flags."""

    def make() -> tuple[bool, int, int]:
        kernel.seccomp(kernel.Rule("mount_setattr", answer))
        with VeryTmpRoot(at="/work", nosymfollow=asked, noexec=True) as root:
            (root / "link").symlink_to("f")
            (root / "f").touch()
            followed = root.run(["cat", "link"], stderr=subprocess.DEVNULL).returncode == 0
            return root.nosymfollow, followed, os.statvfs(root).f_flag & (os.ST_NOEXEC | os.ST_NOSUID | os.ST_NODEV)

    every = os.ST_NOEXEC | os.ST_NOSUID | os.ST_NODEV
    assert in_child(make) == (True, not asked, every)


@pytest.mark.parametrize("words", ["/etc/hostname", "../../../etc/hostname"])
def test_paths_stay_inside_where_the_name_leads_out(named: VeryTmpRoot, words: str) -> None:
    (named / "link").symlink_to(words)
    output(named, "test", "-e", "/work/link")
    assert not (named / "link").exists()
    with pytest.raises(FileNotFoundError):
        (named / "link").read_text()


def test_it_cannot_be_executed_if_that_was_asked() -> None:
    with VeryTmpRoot(at="/work", noexec=True) as root:
        (root / "program").write_text("#!/bin/sh\n")
        (root / "program").chmod(0o700)
        with pytest.raises(PermissionError):
            root.run([root / "program"])


# -- the host ----------------------------------------------------------------------------------------------------------


@pytest.mark.needs("host='ro'")
@pytest.mark.parametrize("at", ["/work", "/tmp"])
def test_the_host_can_be_read_only(at: str, host: Path) -> None:
    """Every mount there is: nothing can be made in it, nor in what is mounted on it."""
    with VeryTmpRoot(at=at, host="ro") as root:
        # Of mounts over each other, the last one is seen.
        for place, options in dict(line.split()[4:6] for line in lines(root, "/proc/self/mountinfo")).items():
            assert (place == at) == (options.split(",")[0] == "rw"), place
        refused = root.run(["touch", host / "new"], stderr=subprocess.PIPE, text=True)
        assert "Read-only file system" in refused.stderr
        for place in dict.fromkeys(line.split()[4] for line in lines(root, "/proc/self/mountinfo")):
            if place != at:
                made = root.run(["mkdir", f"{place}/verytmp-escaped"], stderr=subprocess.DEVNULL)
                assert made.returncode, place
                assert not os.path.lexists(f"{place}/verytmp-escaped")
        output(root, "touch", "mine")
        output(root, "sh", "-c", "echo > /dev/null")
        assert (root / "mine").exists()
    (host / "new").touch()


def test_the_host_can_be_written_by_default(named: VeryTmpRoot, host: Path) -> None:
    output(named, "touch", host / "new")
    assert (host / "new").exists()


# -- its life ----------------------------------------------------------------------------------------------------------


def test_its_descriptors_go_together(named: VeryTmpRoot) -> None:
    before = host_state.descriptors()
    root = VeryTmpRoot(at="/work")
    new = host_state.new_descriptors(before)
    assert [path for path in new.values() if path.startswith("mnt:")] != []
    assert not any(os.get_inheritable(number) for number in new)
    root.close()
    assert host_state.new_descriptors(before) == {}
    for ask in (root.run, root.popen, root.wrap):
        with pytest.raises(ValueError, match="closed"):
            ask(["true"])
    del root, ask
    root = VeryTmpRoot(at="/work")
    path: VeryTmpPath | None = root / "f"
    del root
    assert path is not None
    path.write_text("it lives")
    path = None
    assert host_state.new_descriptors(before) == {}


FILLED = """
import os, signal, sys
from verytmp import VeryTmpRoot

root = VeryTmpRoot(at=sys.argv[1])
for number in range(192):
    (root / str(number)).write_bytes(b"x" * (1 << 20))
program = root.popen(["sleep", "60"]) if sys.argv[2] == "with" else None
print(program.pid if program else 0, flush=True)
sys.stdin.readline()
"""


def shared_memory_falls(limit: int) -> bool:
    for _ in range(200):
        if host_state.shared_memory() < limit:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("at", ["/tmp", MISSING])
@pytest.mark.parametrize("program", ["with", "without"])
def test_a_kill_leaves_nothing(at: str, program: str) -> None:
    """But what a program keeps that is still in it, until that ends too."""
    before = host_state.shared_memory()
    command = [sys.executable, "-c", FILLED, at, program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert host_state.shared_memory() > before + 64 * MIB
        process.kill()
    if program == "with":
        time.sleep(0.2)
        assert host_state.shared_memory() > before + 64 * MIB
        os.kill(pid, signal.SIGKILL)
    assert shared_memory_falls(before + 64 * MIB)


@pytest.mark.usefixtures("machine")
def test_closing_frees_it_when_no_program_is_left() -> None:
    before = host_state.shared_memory()
    root = VeryTmpRoot(at="/work")
    (root / "f").write_bytes(b"x" * 192 * MIB)
    program = root.popen(["sleep", "60"])
    root.close()
    time.sleep(0.2)
    assert host_state.shared_memory() > before + 64 * MIB
    program.kill()
    program.wait()
    assert shared_memory_falls(before + 64 * MIB)


def test_nothing_is_left_of_one_that_is_killed_while_it_makes_them() -> None:
    """At random moments, and what was started for it goes too."""
    code = "from verytmp import VeryTmpRoot\nprint(flush=True)\nwhile True: VeryTmpRoot(at='/work').run(['true'])"
    mark = f"verytmp-killed-{os.getpid()}"
    before = host_state.mounts()
    for delay in (0.0, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05):
        environment = os.environ | {"VERYTMP_MARK": mark}
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(delay)
            process.kill()
    for _ in range(100):
        if not processes_with(mark):
            break
        time.sleep(0.05)
    assert processes_with(mark) == []
    assert host_state.mounts() == before


# -- other ways --------------------------------------------------------------------------------------------------------


def test_a_factory_makes_them_too(host: Path) -> None:
    with VeryTmpFactory(at="/work", size="16m") as factory:
        roots = [factory() for _ in range(3)]
        for number, root in enumerate(roots):
            (root / "f").write_text(str(number))
        assert [output(root, "cat", "/work/f") for root in roots] == ["0", "1", "2"]
        with factory(at=None) as nameless, pytest.raises(ValueError, match="has no name"):
            nameless.run(["true"])
        with factory(at=host) as other:
            assert output(other, "pwd") == str(host)
        for root in roots:
            root.close()


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "step", "at"),
    [
        ("open_tree", "open_tree", "/tmp"),
        ("open_tree", "open_tree", MISSING),
        ("move_mount", "move_mount", "/tmp"),
        ("mount", "mount(MS_SLAVE)", "/tmp"),
        ("mount_setattr", "mount_setattr(MOUNT_ATTR_RDONLY)", "/tmp"),
        ("umount2", "umount2", "/tmp"),
    ],
)
def test_each_refused_step_is_named_with_what_to_do(call: str, step: str, at: str) -> None:
    def make() -> object:
        kernel.seccomp(kernel.Rule(call, errno.EPERM))
        try:
            VeryTmpRoot(at=at, host="ro" if call == "mount_setattr" else "rw")
        except VeryTmpUnavailable as error:
            return error
        return "it was made"

    error = in_child(make)
    assert isinstance(error, VeryTmpUnavailable), error
    assert (error.step, error.errno) == (step, errno.EPERM)
    assert error.cause is VeryTmpCause.SECCOMP_CALL
    assert "open_tree, move_mount, mount_setattr" in error.remedy


def test_an_old_kernel_is_named() -> None:
    from verytmp._diagnosis.rules import judge

    verdict = judge([("open_tree", errno.ENOSYS, "Function not implemented")], {"Seccomp": "0", "kernel": "4.19"}, {})
    assert verdict.cause is VeryTmpCause.KERNEL
    assert "Linux 5.2" in verdict.remedy
    assert verdict.remedy.endswith("leave out at=.")
    assert "kernel: 4.19" in verdict.evidence
    verdict = judge([("pivot_root", errno.EINVAL, "Invalid argument")], {"Seccomp": "0"}, {})
    assert "a directory that exists" in verdict.remedy
    verdict = judge([("mount(MS_SLAVE)", errno.EINVAL, "Invalid argument")], {"root": "not mounted"}, {})
    assert verdict.cause is VeryTmpCause.CHROOT
    assert verdict.remedy.endswith("or leave out at=.")  # it has CAP_SYS_ADMIN
    verdict = judge([("mount_setattr(MOUNT_ATTR_RDONLY)", errno.ENOSYS, "Function not implemented")], {}, {})
    assert verdict.remedy.endswith("leave out host=.")
