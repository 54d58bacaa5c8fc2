"""Which way to make the mount: directly where this process may, else by a child; and what to say when neither works."""

from __future__ import annotations

import errno
import os
from io import FileIO
from stat import S_ISDIR

from .._confined.owned_fd import owner
from .._confined.procfs import new_token
from .._confined.tree import Tree
from .._diagnosis.causes import BEFORE, VeryTmpCause
from .._diagnosis.facts import facts
from .._diagnosis.rules import LABEL_THEN, MAPS, MOUNTING, UNSHARE, Verdict, judge
from ..errors import VeryTmpUnavailable
from . import child, protocol
from . import tmpfs as _mount
from .signals import unlost
from .spec import FORMS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from select import epoll

    from .entered import Entered
    from .helper import Resident
    from .protocol import Refusal
    from .signals import SignalsHeld

PROC = "/proc/thread-self/status"
FILES = ("/dev/null", "/proc/version", "/etc/passwd")  # the later ones are for a chroot that has next to nothing


entered: Entered | None = None  # the namespace that this process has entered


class MayNotMount(Exception):
    """This process itself may not mount, or might not survive trying."""


def tmpfs(options: list[str], resident: Resident | None = None) -> tuple[Tree, str]:
    """Make a tmpfs: its tree, and a few words on how that was done.

    `ValueError` with the kernel's words for an option that it refuses, `VeryTmpUnavailable` for anything else.
    """
    directory = impossible_name()
    named = [f"name={directory}/{new_token()}", *options]
    before: list[Refusal] = []
    threads = 0
    if entered is not None and name_in(options) and "host=ro" not in options:
        return by_entered(entered, named)
    if name_in(options):
        resident = None  # XXX
    elif resident is None or not resident.needed:
        filtered, threads = thread_status()
        try:
            return unlost(lambda signals: directly(named, filtered, signals, threads), threads)
        except MayNotMount:
            pass
    if resident is not None:
        resident.needed = True  # from now on: asking the kernel again takes longer than asking the helper
        try:
            fds, name, call = resident.root(directory, options)
            return tree(fds, [f"name={name}"]), f"by a resident helper, by {call}(2)"
        except child.Unanswered as unanswered:  # a child of its own for this one root will do, or say what is wrong
            before = unanswered.refusals
        except child.Refused as refused:
            met = refused.refusals
            raise unlost(lambda signals: explained(met, options, signals, threads=2), threads=2) from None
    threads = threads or thread_status()[1]
    return unlost(lambda signals: by_child(named, signals, threads, before), threads)


def by_entered(helper: Entered, options: list[str]) -> tuple[Tree, str]:
    """A root in the namespace that this process has entered."""
    try:
        fds, call = unlost(lambda signals: helper.root(options, signals), thread_status()[1])
    except child.Unanswered as ended:
        [(step, number, text)] = ended.refusals
        remedy = "Start this program anew; or make roots without a name: VeryTmpRoot(at=False)."
        raise VeryTmpUnavailable(number, step, text, remedy, VeryTmpCause.CHILD) from None
    except child.Refused as refused:
        raise explained(refused.refusals, options) from None
    return tree(fds, options), f"in the namespace that this process has entered, by {call}(2)"


def impossible_name() -> str:
    """What the directory above the root is called in the mount: as a file of the host's that is no directory.

    The kernel prints a detached mount's own root as "/", so code that canonicalises a path in one ends up below this
    name in the host's root directory, where nothing can be: ENOTDIR.
    """
    for path in FILES:
        try:
            if not S_ISDIR(os.stat(path).st_mode):
                return path.strip("/")
        except OSError:
            continue
    reason = f"there is no file here by whose name a root could be called: none of {', '.join(FILES)}"
    remedy = "Mount /proc in this chroot, and make /dev/null."  # without /proc, there is no root either
    raise VeryTmpUnavailable(errno.ENOENT, "/dev/null", reason, remedy, "proc")


def name_in(options: Sequence[str]) -> str:
    """Where the root is to be mounted by name; empty for one without."""
    return next((option[3:] for option in options if option.startswith("at=")), "")


def tree(fds: tuple[epoll, ...], options: list[str]) -> Tree:
    token = _mount.name_of(options).rpartition("/")[2]
    try:
        return Tree(fds, token, _mount.inodes_above(options), name_in(options))
    except OSError as error:  # the descriptor table is full
        raise explained([("fcntl(F_DUPFD)", error.errno or 0, error.strerror or "")]) from None


def directly(options: list[str], filtered: bool, signals: SignalsHeld, threads: int) -> tuple[Tree, str]:
    # Under a seccomp filter an unknown call may end this very process, so there a child has to try it.
    if filtered:
        raise MayNotMount
    steps = _mount.Steps()
    try:
        fds, call = _mount.tmpfs(options, steps, private=False)
    except OSError as error:
        steps.refused(error)
        if error.errno != errno.EPERM and not _mount.absent(steps.now, error.errno):
            raise explained(steps.refusals, options, signals, threads) from None
        raise MayNotMount from None
    return tree(tuple(map(owner, fds)), options), f"directly, by {call}(2)"


def by_child(options: list[str], signals: SignalsHeld, threads: int, before: list[Refusal]) -> tuple[Tree, str]:
    try:
        fds, call = child.perform(protocol.NAMED if name_in(options) else "tmpfs", options, signals, threads=threads)
    except child.Refused as refused:
        raise explained([*before, *refused.refusals], options, signals, threads) from None
    return tree(
        tuple(map(owner, fds)), options
    ), f"by a {'forked' if child.forks(threads) else 'fresh'} child, by {call}(2)"


def thread_status() -> tuple[bool, int]:
    """Whether a seccomp filter is on this thread, and how many threads the process has: proc_pid_status(5)."""
    try:
        with FileIO(PROC) as file:  # the built-in `open` may be a test's own
            status = file.read(8192)
    except OSError as error:
        raise explained([(PROC, error.errno or 0, error.strerror or "")]) from None
    filtered = b"\nSeccomp:\t" in status and b"\nSeccomp:\t0\n" not in status
    return filtered, int(status.partition(b"\nThreads:\t")[2].partition(b"\n")[0])


def explained(
    refusals: list[Refusal], options: Sequence[str] = (), signals: SignalsHeld | None = None, threads: int = 1
) -> Exception:
    """The error for refusals, the last of which decided it."""
    *before, (step, number, text) = refusals
    if step == "at":
        return OSError(number, text, name_in(options))
    if number == errno.EINVAL and (step in ("options", "mount", "fchownat") or step.startswith("fsconfig(")):
        asked = [option for option in options if not option.startswith("name=")]
        about = [option for option in asked if step == f"fsconfig({option.partition('=')[0]})"] or asked
        forms = [f"{key}= takes {form}" for key, form in FORMS.items() if any(o.startswith(f"{key}=") for o in about)]
        return ValueError("; ".join([f"{text} (asked for: {', '.join(about)})", *forms]))
    reason = BEFORE.join([text, *(f"{step}: {text}" for step, _, text in before)])
    try:
        verdict = diagnosed(refusals, signals, threads)
    except Exception as error:  # the refusal is the news, and not what went wrong in explaining it
        verdict = Verdict(VeryTmpCause.UNKNOWN, "", (f"the diagnosis failed: {error!r}",))
    return VeryTmpUnavailable(number, step, reason, verdict.remedy, verdict.cause, verdict.evidence)


def diagnosed(refusals: list[Refusal], signals: SignalsHeld | None, threads: int) -> Verdict:
    known = facts()
    tried: dict[str, int] = {}
    if signals and refusals[-1][0] in (UNSHARE, *MAPS, *MOUNTING):
        for name, number, text in child.probe("namespaces", signals, threads=threads):
            if name == LABEL_THEN:
                known[name] = text.strip("\0\n")
            else:
                tried[name] = number
    return judge(refusals, known, tried)
