"""Garbage between a process and its mounting child: whatever either says, the other answers, and keeps nothing."""

from __future__ import annotations

import array
import errno
import os
import socket
from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from support import host_state, kernel
from support.children import in_child

from verytmp import VeryTmpError
from verytmp._mounting import child, child_process, protocol, strategy
from verytmp._mounting.child import Child, Refused
from verytmp._mounting.signals import SignalsHeld

pytestmark = pytest.mark.slow

FEW = 600

targets = st.sampled_from(
    ["step", "done", "refused", "tmpfs", "fsopen", "unshare", "", "0", "1", "22", "28", "-1", "99999999999999999999"]
)
texts = st.one_of(targets, st.text(st.characters(exclude_categories=[]), max_size=20), st.integers().map(str))
sensible = st.lists(texts, max_size=8).map(lambda fields: "\0".join(fields).encode("utf-8", "surrogatepass"))
refusals = st.lists(
    st.tuples(texts, st.one_of(st.integers().map(str), targets), st.sampled_from(["", "words"])), min_size=1, max_size=3
).map(lambda triples: "\0".join(["refused", *(text for triple in triples for text in triple)]))
refusing = refusals.map(lambda message: message.encode("utf-8", "surrogatepass"))
mutated = st.tuples(st.one_of(sensible, refusing), st.integers(0, 40), st.binary(max_size=3)).map(
    lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] :]
)
messages = st.one_of(sensible, refusing, mutated, st.binary(max_size=200), st.just(b"done\0fsopen"))


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


def hear(said: list[Said]) -> tuple[list[int], str]:
    """What a parent makes of a child that has said all this, and is gone."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            for message, descriptors in said:
                rights = array.array("i", [theirs.fileno()] * descriptors)
                theirs.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if descriptors else [])
        with SignalsHeld() as signals:
            return child.hear(ours, Child(0), 1, signals)


def test_a_parent_that_hears_garbage(count: int, record_property: Callable[[str, object], None]) -> None:
    """It has one descriptor and one name, or refusals of which an error can be made; and no descriptor besides."""
    answers = refused = 0
    before = host_state.descriptors()

    @fuzz(count)
    @seed(count)
    @given(conversations)
    def example(said: list[Said]) -> None:
        nonlocal answers, refused
        try:
            descriptors, how = hear(said)
        except Refused as refusal:
            refused += 1
            error = strategy.explained(refusal.refusals, ["mode=700"])
            assert isinstance(error, ValueError | VeryTmpError)
            assert str(error)
        else:
            answers += 1
            assert isinstance(how, str)
            [descriptor] = descriptors
            assert not os.get_inheritable(descriptor)
            os.close(descriptor)
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
        @given(st.one_of(messages, sensible.map(lambda message: b"tmpfs\0" + message)), st.sampled_from([0, 3]))
        def example(message: bytes, descriptors: int) -> None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with ours, theirs:
                rights = array.array("i", [ours.fileno()] * descriptors)
                ours.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if descriptors else [])
                pid = os.fork()
                if pid == 0:
                    ours.close()
                    os.dup2(os.open("/dev/null", os.O_WRONLY), 2)
                    child_process.main(theirs.fileno())
                theirs.close()
                try:
                    with SignalsHeld() as signals:
                        [descriptor], _ = child.hear(ours, Child(pid), 1, signals)
                    os.close(descriptor)
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
