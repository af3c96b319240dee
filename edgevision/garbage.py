"""Python's search for objects that only refer to one another, in programs that run for months."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

EVERY_S = 30.0


class GarbageSearch:
    """Has a full search made every half minute, by whoever calls `now_and_then` often.

    Left to itself Python makes one when a quarter as many objects have come as there are, which with an engine's
    libraries loaded is every few hours: it then stops all threads for 50 ms and more, and until then what libraries
    leave behind piles up (urllib3 leaves some 60 objects that refer to one another at each attempt to reach a server
    that is down), and so do the lists of freed tuples that only a full search empties. What is there at the start, and
    what was loaded until the first search, is left out of later ones, which take a few milliseconds then.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Leave out of searches what the program holds now: it should be set up."""
        self._clock = clock
        self._settled = False
        self._next_s = clock() + EVERY_S
        gc.collect()
        gc.freeze()

    def now_and_then(self) -> None:
        """Search if it is time to."""
        now_s = self._clock()
        if now_s >= self._next_s:
            self._next_s = now_s + EVERY_S
            gc.collect()
            if not self._settled:  # trackers load their libraries with the first frames
                gc.freeze()
                self._settled = True
