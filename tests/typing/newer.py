"""What only a newer pathlib has: here it is on every Python."""

from pathlib import Path, PurePosixPath
from typing import assert_type

from verytmp import VeryTmpPath, VeryTmpRoot

root = VeryTmpRoot()
path = root / "f"

assert_type(path.copy("g"), VeryTmpPath)
assert_type(path.copy(PurePosixPath("g")), VeryTmpPath)
assert_type(path.copy(root / "g"), VeryTmpPath)
assert_type(path.copy(Path("/x")), Path)
assert_type(path.copy(Path("/x"), follow_symlinks=False, preserve_metadata=True), Path)
assert_type(path.copy_into(Path("/x")), Path)
assert_type(path.copy_into("d"), VeryTmpPath)
assert_type(path.move(Path("/x")), Path)
assert_type(path.move("g"), VeryTmpPath)
assert_type(path.move_into(Path("/x")), Path)
assert_type(path.move_into("d"), VeryTmpPath)

for place, directories, files in path.walk(top_down=False, follow_symlinks=True):
    assert_type(place, VeryTmpPath)
    assert_type(directories, list[str])
    assert_type(files, list[str])

assert_type(path.info.is_dir(follow_symlinks=False), bool)
assert_type(path.full_match("**/*.txt", case_sensitive=False), bool)
assert_type(path.match("*.txt", case_sensitive=False), bool)
assert_type(path.relative_to(root.path, walk_up=True), PurePosixPath)
assert_type(path.with_segments("a", "b"), VeryTmpPath)
assert_type(path.exists(follow_symlinks=False), bool)
assert_type(path.is_dir(follow_symlinks=False), bool)
assert_type(path.is_junction(), bool)
assert_type(path.read_text(newline=""), str)
assert_type(path.owner(follow_symlinks=False), str)
assert_type(list(path.glob("*", case_sensitive=False, recurse_symlinks=True)), list[VeryTmpPath])
path.mkdir(parents=True, parent_mode=0o700)
