"""Trees deeper than any one call can reach, long and odd names, and chains of links."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import host_state
from support.children import in_child

from verytmp import VeryTmpPath, VeryTmpRoot

pytestmark = pytest.mark.slow

DEEP = {True: 5000, False: 500}  # where the mount follows links, each component is a call of its own
SEARCHED = {True: 2100, False: 300}
WALKED = {True: 1050, False: 150}  # these ask many times as often
MOVED = 3000


@pytest.fixture(params=[True, False], ids=["nosymfollow", "symfollow"])
def root(request: pytest.FixtureRequest) -> Iterator[VeryTmpRoot]:
    with VeryTmpRoot(nosymfollow=request.param) as made:
        yield made


def with_few_descriptors(function: Callable[[], Any]) -> Any:
    """What it returns in a child with the usual limit of descriptors."""

    def limited() -> Any:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        return function()

    return in_child(limited)


def least(count: int) -> int:
    """The time grows with the square of the depth, and not with the user: that root's runs go all the way is enough."""
    return count if os.geteuid() == 0 else min(count, 500)


def depth(top: VeryTmpRoot | Path, name: str = "d") -> int:
    """How many directories of this name lie in each other, by os alone."""
    here = os.open(top, os.O_PATH | os.O_DIRECTORY)
    for level in range(DEEP[True] + 1):
        try:
            below = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
        except FileNotFoundError:
            os.close(here)
            return level
        os.close(here)
        here = below
    raise AssertionError("deeper than it was made")


def dig(root: VeryTmpRoot, count: int, name: str = "d") -> None:
    """Make so many directories in each other, and a file in the last, by os alone."""
    here = os.open(".", os.O_PATH, dir_fd=root.fileno())
    for _ in range(count):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_PATH, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


def remove(path: VeryTmpPath) -> int:
    """Remove all that there is below a directory, from the bottom up. How many directories that were."""
    count = 0
    for place, directories, files in path.walk(top_down=False):
        for name in files:
            (place / name).unlink()
        for name in directories:
            (place / name).rmdir()
            count += 1
    return count


# -- depth -------------------------------------------------------------------------------------------------------------


def test_a_deep_tree_is_made_looked_at_and_removed(root: VeryTmpRoot) -> None:
    count = least(DEEP[root.nosymfollow])
    path = root / "/".join(["d"] * count)

    def use() -> None:
        path.mkdir(parents=True)
        path.mkdir(parents=True, exist_ok=True)
        assert path.is_dir()
        assert depth(root) == count
        file = path / "f"
        assert file.write_text("deep") == 4
        (path / "link").symlink_to("f")
        (path / "up").symlink_to("/".join([".."] * 400))
        for way in (file, path / "link", path / ".." / "d" / "f", path / "up" / "/".join(["d"] * 400) / "f"):
            assert way.read_text() == "deep"
        assert (path / "up").samefile(path.parents[399])
        assert sorted(entry.name for entry in path.iterdir()) == ["f", "link", "up"]
        file.rename("at the top")
        assert sorted(os.listdir(root)) == ["at the top", "d"]
        assert remove(root.path) == count
        assert host_state.look(root.fileno()) == {}

    with_few_descriptors(use)


def test_a_deep_tree_is_resolved_and_searched(root: VeryTmpRoot) -> None:
    """These ask for all that is above, each time."""
    count = least(SEARCHED[root.nosymfollow])
    dig(root, count)
    file = root / "/".join(["d"] * count) / "f"

    def use() -> None:
        assert file.resolve(strict=True) == file
        assert list(root.path.rglob("f")) == [file]

    with_few_descriptors(use)


def test_a_deep_tree_is_walked(root: VeryTmpRoot) -> None:
    count = least(WALKED[root.nosymfollow])
    dig(root, count)

    def use() -> list[tuple[int, list[str], list[str]]]:
        return [(len(place.parts) - 1, dirs, files) for place, dirs, files in root.path.walk()]

    expected: list[tuple[int, list[str], list[str]]] = [(level, ["d"], []) for level in range(count)]
    assert with_few_descriptors(use) == [*expected, (count, [], ["f"])]


def test_a_deep_tree_is_globbed(root: VeryTmpRoot) -> None:
    count = least(WALKED[root.nosymfollow])
    dig(root, count)

    def use() -> list[int]:
        patterns = ("**/d", "**/f", "**/d/*/f", "d/**/d/f", "*/**/", "**/")
        return [len(list(root.path.glob(pattern))) for pattern in patterns]

    assert with_few_descriptors(use) == [count, 1, 1, 1, count, count + 1]


def test_a_deep_tree_goes_to_another_root(root: VeryTmpRoot) -> None:
    count = MOVED
    name = "d" * (1 + 8000 // count)  # longer than PATH_MAX, all together
    dig(root, count, name)
    with VeryTmpRoot(nosymfollow=root.nosymfollow) as other:

        def use() -> None:
            (root / name).move(other / name)

        with_few_descriptors(use)
        assert depth(other, name) == count
        assert host_state.look(root.fileno()) == {}


def test_it_is_renamed_at_any_depth(root: VeryTmpRoot) -> None:
    dig(root, 300, "d" * 20)
    deep = root / "/".join(["d" * 20] * 200)
    deep.rename("half")
    assert depth(root, "d" * 20) == 199
    (root / "half").move(deep)
    assert depth(root, "d" * 20) == 300


def test_out_to_a_host_that_has_no_such_paths(root: VeryTmpRoot, host: Path) -> None:
    """The host's are at most PATH_MAX bytes long. What lies deeper comes out all the same."""
    name = "d" * 250
    dig(root, 20, name)
    os.close(os.open("beside", os.O_CREAT, dir_fd=root.fileno()))
    (root / name).move(host / name)
    assert depth(host, name) == 20
    assert host_state.look(root.fileno()) == {"beside": b""}
    assert root.path.move_into(host) == host


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127 + "x", "\udcff" * 255, "𝄞" * 63])
@pytest.mark.parametrize("count", [15, 16, 17, 40])
def test_many_long_names(root: VeryTmpRoot, name: str, count: int) -> None:
    """As many of them as fit one call, one more, and far more."""
    path = root / "/".join([name] * count)
    path.mkdir(parents=True)
    assert depth(root, name) == count
    (path / name).write_text("x")
    (path / "link").symlink_to(name)
    (root / "link").symlink_to("/".join([name] * 15))  # a link's target is at most PATH_MAX long
    inside = root / "link" / "/".join([name] * (count - 15))
    for way in (path / name, path / "link", inside / name, path / ".." / name / name, inside / "link"):
        assert way.read_text() == "x"
        assert way.resolve(strict=True) == path / name
    assert sorted(root.path.rglob("l*")) == sorted([root / "link", path / "link"])
    assert list(path.glob("[!l]*")) == [path / name]
    (root / "link").unlink()
    remove(root.path)
    assert host_state.look(root.fileno()) == {}


def test_what_is_missing_far_down(root: VeryTmpRoot) -> None:
    path = root / "/".join(["d"] * 3000)
    assert not path.exists()
    assert not path.is_symlink()
    assert path.resolve() == path
    for call in (path.stat, path.read_bytes, path.mkdir, path.unlink, path.rmdir, path.readlink):
        with pytest.raises(FileNotFoundError) as caught:
            call()
        assert caught.value.filename == str(path)
    assert list(path.glob("*")) == list(path.rglob("*")) == []
    assert list(path.walk()) == []
    dig(root, 1)
    with pytest.raises(NotADirectoryError):
        (root / "d" / "f" / path.relative_to(root)).stat()
    with pytest.raises(FileExistsError):
        (root / "d" / "f").mkdir(parents=True)


# -- names -------------------------------------------------------------------------------------------------------------

LONGEST = ["x" * 255, "é" * 127 + "x", "\udcff" * 255, "." * 255, " " * 255]


@pytest.mark.parametrize("name", LONGEST)
def test_the_longest_names(base: Path, name: str) -> None:
    (base / name).mkdir()
    (base / name / name).write_text("x")
    (base / name / "f").symlink_to(name)
    assert host_state.look(os.fspath(base)) == {name: {name: b"x", "f": f"-> {name}"}}
    assert (base / name / "f").read_text() == "x"
    assert [path.name for path in base.iterdir()] == [name]
    assert [path.name for path in base.rglob("f")] == ["f"]
    (base / name / name).rename(base / name[:-1])
    (base / name / "f").unlink()
    (base / name).rmdir()
    assert host_state.look(os.fspath(base)) == {name[:-1]: b"x"}


@pytest.mark.parametrize("name", ["x" * 256, "é" * 128, "\udcff" * 256, "." * 256, "x" * 5000])
def test_a_name_that_is_too_long(base: Path, name: str) -> None:
    (base / "f").write_text("x")
    (base / "d").mkdir()
    for path in (base / name, base / "d" / name, base / "d" / ".." / name, base / name / "x"):
        calls: list[Callable[[], object]] = [
            path.stat,
            path.lstat,
            path.read_bytes,
            path.mkdir,
            path.unlink,
            path.rmdir,
            path.touch,
            path.readlink,
            lambda path=path: path.write_text("x"),  # type: ignore[misc]
            lambda path=path: path.mkdir(parents=True, exist_ok=True),  # type: ignore[misc]
            lambda path=path: path.symlink_to("f"),  # type: ignore[misc]
            lambda path=path: path.hardlink_to(base / "f"),  # type: ignore[misc]
            lambda path=path: (base / "f").rename(path),  # type: ignore[misc]
            lambda path=path: list(path.iterdir()),  # type: ignore[misc]
        ]
        for call in calls:
            with pytest.raises(OSError) as caught:
                call()
            assert caught.value.errno == errno.ENAMETOOLONG
    assert host_state.look(os.fspath(base)) == {"f": b"x", "d": {}}


ODD = [
    b"\xff\xfe",
    b"caf\xe9",
    b"\xed\xa0\x80",
    "\u00e9".encode(),
    "e\u0301".encode(),
    b"new\nline",
    b"\x01\x7f",
    b"~",
    b"\\",
    b"-rf",
]


def test_names_that_are_not_utf_8(base: Path) -> None:
    for number, name in enumerate(ODD):
        path = base / os.fsdecode(name)
        path.mkdir()
        (path / os.fsdecode(name)).write_text(str(number))
        (path / "link").symlink_to(os.fsdecode(name))
        assert os.fsencode(path.name) == name
        assert os.fsencode((path / "link").readlink()) == name
        assert (path / "link").read_text() == str(number)
        assert (path / "link").resolve().name == os.fsdecode(name)
    top = os.fsencode(base)
    assert sorted(os.listdir(top)) == sorted(ODD)
    for name in ODD:
        assert sorted(os.listdir(top + b"/" + name)) == sorted([name, b"link"])
        assert os.readlink(top + b"/" + name + b"/link") == name
    assert {os.fsencode(path.name) for path in base.iterdir()} == set(ODD)
    assert {os.fsencode(path.name) for path in base.rglob("*")} == {*ODD, b"link"}


def test_names_that_are_not_utf_8_go_elsewhere(root: VeryTmpRoot, host: Path) -> None:
    for name in ODD:
        (root / "d" / os.fsdecode(name)).mkdir(parents=True)
        (root / "d" / os.fsdecode(name) / os.fsdecode(name)).touch()
    assert {os.fsencode(name) for _, dirs, _ in (root / "d").walk() for name in dirs} == set(ODD)
    (root / "d").copy(host / "d")
    with VeryTmpRoot() as other:
        (root / "d").move(other / "d")
        assert host_state.look(other.fileno()) == host_state.look(str(host))
    assert set(os.listdir(os.fsencode(host / "d"))) == set(ODD)


# -- links -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def links(root: VeryTmpRoot) -> VeryTmpPath:
    """A chain of links to a file and one to a directory (42 leads to 41, and so on), and a link to here.

    Plain paths are not among these tests: a lookup that somebody's mount(2) makes the kernel begin anew goes on
    counting, and so fails at fewer.
    """
    top = os.fspath(root)
    host_state.make(top, {"f": b"f", "d": {"f": b"d/f"}, "here": "-> ."})
    for kind in ("f", "d"):
        os.symlink(kind, f"{top}/{kind}1")
        for number in range(2, 43):
            os.symlink(f"{kind}{number - 1}", f"{top}/{kind}{number}")
    return root.path


@pytest.mark.parametrize(
    ("name", "links_in_it"),
    [
        ("f40", 40),
        ("f41", 41),
        ("d40/f", 40),
        ("d41/f", 41),
        ("here/" * 40 + "f", 40),
        ("here/" * 41 + "f", 41),
        ("here/" * 20 + "f20", 40),
        ("here/" * 20 + "f21", 41),
        ("here/" * 20 + "d20/f", 40),
        ("here/" * 20 + "d21/f", 41),
        ("d20/../d20/f", 40),
        ("d20/../d21/f", 41),
    ],
)
def test_forty_links(links: VeryTmpPath, name: str, links_in_it: int) -> None:
    path = links / name
    content = b"d/f" if "d" in name and not name.startswith("here/" * 20 + "f") else b"f"
    if links_in_it > 40:
        for call in (path.stat, path.read_bytes, path.open, lambda: path.write_text("x")):
            with pytest.raises(OSError) as caught:
                call()
            assert caught.value.errno == errno.ELOOP
        assert not path.exists()
    else:
        assert path.read_bytes() == content
        assert path.stat().st_size == len(content)
        assert path.write_bytes(b"new") == 3
        assert host_state.look(os.fspath(links / ("d" if content == b"d/f" else "")))["f"] == b"new"


def test_forty_links_to_an_entry(links: VeryTmpPath) -> None:
    """The last component of these is not followed, and so does not count."""
    forty = links / ("here/" * 40)
    assert str((forty / "f1").readlink()) == "f"
    assert (forty / "f1").is_symlink()
    (forty / "new").mkdir()
    (forty / "new").rename(forty / "newer")
    (forty / "link").symlink_to("f")
    (forty / "link").unlink()
    (forty / "newer").rmdir()
    one_more = links / ("here/" * 41)
    for call in (
        (one_more / "f1").readlink,
        (one_more / "f").lstat,
        (one_more / "new").mkdir,
        (one_more / "f1").unlink,
        (one_more / "d").rmdir,
        lambda: (one_more / "f").rename(links / "g"),
        lambda: (links / "f").rename(one_more / "g"),
        lambda: list(one_more.iterdir()),
    ):
        with pytest.raises(OSError) as caught:
            call()
        assert caught.value.errno == errno.ELOOP
    found = host_state.look(os.fspath(links))
    assert {name for name in found if not name[1:].isdigit()} == {"f", "d", "here"}


def test_resolve_counts_no_links(root: VeryTmpRoot) -> None:
    """As `os.path.realpath`: a link may lead to a path with forty others."""
    os.mkdir(f"{os.fspath(root)}/d")
    os.symlink("d", f"{os.fspath(root)}/1")
    for number in range(2, 41):
        os.symlink(f"{number - 1}", f"{os.fspath(root)}/{number}")
    assert (root / "40").resolve(strict=True) == root / "d"
    assert (root / "40" / ".." / "40" / ".." / "40").resolve(strict=True) == root / "d"
