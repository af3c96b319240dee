"""One source on its way through the pipeline: what is done with its frames, and how it fares."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgevision.analytics.analytics import Analytics
from edgevision.analytics.observation import Observation
from edgevision.contract.results import Result
from edgevision.drawing.observation import annotate
from edgevision.errors import SinkError
from edgevision.sinks.processed import Processed
from edgevision.sinks.sink import Sink
from edgevision.sources.frames import Source, SourceFrame
from edgevision.sources.health import FrameCounts, SourceHealth

log = logging.getLogger(__name__)

KEPT = 256
"""Results that ages, stages and rates are told from: the latest ones."""
RATE_OVER_S = 5.0


@dataclass(frozen=True, slots=True)
class StreamStats:
    """How a stream fares at one moment; counts are since its beginning."""

    frames: int
    """Results that were handed on."""
    frames_per_s: float
    age_p50_ms: float | None
    """Of the latest results of a live source; None before the first, and for files."""
    age_p99_ms: float | None
    stages_ms: Mapping[str, float]
    """Medians of the latest results, in the order of the stages."""
    health: SourceHealth

    @property
    def lost(self) -> FrameCounts:
        """Frames that led to no result."""
        return self.health.lost


class Stream:
    """A source, what is done with its results, and its sinks.

    The pipeline's last stage calls `finish` for each result; everything else may be called by any thread. With
    `keep_going` a sink that cannot write is left out, and said once, until it can again; else its error is raised.
    """

    def __init__(
        self,
        source: Source,
        sinks: Sequence[Sink] = (),
        *,
        analytics: Analytics | None = None,
        keep_going: bool = False,
    ) -> None:
        self.name = source.name
        self.source = source
        self.sinks: tuple[Sink, ...] = ()
        """Those first that take the image as it is."""
        self.rewire(sinks)
        self.failure: Exception | None = None
        """What ended it before its time."""
        self.removed = False
        """True once it was taken out of its pipeline: results that are still under way are dropped."""
        self.observation: Observation | None = None
        """The latest."""
        self.analytics = analytics or Analytics()
        self._keep_going = keep_going
        self._failing: set[int] = set()
        self._lock = threading.Lock()
        self._frames = 0
        self._ages_ms: deque[float] = deque(maxlen=KEPT)
        self._times: deque[dict[str, float]] = deque(maxlen=KEPT)
        self._done_s: deque[float] = deque(maxlen=KEPT)

    @property
    def threshold(self) -> float:
        """Detections of a lower score are left out; may be set while frames run."""
        return self.analytics.threshold

    @threshold.setter
    def threshold(self, value: float) -> None:
        self.analytics.threshold = value

    @property
    def needed_score(self) -> float:
        """From which score on results are wanted; lower than `threshold` where identities are followed."""
        return self.analytics.needed_score

    @property
    def ended(self) -> bool:
        """True if nothing more comes from it."""
        return self.source.ended or self.failure is not None or self.removed

    def rewire(self, sinks: Sequence[Sink]) -> None:
        """Hand results to these from the next one on."""
        self.sinks = tuple(sorted(sinks, key=lambda sink: sink.annotated))

    def observe(self, frame: SourceFrame, result: Result) -> tuple[Result, Observation | None]:
        """What of a result goes on, and what was seen in it."""
        seen, self.observation = self.analytics.observe(frame, result)
        return seen, self.observation

    def displace(self) -> None:
        """Count a frame that was prepared and then replaced by a newer one."""
        self.source.lost.dropped += 1

    def finish(self, processed: Processed) -> Processed:
        """Write to all sinks, draw for those that ask for it, keep count; returns it with the time that this took."""
        began_ns = time.perf_counter_ns()
        drawn = False
        for sink in self.sinks:
            if sink.annotated and not drawn:
                annotate(processed.frame.image_bgr, processed.result, processed.observation)
                drawn = True
            self._write(sink, processed)
        output_ns = time.perf_counter_ns() - began_ns
        processed = replace(processed, times=replace(processed.times, output_ns=output_ns))
        with self._lock:
            self._frames += 1
            if self.source.live:  # of files it would say how fast they are read
                self._ages_ms.append(processed.age_ms)
            self._times.append(processed.times.in_ms())
            self._done_s.append(time.monotonic())
        return processed

    @property
    def stats(self) -> StreamStats:
        """At this moment."""
        with self._lock:
            frames, ages_ms = self._frames, list(self._ages_ms)
            times, done_s = list(self._times), list(self._done_s)
        p50, p99 = (float(value) for value in np.percentile(ages_ms, [50, 99])) if ages_ms else (None, None)
        stages = (
            {name: float(np.median([each[name] for each in times])) for name in times[-1]} if times else {}
        )
        return StreamStats(frames, _rate(done_s), p50, p99, stages, self.source.health)

    def _write(self, sink: Sink, processed: Processed) -> None:
        try:
            sink.write(processed)
        except SinkError as error:
            if not self._keep_going:
                raise
            if id(sink) not in self._failing:
                self._failing.add(id(sink))
                log.warning("%s: %s; results go on to the others", self.name, error)
        else:
            self._failing.discard(id(sink))


def _rate(done_s: Sequence[float]) -> float:
    """Results a second over the last `RATE_OVER_S`, the time since the newest included: after the last one it falls."""
    now_s = time.monotonic()
    recent = [moment_s for moment_s in done_s if now_s - moment_s < RATE_OVER_S]
    if len(recent) < 2:
        return 0.0
    gap_s = (recent[-1] - recent[0]) / (len(recent) - 1)
    return (len(recent) - 1) / max(recent[-1] - recent[0], now_s - recent[0] - gap_s)
