"""The words between a process and the child that mounts for it.

A message is one `SOCK_SEQPACKET` packet: fields apart by NUL, the first of them its kind.

    tmpfs    OPTION...                      the request: an operation, options as mount(8) spells them
    named    OPTION...                      the same, for a root with a name: ``at=/work``, ``host=ro``
    reside   PID                            the request to stay, for as long as that process lives, and to take others
    enter                                   the request to stay in a namespace that the asking process will enter
    named    OPTION...                      to such a helper, with a socket to answer on, which is the root's lease too
    sync                                    to such a helper, with such a socket: have all that ended been unmounted?
    step     STEP                           the child is about to make this call
    done     HOW                            it is done; the descriptors travel with it
    refused  (STEP ERRNO TEXT)...           it is not; the last refusal decided it

Nothing here knows of sockets or namespaces, so that all of it is tested without either.
"""

from __future__ import annotations

from sys import byteorder

MESSAGE_BYTES = 16384  # four times the longest text that a file system context's log has been seen to hold

ERRNO_MAX = 4095  # the kernel's MAX_ERRNO

Refusal = tuple[str, int, str]  # the step, its errno, what the kernel said

RESIDE = "reside"
NAMED = "named"
ENTER, SYNC = "enter", "sync"
STEP, DONE, REFUSED = "step", "done", "refused"

ROOT_FDS = 2  # that come with a root: of the directory above it, and of its mount
NAMED_FDS = 3  # and with one that has a name: of its mount namespace too
ENTER_FDS = 1  # and with a namespace to be entered: its own
RESIDE_FDS = 1  # and with a resident helper: what tells that it has ended

INT_BYTES = 4  # sizeof(int): a descriptor in SCM_RIGHTS


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


def encode_refusals(refusals: list[Refusal]) -> bytes:
    fields = (field for step, number, text in refusals for field in (step, str(number), text[:1000].replace("\0", " ")))
    return encode(REFUSED, *fields)


def decode_refusals(fields: list[str]) -> list[Refusal]:
    """`ValueError` where the fields are no refusals."""
    if not fields or len(fields) % 3:
        raise ValueError(f"{len(fields)} fields are no refusals")
    refusals = [(fields[at], int(fields[at + 1]), fields[at + 2]) for at in range(0, len(fields), 3)]
    if not all(0 <= number <= ERRNO_MAX for _, number, _ in refusals):
        raise ValueError("there is an errno that is none")
    return refusals


def pack(descriptors: list[int]) -> bytes:
    """Descriptors as SCM_RIGHTS wants them."""
    return b"".join(descriptor.to_bytes(INT_BYTES, byteorder) for descriptor in descriptors)


def unpack(data: bytes) -> list[int]:
    """The descriptors in SCM_RIGHTS; a last one that was cut off is none."""
    whole = range(0, len(data) - INT_BYTES + 1, INT_BYTES)
    return [int.from_bytes(data[at : at + INT_BYTES], byteorder) for at in whole]
