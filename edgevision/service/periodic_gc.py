"""Python's search for objects that only refer to one another, in programs that run for months; and free memory."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable

EVERY_S = 30.0


class PeriodicGc:
    """Has a full search made every half minute, by whoever calls `collect_if_due` often.

    Left to itself Python makes one when a quarter as many objects have come as there are, which with an engine's
    libraries loaded is every few hours: it then stops all threads for 50 ms and more, and until then what libraries
    leave behind piles up (urllib3 leaves some 60 objects that refer to one another at each attempt to reach a server
    that is down), and so do the lists of freed tuples that only a full search empties. What is there at the start, and
    what was loaded until the first search, is left out of later ones, which take a few milliseconds then.

    After each search the C library's free pages go back to the system. glibc keeps memory in a heap for each of a few
    threads, returns only what lies at a heap's end, and threads that come and go with their cameras leave it in pieces.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Leave out of searches what the program holds now: it should be set up."""
        self._clock = clock
        self._settled = False
        self._trim = _malloc_trim()
        self._next_s = clock() + EVERY_S
        gc.collect()
        gc.freeze()

    def collect_if_due(self) -> None:
        """Search if it is time to."""
        now_s = self._clock()
        if now_s >= self._next_s:
            self._next_s = now_s + EVERY_S
            gc.collect()
            if not self._settled:  # trackers load their libraries with the first frames
                gc.freeze()
                self._settled = True
            self._trim(0)

    def close(self) -> None:
        """Let Python search through everything again, as it does by itself."""
        gc.unfreeze()


def _malloc_trim() -> Callable[[int], object]:
    """glibc's; other C libraries have none. Other threads go on while it works."""
    try:
        trim: Callable[[int], object] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return lambda _: None
    return trim
