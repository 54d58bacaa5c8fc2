"""From a refusal, from what can be read, and from what was tried in a child, to a cause and a remedy.

`judge` is pure, so that tests can give it refusals which cannot be reproduced where they run. The first rule that
applies decides. What is not certain is not claimed: then the cause is unknown, and the facts are shown.
"""

from __future__ import annotations

import errno

from .causes import VeryTmpCause as Cause
from .facts import CAP_SETFCAP
from .interpreter import GREEN, before_patching

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import NamedTuple

    class Verdict(NamedTuple):
        cause: Cause
        remedy: str
        evidence: tuple[str, ...]
else:
    from collections import namedtuple

    Verdict = namedtuple("Verdict", "cause remedy evidence")  # noqa: PYI024  # typing takes 5 ms to import

Refusal = tuple[str, int, str]  # a call, its errno, what the kernel said

# What a child tries, after a refusal; each by its name, to 0 or an errno.
ANY_UNSHARE = "unshare(0)"  # nothing to do: only a filter refuses it
NO_SUCH_FLAG = "unshare(CLONE_NEWUSER|1)"  # EINVAL from the kernel: EPERM is a filter's, which looks at the flags
NEW_USER = "unshare(CLONE_NEWUSER)"
LABEL_THEN = "label after that"  # what AppArmor has made of it

UNSHARE = "unshare(CLONE_NEWUSER|CLONE_NEWNS)"
NEW_MOUNTS = "unshare(CLONE_NEWNS)"  # in a user namespace that was made before
MAPS = ("setgroups", "uid_map", "gid_map")
IN_THE_MOUNT = ("open", "mkdirat", "openat", "fchownat", "fchmodat")
MOUNTING = ("fsopen", "fsmount", "mount(MS_PRIVATE)", "mount")
NAMING = (  # what only a root with a name takes
    "mount(MS_SLAVE)",
    "mount(MS_REMOUNT)",
    "open_tree",
    "move_mount",
    "mount_setattr(MOUNT_ATTR_RDONLY)",
    "pivot_root",
    "umount2",
)
NO_LIMIT = 1 << 30  # whoever sets a limit sets a smaller one

CALLS = "unshare, fsopen, fsconfig and fsmount"
NAMING_CALLS = "open_tree, move_mount, mount_setattr, mount, umount2, pivot_root and setns"
PROFILES = {
    "firejail": (
        "firejail --ignore=restrict-namespaces --ignore=seccomp; where the command line has --seccomp, "
        "--seccomp='!mount,!umount2,!pivot_root,!setns,!fsopen,!fsconfig,!fsmount,!fspick,!open_tree,!move_mount,"
        "!mount_setattr' in its place."
    ),
    "flatpak": "Flatpak allows no namespaces to what runs in it; no setting changes that.",
    "snap": "Connect the snap's userns interface, if it has one.",
    "android": "Android allows it to no application; no setting changes that.",
    "kubernetes": (
        f"In the pod, set seccompProfile to type: Localhost, with a profile that allows {CALLS}; or give it an "
        "emptyDir with medium: Memory."
    ),
    "podman": (
        "podman run --security-opt seccomp=unconfined, or without the profile that it was given: its own allows it."
    ),
    "docker": (
        "docker run --security-opt seccomp=unconfined, or with a copy of Docker's profile that also allows "
        f"{CALLS}: --security-opt seccomp=FILE."
    ),
}
ANY_PROFILE = (
    f"Allow {CALLS} in the seccomp profile: in a container, --security-opt seccomp=FILE; in a systemd unit, "
    "SystemCallFilter=@mount."
)
APPARMOR_SETTING = "kernel.apparmor_restrict_unprivileged_userns"
ONE_PROGRAM = (
    "for one program, by an AppArmor profile with flags=(unconfined) and the rule userns, for the real path of its "
    "interpreter."
)
RULES = (  # AppArmor 3, as Debian 12 has it, has no rule for user namespaces, and refuses the word
    "userns (from AppArmor 4.0 on), capability sys_admin, capability sys_chroot, capability setpcap, mount, umount, "
    "pivot_root, and "
    "owner @{PROC}/@{pid}/{setgroups,uid_map,gid_map} w,"
)
MORE_FILES = {
    errno.EMFILE: "Close some files, or raise the limit on open files (ulimit -n).",
    errno.ENFILE: "The whole machine has too many files open: close some, or raise its limit (sysctl fs.file-max).",
}
PIVOT = "enter the tree with pivot_root(2), as systemd-nspawn, bwrap and unshare do"
NO_CHROOT = f"{PIVOT}; or run with CAP_SYS_ADMIN."
MAC = "See what was denied with: ausearch -m avc -ts recent."
# Refusals with these causes stay, as long as what `facts.standing` reads stays. (Descriptors get closed, a limit
# that is reached is so no more, a /proc is mounted, a policy is loaded.)
STANDING = (Cause.SECCOMP_CALL, Cause.SECCOMP_FLAGS, Cause.SYSCTL, Cause.KERNEL)


def stands(step: str, number: int, cause: Cause) -> bool:
    """Whether every root will be refused like this, until something changes that `facts.standing` reads."""
    if step not in (NEW_MOUNTS, UNSHARE, *MAPS, *MOUNTING):
        return False  # it may be the refusal of one option
    # A limit that is reached answers ENOSPC too, under a filter that has nothing to do with it.
    return cause in STANDING and (number != errno.ENOSPC or step == UNSHARE or cause is Cause.SYSCTL)


class Case:
    """A refusal, and what is known around it. Whatever a rule asks for becomes evidence, if the rule applies."""

    def __init__(self, refusals: Sequence[Refusal], facts: Mapping[str, str], tried: Mapping[str, int]) -> None:
        self.step, self.errno, self.text = refusals[-1]
        self.before = {step: number for step, number, _ in refusals[:-1]}
        self._facts = facts
        self._tried = tried
        self._asked: list[str] = []

    def fact(self, name: str) -> str:
        if name in self._facts:
            self._asked.append(f"{name}: {self._facts[name]}")
        return self._facts.get(name, "")

    def number(self, name: str) -> int | None:
        text = self.fact(name)
        return int(text) if text.isdigit() else None

    def tried(self, name: str) -> int | None:
        """What a probe met: None if it was not made."""
        number = self._tried.get(name)
        if number is not None:
            self._asked.append(f"{name}: {errno.errorcode.get(number, number) if number else 'allowed'}")
        return number

    def inside(self, *names: str) -> str:
        """The first of these containers that this is."""
        here = self._facts.get("inside", "").split()
        found = next((name for name in names if name in here), "")
        if found:
            self._asked.append(f"inside: {found}")
        return found

    def filtered(self) -> bool:
        return self.fact("Seccomp") not in ("", "0")

    def takes_capabilities(self) -> bool:
        """Whether AppArmor lets user namespaces be made, and takes their capabilities away: Ubuntu 23.10 and later."""
        return self.fact(LABEL_THEN).startswith("unprivileged_userns") or self.fact(APPARMOR_SETTING) == "1"

    def selinux(self) -> bool:
        return self.fact("selinux") == "1" and self.fact("label").count(":") >= 3

    def profile(self) -> str:
        """The AppArmor profile that confines this process; empty for none."""
        label = self.fact("label")
        name = label.partition(" (")[0]
        return "" if name == "unconfined" or label.endswith("(unconfined)") or label.count(":") >= 3 else name

    def verdict(self, cause: Cause, remedy: str) -> Verdict:
        return Verdict(cause, remedy, tuple(dict.fromkeys(self._asked)))

    def forget(self) -> None:
        self._asked.clear()


def judge(refusals: Sequence[Refusal], facts: Mapping[str, str], tried: Mapping[str, int]) -> Verdict:
    """The cause of the last refusal, and what to do about it."""
    case = Case(refusals, facts, tried)
    for rule in rules(case):
        case.forget()
        found = rule(case)
        if found:
            return found
    case.forget()
    for name in ("Seccomp", "label", "user.max_user_namespaces", "inside"):
        case.fact(name)
    return case.verdict(Cause.UNKNOWN, "")


def rules(case: Case) -> Iterator[_Rule]:
    yield from (seccomp_kill, full_table, green_threads, no_processes, no_proc, old_gvisor)
    if case.step in (UNSHARE, NEW_MOUNTS):
        yield from UNSHARE_RULES.get(case.errno, ())
    elif case.step in MAPS:
        yield from MAP_RULES.get(case.errno, ())
    elif case.step in NAMING:
        yield from NAMING_RULES.get(case.errno, ())
    elif case.step == "start" or case.errno in (errno.ECONNRESET, errno.ETIMEDOUT):
        yield child
    else:
        yield from MOUNT_RULES.get(case.errno, ())


# -- at any step -------------------------------------------------------------------------------------------------------


def old_gvisor(case: Case) -> Verdict | None:
    """In a namespace of its own, it lets nobody change how mounts spread: EINVAL for root, EPERM for a user."""
    if case.step not in ("mount(MS_PRIVATE)", "mount(MS_SLAVE)") or not case.inside("gvisor"):
        return None
    return case.verdict(Cause.KERNEL, "Use a newer gVisor: that of July 2024 makes roots, without a name.")


def seccomp_kill(case: Case) -> Verdict | None:
    if "a seccomp filter killed" not in case.text:
        return None
    case.filtered()
    return case.verdict(Cause.SECCOMP_CALL, profile(case))


def full_table(case: Case) -> Verdict | None:
    remedy = MORE_FILES.get(case.errno)
    return case.verdict(Cause.DESCRIPTORS, remedy) if remedy else None


def green_threads(case: Case) -> Verdict | None:
    return case.verdict(Cause.PYTHON, before_patching(case.step)) if case.step in GREEN else None


def no_processes(case: Case) -> Verdict | None:
    if case.step not in ("fork", "posix_spawn"):
        return None
    if case.errno == errno.EAGAIN:
        return case.verdict(
            Cause.LIMIT, f"Raise the limit on processes: ulimit -u, or the container's ({engine(case)} --pids-limit)."
        )
    return case.verdict(Cause.PYTHON, "")


def no_proc(case: Case) -> Verdict | None:
    if case.errno == errno.ENOENT and (case.step in MAPS or case.step.startswith("/proc/")):
        remedy = "Mount /proc: mount -t proc proc /proc."
        if (
            case.fact("euid") != "0" and case.tried(NEW_USER) == errno.EPERM and case.tried(ANY_UNSHARE) == 0
        ):  # the next refusal
            remedy += f" Most likely this is a chroot too, where the kernel allows no user namespaces: {NO_CHROOT}"
        return case.verdict(Cause.PROC, remedy)
    if case.errno == errno.EROFS and case.step in MAPS:
        return case.verdict(Cause.PROC, "A root needs /proc, writable: mount -o remount,rw /proc.")
    return None


def child(case: Case) -> Verdict | None:
    return case.verdict(Cause.CHILD, "Look for what ended it: the kernel's log (dmesg), the memory limit.")


# -- new namespaces ----------------------------------------------------------------------------------------------------


def switched_off(case: Case) -> Verdict | None:
    if case.fact("kernel.unprivileged_userns_clone") != "0":
        return None
    return case.verdict(Cause.SYSCTL, "sudo sysctl -w kernel.unprivileged_userns_clone=1")


def refused_call(case: Case) -> Verdict | None:
    if case.tried(ANY_UNSHARE) in (0, None):
        return None
    case.filtered()
    return case.verdict(Cause.SECCOMP_CALL, profile(case))


def refused_flags(case: Case) -> Verdict | None:
    if case.tried(NO_SUCH_FLAG) in (errno.EINVAL, None):
        return None
    case.filtered()
    remedy = PROFILES.get(case.inside("firejail"), "In the systemd unit: RestrictNamespaces=user mnt.")
    return case.verdict(Cause.SECCOMP_FLAGS, remedy)


def in_a_chroot(case: Case) -> Verdict | None:
    """The kernel allows no user namespaces there; who needs none may make roots, but no name for one."""
    if case.fact("root") != "not mounted":
        return None
    remedy = f"{PIVOT}; or leave out at=." if case.step in NAMING else NO_CHROOT
    return case.verdict(Cause.CHROOT, f"E{remedy[1:]}")


def uid_not_mapped(case: Case) -> Verdict | None:
    for name, who in (("uid_map", "euid"), ("gid_map", "egid")):
        numbers = [[int(number) for number in line.split()] for line in case.fact(name).splitlines()]
        own = case.number(who)
        if numbers and own is not None and not any(inside <= own < inside + count for inside, _, count in numbers):
            return case.verdict(Cause.UID_MAP, "Run as a user whose ID is mapped in this user namespace.")
    return None


def one_not_both(case: Case) -> Verdict | None:
    """A user namespace can be made, in which no mount namespace can: its capabilities were taken away."""
    return taken_away(case) if case.tried(NEW_USER) == 0 else None


def confined(case: Case) -> Verdict | None:
    """By a profile that lacks a capability, or the rule for user namespaces: which, it does not say."""
    return case.verdict(Cause.APPARMOR, allow_namespaces(case)) if case.profile() else None


def as_in_a_chroot(case: Case) -> Verdict | None:
    """No filter, no setting, a user with a number. A chroot onto a mount point looks like any root from inside."""
    if case.tried(ANY_UNSHARE) != 0 or case.tried(NO_SUCH_FLAG) != errno.EINVAL or case.fact("root") != "mounted":
        return None
    if case.selinux() or case.takes_capabilities():
        return None
    return case.verdict(Cause.UNKNOWN, f"Most likely this is a chroot onto a mount point: {NO_CHROOT}")


def no_such_call(case: Case) -> Verdict | None:
    if case.filtered():
        case.tried(ANY_UNSHARE)
        return case.verdict(Cause.SECCOMP_CALL, profile(case))
    case.fact("kernel")
    return case.verdict(Cause.KERNEL, "Use a kernel with namespaces.")


def no_such_namespace(case: Case) -> Verdict | None:
    if case.fact("namespaces") != "no":
        return None
    case.fact("kernel")
    return case.verdict(Cause.KERNEL, "Use a kernel with CONFIG_USER_NS (WSL 1 and Android have none; WSL 2 has).")


def namespace_limit(case: Case) -> Verdict | None:
    numbers = {name: case.number(f"user.max_{name}_namespaces") for name in ("user", "mnt")}
    for name, number in numbers.items():
        if number == 0:
            return case.verdict(Cause.SYSCTL, f"sudo sysctl -w user.max_{name}_namespaces=15000")
    if any(number is not None and number < NO_LIMIT for number in numbers.values()):
        return case.verdict(
            Cause.LIMIT,
            "Close other roots, make them with one VeryTmpFactory, or raise the limit: "
            "sudo sysctl -w user.max_user_namespaces=15000 user.max_mnt_namespaces=15000",
        )
    return case.verdict(
        Cause.LIMIT,
        "A sandbox around this one has the limit (as bwrap --disable-userns), or 33 user namespaces are nested: leave "
        "it.",
    )


def too_deep(case: Case) -> Verdict | None:
    return case.verdict(Cause.LIMIT, "Leave some of the nested user namespaces.")


def security_module(case: Case) -> Verdict | None:
    if case.selinux():
        return case.verdict(Cause.SELINUX, f"Allow user_namespace create to this domain. {MAC}")
    if case.fact("label") or case.takes_capabilities():
        return case.verdict(Cause.APPARMOR, allow_namespaces(case))
    return case.verdict(Cause.UNKNOWN, "")


# -- their maps --------------------------------------------------------------------------------------------------------


def taken_away(case: Case) -> Verdict | None:
    return case.verdict(Cause.APPARMOR, allow_namespaces(case)) if case.takes_capabilities() else None


def allow_namespaces(case: Case) -> str:
    """What to change in AppArmor. A setting is named where this kernel has it: Debian's has none."""
    if name := case.profile():
        return f"To the AppArmor profile {name} add: {RULES} and reload it: sudo apparmor_parser -r FILE."
    if case.fact(APPARMOR_SETTING) == "1":
        machine = f"for this machine: sudo sysctl -w {APPARMOR_SETTING}=0 (in a container, on the host)"
        return f"Allow it {machine}; or {ONE_PROGRAM}"
    return f"Allow it {ONE_PROGRAM}"


def no_setfcap(case: Case) -> Verdict | None:
    capabilities = case.fact("CapEff")
    if case.fact("euid") != "0" or not capabilities or int(capabilities, 16) >> CAP_SETFCAP & 1:
        return None
    remedy = f"Run as an ordinary user, or with the capability: {engine(case)} --cap-add SETFCAP."
    return case.verdict(Cause.CAPABILITY, remedy)


def in_lambda(case: Case) -> Verdict | None:
    if not case.inside("lambda"):
        return None
    return case.verdict(Cause.SECCOMP_CALL, "AWS Lambda never allows it; no setting changes that.")


def not_dumpable(case: Case) -> Verdict | None:
    """A forked copy has to do, because there is no interpreter to start afresh, and its files in /proc are root's."""
    if case.fact("owner of /proc/self/uid_map") in ("", case.fact("euid")):
        return None
    return case.verdict(
        Cause.PROC,
        "Make the root before the process changes its user (or is made not dumpable), or set sys.executable to a "
        "Python that this user may run.",
    )


def no_writing(case: Case) -> Verdict | None:
    if case.selinux():
        return case.verdict(Cause.SELINUX, MAC)
    if case.profile():
        return case.verdict(Cause.APPARMOR, allow_namespaces(case))
    return case.verdict(
        Cause.LANDLOCK, "Make the root before the process is restricted, or let it write below /proc/self."
    )


# -- the mount ---------------------------------------------------------------------------------------------------------


def denied_mount(case: Case) -> Verdict | None:
    if case.step != "mount" or not case.fact("label") or case.selinux() or case.takes_capabilities():
        return None
    case.filtered()
    return case.verdict(
        Cause.APPARMOR,
        f"Allow mount fstype=tmpfs in the AppArmor profile ({engine(case)} --security-opt apparmor=unconfined); or "
        f"have the seccomp profile allow {CALLS}, which AppArmor does not look at.",
    )


def disconnected(case: Case) -> Verdict | None:
    """A profile that confines files refuses all of them in a mount that is not below "/", to root too."""
    name = case.profile()
    if case.step not in IN_THE_MOUNT or not name:
        return None
    return case.verdict(
        Cause.APPARMOR,
        f"Give the AppArmor profile {name} the flag attach_disconnected: profile {name} flags=(attach_disconnected); "
        "and the rules / w, /dev/ w, /dev/null/ w, /dev/null/** rwlkm, by which it knows a root's files; and reload "
        "it: sudo apparmor_parser -r FILE.",
    )


def denied_file_system(case: Case) -> Verdict | None:
    if not case.selinux():
        return None
    return case.verdict(
        Cause.SELINUX, f"In a container: --security-opt label=disable, or label=type:container_engine_t. {MAC}"
    )


def filtered_mount(case: Case) -> Verdict | None:
    return case.verdict(Cause.SECCOMP_CALL, profile(case)) if case.filtered() else None


def restricted(case: Case) -> Verdict | None:
    return case.verdict(Cause.LANDLOCK, "Make the root before the process is restricted.")


def no_tmpfs(case: Case) -> Verdict | None:
    case.fact("kernel")
    return case.verdict(
        Cause.KERNEL, "Use a kernel with tmpfs, and with fsopen(2) (Linux 5.2) or mount(2) in user namespaces."
    )


# -- a name ------------------------------------------------------------------------------------------------------------


def filtered_naming(case: Case) -> Verdict | None:
    if not case.filtered():
        return None
    if case.inside("firejail"):  # whose remedy has them
        return case.verdict(Cause.SECCOMP_CALL, profile(case))
    return case.verdict(Cause.SECCOMP_CALL, f"{profile(case)} A root with a name takes {NAMING_CALLS} besides.")


def denied_naming(case: Case) -> Verdict | None:
    if case.selinux():
        return case.verdict(Cause.SELINUX, MAC)
    if not case.profile():
        return None
    return case.verdict(
        Cause.APPARMOR,
        f"Allow mount, umount and pivot_root in the AppArmor profile ({engine(case)} --security-opt "
        "apparmor=unconfined).",
    )


def no_naming(case: Case) -> Verdict | None:
    case.fact("kernel")
    if case.step == "mount_setattr(MOUNT_ATTR_RDONLY)":
        return case.verdict(Cause.KERNEL, "host='ro' takes Linux 5.12 (mount_setattr): leave out host=.")
    return case.verdict(
        Cause.KERNEL, "A root with a name takes Linux 5.2 (fsopen, open_tree and move_mount): leave out at=."
    )


def no_named_mount(case: Case) -> Verdict | None:
    """fsopen(2) is the last that is tried for a root with a name alone: others are tried by mount(2) after it."""
    return no_naming(case) if case.step == "fsopen" else None


def no_mounted_root(case: Case) -> Verdict | None:
    """In a chroot, or in an initramfs, which pivot_root(2) cannot leave."""
    if case.step == "pivot_root":
        return case.verdict(Cause.KERNEL, "Give at= a directory that exists: then no new '/' is needed.")
    return in_a_chroot(case)


def not_mapped(case: Case) -> Verdict | None:
    return case.verdict(Cause.UID_MAP, "Make the root as the user who is to use it.")


def engine(case: Case) -> str:
    """The command that has started this container, for what its options could change."""
    return "podman run" if case.inside("podman") else "docker run"


def profile(case: Case) -> str:
    """What to change where a filter refuses, as the container's makers call it."""
    return PROFILES.get(case.inside(*PROFILES), ANY_PROFILE)


if TYPE_CHECKING:
    from collections.abc import Callable

    _Rule = Callable[[Case], Verdict | None]

UNSHARE_RULES: dict[int, tuple[_Rule, ...]] = {
    errno.EPERM: (
        switched_off,
        refused_call,
        refused_flags,
        in_a_chroot,
        uid_not_mapped,
        one_not_both,
        confined,
        as_in_a_chroot,
    ),
    errno.ENOSYS: (no_such_call,),
    errno.EINVAL: (no_such_namespace, refused_call),
    errno.ENOSPC: (refused_call, namespace_limit),
    errno.EUSERS: (refused_call, too_deep),
    errno.EACCES: (refused_call, security_module),
}
MAP_RULES: dict[int, tuple[_Rule, ...]] = {
    errno.EACCES: (taken_away, not_dumpable, no_writing),
    errno.EPERM: (no_setfcap, taken_away, in_lambda),
}
NAMING_RULES: dict[int, tuple[_Rule, ...]] = {
    errno.EPERM: (taken_away, filtered_naming, restricted),
    errno.EACCES: (taken_away, denied_naming, filtered_naming, restricted),
    errno.ENOSYS: (filtered_naming, no_naming),
    errno.EINVAL: (no_mounted_root,),
    errno.ENOSPC: (filtered_naming, namespace_limit),
}
MOUNT_RULES: dict[int, tuple[_Rule, ...]] = {
    errno.EPERM: (taken_away, filtered_mount, restricted),
    errno.EACCES: (taken_away, disconnected, denied_mount, denied_file_system, filtered_mount, restricted),
    errno.ENOSYS: (filtered_mount, no_named_mount, no_tmpfs),
    errno.ENODEV: (no_tmpfs,),
    errno.EINVAL: (filtered_mount,),
    errno.ENOSPC: (filtered_mount, namespace_limit),
    errno.EOVERFLOW: (not_mapped,),
}
