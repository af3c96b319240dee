"""A failing or hanging sink does not delay the pipeline."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

import pytest

from edgevision.errors import SinkError
from edgevision.sinks.background import BackgroundSink
from edgevision.sinks.frame_result import FrameResult
from edgevision.sinks.sink import BusyError, RefusedError, Sink, close_sinks
from edgevision.sources.backoff import Backoff
from tests.sinks.results import eventful, processed, wait_until

QUICK = Backoff(first_s=0.01, longest_s=0.02)


class Moody(Sink):
    """Raises `errors` one after another, waits for `gate`, and keeps what it could write."""

    def __init__(self, *errors: Exception, batch_size: int = 1) -> None:
        self.errors = list(errors)
        self.down: Exception | None = None
        """Raised each time while it is set."""
        self.gate = threading.Event()
        self.gate.set()
        self.batch_size = batch_size
        self.batches: list[list[FrameResult]] = []
        self.attempts = 0
        self.closed_by: list[str] = []

    @property
    def indices(self) -> list[int]:
        return [each.frame.index for batch in self.batches for each in batch]

    def write(self, processed: FrameResult) -> None:
        raise AssertionError("a background sink delivers")

    def deliver(self, batch: Sequence[FrameResult]) -> None:
        self.attempts += 1
        self.gate.wait(20)
        if self.errors:
            raise self.errors.pop(0)
        if self.down is not None:
            raise self.down
        self.batches.append(list(batch))
        self.written += len(batch)

    def close(self) -> None:
        self.closed_by.append(threading.current_thread().name)


def test_results_arrive_in_order_in_another_thread() -> None:
    inner = Moody()
    sink = BackgroundSink(inner)
    for number in range(100):
        sink.write(processed(number))
    assert wait_until(lambda: len(inner.indices) == 100)
    sink.close()
    sink.close()
    assert inner.indices == list(range(100))
    assert inner.closed_by == ["sink Moody"]
    health = sink.health
    assert (health.name, health.state, health.written, health.waiting, health.lost, health.last_error) == (
        "Moody",
        "working",
        100,
        0,
        0,
        None,
    )


def test_closing_writes_what_still_waits() -> None:
    inner = Moody()
    inner.gate.clear()
    sink = BackgroundSink(inner, close_s=20)
    for number in range(50):
        sink.write(processed(number))
    inner.gate.set()
    sink.close()
    assert inner.indices == list(range(50))


def test_a_sink_that_hangs_costs_the_oldest_results_and_no_time(caplog: pytest.LogCaptureFixture) -> None:
    inner = Moody()
    inner.gate.clear()
    sink = BackgroundSink(inner, capacity=10, close_s=0.1)
    sink.write(processed(0))
    assert wait_until(lambda: inner.attempts == 1)
    longest_s = 0.0
    for number in range(1, 500):
        began_s = time.perf_counter()
        sink.write(processed(number))
        longest_s = max(longest_s, time.perf_counter() - began_s)
    assert longest_s < 1
    health = sink.health
    assert (health.written, health.waiting, health.lost) == (0, 11, 489)
    began_s = time.perf_counter()
    sink.close()
    assert time.perf_counter() - began_s < 2
    assert sink.health.lost == 500
    assert inner.closed_by == []
    assert "Moody: 500 results were lost" in caplog.text
    inner.gate.set()
    assert wait_until(lambda: inner.closed_by), "its own thread closes it when it comes back"
    assert sink.health.lost == 500


def test_a_failed_write_is_retried_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    inner = Moody(*[SinkError("no route to host")] * 5)
    sink = BackgroundSink(inner, backoff=QUICK)
    sink.write(processed(1))
    sink.write(processed(2))
    assert wait_until(lambda: inner.indices == [1, 2])
    assert wait_until(lambda: sink.health.state == "working")
    assert inner.attempts == 7
    assert [record.message for record in caplog.records] == [
        "Moody: no route to host; queueing results while inference continues",
        "Moody works again; 0 results lost so far",
    ]
    health = sink.health
    assert (health.state, health.lost, health.last_error) == ("working", 0, "no route to host")
    sink.close()


def test_health_reports_a_failing_sink() -> None:
    inner = Moody()
    inner.down = SinkError("no route to host")
    sink = BackgroundSink(inner, capacity=3, backoff=QUICK)
    for number in range(10):
        sink.write(processed(number))
    assert wait_until(lambda: sink.health.state == "failing")
    health = sink.health
    assert health.written == 0
    assert health.waiting + health.lost == 10
    inner.down = None
    assert wait_until(lambda: sink.health.waiting == 0)
    assert inner.indices[-3:] == [7, 8, 9]
    sink.close()
    assert sink.health.lost + sink.health.written == 10


def test_a_batch_is_unchanged_until_it_is_written() -> None:
    inner = Moody(batch_size=4)
    inner.gate.clear()
    sink = BackgroundSink(inner, backoff=QUICK)
    sink.write(processed(0))
    assert wait_until(lambda: inner.attempts == 1)
    inner.errors = [SinkError("no"), SinkError("no")]
    for number in range(1, 10):
        sink.write(processed(number))
    inner.gate.set()
    assert wait_until(lambda: len(inner.indices) == 10)
    sink.close()
    assert [[each.frame.index for each in batch] for batch in inner.batches] == [
        [0],
        [1, 2, 3, 4],
        [5, 6, 7, 8],
        [9],
    ]


@pytest.mark.parametrize("error", [RefusedError("400"), ZeroDivisionError("a bug")])
def test_a_refused_result_is_lost_at_once(error: Exception) -> None:
    inner = Moody(error)
    sink = BackgroundSink(inner, backoff=Backoff(first_s=60, longest_s=60))
    sink.write(processed(1))
    sink.write(processed(2))
    assert wait_until(lambda: inner.indices == [2])
    assert sink.health.lost == 1
    assert sink.health.last_error in ("400", "ZeroDivisionError: a bug")
    sink.close()


def test_a_busy_receiver_gets_its_pause() -> None:
    inner = Moody(BusyError("429", 0.3))
    sink = BackgroundSink(inner, backoff=QUICK)
    began_s = time.monotonic()
    sink.write(processed(1))
    assert wait_until(lambda: inner.indices == [1])
    assert time.monotonic() - began_s >= 0.3
    sink.close()


def test_closing_ends_a_wait_with_one_last_attempt() -> None:
    inner = Moody(SinkError("away"))
    sink = BackgroundSink(inner, backoff=Backoff(first_s=300, longest_s=300, jitter=0))
    sink.write(processed(1))
    assert wait_until(lambda: sink.health.state == "failing")
    sink.close()
    assert inner.indices == [1]
    inner = Moody(SinkError("away"), SinkError("away"))
    sink = BackgroundSink(inner, backoff=Backoff(first_s=300, longest_s=300, jitter=0))
    sink.write(processed(1))
    assert wait_until(lambda: sink.health.state == "failing")
    sink.close()
    assert (inner.indices, sink.health.lost) == ([], 1)


def test_results_after_the_end_are_lost() -> None:
    sink = BackgroundSink(Moody())
    sink.close()
    sink.write(processed())
    assert sink.health.lost == 1


def test_an_image_is_kept_as_it_was() -> None:
    inner = Moody()
    sink = BackgroundSink(inner)
    done = eventful()
    sink.write(done)
    done.frame.image_bgr[:] = 0  # as a sink that draws might
    assert wait_until(lambda: inner.batches)
    sink.close()
    assert int(inner.batches[0][0].frame.image_bgr.mean()) == 90


def test_many_sinks_that_hang_are_closed_in_the_time_of_one() -> None:
    inners = [Moody() for _ in range(20)]
    sinks = [BackgroundSink(inner, close_s=0.3) for inner in inners]
    for inner, sink in zip(inners, sinks, strict=True):
        inner.gate.clear()
        sink.write(processed())
    assert wait_until(lambda: all(inner.attempts for inner in inners))
    began_s = time.perf_counter()
    close_sinks(sinks)
    assert time.perf_counter() - began_s < 3
    assert [sink.health.lost for sink in sinks] == [1] * 20
    for inner in inners:
        inner.gate.set()
    assert wait_until(lambda: all(inner.closed_by for inner in inners))


def test_all_are_closed_even_if_one_cannot_be() -> None:
    class Stubborn(Moody):
        def close(self) -> None:
            raise SinkError("no")

    others = [Moody(), Moody()]
    with pytest.raises(SinkError, match="no"):
        close_sinks([others[0], Stubborn(), others[1]])
    assert [len(other.closed_by) for other in others] == [1, 1]
