"""Calls with and without a profile, in turns, so that other load affects both."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from edgevision.contract.session import Frames

WARM_UP = 3
"""Calls of each kind before the first one that counts."""

Call = Callable[[Frames], object]


def in_turns(
    profiled: Call, plain: Call, batches: Iterable[Frames], after: Callable[[], object] = lambda: None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Wall times in ms of both calls for each batch, without the first `WARM_UP`; `after` follows each profiled one.

    The order alternates.
    """
    times: tuple[list[float], list[float]] = ([], [])
    for number, frames in enumerate(batches):
        for which in (0, 1) if number % 2 else (1, 0):
            began_ns = time.perf_counter_ns()
            (profiled, plain)[which](frames)
            times[which].append((time.perf_counter_ns() - began_ns) / 1e6)
            if which == 0:
                after()
    return tuple(times[0][WARM_UP:]), tuple(times[1][WARM_UP:])
