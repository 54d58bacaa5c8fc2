"""The privileged operations, in a child's own namespaces, whoever runs the tests."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from support import host_state, kernel, refusals
from support.children import in_child
from support.kernel import Rule

from verytmp import VeryTmpRoot, _syscalls
from verytmp._cli.doctor import FEATURES
from verytmp._mounting import namespaces, probes, spec, tmpfs
from verytmp._mounting.options import make_spec
from verytmp._mounting.protocol import CallLog
from verytmp._mounting.spec import MountSpec


def mounted(given: dict[str, object], *rules: Rule) -> dict[str, Any]:
    """Make a mount in new namespaces under a filter; what can be said of the descriptors that come out."""

    def make() -> dict[str, Any]:
        kernel.seccomp(*rules)
        log = CallLog()
        before = host_state.descriptors()
        named = make_spec(given).replace(directory="dev/null", token="x7k2m9qa")
        try:
            for namespace in namespaces.enter_namespaces(log):
                os.close(namespace)
            fds, how = tmpfs.make_tmpfs(named, log, private=True)
        except OSError as error:
            return {"refusals": log.refused(error), "left": host_state.descriptors().keys() - before.keys()}
        above, mount = fds
        root = os.open("x7k2m9qa", os.O_PATH, dir_fd=above)
        status, usage = os.stat(root), os.statvfs(root)
        return {
            "how": how,
            "refusals": log.refusals,
            "left": host_state.descriptors().keys() - before.keys() - {root, *fds},
            "path": os.readlink(f"/proc/self/fd/{root}"),
            "mode": status.st_mode & 0o7777,
            "owner": (status.st_uid, status.st_gid),
            "flags": usage.f_flag,
            "size": usage.f_blocks * usage.f_frsize,
            "inodes": usage.f_files,
            "free inodes": usage.f_ffree,
            "names": os.listdir(os.open(".", os.O_RDONLY, dir_fd=root)),
            "named by": [
                line for line in host_state.mounts() if f" {os.major(status.st_dev)}:{os.minor(status.st_dev)} " in line
            ],
            "top": outermost(root),
            "same mount": os.path.samestat(os.stat(mount), os.stat("../..", dir_fd=above)),
            "above": (os.stat(above).st_mode & 0o7777, os.stat("..", dir_fd=above).st_mode & 0o7777),
        }

    result: dict[str, Any] = in_child(make)
    return result


def outermost(directory: int) -> list[str]:
    """What one finds who goes up from a directory as far as it goes."""
    path = os.path.join(*[".."] * 20)
    top = os.open(path, os.O_PATH | os.O_DIRECTORY, dir_fd=directory)
    return os.listdir(os.open(".", os.O_RDONLY, dir_fd=top))


NO_NEW_API = [Rule(call, errno.ENOSYS) for call in ("fsopen", "fsconfig", "fsmount")]
WAYS = {"fsopen": [], "mount": NO_NEW_API}


@pytest.fixture(params=[pytest.param("fsopen", marks=pytest.mark.needs("MOUNT_ATTR_NOSYMFOLLOW")), "mount"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_mount_of_its_own(way: str) -> None:
    made = mounted({"mode": 0o750, "nosymfollow": True, "size": "1m", "nr_inodes": 10}, *WAYS[way])
    assert made["how"] == way
    assert made["path"] == "/dev/null/x7k2m9qa"
    assert made["same mount"]
    assert made["above"] == (0o755, 0o555)
    assert made["mode"] == 0o750
    assert made["owner"] == (os.geteuid(), os.getegid())
    assert made["size"] == 1 << 20
    assert made["flags"] & (os.ST_NOSUID | os.ST_NODEV) == os.ST_NOSUID | os.ST_NODEV
    assert not made["flags"] & os.ST_NOEXEC
    assert made["flags"] & _syscalls.ST_NOSYMFOLLOW
    assert made["names"] == []
    assert made["left"] == set()


def test_it_is_detached(way: str) -> None:
    made = mounted({}, *WAYS[way])
    assert made["named by"] == []
    assert made["top"] == ["dev"]


def test_attributes_are_the_mounts(way: str) -> None:
    made = mounted({"noexec": True}, *WAYS[way])
    assert made["flags"] & os.ST_NOEXEC
    assert not made["flags"] & _syscalls.ST_NOSYMFOLLOW


def test_hidden_directories_are_not_charged(way: str) -> None:
    made = mounted({"nr_inodes": 4}, *WAYS[way])
    assert made["free inodes"] == 4 - 1  # the root directory is the user's, as in any tmpfs


def test_the_umask_does_not_change_the_mode(way: str) -> None:
    old = os.umask(0o077)
    try:
        assert mounted({"mode": 0o2775}, *WAYS[way])["mode"] == 0o2775
    finally:
        os.umask(old)


def test_the_kernels_words_for_a_refused_option() -> None:
    made = mounted({"size": "banana"})
    assert made["refusals"] == [("fsconfig(size)", errno.EINVAL, "tmpfs: Bad value for 'size'")]
    assert made["left"] == set()


def test_mount2_has_no_words() -> None:
    made = mounted({"size": "banana"}, *NO_NEW_API)
    assert made["refusals"] == [
        ("fsopen", errno.ENOSYS, "Function not implemented"),
        ("mount", errno.EINVAL, "Invalid argument"),
    ]
    assert made["left"] == set()


def test_a_comma_is_no_way_to_another_option() -> None:
    made = mounted({"size": "1m,mode=0"}, *NO_NEW_API)
    assert made["refusals"][-1][:2] == ("mount", errno.EINVAL)
    assert "a comma" in made["refusals"][-1][2]
    assert mounted({"mpol": "interleave:0", "size": "1m"}, *NO_NEW_API)["how"] == "mount"


@pytest.mark.parametrize("option", ["size", "huge", "mpol"])
def test_no_value_is_refused_by_mount2_too(option: str) -> None:
    made = mounted({option: ""}, *NO_NEW_API)
    assert made["refusals"][-1] == ("mount", errno.EINVAL, f"{option}= has no value")


def test_the_error_names_what_was_asked_for_alone() -> None:
    def make() -> str:
        refusals.unprivileged()
        kernel.seccomp(*NO_NEW_API)
        with pytest.raises(ValueError, match="asked for") as caught:
            VeryTmpRoot(size="banana")
        return str(caught.value)

    assert "(asked for: size=banana)" in in_child(make)


def test_a_filter_that_knows_mount2_alone() -> None:
    made = mounted({"nosymfollow": True}, Rule("fsopen", errno.EPERM))
    assert made["how"] == "mount"
    assert made["refusals"] == [("fsopen", errno.EPERM, "Operation not permitted")]


def test_nosymfollow_by_mount2_where_fsmount_lacks_it() -> None:
    made = mounted({"nosymfollow": True}, Rule("fsmount", errno.EINVAL, 2, kernel.MOUNT_ATTR_NOSYMFOLLOW))
    assert made["how"] == "mount"
    assert made["flags"] & _syscalls.ST_NOSYMFOLLOW


def test_no_nosymfollow_where_nothing_has_it() -> None:
    lacking = Rule("fsmount", errno.EINVAL, 2, kernel.MOUNT_ATTR_NOSYMFOLLOW)
    made = mounted({"nosymfollow": True}, lacking, Rule("mount", errno.EACCES))
    assert made["how"] == "fsopen"
    assert not made["flags"] & _syscalls.ST_NOSYMFOLLOW
    assert [refusal[0] for refusal in made["refusals"]] == ["fsmount", "mount(MS_PRIVATE)"]


@pytest.mark.parametrize("call", ["fsconfig", "fsmount"])
def test_an_answer_is_not_taken_for_absence(call: str) -> None:
    made = mounted({}, Rule(call, errno.EACCES))
    assert [refusal[1] for refusal in made["refusals"]] == [errno.EACCES]
    assert made["left"] == set()


@pytest.mark.parametrize("call", ["mount", "umount2"])
def test_a_refusal_of_mount2_leaves_no_descriptor(call: str) -> None:
    made = mounted({}, *NO_NEW_API, Rule(call, errno.EPERM))
    assert made["refusals"][-1][1] == errno.EPERM
    assert made["refusals"][-1][0] == {"mount": "mount(MS_PRIVATE)", "umount2": "umount2"}[call]
    assert made["left"] == set()


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("10", 10),
        ("010", 8),
        ("0x10", 16),
        ("0XfF", 255),
        ("1k", 1 << 10),
        ("1K", 1 << 10),
        ("3m", 3 << 20),
        ("1g", 1 << 30),
        ("1T", 1 << 40),
        ("1p", 1 << 50),
        ("1e", 1 << 60),
        ("0x1e", 0x1E),
        ("0x10k", 16 << 10),
    ],
)
def test_numbers_are_read_as_the_kernel_reads_them(text: str, number: int) -> None:
    assert spec.parse_size(text) == number
    if 0 < number < 1 << 53:  # more inodes than that, and the kernel refuses
        assert mounted({"nr_inodes": text})["inodes"] == number + 3


@pytest.mark.parametrize(
    "text", ["", "k", "-1", "+1", "1.5k", "1 ", " 1", "1_0", "0x", "08", "1kb", "1z", "10%", "٣", "banana"]
)
def test_what_is_no_number_is_left_to_the_kernel(text: str) -> None:
    assert spec.parse_size(text) is None
    assert list(make_spec({"nr_inodes": text}).settings()) == [("nr_inodes", text)]


def test_no_limit_stays_no_limit() -> None:
    assert list(make_spec({"nr_inodes": 0}).settings()) == [("nr_inodes", "0")]


def test_namespaces_that_are_being_freed_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "NAMESPACE_PATIENCE", 60.0)  # on a busy machine, three pauses may take long
    answers = iter([errno.ENOSPC] * 3)

    def call() -> str:
        number = next(answers, 0)
        if number:
            raise OSError(number, os.strerror(number))
        return "made"

    assert namespaces.retry_enospc(call) == "made"


def test_patience_has_an_end() -> None:
    def call() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError) as caught:
        namespaces.retry_enospc(call)
    assert caught.value.errno == errno.ENOSPC


def test_other_answers_are_not_waited_for() -> None:
    calls = []

    def call() -> None:
        calls.append(1)
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    with pytest.raises(PermissionError):
        namespaces.retry_enospc(call)
    assert len(calls) == 1


def test_a_word_that_c_would_cut_is_refused() -> None:
    with pytest.raises(ValueError, match="embedded null byte"):
        _syscalls.fsopen("tmpfs\0x")


def test_a_mask_that_cannot_be_set() -> None:
    with pytest.raises(OSError) as caught:
        _syscalls.pthread_sigmask(12345, _syscalls.EVERY_SIGNAL)
    assert caught.value.errno == errno.EINVAL


def test_an_owner_that_is_no_number_leaves_no_descriptor(host: Path) -> None:
    before = host_state.descriptors()
    mounted = os.open(host, os.O_PATH)
    with pytest.raises(OverflowError):
        tmpfs.make_root(mounted, MountSpec(uid=10**20, directory="dev/null", token="x7k2m9qa"), CallLog())
    os.close(mounted)
    assert host_state.new_descriptors(before) == {}


def test_features_are_tried_each_alone() -> None:
    """One that is refused hides no other, and nothing is left of any."""

    def ask() -> tuple[dict[str, int], dict[int, str]]:
        log = CallLog()
        namespaces.enter_namespaces(log)
        kernel.seccomp(Rule("unshare", errno.EPERM), Rule("copy_file_range", errno.ENOSYS))
        before = host_state.descriptors()
        outcomes = {name: number for name, number, _ in probes.try_each_feature(log)}
        return outcomes, host_state.new_descriptors(before)

    outcomes, left = in_child(ask)
    assert left == {}
    assert set(outcomes) == set(FEATURES)
    assert (outcomes["user namespaces"], outcomes["copy_file_range"]) == (errno.EPERM, errno.ENOSYS)
    assert outcomes["fsopen"] == outcomes["mount"] == outcomes["inode64"] == 0
