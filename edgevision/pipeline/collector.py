"""Selection of frames for the next batch: the newest of live sources, in turn; every frame of files."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from edgevision.contract.image import fit_frame
from edgevision.contract.results import Outputs
from edgevision.contract.session import Frames, Session
from edgevision.contract.tiles.session import TiledSession
from edgevision.contract.transform import FrameTransform
from edgevision.errors import EdgevisionError
from edgevision.pipeline.options import PipelineOptions
from edgevision.pipeline.schedule import EngineSchedule
from edgevision.pipeline.streams import SourceStream
from edgevision.pipeline.workers import ReadAhead, Workers
from edgevision.sources.frames import SourceFrame

log = logging.getLogger(__name__)

Fitted = tuple[FrameTransform, int]
"""Placement of a prepared frame, and the time that it took in nanoseconds."""
NOT_FITTED = FrameTransform((0, 0), (1.0, 1.0), (0.0, 0.0))
READ_AHEAD = 2
"""Frames of each file that are decoded before they are needed."""
LOOK_S = 0.1
"""Period of polling sources without a frame event."""
TRY_AGAIN_S = 1.0
"""After this long without a result, run the next frame even if it exceeds `max_age_ms`. Otherwise one slow call could
stop a source for good.
"""


@dataclass(slots=True)
class FrameBatch:
    """A batch with its frames, passed from stage to stage; `buffer` returns to its ring after inference."""

    buffer: Frames
    entries: list[tuple[SourceStream, SourceFrame]] = field(default_factory=list)
    transforms: list[FrameTransform] = field(default_factory=list)
    prepare_ns: int = 0
    begun_ns: int = 0
    """When the engine began it; of several in flight, when the one before had ended."""
    inference_ns: int = 0
    outputs: Outputs = ()
    fits: list[tuple[int, Future[Fitted]]] = field(default_factory=list)
    """Rows that workers are preparing; empty once the batch was collected."""
    pending: bool = False
    """True from its collection to its completion, if workers prepare it."""
    rows: int = 0
    """Rows of `buffer` to run: the entries, padded with copies of the last one to the graph's minimum batch."""


class Collector:
    """Takes frames from streams and prepares them in one thread; other threads may add and remove streams.

    Sources with a frame are served in the order of their last turn, so that a fast source does not displace others. A
    batch contains at most one frame of each live source, because a second one would make the first useless.
    """

    def __init__(
        self,
        session: Session,
        streams: Sequence[SourceStream],
        options: PipelineOptions,
        pace: EngineSchedule,
        *,
        stay: bool,
        workers: Workers | None = None,
    ) -> None:
        """`workers` read files and prepare frames; None: the collecting thread does."""
        self._frames = session.spec.frames
        self._tiled = session if isinstance(session, TiledSession) else None
        self._new_batch = session.new_batch
        self._options = options
        self._pace = pace
        self._stay = stay
        self._workers = workers
        self._ahead: dict[int, ReadAhead] = {}
        self._rejected: weakref.WeakSet[SourceStream] = weakref.WeakSet()
        """Streams with a frame that the graph cannot take; their later frames are dropped."""
        self._admitted = 0
        """Frames of files that were read or are being read."""
        self._frame_event = threading.Event()
        self._streams: tuple[SourceStream, ...] = ()
        self._lock = threading.Lock()
        self._asking = threading.Lock()
        """Held while a source is polled, so that a removed source is no longer in use and may be closed."""
        self._turn = 0
        self._served: dict[int, tuple[int, float]] = {}
        self._collected = 0
        self._pending = 0
        """Collected batches whose rows may still be rejected."""
        self._failure: EdgevisionError | None = None
        """Error of the last source while a batch was being filled; raised after this batch."""
        self._closed = False
        for stream in streams:
            self.add(stream)
        self._rows = self._rows_of_a_batch()

    @property
    def streams(self) -> tuple[SourceStream, ...]:
        """All current streams, including ended ones."""
        return self._streams

    @property
    def live(self) -> bool:
        """True if any source is live; its frames must not wait."""
        return self._stay or any(stream.source.live for stream in self._streams)

    def add(self, stream: SourceStream) -> None:
        """Add a stream."""
        if self._frames.layout == "nv12":
            stream.source.use_planes()
        with self._lock:
            stream.source.frame_event = self._frame_event
            self._served[id(stream)] = (0, time.monotonic())
            self._streams = (*self._streams, stream)
            if self._workers is not None and not stream.source.live:
                self._ahead[id(stream)] = ReadAhead(stream.source, self._workers, self._admit, READ_AHEAD)
        self._frame_event.set()

    def remove(self, stream: SourceStream) -> None:
        """Remove a stream; after the return its source may be closed."""
        with self._lock:
            self._streams = tuple(other for other in self._streams if other is not stream)
            self._served.pop(id(stream), None)
            ahead = self._ahead.get(id(stream))
        self._frame_event.set()
        if ahead is not None:
            ahead.stop()
        with self._asking:  # a poll that has begun must still find its `ReadAhead`
            self._ahead.pop(id(stream), None)
            stream.source.frame_event = None

    def close(self) -> None:
        """End `collect` immediately."""
        self._closed = True
        with self._lock:
            aheads = tuple(self._ahead.values())
        for ahead in aheads:  # without the lock, which a read in progress may need
            ahead.stop(wait=False)
        self._frame_event.set()

    def new_buffer(self) -> Frames:
        """A new batch buffer in the engine's memory, in the layout of the graph."""
        return self._new_batch(max(self._rows, self._frames.batch.min))

    def collect(self, buffer: Frames) -> FrameBatch | None:
        """The next batch, to be prepared in `buffer`; None at the end.

        Waits for a frame, then up to `batch_timeout_ms`. Live frames are prepared when it returns; workers may still
        prepare those of files, until `complete` was called.
        """
        while not self._closed:
            if self._failure is not None:
                raise self._failure
            batch = FrameBatch(buffer)
            taking_ns = self._fill(batch)
            if not batch.entries and self._may_miss_the_limit():
                continue
            if not batch.entries or self._closed:
                return None
            if not self.live:
                if batch.fits:
                    batch.pending = True
                    with self._lock:
                        self._pending += 1
                return batch
            began_ns = time.perf_counter_ns()
            if self.complete(batch):
                self._pace.prepared(taking_ns + time.perf_counter_ns() - began_ns)
                return batch
        return None

    def _fill(self, batch: FrameBatch) -> int:
        """Add frames until the batch is full or may wait no longer; returns the time of taking them in nanoseconds."""
        taking_ns = 0
        deadline_ns: int | None = None
        while not self._closed and len(batch.entries) < self._rows and not self._at_limit():
            self._frame_event.clear()
            began_ns = time.perf_counter_ns()
            try:
                taken = self._take_next(batch)
            except EdgevisionError as error:
                if not batch.entries:
                    raise
                self._failure = error
                break
            if taken:
                taking_ns += time.perf_counter_ns() - began_ns
                continue
            if not self._awaited(batch):
                break
            wait_s = LOOK_S
            if batch.entries:
                now_ns = time.perf_counter_ns()
                deadline_ns = deadline_ns or now_ns + int(self._options.batch_timeout_ms * 1e6)
                if now_ns >= deadline_ns:
                    break
                wait_s = (deadline_ns - now_ns) / 1e9
            self._frame_event.wait(wait_s)
        return taking_ns

    def complete(self, batch: FrameBatch) -> bool:
        """Wait for the workers' rows; False if none is left, because the graph cannot take any of the frames.

        Called for one batch after another, in the order of collection.
        """
        fits, batch.fits = batch.fits, []
        failures: list[tuple[SourceStream, EdgevisionError]] = []
        dropped = {row for row, (stream, _) in enumerate(batch.entries) if stream in self._rejected}
        for row, fit in fits:
            try:
                batch.transforms[row], took_ns = fit.result()
                batch.prepare_ns += took_ns
            except EdgevisionError as error:
                if row not in dropped:  # the first one of its stream
                    stream = batch.entries[row][0]
                    failures.append((stream, error))
                    self._rejected.add(stream)
                    later = range(row, len(batch.entries))
                    dropped.update(other for other in later if batch.entries[other][0] is stream)
        if dropped:
            self._drop(batch, dropped)
        for stream, failure in failures:
            self.fail(stream, failure)
        if batch.pending:
            batch.pending = False
            with self._lock:
                self._pending -= 1
            self._frame_event.set()
        count = len(batch.entries)
        if count:
            batch.rows = max(count, self._frames.batch.min)
            batch.buffer[count : batch.rows] = batch.buffer[count - 1]
        return count > 0

    def _drop(self, batch: FrameBatch, dropped: set[int]) -> None:
        """Remove rows; those below them move up."""
        kept = [row for row in range(len(batch.entries)) if row not in dropped]
        with self._lock:
            self._collected -= len(dropped)
        batch.buffer[: len(kept)] = batch.buffer[kept]
        batch.entries = [batch.entries[row] for row in kept]
        batch.transforms = [batch.transforms[row] for row in kept]

    def refresh(self, batch: FrameBatch) -> None:
        """Replace live frames that still wait for the engine with newer ones."""
        for row, (stream, frame) in enumerate(batch.entries):
            if not stream.source.live or stream.ended:
                continue
            newer = self._poll(stream)
            if newer is not None and self._place(batch, stream, newer, row, at_once=True):
                stream.displace()
                log.debug("%s: frame %d replaced by frame %d", stream.name, frame.index, newer.index)

    def _rows_of_a_batch(self) -> int:
        limits = self._frames.batch
        live = sum(stream.source.live for stream in self._streams)
        wanted = self._options.batch
        if wanted is None or wanted == "auto":
            wanted = limits.opt if not self.live else max(live, 1)
        return min(max(wanted, 1), limits.max)

    def _at_limit(self) -> bool:
        """True once `limit` frames of files have been taken; live frames may still be dropped."""
        return not self.live and self._collected == self._options.limit

    def _may_miss_the_limit(self) -> bool:
        """True if more frames may be needed, because workers reject some; waits for the next completed batch."""
        self._frame_event.clear()
        with self._lock:
            pending, reached = self._pending, self._at_limit()
        if not reached:
            return any(not stream.ended for stream in self._streams)
        if pending:
            self._frame_event.wait(LOOK_S)
        return pending > 0

    def _awaited(self, batch: FrameBatch) -> bool:
        """True if a source outside the batch may still supply a frame."""
        there = {id(stream) for stream, _ in batch.entries if stream.source.live}
        open_ones = [stream for stream in self._streams if not stream.ended]
        if not batch.entries:
            return self._stay or bool(open_ones)
        return any(id(stream) not in there for stream in open_ones)

    def _take_next(self, batch: FrameBatch) -> bool:
        """Add one frame, from the source with the oldest turn that has one; False if none has."""
        there = {id(stream) for stream, _ in batch.entries if stream.source.live}
        with self._lock:
            waiting = [stream for stream in self._streams if id(stream) not in there and not stream.ended]
            waiting.sort(key=lambda stream: self._served[id(stream)][0])
        for stream in waiting:
            frame = self._poll(stream)
            if frame is None or self._too_late(stream, frame, len(batch.entries) + 1):
                continue
            if self._place(batch, stream, frame, len(batch.entries)):
                self._turn += 1
                with self._lock:
                    self._collected += 1
                    if id(stream) in self._served:
                        self._served[id(stream)] = (self._turn, time.monotonic())
                return True
        return False

    def _poll(self, stream: SourceStream) -> SourceFrame | None:
        try:
            with self._asking:
                if stream.removed:
                    return None
                if stream.source.live:
                    return stream.source.poll()
                ahead = self._ahead.get(id(stream))
                frame = stream.source.read() if ahead is None else ahead.take()
                stream.source.ended = frame is None
                return frame
        except EdgevisionError as error:
            self.fail(stream, error)
            return None

    def _place(
        self,
        batch: FrameBatch,
        stream: SourceStream,
        frame: SourceFrame,
        row: int,
        *,
        at_once: bool = False,
    ) -> bool:
        """Prepare a frame in its row, or let a worker do it; False if the graph cannot take it."""

        def fit() -> Fitted:
            began_ns = time.perf_counter_ns()
            if self._tiled is not None:
                batch.buffer = frame.image_bgr[None]
                return self._tiled.placement(frame.image_bgr), time.perf_counter_ns() - began_ns
            # A whole image is converted once, and then scaled: the same pixels for all who see it. Planes are not
            # converted at all for a graph that takes them.
            whole = stream.takes_images and self._frames.layout == "bgr"
            pixels = frame.image_bgr if whole else frame.pixels
            transform = fit_frame(pixels, self._frames, out=batch.buffer[row])[1]
            return transform, time.perf_counter_ns() - began_ns

        transform, took_ns = NOT_FITTED, 0
        # One live frame alone is ready sooner without another thread.
        if self._workers is not None and not at_once and (self._rows > 1 or not self.live):
            batch.fits.append((row, self._workers.submit(fit)))
        else:
            try:
                transform, took_ns = fit()
            except EdgevisionError as error:
                self.fail(stream, error)
                return False
        batch.entries[row : row + 1] = [(stream, frame)]
        batch.transforms[row : row + 1] = [transform]
        batch.prepare_ns += took_ns
        return True

    def _admit(self) -> bool:
        """True if one more frame of a file may be read in advance: no more than `limit` are needed."""
        with self._lock:
            admitted = self.live or self._options.limit is None or self._admitted < self._options.limit
            self._admitted += admitted
            return admitted

    def fail(self, stream: SourceStream, error: EdgevisionError) -> None:
        """End a stream; raises its error if no other stream continues."""
        stream.failure = error
        if not self._stay and all(other.ended for other in self._streams):
            raise error
        log.warning("%s has ended: %s; the other sources continue", stream.name, error)

    def _too_late(self, stream: SourceStream, frame: SourceFrame, rows: int) -> bool:
        """True if the expected result would exceed `max_age_ms`, based on recent calls; the frame is then counted as
        late.
        """
        limit_ms = self._options.max_age_ms
        if limit_ms is None or not stream.source.live:
            return False
        with self._lock:
            last_s = self._served.get(id(stream), (0, 0.0))[1]
        if time.monotonic() - last_s > TRY_AGAIN_S:
            return False
        ahead_ns = self._pace.until_free_ns() + self._pace.expected_ns(max(rows, self._frames.batch.min))
        late = time.perf_counter_ns() + ahead_ns > frame.captured_ns + limit_ms * 1e6
        stream.source.lost.late += late
        return late
