"""The last stage: results of a stream to its sinks, in order; drawing and encoding in worker threads."""

from __future__ import annotations

import time
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from edgevision.pipeline.streams import SourceStream, drawn
from edgevision.pipeline.workers import Strand, Workers
from edgevision.sinks.frame_result import FrameResult
from edgevision.sinks.sink import Sink

Report = Callable[[SourceStream, FrameResult], None]


class OutputStage:
    """Writes results in the calling thread; sinks that draw or encode images run in `workers` if they may.

    Each stream's results are drawn in parallel and written one after another. `report` is called in the calling thread
    after the sinks, in the order of the results.
    """

    def __init__(self, workers: Workers, report: Report) -> None:
        self._workers = workers
        self._report = report
        self._strands: weakref.WeakKeyDictionary[SourceStream, Strand] = weakref.WeakKeyDictionary()
        self._pending: deque[tuple[SourceStream, Future[FrameResult]]] = deque()

    def write(self, stream: SourceStream, processed: FrameResult, shared: frozenset[int]) -> None:
        """Write a result, or queue the rest of it. Sinks in `shared`, by identity, belong to several streams.

        Raises errors of sinks, also those of results before; waits while too many are queued.
        """
        light, heavy = _divided(stream.sinks, shared)
        if not heavy:
            if any(sink.parallel for sink in stream.sinks):
                self.drain()  # a sink that is shared since its last result may have some of it in a worker
            done: Future[FrameResult] = Future()
            done.set_result(stream.write(processed))
            self._pending.append((stream, done))
            self.report()
            return
        began_ns = time.perf_counter_ns()
        stream.write_to(light, processed)
        spent_ns = time.perf_counter_ns() - began_ns
        drawing: Future[tuple[FrameResult, int]] | None = None
        if any(sink.annotated for sink in heavy):
            drawing = self._workers.submit(lambda: _timed(processed))
        strand = self._strands.setdefault(stream, Strand(self._workers))

        def rest() -> FrameResult:
            shown, draw_ns = (processed, 0) if drawing is None else drawing.result()
            again_ns = time.perf_counter_ns()
            stream.write_to(heavy, shown)
            output_ns = spent_ns + draw_ns + time.perf_counter_ns() - again_ns
            return stream.completed(processed, output_ns)

        self._pending.append((stream, strand.submit(rest)))
        self.report()
        while len(self._pending) > self._workers.count:
            self._report_next()

    def report(self) -> None:
        """Report results whose output is complete."""
        while self._pending and self._pending[0][1].done():
            self._report_next()

    def drain(self) -> None:
        """Wait for all queued output."""
        while self._pending:
            self._report_next()

    def _report_next(self) -> None:
        stream, future = self._pending.popleft()
        self._report(stream, future.result())


def _divided(sinks: tuple[Sink, ...], shared: frozenset[int]) -> tuple[tuple[Sink, ...], tuple[Sink, ...]]:
    """The sinks of the calling thread, and those of workers: none if one that needs the calling thread comes later."""
    light = tuple(sink for sink in sinks if not sink.annotated and not sink.parallel)
    heavy = sinks[len(light) :]
    if not all(sink.parallel and id(sink) not in shared for sink in heavy):
        return sinks, ()
    return light, heavy


def _timed(processed: FrameResult) -> tuple[FrameResult, int]:
    """The result with its image drawn, and the time in nanoseconds."""
    began_ns = time.perf_counter_ns()
    shown = drawn(processed)
    return shown, time.perf_counter_ns() - began_ns
