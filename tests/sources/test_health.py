"""Each outage and episode is counted once, with its duration."""

from __future__ import annotations

import pytest

from edgevision.sources.health import FrameCounts, HealthRecord, SourceHealth


class Clock:
    """A simulated clock."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_nothing_happened() -> None:
    assert SourceHealth().notes() == ()
    assert HealthRecord(Clock()).now(FrameCounts(3, 0, 2)) == SourceHealth(
        "connecting", lost=FrameCounts(3, 0, 2)
    )


def test_a_camera_that_does_not_answer_at_first_is_away_from_its_opening_on() -> None:
    clock = Clock()
    record = HealthRecord(clock)
    clock.now_s += 2
    assert record.lost("refused")
    clock.now_s += 1
    assert not record.lost("refused again")
    health = record.now()
    assert (health.state, health.outages, health.outage_s, health.failed_attempts) == (
        "connecting",
        1,
        3.0,
        1,
    )
    assert health.last_outage is not None
    assert health.last_outage.reason == "refused"
    record.good()
    assert (
        record.now().state,
        record.now().reconnects,
        record.now().outage_s,
    ) == ("connected", 1, 3.0)


def test_missed_frames_are_worth_a_word() -> None:
    assert SourceHealth(lost=FrameCounts(missed=4)).notes() == (
        "4 frames missed: gaps between the camera's timestamps",
    )


def test_an_outage_lasts_from_the_last_frame_to_the_next() -> None:
    clock = Clock()
    record = HealthRecord(clock)
    record.good()
    clock.now_s += 2  # the read time-out
    assert record.lost("no data within 2 s")
    clock.now_s += 3
    health = record.now()
    assert (health.state, health.outages, health.outage_s, health.reconnects) == ("reconnecting", 1, 5.0, 0)
    assert health.last_frame_age_s == 5
    clock.now_s += 1
    record.good()
    clock.now_s += 10
    health = record.now()
    assert (health.state, health.outages, health.outage_s, health.reconnects) == ("connected", 1, 6.0, 1)
    assert health.last_outage is not None
    assert (health.last_outage.seconds, health.last_outage.reason) == (6.0, "no data within 2 s")
    assert health.notes() == ("1 outage of 6.0 s in all, last reason: no data within 2 s",)


def test_attempts_and_connections_without_a_frame_belong_to_the_outage() -> None:
    clock = Clock()
    record = HealthRecord(clock)
    record.good()
    assert record.lost("reset")
    for _ in range(3):
        clock.now_s += 1
        assert not record.lost("refused")
    record.good()
    health = record.now()
    assert (health.outages, health.failed_attempts, health.outage_s) == (1, 3, 3.0)
    assert health.last_outage is not None
    assert health.last_outage.reason == "reset"
    assert record.lost("again")
    assert record.now().notes()[0].startswith("2 outages of 3.0 s in all, last reason: again")


def test_episodes_are_counted_apart_from_frames() -> None:
    record = HealthRecord(Clock())
    record.good()
    assert [record.faulty("frozen"), record.faulty("damaged"), record.faulty("frozen")] == [
        True,
        False,
        False,
    ]
    assert record.now().state == "frozen"
    record.good()
    assert record.faulty("frozen")
    assert record.faulty("black")
    health = record.now()
    assert (health.frozen_frames, health.frozen_episodes, health.black_frames, health.black_episodes) == (
        3,
        2,
        1,
        1,
    )
    assert (health.damaged_frames, health.withheld, health.state) == (1, 5, "black")
    assert health.notes() == (
        "3 frozen frames withheld, 2 times",
        "1 black frames withheld, 1 time",
        "1 damaged frames withheld",
    )


def test_a_camera_that_comes_back_frozen_is_back_and_frozen_and_of_no_age() -> None:
    clock = Clock()
    record = HealthRecord(clock)
    record.good()
    record.lost("reset")
    clock.now_s += 4
    record.faulty("frozen")
    clock.now_s += 4
    health = record.now()
    assert (health.state, health.outage_s, health.reconnects) == ("frozen", 4.0, 1)
    assert health.last_frame_age_s == pytest.approx(8.0)
