"""`VeryTmpPath` against plain pathlib in a chroot, which is its specification: random trees, random operations.

``--operations N`` asks for so many, with new random ones each time; without it a few thousand run, always the same.
Planted bugs prove that the oracle sees: each must be found.
"""

from __future__ import annotations

import itertools
import random
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from support import clones, host_state
from support.oracle import Operation, Oracle, Segment, performed, prepare

import verytmp._confined.resolver
from verytmp import VeryTmpRoot

FEW = 800
LENGTH = 40  # operations in a row, at most

# Two slashes at the start of a path are pathlib's own third kind of root: here "/" is "/" (decided).
rare = ["c", "é", "\udcff", "A", ".a", "a.tar.gz", "x" * 255, "x" * 256]
names = st.sampled_from([*"aaaaabbbb", *rare])  # few, so that operations meet
steps = st.sampled_from([*"aaaaaaaabbbbbb", "..", "..", "..", ".", "", *rare])
relatives = st.lists(steps, min_size=1, max_size=4).map("/".join).map(lambda text: text.lstrip("/") or ".")
paths = st.one_of(relatives, relatives, relatives.map("/".__add__))
link_texts = st.one_of(paths, paths, st.sampled_from(["/", "//", "..", ".", "a/", "/a/", "", "../..", "a//b", "/../a"]))
contents = st.binary(max_size=20)
flags = st.booleans()
modes = st.sampled_from([0o777, 0o755, 0o700, 0o644, 0o600, 0o500, 0o400, 0o300, 0, 0o1777])
links = st.one_of(link_texts, link_texts).map(lambda text: f"-> {text or '.'}")
trees: st.SearchStrategy[host_state.Tree] = st.recursive(
    st.one_of(contents, links),
    lambda below: st.dictionaries(names.filter(lambda name: len(name) < 256), below, max_size=4),
    max_leaves=10,
).map(lambda tree: tree if isinstance(tree, dict) else {"a": tree})
patterns = st.lists(
    st.sampled_from(["*", "**", "a", "b", "?", "[ab]", "..", "*.gz", "A", "é", "*a*", ".a"]), min_size=1, max_size=4
).flatmap(lambda parts: st.sampled_from(["/".join(parts), "/".join(parts) + "/"]))
# A string is read as a path is, where os.rename and os.link would see its "/" or "/." at the end (decided).
targets = st.builds(Segment, paths.map(lambda text: str(PurePosixPath(text))), st.sampled_from(["str", "pure", "path"]))
insiders = st.builds(Segment, paths, st.just("path"))


def method(name: str, *arguments: st.SearchStrategy[Any], **keywords: st.SearchStrategy[Any]) -> Any:
    return st.builds(
        Operation,
        paths,
        st.just(name),
        st.tuples(*arguments),
        st.fixed_dictionaries({}, optional=keywords).map(lambda given: tuple(given.items())),
    )


def names_of_pathlib() -> list[Any]:
    """Every operation that the running Python's own pathlib has, with its own keywords: the oracle must know them."""
    newer: list[Any] = []
    follow = {"follow_symlinks": flags}
    if sys.version_info >= (3, 12):
        newer += [
            method("exists", **follow),
            method("is_junction"),
            method("is_mount"),  # before, it was true of a link to the directory that it lies in
            method("glob", patterns, case_sensitive=flags),
            method("rglob", patterns, case_sensitive=flags),
            method("relative_to", insiders, walk_up=flags),
            method("match", patterns, case_sensitive=flags),
        ]
    if sys.version_info >= (3, 13):
        newer += [
            method("is_dir", **follow),
            method("is_file", **follow),
            # Two links to a directory above make 2 ** 40 paths.
            method("glob", patterns, recurse_symlinks=st.just(False)),
            method("rglob", patterns, recurse_symlinks=st.just(False)),
            method("full_match", patterns, case_sensitive=flags),
        ]
    if sys.version_info >= (3, 14):
        newer += [
            # A relative string is not below a plain path, and so nobody is warned of copying "/" into "a" (decided).
            method("copy", insiders),
            method("copy_into", insiders),
            method("move", insiders),
            method("move_into", insiders),
        ]
    return newer


operations = st.one_of(
    *(method(name) for name in ("lstat", "exists", "is_dir", "is_file", "is_symlink", "is_socket")),
    *(method(name) for name in ("is_fifo", "is_block_device", "is_char_device", "read_bytes", "iterdir", "rmdir")),
    *(method(name) for name in ("name", "suffix", "suffixes", "stem", "parent", "parents", "absolute", "readlink")),
    method("stat", follow_symlinks=flags),
    method("open", st.sampled_from(["r", "w", "a", "x", "r+"]), st.just("words")),
    method("write_bytes", contents),
    method("write_text", st.just("é"), encoding=st.sampled_from(["utf-8", "latin-1"])),
    method("touch", mode=modes, exist_ok=flags),
    method("mkdir", mode=modes, parents=flags, exist_ok=flags),
    method("unlink", missing_ok=flags),
    method("chmod", modes),
    method("rename", targets),
    method("replace", targets),
    method("symlink_to", link_texts),
    method("symlink_to", targets),
    method("hardlink_to", targets),
    method("samefile", targets.filter(lambda target: target.kind != "pure")),
    method("resolve", strict=flags),
    method("glob", patterns),
    method("rglob", patterns),
    method("walk", top_down=flags),
    method("joinpath", paths, paths),
    method("with_name", names),
    method("with_stem", names),
    method("with_suffix", st.sampled_from([".x", "", "x", ".", ".x.y"])),
    method("relative_to", insiders),
    method("is_relative_to", insiders),
    method("match", patterns),
    *names_of_pathlib(),
)


@pytest.fixture
def oracle() -> Iterator[Oracle]:
    made = Oracle()
    yield made
    made.close()


ROUND = settings(
    max_examples=100,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


class Difference(NamedTuple):
    tree: host_state.Tree
    sequence: list[Operation]  # the last one makes it
    wanted: Any
    got: Any

    def __str__(self) -> str:
        lines = [f"in {self.tree}", *map(str, self.sequence), f"should be {self.wanted}", f"and was   {self.got}"]
        return "\n".join(lines)


def decided(operation: Operation, wanted: Any, got: Any) -> bool:
    """Where an older Python has rules that nobody would want: all other differences are defects."""
    if wanted[1] != got[1]:
        return False
    if clones.active and operation.method in ("stat", "lstat") and isinstance(got[0], tuple) and got[0][0][0] == "d":
        # A changed directory of a layer has one link, whatever is in it.
        return bool(got[0][1] == 1 and (wanted[0][0], wanted[0][2:]) == (got[0][0], got[0][2:]))
    if operation.method in ("glob", "rglob") and sys.version_info < (3, 12):
        # It raises what it meets in looking; here it looks away, as since 3.12.
        return bool(wanted[0]) and wanted[0][0] == "OSError" and isinstance(got[0], list)
    # It loses its way behind a loop of links: "loop//b" becomes "/b".
    return operation.method == "resolve" and sys.version_info < (3, 13) and "RuntimeError" in (wanted[0], got[0])


def difference(
    oracle: Oracle, nosymfollow: bool, tree: host_state.Tree, sequence: list[Operation]
) -> Difference | None:
    expected = oracle.ask(tree, sequence)
    with VeryTmpRoot(nosymfollow=nosymfollow) as root:
        prepare(root.fileno(), tree)
        with clones.cloned(root) as used:
            found = performed(used.path, used.fileno(), sequence)
    for index, (wanted, got) in enumerate(zip(expected, found, strict=True)):
        if got != wanted and not decided(sequence[index], wanted, got):
            return Difference(tree, sequence[: index + 1], wanted, got)
    return None


def explore(oracle: Oracle, nosymfollow: bool, count: int, settled: bool) -> tuple[int, Difference | None]:
    """Make so many operations: how many they were, and a difference, with no operation in it that could be left out."""
    done = 0
    different: Difference | None = None

    def example(tree: host_state.Tree, sequence: list[Operation]) -> None:
        nonlocal done, different
        if done < count and not different:
            done += len(sequence)
            different = difference(oracle, nosymfollow, tree, sequence)

    rounds = itertools.count() if settled else iter(lambda: random.getrandbits(64), None)
    for number in rounds:
        run = given(trees, st.lists(operations, min_size=LENGTH // 2, max_size=LENGTH))(example)
        seed(number)(ROUND(run))()
        if done >= count or different:
            break
    index = 0
    while different is not None and index < len(different.sequence) - 1:
        sequence = different.sequence
        less = difference(oracle, nosymfollow, different.tree, sequence[:index] + sequence[index + 1 :])
        if less:
            different = less
        else:
            index += 1
    return done, different


@pytest.mark.parametrize("nosymfollow", [True, False])
def test_as_pathlib_in_a_chroot(oracle: Oracle, nosymfollow: bool, pytestconfig: pytest.Config) -> None:
    asked = pytestconfig.getoption("--operations")
    done, different = explore(oracle, nosymfollow, asked or FEW, not asked)
    if different:
        pytest.fail(str(different), pytrace=False)
    assert done >= (asked or FEW)


BUGS = {
    "'..' stays where it is": ("len(self.names) - levels)", "len(self.names))"),
    "a link's last name is all of it": ("target.split", "target.rpartition('/')[2].split"),
    "one link too many": ("if self._links > LINKS_MAX:", "if self._links > 1:"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("bug", "nosymfollow"), list(zip(BUGS, itertools.cycle([True, False]), strict=False)))
def test_a_planted_bug_is_found(oracle: Oracle, nosymfollow: bool, bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Path(verytmp._confined.resolver.__file__).read_text()
    before, after = BUGS[bug]
    assert source.count(before) == 1
    planted = ModuleType("verytmp.planted")
    planted.__package__ = "verytmp._confined"
    exec(compile(source.replace(before, after), "planted", "exec"), planted.__dict__)
    monkeypatch.setattr("verytmp._confined.tree.resolve", planted.resolve)
    monkeypatch.setattr("verytmp._confined.tree.substitute_links", lambda *_: iter(()))  # which would go round it
    _, different = explore(oracle, nosymfollow, 20_000, True)
    assert different is not None
