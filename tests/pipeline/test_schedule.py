"""When the engine is expected to be free."""

from __future__ import annotations

import threading
import time

from edgevision.pipeline.schedule import EngineSchedule

MS = 1_000_000


class Clock:
    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


def call(pace: EngineSchedule, clock: Clock, rows: int, took_ms: float) -> None:
    pace.queued()
    pace.began(rows)
    clock.now_ns += int(took_ms * MS)
    pace.ended()


def test_there_is_no_estimate_at_first() -> None:
    pace = EngineSchedule()
    assert (pace.expected_ns(1), pace.until_free_ns(), pace.busy_s) == (0, 0, 0.0)
    pace.wait_until_due()


def test_a_call_is_expected_to_take_the_median_of_those_of_its_size() -> None:
    clock = Clock()
    pace = EngineSchedule(clock)
    for took_ms in (30, 10, 20):
        call(pace, clock, 1, took_ms)
    call(pace, clock, 4, 70)
    assert pace.expected_ns(1) == 20 * MS
    assert pace.expected_ns() == pace.expected_ns(4) == 70 * MS
    assert pace.expected_ns(2) == 0


def test_old_calls_are_forgotten() -> None:
    clock = Clock()
    pace = EngineSchedule(clock)
    for took_ms in [100] * 20 + [10] * 15:
        call(pace, clock, 1, took_ms)
    assert pace.expected_ns(1) == 10 * MS


def test_what_is_left_of_a_call_falls_to_nothing_and_not_below() -> None:
    clock = Clock()
    pace = EngineSchedule(clock)
    call(pace, clock, 1, 100)
    pace.queued()
    pace.began(1)
    clock.now_ns += 30 * MS
    assert pace.until_free_ns() == 70 * MS
    assert pace.busy_s == 0.03
    clock.now_ns += 500 * MS
    assert pace.until_free_ns() == 0
    pace.ended()
    assert pace.busy_s == 0.0


def test_the_next_batch_is_due_when_the_call_is_about_to_end() -> None:
    pace = EngineSchedule()
    for _ in range(3):
        pace.queued()
        pace.began(1)
        time.sleep(0.1)
        pace.ended()
    pace.prepared(20 * MS)
    pace.queued()
    pace.began(1)
    began = time.perf_counter()
    pace.wait_until_due()
    # 100 ms less 1.25 x 20 ms of preparation; a loaded machine may wake late, but nothing wakes early.
    assert 0.07 <= time.perf_counter() - began < 0.5


def test_a_batch_that_waits_is_waited_for() -> None:
    pace = EngineSchedule()
    pace.queued()
    assert not pace.wait_until_taken(0.01)
    due = threading.Event()

    def wait() -> None:
        pace.wait_until_due()
        due.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert not due.wait(0.05)
    pace.began(1)
    assert due.wait(5)
    assert pace.wait_until_taken(0.01)
    waiting.join()


def test_a_withdrawn_batch_does_not_count_as_waiting() -> None:
    pace = EngineSchedule()
    pace.queued()
    pace.taken_back()
    pace.wait_until_due()


def test_closing_wakes_waiting_threads() -> None:
    pace = EngineSchedule()
    pace.queued()
    waiting = threading.Thread(target=pace.wait_until_due)
    waiting.start()
    pace.close()
    waiting.join(5)
    assert not waiting.is_alive()
