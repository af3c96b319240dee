"""Every frame once and in order, newest frames of live sources, and clean ends of every kind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import pytest

from edgevision.contract.results import Classification, Detections
from edgevision.contract.spec import BatchRange, FrameInput, ModelSpec, classify_outputs
from edgevision.contract.thresholds import ClassThresholds
from edgevision.errors import EngineError, SinkError, SourceError, UsageError
from edgevision.pipeline.options import PipelineOptions
from edgevision.pipeline.pipeline import RunSummary, run_pipeline
from edgevision.sinks.frame_result import FrameResult
from edgevision.sources.frames import SourceFrame
from tests.doubles import (
    PROVENANCE,
    SIDE,
    BrightnessSession,
    ListSink,
    MemorySource,
    SilentCamera,
    detector,
)


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    threads, opencv_threads = set(threading.enumerate()), cv2.getNumThreads()
    yield
    assert set(threading.enumerate()) <= threads
    assert cv2.getNumThreads() == opencv_threads


def brightness(processed: FrameResult) -> int:
    assert isinstance(processed.result, Detections)
    return round(float(processed.result.scores[0]) * 255)


@pytest.mark.parametrize("serial", [False, True])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 40])
def test_every_frame_is_delivered_once_in_order_with_its_result(count: int, serial: bool) -> None:
    sink, source = ListSink(), MemorySource(count)
    done: list[FrameResult] = []
    summary = run_pipeline(
        BrightnessSession(),
        source,
        [sink],
        options=PipelineOptions(threshold=0.0, serial=serial),
        on_frame=done.append,
    )
    assert [processed.frame.index for processed in sink.seen] == list(range(count))
    assert [brightness(processed) for processed in sink.seen if processed.frame.index] == list(
        range(1, count)
    )
    assert (summary.frames, summary.lost.dropped, summary.skipped, summary.stopped) == (count, 0, 0, False)
    assert summary.wall_s > 0
    assert [processed.frame.index for processed in done] == list(range(count))
    assert (sink.close_count, source.close_count) == (1, 1)


def test_results_are_in_frame_pixels() -> None:
    sink = ListSink()
    run_pipeline(BrightnessSession(), MemorySource(2, sizes=[(128, 128)]), [sink])
    boxes = [
        processed.result.boxes.tolist() for processed in sink.seen if isinstance(processed.result, Detections)
    ]
    assert boxes[0] == []
    sink = ListSink()
    run_pipeline(
        BrightnessSession(), MemorySource(2, sizes=[(128, 128)]), [sink], options=PipelineOptions(0.0)
    )
    result = sink.seen[1].result
    assert isinstance(result, Detections)
    assert result.boxes.tolist() == [[32, 32, 96, 96]]


def test_classifications_are_delivered() -> None:
    spec = ModelSpec("c", "classify", FrameInput((SIDE, SIDE)), classify_outputs(2), ("x", "y"), PROVENANCE)
    sink = ListSink()
    run_pipeline(BrightnessSession(spec), MemorySource(3), [sink])
    results = [processed.result for processed in sink.seen]
    assert all(isinstance(result, Classification) for result in results)
    assert [round(result.top(2)[1][1] * 255) for result in results if isinstance(result, Classification)] == [
        0,
        1,
        2,
    ]


@pytest.mark.parametrize(
    ("batch", "calls"),
    [(BatchRange(4, 4, 4), [4, 4, 4]), (BatchRange(1, 4, 8), [4, 4, 2]), (BatchRange(2, 3, 4), [3, 3, 3, 2])],
    ids=str,
)
@pytest.mark.parametrize("serial", [False, True])
def test_batches_are_filled_and_the_last_may_be_short(
    batch: BatchRange, calls: list[int], serial: bool
) -> None:
    session, sink = BrightnessSession(detector(batch)), ListSink()
    run_pipeline(session, MemorySource(10), [sink], options=PipelineOptions(threshold=0.0, serial=serial))
    assert session.batches == calls
    assert [brightness(processed) for processed in sink.seen[1:]] == list(range(1, 10))
    times = sink.seen[0].times
    assert times.inference_ns < sum(processed.age_ms for processed in sink.seen) * 1e6


def test_a_live_frame_does_not_wait_for_its_batch() -> None:
    session = BrightnessSession(detector(BatchRange(1, 4, 8)))
    summary = run_pipeline(
        session, MemorySource(None, live=True, period_s=0.01), options=PipelineOptions(limit=3)
    )
    assert set(session.batches) == {1}
    assert summary.frames == 3


def test_batch_buffers_are_used_again() -> None:
    session = BrightnessSession()
    run_pipeline(session, MemorySource(60))
    assert len(session.buffers) <= 4


@pytest.mark.parametrize("serial", [False, True])
def test_the_limit_ends_the_run(serial: bool) -> None:
    source, sink = MemorySource(None), ListSink()
    summary = run_pipeline(
        BrightnessSession(), source, [sink], options=PipelineOptions(limit=7, serial=serial)
    )
    assert summary.frames == len(sink.seen) == 7
    assert source.given == 7
    assert not summary.stopped


def test_back_pressure_on_a_file_loses_no_frame() -> None:
    source, sink = MemorySource(20), ListSink(takes_s=0.01)
    ahead: list[int] = []

    def look(processed: FrameResult) -> None:
        ahead.append(source.given - processed.frame.index)

    run_pipeline(BrightnessSession(), source, [sink], on_frame=look)
    assert len(sink.seen) == 20
    assert max(ahead) <= 9


def test_a_live_source_gives_its_newest_frame_and_counts_the_others() -> None:
    source, sink = MemorySource(None, live=True, period_s=0.002), ListSink()
    summary = run_pipeline(
        BrightnessSession(takes_s=0.03), source, [sink], options=PipelineOptions(threshold=0.0, limit=15)
    )
    indices = [processed.frame.index for processed in sink.seen]
    assert summary.frames == len(indices) == 15
    assert indices == sorted(set(indices))
    assert summary.lost.dropped > 30
    age_ms = np.median([processed.age_ms for processed in sink.seen])
    inference_ms = np.median([processed.times.inference_ns / 1e6 for processed in sink.seen])
    # A frame that had waited for another one's inference would be twice as old.
    assert inference_ms <= age_ms < 1.6 * inference_ms


def test_stats_contain_ages_and_stages() -> None:
    sink = ListSink(takes_s=0.01)
    done: list[FrameResult] = []
    run_pipeline(
        BrightnessSession(takes_s=0.02),
        MemorySource(5),
        [sink],
        options=PipelineOptions(serial=True),
        on_frame=done.append,
    )
    for before, after in zip(sink.seen, done, strict=True):
        assert list(before.times.in_ms()) == ["decode", "prepare", "inference", "results"]
        stages_ms = after.times.in_ms()
        assert list(stages_ms) == ["decode", "prepare", "inference", "results", "output"]
        assert stages_ms["inference"] >= 20
        assert stages_ms["output"] >= 10
        assert after.age_ms >= stages_ms["inference"] + stages_ms["prepare"]


def test_the_stages_of_a_serial_run_add_up_to_its_wall_time() -> None:
    done: list[FrameResult] = []
    summary = run_pipeline(
        BrightnessSession(takes_s=0.01),
        MemorySource(20),
        [ListSink(takes_s=0.005)],
        options=PipelineOptions(serial=True),
        on_frame=done.append,
    )
    total_s = sum(sum(processed.times.in_ms().values()) for processed in done) / 1e3
    # Within 5 % where nothing else runs; a stage left out, or counted twice, would be far from it.
    assert 0.8 < total_s / summary.wall_s < 1.02


def test_stages_overlap() -> None:
    def wall_s(*, serial: bool) -> float:
        options = PipelineOptions(serial=serial)
        source, sinks = MemorySource(15, period_s=0.01), [ListSink(takes_s=0.01)]
        return run_pipeline(BrightnessSession(takes_s=0.01), source, sinks, options=options).wall_s

    assert wall_s(serial=False) < 0.7 * wall_s(serial=True)


def test_results_and_sinks_run_in_the_calling_thread() -> None:
    sink = ListSink()
    run_pipeline(BrightnessSession(), MemorySource(3), [sink])
    assert sink.threads == {threading.current_thread().name}


def test_results_are_drawn_only_for_sinks_that_ask() -> None:
    plain, drawn = ListSink(), ListSink(annotated=True)
    options = PipelineOptions(threshold=0.0)
    run_pipeline(BrightnessSession(), MemorySource(2, sizes=[(640, 480)]), [plain], options=options)
    assert np.ptp(plain.seen[1].frame.image_bgr) == 0
    run_pipeline(BrightnessSession(), MemorySource(2, sizes=[(640, 480)]), [plain, drawn], options=options)
    assert np.ptp(drawn.seen[1].frame.image_bgr) > 0


@dataclass
class Failing:
    """A run in which one part fails after `written` frames."""

    error: type[Exception]
    message: str
    written: int
    session: Callable[[], BrightnessSession] = BrightnessSession
    source: Callable[[], MemorySource] = lambda: MemorySource(20)
    sink: Callable[[], ListSink] = ListSink


FAILING = {
    "engine": Failing(EngineError, "the engine broke", 5, session=lambda: BrightnessSession(fails_at=5)),
    "source": Failing(SourceError, "the source broke", 4, source=lambda: MemorySource(4, fails=True)),
    "sink": Failing(SinkError, "the sink broke", 3, sink=lambda: ListSink(fails_at=3)),
    "size": Failing(
        UsageError,
        "frame is 32x24; expected 64x64, the only size of this graph",
        2,
        session=lambda: BrightnessSession(detector(fit="exact")),
        source=lambda: MemorySource(20, sizes=[(SIDE, SIDE), (SIDE, SIDE), (32, 24)]),
    ),
}


@pytest.mark.parametrize("serial", [False, True])
@pytest.mark.parametrize("failing", FAILING.values(), ids=FAILING)
def test_an_error_of_a_stage_is_raised_in_the_caller(failing: Failing, serial: bool) -> None:
    sink, source = failing.sink(), failing.source()
    with pytest.raises(failing.error, match=failing.message):
        run_pipeline(failing.session(), source, [sink], options=PipelineOptions(threshold=0.0, serial=serial))
    assert (sink.close_count, source.close_count) == (1, 1)
    # Results that were ready when another stage failed are still written.
    assert len(sink.seen) == failing.written


def test_an_error_of_the_caller_ends_the_run() -> None:
    sink = ListSink()

    def interrupt(processed: FrameResult) -> None:
        if processed.frame.index == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_pipeline(BrightnessSession(), MemorySource(None), [sink], on_frame=interrupt)
    assert len(sink.seen) == 3
    assert sink.close_count == 1


def test_all_sinks_are_closed_even_if_one_cannot_be() -> None:
    class Broken(ListSink):
        def close(self) -> None:
            raise SinkError("cannot be finished")

    first, last = ListSink(), ListSink()
    source = MemorySource(2)
    with pytest.raises(SinkError, match="cannot be finished"):
        run_pipeline(BrightnessSession(), source, [first, Broken(), last])
    assert (first.close_count, last.close_count, source.close_count) == (1, 1, 1)


@pytest.mark.parametrize("serial", [False, True])
def test_stop_ends_the_run(serial: bool) -> None:
    sink = ListSink()
    summary = run_pipeline(
        BrightnessSession(),
        MemorySource(None),
        [sink],
        options=PipelineOptions(serial=serial),
        stop=lambda: len(sink.seen) >= 4,
    )
    assert summary.stopped
    assert summary.frames == 4
    assert sink.close_count == 1


def test_stop_works_while_a_camera_is_silent() -> None:
    began = time.perf_counter()
    summary = run_pipeline(
        BrightnessSession(), SilentCamera(), stop=lambda: time.perf_counter() - began > 0.2
    )
    assert summary.stopped
    assert summary.frames == 0
    assert time.perf_counter() - began < 2


def test_an_error_is_raised_while_a_camera_is_silent() -> None:
    class OneFrame(SilentCamera):
        def poll(self) -> SourceFrame | None:
            return MemorySource.read(self) if self.given == 0 else super().poll()

    with pytest.raises(EngineError, match="the engine broke"):
        run_pipeline(BrightnessSession(fails_at=0), OneFrame())


def test_opencv_has_one_thread_meanwhile() -> None:
    seen: list[int] = []
    run_pipeline(BrightnessSession(), MemorySource(1), on_frame=lambda _: seen.append(cv2.getNumThreads()))
    assert seen == [1]


def test_frames_per_second_of_nothing_is_zero() -> None:
    assert RunSummary(0, 0, 0.0, False).frames_per_s == 0
    assert RunSummary(10, 0, 2.0, False).frames_per_s == 5


def test_without_a_threshold_the_session_s_holds() -> None:
    session = BrightnessSession()
    session.threshold = ClassThresholds((30 / 255,))
    for options, expected in ((None, 10), (PipelineOptions(threshold=20 / 255), 20)):
        sink = ListSink()
        run_pipeline(session, MemorySource(40), [sink], options=options)
        counts = [len(seen.result) for seen in sink.seen]  # type: ignore[arg-type]  # detections
        assert sum(counts) == expected
