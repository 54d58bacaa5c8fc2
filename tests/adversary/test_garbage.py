"""Garbage between a process and its mounting child: whatever either says, the other answers, and keeps nothing."""

from __future__ import annotations

import array
import errno
import os
import socket
from collections.abc import Callable
from contextlib import closing
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from support import host_state, kernel
from support.children import in_child

from verytmp import VeryTmpError
from verytmp._mounting import child, child_process, protocol, refusals
from verytmp._mounting.channel import Channel
from verytmp._mounting.child import Child
from verytmp._mounting.protocol import Refused, Reply
from verytmp._mounting.signals import Caller
from verytmp._mounting.spec import MountSpec

pytestmark = pytest.mark.slow

FEW = 600
PLAIN = b"tmpfs\x000\0d/n\0t\x00448\0\0\0\0"  # the request for a root; options may follow

targets = st.sampled_from(
    ["step", "done", "refused", "tmpfs", "fsopen", "unshare", "", "0", "1", "22", "28", "-1", "99999999999999999999"]
)
texts = st.one_of(targets, st.text(st.characters(exclude_categories=[]), max_size=20), st.integers().map(str))
sensible = st.lists(texts, max_size=8).map(lambda fields: "\0".join(fields).encode("utf-8", "surrogatepass"))
refused_texts = st.lists(
    st.tuples(texts, st.one_of(st.integers().map(str), targets), st.sampled_from(["", "words"])), min_size=1, max_size=3
).map(lambda triples: "\0".join(["refused", *(text for triple in triples for text in triple)]))
refusing = refused_texts.map(lambda message: message.encode("utf-8", "surrogatepass"))
mutated = st.tuples(st.one_of(sensible, refusing), st.integers(0, 40), st.binary(max_size=3)).map(
    lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] :]
)
messages = st.one_of(sensible, refusing, mutated, st.binary(max_size=200), st.just(b"done\x001\0fsopen"))


class Said(NamedTuple):
    message: bytes
    descriptors: int


conversations = st.lists(st.builds(Said, messages, st.sampled_from([0, 0, 0, 1, 1, 2, 7, 8, 9, 60])), max_size=5)


def fuzz(count: int) -> settings:
    checks = list(HealthCheck)
    return settings(
        max_examples=count, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=checks
    )


@pytest.fixture
def count(pytestconfig: pytest.Config) -> int:
    return int(pytestconfig.getoption("--endurance") * 1000) or FEW


def hear(said: list[Said]) -> Reply:
    """What a parent makes of a child that has said all this, and is gone."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with closing(Channel(ours.detach())) as channel:
        with theirs:
            for message, descriptors in said:
                rights = array.array("i", [theirs.fileno()] * descriptors)
                theirs.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if descriptors else [])
        caller = Caller(threads=1)
        with caller.signals:
            return child.read_answer(channel, Child(0), caller)


def test_a_parent_that_hears_garbage(count: int, record_property: Callable[[str, object], None]) -> None:
    """It has a word and the descriptors that were announced, or refusals of which an error can be made."""
    answers = refused = 0
    before = host_state.descriptors()

    @fuzz(count)
    @seed(count)
    @given(conversations)
    def example(said: list[Said]) -> None:
        nonlocal answers, refused
        try:
            reply = hear(said)
        except Refused as refusal:
            refused += 1
            error = refusals.explained(refusal.refusals, MountSpec())
            assert isinstance(error, ValueError | VeryTmpError)
            assert str(error)
        else:
            answers += 1
            assert isinstance(reply.how, str)
            for fd in reply.fds:
                assert not os.get_inheritable(fd.fileno())
                fd.close()
        assert host_state.new_descriptors(before) == {}

    example()
    record_property("conversations of garbage", answers + refused)
    assert answers > 0
    assert refused > count / 3


def test_a_child_that_is_asked_for_garbage(count: int) -> None:
    """It refuses, or mounts; it always answers, and keeps no descriptor that it was sent."""

    def ask() -> list[str]:
        kernel.drop_capabilities(kernel.CAP_SYS_ADMIN)
        wrong: list[str] = []

        @fuzz(max(40, count // 40))
        @seed(count)
        @given(
            st.one_of(messages, sensible.map(lambda message: PLAIN + message)),
            st.sampled_from([0, 3]),
        )
        def example(message: bytes, descriptors: int) -> None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with closing(Channel(ours.detach())) as channel, theirs:
                rights = array.array("i", [channel.fileno()] * descriptors)
                channel.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if descriptors else [])
                pid = os.fork()
                if pid == 0:
                    channel.close()
                    os.dup2(os.open("/dev/null", os.O_WRONLY), 2)
                    child_process.main(theirs.fileno())
                theirs.close()
                try:
                    caller = Caller(threads=1)
                    with caller.signals:
                        reply = child.read_answer(channel, Child(pid), caller)
                    for fd in reply.fds:
                        fd.close()
                except Refused as refusal:
                    [*_, (_, number, text)] = refusal.refusals
                    if number == errno.ETIMEDOUT or not text:
                        wrong.append(f"{message!r}: {refusal.refusals}")
            try:
                os.waitpid(pid, 0)
            except ChildProcessError:
                pass

        before = host_state.descriptors()
        example()
        return wrong + [str(path) for path in host_state.new_descriptors(before).values()]

    assert in_child(ask) == []


@given(st.lists(texts, max_size=7))
@settings(max_examples=300, database=None, derandomize=True, phases=[Phase.generate])
def test_whatever_fits_comes_back(fields: list[str]) -> None:
    """Fields without NUL come back as they went, where the encoding can hold them; nothing else is sent."""
    try:
        message = protocol.encode("kind", *fields)
    except ValueError:  # UnicodeEncodeError too
        assert any("\0" in field or any("\ud800" <= character <= "\udfff" for character in field) for field in fields)
    else:
        assert protocol.decode(message) == ("kind", fields)
