"""The containers and sandboxes: how each is entered, and how what is printed there is followed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from support import debian
from support.debian import KEPT, run

USER, OTHER = "65534", "12345"
TREE = KEPT / "container"  # the system, and this checkout
SURVEY = ("python3", "/checkout/tests/support/survey.py")
ON_THE_HOST = ("/usr/bin/python3", f"{TREE}/checkout/tests/support/survey.py")
AS_USER = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups")

DOCKER_ROOT = KEPT / "docker"
SOCKET = f"unix://{DOCKER_ROOT}/socket"
LIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")
IMAGE = "verytmp-tests"
DAEMON_STARTS = 30  # seconds
PROFILE = KEPT / "moby" / "usr/share/gocode/src/github.com/docker/docker/profiles/seccomp/default.json"

NOT_TO_BE_HAD = [
    "Ubuntu's rule for user namespaces: it is a patch of its kernel",
    "SELinux: the policy is Fedora's and Red Hat's, and no kernel here has one loaded",
    "Kubernetes, GitHub's and GitLab's runners, AWS Lambda: they are services",
    "systemd's units: there is no systemd here to start them; their filters are made real by the tests",
    "Flatpak, snap, Android: they start applications that are packaged for them",
    "gVisor newer than July 2024: Debian has none",
]


class Place(NamedTuple):
    """A container, and what is started in it.

    Attributes:
        name: what it is called in the table.
        tool: the program that makes it, and the Debian package of that.
        begin: the command, up to its options.
        options: those that a remedy may change.
        end: the rest, before the program to start.
        offers: from a remedy to what it says, each with the place as it is then.
        program: the survey, as it is found there.
        calls: what its seccomp profile allows besides Docker's.
    """

    name: str
    tool: str
    package: str
    begin: tuple[str, ...]
    options: tuple[str, ...]
    end: tuple[str, ...]
    offers: Callable[[Place, str], Iterator[tuple[str, Place]]]
    program: tuple[str, ...] = SURVEY
    calls: frozenset[str] = frozenset()

    def command(self) -> list[str]:
        return [*self.begin, *self.options, *self.end, *self.program]

    def remedies(self, remedy: str) -> Iterator[tuple[str, Place]]:
        return self.offers(self, remedy)

    def without(self, *starts: str) -> Place:
        return self._replace(options=tuple(option for option in self.options if not option.startswith(starts)))

    def plus(self, *options: str) -> Place:
        return self._replace(options=(*self.options, *options))


def nothing(place: Place, remedy: str) -> Iterator[tuple[str, Place]]:
    return iter(())


# -- docker and podman -------------------------------------------------------------------------------------------------


def engines(place: Place, remedy: str) -> Iterator[tuple[str, Place]]:
    """Options of docker run and podman run."""
    if "--security-opt seccomp=unconfined" in remedy and not place.calls:
        yield (
            "--security-opt seccomp=unconfined",
            place.without("--security-opt=seccomp").plus("--security-opt=seccomp=unconfined"),
        )
    if "without the profile that it was given" in remedy:
        yield "without the profile that it was given", place.without("--security-opt=seccomp")
    further = "if it is the seccomp filter" in remedy  # of what is done to a root later
    if "--security-opt seccomp=FILE" in remedy or (further and place.calls):
        listed = re.findall(r"(?:also allows|takes|allow) ((?:\w+(?:, | and )?)+)", remedy)
        calls = place.calls | {call for each in listed for call in re.split(r", | and ", each)} - {"besides", "if"}
        file = with_calls(frozenset(calls))
        changed = place.without("--security-opt=seccomp").plus(f"--security-opt=seccomp={file}")
        yield "allow fspick…" if further else "--security-opt seccomp=FILE", changed._replace(calls=frozenset(calls))
    if "Run as an ordinary user" in remedy:
        yield "Run as an ordinary user", place.without("--user").plus(f"--user={USER}:{USER}")
    for option in re.findall(r"(?:docker|podman) run (--cap-add \w+)", remedy):
        yield option, place.plus(option.replace(" ", "="))


def with_calls(calls: frozenset[str]) -> Path:
    """Docker's own profile, which allows these too."""
    profile = json.loads(PROFILE.read_text())
    profile["syscalls"].append(
        {"names": [call.removesuffix("(2)") for call in sorted(calls)], "action": "SCMP_ACT_ALLOW"}
    )
    file = KEPT / f"seccomp-{len(calls)}.json"
    file.write_text(json.dumps(profile))
    return file


def docker(name: str, *options: str) -> Place:
    begin = ("docker", "-H", SOCKET, "run", "--rm", "--network=none", f"--volume={TREE}/checkout:/checkout:ro")
    return Place(name, "dockerd", "docker.io", begin, options, (IMAGE,), engines)


def podman(name: str, *options: str) -> Place:
    # crun takes no hybrid of both kinds of cgroups; and who may not raise limits asks for lower ones than its own.
    alone = ("unshare", "--mount", "sh", "-c", 'umount /sys/fs/cgroup/unified 2> /dev/null; exec "$@"', "-")
    begin = (*alone, "podman", "run", "--rm", "--network=none", "--cgroups=disabled", "--log-driver=none", *LIMITS)
    return Place(name, "podman", "podman", begin, options, ("--rootfs", str(TREE)), engines)


# -- sandboxes that start a program of the host's ----------------------------------------------------------------------


def bwrap(name: str, *options: str, user: bool) -> Place:
    begin = (*(AS_USER if user else ()), "bwrap", "--bind", str(TREE), "/", "--proc", "/proc", "--dev", "/dev")
    end = ("--tmpfs", "/tmp", "--perms", "1777", "--tmpfs", "/dev/shm", "--setenv", "PATH", "/usr/bin:/bin")
    return Place(name, "bwrap", "bubblewrap", begin, options, end, leaves_it)


def leaves_it(place: Place, remedy: str) -> Iterator[tuple[str, Place]]:
    for option in re.findall(r"as bwrap (--[\w-]+)", remedy):
        if "leave it" in remedy:
            yield f"leave it ({option})", place.without(option)


def firejail(name: str, *options: str, user: bool) -> Place:
    """It has another /var/tmp, and starts nothing for system users: there is one more user in an own /etc/passwd."""
    passwd = KEPT / "passwd"
    code = f"""
        mount --bind {TREE}/checkout /srv
        cp /etc/passwd {passwd}; echo verytmp-tests:x:{OTHER}:{OTHER}::/tmp:/bin/sh >> {passwd}
        mount --bind {passwd} /etc/passwd; exec "$@"
    """
    who = (*(word.replace(USER, OTHER) for word in AS_USER), "env", "HOME=/tmp") if user else ()
    begin = ("unshare", "--mount", "sh", "-c", code, "-", *who, "firejail", "--quiet")
    program = ("/usr/bin/python3", "/srv/tests/support/survey.py")
    return Place(name, "firejail", "firejail", begin, options, (), jailers, program)


def jailers(place: Place, remedy: str) -> Iterator[tuple[str, Place]]:
    if "--seccomp" in place.options:
        for said, calls in re.findall(r"(--seccomp='([^']+)') in its place", remedy):
            yield said, place.without("--seccomp").plus(f"--seccomp={calls}")
        return
    if found := re.search(r"firejail ((?:--\S+ )*--[\w=-]+)", remedy):
        yield found[1], place.plus(*found[1].split())


def nspawn(name: str, *options: str) -> Place:
    begin = ("systemd-nspawn", "--quiet", "--pipe", "--register=no", "--keep-unit", "-D", str(TREE))
    return Place(name, "systemd-nspawn", "systemd-container", begin, options, (), nothing)


def lxc(name: str, user: bool) -> Place:
    begin = ("lxc-execute", "--name=verytmp-tests", f"--rcfile={KEPT}/lxc.conf", "--")
    return Place(name, "lxc-execute", "lxc", begin, (), AS_USER if user else (), nothing)


# -- gVisor ------------------------------------------------------------------------------------------------------------

GVISORS = {"of December 2022": "bookworm", "of July 2024": "trixie"}  # to the suite of Debian that has it


def runsc(suite: str) -> Path:
    return KEPT / f"runsc-{suite}" / "usr/bin/runsc"


def gvisor(version: str, user: bool) -> Place:
    tool = str(runsc(GVISORS[version]))
    begin = (tool, f"--root={KEPT}/runsc", "--network=none", "--ignore-cgroups", "do", "-quiet", f"-root={TREE}")
    who = AS_USER if user else ()
    return Place(f"gVisor {version}", tool, "", begin, (), ("-cwd=/", "--", *who), newer_or_nameless)


def newer_or_nameless(place: Place, remedy: str) -> Iterator[tuple[str, Place]]:
    if "Use a newer gVisor" in remedy:
        newest = list(GVISORS)[-1]
        yield "Use a newer gVisor", gvisor(newest, user=place.end[-len(AS_USER) :] == AS_USER)
    yield from nameless(place, remedy)


def nameless(place: Place, remedy: str) -> Iterator[tuple[str, Place]]:
    if "leave out at=" in remedy:
        yield "leave out at=", place._replace(program=(*SURVEY, "a root"))


# -- chroot and settings -----------------------------------------------------------------------------------------------


def chroot(name: str, *options: str, user: bool) -> Place:
    """The options are what is done before, by the shell."""
    who = ("--userspec=65534:65534",) if user else ()
    code = f'while [ "$1" != -- ]; do chroot {TREE} $1 || exit; shift; done; shift; exec "$@"'
    begin = ("unshare", "--mount", "sh", "-c", code, "-")
    return Place(name, "chroot", "", begin, options, ("--", "chroot", *who, str(TREE)), trees)


def trees(place: Place, remedy: str) -> Iterator[tuple[str, Place]]:
    if found := re.search(r"mount -t proc proc /proc", remedy):
        yield found[0], place.plus(found[0])
    if found := re.search(r"pivot_root\(2\), as .*bwrap", remedy):
        inside = bwrap(place.name, user="--userspec=65534:65534" in place.end)
        yield found[0], inside
    yield from nameless(place, remedy)


def setting(name: str, *commands: str, user: bool = False) -> Place:
    """A user; or root of a user namespace in which a limit is set, without CAP_SYS_ADMIN."""
    code = 'while [ "$1" != -- ]; do $1 > /dev/null || exit; shift; done; shift; exec "$@"'
    begin = (*(() if user else ("unshare", "--map-root-user", "--mount")), "sh", "-c", code, "-")
    end = ("--", *(AS_USER if user else ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")))
    return Place(name, "unshare", "", begin, commands, end, settings, SURVEY if user else ON_THE_HOST)


def settings(place: Place, remedy: str) -> Iterator[tuple[str, Place]]:
    for command in re.findall(r"sudo (sysctl -w \S+=\d+(?: \S+=\d+)*)", remedy):
        yield command, place.plus(command)


# -- all of them -------------------------------------------------------------------------------------------------------

NOBODY = f"--user={USER}:{USER}"
UNCONFINED = "--security-opt=seccomp=unconfined"


def all_of() -> list[Place]:
    profile = f"--security-opt=seccomp={PROFILE}"
    return [
        docker("Docker"),
        docker("Docker", NOBODY),
        docker("Docker, unconfined", UNCONFINED),
        docker("Docker, unconfined", UNCONFINED, NOBODY),
        docker("Docker, `--cap-add SYS_ADMIN`", "--cap-add=SYS_ADMIN"),
        docker("Docker, unconfined, `--cap-drop ALL`", UNCONFINED, "--cap-drop=ALL"),
        docker("Docker, unconfined, `--cap-drop ALL`", UNCONFINED, "--cap-drop=ALL", NOBODY),
        podman("Podman"),
        podman("Podman", NOBODY),
        podman(
            "Podman, `--read-only --security-opt no-new-privileges`",
            "--read-only",
            "--security-opt=no-new-privileges",
            NOBODY,
        ),
        podman("Podman, Docker's profile", profile),
        podman("Podman, Docker's profile", profile, NOBODY),
        podman("Podman, `--cap-drop ALL`", "--cap-drop=ALL"),
        podman("Podman, `--cap-drop ALL`", "--cap-drop=ALL", NOBODY),
        podman("Podman, `--privileged`", "--privileged"),
        bwrap("bubblewrap", user=False),
        bwrap("bubblewrap", user=True),
        bwrap("bubblewrap, `--unshare-all`", "--unshare-all", user=True),
        bwrap("bubblewrap, `--unshare-user --disable-userns`", "--unshare-user", "--disable-userns", user=True),
        firejail("firejail, its default profile", user=False),
        firejail("firejail, its default profile", user=True),
        firejail("firejail, `--noprofile`", "--noprofile", user=True),
        firejail("firejail, `--noprofile --seccomp`", "--noprofile", "--seccomp", user=False),
        firejail("firejail, `--noprofile --seccomp`", "--noprofile", "--seccomp", user=True),
        nspawn("systemd-nspawn"),
        nspawn("systemd-nspawn", "--user=nobody"),
        nspawn("systemd-nspawn, `--private-users`", "--private-users=524288:65536"),
        lxc("LXC", user=False),
        lxc("LXC", user=True),
        *(gvisor(version, user) for version in GVISORS for user in (False, True)),
        chroot("chroot, no /proc", user=False),
        chroot("chroot, no /proc", user=True),
        chroot("chroot", "mount -t proc proc /proc", user=False),
        chroot("chroot", "mount -t proc proc /proc", user=True),
        setting("`user.max_user_namespaces=0`", "sysctl -w user.max_user_namespaces=0"),
        setting("`user.max_mnt_namespaces=0`", "sysctl -w user.max_mnt_namespaces=0"),
    ]


# What a Debian kernel has, in a virtual machine (tests/kernels), that this machine's may lack.

PROFILE_NAME = "verytmp-tests"
FILES = ("/ r,", "/** rwlkmix,", "signal,", "ptrace,", "unix,", "network,")
NAMESPACES = ("userns,", "mount,", "umount,", "pivot_root,")
DISCONNECTED = "flags=(attach_disconnected)"


def apparmor(name: str, *options: str, user: bool) -> Place:
    """The options are the profile's flags and rules."""
    file = f"/tmp/{PROFILE_NAME}"
    code = f"""
        {{
            echo "abi <abi/4.0>, include <tunables/global> profile {PROFILE_NAME} $1 {{"; shift
            while [ "$1" != -- ]; do echo "$1"; shift; done
            echo "}}"
        }} > {file}
        shift; apparmor_parser -r {file} && exec "$@"
    """
    end = ("--", *(AS_USER if user else ()), "aa-exec", "-p", PROFILE_NAME, "--")
    name = f"AppArmor, a profile {name}"
    program = (*SURVEY, "a root", "named", "clone", "fallback")  # it is slow in an emulated processor
    return Place(name, "aa-exec", "", ("sh", "-c", code, "-"), options, end, profiles, program)


def profiles(place: Place, remedy: str) -> Iterator[tuple[str, Place]]:
    if found := re.search(rf"profile {PROFILE_NAME} ({re.escape(DISCONNECTED)})", remedy):
        rules = re.findall(r"and the rules (.*?,) by which", remedy)
        added = [f"{rule}," for rule in rules[0].removesuffix(",").split(", ")]
        yield f"{found[1]} {rules[0]}", place._replace(options=(found[1], *place.options[1:], *added))
    if found := re.search(rf"To the AppArmor profile {PROFILE_NAME} add: (.*,) and reload it", remedy):
        rules = re.sub(r" \(.*?\)", "", found[1]).replace(", and ", ", ").split(", ")
        yield found[1], place.plus(*(rule if rule.endswith(",") else f"{rule}," for rule in rules))
    if "Allow mount, umount and pivot_root" in remedy:
        yield "Allow mount, umount and pivot_root", place.plus("mount,", "umount,", "pivot_root,")


def of_a_kernel() -> list[Place]:
    off = "kernel.unprivileged_userns_clone=0"
    return [
        apparmor("that has it all", DISCONNECTED, "/ w,", *FILES, "capability,", *NAMESPACES, user=True),
        apparmor("without `attach_disconnected`", "", *FILES, "capability,", *NAMESPACES, user=True),
        apparmor("without `attach_disconnected`", "", *FILES, "capability,", *NAMESPACES, user=False),
        apparmor("without `userns`", DISCONNECTED, "/ w,", *FILES, "capability,", *NAMESPACES[1:], user=True),
        apparmor("without `capability`", DISCONNECTED, "/ w,", *FILES, *NAMESPACES, user=True),
        apparmor("without `mount`", DISCONNECTED, "/ w,", *FILES, "capability,", "userns,", user=True),
        setting(f"`{off}`", f"sysctl -w {off}", user=True),
    ]


def names() -> list[str]:
    return list(dict.fromkeys(place.name for place in (*all_of(), *of_a_kernel())))


@contextmanager
def ready(docker: bool) -> Iterator[None]:
    """The system with this checkout; Docker's profile, which is in a package of its sources; its daemon."""
    KEPT.mkdir(exist_ok=True)
    if not TREE.exists():
        run("cp", "-a", debian.system(), TREE)
    debian.checkout(TREE / "checkout")
    if not PROFILE.exists():
        debian.unpacked("golang-github-docker-docker-dev", KEPT / "moby", [])
    for suite in GVISORS.values():
        if not runsc(suite).exists():
            debian.unpacked("runsc", KEPT / f"runsc-{suite}", debian.updated(suite))
    lines = [f"lxc.rootfs.path = dir:{TREE}", "lxc.net.0.type = empty", "lxc.mount.auto = proc sys"]
    (KEPT / "lxc.conf").write_text("\n".join([*lines, "lxc.apparmor.profile = unconfined\n"]))
    daemon = start_docker() if docker and shutil.which("dockerd") else None
    try:
        yield
    finally:
        if daemon:
            daemon.terminate()
            daemon.wait(60)
            shutil.rmtree(DOCKER_ROOT, ignore_errors=True)


def start_docker() -> subprocess.Popen[bytes]:
    """A daemon in a mount namespace of its own, without a network, with the system as its one image."""
    shutil.rmtree(DOCKER_ROOT, ignore_errors=True)
    DOCKER_ROOT.mkdir()
    options = [f"--{name}={DOCKER_ROOT}/{name}" for name in ("data-root", "exec-root", "pidfile")]
    options += ["--iptables=false", "--ip6tables=false", "--bridge=none", f"--host={SOCKET}"]
    with (KEPT / "log-docker").open("wb") as log:
        daemon = subprocess.Popen(["unshare", "--mount", "dockerd", *options], stdout=log, stderr=log)
    for _ in range(DAEMON_STARTS):
        if subprocess.run(["docker", "-H", SOCKET, "info"], capture_output=True).returncode == 0:
            break
        time.sleep(1)
    without = [f"--exclude=./{name}" for name in ("checkout", "packages", "run/.containerenv")]  # the last is Podman's
    with subprocess.Popen(["tar", "-C", TREE, *without, "-c", "."], stdout=subprocess.PIPE) as tar:
        subprocess.run(["docker", "-H", SOCKET, "import", "-", IMAGE], stdin=tar.stdout, stdout=subprocess.DEVNULL)
    return daemon
