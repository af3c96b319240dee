"""Files read and prepared by several threads: every frame once, in order, with an end for every failure."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from edgevision.contract.results import Detections
from edgevision.contract.spec import BatchRange
from edgevision.errors import SinkError, SourceError
from edgevision.pipeline.options import PipelineOptions
from edgevision.pipeline.pipeline import run_streams
from edgevision.pipeline.streams import SourceStream
from edgevision.pipeline.workers import ReadAhead, Strand, Workers, worker_count
from edgevision.sinks.frame_result import FrameResult
from edgevision.sources.frames import SourceFrame
from tests.doubles import SIDE, BrightnessSession, ListSink, MemorySource, detector

FOUR = PipelineOptions(threshold=0.0, workers=4)


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    threads = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= threads


@pytest.fixture
def workers() -> Iterator[Workers]:
    made = Workers(3)
    yield made
    assert made.close(5)


class SlowFile(MemorySource):
    """Each frame takes a while in the thread that reads; `inside` never exceeds one."""

    def __init__(self, count: int, takes_s: float = 0.003) -> None:
        super().__init__(count)
        self.takes_s = takes_s
        self.threads: set[str] = set()
        self.inside = 0

    def read(self) -> SourceFrame | None:
        self.inside += 1
        assert self.inside == 1, "one thread at a time"
        time.sleep(self.takes_s)
        frame = super().read()
        self.threads.add(threading.current_thread().name)
        self.inside -= 1
        return frame


class EncodingSink(ListSink):
    """Draws, takes a while, and may run in a worker."""

    def __init__(self, takes_s: float = 0.0, fails_at: int | None = None) -> None:
        super().__init__(takes_s=takes_s, fails_at=fails_at, annotated=True)
        self.parallel = True


def levels(sink: ListSink) -> list[int]:
    found = []
    for seen in sink.seen:
        assert isinstance(seen.result, Detections)
        found.append(round(float(seen.result.scores[0]) * 255) if len(seen.result) else 0)
    return found


def test_auto_is_the_number_of_cores() -> None:
    assert worker_count("auto") >= 1
    assert worker_count(7) == 7


def test_tasks_run_in_at_most_so_many_threads(workers: Workers) -> None:
    inside, most, lock = [0], [0], threading.Lock()

    def task(number: int) -> int:
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        time.sleep(0.01)
        with lock:
            inside[0] -= 1
        return number

    futures = [workers.submit(lambda number=number: task(number)) for number in range(12)]  # type: ignore[misc]
    assert [future.result(5) for future in futures] == list(range(12))
    assert most == [3]


def test_a_task_that_waits_is_cancelled_at_the_end() -> None:
    workers, begun, release = Workers(1), threading.Event(), threading.Event()
    running = workers.submit(lambda: begun.set() or release.wait(5))  # type: ignore[func-returns-value]  # in order
    assert begun.wait(5)
    waiting = workers.submit(lambda: 1)
    assert not workers.close(0.01)
    assert waiting.cancelled()
    assert workers.submit(lambda: 1).cancelled()
    release.set()
    assert workers.close(5)
    assert running.result() is True


def test_a_strand_keeps_its_order_and_ends_with_a_failure(workers: Workers) -> None:
    strand, seen = Strand(workers), []

    def task(number: int) -> None:
        time.sleep(0.002 * (3 - number % 3))
        if number == 7:
            raise SinkError("broke")
        seen.append(number)

    futures = [strand.submit(lambda number=number: task(number)) for number in range(10)]  # type: ignore[misc]
    with pytest.raises(SinkError):
        futures[7].result(5)
    assert seen == list(range(7))
    for future in futures[8:]:
        with pytest.raises(BaseException, match="^$"):
            future.result(5)
    assert strand.submit(lambda: 1).cancelled()


def test_no_more_frames_are_read_in_advance_than_may_be(workers: Workers) -> None:
    source, allowed = MemorySource(None), [3]

    def may_read() -> bool:
        allowed[0] -= 1
        return allowed[0] >= 0

    ahead = ReadAhead(source, workers, may_read, 2)
    for index in range(6):
        frame = ahead.take()
        assert frame is not None
        assert frame.index == index
        time.sleep(0.005)
        assert source.given <= max(index + 3, 3)
    assert source.given == 6, "three in advance, and three when they were wanted"
    ahead.stop()
    assert ahead.take() is None


def test_reading_stops_after_the_workers_cancelled_a_read() -> None:
    """A read that waits for a free worker is cancelled when these close; `stop` must not wait for it."""
    workers, begun, release = Workers(1), threading.Event(), threading.Event()
    workers.submit(lambda: begun.set() or release.wait(5))  # type: ignore[func-returns-value]  # in order
    assert begun.wait(5)
    ahead = ReadAhead(MemorySource(3), workers, lambda: True, 2)
    taking = threading.Thread(target=ahead.take, daemon=True)
    taking.start()
    while not workers.waiting:
        time.sleep(0.001)
    workers.close(0.01)
    stopping = threading.Thread(target=ahead.stop, daemon=True)
    stopping.start()
    stopping.join(5)
    assert not stopping.is_alive()
    release.set()
    assert workers.close(5)
    taking.join(5)


@pytest.mark.parametrize("count", [1, 4])
def test_frames_before_a_failure_are_run_although_their_batch_is_not_full(count: int) -> None:
    sink = ListSink()
    with pytest.raises(SourceError, match="the source broke"):
        run_streams(
            BrightnessSession(detector(BatchRange(1, 4, 4))),
            [SourceStream(MemorySource(6, fails=True), [sink])],
            options=PipelineOptions(threshold=0.0, workers=count),
        )
    assert levels(sink) == list(range(6))


def test_a_failing_read_is_raised_once_its_frames_are_taken(workers: Workers) -> None:
    ahead = ReadAhead(MemorySource(3, fails=True), workers, lambda: True, 2)
    assert [getattr(ahead.take(), "index", None) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(SourceError, match="the source broke"):
        ahead.take()


@pytest.mark.parametrize("batch", [BatchRange(), BatchRange(1, 4, 8), BatchRange(4, 4, 4)], ids=str)
def test_many_files_and_workers_lose_no_frame_and_no_order(batch: BatchRange) -> None:
    files = [SlowFile(count) for count in (30, 1, 17, 0, 23)]
    sinks = [ListSink() for _ in files]
    session = BrightnessSession(detector(batch))
    streams = [SourceStream(file, [sink]) for file, sink in zip(files, sinks, strict=True)]
    summary = run_streams(session, streams, options=FOUR)
    assert summary.frames == 71
    for file, sink in zip(files, sinks, strict=True):
        assert [seen.frame.index for seen in sink.seen] == list(range(file.frame_count or 0))
        assert levels(sink) == list(range(file.frame_count or 0))
    assert {name for file in files for name in file.threads} & {"worker"}


def test_batches_are_the_same_whatever_the_number_of_workers() -> None:
    """The order of turns decides which frames share a batch, not which file was decoded first."""

    class Recorder(BrightnessSession):
        def __init__(self) -> None:
            super().__init__(detector(BatchRange(1, 4, 8)))
            self.seen: list[list[int]] = []

        def _infer(self, frames: np.ndarray) -> tuple[np.ndarray, ...]:
            self.seen.append(frames[:, 0, 0, 0].tolist())
            return super()._infer(frames)

    found = []
    for count in (1, 4):
        session = Recorder()
        streams = [SourceStream(SlowFile(12, takes)) for takes in (0.0, 0.004, 0.001)]
        run_streams(session, streams, options=PipelineOptions(threshold=0.0, workers=count))
        found.append(session.seen)
    assert found[0] == found[1]


def test_files_are_decoded_at_the_same_time() -> None:
    def wall_s(count: int) -> float:
        streams = [SourceStream(SlowFile(12, 0.02)) for _ in range(4)]
        session = BrightnessSession(detector(BatchRange(1, 4, 8)))
        return run_streams(session, streams, options=PipelineOptions(workers=count)).wall_s

    assert wall_s(4) < 0.6 * wall_s(1)


def test_output_in_workers_is_drawn_in_order_and_reported_in_the_calling_thread() -> None:
    files = [MemorySource(20, sizes=[(96, 64)]), MemorySource(15, sizes=[(96, 64)])]
    sinks, light = [EncodingSink(0.002), EncodingSink(0.001)], ListSink()
    reported: list[tuple[str, int, str]] = []

    def report(_: SourceStream, done: FrameResult) -> None:
        assert done.times.output_ns is not None
        reported.append((done.frame.source, done.frame.index, threading.current_thread().name))

    streams = [SourceStream(file, [sink, light]) for file, sink in zip(files, sinks, strict=True)]
    session = BrightnessSession(detector(BatchRange(1, 2, 2)))
    run_streams(session, streams, options=FOUR, on_frame=report)
    for file, sink in zip(files, sinks, strict=True):
        assert [seen.frame.index for seen in sink.seen] == list(range(file.frame_count or 0))
        assert sink.threads == {"worker"}
        assert np.ptp(sink.seen[-1].frame.image_bgr) > 0, "drawn"
    assert light.threads == {threading.current_thread().name}
    assert len(reported) == 35
    assert {thread for _, _, thread in reported} == {threading.current_thread().name}


def test_a_sink_of_two_streams_stays_in_the_calling_thread() -> None:
    shared = EncodingSink()
    run_streams(
        BrightnessSession(), [SourceStream(MemorySource(4), [shared]) for _ in range(2)], options=FOUR
    )
    assert len(shared.seen) == 8
    assert shared.threads == {threading.current_thread().name}


def test_a_failing_sink_in_a_worker_ends_the_run() -> None:
    sink, source = EncodingSink(fails_at=3), MemorySource(50)
    with pytest.raises(SinkError, match="the sink broke"):
        run_streams(BrightnessSession(), [SourceStream(source, [sink])], options=FOUR)
    assert len(sink.seen) == 3
    assert (sink.close_count, source.close_count) == (1, 1)


@pytest.mark.parametrize("count", [1, 4])
def test_the_limit_counts_results_of_all_files(count: int) -> None:
    files, sink = [MemorySource(None), MemorySource(None)], EncodingSink()
    streams = [SourceStream(files[0], [sink]), SourceStream(files[1])]
    options = PipelineOptions(threshold=0.0, workers=count, limit=9)
    summary = run_streams(BrightnessSession(detector(BatchRange(1, 4, 4))), streams, options=options)
    assert summary.frames == 9
    assert sum(file.given for file in files) == 9
    assert len(sink.seen) in (4, 5)


@pytest.mark.parametrize("count", [1, 4])
def test_the_limit_is_reached_although_frames_are_rejected_after_they_were_counted(count: int) -> None:
    odd, other = MemorySource(20, sizes=[(SIDE, SIDE), (32, 24)]), MemorySource(20)
    options = PipelineOptions(threshold=0.0, workers=count, limit=6)
    session = BrightnessSession(detector(BatchRange(1, 4, 4), fit="exact"))
    summary = run_streams(session, [SourceStream(odd), SourceStream(other)], options=options)
    assert summary.frames == 6
