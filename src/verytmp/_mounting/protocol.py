"""The messages between a process and the child, or helper, that mounts for it.

A message is one `SOCK_SEQPACKET` packet: fields apart by NUL, the first of them its kind. A request and a reply each
say how many descriptors travel with them, so that a full descriptor table is seen.

    tmpfs    COUNT SPEC...            the request: an operation, and what `MountSpec.encode` makes
    named    COUNT SPEC...            the same, for a root with a name
    reside   COUNT PID                the request to stay, for as long as that process lives, and to take others
    enter    COUNT                    the request to stay in a mount namespace that the asking process will enter
    named    COUNT SPEC...            to such a helper, with a socket to answer on, which is the root's lease too
    sync     COUNT                    to such a helper, with such a socket: have all that ended been unmounted?
    join     COUNT                    to such a helper, with such a socket: which namespace is it in?
    resize   COUNT 1 SETTING...       the request to change a mount, whose descriptor it brings
    freeze   COUNT N                  to make the file systems of N mounts read-only
    readonly COUNT N                  to mount it once more, read-only: `changes.read_only`
    clone    COUNT N SPEC...          to make a root of frozen layers, whose N descriptors it brings
    probe    COUNT NAME               the request to try something, which may end the child
    step     STEP                     the child is about to make this call
    done     COUNT HOW                it is done
    tried    (STEP ERRNO TEXT)...     a probe's outcomes: 0 for what is allowed
    refused  (STEP ERRNO TEXT)...     it is not done; the last refusal decided it

A request may bring the descriptor of a user namespace to enter, after all others. If the child made a new one instead,
the reply brings that one's, after all others too.

Nothing here makes sockets or namespaces, so that all of it is tested without either.
"""

from __future__ import annotations

import _socket
import errno
import os
from sys import byteorder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .._confined.owned_fd import OwnedFd
    from .._diagnosis.rules import Refusal

MESSAGE_BYTES = 16384  # four times the longest text that a file system context's log has been seen to hold

ERRNO_MAX = 4095  # the kernel's MAX_ERRNO

TMPFS, NAMED, RESIDE, PROBE = "tmpfs", "named", "reside", "probe"
ENTER, SYNC, JOIN = "enter", "sync", "join"
CHANGES = RESIZE, FREEZE, READ_ONLY, CLONE = "resize", "freeze", "readonly", "clone"
STEP, DONE, TRIED, REFUSED = "step", "done", "tried", "refused"

FDS_MAX = 253  # the kernel's SCM_MAX_FD: no message has more
INT_BYTES = 4  # sizeof(int): a descriptor in SCM_RIGHTS


class Refused(Exception):
    """The request was refused, or the process that was asked failed; the last refusal decided it."""

    def __init__(self, refusals: list[Refusal]) -> None:
        self.refusals = refusals


class Unanswered(Refused):
    """A helper ended, and did not say what for: another strategy may do better."""


class Request:
    """What a child or a helper is asked for.

    Attributes:
        operation: its name.
        fields: what it is about.
        fds: the descriptors that it takes along. They stay the sender's; the receiver has, and closes, its own.
    """

    __slots__ = ("fds", "fields", "operation")

    def __init__(self, operation: str, fields: Sequence[str] = (), fds: Sequence[int] = ()) -> None:
        self.operation, self.fields, self.fds = operation, fields, fds

    def encode(self) -> bytes:
        return encode(self.operation, str(len(self.fds)), *self.fields)


class Reply:
    """What was done.

    Attributes:
        how: a word on how it was done.
        fds: the owners of the descriptors that came with it.
        outcomes: of a probe, in the form of refusals.
    """

    __slots__ = ("fds", "how", "outcomes")

    def __init__(self, how: str = "", fds: tuple[OwnedFd, ...] = (), outcomes: Sequence[Refusal] = ()) -> None:
        self.how, self.fds, self.outcomes = how, fds, outcomes


class CallLog:
    """The call that is being made, and those that were refused on the way to it."""

    __slots__ = ("now", "refusals")

    def __init__(self) -> None:
        self.now = ""
        self.refusals: list[Refusal] = []

    def __call__(self, step: str) -> None:
        self.now = step

    def refused(self, error: OSError) -> list[Refusal]:
        """All refusals, with this one of the call that was being made."""
        number = error.errno or 0
        self.refusals.append((self.now, number, error.strerror or os.strerror(number)))
        return self.refusals

    def outcome(self, step: str, call: Callable[..., object], *args: object) -> Refusal:
        """Try something: its name, and 0 or how it was refused."""
        self(step)
        try:
            call(*args)
        except OSError as error:
            return step, error.errno or 0, error.strerror or ""
        return step, 0, ""


def encode(kind: str, *fields: str) -> bytes:
    """A message. `ValueError` where it would be read as another one, or is too long for one packet."""
    if any("\0" in field for field in fields):
        raise ValueError("embedded null byte")
    message = "\0".join((kind, *fields)).encode("utf-8", "surrogateescape")
    if len(message) > MESSAGE_BYTES:
        raise ValueError(f"{len(message)} bytes of options are more than the {MESSAGE_BYTES} that can be passed on")
    return message


def decode(message: bytes) -> tuple[str, list[str]]:
    """The kind of a message and its fields; whatever the bytes are, this gives something to judge."""
    kind, *fields = message.decode("utf-8", "surrogateescape").split("\0")
    return kind, fields


def encode_done(how: str, fds: Sequence[int]) -> bytes:
    return encode(DONE, str(len(fds)), how)


def encode_refusals(refusals: Sequence[Refusal], kind: str = REFUSED) -> bytes:
    fields = (field for step, number, text in refusals for field in (step, str(number), text[:1000].replace("\0", " ")))
    return encode(kind, *fields)


def decode_refusals(fields: Sequence[str]) -> list[Refusal]:
    """`ValueError` where the fields are no refusals."""
    if not fields or len(fields) % 3:
        raise ValueError(f"{len(fields)} fields are no refusals")
    refusals = [(fields[at], int(fields[at + 1]), fields[at + 2]) for at in range(0, len(fields), 3)]
    if not all(0 <= number <= ERRNO_MAX for _, number, _ in refusals):
        raise ValueError("there is an errno that is none")
    return refusals


def fd_count(field: str) -> int:
    """How many descriptors a message says that it brings. `ValueError` if it is no such number."""
    if field.isascii() and field.isdecimal() and int(field) <= FDS_MAX:
        return int(field)
    raise ValueError(f"{field[:20]!r} is no number of descriptors")


def own_fds(request: Request) -> int:
    """How many of a request's descriptors are what it is about: all but that of a user namespace."""
    return fd_count(request.fields[0]) if request.operation in CHANGES else 0


def rights(fds: Sequence[int]) -> list[tuple[int, int, bytes]]:
    """Descriptors as sendmsg(2) wants them."""
    data = b"".join(fd.to_bytes(INT_BYTES, byteorder) for fd in fds)
    return [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, data)] if fds else []


def unpack(data: bytes) -> list[int]:
    """C's ints; a last one that was cut off is none."""
    whole = range(0, len(data) - INT_BYTES + 1, INT_BYTES)
    return [int.from_bytes(data[at : at + INT_BYTES], byteorder) for at in whole]


def receive(connection: _socket.socket) -> Request | None:
    """In a child: the next request; None if there will be none. The descriptors are the caller's to close.

    Raises:
        ValueError: it is no request.
        OSError: EMFILE, if this process may not have so many descriptors.
    """
    message, ancillary, _, _ = connection.recvmsg(
        MESSAGE_BYTES, _socket.CMSG_SPACE(FDS_MAX * INT_BYTES), _socket.MSG_CMSG_CLOEXEC
    )
    fds: list[int] = []
    for level, kind, data in ancillary:
        if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
            fds += unpack(data)
    if not message:
        return None
    try:
        operation, fields = decode(message)
        count = fd_count(fields[0] if fields else "")
        if len(fds) < count:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))  # which recvmsg itself does not say
        if len(fds) > count:
            raise ValueError(f"{len(fds)} descriptors came where {count} were announced")
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise
    return Request(operation, fields[1:], fds)
