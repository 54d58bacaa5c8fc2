"""The wire format, without a socket or a namespace."""

from __future__ import annotations

import os
import re
import socket
import sys
from contextlib import closing

import pytest
from support import host_state

from verytmp._mounting import protocol
from verytmp._mounting.channel import Channel
from verytmp._mounting.protocol import Request
from verytmp._mounting.spec import MountSpec


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("tmpfs", []),
        ("tmpfs", ["size=64m", "noexec"]),
        ("step", ["fsopen"]),
        ("done", [""]),
        ("x", ["é", "\udcff", "a=b=c"]),
    ],
)
def test_a_message_comes_back_as_it_went(kind: str, fields: list[str]) -> None:
    assert protocol.decode(protocol.encode(kind, *fields)) == (kind, fields)


@pytest.mark.parametrize(
    "spec",
    [
        MountSpec(),
        MountSpec((("size", "64m"), ("noswap", None), ("mpol", ""), ("x", "a=b,c")), ("noexec", "nosymfollow")),
        MountSpec(mode=0, uid=0, gid=65534, directory="dev/null", token="x7k2m9qa"),
    ],
    ids=["plain", "options", "named"],
)
def test_a_spec_comes_back_as_it_went(spec: MountSpec) -> None:
    request = protocol.decode(Request("tmpfs", spec.encode()).encode())
    assert request == ("tmpfs", ["0", *spec.encode()])
    back = MountSpec.decode(request[1][1:])
    assert [getattr(back, name) for name in MountSpec.__slots__] == [getattr(spec, n) for n in MountSpec.__slots__]
    assert back == spec
    assert back != spec.replace(token="another")


def test_a_spec_leaves_the_host_and_links_as_they_are_by_default() -> None:
    assert (MountSpec().host_read_only, MountSpec().name_nosymfollow) == (False, False)


def test_a_spec_names_what_was_asked_for() -> None:
    spec = MountSpec(at="/work", host_read_only=True, fstype="ramfs")
    assert spec.asked() == ["at=/work", "host=ro", "fstype=ramfs"]


def test_a_spec_is_frozen() -> None:
    with pytest.raises(AttributeError, match="cannot be changed"):
        MountSpec().mode = 0


@pytest.mark.parametrize("fields", [[], ["a"], ["d", "t", "x", "", "", ""], ["d", "t", "1", "x", "", ""]])
def test_what_is_no_spec_is_not_taken_for_one(fields: list[str]) -> None:
    with pytest.raises(ValueError):
        MountSpec.decode(fields)


def test_a_request_takes_descriptors_along() -> None:
    """They arrive under numbers of their own, close-on-exec; those that were not announced do not."""
    before = host_state.descriptors()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with closing(Channel(ours.detach())) as channel, theirs:
        channel.ask(Request("x", ["a"], [theirs.fileno(), 0]))
        request = protocol.receive(theirs)
        assert request is not None
        assert (request.operation, request.fields) == ("x", ["a"])
        assert os.path.samestat(os.fstat(request.fds[0]), os.fstat(theirs.fileno()))
        assert not any(map(os.get_inheritable, request.fds))
        for fd in request.fds:
            os.close(fd)
        for message, fds in ((b"x\x000", [0]), (b"x\x002", [0]), (b"x\x009", [0]), (b"x", [0]), (b"x\x00-1", [])):
            channel.sendmsg([message], protocol.rights(fds))
            with pytest.raises((ValueError, OSError)):
                protocol.receive(theirs)
        channel.shutdown(socket.SHUT_WR)
        assert protocol.receive(theirs) is None
    assert host_state.new_descriptors(before) == {}


def test_a_request_takes_as_many_as_a_message_may_have() -> None:
    """253: SCM_MAX_FD of unix(7)."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with closing(Channel(ours.detach())) as channel, theirs:
        channel.ask(Request("x", [], [0] * 253))
        request = protocol.receive(theirs)
        assert request is not None
        for fd in request.fds:
            os.close(fd)
        assert len(request.fds) == 253


@pytest.mark.parametrize("field", ["", "-1", "254", "x", "²", "٣", "1" * 30])
def test_what_is_no_number_of_descriptors_is_not_taken_for_one(field: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(repr(field[:20]))} is no number of descriptors"):
        protocol.fd_count(field)


def test_the_descriptors_that_a_request_is_about() -> None:
    """A change says how many they are; what makes a root has none."""
    assert protocol.own_fds(Request("clone", ["2", "1", "5"], [3, 4, 5])) == 2
    assert protocol.own_fds(Request("tmpfs", ["1", "2"], [3])) == 0


def test_descriptors_that_were_cut_off_are_none() -> None:
    data = b"".join(number.to_bytes(4, sys.byteorder) for number in (7, 8))
    assert [protocol.unpack(data[:length]) for length in (8, 7, 4, 3, 0)] == [[7, 8], [7], [7], [], []]


def test_refusals_come_back_as_they_went() -> None:
    refusals = [("fsopen", 38, "Function not implemented"), ("mount", 1, ""), ("noswap", 0, ""), ("setns", 4095, "")]
    kind, fields = protocol.decode(protocol.encode_refusals(refusals))
    assert kind == protocol.REFUSED
    assert protocol.decode_refusals(fields) == refusals


def test_a_field_cannot_become_two() -> None:
    with pytest.raises(ValueError, match="null byte"):
        protocol.encode("tmpfs", "size=1\0uid=0")


def test_a_message_that_no_packet_holds_is_refused() -> None:
    assert len(protocol.encode("tmpfs", "x" * (protocol.MESSAGE_BYTES - 6))) == protocol.MESSAGE_BYTES
    with pytest.raises(ValueError, match="more than the 16384"):
        protocol.encode("tmpfs", "x" * protocol.MESSAGE_BYTES)


def test_a_call_is_logged_before_it_is_made() -> None:
    log = protocol.CallLog()

    def refused() -> None:
        assert log.now == "mount"
        raise PermissionError(1, "no")

    assert log.outcome("umount2", int) == ("umount2", 0, "")
    assert log.outcome("mount", refused) == ("mount", 1, "no")
    assert log.refused(PermissionError(1, "no")) == [("mount", 1, "no")]
    assert log.refused(OSError(38, None)) == [("mount", 1, "no"), ("mount", 38, os.strerror(38))]
    assert log.refused(OSError("odd"))[2:] == [("mount", 0, os.strerror(0))]


def test_what_was_done_comes_with_the_number_of_its_descriptors() -> None:
    kind, fields = protocol.decode(protocol.encode_done("fsopen", [7, 8, 9]))
    assert (kind, fields) == (protocol.DONE, ["3", "fsopen"])


def test_a_refusal_fits_whatever_the_kernel_says() -> None:
    [(step, number, text)] = protocol.decode_refusals(
        protocol.decode(protocol.encode_refusals([("s", 1, "é\0" * 50000)]))[1]
    )
    assert (step, number) == ("s", 1)
    assert text == "é " * 500


@pytest.mark.parametrize(
    "fields",
    [
        [],
        ["fsopen"],
        ["fsopen", "1"],
        ["fsopen", "x", "text"],
        ["a", "1", "b", "c"],
        ["a", "4096", "b"],
        ["a", "-1", "b"],
    ],
)
def test_what_is_no_refusal_is_not_taken_for_one(fields: list[str]) -> None:
    with pytest.raises(ValueError):
        protocol.decode_refusals(fields)


@pytest.mark.parametrize("message", [b"", b"\0", b"\xff\xfe", b"step", b"refused\0", bytes(range(256))])
def test_any_bytes_can_be_judged(message: bytes) -> None:
    kind, fields = protocol.decode(message)
    assert isinstance(kind, str)
    assert all(isinstance(field, str) for field in fields)
