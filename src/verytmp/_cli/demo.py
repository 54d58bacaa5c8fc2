"""``python -m verytmp``: what verytmp does, done once, on real input, and checked."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
import zipfile
from pathlib import Path

from .. import VeryTmpPath, VeryTmpRoot, __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIZE = "64m"  # of the second root: the wheel takes some 8 MiB unpacked


class Failure(Exception):
    """A step did not do what it is there to show."""


def main() -> None:
    """Raise `Failure`, or `OSError`, where something is not as it should be."""
    print(f"verytmp {__version__}, Python {platform.python_version()}, {platform.system()} {platform.release()}\n")
    show("a root", make)
    before = traces()  # after the first root, which imports ctypes: some libffi's keep themselves open from then on
    show("a file outlives it", potatoes)
    real_input(bundled_wheel())
    show("left behind", lambda: left_behind(before))


def show(what: str, step: Callable[[], str]) -> None:
    start = time.perf_counter()
    result = step()
    print(f"  {what:<21}{result:<76}{1000 * (time.perf_counter() - start):8.1f} ms", flush=True)


def make() -> str:
    with VeryTmpRoot() as root:
        return repr(root).removeprefix("<VeryTmpRoot ").removesuffix(">")


def potatoes() -> str:
    """A directory, a file in it, the root closed: the open file is still whole."""
    root = VeryTmpRoot()
    (root / "hello").mkdir()
    (root / "hello" / "f.txt").write_text("potatoes")
    with (root / "hello" / "f.txt").open() as file:
        root.close()
        text = file.read()
    if text != "potatoes":
        raise Failure(f"the open file gave {text!r} after its root was closed")
    return f"hello/f.txt, opened before its root was closed, reads back {text!r}"


def real_input(wheel: Path) -> None:
    """Some 500 files: unpacked, compared, and run from where they are."""
    with sized_root() as root:
        about = f"a root with size={SIZE}" if root.kind == "tmpfs" else "a directory in /dev/shm, without a size limit"
        print(f"\n{wheel.name}, which CPython bundles, into {about}")
        show("before", lambda: usage(root))
        show("unpack", lambda: unpack(wheel, root))
        show("compare", lambda: compare(wheel, root))
        show("run it", lambda: run(root))
        show("after", lambda: usage(root))
    print()


def sized_root() -> VeryTmpRoot:
    """Where a run has asked for the fallback, and needs it, there are no sizes."""
    with VeryTmpRoot() as made:
        sized = made.kind == "tmpfs"
    return VeryTmpRoot(size=SIZE) if sized else VeryTmpRoot()


def bundled_wheel() -> Path:
    """The wheel of pip that this Python installs into virtual environments."""
    import ensurepip
    import sysconfig

    # Where a distribution takes ensurepip's wheels out, it says where they are (CPython's --with-wheel-pkg-dir).
    folders = [Path(ensurepip.__file__).parent / "_bundled", Path(sysconfig.get_config_var("WHEEL_PKG_DIR") or "/")]
    for folder in folders:
        for wheel in sorted(folder.glob("pip-*.whl")):
            return wheel
    raise Failure(
        "this Python comes without pip's wheel (on Debian, the package python3-venv brings it): nothing to unpack"
    )


def unpack(wheel: Path, root: VeryTmpRoot) -> str:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(root)
        return f"{len(archive.infolist())} entries"


def compare(wheel: Path, root: VeryTmpRoot) -> str:
    """Every file's bytes with the archive's, and nothing besides."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        total = 0
        for name in names:
            data = (root / name).read_bytes()
            total += len(data)
            if data != archive.read(name):
                raise Failure(f"{name} is not what the archive holds")
    found = set(files(root.path))
    if found != {root / name for name in names}:
        raise Failure(f"{len(found)} files were unpacked where the archive has {len(names)}")
    return f"{len(names)} files, {total:,} bytes, each as the archive has it"


def files(directory: VeryTmpPath) -> Iterator[VeryTmpPath]:
    for path in directory.iterdir():
        if path.is_dir():
            yield from files(path)
        else:
            yield path


def run(root: VeryTmpRoot) -> str:
    command = [sys.executable, "-m", "pip", "--version"]
    environment = os.environ | {"PYTHONPATH": os.fspath(root), "PYTHONDONTWRITEBYTECODE": "1"}
    child = subprocess.run(command, env=environment, text=True, capture_output=True, check=False)
    if child.returncode or os.fspath(root) not in child.stdout:
        raise Failure(f"{' '.join(command)}: {child.stdout}{child.stderr}")
    return child.stdout.strip()


def usage(root: VeryTmpRoot) -> str:
    total, used, free = root.usage()
    return f"{used:,} bytes used of {total:,}, {free:,} free"


def traces() -> dict[str, set[str]]:
    """Whatever a program could leave behind."""
    return {
        "descriptor": {f"{number} ({path})" for number, path in descriptors()},
        "child process": set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()),
        "mount": set(Path("/proc/self/mountinfo").read_text().splitlines()),
        "file": {os.path.join(folder, name) for folder in ("/", os.getcwd()) for name in os.listdir(folder)},
    }


def descriptors() -> Iterator[tuple[str, str]]:
    for number in os.listdir("/proc/self/fd"):
        try:
            yield number, os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:  # the one that the names were read from
            pass


def left_behind(before: dict[str, set[str]]) -> str:
    left = [f"{kind} {trace}" for kind, now in traces().items() for trace in sorted(now - before[kind])]
    if left:
        raise Failure(f"left behind: {', '.join(left)}")
    return f"no {', no '.join(before)}"
