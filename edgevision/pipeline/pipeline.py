"""The pipeline: frames of one or more sources through a session into sinks, with overlapping stages."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import cv2

from edgevision.analytics.analytics import Analytics
from edgevision.contract.session import Frames, Session
from edgevision.contract.tiles.session import TiledSession
from edgevision.pipeline.collector import Collector, FrameBatch
from edgevision.pipeline.in_flight import InFlight
from edgevision.pipeline.options import PipelineOptions
from edgevision.pipeline.output import OutputStage
from edgevision.pipeline.schedule import EngineSchedule
from edgevision.pipeline.streams import SourceStream, StreamStats
from edgevision.pipeline.workers import Workers, worker_count
from edgevision.sinks.frame_result import FrameResult, StageTimes
from edgevision.sinks.sink import Sink, close_sinks
from edgevision.sources.channel import Channel, ChannelClosed
from edgevision.sources.frames import Source
from edgevision.sources.health import FrameCounts, SourceHealth

log = logging.getLogger(__name__)

WAITING_BATCHES = 2
"""Maximum number of batches between two stages of a file's run; enough to absorb the jitter of the stages."""
POLL_S = 0.1
"""Period of calling `stop` while no result arrives."""
REFRESH_S = 0.02
"""A batch of live frames that waits longer than this for the engine gets newer frames."""
JOIN_S = 1.0
"""Time limit for each stage at the end; a stage that hangs in a call of an engine or driver is abandoned."""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """Totals of a run."""

    frames: int
    skipped: int
    """Files that could not be decoded."""
    wall_s: float
    stopped: bool
    """True if `stop` ended the run."""
    health: SourceHealth = field(default_factory=SourceHealth)
    """The first source's outages and withheld frames."""
    lost: FrameCounts = field(default_factory=FrameCounts)
    """Frames of all live sources without a result."""
    sources: tuple[tuple[str, StreamStats], ...] = ()
    """Statistics of each source, by name."""

    @property
    def frames_per_s(self) -> float:
        """Frames over wall time, from the start of the stages to their end."""
        return self.frames / self.wall_s if self.wall_s > 0 else 0.0


def run_pipeline(
    session: Session,
    source: Source,
    sinks: Sequence[Sink] = (),
    *,
    options: PipelineOptions | None = None,
    stop: Callable[[], bool] = lambda: False,
    on_frame: Callable[[FrameResult], None] = lambda _: None,
    analytics: Analytics | None = None,
) -> RunSummary:
    """Run the frames of `source` and pass the results to `sinks`, in order.

    A file is run completely; a live source supplies its newest frame each time. `analytics` filters, tracks and counts;
    without it, detections with a confidence of at least `options.threshold` are passed on. `on_frame` is called after
    the sinks. If a sink requests it (`Sink.annotated`), results are drawn into the frame's image first. See
    `run_streams`.
    """
    return run_streams(
        session,
        [SourceStream(source, sinks, analytics=analytics)],
        options=options,
        stop=stop,
        on_frame=lambda _, done: on_frame(done),
    )


def run_streams(
    session: Session,
    streams: Sequence[SourceStream],
    *,
    options: PipelineOptions | None = None,
    stop: Callable[[], bool] = lambda: False,
    on_frame: Callable[[SourceStream, FrameResult], None] = lambda _stream, _processed: None,
) -> RunSummary:
    """Run the frames of all streams until every stream has ended, in batches across them; results stay in order per
    stream.

    Taking frames has a thread, inference has one, and results and output run in the calling thread. Windows and
    interrupts therefore work. `PipelineOptions.workers` more threads decode files, prepare frames, draw and encode.
    The slowest stage applies back-pressure to files, and no frame is lost. The newest frame of each live source is
    taken just before the engine is free; the source with the oldest turn comes first.

    Sources and sinks are closed in any case. Errors of stages and sinks are raised here; so is `KeyboardInterrupt`. A
    failing source ends the run only if no other source continues. OpenCV is limited to one thread meanwhile, because
    the engine's threads need the cores.
    """
    pipeline = Pipeline(session, streams, options, on_result=on_frame)
    with contextlib.ExitStack() as closing:
        for stream in streams:
            closing.callback(stream.source.close)
        closing.callback(
            close_sinks, {id(sink): sink for stream in streams for sink in stream.sinks}.values()
        )
        return pipeline.run(stop)


class Pipeline:
    """One session and its streams, which may be added and removed while it runs.

    It closes no stream's source or sinks; their owners do. `on_result` is called after the sinks.
    """

    def __init__(
        self,
        session: Session,
        streams: Sequence[SourceStream] = (),
        options: PipelineOptions | None = None,
        *,
        on_result: Callable[[SourceStream, FrameResult], None] = lambda _stream, _processed: None,
        stay: bool = False,
    ) -> None:
        """With `stay` it waits for more streams after all have ended.

        Raises `UsageError` for tiles that do not fit the model.
        """
        self._options = options or PipelineOptions()
        if self._options.tiling is not None:
            session = TiledSession(session, self._options.tiling)
        self._session = session
        self.pace = EngineSchedule()
        """State of the engine and duration of its calls."""
        chosen = self._options.threshold
        self._threshold = session.threshold if chosen is None else chosen
        for stream in streams:
            stream.default_threshold(self._threshold)
        count = 1 if self._options.serial else worker_count(self._options.workers)
        self._workers = Workers(count) if count > 1 else None
        self._collector = Collector(
            session, streams, self._options, self.pace, stay=stay, workers=self._workers
        )
        self._on_result = on_result
        self._output = None if self._workers is None else OutputStage(self._workers, on_result)
        self._began_ns = 0
        self._finished = 0
        self._stopped = False
        self._failure: BaseException | None = None
        self.hung = False
        """True if a stage did not end: the session is still in use and must not be closed."""

    @property
    def streams(self) -> tuple[SourceStream, ...]:
        """The current streams."""
        return self._collector.streams

    def add(self, stream: SourceStream) -> None:
        """Add a stream."""
        stream.default_threshold(self._threshold)
        self._collector.add(stream)

    def remove(self, stream: SourceStream) -> None:
        """Remove a stream and discard its unfinished results."""
        stream.removed = True
        self._collector.remove(stream)

    def run(self, stop: Callable[[], bool] = lambda: False) -> RunSummary:
        """Run until every stream has ended or `stop` returns True; the last stage runs in the calling thread."""
        with _one_opencv_thread():
            self._began_ns = time.perf_counter_ns()
            return self._serial(stop) if self._options.serial else self._overlapping(stop)

    def _serial(self, stop: Callable[[], bool]) -> RunSummary:
        """Run all stages in turn, in one buffer."""
        buffer = self._collector.new_buffer()
        while (batch := self._collector.collect(buffer)) is not None:
            if not self._collector.complete(batch):
                continue
            self.pace.queued()
            self._infer(batch)
            self._finish(batch)
            if self._is_stopped(stop):
                break
        return self._summary()

    def _overlapping(self, stop: Callable[[], bool]) -> RunSummary:
        """Run the first two stages in threads and the last one here."""
        waiting = 1 if self._collector.live else WAITING_BATCHES
        # One buffer is being filled; those of batches in flight are read until their results are there.
        buffers = 1 + waiting + (1 if self._collector.live else self._session.in_flight)
        free: Channel[Frames] = Channel(buffers)
        ready: Channel[FrameBatch] = Channel(waiting)
        done: Channel[FrameBatch] = Channel(waiting)
        for _ in range(buffers):
            free.put(self._collector.new_buffer())
        threads = [
            threading.Thread(target=self._prepare_all, args=(free, ready), name="prepare", daemon=True),
            threading.Thread(target=self._infer_all, args=(free, ready, done), name="inference", daemon=True),
        ]
        for thread in threads:
            thread.start()
        try:
            self._finish_all(done, stop)
            summary = self._summary()
        finally:
            self._collector.close()
            self.pace.close()
            for channel in (free, ready, done):
                channel.abort()
            for thread in threads:
                thread.join(JOIN_S)
            self.hung = any(thread.is_alive() for thread in threads)
            if self._workers is not None and not self._workers.close(JOIN_S):
                self.hung = True  # it may be writing into a buffer of the session
        if self._failure is not None:
            raise self._failure
        return summary

    def _prepare_all(self, free: Channel[Frames], ready: Channel[FrameBatch]) -> None:
        with self._stage(ready.end):
            while True:
                buffer = free.take()
                if self._collector.live:
                    self.pace.wait_until_due()
                batch = self._collector.collect(buffer)
                if batch is None:
                    return
                self._hand_over(batch, ready)

    def _hand_over(self, batch: FrameBatch, ready: Channel[FrameBatch]) -> None:
        """Pass a batch to the engine; while it still waits, replace its live frames with newer ones."""
        self.pace.queued()
        ready.put(batch)
        while self._collector.live and not self.pace.wait_until_taken(REFRESH_S):
            waiting = ready.get(0)
            if waiting is None:  # the engine has just taken it
                return
            self.pace.taken_back()
            self._collector.refresh(waiting)
            self.pace.queued()
            ready.put(waiting)

    def _infer_all(
        self, free: Channel[Frames], ready: Channel[FrameBatch], done: Channel[FrameBatch]
    ) -> None:
        flights = InFlight(self._session, self.pace)

        def land() -> None:
            batch = flights.land()
            free.put(batch.buffer)
            done.put(batch)

        endings = (free.abort, ready.abort, done.end, self._collector.close, self.pace.close)
        with self._stage(*endings, flights.abandon):
            while True:
                batch = self._next(ready, flights)
                if batch is None:
                    land()
                    continue
                if not self._collector.complete(batch):
                    self.pace.taken_back()
                    free.put(batch.buffer)
                    continue
                flights.submit(batch)
                # The frames of live sources would only get older in the engine's queue.
                while len(flights) >= (1 if self._collector.live else self._session.in_flight):
                    land()

    def _next(self, ready: Channel[FrameBatch], flights: InFlight) -> FrameBatch | None:
        """The next batch; None to wait for one in flight first, because no other is ready or none will come."""
        if not len(flights):
            return ready.take()
        try:
            return ready.get(0)
        except ChannelClosed:
            return None

    @contextlib.contextmanager
    def _stage(self, *endings: Callable[[], None]) -> Iterator[None]:
        """Context of a stage's thread: keeps an exception for the caller, then ends the following stages."""
        try:
            yield
        except ChannelClosed:
            pass
        except BaseException as error:  # raised again in the calling thread
            self._failure = self._failure or error
        finally:
            for ending in endings:
                ending()

    def _finish_all(self, done: Channel[FrameBatch], stop: Callable[[], bool]) -> None:
        with contextlib.suppress(ChannelClosed):
            while not self._is_stopped(stop) and self._finished != self._options.limit:
                batch = done.get(POLL_S)
                if batch is not None:
                    self._finish(batch)
                elif self._output is not None:
                    self._output.report()
        if self._output is not None:
            self._output.drain()

    def _infer(self, batch: FrameBatch) -> None:
        self.pace.began(batch.rows)
        began_ns = time.perf_counter_ns()
        batch.outputs = self._session.infer(batch.buffer[: batch.rows])
        batch.inference_ns = time.perf_counter_ns() - began_ns
        self.pace.ended()

    def _finish(self, batch: FrameBatch) -> None:
        spec = self._session.spec
        count = len(batch.entries)
        owners = Counter(id(sink) for stream in self.streams for sink in stream.sinks)
        shared = frozenset(sink for sink, streams in owners.items() if streams > 1)
        prepare_ns, inference_ns = batch.prepare_ns // count, batch.inference_ns // count
        for row, (stream, frame) in enumerate(batch.entries):
            if stream.removed or self._finished == self._options.limit:
                continue
            outputs = tuple(array[row : row + 1] for array in batch.outputs)
            times = StageTimes(frame.decode_ns, prepare_ns, inference_ns)
            handle = stream.handle if self._output is None else stream.observe
            done = handle(
                spec, outputs, frame, batch.transforms[row], times, max_age_ms=self._options.max_age_ms
            )
            if done is not None:
                self._finished += 1
                if self._output is None:
                    self._on_result(stream, done)
                else:
                    self._output.write(stream, done, shared)
            elif stream.failure is not None:
                stream.removed = True
                self._collector.fail(stream, stream.failure)

    def _is_stopped(self, stop: Callable[[], bool]) -> bool:
        self._stopped = self._stopped or stop()
        return self._stopped

    def _summary(self) -> RunSummary:
        """Summary at the last result; unfinished work of other stages is not waited for."""
        wall_s = (time.perf_counter_ns() - self._began_ns) / 1e9
        streams = self.streams
        stats = [stream.stats for stream in streams]
        return RunSummary(
            frames=self._finished,
            skipped=sum(stream.source.skipped for stream in streams),
            wall_s=wall_s,
            stopped=self._stopped,
            health=stats[0].health if stats else SourceHealth(),
            lost=sum((each.lost for each in stats), FrameCounts()),
            sources=tuple((stream.name, each) for stream, each in zip(streams, stats, strict=True)),
        )


@contextlib.contextmanager
def _one_opencv_thread() -> Iterator[None]:
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
