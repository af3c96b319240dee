"""Fake sessions, sources and sinks that record their calls."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

import numpy as np

from edgevision.contract.results import Outputs
from edgevision.contract.session import EngineInfo, Frames, Session
from edgevision.contract.spec import BatchRange, FrameInput, ModelSpec, NmsSpec, Provenance, detect_outputs
from edgevision.errors import EngineError, SinkError, SourceError
from edgevision.sinks.frame_result import FrameResult
from edgevision.sinks.sink import Sink
from edgevision.sources.channel import Channel, ChannelClosed
from edgevision.sources.frames import Source, SourceFrame

SIDE = 64
PROVENANCE = Provenance("m.pt", None, "r", "2026-01-01T00:00:00+00:00")


def detector(batch: BatchRange | None = None, fit: str = "letterbox") -> ModelSpec:
    frames = FrameInput((SIDE, SIDE), fit=fit, batch=batch or BatchRange())  # type: ignore[arg-type]  # from a list
    nms = NmsSpec(candidates=1, max_detections=1)
    return ModelSpec("m", "detect", frames, detect_outputs(1), ("a",), PROVENANCE, nms)


class BrightnessSession(Session):
    """Answers one box whose score tells the brightness of its row: results can be matched with frames."""

    def __init__(
        self, spec: ModelSpec | None = None, *, takes_s: float = 0.0, fails_at: int | None = None
    ) -> None:
        super().__init__(spec or detector(), EngineInfo("brightness", "test", "cpu"))
        self.takes_s = takes_s
        self.fails_at = fails_at
        self.batches: list[int] = []
        self.buffers: set[int] = set()

    def _infer(self, frames: Frames) -> Outputs:
        if len(self.batches) == self.fails_at:
            raise EngineError("the engine broke")
        time.sleep(self.takes_s)
        self.batches.append(len(frames))
        self.buffers.add(frames.__array_interface__["data"][0])
        count = len(frames)
        middle = frames[:, SIDE // 2, SIDE // 2, 0].astype(np.float32) / 255
        if self.spec.task == "classify":
            return (np.stack([middle, 1 - middle], 1),)
        boxes = np.tile(np.array([16, 16, 48, 48], np.float32), (count, 1, 1))
        return boxes, middle[:, None], np.zeros((count, 1), np.int32)


class MemorySource(Source):
    """Frame n has brightness n; may be live, be slow, fail, or wait for ever.

    Polled while it is live, a thread of its own reads; with a period newer frames replace those not yet taken.
    """

    def __init__(
        self,
        count: int | None,
        *,
        live: bool = False,
        period_s: float = 0.0,
        fails: bool = False,
        sizes: Iterable[tuple[int, int]] = ((SIDE, SIDE),),
    ) -> None:
        super().__init__("memory", live=live, fps=25.0, frame_count=count)
        self.size_wh = (SIDE, SIDE)
        self.sizes = tuple(sizes)
        self.period_s = period_s
        self.fails = fails
        self.given = 0
        self.closed = threading.Event()
        self.close_count = 0
        self._ahead: Channel[SourceFrame] = Channel(1, newest=period_s > 0)
        self._failure: SourceError | None = None
        self._reader: threading.Thread | None = None

    def poll(self) -> SourceFrame | None:
        if not self.live:
            return super().poll()
        if self._reader is None:
            self._reader = threading.Thread(target=self._read_ahead, daemon=True)
            self._reader.start()
        try:
            return self._ahead.get(0)
        except ChannelClosed:
            self.ended = True
            if self._failure is not None:
                raise self._failure from None
            return None

    def _read_ahead(self) -> None:
        try:
            while (frame := self.read()) is not None:
                self.lost.dropped += self._ahead.put(frame) is not None
                self._notify()
        except SourceError as error:
            self._failure = error
        except ChannelClosed:
            pass
        finally:
            self._ahead.end()
            self._notify()

    def read(self) -> SourceFrame | None:
        if self.given == self.frame_count:
            if self.fails:
                raise SourceError("the source broke")
            return None
        if self.closed.wait(self.period_s):
            return None
        width, height = self.sizes[self.given % len(self.sizes)]
        image = np.full((height, width, 3), self.given % 256, np.uint8)
        index, self.given = self.given, self.given + 1
        return SourceFrame(image, index, "memory", time.perf_counter_ns(), time.time(), None, 1000)

    def close(self) -> None:
        self.close_count += 1
        self.closed.set()
        self._ahead.abort()
        self._notify()
        if self._reader is not None and self._reader is not threading.current_thread():
            self._reader.join(5)


class SilentCamera(MemorySource):
    """Live, and no frame ever comes."""

    def __init__(self) -> None:
        super().__init__(None, live=True)

    def read(self) -> SourceFrame | None:
        self.closed.wait(30)
        return None


class ListSink(Sink):
    """Keeps what it is given."""

    def __init__(self, *, takes_s: float = 0.0, fails_at: int | None = None, annotated: bool = False) -> None:
        self.takes_s = takes_s
        self.fails_at = fails_at
        self.annotated = annotated
        self.seen: list[FrameResult] = []
        self.threads: set[str] = set()
        self.close_count = 0

    def write(self, processed: FrameResult) -> None:
        if len(self.seen) == self.fails_at:
            raise SinkError("the sink broke")
        time.sleep(self.takes_s)
        self.threads.add(threading.current_thread().name)
        self.seen.append(processed)

    def close(self) -> None:
        self.close_count += 1
