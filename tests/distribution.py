"""Read the lists of the files that are published: ``python tests/distribution.py FOLDER``, in which they were built.

The sdist is what git has, and the wheel the package, its stubs, and the pages that its errors name. The long
description has no relative links.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
ABOUT = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}


def only(folder: Path, pattern: str) -> Path:
    [found] = folder.glob(pattern)
    return found


def in_git() -> set[str]:
    listed = subprocess.check_output(["git", "-C", str(REPOSITORY), "ls-files"], text=True)
    return set(listed.splitlines())


def in_wheel(files: set[str]) -> set[str]:
    """What should be in a wheel, but for what it says about itself."""
    configuration = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    included = configuration["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    found = {file.removeprefix("src/") for file in files if file.startswith("src/")}
    for source, target in included.items():
        found |= {target + file.removeprefix(source) for file in files if f"{file}/".startswith(f"{source}/")}
    return found


def difference(name: str, found: set[str], expected: set[str]) -> list[str]:
    return [f"{name}: stray: {file}" for file in sorted(found - expected)] + [
        f"{name}: missing: {file}" for file in sorted(expected - found)
    ]


def main(folder: Path) -> int:
    wheel, sdist = only(folder, "*.whl"), only(folder, "*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = next(archive.read(name).decode() for name in names if name.endswith(".dist-info/METADATA"))
    with tarfile.open(sdist) as archive_of_sources:
        sources = {member.name.partition("/")[2] for member in archive_of_sources.getmembers() if member.isfile()}
    about = "-".join(wheel.name.split("-")[:2]) + ".dist-info"
    files = in_git()
    wrong = difference(wheel.name, names, in_wheel(files) | {f"{about}/{name}" for name in ABOUT})
    wrong += difference(sdist.name, sources, files | {"PKG-INFO"})
    links = re.findall(r"\]\((?!https?:)[^)]*\)|src=\"(?!https?:)[^\"]*", metadata)
    wrong += [f"{wheel.name}: a link that the package index does not have: {link}" for link in links]
    print("\n".join([*wrong, f"{wheel.name}: {len(names)} files; {sdist.name}: {len(sources)} files"]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
