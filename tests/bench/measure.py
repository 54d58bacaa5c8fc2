"""Clocks. What is compared is measured in turn, in one process, so that what disturbs one disturbs the other."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

SAMPLE = 0.003  # seconds that one measurement takes at least: far more than the clock's own cost
COUNT_MAX = 100_000
ATTEMPTS = 3  # in each round, of which the best one counts: others on the machine only ever add

Clock = Callable[[], float]
WALL: Clock = time.perf_counter
# The thread's own time, in and out of the kernel: all there is of an operation in memory, and others do not add to it.
CPU: Clock = time.thread_time


class Result(NamedTuple):
    """Seconds for one call: the median, and how far apart the middle half of the rounds is, as a part of that."""

    median: float
    spread: float
    ratio: float  # how long the first of those that are compared takes, for each second of this one's


def compared(
    calls: Mapping[str, Callable[[], object]], rounds: int, once: bool = False, clock: Clock = CPU
) -> dict[str, Result]:
    """Measure calls in turn, the first one against each of them; with *once*, each is made once a round."""
    counts = {name: 1 if once else calibrated(call, clock) for name, call in calls.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for turn in range(rounds):
        for at in range(len(names)):
            name = names[(turn + at) % len(names)]
            attempts = range(1 if once else ATTEMPTS)
            times[name].append(min(timed(calls[name], counts[name], clock) for _ in attempts))
    return results(times)


def results(times: dict[str, list[float]]) -> dict[str, Result]:
    """What each one's rounds come to."""
    ours = next(iter(times.values()))
    return {
        name: Result(
            statistics.median(own), spread(own), statistics.median(a / b for a, b in zip(ours, own, strict=True))
        )
        for name, own in times.items()
    }


def calibrated(call: Callable[[], object], clock: Clock) -> int:
    """How many calls make a measurement."""
    count = 1
    while count < COUNT_MAX:
        taken = timed(call, count, clock)
        if taken * count > SAMPLE:
            break
        count = max(count * 2, min(COUNT_MAX, int(SAMPLE / max(taken, 1e-9))))
    return count


def timed(call: Callable[[], object], count: int, clock: Clock) -> float:
    """Seconds for one of so many calls. The garbage collector is off meanwhile."""
    repeat = [None] * count
    gc.disable()
    try:
        start = clock()
        for _ in repeat:
            call()
        return (clock() - start) / count
    finally:
        gc.enable()


def spread(times: list[float]) -> float:
    if len(times) < 4:
        return (max(times) - min(times)) / statistics.median(times)
    low, _, high = statistics.quantiles(times, n=4)
    return (high - low) / statistics.median(times)
