"""Objects that exist after start-up are frozen; later ones are collected periodically."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from edgevision.service.periodic_gc import EVERY_S, PeriodicGc


class Knot:
    """Refers to itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_existing_objects_are_frozen() -> None:
    gc.collect()  # what other tests left is not frozen, but freed
    before = len(gc.get_objects())
    PeriodicGc()
    assert gc.get_freeze_count() > 0.9 * before
    assert len(gc.get_objects()) < 0.1 * before


def test_in_the_end_everything_is_searched_again() -> None:
    search = PeriodicGc()
    assert gc.get_freeze_count() > 0
    search.close()
    assert gc.get_freeze_count() == 0


def test_objects_of_the_first_frames_are_frozen_with_the_first_collection() -> None:
    now_s = [100.0]
    search = PeriodicGc(lambda: now_s[0])
    loaded = [[number] for number in range(20_000)]
    now_s[0] += EVERY_S
    search.collect_if_due()
    assert len(gc.get_objects()) < 10_000
    loaded += [[number] for number in range(20_000)]
    now_s[0] += EVERY_S
    search.collect_if_due()
    assert len(gc.get_objects()) >= 20_000


def test_later_garbage_is_collected_when_due() -> None:
    now_s = [100.0]
    search = PeriodicGc(lambda: now_s[0])
    gc.disable()
    try:
        later = weakref.ref(Knot())
        search.collect_if_due()
        assert later() is not None
        now_s[0] += EVERY_S
        search.collect_if_due()
        assert later() is None
        again = weakref.ref(Knot())
        search.collect_if_due()
        assert again() is not None
    finally:
        gc.enable()
