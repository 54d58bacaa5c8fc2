"""Trees on their way to another process of multiprocessing's: the descriptor is duplicated there."""

from __future__ import annotations

import os
from multiprocessing.reduction import DupFd

from ._owner import owner
from ._spare import Spare, shared

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._tree import Tree


def send(tree: Tree) -> tuple[Any, ...]:
    """What its pickle is to hold."""
    tree.check_open()
    return receive, (type(tree), DupFd(tree.fd))


def receive(kind: type[Tree], sent: Any) -> Tree:
    """The tree that was sent; the one that is here already, if it is of the same directory."""
    descriptor = sent.detach()
    sent_one = os.fstat(descriptor)  # nobody else's while we hold it
    for tree in list(Spare.trees):
        if tree.fd >= 0 and os.path.samestat(os.fstat(tree.fd), sent_one):
            os.close(descriptor)
            return tree
    os.set_inheritable(descriptor, False)
    return kind(owner(descriptor), shared())
