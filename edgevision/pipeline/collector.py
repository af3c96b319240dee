"""Selection of frames for the next batch: the newest of live sources, in turn; every frame of files."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from edgevision.contract.image import fit_frame
from edgevision.contract.results import Outputs
from edgevision.contract.session import Frames, Session
from edgevision.contract.transform import FrameTransform
from edgevision.errors import EdgevisionError
from edgevision.pipeline.options import PipelineOptions
from edgevision.pipeline.schedule import EngineSchedule
from edgevision.pipeline.streams import SourceStream
from edgevision.sources.frames import SourceFrame

log = logging.getLogger(__name__)

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
    inference_ns: int = 0
    outputs: Outputs = ()
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
    ) -> None:
        self._frames = session.spec.frames
        self._new_batch = session.new_batch
        self._options = options
        self._pace = pace
        self._stay = stay
        self._frame_event = threading.Event()
        self._streams: tuple[SourceStream, ...] = ()
        self._lock = threading.Lock()
        self._asking = threading.Lock()
        """Held while a source is polled, so that a removed source is no longer in use and may be closed."""
        self._turn = 0
        self._served: dict[int, tuple[int, float]] = {}
        self._collected = 0
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
        with self._lock:
            stream.source.frame_event = self._frame_event
            self._served[id(stream)] = (0, time.monotonic())
            self._streams = (*self._streams, stream)
        self._frame_event.set()

    def remove(self, stream: SourceStream) -> None:
        """Remove a stream; after the return its source may be closed."""
        with self._lock:
            self._streams = tuple(other for other in self._streams if other is not stream)
            self._served.pop(id(stream), None)
        self._frame_event.set()
        with self._asking:
            stream.source.frame_event = None

    def close(self) -> None:
        """End `collect` immediately."""
        self._closed = True
        self._frame_event.set()

    def new_buffer(self) -> Frames:
        """A new batch buffer in the engine's memory: uint8 ``[B,H,W,3]``."""
        return self._new_batch(max(self._rows, self._frames.batch.min))

    def collect(self, buffer: Frames) -> FrameBatch | None:
        """The next batch, prepared in `buffer`; None at the end. Waits for a frame, then up to `batch_timeout_ms`."""
        batch = FrameBatch(buffer)
        taking_ns = 0
        deadline_ns: int | None = None
        while not self._closed and len(batch.entries) < self._rows and not self._at_limit():
            self._frame_event.clear()
            began_ns = time.perf_counter_ns()
            if self._take_next(batch):
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
        if not batch.entries or self._closed:
            return None
        count = len(batch.entries)
        batch.rows = max(count, self._frames.batch.min)
        batch.buffer[count : batch.rows] = batch.buffer[count - 1]
        self._pace.prepared(taking_ns)
        return batch

    def refresh(self, batch: FrameBatch) -> None:
        """Replace live frames that still wait for the engine with newer ones."""
        for row, (stream, frame) in enumerate(batch.entries):
            if not stream.source.live or stream.ended:
                continue
            newer = self._poll(stream)
            if newer is not None and self._place(batch, stream, newer, row):
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
                self._collected += 1
                self._turn += 1
                with self._lock:
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
                frame = stream.source.read()
                stream.source.ended = frame is None
                return frame
        except EdgevisionError as error:
            self.fail(stream, error)
            return None

    def _place(self, batch: FrameBatch, stream: SourceStream, frame: SourceFrame, row: int) -> bool:
        """Prepare a frame in its row; False if the graph cannot take it."""
        began_ns = time.perf_counter_ns()
        try:
            # A whole image is converted once, and then scaled: the same pixels for all who see it.
            pixels = frame.image_bgr if stream.takes_images else frame.pixels
            transform = fit_frame(pixels, self._frames, out=batch.buffer[row])[1]
        except EdgevisionError as error:
            self.fail(stream, error)
            return False
        batch.entries[row : row + 1] = [(stream, frame)]
        batch.transforms[row : row + 1] = [transform]
        batch.prepare_ns += time.perf_counter_ns() - began_ns
        return True

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
