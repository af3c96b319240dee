"""Frames through a session into sinks, with the stages overlapping."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from edgevision.channel import Channel, ChannelClosed
from edgevision.draw_observation import draw_processed
from edgevision.frames import Source, SourceFrame
from edgevision.health import SourceHealth
from edgevision.image import Placement, fit_frame
from edgevision.observation import Observation
from edgevision.processed import Processed, StageTimes
from edgevision.results import Outputs, Result, results_from_outputs
from edgevision.session import Frames, Session
from edgevision.sinks.sink import Sink

WAITING_BATCHES = 2
"""Batches that may wait between two stages of a file's run: enough to even out the stages' jitter."""
POLL_S = 0.1
"""How often `stop` is asked while no result comes."""

Observe = Callable[[SourceFrame, Result], tuple[Result, Observation | None]]
"""Such as `Observer.observe`: called for each frame in its order; what it returns goes to the sinks."""


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """How frames are run."""

    threshold: float = 0.25
    """Detections of a lower score are left out."""
    limit: int | None = None
    """Stop after so many frames."""
    serial: bool = False
    """One stage after another in the calling thread; the stages' times then add up to the wall time."""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run came to."""

    frames: int
    dropped: int
    """Frames of a live source that newer ones replaced before they were run."""
    skipped: int
    """Files that could not be decoded."""
    wall_s: float
    stopped: bool
    """True if `stop` ended it."""
    health: SourceHealth = field(default_factory=SourceHealth)
    """The source's outages and withheld frames."""

    @property
    def frames_per_s(self) -> float:
        """Frames over wall time, from the start of the stages to their end."""
        return self.frames / self.wall_s if self.wall_s > 0 else 0.0


@dataclass(slots=True)
class _Batch:
    """What travels from stage to stage; `buffer` goes back to its ring after inference."""

    buffer: Frames
    frames: list[SourceFrame] = field(default_factory=list)
    placements: list[Placement] = field(default_factory=list)
    prepare_ns: int = 0
    inference_ns: int = 0
    outputs: Outputs = ()


def run_pipeline(
    session: Session,
    source: Source,
    sinks: Sequence[Sink] = (),
    *,
    options: PipelineOptions | None = None,
    stop: Callable[[], bool] = lambda: False,
    on_frame: Callable[[Processed], None] = lambda _: None,
    observe: Observe = lambda _, result: (result, None),
) -> RunSummary:
    """Run every frame of `source` (of a live one: the newest each time) and hand the results to `sinks`, in order.

    Decoding with preparation, inference, and results with output each have a thread; the last is the calling one, so
    that windows work and an interrupt arrives there. Files are held back by the slowest stage and lose no frame.
    `observe` may change each result and add identities; `on_frame` is called after the sinks. With a sink that asks for
    it (`Sink.annotated`), results are drawn into the frame's image first.

    Source and sinks are closed on the way out, whatever happens. What a stage or a sink raises is raised here; so is
    `KeyboardInterrupt`. OpenCV is held to one thread meanwhile, for the engine's threads need the cores.
    """
    options = options or PipelineOptions()
    run = _Run(session, source, sinks, options, stop, on_frame, observe)
    with contextlib.ExitStack() as closing, _one_opencv_thread():
        closing.callback(source.close)
        for sink in sinks:
            closing.callback(sink.close)
        return run.serial() if options.serial else run.overlapping()


class _Run:
    """The state of one run, and its stages."""

    def __init__(
        self,
        session: Session,
        source: Source,
        sinks: Sequence[Sink],
        options: PipelineOptions,
        stop: Callable[[], bool],
        on_frame: Callable[[Processed], None],
        observe: Observe,
    ) -> None:
        self._session = session
        self._source = source
        self._sinks = sinks
        self._options = options
        self._stop = stop
        self._on_frame = on_frame
        self._observe = observe
        self._annotate = any(sink.annotated for sink in sinks)
        batch = session.spec.frames.batch
        # A live frame must not wait for its batch to fill.
        self._per_batch = 1 if source.live else batch.opt
        self._smallest = batch.min
        self._displaced = 0
        self._finished = 0
        self._stopped = False
        self._began_ns = 0
        self._failure: BaseException | None = None
        width, height = session.spec.frames.size_wh
        self._shape = (max(self._per_batch, self._smallest), height, width, 3)

    def serial(self) -> RunSummary:
        """All stages in turn, in one buffer."""
        buffer = np.empty(self._shape, np.uint8)
        self._began_ns = time.perf_counter_ns()
        for batch in self._batches(lambda: buffer, self._options.limit):
            self._infer(batch)
            self._finish(batch)
            if self._is_stopped():
                break
        return self._summary()

    def overlapping(self) -> RunSummary:
        """The first two stages in threads, the last one here."""
        live = self._source.live
        waiting = 1 if live else WAITING_BATCHES
        free: Channel[Frames] = Channel(2 + waiting)
        ready: Channel[_Batch] = Channel(waiting, newest=live)
        done: Channel[_Batch] = Channel(waiting)
        for _ in range(2 + waiting):  # one is being filled, one is in inference
            free.put(np.empty(self._shape, np.uint8))
        threads = [
            threading.Thread(target=self._prepare_all, args=(free, ready), name="prepare", daemon=True),
            threading.Thread(target=self._infer_all, args=(free, ready, done), name="inference", daemon=True),
        ]
        self._began_ns = time.perf_counter_ns()
        for thread in threads:
            thread.start()
        try:
            self._finish_all(done)
            summary = self._summary()
        finally:
            for channel in (free, ready, done):
                channel.abort()
            if live:
                self._source.close()  # ends a read that waits for the next frame
            for thread in threads:
                thread.join()
        if self._failure is not None:
            raise self._failure
        return summary

    def _prepare_all(self, free: Channel[Frames], ready: Channel[_Batch]) -> None:
        # A live run ends by the frames that came through, for some are displaced on the way.
        limit = None if self._source.live else self._options.limit
        with self._stage(ready.end):
            for batch in self._batches(free.take, limit):
                displaced = ready.put(batch)
                if displaced is not None:
                    self._displaced += len(displaced.frames)
                    free.put(displaced.buffer)

    def _infer_all(self, free: Channel[Frames], ready: Channel[_Batch], done: Channel[_Batch]) -> None:
        with self._stage(free.abort, ready.abort, done.end):
            while True:
                batch = ready.take()
                self._infer(batch)
                free.put(batch.buffer)
                done.put(batch)

    @contextlib.contextmanager
    def _stage(self, *endings: Callable[[], None]) -> Iterator[None]:
        """The frame around a stage's thread: what it raises is kept for the caller; what lies behind it is finished."""
        try:
            yield
        except ChannelClosed:
            pass
        except BaseException as error:  # raised again in the calling thread
            self._failure = self._failure or error
        finally:
            for ending in endings:
                ending()

    def _finish_all(self, done: Channel[_Batch]) -> None:
        with contextlib.suppress(ChannelClosed):
            while not self._is_stopped() and self._finished != self._options.limit:
                batch = done.get(POLL_S)
                if batch is not None:
                    self._finish(batch)

    def _batches(self, buffer: Callable[[], Frames], limit: int | None) -> Iterator[_Batch]:
        """Read and prepare until the source or the limit ends; the last batch may be smaller."""
        batch: _Batch | None = None
        count = 0
        while limit is None or count < limit:
            if batch is None:
                batch = _Batch(
                    buffer()
                )  # before the frame is read, which must not grow old while a buffer is awaited
            frame = self._source.read()
            if frame is None:
                break
            count += 1
            began_ns = time.perf_counter_ns()
            row = batch.buffer[len(batch.frames)]
            batch.placements.append(fit_frame(frame.image_bgr, self._session.spec.frames, out=row)[1])
            batch.frames.append(frame)
            batch.prepare_ns += time.perf_counter_ns() - began_ns
            if len(batch.frames) == self._per_batch:
                yield batch
                batch = None
        if batch is not None and batch.frames:
            yield batch

    def _infer(self, batch: _Batch) -> None:
        began_ns = time.perf_counter_ns()
        rows = max(len(batch.frames), self._smallest)
        batch.buffer[len(batch.frames) : rows] = batch.buffer[len(batch.frames) - 1]
        batch.outputs = self._session.infer(batch.buffer[:rows])
        batch.inference_ns = time.perf_counter_ns() - began_ns

    def _finish(self, batch: _Batch) -> None:
        began_ns = time.perf_counter_ns()
        results = results_from_outputs(
            self._session.spec, batch.outputs, batch.placements, threshold=self._options.threshold
        )
        count = len(batch.frames)
        share_ns = (time.perf_counter_ns() - began_ns) // count
        for frame, result in zip(batch.frames, results, strict=True):
            began_ns = time.perf_counter_ns()
            seen, observation = self._observe(frame, result)
            finished_ns = time.perf_counter_ns()
            times = StageTimes(
                frame.decode_ns,
                batch.prepare_ns // count,
                batch.inference_ns // count,
                share_ns + finished_ns - began_ns,
            )
            age_ms = (finished_ns - frame.captured_ns) / 1e6
            self._write(Processed(frame, seen, times, age_ms, observation))
            self._finished += 1

    def _write(self, processed: Processed) -> None:
        began_ns = time.perf_counter_ns()
        if self._annotate:
            draw_processed(processed)
        for sink in self._sinks:
            sink.write(processed)
        output_ns = time.perf_counter_ns() - began_ns
        self._on_frame(replace(processed, times=replace(processed.times, output_ns=output_ns)))

    def _is_stopped(self) -> bool:
        self._stopped = self._stopped or self._stop()
        return self._stopped

    def _summary(self) -> RunSummary:
        """Taken when the last result is out, before what is under way in other stages has been waited for."""
        wall_s = (time.perf_counter_ns() - self._began_ns) / 1e9
        dropped = self._source.dropped + self._displaced
        source = self._source
        return RunSummary(self._finished, dropped, source.skipped, wall_s, self._stopped, source.health)


@contextlib.contextmanager
def _one_opencv_thread() -> Iterator[None]:
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
