"""Copies of a thing onto itself, into itself, and into the copy of what it lies in."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from support import kernel
from support.children import in_child
from support.copies import TREE, D, failure, on_both_mounts, special, there, within_seconds

from verytmp import VeryTmpRoot


@on_both_mounts
@pytest.mark.parametrize(
    ("source", "target", "follow", "number"),
    [
        ("f", "f", True, errno.EINVAL),
        ("f", "link", True, errno.EINVAL),
        ("link", "f", True, errno.EINVAL),
        ("f", "hard", True, errno.EINVAL),
        ("d/f", "dlink/f", True, errno.EINVAL),
        ("f", "d/../f", True, errno.EINVAL),
        ("link", "link", False, errno.EINVAL),
        ("link", "f", False, errno.EEXIST),
        ("link", "dlink/up", False, errno.EEXIST),
        ("d", "d", True, errno.EINVAL),
        ("d", "dlink", True, errno.EEXIST),
        ("dlink", "d", True, errno.EEXIST),
        ("d", "d/x", True, errno.EINVAL),
        ("d", "d/e/x", True, errno.EINVAL),
        ("d", "d/missing/x", True, errno.EINVAL),
        ("d", "dlink/x", True, errno.EINVAL),
        ("d", "dlink/e/x", True, errno.EINVAL),
        ("d", "d/in/x", False, errno.EINVAL),
        ("d", "d/e/../x", False, errno.EINVAL),
        ("dlink", "d/x", True, errno.EINVAL),
        ("d/e/..", "d/x", True, errno.EINVAL),
        ("", "", True, errno.EINVAL),
        ("", "x", True, errno.EINVAL),
        ("", "d/x", False, errno.EINVAL),
        ("d/..", "x", False, errno.EINVAL),
        ("d/..", "d/e/x", False, errno.EINVAL),
        ("..", "dlink/x", False, errno.EINVAL),
        ("fifo", "x", True, errno.EINVAL),
        ("socket", "x", True, errno.EINVAL),
        ("missing", "x", True, errno.ENOENT),
        ("dangling", "x", True, errno.ENOENT),
        ("f/x", "y", True, errno.ENOTDIR),
        ("f", "missing/x", True, errno.ENOENT),
        ("d", "missing/x", True, errno.ENOENT),
        ("f", "d", True, errno.EISDIR),
        ("d", "f", True, errno.EEXIST),
        ("f", "x" * 256, True, errno.ENAMETOOLONG),
    ],
)
def test_a_copy_that_cannot_be(root: VeryTmpRoot, source: str, target: str, follow: bool, number: int) -> None:
    special(root)
    before = there(root)
    said = within_seconds(lambda: (root / source).copy(target, follow_symlinks=follow))
    assert said != "done"
    assert said[0] == number
    assert there(root) == before


@on_both_mounts
@pytest.mark.parametrize("target", ["", "x", "e/x", "in/x", "up/x"])
@pytest.mark.parametrize("verb", ["copy", "move"])
def test_into_itself_by_a_plain_path(root: VeryTmpRoot, verb: str, target: str) -> None:
    """Only the kernel knows that it leads back here."""
    before = there(root)
    said = within_seconds(lambda: getattr(root / "d", verb)(Path(root / "d") / target))
    assert said != "done"
    assert said[0] in (errno.EINVAL, errno.EEXIST, errno.ENOTDIR, errno.ELOOP)
    assert there(root) == before


@on_both_mounts
@pytest.mark.parametrize("name", ["f", "link"])
def test_onto_itself_by_a_plain_path(root: VeryTmpRoot, name: str) -> None:
    path, target = root / name, Path(root / "f")
    for verb in ("copy", "move"):
        number, *names, _ = failure(lambda verb=verb: getattr(path, verb)(target))  # type: ignore[misc]
        assert (number, *names) in {(errno.EINVAL, str(path), str(target)), (errno.EEXIST, "f", str(target))}
    assert there(root) == TREE


@pytest.mark.parametrize("up", ["..", ".", "/"])
def test_a_copy_that_comes_upon_itself_ends(root: VeryTmpRoot, elsewhere: Path, up: str) -> None:
    """By way of a link to what is above it."""
    os.symlink(up, f"{os.fspath(root)}/d/round")
    os.unlink(f"{os.fspath(root)}/dangling")
    said = within_seconds(lambda: (root / "d").copy(elsewhere / "x"))
    assert said[0] in (errno.EINVAL, errno.ELOOP)
    remains = there(root)
    remains.pop("there", None)
    assert remains == {name: TREE[name] for name in TREE if name != "dangling"} | {"d": D | {"round": f"-> {up}"}}


@on_both_mounts
def test_into_the_copy_of_an_ancestor(root: VeryTmpRoot) -> None:
    """What is copied holds a link to the directory in which the copy is made."""
    os.symlink("/there", f"{os.fspath(root)}/d/round")
    (root / "there").mkdir()
    said = within_seconds(lambda: (root / "d").copy("there/x"))
    assert said[0] == errno.EINVAL


def test_a_read_only_file_onto_itself(root: VeryTmpRoot) -> None:
    """That it is the same file says more than that it may not be written to."""

    def copy() -> str:
        kernel.drop_capabilities()
        with pytest.raises(OSError) as caught:
            (root / "f").copy("hard")
        return str(caught.value)

    special(root)
    os.chmod(f"{os.fspath(root)}/f", 0o400)
    assert "Source and target are the same file" in in_child(copy)
