"""Known attacks, each by every confined operation: nothing leaves, and what is meant for the host stays inside.

The secret has a twin in the root, under the same path. So a row says where it would have led: to the host's file if
anything escapes, to the twin as after chroot(2).
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from support import canary, host_state, oracle
from support.all_operations import INSIDE, REFUSALS
from support.canary import Canary
from support.hostile_paths import CHANGING, READING, Case

from verytmp import VeryTmpPath, VeryTmpRoot

UP = "/".join([".."] * 12)  # more than there is above any root, or any test's directory


class Row(NamedTuple):
    source: str
    text: str
    links: dict[str, Any] = {}  # noqa: RUF012  # nobody changes it
    leads: bool = False  # to the twin, if there is one


# By the path's text alone.
TEXTS = {
    "itself": Row("", "{secret}", leads=True),
    "dots": Row("CVE-2007-4559", "{up}{secret}", leads=True),
    "dots after a directory": Row("", "d/{up}{secret}", leads=True),
    "dots after nothing": Row("", "missing/{up}{secret}"),
    "dots after a file": Row("", "file/{up}{secret}"),
    "dots behind it": Row("", "{secret}/../secret"),
    "dots and slash": Row("CVE-2025-22873, Go's os.Root", "../"),
    "dots and slashes": Row("CVE-2025-22873", "..//"),
    "dot, dots and slash": Row("CVE-2025-22873", "./../"),
    "dots and slash after a directory": Row("CVE-2025-22873", "d/../../"),
    "dots and dot": Row("CVE-2025-22873", "../."),
    "dots alone": Row("", ".."),
    "nothing": Row("", ""),
    "a dot": Row("", "."),
    "a slash": Row("", "/"),
    "two slashes": Row("", "//{secret}", leads=True),
    "dots between slashes": Row("", "/.//..{secret}", leads=True),
    "dots and slashes in plenty": Row("securejoin", "./../../.././././../..//.//{tail}", leads=True),
    "a slash at the end": Row("CVE-2026-39822, Go's os.Root", "{secret}/", leads=True),
    "a dot at the end": Row("CVE-2026-39822", "{secret}/.", leads=True),
    "its own string": Row("", "{drive}{secret}", leads=True),
    "its own string, up": Row("", "{drive}/{up}{secret}", leads=True),
    "its own string, longer": Row("", "{drive}0{secret}"),
    "above the root": Row("the mount's own directories", "../../../dev/null"),
    "a home": Row("", "~/secret"),
    "a variable": Row("", "$HOME/secret"),
    "a URI": Row("", "file://{secret}"),
    "percent": Row("", "%2e%2e/%2e%2e{secret}"),
    "backslashes": Row("", "..\\..\\..{secret}"),
    "three dots": Row("", "...{secret}"),
    "one character for two dots": Row("", "\u2025{secret}"),
    "wide dots": Row("", "\uff0e\uff0e{secret}"),
    "a wide slash": Row("", "..\uff0f..{secret}"),
    "space": Row("", ".. {secret}"),
    "a pattern": Row("", "**/secret"),
    "a pattern of dots": Row("", "[.][.]{secret}"),
    "a null at the end": Row("", "{secret}\0"),
    "a null in front": Row("", "\0{secret}"),
    "a null before dots": Row("", "file\0/{up}{secret}"),
    "a null after dots": Row("", "{up}{secret}\0.txt"),
    "a newline": Row("", "{secret}\n"),
    "a newline in front": Row("", "\n{secret}"),
    "a byte that is no text": Row("", "{secret}\udcff"),
    "a byte that is no text in front": Row("", "\udcff/{up}{secret}", {"\udcff": {}}, leads=True),
    "a surrogate": Row("", "\ud800/{up}{secret}"),
    "a long name": Row("", "a" * 256),
    "a long path": Row("", ("a" * 200 + "/") * 25),
    "a long path of dots": Row("", ("e" * 200 + "/../") * 21 + "{tail}", {"e" * 200: {}}, leads=True),
    "a long path of single dots": Row("", "./" * 3000 + "{tail}", leads=True),
}

# By symlinks.
LINKS = {
    "link": Row("", "link", {"link": "-> {secret}"}, leads=True),
    "link and slash": Row("CVE-2026-39822, Go's os.Root", "link/", {"link": "-> {vault}"}),
    "link and slash, to a file": Row("CVE-2026-39822", "link/", {"link": "-> {secret}"}, leads=True),
    "link and slashes": Row("CVE-2026-39822", "link//", {"link": "-> {vault}"}),
    "link and dot": Row("CVE-2026-39822", "link/.", {"link": "-> {vault}"}),
    "link and dots": Row("", "link/..", {"link": "-> {vault}/d"}),
    "link to the vault": Row("", "link/secret", {"link": "-> {vault}"}, leads=True),
    "link to the vault's directory": Row("", "link/../secret", {"link": "-> {vault}/d"}, leads=True),
    "link with a slash": Row("", "link/secret", {"link": "-> {vault}/"}, leads=True),
    "link with a slash to a file": Row("", "link", {"link": "-> {secret}/"}),
    "link with two slashes": Row("", "link", {"link": "-> //{secret}"}, leads=True),
    "link up": Row("CVE-2022-4123", "link", {"link": "-> {up}{secret}"}, leads=True),
    "link in a directory": Row("", "e/link", {"e": {"link": "-> ../..{secret}"}}, leads=True),
    "link to the top": Row("libpathrs", "link/{tail}", {"link": "-> /"}, leads=True),
    "link above the top": Row("libpathrs", "link/{tail}", {"link": "-> /.."}, leads=True),
    "link above, with a slash": Row("", "link/{tail}", {"link": "-> {up}/"}, leads=True),
    "link to dots, and dots": Row("", "link/{up}/{tail}", {"link": "-> {up}"}, leads=True),
    "link above the root": Row("", "link/dev/null", {"link": "-> ../../.."}),
    "link to its own string": Row("", "link", {"link": "-> {drive}{secret}"}, leads=True),
    "dangling link": Row("", "link", {"link": "-> {vault}/{mark}-new"}),
    "dangling link with a slash": Row("", "link", {"link": "-> {vault}/{mark}-new/"}),
    "dangling relative link": Row("", "link", {"link": "-> {mark}-new"}),
    "chain": Row("", "a", {"a": "-> b", "b": "-> /c", "c": "-> d/../{up}{secret}"}, leads=True),
    "chain of directories": Row("", "a/secret", {"a": "-> b/", "b": "-> e/l", "e": {"l": "-> {vault}"}}, leads=True),
    "loop": Row("libpathrs", "a/../{up}{secret}", {"a": "-> b", "b": "-> a"}),
    "loop to itself": Row("libpathrs", "a", {"a": "-> a"}),
    "too many links": Row("", "l0", {f"l{n}": f"-> l{n + 1}" for n in range(41)} | {"l41": "-> {secret}"}),
    "link with a newline": Row("", "link", {"link": "-> {secret}\n"}),
    "link to a long path": Row(
        "", "link", {"link": "-> " + ("e" * 200 + "/../") * 18 + "{tail}", "e" * 200: {}}, leads=True
    ),
}

# By /proc's magic links, which are no links for the kernel: they lead to where a descriptor is.
MAGIC = [
    "/proc/self/root{secret}",
    "/proc/{pid}/root{secret}",
    "/proc/1/root{secret}",
    "/proc/thread-self/root{secret}",
    "/proc/self/task/{tid}/root{secret}",
    "/proc/self/cwd/secret",
    "/proc/{pid}/cwd/secret",
    "/proc/self/fd/{directory}/secret",
    "/proc/self/fd/{file}",
    "/proc/{pid}/fd/{file}",
    "/proc/self/task/{tid}/fd/{file}",
    "/proc/thread-self/fd/{file}",
    "/dev/fd/{file}",
    "/dev/fd/{directory}/secret",
    "/proc/self/fd/{own}/{up}{secret}",
    "{up}/proc/self/root{secret}",
    "/proc/self/../self/root{secret}",
    "/proc/self/exe",
]

ROWS = {
    **TEXTS,
    **LINKS,
    **{text: Row("magic links", text) for text in MAGIC},
    **{f"link to {text}": Row("magic links", "link", {"link": f"-> {text}"}) for text in MAGIC},
}


def filled(value: Any, names: dict[str, object]) -> Any:
    """A row's text or tree, with the names of this machine and test."""
    if isinstance(value, dict):
        return {name: filled(content, names) for name, content in value.items()}
    if isinstance(value, str):
        for name, replacement in names.items():
            value = value.replace(f"{{{name}}}", str(replacement))
    return value


def at(path: str, tree: host_state.Tree) -> host_state.Tree:
    """A tree that has another one in it, under a path."""
    for name in reversed(path.strip("/").split("/")):
        tree = {name: tree}
    return tree


@pytest.fixture
def names(planted: Canary, root: VeryTmpRoot) -> Iterator[dict[str, object]]:
    directory, file = os.open(planted.vault, os.O_PATH), os.open(planted.secret, os.O_RDONLY)
    yield {
        "secret": planted.secret,
        "vault": planted.vault,
        "tail": str(planted.secret)[1:],
        "mark": planted.mark,
        "up": UP,
        "drive": os.fspath(root),
        "own": root.fileno(),
        "pid": os.getpid(),
        "tid": threading.get_native_id(),
        "directory": directory,
        "file": file,
    }
    os.close(directory)
    os.close(file)


@pytest.mark.parametrize("name", ROWS)
def test_it_stays_inside(root: VeryTmpRoot, planted: Canary, names: dict[str, object], name: str) -> None:
    row = ROWS[name]
    case = Case(root, VeryTmpRoot(), planted, filled(row.text, names))
    tree: host_state.Tree = {"file": INSIDE, "d": {}} | filled(row.links, names)
    twin = twin_of(planted)
    with case.other:
        refill(case.other, {"file": INSIDE})
        for whole in (tree, tree | twin) if row.leads else (tree | twin,):
            refill(root, whole)
            assert answer(lambda: case.path.read_bytes() == INSIDE) is (row.leads and whole is not tree)
            assert answer(case.path.is_file) is (row.leads and whole is not tree)
            for operation, read in READING.items():
                assert not planted.tells(answer(lambda read=read: read(case))), operation
            planted.check()
            for operation, change in CHANGING.items():
                told = answer(lambda change=change: change(case))
                assert not planted.tells(told), operation
                assert planted.touched() == [], operation
                if told is not False:  # what a refusal has left is the next one's affair
                    planted.look(root.fileno())
                    refill(root, whole)
                    if "another" in operation:
                        planted.look(case.other.fileno())
                        refill(case.other, {"file": INSIDE})
            if row.leads and whole is not tree:
                refill(root, whole)
                case.path.write_bytes(b"written")
                assert (root / str(planted.secret)).read_bytes() == b"written"
            planted.check()


@pytest.mark.slow
@pytest.mark.tmpfs
@pytest.mark.parametrize(
    ("name", "root"), [*zip(ROWS, itertools.cycle([True, False]), strict=False)], indirect=["root"]
)
def test_a_view_stays_inside_and_changes_nothing(
    root: VeryTmpRoot, planted: Canary, names: dict[str, object], name: str
) -> None:
    """A read-only view is read as the root is; all that would change something leaves everything as it was."""
    row = ROWS[name]
    with root.read_only() as view, VeryTmpRoot() as other:
        names = names | {"drive": os.fspath(view), "own": view.fileno()}
        refill(root, {"file": INSIDE, "d": {}} | filled(row.links, names) | twin_of(planted))
        refill(other, {"file": INSIDE})
        before = host_state.look(root.fileno())
        case = Case(view, other, planted, filled(row.text, names))
        assert answer(lambda: case.path.read_bytes() == INSIDE) is row.leads
        for operation, call in (READING | CHANGING).items():
            assert not planted.tells(answer(lambda call=call: call(case))), operation
            assert planted.touched() == [], operation
        planted.look(other.fileno())
        assert host_state.look(root.fileno()) == before


def twin_of(planted: Canary) -> host_state.Tree:
    return at(str(planted.vault), {"secret": INSIDE, "link": "-> secret", "d": {"deep": INSIDE}, "empty": {}})


def refill(root: VeryTmpRoot, tree: host_state.Tree) -> None:
    oracle.wipe(root.fileno())
    host_state.make(root.fileno(), tree)


def answer(call: Any) -> Any:
    """A result; or False, where there is none."""
    try:
        return call()
    except REFUSALS:
        return False


def test_the_list_of_a_directory_that_was_swapped(root: VeryTmpRoot, planted: Canary) -> None:
    """CVE-2026-27139, Go's os.Root: what was listed is looked at when the directory is a link to the host's."""
    (root / "d").mkdir()
    for name in ("secret", "link", "d"):
        (root / "d" / name).touch()
    listed = list((root / "d").iterdir())
    found = list((root / "d").glob("*"))
    walk = (root / "d").walk()
    infos = [path.info for path in listed]
    _, _, names = next(walk)
    (root / "d").rename("was")
    (root / "d").symlink_to(str(planted.vault))
    assert len(listed) == len(found) == len(names) == 3
    for path in listed + found + [root / "d" / name for name in names]:
        for look in (path.stat, path.lstat, path.read_bytes, path.owner):
            with pytest.raises(FileNotFoundError):
                look()
    assert [(info.exists(), info.is_file(), info.is_symlink()) for info in infos] == [(False, False, False)] * 3
    assert list(walk) == []


def test_words_that_change(root: VeryTmpRoot, planted: Canary) -> None:
    """An object that says something else each time it is asked."""

    class Shifty(str):
        __slots__ = ()

        def __str__(self) -> str:
            return str(planted.secret)

        def __fspath__(self) -> str:
            return f"{UP}{planted.secret}"

        def startswith(self, *_: Any) -> bool:
            return False

        def split(self, *_: Any) -> list[str]:
            return [f"/{planted.secret}", "..", ""]

        def rpartition(self, _: str) -> tuple[str, str, str]:
            return str(planted.vault), "/", "secret"

    host_state.make(root.fileno(), {"file": INSIDE})
    for path in (root / Shifty("file"), root.path.joinpath(Shifty("file")), (root / "d").with_name(Shifty("file"))):
        assert answer(path.read_bytes) in (INSIDE, False)
    case = Case(root, root, planted, Shifty("file"))
    for operation in READING.values():
        assert not planted.tells(answer(lambda operation=operation: operation(case)))


def test_a_path_that_is_forged(root: VeryTmpRoot, planted: Canary) -> None:
    """What a path may hold is seen to when it is made. Operations do not rely on that: none goes to the host."""

    class Forged:
        def __init__(self, relative: str) -> None:
            self._tree = root.path._tree
            self._rel = relative

        def __fspath__(self) -> str:
            return "file"

    for relative in (str(planted.secret), f"/{planted.secret}", f"{UP}{planted.secret}", f"d/{UP}{planted.secret}"):
        tree: host_state.Tree = {"file": INSIDE, "d": {}}
        for whole in (tree, tree | at(str(planted.secret), {})):
            with VeryTmpRoot() as other:
                forged = root / Forged(relative)
                for operation in (*READING.values(), *CHANGING.values()):
                    refill(root, whole)
                    hostile = Hostile(root, other, planted, "d/secret", forged)
                    assert not planted.tells(answer(lambda call=operation, case=hostile: call(case)))
                    assert planted.touched() == []
                    planted.look(root.fileno())


class Hostile(Case):
    def __init__(self, root: VeryTmpRoot, other: VeryTmpRoot, planted: Canary, text: str, path: VeryTmpPath) -> None:
        super().__init__(root, other, planted, text)
        self.forged = path

    @property
    def path(self) -> VeryTmpPath:
        return self.forged


def test_every_row_says_where_it_leads() -> None:
    """A table of which nothing leads anywhere would prove nothing."""
    assert sum(row.leads for row in ROWS.values()) > 25
    assert len(ROWS) > 100
    assert len(INSIDE) < canary.SEARCHED
