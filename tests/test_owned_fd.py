"""Owners of descriptors: each closes its own, and never what another one has made of its number."""

from __future__ import annotations

import errno
import os
import resource
import sys
from collections.abc import Callable
from typing import Any

import pytest
from support import host_state, kernel
from support.children import HIGH, in_child

from verytmp._confined import owned_fd
from verytmp._confined.owned_fd import KeptFds, OwnedFd, call_owned, call_uninterrupted, owner, pipe, raised


def new() -> OwnedFd:
    return call_owned(os.memfd_create, "ours")


def is_open(*fds: int) -> list[bool]:
    return [owned_fd.identity(fd) is not None for fd in fds]


def replace(fd: int) -> None:
    """As a program that closes all descriptors, and opens files of its own."""
    with new() as other:
        os.dup2(other.fileno(), fd)


def test_a_call_returns_what_it_returns() -> None:
    assert call_uninterrupted(divmod, 7, 2) == (3, 1)


# -- numbers -----------------------------------------------------------------------------------------------------------


def test_the_standard_streams_are_left_to_others() -> None:
    def ask() -> list[int]:
        os.closerange(0, HIGH)
        fds = [new() for _ in range(4)]
        assert [fd.fileno() for fd in fds] == [0, 1, 2, 3]
        low = [raised(fd) for fd in fds]
        assert low[3] is fds[3]
        assert not any(map(os.get_inheritable, (fd.fileno() for fd in low)))
        ends = pipe()
        os.write(ends[1].fileno(), b"x")
        assert os.read(ends[0].fileno(), 1) == b"x"
        assert is_open(0, 1, 2) == [False] * 3
        return [fd.fileno() for fd in (*low, *ends)]

    assert in_child(ask) == [4, 5, 6, 3, 7, 8]


@pytest.mark.parametrize("full", [False, True])
def test_where_the_limit_allows_none_so_high(full: bool) -> None:
    def ask() -> bool | int | None:
        os.close(0)
        low, usual = new(), new()
        kernel.fill_descriptor_table(0 if full else 1)
        lowest = usual.fileno() + 1 if full else resource.getrlimit(resource.RLIMIT_NOFILE)[0]  # EMFILE, EINVAL
        assert raised(usual, lowest) is usual
        try:
            return raised(low, lowest).fileno() > 2
        except OSError as error:
            return error.errno

    assert in_child(ask) == (errno.EMFILE if full else True)


def test_one_that_is_not_open_cannot_be_raised() -> None:
    nothing = owner(1 << 20)  # more than a process may have: its owner closes no other file when it goes
    with pytest.raises(OSError) as caught:
        raised(nothing, nothing.fileno() + 1)
    assert caught.value.errno == errno.EBADF


# -- those that are kept -----------------------------------------------------------------------------------------------


def test_they_are_kept_and_closed_together() -> None:
    kept, other = KeptFds(new(), new()), KeptFds(new())
    first, second = kept.filenos
    assert kept.fileno() == first
    assert (kept.closed, other.closed, kept.are_ours()) == (False, False, True)
    with kept.duplicates()[0] as same:
        assert os.path.sameopenfile(same.fileno(), first)
        kept.close(other)
        assert is_open(first, second, other.filenos[0], same.fileno()) == [False, False, False, True]
    assert (kept.closed, other.closed, kept.are_ours()) == (True, True, False)
    with pytest.raises(ValueError, match="closed descriptor"):
        kept.fileno()
    before = len(owned_fd._foreign)
    kept.close()
    assert len(owned_fd._foreign) == before  # what is closed is kept nowhere


def test_they_go_with_their_object() -> None:
    kept = KeptFds(new(), new())
    fds = kept.filenos
    del kept
    assert is_open(*fds) == [False, False]


def test_an_object_that_goes_leaves_the_files_of_others_open() -> None:
    kept = KeptFds(new(), new())
    fds = kept.filenos
    replace(fds[1])
    del kept
    assert is_open(*fds) == [False, True]
    os.close(fds[1])


def close(kept: KeptFds) -> None:
    kept.close()


@pytest.mark.parametrize("end", [close, KeptFds.are_ours, id])
@pytest.mark.parametrize("theirs", [[0], [1], [0, 1]], ids=str)
def test_the_files_of_others_stay_open(theirs: list[int], end: Callable[[KeptFds], Any]) -> None:
    kept = KeptFds(new(), new())
    fds = kept.filenos
    for index in theirs:
        replace(fds[index])
    before = host_state.descriptors()
    with pytest.raises(OSError) as caught:  # which keeps its frames
        kept.duplicates()
    assert caught.value.errno == errno.EBADF
    assert host_state.descriptors() == before
    end(kept)
    assert not kept.are_ours()
    if theirs == [0, 1]:
        assert kept.closed
    del kept, caught
    assert is_open(*fds) == [index in theirs for index in range(2)]
    for index in theirs:
        os.close(fds[index])


def test_one_that_somebody_has_closed() -> None:
    kept = KeptFds(new(), new())
    os.close(kept.filenos[1])
    assert not kept.are_ours()
    with new() as other:  # it has the number now
        fds = kept.filenos
        assert other.fileno() == fds[1]
        kept.close()
        assert is_open(*fds) == [False, True]


def test_the_same_file_under_the_same_number_is_the_newer_one_s() -> None:
    with new() as file:
        old = KeptFds(call_owned(os.dup, file.fileno()))
        os.close(old.filenos[0])
        young = KeptFds(call_owned(os.dup, file.fileno()))
        assert (young.filenos, young.identities) == (old.filenos, old.identities)
        assert (old.are_ours(), young.are_ours()) == (False, True)
        old.close()
        del old
        assert is_open(*young.filenos) == [True]


def test_a_constructor_that_has_failed_leaves_nothing_to_do() -> None:
    def ask() -> list[object]:
        unraisable: list[object] = []
        sys.unraisablehook = unraisable.append
        os.close(0)
        low = new()
        kernel.fill_descriptor_table()
        with pytest.raises(OSError):
            KeptFds(low)
        return [*map(str, unraisable)]

    assert in_child(ask) == []
