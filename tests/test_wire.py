"""The wire format, without a socket or a namespace."""

from __future__ import annotations

import pytest

from verytmp._mounting import protocol


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


def test_refusals_come_back_as_they_went() -> None:
    refusals = [("fsopen", 38, "Function not implemented"), ("mount", 1, "")]
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


def test_a_refusal_fits_whatever_the_kernel_says() -> None:
    [(step, number, text)] = protocol.decode_refusals(
        protocol.decode(protocol.encode_refusals([("s", 1, "é\0" * 50000)]))[1]
    )
    assert (step, number) == ("s", 1)
    assert text.startswith("é é")


@pytest.mark.parametrize(
    "fields", [[], ["fsopen"], ["fsopen", "1"], ["fsopen", "x", "text"], ["a", "1", "b", "c"], ["a", "4096", "b"]]
)
def test_what_is_no_refusal_is_not_taken_for_one(fields: list[str]) -> None:
    with pytest.raises(ValueError):
        protocol.decode_refusals(fields)


@pytest.mark.parametrize("message", [b"", b"\0", b"\xff\xfe", b"step", b"refused\0", bytes(range(256))])
def test_any_bytes_can_be_judged(message: bytes) -> None:
    kind, fields = protocol.decode(message)
    assert isinstance(kind, str)
    assert all(isinstance(field, str) for field in fields)
