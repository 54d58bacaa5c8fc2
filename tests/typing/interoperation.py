"""Functions of others, that take paths in every way in which they are declared."""

import os
import shutil
import subprocess
import zipfile
from collections.abc import Iterable
from os import PathLike
from pathlib import Path, PurePath
from typing import TypeVar, assert_type

from verytmp import VeryTmpPath, VeryTmpRoot

PathT = TypeVar("PathT", bound=Path)


def takes_path(path: Path) -> Path:
    return path


def takes_pure(path: PurePath) -> str:
    return path.name


def takes_pathlike(path: PathLike[str]) -> str:
    return os.fspath(path)


def takes_str_or_pathlike(path: str | PathLike[str]) -> str:
    return os.fspath(path)


def takes_many(paths: Iterable[Path]) -> int:
    return len(list(paths))


def same(path: PathT) -> PathT:
    return path


root = VeryTmpRoot()
path = root / "f"

takes_path(path)
takes_pure(path)
takes_pathlike(path)
takes_pathlike(root)
takes_str_or_pathlike(path)
takes_many(root.path.iterdir())
takes_many([path, Path("/x")])
assert_type(same(path), VeryTmpPath)

assert_type(os.fspath(path), str)
assert_type(os.stat(path), os.stat_result)
assert_type(os.listdir(root), list[str])
shutil.copytree("/x", path)
shutil.rmtree(path)
subprocess.run(["true", path], cwd=root.path, check=True)
zipfile.ZipFile(path).extractall(root.path)
open(path, encoding="utf-8").close()

match path:
    case VeryTmpPath():
        assert_type(path.parent, VeryTmpPath)
