"""Python's search for objects that only refer to one another, in programs that run for months."""

from __future__ import annotations

import gc


def spare_what_is_there() -> None:
    """Leave everything that the program holds now out of further searches; called once it is set up.

    A full search stops all threads while it visits every object, 50 ms and more with the libraries of an engine
    loaded, and is put off until a quarter as many new ones have come. Until then what libraries leave behind piles up:
    urllib3 leaves some 60 objects that refer to one another at each attempt to reach a server that is down. With what
    was loaded at the start left out, searches take a millisecond, and come often.
    """
    gc.collect()
    gc.freeze()
    gc.collect()  # counts what is left to search: the next search is put off by a quarter of that
