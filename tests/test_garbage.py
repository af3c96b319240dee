"""What is there once a program is set up is not searched again; what comes later is."""

from __future__ import annotations

import gc
import weakref

from edgevision.garbage import spare_what_is_there


class Knot:
    """Refers to itself."""

    def __init__(self) -> None:
        self.itself = self


def test_searches_are_short_and_find_what_came_later() -> None:
    before = len(gc.get_objects())
    try:
        spare_what_is_there()
        assert gc.get_freeze_count() > 0.9 * before
        assert len(gc.get_objects()) < 0.1 * before
        later = weakref.ref(Knot())
        assert later() is not None
        gc.collect()
        assert later() is None
    finally:
        gc.unfreeze()
    assert len(gc.get_objects()) > 0.9 * before
