"""The fixture `verytmp_clone`: a test's own clone of a tree that is made once in a run."""

from __future__ import annotations

import warnings

import pytest

from .. import VeryTmpFallbackWarning
from .root_of_test import TestRoot
from .roots import HELD, item_of, marked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from .. import VeryTmpRoot
    from .roots import RunState

UNDEFINED = """verytmp: verytmp_clone is a clone of verytmp_template, which the suite defines, as in conftest.py:

    @pytest.fixture(scope="session")
    def verytmp_template(verytmp_factory):
        root = verytmp_factory.root()
        (root / "f.txt").write_text("in each test's clone")
        return root
"""


def hold(roots: RunState, request: pytest.FixtureRequest, template: VeryTmpRoot) -> TestRoot:
    """A clone for a test, with its markers' options. The first one freezes the template, where that can be."""
    item = item_of(request)
    options = marked(item)
    if template.kind == "shm":  # the header reports it
        warnings.simplefilter("ignore", VeryTmpFallbackWarning)  # pytest has each test's filters of its own
        options.setdefault("fallback", "shm")
    elif not template.frozen:
        template.freeze()
    held = TestRoot("verytmp_clone", template.clone(**options), roots.home)
    nothing: list[Any] = []
    item.stash.setdefault(HELD, nothing).append(held)
    return held


def undefined() -> NoReturn:
    """Have a test fail whose suite has no template."""
    pytest.fail(UNDEFINED, pytrace=False)
