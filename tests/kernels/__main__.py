"""Boot Debian's kernels in qemu, and try the library there: ``python3 tests/kernels [VERSION...]``, as root.

Each kernel gets the same small system (Debian 13, with its Python) in memory, and this checkout. There, as root and as
an ordinary user, it runs the demo, the doctor, a survey of what works and how, and the part of the suite that meets
the kernel. A test is skipped there where the doctor finds that the kernel lacks what it needs, so a failure means
something.

The table of docs/kernel-features.md gets the rows of the kernels that were booted. What is downloaded is kept in
/var/tmp/verytmp-kernels. A kernel takes 20 to 40 minutes without --accel kvm.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from containers import places
from containers.rows import stored
from support import debian
from support.debian import KEPT, run
from support.survey import short

PAGE = debian.REPOSITORY / "docs" / "kernel-features.md"
TABLE = "kernels", "tests/kernels"
SUITES = {"5.10": "bullseye", "6.1": "bookworm", "6.12": "trixie", "newest": "sid"}
COLUMNS = ("a root", "direct", "child", "named", "host=ro", "run", "enter", "clone")
TESTS = "tests/test_mount.py tests/test_named.py tests/test_confinement.py tests/test_clone.py tests/test_freeze.py"
TESTS += " tests/test_enter.py tests/test_programs.py tests/test_resolve.py"
MEMORY = "3G"
PROCESSOR = "max,la57=off,smap=off"  # what is slow to emulate is left out, in the kernel too
FASTER = "mitigations=off tsc=reliable nowatchdog"
PATIENCE = 5400  # seconds for one kernel, in an emulated processor
MARK = "verytmp-kernels:"  # before each outcome in what the console prints
KINDS = ("root", "user")


def kernel(version: str) -> Path:
    """The file to boot."""
    folder = KEPT / f"linux-{version}"
    if found := bootable(folder):
        return found
    options = debian.updated(SUITES[version])
    wanted = ["linux-image-cloud-amd64"]
    while wanted:  # the last of the packages has the kernel: the others are names for it
        package = wanted.pop()
        debian.unpacked(package, folder, options)
        if found := bootable(folder):
            return found
        lines = run("apt-cache", *options, "depends", package).splitlines()
        names = [line.partition("Depends: ")[2] for line in lines if line.strip().startswith("Depends: linux-")]
        wanted += [name for name in names if name.startswith(("linux-image", "linux-binary", "linux-modules"))]
    raise SystemExit(f"there is no kernel in Debian's {SUITES[version]}")


def bootable(folder: Path) -> Path | None:
    return next(
        (found for place in ("boot/vmlinuz-*", "usr/lib/modules/*/vmlinuz") for found in folder.glob(place)), None
    )


def image(version: str) -> Path:
    """The system, this checkout and what is to be run, as the kernel unpacks it into memory: cpio(1)."""
    folder = KEPT / f"image-{version}"
    shutil.rmtree(folder, ignore_errors=True)
    run("cp", "-a", debian.system(), folder)
    debian.checkout(folder / "checkout")
    run("chroot", folder, "python3", "-m", "compileall", "-q", "/checkout")  # it takes minutes in there
    (folder / "modules").mkdir()
    for module in (KEPT / f"linux-{version}").glob("**/overlay.ko*"):  # for clones; it needs no other one
        shutil.copy(module, folder / "modules")
    shutil.copy(Path(__file__).with_name("init"), folder / "init")
    (folder / "init").chmod(0o755)
    found = KEPT / f"image-{version}.cpio"
    run("bash", "-c", f"cd {folder} && find . | cpio --quiet -o -H newc > {found}")
    shutil.rmtree(folder)
    return found


def boot(version: str, words: str, accelerator: str) -> list[str]:
    """Run on this kernel what the words of its command line say. What was wrong."""
    command = ["qemu-system-x86_64", "-accel", accelerator, "-cpu", PROCESSOR]
    command += ["-m", MEMORY, "-nographic", "-no-reboot", "-nic", "none", "-kernel", str(kernel(version))]
    started = image(version)
    command += ["-initrd", str(started), "-append", f"console=ttyS0 panic=-1 quiet {FASTER} rdinit=/init {words}"]
    log = KEPT / f"log-{version}"
    with log.open("wb") as file:
        try:
            subprocess.run(command, stdin=subprocess.DEVNULL, stdout=file, timeout=PATIENCE, check=False)
        except subprocess.TimeoutExpired:
            pass  # it did not come to its end
    started.unlink()
    lines = log.read_text(errors="replace").splitlines()
    outcomes = [line.partition(MARK)[2].strip() for line in lines if MARK in line]
    print(f"\n=== {version}", *outcomes, sep="\n", flush=True)
    wrong = [outcome for outcome in outcomes if not outcome.endswith((" 0", "}", "]")) or "FAILED" in outcome]
    if not outcomes or outcomes[-1] != "end: 0":
        wrong.append("it did not come to its end")
    if wrong:
        print("\n".join(lines[-200:]), *wrong, sep="\n")
    write(version, outcomes)
    for outcome in outcomes:
        if outcome.startswith("containers: ["):  # for tests/containers
            stored(json.loads(outcome.partition(": ")[2]), places.names())
    return wrong


def write(version: str, outcomes: list[str]) -> None:
    """Put a kernel's rows into the page's table, in the place of those of the same suite."""
    rows = {tuple(line.split(" | ")[:2]): line for line in debian.part(PAGE, *TABLE).splitlines()[2:]}
    tests = dict.fromkeys(KINDS, "not run")
    for outcome in outcomes:
        who, _, rest = outcome.partition(", ")
        if found := re.search(r"(?:\d+ failed, )?\d+ passed.*?(?= in )", rest):
            tests[who] = found[0]
    for outcome in outcomes:
        who, _, rest = outcome.partition(", survey: ")
        if rest:
            found = json.loads(rest)
            cells = [f"{found['kernel']}, of {SUITES[version]}", who, *(short(found[name]) for name in COLUMNS)]
            rows = {key: line for key, line in rows.items() if f", of {SUITES[version]}" not in key[0] or key[1] != who}
            line = f"| {' | '.join([*cells, tests[who]])} |"
            rows[tuple(line.split(" | ")[:2])] = line
    order = list(SUITES.values())
    lines = sorted(rows.items(), key=lambda row: (order.index(row[0][0].rpartition(" ")[2]), row[0][1]))
    head = f"| kernel | as | {' | '.join(COLUMNS)} | tests |\n|{'---|' * (len(COLUMNS) + 3)}\n"
    debian.replaced(PAGE, *TABLE, head + "".join(f"{line}\n" for _, line in lines))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("version", nargs="*", choices=[*SUITES, []], help="all of them without any")
    parser.add_argument("--tests", default=TESTS, help="which are run; none if it is empty")
    parser.add_argument(
        "--apparmor",
        nargs="?",
        const="AppArmor kernel.",
        metavar="NAMES",
        help="try its profiles alone, or those that have this in their names, for tests/containers",
    )
    parser.add_argument("--as", dest="who", choices=KINDS, help="root alone, or the user: both without it")
    parser.add_argument("--accel", default="tcg", help="qemu's: kvm, where that works")
    arguments = parser.parse_args()
    words = f'PROFILES="{arguments.apparmor}"' if arguments.apparmor else f'TESTS="{arguments.tests}"'
    words += f' WHO="{arguments.who or " ".join(KINDS)}"'
    asked = arguments.version or list(SUITES)
    if os.geteuid():
        raise SystemExit("debootstrap takes root")
    if missing := [tool for tool in ("qemu-system-x86_64", "debootstrap", "cpio", "apt-get") if not shutil.which(tool)]:
        raise SystemExit(f"not installed: {', '.join(missing)}")
    KEPT.mkdir(exist_ok=True)
    wrong = [boot(version, words, arguments.accel) for version in asked]  # each of them is tried
    return 1 if any(wrong) else 0


if __name__ == "__main__":
    sys.exit(main())
