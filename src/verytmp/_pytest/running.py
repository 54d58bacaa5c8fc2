"""Which test is running, for what a session's fixtures do."""

from __future__ import annotations

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

RUNNING: pytest.StashKey[pytest.Item] = pytest.StashKey()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    item.config.stash[RUNNING] = item
    try:
        return (yield)
    finally:
        del item.config.stash[RUNNING]


def is_marked_real(config: pytest.Config) -> bool:
    """Whether the running test is marked to have directories on the host."""
    item = config.stash.get(RUNNING, None)
    return bool(item and item.get_closest_marker("real_tmp_path"))
