"""Batches in flight: their order, times and what becomes of them when a run ends."""

from __future__ import annotations

import numpy as np
import pytest

from edgevision.contract.results import Outputs
from edgevision.contract.session import Frames, Pending
from edgevision.errors import EngineError
from edgevision.pipeline.collector import FrameBatch
from edgevision.pipeline.in_flight import InFlight
from edgevision.pipeline.schedule import EngineSchedule
from tests.doubles import SIDE, BrightnessSession


class Queue(BrightnessSession):
    """Runs a batch when its result is wanted; the clock moves by 10 for each."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 100
        self.failing: set[int] = set()
        self.finished: list[int] = []

    def submit(self, frames: Frames) -> Pending:
        level = int(frames[0, 0, 0, 0])

        def finish() -> Outputs:
            self.now_ns += 10
            self.finished.append(level)
            if level in self.failing:
                raise EngineError("the engine broke")
            return self.infer(frames)

        return Pending(finish)


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Queue:
    session = Queue()
    monkeypatch.setattr("edgevision.pipeline.in_flight.time.perf_counter_ns", lambda: session.now_ns)
    return session


def batch_of(level: int) -> FrameBatch:
    batch = FrameBatch(np.full((1, SIDE, SIDE, 3), level, np.uint8))
    batch.rows = 1
    return batch


def test_a_call_counts_from_the_end_of_the_one_before(queue: Queue) -> None:
    pace = EngineSchedule(lambda: queue.now_ns)
    flights = InFlight(queue, pace)
    for level in (1, 2):
        pace.queued()
        flights.submit(batch_of(level))
    assert len(flights) == 2
    landed = [flights.land(), flights.land()]
    assert [round(float(batch.outputs[1][0, 0]) * 255) for batch in landed] == [1, 2], "oldest first"
    assert [batch.inference_ns for batch in landed] == [10, 10], "waiting for the other does not count"
    assert pace.expected_ns(1) == 10
    assert pace.busy_s == 0
    assert not len(flights)


def test_the_engine_is_busy_while_any_batch_is_in_flight(queue: Queue) -> None:
    pace = EngineSchedule(lambda: queue.now_ns)
    flights = InFlight(queue, pace)
    for level in (1, 2):
        pace.queued()
        flights.submit(batch_of(level))
    flights.land()
    queue.now_ns += 5
    assert pace.busy_s == pytest.approx(5e-9)


def test_abandoned_batches_are_waited_for(queue: Queue) -> None:
    """The engine may still read their buffers."""
    flights = InFlight(queue, EngineSchedule())
    for level in (1, 2, 3):
        flights.submit(batch_of(level))
    queue.failing = {1, 2}
    with pytest.raises(EngineError, match="the engine broke"):
        flights.land()
    flights.abandon()
    assert queue.finished == [1, 2, 3]
    assert not len(flights)
