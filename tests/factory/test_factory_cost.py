"""What a factory's roots cost."""

from __future__ import annotations

import contextlib
import os
import resource
import statistics
import time
from pathlib import Path

import pytest
from support import host_state
from support.factories import by_helper, helpers

from verytmp import VeryTmpFactory


def resident_memory(process: str) -> int:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.slow
def test_two_thousand_roots_cost_no_more() -> None:
    def make() -> None:
        factory = VeryTmpFactory(size="1m")
        sizes = []
        for number in range(2000):
            with contextlib.suppress(ValueError):
                factory(huge="nonsense" if number % 10 == 0 else None).close()
            if number in (200, 1999):
                [helper] = helpers()
                sizes.append((resident_memory(helper), resident_memory("self"), len(host_state.descriptors())))
                deadline = time.monotonic() + 10
                while len(os.listdir(f"/proc/{helper}/fd")) > 7:  # it may be making some that nobody waits for
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
        (helper_before, owner_before, before), (helper_after, owner_after, after) = sizes
        assert helper_after - helper_before < 1 << 20
        assert owner_after - owner_before < 2 << 20
        assert after == before

    by_helper(make)


@pytest.mark.slow
def test_the_callers_memory_costs_nothing() -> None:
    """A fork would take 40 ms for each GiB."""

    def make() -> tuple[float, float]:
        medians = []
        heap = bytearray()
        for size in (0, 1 << 30):
            heap = bytearray(b"\1") * size
            factory = VeryTmpFactory(size="1m")
            factory()
            times = []
            for _ in range(101):
                start = time.perf_counter()
                root = factory()
                times.append(time.perf_counter() - start)
                root.close()
            medians.append(statistics.median(times))
        assert len(heap) == 1 << 30
        return medians[0], medians[1]

    without, with_heap = by_helper(make)
    assert with_heap < max(3 * without, 0.005)
