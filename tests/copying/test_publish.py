"""`publish`: what appears on the host is whole, or the target is as it was; and nothing is left beside it."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import host_state, kernel
from support.children import in_child
from support.copies import ACCESSED, MODIFIED, TREE, age, failure, metadata, sparse, special, there
from support.syscall_hooks import interposed

from verytmp import VeryTmpPath, VeryTmpReport, VeryTmpRoot
from verytmp._paths import publish as module

D: Any = TREE["d"]
SPECIAL = "It is not a file, directory or symlink"


@pytest.fixture
def out(host: Path) -> Path:
    """A directory that nothing else is put into."""
    (host / "out").mkdir()
    return host / "out"


@pytest.fixture(params=[0o022, 0o077], ids=["umask 022", "umask 077"])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


# -- what appears ------------------------------------------------------------------------------------------------------


def test_a_tree(root: VeryTmpRoot, out: Path) -> None:
    assert (root / "d").publish(out / "new") == VeryTmpReport(7, 8 - 1, {}, {})
    assert there(out) == {"new": D}


@pytest.mark.parametrize("name", ["f", "empty", "link", "dangling", "d"])
def test_a_file_or_a_link_as_it_is(root: VeryTmpRoot, out: Path, name: str) -> None:
    (root / name).publish(out / "new")
    assert there(out) == {"new": TREE[name]}


def test_what_a_link_leads_to(root: VeryTmpRoot, out: Path) -> None:
    (root / "link").publish(out / "file", follow_symlinks=True)
    (root / "absolute").symlink_to("/d/e")
    (root / "absolute").publish(out / "tree", follow_symlinks=True)
    assert there(out) == {"file": b"potatoes", "tree": {"g": b"g"}}
    assert failure(lambda: (root / "dangling").publish(out / "x", follow_symlinks=True))[0] == errno.ENOENT


def test_a_name_that_is_too_long(root: VeryTmpRoot, out: Path) -> None:
    with pytest.raises(OSError) as caught:
        (root / "f").publish(out / ("n" * 256))
    assert (caught.value.errno, caught.value.filename) == (errno.ENAMETOOLONG, str(out / ("n" * 256)))
    assert there(out) == {}


def test_a_whole_root(root: VeryTmpRoot, out: Path, umask: int) -> None:
    """Which is its owner's alone: that is about the root."""
    root.path.publish(out / "new")
    assert there(out) == {"new": TREE}
    assert mode(out / "new") == 0o777 & ~umask


def test_in_a_root(root: VeryTmpRoot) -> None:
    with VeryTmpRoot() as other:
        (root / "d").publish(other / "new")
        (root / "d").publish(root / "new")
        assert there(other) == {"new": D}
        assert there(root) == TREE | {"new": D}


def test_permissions_are_copied_and_the_umasks_taken_away(root: VeryTmpRoot, out: Path, umask: int) -> None:
    modes = {"d/f": 0o755, "d/e": 0o555, "d/e/g": 0o444, "d": 0o757}
    for name, bits in modes.items():
        (root / name).chmod(bits)
    (root / "d").publish(out / "d")
    (root / "d" / "f").publish(out / "f")
    for name, bits in {**modes, "f": 0o755}.items():
        assert mode(out / name) == bits & ~umask, name
    restore(out / "d")


def test_no_program_gets_its_owners_rights(root: VeryTmpRoot, out: Path) -> None:
    """Whoever unpacks as root, and publishes, would else have made a program that is root's for everybody."""
    for name in ("d/f", "d/e", "d"):
        (root / name).chmod(0o6755)
    (root / "d").publish(out / "d")
    (root / "d" / "f").publish(out / "f")
    assert {mode(out / name) & 0o7000 for name in ("d", "d/e", "d/f", "f")} == {0}


def test_metadata_are_preserved_where_that_is_asked_for(root: VeryTmpRoot, out: Path) -> None:
    (root / "d" / "f").chmod(0o6751)
    (root / "d" / "e").chmod(0o1711)
    age(os.fspath(root))
    (root / "d").publish(out / "d", preserve_metadata=True)
    before, after = metadata(root / "d"), metadata(out / "d")
    assert {name: (each[0], each[2]) for name, each in after.items()} == {
        name: (each[0], each[2]) for name, each in before.items()
    }
    for name in ("f", "link"):
        (root / name).publish(out / name, preserve_metadata=True)
        status = os.lstat(out / name)
        assert (status.st_atime_ns, status.st_mtime_ns) == (ACCESSED, MODIFIED)


def test_the_top_has_the_mode_that_is_asked_for(root: VeryTmpRoot, out: Path, umask: int) -> None:
    for name in ("f", "d"):
        (root / name).publish(out / name, mode=0o1772)
        assert mode(out / name) == 0o1772
        (root / name).publish(out / name, mode=0o700, preserve_metadata=True, replace=True)
        assert mode(out / name) == 0o700


@pytest.mark.parametrize(
    ("value", "error"), [(-1, ValueError), (0o10000, ValueError), (1.5, TypeError), ("755", TypeError)]
)
def test_a_mode_that_is_none(root: VeryTmpRoot, out: Path, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^mode "):
        (root / "f").publish(out / "new", mode=value)
    assert not (out / "new").exists()


def test_nobody_looks_into_a_tree_before_it_is_whole(root: VeryTmpRoot, out: Path) -> None:
    seen = []

    def look(_: int, __: int | None) -> None:
        [temporary] = list(out.iterdir())
        seen.append((mode(temporary), temporary.name.startswith(f".new.verytmp-{os.getpid()}-")))

    (root / "d").publish(out / "new", progress=look)
    assert set(seen) == {(0o700, True)}


@pytest.mark.parametrize("preserve", [False, True])
@pytest.mark.parametrize("name", ["f", "d"])
def test_at_no_time_has_it_more_permissions_than_are_asked_for(
    root: VeryTmpRoot, out: Path, name: str, preserve: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[int] = set()
    fchmod = os.fchmod

    def look(*_: object) -> None:
        seen.update(mode(temporary) for temporary in out.iterdir())

    def look_after(descriptor: int, permissions: int) -> None:
        fchmod(descriptor, permissions)
        look()

    monkeypatch.setattr(os, "fchmod", look_after)
    (root / name).chmod(0o755)
    (root / name).publish(out / "secret", mode=0o700, preserve_metadata=preserve, progress=look)
    assert seen == {0o700}


def test_extended_attributes_of_what_nobody_may_write_to(root: VeryTmpRoot, out: Path) -> None:
    for name in ("f", "d/f"):
        path = root / name
        try:
            os.setxattr(path, "user.verytmp", b"x")
            os.setxattr(out, "user.verytmp", b"x")
        except OSError:
            pytest.skip("there are no extended attributes here")
        path.chmod(0o400)
    for name in ("f", "d"):
        (root / name).publish(out / name, preserve_metadata=True)
    for copy in (out / "f", out / "d/f"):
        assert os.listxattr(copy) == ["user.verytmp"]
        assert mode(copy) == 0o400


def test_the_group_is_that_of_a_set_group_id_directory(root: VeryTmpRoot, out: Path) -> None:
    out.chmod(0o2755)
    (root / "d").publish(out / "new")
    for path in (out / "new", out / "new/e"):
        assert mode(path) & stat.S_ISGID, "what is made in it gets the same group"


def test_hard_links_are_kept(root: VeryTmpRoot, out: Path) -> None:
    (root / "d" / "e" / "again").hardlink_to("/d/f")
    (root / "d" / "outside").hardlink_to("/f")
    report = (root / "d").publish(out / "new")
    assert os.path.samefile(out / "new" / "f", out / "new" / "e" / "again")
    assert os.stat(out / "new" / "f").st_nlink == 2
    assert os.stat(out / "new" / "outside").st_nlink == 1
    assert report == (9, 3 + 1 + 3 + 8, {}, {})


def test_of_names_that_are_too_deep_for_one_path_too(root: VeryTmpRoot, out: Path) -> None:
    deep = root.joinpath("deep", *["n" * 250] * 20)
    deep.mkdir(parents=True)
    (root / "deep" / "first").write_bytes(b"x")
    for number in range(3):
        (deep / str(number)).hardlink_to("/deep/first")
    (root / "deep").publish(out / "new")
    assert os.stat(out / "new" / "first").st_nlink == 4
    shutil.rmtree(out / "new")


def test_a_file_that_takes_no_more_links_is_copied(
    root: VeryTmpRoot, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "d" / "again").hardlink_to("/d/f")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EMLINK, "")

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", refuse)
        (root / "d").publish(out / "new")
    assert there(out) == {"new": D | {"again": b"d/f"}}


def test_a_link_leads_to_no_other_file(root: VeryTmpRoot, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody has put another file in the place of the first copy."""
    (root / "d" / "again").hardlink_to("/d/f")
    (out / "another").write_bytes(b"another")
    link = os.link

    def other(source: str, name: str, **directories: Any) -> None:
        link(out / "another", name, dst_dir_fd=directories["dst_dir_fd"])

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", other)
        (root / "d").publish(out / "new")
    assert there(out) == {"another": b"another", "new": D | {"again": b"d/f"}}


def test_holes_are_kept(root: VeryTmpRoot, out: Path) -> None:
    sparse(f"{os.fspath(root)}/d/sparse", [(1 << 20, 100)])
    report = (root / "d").publish(out / "new")
    status = os.stat(out / "new" / "sparse")
    assert status.st_blocks * 512 < 1 << 18 < status.st_size
    assert report.bytes == 7 + status.st_size
    assert (root / "d" / "sparse").read_bytes() == (out / "new" / "sparse").read_bytes()


def test_what_is_no_file_is_left_out_and_reported(root: VeryTmpRoot, out: Path) -> None:
    special(root)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{os.fspath(root)}/d/agent")
    assert (root / "d").publish(out / "new").left_out == {"e/fifo": SPECIAL, "agent": SPECIAL}
    assert there(out) == {"new": D}
    for name in ("fifo", "socket"):
        number, source, target, _ = failure(lambda name=name: (root / name).publish(out / "x"))  # type: ignore[misc]
        assert (number, source, target) == (errno.EINVAL, str(root / name), str(out / "x"))
    assert there(out) == {"new": D}


def test_progress(root: VeryTmpRoot, out: Path) -> None:
    (root / "d" / "again").hardlink_to("/d/f")
    (root / "d" / "large").write_bytes(bytes(40 << 20))
    for target in (out / "new", root / "new"):
        seen: list[tuple[int, int | None]] = []
        (root / "d").publish(target, progress=lambda *counts, seen=seen: seen.append(counts))
        total = 7 + (40 << 20)
        assert [done for done, _ in seen] == sorted(done for done, _ in seen)
        assert {all_ for _, all_ in seen} == {total}
        assert seen[-1] == (total, total)
        assert len(seen) >= 5


# -- replacing ---------------------------------------------------------------------------------------------------------

OLD: dict[str, Any] = {"file": b"old", "link": "-> nowhere", "empty": {}, "tree": {"a": {"b": b"old"}, "l": "-> /"}}
NEW = {"file": "f", "link": "link", "tree": "d"}


@pytest.mark.parametrize("new", NEW)
@pytest.mark.parametrize("old", OLD)
def test_what_is_there_stays_or_is_replaced(root: VeryTmpRoot, out: Path, new: str, old: str) -> None:
    host_state.make(str(out), {"x": OLD[old]})
    path = root / NEW[new]
    with pytest.raises(FileExistsError) as caught:
        path.publish(out / "x")
    assert caught.value.filename == str(out / "x")
    assert there(out) == {"x": OLD[old]}
    path.publish(out / "x", replace=True)
    assert there(out) == {"x": TREE[NEW[new]]}
    assert (out / "x").is_symlink() == (new == "link")


@pytest.mark.parametrize("new", NEW)
def test_what_is_not_there_is_no_error_for_replace(root: VeryTmpRoot, out: Path, new: str) -> None:
    (root / NEW[new]).publish(out / "x", replace=True)
    assert there(out) == {"x": TREE[NEW[new]]}


@pytest.mark.parametrize("new", NEW)
@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EINVAL])
def test_without_renameat2(root: VeryTmpRoot, out: Path, new: str, number: int) -> None:
    """Files are replaced all the same, and directories not: that would take two steps."""

    def publish() -> list[object]:
        kernel.seccomp(kernel.Rule("renameat2", number))
        path = root / NEW[new]
        path.publish(out / "x")
        found: list[object] = [host_state.look(str(out))]
        for target, replace in ((out / "x", False), (out / "tree", True)):
            try:
                path.publish(target, replace=replace)
                found.append("published")
            except OSError as error:
                found += [error.errno, error.filename]
        found.append(host_state.look(str(out)))
        if new != "tree":
            path.publish(out / "x", replace=True)
        return found

    host_state.make(str(out), {"tree": OLD["tree"]})
    there_then = {"x": TREE[NEW[new]], "tree": OLD["tree"]}
    assert in_child(publish) == [
        there_then, errno.EEXIST, str(out / "x"), errno.EOPNOTSUPP, str(out / "tree"), there_then,
    ]  # fmt: skip
    assert there(out) == there_then


def test_without_renameat2_in_the_c_library(root: VeryTmpRoot, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("verytmp._syscalls._renameat2", None)
        (root / "d").publish(out / "x")
        assert failure(lambda: (root / "d").publish(out / "x", replace=True))[0] == errno.EOPNOTSUPP
    assert there(out) == {"x": D}


@pytest.mark.parametrize("new", NEW)
def test_what_appears_meanwhile_stays(root: VeryTmpRoot, out: Path, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make = module.Publication.make

    def and_another(self: module.Publication, *args: Any) -> None:
        make(self, *args)
        (out / "x").write_bytes(b"another's")

    with monkeypatch.context() as patch:
        patch.setattr(module.Publication, "make", and_another)
        with pytest.raises(FileExistsError):
            (root / NEW[new]).publish(out / "x")
    assert there(out) == {"x": b"another's"}


def test_a_target_that_comes_and_goes_is_an_error_in_the_end(
    root: VeryTmpRoot, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "")

    host_state.make(str(out), {"x": OLD["tree"]})
    with monkeypatch.context() as patch:
        patch.setattr("verytmp._syscalls.renameat2", gone)
        assert failure(lambda: (root / "d").publish(out / "x", replace=True))[0] in (errno.ENOTEMPTY, errno.EEXIST)
    assert there(out) == {"x": OLD["tree"]}


def test_what_cannot_be_removed_is_named(root: VeryTmpRoot, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "a")

    host_state.make(str(out), {"x": OLD["tree"]})
    with monkeypatch.context() as patch:
        patch.setattr(module, "empty", refuse)
        number, _, _, [left, done] = failure(lambda: (root / "d").publish(out / "x", replace=True))
    [old] = [path for path in out.iterdir() if path.name != "x"]
    assert number == errno.EACCES
    assert left == f"{str(old)!r} could not be removed, and is left."
    assert done == f"{str(out / 'x')!r} is published."
    assert there(out) == {"x": D, old.name: OLD["tree"]}


def test_an_old_tree_goes_whatever_its_permissions(root: VeryTmpRoot, out: Path) -> None:
    host_state.make(str(out), {"x": OLD["tree"]})
    (out / "x" / "a").chmod(0)
    (out / "x").chmod(0)
    (root / "d").publish(out / "x", replace=True)
    assert there(out) == {"x": D}


# -- or nothing --------------------------------------------------------------------------------------------------------


def restore(top: Path) -> None:
    """Let an ordinary user remove it."""
    for place, _, _ in os.walk(top):
        os.chmod(place, 0o700)


def planted(root: VeryTmpRoot) -> VeryTmpPath:
    (root / "d" / "again").hardlink_to("/d/f")
    (root / "d" / "e").chmod(0o555)
    (root / "d" / "large").write_bytes(bytes(1 << 15))
    return root / "d"


FAULTS: dict[str, tuple[Any, ...]] = {
    "an error": (OSError, errno.EIO, "the disk is on fire"),
    "an interruption": (KeyboardInterrupt,),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("old", [None, "file", "tree"])
@pytest.mark.parametrize("name", ["d", "f", "link"])
def test_a_fault_at_each_call(root: VeryTmpRoot, out: Path, name: str, old: str | None, fault: str) -> None:
    planted(root)
    before: host_state.Tree = {"x": OLD[old]} if old else {}
    new: host_state.Tree = {"x": host_state.look(root.fileno())[name]}

    def act() -> None:
        kind, *arguments = FAULTS[fault]
        raise kind(*arguments)

    for number in range(1000):
        shutil.rmtree(out)
        out.mkdir()
        host_state.make(str(out), before)
        try:
            with interposed({number: act}) as calls:
                (root / name).publish(out / "x", replace=old is not None, fsync=True, preserve_metadata=True)
        except (OSError, KeyboardInterrupt) as error:
            found = there(out)
            restore(out)
            published = f"{str(out / 'x')!r} is published." in getattr(error, "__notes__", [])
            assert found == (new if published else before), calls.names
            continue
        restore(out)
        if len(calls.names) <= number:  # there are no more of them
            break
    assert number > (30 if name == "d" else 5)
    assert there(out) == new


def test_a_fault_in_the_callers_function(root: VeryTmpRoot, out: Path) -> None:
    count = 0

    def progress(_: int, __: int | None) -> None:
        nonlocal count
        count += 1
        if count == 2:
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        (root / "d").publish(out / "x", progress=progress)
    assert there(out) == {}


@pytest.mark.tmpfs
def test_a_full_file_system(root: VeryTmpRoot) -> None:
    (root / "d" / "large").write_bytes(bytes(1 << 20))
    for options in ({"size": 1 << 19}, {"nr_inodes": 6}):
        with VeryTmpRoot(**options) as other:  # type: ignore[arg-type]
            (other / "old").write_bytes(b"old")
            for name in ("d", "d/large") if "size" in options else ("d",):
                assert failure(lambda name=name: (root / name).publish(other / "old", replace=True))[0] == errno.ENOSPC  # type: ignore[misc]
            assert there(other) == {"old": b"old"}


def test_what_is_refused(root: VeryTmpRoot, out: Path) -> None:
    (out / "loop").symlink_to("loop")
    cases: dict[int, list[Callable[[], object]]] = {
        errno.EINVAL: [
            lambda: (root / "f").publish(out / ".."),
            lambda: (root / "f").publish(Path("/")),
            lambda: (root / "f").publish(root.path, replace=True),
            lambda: (root / "d").publish(root / "d" / "x"),
            lambda: (root / "d").publish(Path(os.fspath(root / "d" / "e")) / "x"),
            lambda: root.path.publish(Path(os.fspath(root)) / "x"),
        ],
        errno.ENOENT: [
            lambda: (root / "f").publish(out / "missing" / "x"),
            lambda: (root / "missing").publish(out / "x"),
        ],
        errno.ENOTDIR: [lambda: (root / "f").publish(Path(__file__) / "x")],
        errno.ELOOP: [lambda: (root / "f").publish(out / "loop" / "x")],
        errno.ENAMETOOLONG: [
            lambda: (root / "f").publish(out / ("x" * 256)),
            lambda: (root / "d").publish(out / ("x" * 256)),
        ],
    }  # fmt: skip
    for number, calls in cases.items():
        for call in calls:
            assert failure(call)[0] == number
    for wrong in ("x", str(out / "x"), b"x", None, Path("x").parts):
        with pytest.raises(TypeError, match=r"pathlib\.Path"):
            (root / "f").publish(wrong)  # type: ignore[arg-type]
    for keywords in ({"mode": "755"}, {"progress": "x"}):
        with pytest.raises(TypeError):
            (root / "f").publish(out / "x", **keywords)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="null"):
        (root / "f").publish(out / "a\0b")
    assert there(out) == {"loop": "-> loop"}
    assert there(root) == TREE


def test_long_names_are_published(root: VeryTmpRoot, out: Path) -> None:
    """Whose temporary name must not be longer."""
    for name in ("x" * 255, "\N{POTATO}" * 63):
        (root / "d").publish(out / name)
    assert there(out) == {"x" * 255: D, "\N{POTATO}" * 63: D}


def test_all_is_written_through(root: VeryTmpRoot, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file and directory before it gets its name, and the directory of that name afterwards."""
    written: list[tuple[int, bool]] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        written.append((os.fstat(descriptor).st_ino, (out / "x").exists()))
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", noted)
        (root / "d").publish(out / "x", fsync=True)
        places = [out / "x", *(Path(place, name) for place, dirs, files in os.walk(out / "x") for name in dirs + files)]
        assert {ino for ino, _ in written[:-1]} == {p.stat().st_ino for p in places if not p.is_symlink()}
        assert {named for _, named in written[:-1]} == {False}
        assert written[-1] == (out.stat().st_ino, True)
        written.clear()
        (root / "f").publish(out / "y", fsync=True)
        assert [ino for ino, _ in written] == [(out / "y").stat().st_ino, out.stat().st_ino]
        written.clear()
        (root / "f").publish(out / "z")
        assert written == []
