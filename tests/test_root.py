"""`VeryTmpRoot`: its options, its members, its strings."""

from __future__ import annotations

import copy
import errno
import inspect
import os
import pickle
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from support import host_state

import verytmp
from verytmp import VeryTmpPath, VeryTmpRoot, VeryTmpUnavailable, VeryTmpUsage
from verytmp._mounting import options

MAY_MOUNT = "directly" in repr(VeryTmpRoot(at=False))


def statvfs(root: VeryTmpRoot) -> os.statvfs_result:
    return os.statvfs(root.fileno())


def test_the_seed() -> None:
    """The README of the Rust crate, in Python."""
    root = VeryTmpRoot()
    (root / "hello").mkdir()
    (root / "hello" / "f.txt").write_text("potatoes")
    with (root / "hello" / "f.txt").open() as file:
        root.close()
        assert file.read() == "potatoes"


@pytest.mark.parametrize(
    ("size", "total"),
    [(1 << 20, 1 << 20), ("1m", 1 << 20), ("64k", 65536), (1, 4096), ("10000", 12288), ("0x10k", 16384)],
)
def test_size(size: int | str, total: int) -> None:
    with VeryTmpRoot(size=size) as root:
        assert root.usage() == (total, 0, total)
        (root / "f").write_bytes(b"x" * 4096)
        assert root.usage() == VeryTmpUsage(total=total, used=4096, free=total - 4096)
        assert tuple(root.usage()) == tuple(shutil.disk_usage(os.fspath(root)))


def test_usage_of_inodes() -> None:
    with VeryTmpRoot(nr_inodes=10) as root:
        assert root.usage().inodes == (10, 1, 9)  # the root directory
        (root / "d").mkdir()
        (root / "f").touch()
        (root / "g").hardlink_to(root / "f")
        usage = root.usage()
        assert (usage.inodes.total, usage.inodes.used, usage.inodes.free) == (10, 4, 6)  # tmpfs counts names
        assert pickle.loads(pickle.dumps(usage)).inodes == copy.copy(usage).inodes == usage.inodes
        assert repr(usage) == f"VeryTmpUsage(total={usage.total}, used=0, free={usage.total})"
    with VeryTmpRoot(nr_inodes=0) as unlimited:
        assert unlimited.usage().inodes == (0, 0, 0)


def test_enospc_says_which_limit_it_was() -> None:
    with VeryTmpRoot(size="64k", nr_inodes=10) as root:
        with pytest.raises(OSError, match="No space") as caught:
            (root / "f").write_bytes(bytes(100_000))
        assert caught.value.errno == errno.ENOSPC
        assert caught.value.__notes__ == [
            "65536 of 100000 bytes were written.",
            "size= is reached: 65536 of 65536 bytes are used, and 0 are free.",
        ]
        (root / "f").unlink()
        for number in range(9):
            (root / str(number)).touch()
        with pytest.raises(OSError, match="No space") as caught:
            (root / "9").touch()
        assert caught.value.__notes__ == [
            "nr_inodes= is reached: all 10 files, directories and links that it allows are there."
        ]
        for make in ((root / "d").mkdir, lambda: (root / "l").symlink_to("x"), lambda: (root / "g").open("w")):
            with pytest.raises(OSError, match="No space") as caught:
                make()
            assert "nr_inodes=" in caught.value.__notes__[0]
        with pytest.raises(OSError, match="No space") as caught:
            (root / "0").write_bytes(bytes(100_000))
        assert [note.partition(" ")[0] for note in caught.value.__notes__] == ["65536", "nr_inodes=", "size="]


@pytest.mark.parametrize("nosymfollow", [True, False])
def test_the_descriptor_of_a_root_that_nobody_may_search(nosymfollow: bool) -> None:
    with VeryTmpRoot(mode=0, nosymfollow=nosymfollow) as root:
        assert stat.S_IMODE(os.fstat(root.fileno()).st_mode) == 0


def test_a_root_that_is_removed_by_its_string(root: VeryTmpRoot) -> None:
    """As any directory may be, and made anew."""
    (root / "d").mkdir()
    (root / "d" / "f").touch()
    shutil.rmtree(str(root.path))
    assert not root.path.exists()
    with pytest.raises(FileNotFoundError):
        (root / "f").touch()
    for call in (root.path.rmdir, root.path.unlink, root.path.stat, lambda: list(root.path.iterdir())):
        with pytest.raises(FileNotFoundError):
            call()
    root.path.mkdir(0o750, parents=True)
    assert stat.S_IMODE(root.path.stat().st_mode) == 0o750
    (root / "f").write_text("potatoes")
    assert os.listdir(str(root.path)) == ["f"]
    shutil.rmtree(root.path)
    os.mkdir(str(root.path))
    root.path.mkdir(exist_ok=True)
    with pytest.raises(FileExistsError):
        root.path.mkdir()


def test_size_of_the_machine() -> None:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with VeryTmpRoot(size="10%") as tenth, VeryTmpRoot() as half, VeryTmpRoot(size=0) as unlimited:
        assert tenth.usage().total == pytest.approx(memory / 10, rel=0.05)
        assert half.usage().total == pytest.approx(memory / 2, rel=0.05)
        assert unlimited.usage() == (0, 0, 0)
        (unlimited / "f").write_bytes(b"x" * 4096)


def test_nr_blocks() -> None:
    with VeryTmpRoot(nr_blocks=3) as root:
        assert root.usage().total == 3 * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(("nr_inodes", "more"), [(1, 0), (2, 1), (5, 4), ("10", 9), ("0x3", 2)])
def test_nr_inodes(nr_inodes: int | str, more: int) -> None:
    with VeryTmpRoot(nr_inodes=nr_inodes) as root:
        for number in range(more):
            (root / str(number)).touch()
        with pytest.raises(OSError) as caught:
            (root / "more").touch()
        assert caught.value.errno == errno.ENOSPC
        assert len(host_state.look(root.fileno())) == more


def test_nr_inodes_without_limit() -> None:
    with VeryTmpRoot(nr_inodes=0) as root:
        for number in range(100):
            (root / str(number)).touch()


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o2770, 0o1777, 0o500])
def test_mode(mode: int) -> None:
    with VeryTmpRoot(mode=mode) as root:
        status = os.stat(root.fileno())
        assert stat.S_IMODE(status.st_mode) == mode
        assert (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid())


def test_noexec() -> None:
    for noexec in (False, True):
        with VeryTmpRoot(noexec=noexec) as root:
            shutil.copy("/bin/true", os.fspath(root))
            if noexec:
                with pytest.raises(PermissionError):
                    subprocess.run([root / "true"], check=True)
            else:
                subprocess.run([root / "true"], check=True)


@pytest.mark.tmpfs
def test_nosymfollow() -> None:
    with VeryTmpRoot(nosymfollow=False) as follows, VeryTmpRoot() as refuses:
        for root in (follows, refuses):
            (root / "f").write_text("inside")
            os.symlink("f", os.fspath(root / "link"))
            assert (root / "link").read_text() == "inside"
        assert not follows.nosymfollow
        assert Path(os.fspath(follows / "link")).read_text() == "inside"
        assert refuses.nosymfollow
        with pytest.raises(OSError) as caught:
            Path(os.fspath(refuses / "link")).read_text()
        assert caught.value.errno == errno.ELOOP


@pytest.mark.tmpfs
def test_devices_and_set_uid_are_off() -> None:
    """Whoever makes it: root unpacks archives too."""
    with VeryTmpRoot() as root:
        assert statvfs(root).f_flag & (os.ST_NOSUID | os.ST_NODEV) == os.ST_NOSUID | os.ST_NODEV


@pytest.mark.parametrize("huge", ["never", "always", "within_size", "advise"])
def test_huge(huge: str) -> None:
    with VeryTmpRoot(huge=huge, size="16m") as root:
        (root / "f").write_bytes(b"x" * (4 << 20))
        assert (root / "f").stat().st_size == 4 << 20


def test_other_options_that_the_kernel_takes() -> None:
    """Or says that it was built without: CONFIG_NUMA, CONFIG_TMPFS_INODE64."""
    refusals = []
    for given in ({"mpol": "interleave"}, {"mpol": "bind:0"}, {"inode64": True}, {"inode64": False}):
        try:
            VeryTmpRoot(**given).close()
        except ValueError as error:
            refusals.append(str(error))
    assert [
        message for message in refusals if "Unknown parameter" not in message and "not built with" not in message
    ] == []


def test_owner() -> None:
    with VeryTmpRoot(uid=os.geteuid(), gid=os.getegid()) as root:
        (root / "f").touch()
    if not MAY_MOUNT:
        with pytest.raises(ValueError, match="uid=12345"):
            VeryTmpRoot(uid=12345)
        with pytest.raises(ValueError, match="gid=12345"):
            VeryTmpRoot(gid=12345)
    else:
        with VeryTmpRoot(uid=12345, gid=54321, mode=0o2750) as root:
            status = os.stat(root.fileno())
            assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (12345, 54321, 0o2750)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("size", "4503599627370496%", "size=4503599627370496% is larger than a file system can be"),
        ("size", "18446744073709551626%", "larger than a file system can be"),
        ("size", "banana", r"tmpfs: Bad value for 'size' \(asked for: size=banana\)"),
        ("size", "", "Bad value for 'size'"),
        ("size", "-1", "Bad value for 'size'"),
        ("size", "1m,mode=777", "Bad value for 'size'"),
        ("size", "x" * 300, "Invalid argument .asked for: size=xxx"),
        ("size", "99999999999999999999", "larger than a file system can be"),
        ("size", 1 << 64, "larger than a file system can be"),
        ("size", "x" * 20000, "more than the 16384|Invalid argument"),
        ("nr_inodes", "many", "Bad value for 'nr_inodes'"),
        ("nr_blocks", "1.5", "Bad value for 'nr_blocks'"),
        ("huge", "enormous", "Bad value for 'huge'"),
        ("mpol", "sideways", "Bad value for 'mpol'|Unknown parameter"),
        ("uid", 1 << 33, "uid"),
    ],
)
def test_what_the_kernel_refuses(option: str, value: object, message: str) -> None:
    before = host_state.descriptors()
    with pytest.raises(ValueError, match=message):
        VeryTmpRoot(**{option: value})  # type: ignore[arg-type]
    assert host_state.new_descriptors(before) == {}


@pytest.mark.skipif(MAY_MOUNT, reason="noswap is for privileged processes, and this is one")
def test_noswap_is_for_the_privileged() -> None:
    with pytest.raises(ValueError, match="Turning off swap in unprivileged tmpfs mounts unsupported"):
        VeryTmpRoot(noswap=True)


@pytest.mark.skipif(not MAY_MOUNT, reason="noswap is for privileged processes, and this is none")
def test_noswap() -> None:
    VeryTmpRoot(noswap=True).close()


def test_wrong_types_are_named() -> None:
    with pytest.raises(TypeError, match="size must be an int"):
        VeryTmpRoot(size=[])  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        VeryTmpRoot("64m")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="banana"):
        VeryTmpRoot(banana=1)  # type: ignore[call-arg]


def test_every_option_is_on_the_table() -> None:
    """The signature, the stub, and the help for each are about the options that the table has, and no others."""
    table = {*options.OPTIONS, "fallback"}
    assert set(inspect.signature(VeryTmpRoot).parameters) == table
    described = (inspect.getdoc(VeryTmpRoot) or "").partition("Args:\n")[2].partition("\n\n")[0]
    assert set(re.findall("^ {4}([a-z0-9_]+): ", described, re.MULTILINE)) == table
    stub = Path(__file__).parents[1] / "stubs/verytmp/__init__.pyi"
    if not stub.exists():  # the wheel's tests
        stub = Path(verytmp.__file__).with_suffix(".pyi")
    [options_stub] = re.findall(r"^class VeryTmpOptions\(.*?^class ", stub.read_text(), re.MULTILINE | re.DOTALL)
    assert set(re.findall("^    ([a-z0-9_]+): ", options_stub, re.MULTILINE)) == table
    assert set(options.SHM_OPTIONS) < table
    assert set(options.FORMS) < table


def test_members(root: VeryTmpRoot) -> None:
    assert isinstance(root / "a", VeryTmpPath)
    assert root / "a" == root.path / "a" == root.joinpath("a")
    assert root.joinpath() == root.path
    assert re.fullmatch(rf"/proc/{os.getpid()}/fd/[0-9]+/[a-z0-9]{{8}}", os.fspath(root))
    assert os.fspath(root) == str(root)
    assert os.path.samestat(os.stat(root), os.stat(root.fileno()))
    assert os.listdir(os.fspath(root)) == os.listdir(root) == []
    assert "made" in repr(root)
    states = [root.closed]
    with root as same:
        assert same is root
    states.append(root.closed)
    assert states == [False, True]
    for use in (root.fileno, root.usage, root.__enter__, lambda: os.fspath(root)):
        with pytest.raises(ValueError, match="closed VeryTmpRoot"):
            use()


def test_the_descriptor_is_an_o_path_of_a_directory(root: VeryTmpRoot) -> None:
    import fcntl

    flags = fcntl.fcntl(root.fileno(), fcntl.F_GETFL)
    assert flags & os.O_PATH
    assert flags & os.O_DIRECTORY
    assert not os.get_inheritable(root.fileno())


def test_elsewhere_than_on_linux() -> None:
    """The import works, for type checkers and documentation; making a root says what is missing."""
    code = """
import os, sys
sys.platform = "darwin"
for name in ("O_PATH", "register_at_fork", "eventfd"):
    delattr(os, name)
import verytmp
try:
    verytmp.VeryTmpRoot()
except verytmp.VeryTmpUnavailable as error:
    print(error.cause, error)
"""
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert said.startswith("not-linux ")
    assert said.endswith("made: sys.platform: verytmp needs Linux, and this is darwin (ENOSYS).\n")


def test_unavailable_survives_a_pickle() -> None:
    import pickle

    error = VeryTmpUnavailable(errno.EPERM, "unshare", "it says no", "ask again")
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.errno, copy.step, copy.reason, copy.remedy, str(copy)) == (
        1,
        "unshare",
        "it says no",
        "ask again",
        str(error),
    )
    assert isinstance(copy, OSError)
    said = "no private tmpfs could be made: unshare: it says no (EPERM). What to do: ask again "
    said += '(with weaker guarantees and no limits: VeryTmpRoot(fallback="shm"); more: '
    assert str(copy).startswith(said)
