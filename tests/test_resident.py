"""The helper, seen from its owner, where it does what no helper of ours does."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support.factories import by_helper

from verytmp import VeryTmpFactory
from verytmp._confined.owned_fd import KeptFds, owner
from verytmp._mounting import child
from verytmp._mounting import helper as _resident
from verytmp._mounting.helper import Connection
from verytmp._mounting.protocol import Unanswered
from verytmp._mounting.spec import MountSpec

SPEC = MountSpec((("size", "1m"),), directory="dev/null")


@contextmanager
def helper() -> Iterator[tuple[Connection, socket.socket]]:
    """A connection, and its other end; what tells of the helper's end is a pipe, which stays silent."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    end, kept = os.pipe()
    connection = Connection(ours.detach(), KeptFds(owner(end)))
    with theirs:
        yield connection, theirs
    os.close(kept)
    connection.hang_up()
    connection._end.close()


def refused(connection: Connection) -> tuple[str, int, str]:
    with pytest.raises(Unanswered) as caught:
        connection.make(SPEC)
    [refusal] = caught.value.refusals
    return refusal


def test_nonsense_is_no_answer() -> None:
    with helper() as (connection, peer):
        peer.send(b"step\0fsopen")
        peer.send(b"banana")
        assert refused(connection) == ("fsopen", errno.EPROTO, "the helper said b'banana'")


def test_silence_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "ANSWER_PATIENCE", 0.05)
    with helper() as (connection, _):
        assert refused(connection) == ("start", errno.ETIMEDOUT, "the helper did not answer in 0.05 s")


def test_it_ends_before_what_was_asked_for_beforehand_has_come() -> None:
    with helper() as (connection, peer):
        connection._asked.append(SPEC)
        peer.close()
        assert refused(connection)[:2] == ("start", errno.ECONNRESET)


def test_one_that_does_not_end_is_killed_as_well_as_that_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no process here: nobody is killed, and nobody is waited for without an end."""
    monkeypatch.setattr(_resident, "END_PATIENCE", 0.05)
    with helper() as (connection, peer):
        connection.end()
        assert peer.recv(1) == b""
        assert connection.hang_up()


@pytest.mark.parametrize("closed", [(1,), (2,), (1, 2), (0, 1, 2)], ids=str)
def test_a_program_without_standard_streams(closed: tuple[int, ...]) -> None:
    """As daemons have none: its helper has some all the same, and stays."""

    def make() -> list[bool]:
        for stream in closed:
            os.close(stream)
        with VeryTmpFactory() as factory:
            return ["via a helper process" in repr(factory.root()) for _ in range(3)]

    assert by_helper(make) == [True, True, True]
