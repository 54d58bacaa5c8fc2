"""Roots in /dev/shm, made in children that are refused what Docker's containers are."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest

from support import refusals, tripwire
from support.children import in_child
from verytmp import VeryTmpFallbackWarning, VeryTmpRoot, VeryTmpUnavailable

DEAD = "0123456789abcdef"  # a name that a root might have


def refused(function: Callable[[], Any]) -> Any:
    """Call it in a child where nobody makes a tmpfs, with the warning for granted."""

    def call() -> Any:
        tripwire.unwatch()  # before Python 3.13, whoever looks at frames keeps what their variables name
        refusals.docker()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", VeryTmpFallbackWarning)
            return function()

    return in_child(call)


def made() -> VeryTmpRoot:
    root = VeryTmpRoot(fallback="shm")
    assert root.kind == "shm"
    return root


def error() -> VeryTmpUnavailable:
    with pytest.raises(VeryTmpUnavailable) as caught:
        made()
    return caught.value
