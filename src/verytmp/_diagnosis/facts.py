"""What can be read of where this process runs. Nothing here fails: what cannot be read is not there."""

from __future__ import annotations

import os
from io import open as io_open
from posix import getegid, geteuid, getpid, stat  # a test may have put others in os

FILES = {
    "label": "/proc/self/attr/current",
    "uid_map": "/proc/self/uid_map",
    "gid_map": "/proc/self/gid_map",
    "user.max_user_namespaces": "/proc/sys/user/max_user_namespaces",
    "user.max_mnt_namespaces": "/proc/sys/user/max_mnt_namespaces",
    "kernel.unprivileged_userns_clone": "/proc/sys/kernel/unprivileged_userns_clone",
    "kernel.apparmor_restrict_unprivileged_userns": "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
    "lsm": "/sys/kernel/security/lsm",
    "selinux": "/sys/fs/selinux/enforce",
}
STATUS = ("Seccomp", "NoNewPrivs", "CapEff")
OWN = ("Uid:", "Gid:", "CapEff:", "Seccomp:", "Seccomp_filters:")
GVISOR = "#1 SMP Sun Jan 10 15:06:54 PST 2016"  # what uname(2) says in all of its versions
MARKS = {  # what is there in which container
    "/run/firejail/mnt/seccomp": "firejail",
    "/.dockerenv": "docker",
    "/run/.containerenv": "podman",
    "/.flatpak-info": "flatpak",
}
VARIABLES = {
    "KUBERNETES_SERVICE_HOST": "kubernetes",
    "SNAP": "snap",
    "AWS_LAMBDA_FUNCTION_NAME": "lambda",
    "ANDROID_ROOT": "android",
    "GITHUB_ACTIONS": "github",
}
CAP_SETFCAP = 31


def read(path: str) -> str | None:
    try:
        with io_open(path, "rb", 0) as file:
            return file.read(4096).decode("utf-8", "replace").replace("\0", "").strip()
    except OSError:
        return None


def facts() -> dict[str, str]:
    """By name, as the kernel's files have them; ``inside`` lists the containers that can be told by their marks."""
    found = {name: text for name, path in FILES.items() if (text := read(path)) is not None}
    for line in (read("/proc/self/status") or "").splitlines():
        name, _, value = line.partition(":\t")
        if name in STATUS:
            found[name] = value
    system = os.uname()
    found["kernel"] = f"{system.sysname} {system.release} {system.machine}"
    found["euid"], found["egid"] = str(geteuid()), str(getegid())
    try:
        found["owner of /proc/self/uid_map"] = str(stat("/proc/self/uid_map").st_uid)
    except OSError:
        pass
    found["namespaces"] = "yes" if os.path.exists("/proc/self/ns/user") else "no"
    mounts = lines("/proc/self/mountinfo")
    if mounts:
        found["root"] = "mounted" if any(line.split()[4:5] == ["/"] for line in mounts) else "not mounted"
    inside = [name for path, name in MARKS.items() if os.path.exists(path)]
    inside += ["gvisor"] if system.version == GVISOR else []
    inside += [name for variable, name in VARIABLES.items() if os.environ.get(variable)]
    found["inside"] = " ".join(inside)
    return found


def standing() -> tuple[object, ...]:
    """What decides whether a refusal would come again, and whose root it was: this thread's privileges and filters, its
    namespace, the settings by which namespaces are off.
    """
    status = (read("/proc/thread-self/status") or "").splitlines()
    own = [line for line in status if line.startswith(OWN)]
    return getpid(), *own, user_namespace(), *(read(path) for name, path in FILES.items() if "." in name)


def user_namespace() -> tuple[int, int] | None:
    try:
        found = stat("/proc/thread-self/ns/user")
    except OSError:
        return None
    return found.st_dev, found.st_ino


def guide() -> str:
    """The page on refusals, which is in the wheel, and in a checkout among the other pages."""
    here = os.path.dirname(os.path.dirname(__file__))
    found = (os.path.normpath(f"{here}/{docs}/how-to/containers.md") for docs in ("docs", "../../docs"))
    return next(filter(os.path.exists, found), "the page on containers of the documentation")


def lines(path: str) -> list[str]:
    try:
        with io_open(path, encoding="utf-8", errors="replace") as file:
            return file.readlines()
    except OSError:
        return []
