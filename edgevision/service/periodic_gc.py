"""Periodic garbage collection and release of free memory, for programs that run for months."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable

EVERY_S = 30.0


class PeriodicGc:
    """Runs a full garbage collection every half minute; the caller calls `collect_if_due` often.

    By default Python runs a full collection once new objects reach a quarter of the existing ones. With an engine's
    libraries loaded, that takes hours. It then stops all threads for 60 to 100 ms. Until then, cyclic garbage of
    libraries accumulates: urllib3 leaves some 60 objects at each attempt to reach a server that is down. Free lists of
    tuples, which only a full collection empties, grow too. Objects that exist at the start or were loaded before the
    first collection are frozen. Later collections therefore take about half a millisecond.

    After each collection the C library returns free pages to the system. glibc keeps memory in a heap for each of a few
    threads and returns only the end of a heap. Threads that come and go with their cameras fragment these heaps.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Freeze the existing objects; the program should be set up already."""
        self._clock = clock
        self._settled = False
        self._trim = _malloc_trim()
        self._next_s = clock() + EVERY_S
        gc.collect()
        gc.freeze()

    def collect_if_due(self) -> None:
        """Collect if it is due."""
        now_s = self._clock()
        if now_s >= self._next_s:
            self._next_s = now_s + EVERY_S
            gc.collect()
            if not self._settled:  # trackers load their libraries with the first frames
                gc.freeze()
                self._settled = True
            self._trim(0)

    def close(self) -> None:
        """Unfreeze all objects, so that Python's own collections cover them again."""
        gc.unfreeze()


def _malloc_trim() -> Callable[[int], object]:
    """glibc's function, or a substitute with other C libraries. Other threads continue while it runs."""
    try:
        trim: Callable[[int], object] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return lambda _: None
    return trim
