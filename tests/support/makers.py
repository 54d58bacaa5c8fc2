"""Each way in which a root is made, and changed later: here, via a child, via a helper, in an entered namespace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import verytmp
from support import kernel
from support.children import in_child
from support.factories import by_helper
from verytmp import VeryTmpFactory, VeryTmpRoot

Body = Callable[[Callable[..., VeryTmpRoot]], Any]

WAYS = ("here", "child", "helper", "entered")


def made(way: str, body: Body) -> Any:
    """What *body* returns, which gets what makes roots this way; its errors come from a child too."""
    if way == "here":
        return body(VeryTmpRoot)
    if way == "helper":
        return by_helper(with_factory, body)
    return in_child(unprivileged if way == "child" else entered, body)


def with_factory(body: Body) -> Any:
    with VeryTmpFactory() as factory:
        return body(factory)


def unprivileged(body: Body) -> Any:
    kernel.drop_capabilities(kernel.CAP_SYS_ADMIN)
    return body(VeryTmpRoot)


def entered(body: Body) -> Any:
    verytmp.enter()
    return body(VeryTmpRoot)
