"""The resolver: where each path leads, on mounts that follow symlinks and on mounts that do not."""

from __future__ import annotations

import contextlib
import errno
import os
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support import host_state, kernel, syscall_hooks
from support.children import in_child

from verytmp import VeryTmpPath, VeryTmpRoot
from verytmp._confined.resolver import (
    ATTEMPTS,
    LINKS_MAX,
    STRAIGHT_LINKS,
    TARGETS_COMPONENTS_MAX,
    Resolution,
    collapse,
    most_even,
    resolve,
    substitute_links,
)
from verytmp._paths.realpath import BY_NAME

TREE: host_state.Tree = {
    "a": {
        "b": {
            "f": b"a/b/f",
            "up": "-> ../..",
            "out": "-> ../../../../../../etc",
            "aside": "-> ../f",
            "beyond": "-> ../../../f",
            "between": "-> ../b/../f",
        },
        "f": b"a/f",
        "rel": "-> b",
        "abs": "-> /a/b",
        "up": "-> ..",
        "self": "-> .",
    },
    "f": b"f",
    "root": "-> /",
    "root2": "-> ///",
    "loop": "-> loop",
    "loop1": "-> loop2",
    "loop2": "-> loop1",
    "deep": "-> a/rel/up/a/abs/f",
    "dangling": "-> missing",
    "dangling abs": "-> /a/missing",
    "dangling dir": "-> missing/x",
    "passwd": "-> /etc/passwd",
    "slash": "-> a/b/",
    "dot": "-> a/b/.",
    "file slash": "-> f/",
    "odd": "-> a//.///b/./f",
    "deeper": "-> a/b/beyond/x",
    "magic": "-> /proc/self/root/etc/passwd",
}

ROOT = "/"  # the kernel's name for a directory, in this table

LEADS_TO = {
    "a": "a",
    "f": "f",
    "a/b/f": "a/b/f",
    "a/rel/f": "a/b/f",
    "a/abs/f": "a/b/f",
    "a/rel": "a/b",
    "a/abs": "a/b",
    "a/up": ROOT,
    "a/up/f": "f",
    "a/self/self/self/f": "a/f",
    "root": ROOT,
    "root2/a/f": "a/f",
    "root/root/root/f": "f",
    "deep": "a/b/f",
    "slash": "a/b",
    "slash/f": "a/b/f",
    "dot": "a/b",
    "odd": "a/b/f",
    "..": ROOT,
    "../..": ROOT,
    "../f": "f",
    "../../../a/f": "a/f",
    "a/..": ROOT,
    "a/../f": "f",
    "a/b/..": "a",
    "a/b/../f": "a/f",
    "a/rel/../f": "a/f",
    "a/abs/../f": "a/f",
    "a/b/up/f": "f",
    "a/up/../../f": "f",
    "root/../f": "f",
}

FAILS_WITH = {
    "missing/f": errno.ENOENT,
    "f/x": errno.ENOTDIR,
    "f/..": errno.ENOTDIR,
    "f/../f": errno.ENOTDIR,
    "missing/..": errno.ENOENT,
    "missing/../f": errno.ENOENT,
    "loop": errno.ELOOP,
    "loop/f": errno.ELOOP,
    "loop1/f": errno.ELOOP,
    "dangling/f": errno.ENOENT,
    "dangling dir": errno.ENOENT,
    "passwd": errno.ENOENT,
    "passwd/x": errno.ENOENT,
    "a/b/out/passwd": errno.ENOENT,
    "magic": errno.ENOENT,
    "file slash": errno.ENOTDIR,
    "x" * 256: errno.ENAMETOOLONG,
    "x" * 256 + "/f": errno.ENAMETOOLONG,
}

NEW_NAMES = {  # what a path leads to that is not there: the directory it would be made in, and its name
    "missing": (ROOT, "missing"),
    "a/missing": ("a", "missing"),
    "dangling": (ROOT, "missing"),
    "dangling abs": ("a", "missing"),
    "a/b/out": (ROOT, "etc"),
}

ENTRIES = {  # without following the last component
    "f": (ROOT, "f"),
    "root": (ROOT, "root"),
    "loop": (ROOT, "loop"),
    "a/rel/f": ("a/b", "f"),
    "a/up/dangling": (ROOT, "dangling"),
    "a/..": ("a", ".."),
    "..": (ROOT, ".."),
    "a/b/../missing": ("a", "missing"),
}


def at(root: VeryTmpRoot) -> tuple[int, str]:
    """Where a resolution begins."""
    return root.path._tree.fd, root.path._tree.token


@pytest.fixture(params=[True, False], ids=["nosymfollow", "symfollow"])
def root(request: pytest.FixtureRequest) -> Iterator[VeryTmpRoot]:
    with VeryTmpRoot(nosymfollow=request.param) as made:
        host_state.make(made.fileno(), TREE)
        yield made


def file_id(path: str, directory: int) -> tuple[int, int]:
    status = os.stat("." if path == ROOT else path, dir_fd=directory, follow_symlinks=False)
    return status.st_dev, status.st_ino


def resolved(root: VeryTmpRoot, path: str, follow: bool) -> tuple[tuple[int, int], str]:
    """The file that a path is resolved in, and the name there; the directory itself under an empty name."""
    directory, name = resolve(*at(root), path, follow, root.nosymfollow)
    try:
        status = os.stat(directory.fileno())
        return (status.st_dev, status.st_ino), name
    finally:
        directory.close()


@pytest.mark.parametrize(("path", "where"), LEADS_TO.items())
def test_where_a_path_leads(root: VeryTmpRoot, path: str, where: str) -> None:
    directory, name = resolve(*at(root), path, True, root.nosymfollow)
    try:
        status = os.stat(name or ".", dir_fd=directory.fileno(), follow_symlinks=False)
    finally:
        directory.close()
    assert (status.st_dev, status.st_ino) == file_id(where, root.fileno())


@pytest.mark.parametrize(("path", "number"), FAILS_WITH.items())
def test_where_a_path_fails(root: VeryTmpRoot, path: str, number: int) -> None:
    with pytest.raises(OSError) as caught:
        resolve(*at(root), path, True, root.nosymfollow)
    assert caught.value.errno == number


@pytest.mark.parametrize(("path", "where"), NEW_NAMES.items())
def test_where_something_new_would_be(root: VeryTmpRoot, path: str, where: tuple[str, str]) -> None:
    assert resolved(root, path, True) == (file_id(where[0], root.fileno()), where[1])


@pytest.mark.parametrize(("path", "where"), ENTRIES.items())
def test_the_entry_itself(root: VeryTmpRoot, path: str, where: tuple[str, str]) -> None:
    assert resolved(root, path, False) == (file_id(where[0], root.fileno()), where[1])


def test_as_many_links_as_the_kernel_follows(root: VeryTmpRoot) -> None:
    os.symlink("f", "l1", dir_fd=root.fileno())
    for number in range(2, LINKS_MAX + 2):
        os.symlink(f"l{number - 1}", f"l{number}", dir_fd=root.fileno())
    assert resolved(root, f"l{LINKS_MAX}", True)[1] == "f"
    with pytest.raises(OSError) as caught:
        resolve(*at(root), f"l{LINKS_MAX + 1}", True, root.nosymfollow)
    assert caught.value.errno == errno.ELOOP


def test_forty_is_the_kernels_number(host: os.PathLike[str]) -> None:
    """The bound is the kernel's own, so what works in a plain directory works here.

    When something else is renamed meanwhile, the kernel starts again without forgetting the links that it has counted.
    """
    os.close(os.open(os.path.join(host, "l0"), os.O_CREAT))
    for number in range(1, LINKS_MAX + 2):
        os.symlink(f"l{number - 1}", os.path.join(host, f"l{number}"))
    for _ in range(100):
        with contextlib.suppress(OSError):
            os.stat(os.path.join(host, f"l{LINKS_MAX}"))
            break
    else:
        pytest.fail("fewer links")
    with pytest.raises(OSError) as caught:
        os.stat(os.path.join(host, f"l{LINKS_MAX + 1}"))
    assert caught.value.errno == errno.ELOOP


FOUR_BYTES = "\N{GOTHIC LETTER HWAIR}"


@pytest.mark.parametrize(
    ("name", "levels"), [("d" * 200, 40), (FOUR_BYTES * 63, 40), (FOUR_BYTES, 1100)], ids=["ascii", "long", "many"]
)
def test_longer_than_path_max(root: VeryTmpRoot, name: str, levels: int) -> None:
    here = os.open(".", os.O_PATH, dir_fd=root.fileno())
    for _ in range(levels):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_PATH, dir_fd=here)
        os.close(here)
        here = below
    status = os.stat(here)
    os.close(here)
    path = "/".join([name] * levels)
    assert len(os.fsencode(path)) > 4096
    assert resolved(root, f"{path}/x", True) == ((status.st_dev, status.st_ino), "x")


@pytest.mark.parametrize("path", ["a/b/f", "loop/f", "missing/f", "f/x", "deep", "a/b/../../../f"])
@pytest.mark.parametrize("follow", [True, False])
def test_no_descriptor_is_left(root: VeryTmpRoot, path: str, follow: bool) -> None:
    before = host_state.descriptors()
    try:
        directory, _ = resolve(*at(root), path, follow, root.nosymfollow)
    except OSError:
        pass
    else:
        directory.close()
    assert host_state.new_descriptors(before) == {}


STRAIGHT = {
    "a/b/f": [],
    "a/rel/f": ["a/b/f"],
    "a/abs/f": ["a/b/f"],  # and not a/a/b/f
    "a/abs": ["a/b"],
    "odd": ["a/b/f"],
    "dangling dir": ["missing/x"],
    "dangling abs": ["a/missing"],
    "passwd": ["etc/passwd"],
    "deep": ["a/rel/up/a/abs/f", "a/b/up/a/abs/f"],  # then there is a "..", which takes a walk
    "loop": ["loop"] * STRAIGHT_LINKS,
    "a/up/f": [],
    "a/b/aside": ["a/f"],
    "a/b/beyond": ["f"],  # above the root is the root
    "a/b/between": [],
    "a/b/out": ["etc"],
    "a/rel/aside": ["a/b/aside", "a/f"],
    "deeper": ["a/b/beyond/x", "f/x"],
    "a/self/f": [],
    "root": [],
    "slash": [],
    "dot": [],
    "file slash": [],
    "missing/rel": [],
    "f/rel": [],
}


@pytest.mark.tmpfs
@pytest.mark.parametrize("path", STRAIGHT)
def test_straight_ways(path: str) -> None:
    with VeryTmpRoot() as root:
        host_state.make(os.fspath(root), TREE)
        assert list(substitute_links(*at(root), path, True)) == STRAIGHT[path]


@pytest.mark.tmpfs
def test_the_last_link_is_only_followed_when_it_is_to_be() -> None:
    with VeryTmpRoot() as root:
        host_state.make(os.fspath(root), TREE)
        for path in ("a/rel", "a/abs", "odd", "loop"):
            assert list(substitute_links(*at(root), path, False)) == []
        assert list(substitute_links(*at(root), "a/rel/up", False)) == ["a/b/up"]


@pytest.mark.tmpfs
@pytest.mark.parametrize("depth", range(1, 10))
def test_links_are_found_wherever_they_are(depth: int) -> None:
    with VeryTmpRoot() as root:
        folder = root.path
        for _ in range(depth):
            (folder / "d").mkdir()
            (folder / "l").symlink_to("d")
            folder = folder / "d"
        for first in range(depth):
            for second in range(first, depth):
                names = ["l" if level in (first, second) else "d" for level in range(depth)]
                once = ["d" if level == first else name for level, name in enumerate(names)]
                expected = ["/".join(once)] if first == second else ["/".join(once), "/".join(["d"] * depth)]
                assert list(substitute_links(*at(root), "/".join(names), True)) == expected


def test_a_straight_way_opens_no_link() -> None:
    """With O_PATH, O_NOFOLLOW does: so what that opened is looked at."""
    with VeryTmpRoot() as root:
        (root / "f").touch()
        (root / "one").symlink_to("two")
        (root / "two").symlink_to("f")
        (root / "one").chmod(0o640)
        assert (root / "f").stat().st_mode & 0o777 == 0o640


@pytest.mark.tmpfs
def test_an_absolute_link_below_leads_to_a_link_above() -> None:
    with VeryTmpRoot() as root:
        host_state.make(os.fspath(root), {"d": {"d": {"abs": "-> /l"}}, "l": "-> d"})
        assert list(substitute_links(*at(root), "d/d/abs", True)) == ["l", "d"]


def test_nothing_is_made_through_a_link_that_ends_in_a_slash(root: VeryTmpRoot) -> None:
    """Whatever is there: the slash asks for a directory, which O_CREAT does not make."""
    os.symlink("missing/", "new", dir_fd=root.fileno())
    for path in ("new", "file slash", "slash"):
        with pytest.raises(IsADirectoryError):
            resolve(*at(root), path, True, root.nosymfollow, create=True)
    assert resolved(root, "deep", True) == (file_id("a/b", root.fileno()), "f")


def test_up_from_where_nobody_may_search(root: VeryTmpRoot) -> None:
    os.chmod("a", 0, dir_fd=root.fileno())

    def up() -> object:
        kernel.drop_capabilities()
        return resolve(*at(root), "a/../f", True, root.nosymfollow)

    with pytest.raises(PermissionError):
        in_child(up)


def test_a_root_whose_number_is_0(root: VeryTmpRoot) -> None:
    """As in a program without standard input."""

    def leads_to() -> tuple[int, int]:
        os.dup2(root.path._tree.fd, 0)
        directory, name = resolve(0, root.path._tree.token, "a/b/up/a/abs/f", True, root.nosymfollow)
        status = os.stat(name, dir_fd=directory.fileno())
        return status.st_dev, status.st_ino

    assert in_child(leads_to) == file_id("a/b/f", root.fileno())


def test_what_is_no_file_any_more_is_entered(root: VeryTmpRoot) -> None:
    """It was a file when it was to be entered, and is a directory, or a link, when it is looked at for the reason."""
    with syscall_hooks.interposed({3: lambda: kernel.exchange(root.fileno(), "f", "a")}) as calls:
        directory, name = resolve(*at(root), "f/f", True, root.nosymfollow)
    directory.close()
    assert calls.names[:4] == ["open", "open", "readlink", "stat"]
    assert name == "f"
    kernel.exchange(root.fileno(), "f", "a")
    with (
        syscall_hooks.interposed({3: lambda: kernel.exchange(root.fileno(), "f", "dangling")}),
        pytest.raises(FileNotFoundError),
    ):
        resolve(*at(root), "f/f", True, root.nosymfollow)


def test_what_is_gone_is_the_file_that_it_was(root: VeryTmpRoot) -> None:
    with (
        syscall_hooks.interposed({3: lambda: os.unlink("f", dir_fd=root.fileno())}),
        pytest.raises(NotADirectoryError),
    ):
        resolve(*at(root), "f/f", True, root.nosymfollow)


def test_what_is_a_file_each_time_is_one(root: VeryTmpRoot) -> None:
    """It is a directory whenever it is looked at, and a file whenever it is to be entered: there is an end to that."""

    def exchange() -> None:
        kernel.exchange(root.fileno(), "f", "a")

    acts = {3 + number: exchange for number in range(3 * ATTEMPTS) if number % 3 != 2}  # each stat, and the next open
    with syscall_hooks.interposed(acts) as calls, pytest.raises(NotADirectoryError):
        resolve(*at(root), "f/f", True, root.nosymfollow)
    assert calls.names.count("readlink") == ATTEMPTS


@pytest.mark.parametrize(
    ("path", "end"),
    [
        ("", ""),
        ("a", "a"),
        ("a/b/c/..", "a/b"),
        ("a/b/../c", "a/c"),
        ("a/b/../../c", "c"),
        ("a/../../../c", "c"),
        ("..", ""),
        ("../a//./b/", "a/b"),
    ],
)
def test_words_without_dots(path: str, end: str) -> None:
    assert collapse(path) == end


@pytest.mark.parametrize("path", ["missing/x\0y", "f/x\0y", "loop/x\0y", "x\0y"])
def test_a_null_byte_is_seen_whatever_comes_before_it(root: VeryTmpRoot, path: str) -> None:
    with pytest.raises(ValueError, match="embedded null byte"):
        resolve(*at(root), path, True, root.nosymfollow)


# -- what it costs -----------------------------------------------------------------------------------------------------

LEVELS = 300
PER_COMPONENT = 4  # system calls: one to enter it; and the same, or less, to enter it again, and what `..` asks
NAMES_PER_COMPONENT = (
    8  # that the kernel looks up in them: where many are entered at once, fewer calls are no less work
)


def dig(root: VeryTmpRoot, levels: int, name: str = "d") -> int:
    """Make so many directories in each other; a descriptor of the last one."""
    here = os.open(".", os.O_PATH, dir_fd=root.fileno())
    for _ in range(levels):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_PATH, dir_fd=here)
        os.close(here)
        here = below
    return here


class Cost:
    """The system calls that open or look at something, and the names that the kernel looks up for them."""

    def __init__(self) -> None:
        self.calls = self.names = 0

    def within(self, components: int) -> bool:
        return self.calls <= PER_COMPONENT * components and self.names <= NAMES_PER_COMPONENT * components


@contextlib.contextmanager
def counted() -> Iterator[Cost]:
    cost = Cost()

    def counting(call: Callable[..., Any]) -> Callable[..., Any]:
        def count(path: str, *arguments: Any, **keywords: Any) -> Any:
            cost.calls += 1
            cost.names += str(path).count("/") + 1
            return call(path, *arguments, **keywords)

        return count

    with pytest.MonkeyPatch.context() as patch:
        for name in ("open", "readlink", "stat", "mkdir"):
            patch.setattr(os, name, counting(getattr(os, name)))
        syscall_hooks.rebind_openers()
        yield cost
    syscall_hooks.rebind_openers()


def down_and_up(*turns: tuple[int, int]) -> list[str]:
    return [name for down, up in turns for name in ["d"] * down + [".."] * up]


DOTS = {
    "down and up": down_and_up((LEVELS, LEVELS)),
    "one by one": down_and_up((LEVELS, 1), *[(1, 1)] * LEVELS),
    "back and forth, further each time": down_and_up((LEVELS, 1), *[(turn, turn + 1) for turn in range(1, 30)]),
    "over where much is forgotten": down_and_up((257, 130), *[(64, 65)] * 10),
    "from the top": down_and_up(*[(2, 2)] * LEVELS),
    "beyond the root": down_and_up((9, 1000), (9, 1000), (9, 5)),
}


@pytest.mark.parametrize("turns", DOTS)
def test_dots_cost_as_much_as_names(root: VeryTmpRoot, turns: str) -> None:
    """However they are mixed, and however deep that is: no step back is taken from the root again."""
    os.close(dig(root, LEVELS))
    names = DOTS[turns]
    depth = 0
    for name in names:
        depth = max(0, depth - 1) if name == ".." else depth + 1
    with counted() as cost:
        directory, _ = resolve(*at(root), "/".join([*names, "."]), True, root.nosymfollow)
    with directory:
        assert cost.within(len(names))
        expected = os.stat("/".join([".", *["d"] * depth]), dir_fd=root.fileno())
        assert os.path.samestat(os.fstat(directory.fileno()), expected)


USES: dict[str, Callable[[VeryTmpPath], object]] = {
    "stat": lambda path: path.stat(),
    "exists": lambda path: path.exists(),
    "read": lambda path: path.read_bytes(),
    "write": lambda path: path.write_bytes(b"x"),
    "chmod": lambda path: path.chmod(0o600),
    "mkdir": lambda path: path.with_name("new").mkdir(),
    "symlink": lambda path: path.with_name("new link").symlink_to("f"),
    "rename": lambda path: path.rename(path.with_name("g")),
    "unlink": lambda path: path.unlink(),
    "glob": lambda path: list(path.parent.glob("../d/*")),
    "resolve": lambda path: path.resolve(),
}


@pytest.mark.parametrize("use", USES)
def test_every_operation_does(root: VeryTmpRoot, use: str) -> None:
    here = dig(root, LEVELS)
    os.close(os.open("f", os.O_CREAT, dir_fd=here))
    os.close(here)
    names = ["d"] * LEVELS + ["..", "d"] * LEVELS
    path = root.path.joinpath(*names, "f")
    with counted() as cost:
        USES[use](path)
    assert cost.within(2 * len(names))  # a rename resolves two paths


def test_links_full_of_dots(root: VeryTmpRoot) -> None:
    """In as many of them as are followed."""
    here = dig(root, LEVELS)
    os.mkdir("e", dir_fd=here)
    for number in range(LINKS_MAX):
        rest = f"l{number + 1}" if number < LINKS_MAX - 1 else "e"
        os.symlink("e/../" * 200 + rest, f"l{number}", dir_fd=here)
    os.close(here)
    path = "/".join(["d"] * LEVELS) + "/l0"
    with counted() as cost:
        assert resolved(root, path, True)[1] == "e"
    assert cost.within(LEVELS + 2 * 200 * LINKS_MAX)


@pytest.mark.parametrize("seed", range(5))
def test_few_directories_are_kept_open(root: VeryTmpRoot, seed: int) -> None:
    """Two for each power of two, and the root: wherever it goes, and it is always where it should be."""
    os.close(dig(root, LEVELS))
    inodes = [os.stat("/".join([".", *["d"] * depth]), dir_fd=root.fileno()).st_ino for depth in range(LEVELS + 1)]
    chance = random.Random(seed)
    resolution = Resolution(*at(root), root.nosymfollow)
    moved = 0
    try:
        with counted() as cost:
            for _ in range(300):
                depth = len(resolution.names)
                far = chance.choice([1, 2, 3, 10, LEVELS])
                down = min(chance.randint(0, far), LEVELS - depth)
                if chance.random() < 0.5:
                    resolution.take([*["d"] * down, "."], True)
                    depth += down
                    moved += down
                else:
                    up = min(chance.randint(1, far), depth)
                    assert resolution.up(up) == []
                    depth -= up
                    moved += up
                assert len(resolution.names) == depth
                assert os.fstat(resolution.current.fileno()).st_ino == inodes[depth]
                assert len(resolution._kept) <= 2 * depth.bit_length() + 1
    finally:
        resolution.close()
    assert cost.within(moved + 300)


def test_a_step_back_to_what_is_another_now(root: VeryTmpRoot) -> None:
    """What has to be entered again on the way back was swapped for a link: it leads where that leads, in the root."""
    names = ["p", "c", "c", "c", "c", "..", "..", "..", ".."]
    host_state.make(root.fileno(), {"p": {"c": {"c": {"c": {"c": {}}}}, "f": b""}, "z": {"f": b""}, "q": "-> z"})

    def exchange() -> None:
        kernel.exchange(root.fileno(), "p", "q")

    with syscall_hooks.interposed({}) as calls:
        resolve(*at(root), "/".join([*names, "f"]), True, root.nosymfollow)[0].close()
    last = len(calls.names) - 1 - calls.names[::-1].index("open")  # it enters "p" again
    for most, ends in ((TARGETS_COMPONENTS_MAX, None), (0, errno.ELOOP)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("verytmp._confined.resolver.TARGETS_COMPONENTS_MAX", most)
            with syscall_hooks.interposed({last: exchange}):
                if ends is None:
                    assert resolved(root, "/".join([*names, "f"]), True) == (file_id("z", root.fileno()), "f")
                else:
                    with pytest.raises(OSError) as caught:
                        resolve(*at(root), "/".join([*names, "f"]), True, root.nosymfollow)
                    assert caught.value.errno == ends
        kernel.exchange(root.fileno(), "p", "q")


@pytest.mark.parametrize("free", [1, 2, 3, 5])
def test_without_free_descriptors(root: VeryTmpRoot, free: int) -> None:
    """Two are enough: those that were kept are given up."""
    os.close(dig(root, 40))
    os.close(os.open("f", os.O_CREAT, dir_fd=root.fileno()))
    names = down_and_up((40, 1), (1, 39), (30, 15), (1, 17))

    def leads_to() -> str:
        kernel.fill_descriptor_table(free)
        directory, name = resolve(*at(root), "/".join([*names, "f"]), True, root.nosymfollow)
        return name if os.path.samestat(os.fstat(directory.fileno()), os.fstat(root.fileno())) else "elsewhere"

    if free < 2:
        with pytest.raises(OSError) as caught:
            in_child(leads_to)
        assert caught.value.errno == errno.EMFILE
    else:
        assert in_child(leads_to) == "f"


def test_a_lack_of_descriptors_has_its_own_name(root: VeryTmpRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it takes too many steps for that reason, the error is no loop's."""
    os.close(dig(root, 40))
    monkeypatch.setattr("verytmp._confined.resolver.TARGETS_COMPONENTS_MAX", 0)

    def use() -> object:
        kernel.fill_descriptor_table(2)
        return resolve(*at(root), "/".join([*down_and_up((40, 1), (1, 39)), "f"]), True, False)

    with pytest.raises(OSError) as caught:
        in_child(use)
    assert caught.value.errno == errno.EMFILE


def test_a_dot_where_nobody_may_search(root: VeryTmpRoot) -> None:
    os.chmod("a/b", 0, dir_fd=root.fileno())

    def stat(path: str) -> object:
        kernel.drop_capabilities()
        return resolved(root, path, True)

    with pytest.raises(PermissionError):
        in_child(lambda: stat("dot"))
    assert in_child(lambda: stat("slash")) == (file_id("a/b", root.fileno()), ".")


@pytest.mark.parametrize(("low", "high", "number"), [(0, 1, 1), (0, 999, 512), (512, 999, 768), (6, 7, 7), (7, 9, 8)])
def test_the_most_even_number(low: int, high: int, number: int) -> None:
    assert most_even(low, high) == number


# -- the whole path ----------------------------------------------------------------------------------------------------


def test_what_is_resolved_to_a_name_costs_no_more_further_down(root: VeryTmpRoot) -> None:
    """`resolve` asks for each prefix of the path."""
    os.close(dig(root, LEVELS))
    os.symlink("d/../d", "l", dir_fd=root.fileno())
    for names, ends in (
        (["d"] * LEVELS, LEVELS),
        (["l", *["d"] * (LEVELS - 1), *["..", "d"] * LEVELS], LEVELS),
        (["missing"] * LEVELS, LEVELS),
        (["d"] * LEVELS + [".."] * LEVELS, 0),
    ):
        path = root.path.joinpath(*names)
        with counted() as cost:
            found = path.resolve()
        assert found == root.path.joinpath(*names[-1:] * ends)
        assert cost.calls <= PER_COMPONENT * len(names)
        assert cost.names <= (BY_NAME + PER_COMPONENT) * len(names)


def test_a_link_is_resolved_far_down(root: VeryTmpRoot) -> None:
    here = dig(root, LEVELS)
    for name, target in {"up": "../..", "top": "/", "deep": "/" + "d/" * 100, "here": ".", "gone": "no/x"}.items():
        os.symlink(target, name, dir_fd=here)
    os.close(here)
    path = root.path.joinpath(*["d"] * LEVELS)
    for name, depth in {"up": LEVELS - 2, "top": 0, "deep": 100, "here": LEVELS, "up/d/d/deep/d/d": 102}.items():
        assert (path / name).resolve(strict=True) == root.path.joinpath(*["d"] * depth)
    assert (path / "here/top" / path / "here/top" / path / "up").resolve() == path.parent.parent
    assert (path / "gone/y").resolve() == path / "no/x/y"
    with pytest.raises(FileNotFoundError) as caught:
        (path / "gone/y").resolve(strict=True)
    assert caught.value.filename == str(path / "no")


@pytest.mark.tmpfs
def test_resolving_far_down_needs_no_free_descriptor() -> None:
    """Where the mount follows no links: elsewhere each directory is entered, which takes one."""
    with VeryTmpRoot() as root:
        os.close(dig(root, LEVELS))
        path = root.path.joinpath(*["d"] * LEVELS)
        os.symlink("d", root / "l")

        def resolved_path() -> bool:
            kernel.fill_descriptor_table(0)
            return (root / "l" / "/".join(["d"] * (LEVELS - 1))).resolve(strict=True) == path

        assert in_child(resolved_path)


def test_what_is_swapped_for_a_link_is_resolved_far_down(root: VeryTmpRoot) -> None:
    """A directory that was none when it was asked about is a link when it is entered."""
    os.mkdir("p", dir_fd=root.fileno())
    (root / "p" / "/".join(["d"] * 40)).mkdir(parents=True)
    os.symlink("z", "q", dir_fd=root.fileno())
    (root / "z" / "/".join(["d"] * 40)).mkdir(parents=True)
    (root / "z" / "/".join(["d"] * 40) / "l").symlink_to("/z")
    path = root / "p" / "/".join(["d"] * 40) / "l"
    with syscall_hooks.interposed({}) as calls:
        path.resolve()
    first = calls.names.index("readlink") + 1
    with syscall_hooks.interposed({first: lambda: kernel.exchange(root.fileno(), "p", "q")}):
        assert path.resolve() == root / "z"


@pytest.mark.parametrize("dots", [False, True], ids=["plain", "dots"])
def test_parents_are_made_in_one_go(root: VeryTmpRoot, dots: bool) -> None:
    names = ["d", "..", "d"] * 100 if dots else ["d"] * LEVELS
    path = root.path.joinpath(*names, "end")
    with counted() as cost:
        path.mkdir(0o700, parents=True)
    assert cost.within(2 * len(names))  # with the whole path, before and afterwards
    made = root / "/".join(["d"] * (100 if dots else LEVELS))
    assert os.listdir(made) == ["end"]
    assert (made / "end").stat().st_mode & 0o777 == 0o700
    path.mkdir(parents=True, exist_ok=True)


@pytest.mark.parametrize("what", ["dangling", "file", "link"])
def test_parents_where_something_else_is(root: VeryTmpRoot, what: str) -> None:
    """As pathlib has it: a link to nothing is there already, and is not followed to make what it leads to."""
    host_state.make(root.fileno(), {"top": {"dangling": "-> none", "file": b"", "link": "-> /", "n": {}}})
    path = root.path.joinpath("top", "n", "..", what, *["new"] * 40)
    expected = {"dangling": FileExistsError, "file": NotADirectoryError}.get(what)
    if expected is None:
        path.mkdir(parents=True)
        assert (root / "/".join(["new"] * 40)).is_dir()
    else:
        with pytest.raises(expected) as caught:
            path.mkdir(parents=True)
        assert not (root / "top" / "none").exists()
        if what == "dangling":
            assert caught.value.filename == str(root / "top" / "dangling")
