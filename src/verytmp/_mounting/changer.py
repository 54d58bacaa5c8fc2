"""Who changes a root's mount, or makes a clone of it: this process where it may, else a helper or a child.

That has to be in the user namespace in which the root was made.
"""

from __future__ import annotations

import errno
from functools import partial

from .._confined.owned_fd import owner
from . import child, strategy
from .protocol import CLONE, FREEZE, READ_ONLY, RESIZE, CallLog, Refused, Reply, Request, Unanswered
from .signals import Caller, without_interrupts
from .spec import new_token
from .strategy import NAMED_FDS, TMPFS_FDS, Mounted, Mounter, impossible_name
from .user_namespace import made_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .._diagnosis.rules import Refusal
    from .helper import HelperClient
    from .spec import MountSpec

    _Strategy = Callable[[Request, Mounter, Caller], "tuple[Reply, str] | None"]


def resize(mounted: int, settings: Sequence[tuple[str, str]], mounter: Mounter) -> None:
    """Give a mount other limits. Raises `Refused`, as all of these do; with the kernel's words."""
    change(Request(RESIZE, ["1", *(f"{key}={value}" for key, value in settings)], [mounted]), mounter)


def freeze(mounts: Sequence[int], mounter: Mounter) -> None:
    """Make the file systems of these mounts read-only, for everybody, or none of them.

    EBUSY where a file in one is open to be written to.
    """
    change(Request(FREEZE, [str(len(mounts))], mounts), mounter)


def read_only(mounted: int, above: int, namespaces: Sequence[int], mounter: Mounter) -> tuple[Reply, str]:
    """Mount a root once more, read-only: the descriptors of the directory above it, and of the mount.

    *namespaces*: the mount namespace that the root has its name in, if that is not this process's.
    """
    fds = [mounted, above, *namespaces]
    return change(Request(READ_ONLY, [str(len(fds))], fds), mounter, "namespace" if namespaces else "")


def clone(spec: MountSpec, layers: Sequence[int], mounter: Mounter) -> Mounted:
    """Make a root that begins as these layers, the uppermost first."""
    spec = spec.replace(directory=impossible_name(), token=new_token())
    request = Request(CLONE, [str(len(layers)), *spec.encode()], layers)
    required = ""
    if spec.at:
        required = "entered" if strategy.entered_client is not None and not spec.host_read_only else "namespace"
    try:
        made: tuple[Reply, str] | None = change(request, mounter, required)
    except Refused as refused:
        if required != "entered" or not strategy.is_taken(refused):
            raise
        made = None
    if made is None:
        required = "namespace"
        made = change(request, mounter, required)
    reply, how = made
    count = NAMED_FDS + (required == "entered") if spec.at else TMPFS_FDS
    namespace = made_in(mounter.namespace, reply.fds[count:])
    later = Mounter(namespace, mounter.helper(), mounter.in_entered or required == "entered")
    return Mounted(reply.fds[:count], f"a clone by overlayfs, {how}", later, spec)


def change(request: Request, mounter: Mounter, required: str = "") -> tuple[Reply, str]:
    """What a request's reply brings, and a few words on who made it.

    *required*: ``"entered"`` where only the helper in the entered namespace can, ``"namespace"`` where it takes a mount
    namespace of its own, and so a child; else empty.
    """
    caller = Caller()
    before: list[Refusal] = []
    for each in strategies(mounter, required):
        try:
            done = each(request, mounter, caller)
        except Unanswered as unanswered:
            before = unanswered.refusals
        except Refused as refused:
            raise Refused([*before, *refused.refusals]) from None
        else:
            if done is not None:
                return done
    raise AssertionError("a child makes it, or is refused")


def strategies(mounter: Mounter, required: str) -> Iterator[_Strategy]:
    """In order. Each returns None where it is not for this process."""
    if not required:
        yield directly
    made_before = mounter.namespace is not None and mounter.namespace.entered
    client = strategy.entered_client
    if client is not None and required != "namespace" and (mounter.in_entered or made_before or required):
        yield partial(by_entered, client.make if required else client.change)
    helper = mounter.helper()
    if helper is not None and not helper.closed and not required:
        yield partial(by_helper, helper)
    if required != "entered":
        yield by_child


def directly(request: Request, _: Mounter, caller: Caller) -> tuple[Reply, str] | None:
    if caller.filtered:  # an unknown call may end this very process
        return None
    from . import changes

    log = CallLog()

    def make() -> tuple[Reply, str]:
        fds, call = changes.perform(request, log)
        return Reply(call, tuple(map(owner, fds))), f"directly, by {call}(2)"

    try:
        return without_interrupts(make, caller)
    except OSError as error:
        if error.errno == errno.EPERM:
            return None
        raise Refused(log.refused(error)) from None


def by_entered(
    call: Callable[[Request, Caller], Reply], request: Request, _: Mounter, caller: Caller
) -> tuple[Reply, str]:
    reply = without_interrupts(lambda: call(request, caller), caller)
    return reply, f"in the namespace that this process has entered, by {reply.how}(2)"


def by_helper(helper: HelperClient, request: Request, _: Mounter, __: Caller) -> tuple[Reply, str]:
    reply = helper.change(request)
    return reply, f"via a helper process, by {reply.how}(2)"


def by_child(request: Request, mounter: Mounter, caller: Caller) -> tuple[Reply, str]:
    namespace = mounter.namespace
    asked = Request(request.operation, request.fields, [*request.fds, *(namespace.fds() if namespace else ())])
    reply = without_interrupts(lambda: child.perform(asked, caller), caller)
    kind = "forked" if child.should_fork(caller) else "fresh"
    return reply, f"via a {kind} child, by {reply.how}(2)"
