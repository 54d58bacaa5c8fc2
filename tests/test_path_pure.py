"""The pure half of a path: joins, strings, parts, comparisons. The root is the drive."""

from __future__ import annotations

import copy
import itertools
import os
import pickle
import re
from collections.abc import Iterator
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath

import pytest
from support import kernel
from support.children import in_child

from verytmp import UnsupportedOperation, VeryTmpPath, VeryTmpRoot
from verytmp._paths.pure import SLOT_ALIASES

# Segments, and where they lead from /a. pathlib on "c:/a" says the same.
JOINS = [
    ([], "/a"),
    ([""], "/a"),
    (["."], "/a"),
    (["b"], "/a/b"),
    (["b", "c"], "/a/b/c"),
    (["b/c"], "/a/b/c"),
    (["b//c/./d/"], "/a/b/c/d"),
    (["./b"], "/a/b"),
    (["b/."], "/a/b"),
    ([".."], "/a/.."),
    (["..", "x"], "/a/../x"),
    (["../../x"], "/a/../../x"),
    (["/b"], "/b"),
    (["//b"], "/b"),
    (["///b//"], "/b"),
    (["/"], "/"),
    (["/..", "x"], "/../x"),
    (["x", "/y", "z"], "/y/z"),
    ([" "], "/a/ "),
    (["a..b", "...", ".hidden"], "/a/a..b/.../.hidden"),
    (["é\udcff"], "/a/é\udcff"),
    (["x\0y"], "/a/x\0y"),
    ([PurePosixPath("b/c")], "/a/b/c"),
    ([PurePosixPath("/b")], "/b"),
    ([Path("/etc/passwd")], "/etc/passwd"),
    (["C:\\x"], "/a/C:\\x"),
]


@pytest.fixture
def other() -> Iterator[VeryTmpRoot]:
    with VeryTmpRoot() as made:
        yield made


def inside(path: PurePath) -> str:
    return repr(path).partition("(")[2][1:-2]


@pytest.mark.parametrize(("segments", "where"), JOINS)
def test_joins(root: VeryTmpRoot, segments: list[str], where: str) -> None:
    expected = f"VeryTmpPath({where!r})"
    start = root / "a"
    path = start
    for segment in segments:
        path = path / segment
    assert repr(path) == expected
    assert repr(start.joinpath(*segments)) == expected
    assert repr(start.with_segments("a", *segments)) == expected
    assert repr(root.joinpath("a", *segments)) == expected
    assert path == start.joinpath(*segments)
    assert type(path) is VeryTmpPath


@pytest.mark.parametrize(("segments", "where"), JOINS)
def test_pathlib_joins_a_drive_the_same_way(segments: list[str], where: str) -> None:
    if any(segment.startswith("//") or segment == "C:\\x" for segment in map(str, segments)):
        segments, where = [], "/a"  # names that mean something else on Windows
    assert PureWindowsPath("c:/a").joinpath(*segments).as_posix() == f"c:{where}"


def test_the_designs_table(root: VeryTmpRoot, other: VeryTmpRoot) -> None:
    drive = os.fspath(root)
    path, foreign = root / "hello" / "f.txt", other / "g"
    assert re.fullmatch(rf"/proc/{os.getpid()}/fd/[0-9]+/[a-z0-9]{{8}}", drive)
    assert (path.drive, path.root, path.anchor) == (drive, "/", drive + "/")
    assert path.parts == (drive + "/", "hello", "f.txt")
    assert str(path) == os.fspath(path) == path.as_posix() == drive + "/hello/f.txt"
    assert bytes(path) == os.fsencode(str(path))
    assert repr(path) == "VeryTmpPath('/hello/f.txt')"
    assert root.path.parent == root.path
    assert str(root.path) == root.path.anchor == drive + "/"
    assert path / "/etc/passwd" == root / "etc" / "passwd"
    assert path / str(root / "q") == root / "q"
    assert path / drive == root.path
    assert path / foreign == foreign
    assert path.joinpath("x", foreign, "y") == foreign / "y"
    assert Path("/host") / path == path
    assert "host" / path == path
    assert (root.path / ".." / "x").parts == (drive + "/", "..", "x")


def test_another_root_is_another_drive(root: VeryTmpRoot, other: VeryTmpRoot) -> None:
    assert root / "a" / other.path == other.path
    assert (root / "a").joinpath(other, "b") == other / "b"


def test_a_drive_is_recognised_whole(root: VeryTmpRoot) -> None:
    """/proc/1/fd/3 is no part of /proc/1/fd/33."""
    longer = os.fspath(root) + "3"
    assert repr(root / longer) == f"VeryTmpPath({longer!r})"


@pytest.mark.parametrize(
    ("path", "end"),
    [
        ("../x", "/x"),
        ("../../../../etc/passwd", "/etc/passwd"),
        ("a/../x", "/x"),
        ("a/../../x", "/x"),
        ("a/b/..", "/a"),
        ("..", "/"),
        ("a/..", "/"),
        ("a..b/c", "/a..b/c"),
    ],
)
def test_no_dots_leave_in_a_string(root: VeryTmpRoot, path: str, end: str) -> None:
    assert str(root / path) == os.fspath(root / path) == os.fspath(root) + end
    assert os.path.abspath(root / path).startswith(os.fspath(root))


def test_names(root: VeryTmpRoot) -> None:
    path = root / "a" / "archive.tar.gz"
    assert (path.name, path.stem, path.suffix, path.suffixes) == (
        "archive.tar.gz",
        "archive.tar",
        ".gz",
        [".tar", ".gz"],
    )
    assert path.parent == root / "a"
    assert path.parent.parent == root.path
    assert path.parent.parent.parent == root.path
    assert (root.path.name, root.path.stem, root.path.suffix) == ("", "", "")
    assert (root / "a" / "..").name == ".."
    assert (root / "a" / "..").parent == root / "a"
    assert path.is_absolute()


def test_equality(root: VeryTmpRoot, other: VeryTmpRoot) -> None:
    path = root / "a" / "b"
    assert path == root / "a/b" == root / "x" / "/a/b"
    assert hash(path) == hash(root / "a/b")
    assert path != root / "a"
    assert path != root / "a" / "." / "b" / ".."
    assert path != other / "a" / "b"
    assert path != str(path)
    assert path != "a/b"
    for plain in (Path(str(other / "a/b")), Path("/a/b"), PurePosixPath("/a/b"), PureWindowsPath("a")):
        assert path != plain
        assert plain != path
        assert path not in {plain, "a/b"}
    assert len({path, root / "a/b", other / "a/b"}) == 2


@pytest.mark.parametrize("relative", ["", "a", "a/b", "a b/c.d", "a/../b", "é"])
@pytest.mark.parametrize("kind", [Path, PurePosixPath])
def test_a_path_is_what_its_string_is(root: VeryTmpRoot, relative: str, kind: type[PurePosixPath]) -> None:
    """To `Path`, which has no idea of roots; and so to sets, dicts and lists of paths."""
    path = root / relative
    plain = kind(str(path))
    assert path == plain
    assert plain == path
    assert hash(path) == hash(plain)
    assert [plain].index(path) == [path].index(plain) == 0  # type: ignore[arg-type]
    assert {plain} == {path}
    assert {plain: 1}[path] == 1
    assert path <= plain <= path
    assert not path < plain
    assert not plain < path
    assert plain / "x" == path / "x"
    assert plain / "x" > path


def test_ours_and_plain_ones_are_sorted_together(root: VeryTmpRoot, other: VeryTmpRoot) -> None:
    paths = [root / name for name in ("a", "a/b", "a.b", "b", "")] + [other / name for name in ("a", "b")]
    plain = [Path(str(path)) for path in paths] + [Path("/"), Path("/zzz"), Path("a")]
    mixed = [*paths[::2], *plain[1:7:2], *plain[7:]]
    assert [str(Path(path)) for path in sorted(mixed)] == [str(path) for path in sorted(plain)]


def test_what_survives_a_fork(root: VeryTmpRoot, other: VeryTmpRoot) -> None:
    """The string is another one then. Paths of a root stay what they are to each other, and to strings from before."""
    path, before = root / "a", str(root / "a")
    paths, plain = {path: 1}, {Path(before): 1}

    def in_the_child() -> list[bool]:
        return [
            paths[root / "a"] == plain[path] == 1,
            str(path) != before,
            str(path) == f"/proc/{os.getpid()}/" + before.split("/", 3)[3],
            path == root / "a" == Path(before),
            root / before == path,
            root / str(path) == path,
            (root / "x") / os.fspath(root) == root.path,
            root / str(other.path) != other.path,
            path.relative_to(os.path.dirname(before)) == PurePosixPath("a"),
            sorted([root / "b", path]) == [path, root / "b"],
        ]

    assert in_child(in_the_child) == [True] * 10
    assert in_child(in_child, in_the_child) == [True] * 10  # and in a child of that one


def test_own_strings_in_links_targets(root: VeryTmpRoot) -> None:
    """A program that has only strings makes such links. They lead where the string did, for the root's paths."""
    (root / "d").mkdir()
    (root / "d" / "f").write_text("potatoes")
    for name, target in (("file", root / "d" / "f"), ("dir", root / "d"), ("self", root.path)):
        os.symlink(str(target), f"{root}/{name}")
    in_child(lambda: os.symlink(str(root / "d"), f"{root}/of a child"))
    os.symlink(f"/proc/self/fd/{root.path._tree.fd}/{root.path._tree.token}/d", f"{root}/proc self")
    assert (root / "file").read_text() == "potatoes"
    for name in ("dir", "self/d", "of a child", "proc self", "dir/../d"):
        assert (root / name / "f").read_text() == "potatoes"
        assert (root / name).resolve() == root / "d"
        assert (root / name).is_dir()
        (root / name / "made").touch()
        (root / name / "made").unlink()
    with VeryTmpRoot() as foreign:
        os.symlink(str(foreign.path), f"{root}/foreign")
        assert not (root / "foreign").exists()


def test_strings_where_there_is_no_proc_yet(root: VeryTmpRoot) -> None:
    """A failure is not remembered, and a test that puts something in the place of os.readlink reaches no string."""
    before = str(root / "f")

    def without(names: tuple[str, ...]) -> tuple[str, str]:
        for name in names:
            setattr(os, name, None)
        return str(root / "f"), before

    first, _ = in_child(without, ("readlink", "getpid"))
    assert first.split("/")[3:] == before.split("/")[3:]

    def mounted_later() -> tuple[str, bool, str]:
        kernel.mounting_namespaces()
        kernel.cover("/proc")
        hidden = str(root / "f")
        same = root / hidden == root / "f"
        kernel.uncover("/proc")
        return hidden, same, str(root / "f")

    hidden, same, later = in_child(mounted_later)
    assert hidden == f"/dev/null/fd/{before.split('/', 4)[4]}"
    assert same
    assert later.split("/")[3:] == before.split("/")[3:]
    assert later.split("/")[2].isdigit()


def test_order(root: VeryTmpRoot, other: VeryTmpRoot) -> None:
    names = ["", "a", "a/b", "a/c", "a.b", "a b", "b", "B", "..", "a/b/c"]
    plain = sorted(PurePosixPath("/drive", name) for name in names)
    ours = sorted(root / name for name in reversed(names))
    assert [inside(path) for path in ours] == [str(path).removeprefix("/drive") or "/" for path in plain]
    for left, right in itertools.product(ours, ours):
        assert (left < right, left <= right, left > right, left >= right) == (
            ours.index(left) < ours.index(right),
            ours.index(left) <= ours.index(right),
            ours.index(left) > ours.index(right),
            ours.index(left) >= ours.index(right),
        )
    first, second = sorted([root, other], key=os.fspath)
    assert sorted([second / "a", first / "b"]) == [first / "b", second / "a"]
    assert min(root / "a", Path("/"), PurePosixPath("b")) == Path("/")
    for wrong in ("a", 1, None, PureWindowsPath("a")):
        with pytest.raises(TypeError):
            _ = root / "a" < wrong  # type: ignore[operator]


def test_paths_come_from_a_root() -> None:
    for arguments in ((), ("x",), ("/etc/passwd",)):
        with pytest.raises(TypeError, match="comes from a root"):
            VeryTmpPath(*arguments)


def test_a_path_is_a_path(root: VeryTmpRoot) -> None:
    path = root / "a"
    assert isinstance(path, Path)
    assert isinstance(path, PurePosixPath)
    assert isinstance(path, os.PathLike)
    assert Path(path) == Path(str(path))
    assert type(Path(path)) is type(Path())
    assert PurePosixPath(path) == PurePosixPath(str(path))
    assert PurePosixPath(path, "b") == PurePosixPath(str(path) + "/b")
    assert PureWindowsPath(path).as_posix() == str(path)
    assert Path("/host").joinpath(path) == Path(str(path))
    assert os.path.join(path, "b") == str(path) + "/b"


def test_plain_pathlib_learns_nothing_that_ages(root: VeryTmpRoot) -> None:
    """What pathlib's own code caches in its slots would be wrong after a fork, when the string is another one."""
    path = root / "a"
    Path(path), PurePosixPath(path), Path("/") == path, Path("/") < path
    own = {theirs for ours, theirs in SLOT_ALIASES.items() if hasattr(path, ours)}  # which hold what is ours
    for base in (base for base in VeryTmpPath.__mro__ if base.__module__.startswith("pathlib")):
        for slot in base.__dict__.get("__slots__", ()):
            descriptor = base.__dict__[slot]
            if slot not in own:
                with pytest.raises(AttributeError):
                    descriptor.__get__(path)
    assert [path._tree, path._rel, path._name] == [root.path._tree, "a", "a"]


def test_unknown_attributes_are_ours_to_deny(root: VeryTmpRoot) -> None:
    with pytest.raises(AttributeError, match="'VeryTmpPath' object has no attribute 'nope'"):
        _ = (root / "a").nope  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        (root / "a").nope = 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("segment", [b"x", 1, None, [], {}])
def test_what_is_no_segment(root: VeryTmpRoot, segment: object) -> None:
    path = root / "a"
    with pytest.raises(TypeError):
        path / segment  # type: ignore[operator]
    with pytest.raises(TypeError):
        segment / path  # type: ignore[operator]
    with pytest.raises(TypeError):
        root / segment  # type: ignore[operator]
    with pytest.raises(TypeError):
        path.joinpath(segment)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        path.rename(segment)  # type: ignore[arg-type]


def test_what_is_no_segment_is_left_to_the_other_side(root: VeryTmpRoot) -> None:
    class Other:
        def __truediv__(self, other: object) -> str:
            return NotImplemented

        def __rtruediv__(self, other: object) -> str:
            return "the other's"

    path = root / "a"
    assert path / Other() == "the other's"
    with pytest.raises(TypeError, match="unsupported operand"):
        Other() / path
    with pytest.raises(TypeError, match=r"argument should be a str .* not 'bytes'"):
        path.joinpath(b"x")  # type: ignore[arg-type]


def test_a_join_is_another_object(root: VeryTmpRoot) -> None:
    path = root / "a"
    assert path.joinpath() == path
    assert path.joinpath() is not path
    assert path.joinpath().name == path.joinpath("").name == "a"


@pytest.mark.parametrize("method", ["with_name", "with_stem", "with_suffix"])
@pytest.mark.parametrize("new_name", ["x", "x.y", ".x", ".x.y", "", ".", "..", "/", "a/b", "/a", ".a/b", " ", "x."])
@pytest.mark.parametrize("path", ["d/archive.tar.gz", "f", ".hidden", "f.", "..", ""])
def test_another_name(root: VeryTmpRoot, method: str, new_name: str, path: str) -> None:
    try:
        expected = getattr(PurePosixPath("/", path), method)(new_name)
    except ValueError:
        with pytest.raises(ValueError):
            getattr(root / path, method)(new_name)
    else:
        made = getattr(root / path, method)(new_name)
        assert made.parts[1:] == expected.parts[1:]
        assert made.name == expected.name


def test_copies_are_the_path_itself(root: VeryTmpRoot) -> None:
    path = root / "a"
    assert copy.copy(path) is path
    assert copy.deepcopy([path])[0] is path


def test_nothing_can_be_pickled(root: VeryTmpRoot) -> None:
    for thing in (root, root / "a", root.path):
        with pytest.raises(TypeError, match="no name to find it by"):
            pickle.dumps(thing)
    for duplicate in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot copy a VeryTmpRoot"):
            duplicate(root)


def test_a_subclass_stays_itself(root: VeryTmpRoot) -> None:
    class Marked(VeryTmpPath):
        __slots__ = ()

    marked = object.__new__(Marked)
    marked._tree, marked._rel, marked._name = root.path._tree, "a", None
    assert type(marked / "b") is type(marked.parent) is type(marked.with_segments("x")) is Marked
    assert repr(marked / "b") == "Marked('/a/b')"
    assert marked == root / "a"


def test_what_is_refused() -> None:
    for refuse in (VeryTmpPath.cwd, VeryTmpPath.home, lambda: VeryTmpPath.from_uri("file:///x")):
        with pytest.raises(UnsupportedOperation, match="VeryTmpPath"):
            refuse()


def test_a_string_that_splits_itself_is_read_as_its_text(root: VeryTmpRoot) -> None:
    class Sly(str):
        __slots__ = ()

        def split(self, *_: object) -> list[str]:
            return ["/etc/passwd"]

        def startswith(self, *_: object) -> bool:
            return False

        def __str__(self) -> str:
            return "/etc/passwd"

        def __format__(self, _: str) -> str:
            return "/etc/passwd"

    assert (root / "a" / Sly("b")).parts[1:] == ("a", "b")
    path = root / "a" / Sly("b/c")
    assert path == root / "a" / "b" / "c"
    assert path.parts[1:] == ("a", "b", "c")
    assert not path.exists()


@pytest.mark.parametrize("method", ["with_name", "with_stem"])
def test_a_name_that_denies_its_slash_is_no_name(root: VeryTmpRoot, method: str) -> None:
    class Sly(str):
        __slots__ = ()

        def __contains__(self, _: object) -> bool:
            return False

    with pytest.raises(ValueError, match="nvalid name"):
        getattr(root / "a", method)(Sly("/etc"))


def test_what_does_not_begin_as_a_path_does_stays_inside(root: VeryTmpRoot) -> None:
    """To make such a path is a mistake; the confined operations stay inside all the same."""
    path = root / "x"
    path._rel = "/etc/passwd"
    assert not path.exists()
    with pytest.raises(FileNotFoundError):
        path.read_bytes()
    with pytest.raises(FileNotFoundError):
        path.open()
    with pytest.raises(FileNotFoundError):
        path.chmod(0o600)
    with pytest.raises(FileNotFoundError):
        path.rename("/y")
    with pytest.raises(FileNotFoundError):
        path.unlink()
