"""Many sources on one engine: in turn, in order, each to its own sinks, independent of failures of the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from edgevision.analytics.analytics import Analytics
from edgevision.analytics.observation import Observation
from edgevision.contract.results import Detections, Result
from edgevision.contract.spec import BatchRange
from edgevision.errors import SourceError, UsageError
from edgevision.pipeline.options import PipelineOptions
from edgevision.pipeline.pipeline import Pipeline, run_streams
from edgevision.pipeline.streams import SourceStream
from edgevision.sinks.frame_result import FrameResult
from edgevision.sinks.sink import Sink
from edgevision.sources.frames import Source, SourceFrame
from tests.doubles import SIDE, BrightnessSession, ListSink, MemorySource, detector


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    threads = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= threads


class Camera(Source):
    """Live, with a frame of its own brightness each period by the clock; silent without a period."""

    def __init__(
        self, name: str, period_s: float | None = 0.01, *, level: int = 200, fails_after: int | None = None
    ) -> None:
        super().__init__(name, live=True, fps=None, frame_count=None)
        self.size_wh = (SIDE, SIDE)
        self.period_s = period_s
        self.level = level
        self.fails_after = fails_after
        self.given = 0
        self._began_s = time.perf_counter()
        self._last = -1

    def poll(self) -> SourceFrame | None:
        if self.period_s is None or self.ended:
            return None
        if self.given == self.fails_after:
            self.ended = True
            raise SourceError(f"{self.name} broke")
        index = int((time.perf_counter() - self._began_s) / self.period_s)
        if index <= self._last:
            return None
        self.lost.dropped += index - self._last - 1
        self._last = index
        self.given += 1
        captured_ns = int((self._began_s + index * self.period_s) * 1e9)
        image = np.full((SIDE, SIDE, 3), self.level, np.uint8)
        return SourceFrame(image, index, self.name, captured_ns, time.time(), None, 1000)

    def read(self) -> SourceFrame | None:
        raise AssertionError("many live sources are asked, not waited for")

    def close(self) -> None:
        self.ended = True


def brightness(processed: FrameResult) -> int:
    assert isinstance(processed.result, Detections)
    return round(float(processed.result.scores[0]) * 255)


def plain(source: Source, *sinks: Sink) -> SourceStream:
    return SourceStream(source, sinks, threshold=0.0)


def run_cameras(
    session: BrightnessSession, cameras: list[Camera], options: PipelineOptions, frames: int
) -> list[ListSink]:
    sinks = [ListSink() for _ in cameras]
    streams = [plain(camera, sink) for camera, sink in zip(cameras, sinks, strict=True)]
    deadline_s = time.perf_counter() + 30
    run_streams(
        session,
        streams,
        options=options,
        stop=lambda: sum(len(sink.seen) for sink in sinks) >= frames or time.perf_counter() > deadline_s,
    )
    return sinks


@pytest.mark.parametrize("batch", [BatchRange(1, 1, 1), BatchRange(1, 4, 8), BatchRange(4, 4, 4)], ids=str)
def test_results_reach_their_own_source_in_order(batch: BatchRange) -> None:
    cameras = [Camera(f"c{n}", 0.004 * (n + 1), level=40 * n + 40) for n in range(5)]
    sinks = run_cameras(BrightnessSession(detector(batch)), cameras, PipelineOptions(), 150)
    for camera, sink in zip(cameras, sinks, strict=True):
        assert {processed.frame.source for processed in sink.seen} == {camera.name}
        assert {brightness(processed) for processed in sink.seen} == {camera.level}
        indices = [processed.frame.index for processed in sink.seen]
        assert indices == sorted(set(indices))


def test_a_fast_camera_does_not_starve_others_while_two_are_silent() -> None:
    cameras = [Camera("fast", 0.001), *(Camera(f"c{n}", 0.02) for n in range(3))]
    cameras += [Camera("dead", None), Camera("frozen", None)]
    sinks = run_cameras(BrightnessSession(takes_s=0.02), cameras, PipelineOptions(batch=1), 120)
    counts = [len(sink.seen) for sink in sinks]
    assert counts[4:] == [0, 0]
    # The engine answers 50 times a second, so each of the four has 12.5.
    assert max(counts[:4]) - min(counts[:4]) <= 3


def test_a_batch_holds_one_frame_of_each_camera() -> None:
    session = BrightnessSession(detector(BatchRange(1, 4, 8)), takes_s=0.02)
    cameras = [Camera(f"c{n}", 0.005, level=20 * n + 20) for n in range(4)]
    run_cameras(session, cameras, PipelineOptions(), 60)
    assert max(session.batches) == 4
    assert np.mean(session.batches[2:]) > 3.5


def test_a_batch_does_not_wait_longer_than_it_may() -> None:
    session = BrightnessSession(detector(BatchRange(1, 2, 2)))
    cameras = [Camera("fast", 0.01), Camera("slow", 2.0)]
    began_s = time.perf_counter()
    fast, _ = run_cameras(session, cameras, PipelineOptions(batch=2, batch_timeout_ms=3.0), 30)
    assert time.perf_counter() - began_s < 5
    waited_ms = np.median([processed.age_ms for processed in fast.seen])
    assert waited_ms < 60


def test_files_lose_no_frame_next_to_a_camera() -> None:
    camera, sink, files = Camera("camera", 0.002), ListSink(), [MemorySource(40), MemorySource(25)]
    kept = [ListSink(), ListSink()]
    streams = [plain(camera, sink), *(plain(file, each) for file, each in zip(files, kept, strict=True))]
    run_streams(
        BrightnessSession(takes_s=0.002),
        streams,
        stop=lambda: [len(each.seen) for each in kept] == [40, 25] and len(sink.seen) > 20,
    )
    for each, count in zip(kept, (40, 25), strict=True):
        assert [processed.frame.index for processed in each.seen] == list(range(count))


def test_several_files_are_run_to_their_ends() -> None:
    sinks = [ListSink(), ListSink(), ListSink()]
    streams = [plain(MemorySource(count), sink) for count, sink in zip((7, 0, 19), sinks, strict=True)]
    summary = run_streams(BrightnessSession(detector(BatchRange(1, 4, 8))), streams)
    assert [len(sink.seen) for sink in sinks] == [7, 0, 19]
    assert summary.frames == 26
    assert [stats.frames for _, stats in summary.sources] == [7, 0, 19]
    assert all(sink.close_count == 1 for sink in sinks)


def test_a_sink_of_two_sources_is_closed_once() -> None:
    sink = ListSink()
    run_streams(BrightnessSession(), [plain(MemorySource(3), sink), plain(MemorySource(4), sink)])
    assert len(sink.seen) == 7
    assert sink.close_count == 1


def test_a_failing_camera_does_not_affect_the_others() -> None:
    cameras = [Camera("good", 0.002), Camera("bad", 0.002, fails_after=3)]
    good, bad = run_cameras(BrightnessSession(), cameras, PipelineOptions(), 60)
    assert len(bad.seen) <= 3
    assert len(good.seen) >= 50


def test_the_run_ends_with_the_error_of_the_last_camera() -> None:
    cameras = [Camera("first", 0.002, fails_after=2), Camera("last", 0.002, fails_after=5)]
    with pytest.raises(SourceError, match="broke"):
        run_cameras(BrightnessSession(), cameras, PipelineOptions(), 10_000)


def test_a_frame_that_the_graph_rejects_ends_only_its_source() -> None:
    session = BrightnessSession(detector(BatchRange(1, 2, 4), fit="exact"))
    sinks = [ListSink(), ListSink()]
    odd = MemorySource(20, sizes=[(SIDE, SIDE), (32, 24)])
    run_streams(session, [plain(MemorySource(20), sinks[0]), plain(odd, sinks[1])])
    assert [len(sink.seen) for sink in sinks] == [20, 1]


def test_no_result_is_older_than_the_budget() -> None:
    # Frames come every 10 ms and an answer takes 30 ms: with a budget of 36 ms only those taken at once may run.
    camera, sink = Camera("camera", 0.01), ListSink()
    stream = plain(camera, sink)
    deadline_s = time.perf_counter() + 30
    summary = run_streams(
        BrightnessSession(takes_s=0.03),
        [stream],
        options=PipelineOptions(max_age_ms=36.0),
        stop=lambda: len(sink.seen) >= 10 or time.perf_counter() > deadline_s,
    )
    assert len(sink.seen) >= 10
    assert max(processed.age_ms for processed in sink.seen) <= 36
    assert summary.lost.late == camera.lost.late


def test_a_budget_that_no_result_can_meet_drops_and_counts_all_frames() -> None:
    camera, sink = Camera("camera", 0.01), ListSink()
    began_s = time.perf_counter()
    summary = run_streams(
        BrightnessSession(takes_s=0.05),
        [plain(camera, sink)],
        options=PipelineOptions(max_age_ms=20.0),
        stop=lambda: time.perf_counter() - began_s > 0.5,
    )
    assert sink.seen == []
    assert summary.lost.late > 3
    assert summary.frames == 0


def test_one_slow_call_does_not_end_a_camera_for_good() -> None:
    class Stumbles(BrightnessSession):
        def _infer(self, frames: np.ndarray) -> tuple[np.ndarray, ...]:
            time.sleep(0.2 if not self.batches else 0.0)
            return super()._infer(frames)

    camera, sink = Camera("camera", 0.01), ListSink()
    deadline_s = time.perf_counter() + 20
    run_streams(
        Stumbles(),
        [plain(camera, sink)],
        options=PipelineOptions(max_age_ms=100.0),
        stop=lambda: len(sink.seen) >= 5 or time.perf_counter() > deadline_s,
    )
    assert len(sink.seen) >= 5


def test_frames_are_taken_just_before_the_engine_is_free() -> None:
    camera, sink = Camera("camera", 0.01), ListSink()
    run_streams(BrightnessSession(takes_s=0.06), [plain(camera, sink)], stop=lambda: len(sink.seen) >= 20)
    ages_ms = [processed.age_ms for processed in sink.seen[4:]]
    # A period and a call; a frame that had been taken when the call before it began would be twice as old.
    assert np.median(ages_ms) < 60 + 10 + 15


def test_frames_that_wait_for_a_call_that_drags_are_renewed() -> None:
    class Drags(BrightnessSession):
        def _infer(self, frames: np.ndarray) -> tuple[np.ndarray, ...]:
            time.sleep(0.5 if len(self.batches) == 10 else 0.01)
            return super()._infer(frames)

    camera, sink = Camera("camera", 0.01), ListSink()
    summary = run_streams(Drags(), [plain(camera, sink)], stop=lambda: len(sink.seen) >= 20)
    after = sink.seen[11]
    assert after.age_ms < 250  # it would be 500 if the frame had waited all the time
    assert summary.lost.dropped > 30


def test_streams_are_added_and_removed_at_run_time() -> None:
    first, second = Camera("first", 0.002), Camera("second", 0.002)
    sinks = [ListSink(), ListSink()]
    streams = [plain(first, sinks[0]), plain(second, sinks[1])]
    pipeline = Pipeline(BrightnessSession(), stay=True)
    over = threading.Event()
    running = threading.Thread(target=pipeline.run, args=(over.is_set,))
    running.start()
    pipeline.add(streams[0])
    wait_for(lambda: len(sinks[0].seen) > 5)
    pipeline.add(streams[1])
    wait_for(lambda: len(sinks[1].seen) > 5)
    pipeline.remove(streams[0])
    seen = len(sinks[0].seen)
    wait_for(lambda: len(sinks[1].seen) > 30)
    assert len(sinks[0].seen) <= seen + 1  # one may have been on its way through the sinks
    over.set()
    running.join(5)
    assert not running.is_alive()
    assert pipeline.streams == (streams[1],)


def test_batches_do_not_exceed_what_the_graph_takes() -> None:
    session = BrightnessSession(detector(BatchRange(1, 2, 3)), takes_s=0.005)
    run_cameras(session, [Camera(f"c{n}", 0.002) for n in range(8)], PipelineOptions(), 60)
    assert max(session.batches) <= 3


def test_stats_of_a_stream() -> None:
    camera, sink = Camera("camera", 0.01), ListSink()
    stream = plain(camera, sink)
    assert stream.stats.age_p50_ms is None
    assert stream.stats.frames_per_s == 0
    run_streams(BrightnessSession(takes_s=0.02), [stream], stop=lambda: len(sink.seen) >= 25)
    stats = stream.stats
    assert stats.frames == 25
    assert stats.lost.dropped > 5
    assert 10 < stats.frames_per_s < 60
    assert stats.age_p50_ms is not None
    assert stats.age_p99_ms is not None
    assert 20 <= stats.age_p50_ms <= stats.age_p99_ms
    assert list(stats.stages_ms) == ["decode", "prepare", "inference", "results", "output"]


def test_a_threshold_may_change_while_it_runs() -> None:
    camera, sink = Camera("camera", 0.002, level=128), ListSink()
    stream = plain(camera, sink)

    def stop() -> bool:
        if len(sink.seen) >= 20:
            stream.threshold = 0.9
        return len(sink.seen) >= 60

    run_streams(BrightnessSession(), [stream], stop=stop)
    counts = [len(processed.result) for processed in sink.seen if isinstance(processed.result, Detections)]
    assert counts[:20] == [1] * 20
    assert counts[-20:] == [0] * 20


class Moody(ListSink):
    """Fails for a while."""

    def write(self, processed: FrameResult) -> None:
        self.fails_at = len(self.seen) if 5 <= processed.frame.index < 10 else None
        super().write(processed)


def test_a_sink_that_fails_is_left_out_until_it_can_again(caplog: pytest.LogCaptureFixture) -> None:
    moody, steady = Moody(), ListSink()
    stream = SourceStream(MemorySource(20), [moody, steady], threshold=0.0, keep_going=True)
    run_streams(BrightnessSession(), [stream])
    assert len(steady.seen) == 20
    assert [processed.frame.index for processed in moody.seen] == [*range(5), *range(10, 20)]
    assert len([record for record in caplog.records if "the sink broke" in record.getMessage()]) == 1


class Refusing(Analytics):
    """Has a line outside of every frame."""

    def observe(self, frame: SourceFrame, result: Result) -> tuple[Result, Observation | None]:
        raise UsageError("line 1: a point lies outside the frame")


def test_failing_analytics_end_only_their_stream() -> None:
    sink = ListSink()
    bad = SourceStream(MemorySource(5), [], analytics=Refusing(0.0))
    run_streams(BrightnessSession(), [bad, plain(MemorySource(9), sink)])
    assert isinstance(bad.failure, UsageError)
    assert len(sink.seen) == 9


def wait_for(condition: object, timeout_s: float = 20.0) -> None:
    assert callable(condition)
    deadline_s = time.perf_counter() + timeout_s
    while not condition():
        assert time.perf_counter() < deadline_s, "it did not happen in time"
        time.sleep(0.005)
