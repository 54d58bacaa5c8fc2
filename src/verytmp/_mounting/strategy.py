"""Which way to make the mount: directly where this process may, else by a helper or a child."""

from __future__ import annotations

import errno
import os
from _weakref import ref
from collections import namedtuple
from functools import partial
from stat import S_ISDIR

from .._confined.owned_fd import owner
from ..errors import VeryTmpUnavailable
from . import child, options, tmpfs
from .protocol import NAMED, TMPFS, CallLog, Refused, Request, Unanswered
from .refusals import explained
from .signals import Caller, without_interrupts
from .spec import MountSpec, new_token
from .user_namespace import current, made_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import NamedTuple

    from .._confined.owned_fd import OwnedFd
    from .._diagnosis.rules import Refusal
    from .entered import EnteredClient
    from .helper import HelperClient
    from .user_namespace import UserNamespace

    _Strategy = Callable[[MountSpec, Caller], "Mounted | None"]

    class Mounted(NamedTuple):
        """A mount that was made.

        Attributes:
            fds: the owners of the descriptors of the directory above the root, and of the mount; for a root with a
                name, of its mount namespace too.
            how: a few words on how it was made.
            mounter: who can change it later, to be kept for as long as the root lives.
            spec: what it was made from, with the root directory's name.
        """

        fds: tuple[OwnedFd, ...]
        how: str
        mounter: Mounter
        spec: MountSpec
else:
    Mounted = namedtuple("Mounted", "fds how mounter spec")  # noqa: PYI024  # typing takes 5 ms to import


class Mounter:
    """Who can change a root's mount, or make a clone of it.

    Attributes:
        namespace: the user namespace that it is in; None for this process's own.
        helper: returns the factory's that has made it, if that is still there.
        in_entered: it was made in the namespace that this process has entered.
    """

    __slots__ = ("helper", "in_entered", "namespace")

    def __init__(
        self, namespace: UserNamespace | None = None, helper: HelperClient | None = None, in_entered: bool = False
    ) -> None:
        self.namespace = namespace
        self.helper: Callable[[], HelperClient | None] = none if helper is None else ref(helper)
        self.in_entered = in_entered


def none() -> None:
    """What a dead weak reference returns."""


entered_client: EnteredClient | None = None  # the helper in the namespace that this process has entered

TMPFS_FDS, NAMED_FDS = 2, 3  # that come with a root
FILES = ("/dev/null", "/proc/version", "/etc/passwd")  # the later ones are for a chroot that has next to nothing


def mount(spec: MountSpec, helper: HelperClient | None = None) -> Mounted:
    """Make a tmpfs, by the first strategy that works here.

    Args:
        spec: what it is to be like. The root directory gets a name here.
        helper: a factory's, which makes it where this process may not.

    Raises:
        ValueError: the kernel refuses an option; with its words.
        VeryTmpUnavailable: anything else.
    """
    spec = spec.replace(directory=impossible_name(), token=new_token())
    caller = Caller()
    before: list[Refusal] = []
    for strategy in strategies(spec, helper):
        try:
            mounted = strategy(spec, caller)
        except Unanswered as unanswered:  # another strategy will do, or say what is wrong
            before = unanswered.refusals
        except Refused as refused:
            step, number, text = refused.refusals[-1]
            # What `enter` has given up is needed here.
            if entered_client is not None and (step, number) == ("uid_map", errno.EPERM):
                remedy = "Run as an ordinary user; or make this root before verytmp.enter()."
                raise VeryTmpUnavailable(number, step, text, remedy, "capability") from None
            raise explained([*before, *refused.refusals], spec, caller) from None
        else:
            if mounted is not None:
                return mounted
    raise AssertionError("a child mounts, or is refused")


def strategies(spec: MountSpec, helper: HelperClient | None) -> Iterator[_Strategy]:
    """In order. Each returns None where it is not for this process, and raises `Refused` where the kernel refuses."""
    if spec.at:
        if entered_client is not None and not spec.host_read_only:
            yield partial(by_entered, entered_client)
    else:
        if helper is None or not helper.use_helper:
            yield directly
        if helper is not None:
            helper.use_helper = True  # from now on: asking the kernel again takes longer than asking the helper
            yield partial(by_helper, helper)
    yield by_child


def directly(spec: MountSpec, caller: Caller) -> Mounted | None:
    """In this process, where it may."""
    if caller.filtered:  # an unknown call may end this very process, so a child has to try it
        return None
    log = CallLog()

    def make() -> Mounted:
        fds, call = tmpfs.make_tmpfs(spec, log, private=False)
        return Mounted(tuple(map(owner, fds)), f"directly, by {call}(2)", Mounter(), spec)

    try:
        return without_interrupts(make, caller)
    except OSError as error:
        if error.errno == errno.EPERM or tmpfs.is_unsupported(log.now, error.errno):
            return None
        raise Refused(log.refused(error)) from None


def is_taken(refused: Refused) -> bool:
    """Whether a root gets a namespace of its own, for another root has its name in the one that was entered.

    Not after `enter`, which promises that its name is seen by this process. A run of pytest has entered one by itself:
    its tests, and the workers of pytest-xdist, may well have roots of one name at the same time.
    """
    return refused.refusals[-1][:2] == ("at", errno.EBUSY) and not options.default_at


def by_entered(helper: EnteredClient, spec: MountSpec, caller: Caller) -> Mounted | None:
    """By the helper in the namespace that this process has entered: no other strategy can mount there."""
    try:
        reply = without_interrupts(lambda: helper.make(Request(NAMED, spec.encode()), caller), caller)
    except Unanswered as ended:
        [(step, number, text)] = ended.refusals
        remedy = "Restart this program; or make roots without a name: VeryTmpRoot(at=False)."
        raise VeryTmpUnavailable(number, step, text, remedy, "child") from None
    except Refused as refused:
        if is_taken(refused):
            return None
        raise
    how = f"in the namespace that this process has entered, by {reply.how}(2)"
    return Mounted(reply.fds, how, Mounter(in_entered=True), spec)


def by_helper(helper: HelperClient, spec: MountSpec, _: Caller) -> Mounted:
    """By a factory's helper, which gives roots that are made in advance tokens of their own."""
    made, reply, namespace = helper.make(spec.replace(token=""))
    return Mounted(reply.fds, f"via a helper process, by {reply.how}(2)", Mounter(namespace, helper), made)


def by_child(spec: MountSpec, caller: Caller) -> Mounted:
    """By a child for this one root."""
    operation, count = (NAMED, NAMED_FDS) if spec.at else (TMPFS, TMPFS_FDS)
    namespace = current()
    request = Request(operation, spec.encode(), namespace.fds() if namespace else ())
    try:
        reply = without_interrupts(lambda: child.perform(request, caller), caller)
        namespace = made_in(namespace, reply.fds[count:])
        kind = "forked" if child.should_fork(caller) else "fresh"
        return Mounted(reply.fds[:count], f"via a {kind} child, by {reply.how}(2)", Mounter(namespace), spec)
    finally:
        del namespace  # a refusal's traceback keeps this frame


def impossible_name() -> str:
    """The name of the directory above the root: that of a file of the host's, as ``dev/null``.

    The kernel prints paths in a detached mount from the mount's own root on, as if that was "/". Code that
    canonicalises such a path, and opens what it gets, ends up at ``/dev/null/<token>`` on the host, where nothing can
    be: ENOTDIR.
    """
    for path in FILES:
        try:
            if not S_ISDIR(os.stat(path).st_mode):
                return path.strip("/")
        except OSError:
            pass
    reason = f"no file is there whose name a root could take: none of {', '.join(FILES)}"
    remedy = "Mount /proc in this chroot, and make /dev/null."  # without /proc, there is no root either
    raise VeryTmpUnavailable(errno.ENOENT, "/dev/null", reason, remedy, "proc")
