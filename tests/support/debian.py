"""A small Debian with a Python, for other kernels (tests/kernels) and containers (tests/containers).

What is downloaded is kept in /var/tmp/verytmp-kernels.
"""

from __future__ import annotations

import filecmp
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
KEPT = Path("/var/tmp/verytmp-kernels")
MIRROR = "http://deb.debian.org/debian"
SUITE = "trixie"
INCLUDED = "python3,python3-venv,kmod,procps,apparmor"
PACKAGES = ("pytest", "hypothesis", "typing-extensions")
FILES = ("src", "stubs", "tests", "pyproject.toml")  # of this checkout


def run(*command: str | Path, **options: object) -> str:
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload]  # any option of it
    if done.returncode:
        raise SystemExit(f"{command[0]} failed: {done.stdout}")
    return str(done.stdout)


def apt(suite: str) -> list[str]:
    """Options by which apt-get looks at another suite, and leaves this machine's lists alone."""
    folder = KEPT / f"apt-{suite}"
    for name in ("lists/partial", "archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "sources.list").write_text(f"deb [trusted=yes] {MIRROR} {suite} main\n")
    settings = {
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": folder / "lists",
        "Dir::Cache": folder,
        "Dir::State::status": "/dev/null",
        "Acquire::Check-Valid-Until": "false",
        "Acquire::Languages": "none",
        "APT::Sandbox::User": "root",
    }
    return [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]


def updated(suite: str) -> list[str]:
    """The same, when it has looked."""
    options = apt(suite)
    run("apt-get", *options, "-q", "update")
    return options


def unpacked(package: str, folder: Path, options: list[str]) -> None:
    """Unpack a package into a folder."""
    run("apt-get", *options, "-q", "download", package, cwd=KEPT)
    [archive] = KEPT.glob(f"{package}_*.deb")
    run("dpkg-deb", "-x", archive, folder)
    archive.unlink()


def system() -> Path:
    """The folder with it, and with what the suite needs in ``/packages``."""
    folder = KEPT / "system"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        run("debootstrap", "--variant=minbase", f"--include={INCLUDED}", SUITE, folder, MIRROR)
        for name in ("var/cache", "var/lib/apt", "usr/share/doc", "usr/share/locale", "usr/share/man"):
            shutil.rmtree(folder / name, ignore_errors=True)
        python = ["--python-version", "3.13", "--only-binary=:all:"]
        run(sys.executable, "-m", "pip", "-q", "install", "--target", folder / "packages", *python, *PACKAGES)
        run("chroot", folder, "python3", "-m", "compileall", "-q", "/packages")
        (folder / "complete").touch()
    return folder


def checkout(folder: Path) -> None:
    """Copy what of this checkout is needed, for everybody to read: what has changed, for a container may have it."""
    safe = ["-c", f"safe.directory={REPOSITORY}"]
    for name in run("git", *safe, "ls-files", "-co", "--exclude-standard", *FILES, cwd=REPOSITORY).splitlines():
        source, target = REPOSITORY / name, folder / name
        if source.is_file() and not (target.exists() and filecmp.cmp(source, target, shallow=False)):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)


def replaced(page: Path, name: str, made: str, body: str) -> None:
    """Put a part into a page, between its two comments."""
    begin, end = f"<!-- {name}: made by {made} -->\n", f"<!-- end of {name} -->"
    before, found, rest = page.read_text().partition(begin)
    if not found or end not in rest:
        raise SystemExit(f"{page} has no place for {name}")
    page.write_text(f"{before}{begin}\n{body}\n{end}{rest.partition(end)[2]}")


def part(page: Path, name: str, made: str) -> str:
    """What is there."""
    rest = page.read_text().partition(f"<!-- {name}: made by {made} -->\n")[2]
    return rest.partition(f"<!-- end of {name} -->")[0].strip()
