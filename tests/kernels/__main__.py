"""Boot Debian's kernels in qemu, and try the library there: ``python3 tests/kernels [VERSION...]``, as root.

Each kernel gets the same small system (Debian 12, with its Python) in memory, and this checkout. There, as root and as
an ordinary user, it runs the demo, the doctor, and the part of the suite that meets the kernel. A test is skipped there
where the doctor finds that the kernel lacks what it needs, so a failure means something.

What it downloads is kept in /var/tmp/verytmp-kernels. It takes some minutes a kernel where there is no KVM.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
KEPT = Path("/var/tmp/verytmp-kernels")
MIRROR = "http://deb.debian.org/debian"
SYSTEM = "bookworm"
SUITES = {"5.10": "bullseye", "6.1": "bookworm", "6.12": "trixie", "newest": "sid"}
PACKAGES = ("pytest", "hypothesis", "typing-extensions")
MEMORY = "3G"
PATIENCE = 3600  # seconds for one kernel, in an emulated processor
MARK = "verytmp-kernels:"  # before each outcome in what the console prints


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


def kernel(version: str) -> Path:
    """The file to boot."""
    folder = KEPT / f"linux-{version}"
    if found := sorted(folder.glob("boot/vmlinuz-*")):
        return found[0]
    options = apt(SUITES[version])
    run("apt-get", *options, "-q", "update")
    wanted = ["linux-image-cloud-amd64"]
    while wanted:  # the last of the packages has the kernel: the others are names for it
        package = wanted.pop()
        run("apt-get", *options, "-q", "download", package, cwd=KEPT)
        [archive] = KEPT.glob(f"{package}_*.deb")
        run("dpkg-deb", "-x", archive, folder)
        archive.unlink()
        if found := sorted(folder.glob("boot/vmlinuz-*")):
            return found[0]
        lines = run("apt-cache", *options, "depends", package).splitlines()
        names = [line.partition("Depends: ")[2] for line in lines if line.strip().startswith("Depends: linux-")]
        wanted += [name for name in names if name.startswith(("linux-image", "linux-binary"))]
    raise SystemExit(f"there is no kernel in Debian's {SUITES[version]}")


def system() -> Path:
    """A small Debian, with what the suite needs."""
    folder = KEPT / "system"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        run("debootstrap", "--variant=minbase", "--include=python3,python3-venv,git", SYSTEM, folder, MIRROR)
        for name in ("var/cache", "var/lib/apt", "usr/share/doc", "usr/share/locale", "usr/share/man"):
            shutil.rmtree(folder / name, ignore_errors=True)
        python = ["--python-version", "3.11", "--only-binary=:all:"]
        run(sys.executable, "-m", "pip", "-q", "install", "--target", folder / "packages", *python, *PACKAGES)
        (folder / "complete").touch()
    return folder


def image(version: str) -> Path:
    """The system, this checkout and what is to be run, as the kernel unpacks it into memory: cpio(1)."""
    folder = KEPT / "image"
    if folder.exists():
        shutil.rmtree(folder)
    run("cp", "-a", system(), folder)
    names = run("git", "-c", f"safe.directory={REPOSITORY}", "ls-files", "-co", "--exclude-standard", cwd=REPOSITORY)
    for name in names.splitlines():
        if (REPOSITORY / name).is_file():
            (folder / "checkout" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / "checkout" / name)
    shutil.copy(Path(__file__).with_name("init"), folder / "init")
    (folder / "init").chmod(0o755)
    found = KEPT / f"image-{version}.cpio.gz"
    run("bash", "-c", f"cd {folder} && find . | cpio --quiet -o -H newc | gzip -1 > {found}")
    shutil.rmtree(folder)
    return found


def boot(version: str) -> list[str]:
    """Run it all on this kernel. What was wrong."""
    started = image(version)
    command = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", MEMORY]
    command += ["-kernel", str(kernel(version)), "-initrd", str(started), "-nographic", "-no-reboot"]
    command += ["-append", "console=ttyS0 panic=-1 quiet rdinit=/init"]
    log = KEPT / f"log-{version}"
    with log.open("wb") as file:
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=file, timeout=PATIENCE, check=False)
    started.unlink()
    lines = log.read_text(errors="replace").splitlines()
    outcomes = [line.partition(MARK)[2].strip() for line in lines if MARK in line]
    print(f"\n=== {version}", *outcomes, sep="\n", flush=True)
    wrong = [outcome for outcome in outcomes if not outcome.endswith(" 0")]  # a status
    if not outcomes or outcomes[-1] != "end: 0":
        wrong.append("it did not come to its end")
    if wrong:
        print("\n".join(lines[-200:]))
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("version", nargs="*", choices=[*SUITES, []], help="all of them without any")
    asked = parser.parse_args().version or list(SUITES)
    if os.geteuid():
        raise SystemExit("debootstrap takes root")
    if missing := [tool for tool in ("qemu-system-x86_64", "debootstrap", "cpio", "apt-get") if not shutil.which(tool)]:
        raise SystemExit(f"not installed: {', '.join(missing)}")
    KEPT.mkdir(exist_ok=True)
    wrong = [boot(version) for version in asked]  # each of them is tried
    return 1 if any(wrong) else 0


if __name__ == "__main__":
    sys.exit(main())
