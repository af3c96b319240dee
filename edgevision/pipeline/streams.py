"""One source in the pipeline: its processing, sinks and statistics."""

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
from edgevision.contract.results import Outputs, Translation, results_from_outputs
from edgevision.contract.spec import ModelSpec
from edgevision.contract.thresholds import THRESHOLD, Threshold
from edgevision.contract.transform import FrameTransform
from edgevision.drawing.observation import annotate
from edgevision.errors import EdgevisionError, SinkError
from edgevision.sinks.frame_result import FrameResult, StageTimes
from edgevision.sinks.sink import Sink
from edgevision.sources.frames import Source, SourceFrame
from edgevision.sources.health import FrameCounts, SourceHealth

log = logging.getLogger(__name__)

KEPT = 256
"""Number of latest results for ages, stage times and rates."""
RATE_OVER_S = 5.0


@dataclass(frozen=True, slots=True)
class StreamStats:
    """Statistics of a stream; counts are totals since its start."""

    frames: int
    """Results passed on."""
    frames_per_s: float
    age_p50_ms: float | None
    """Median age of the latest results of a live source; None before the first result, and for files."""
    age_p99_ms: float | None
    stages_ms: Mapping[str, float]
    """Median times of the latest results, in the order of the stages."""
    health: SourceHealth

    @property
    def lost(self) -> FrameCounts:
        """Frames without a result."""
        return self.health.lost


class SourceStream:
    """A source with its analytics and sinks.

    The pipeline's last stage calls `handle` for each frame, or its parts; any thread may call the rest. With
    `keep_going`, a sink that cannot write is logged once and skipped until it works again; otherwise its error is
    raised.
    """

    def __init__(
        self,
        source: Source,
        sinks: Sequence[Sink] = (),
        *,
        threshold: Threshold | None = None,
        analytics: Analytics | None = None,
        keep_going: bool = False,
    ) -> None:
        """`threshold`: minimum confidence of a detection; None: the pipeline's (`PipelineOptions.threshold`)."""
        self.name = source.name
        self.source = source
        self.sinks: tuple[Sink, ...] = ()
        """The sinks; those without annotations come first, because others draw into the image."""
        self.rewire(sinks)
        self.failure: EdgevisionError | None = None
        """The error that ended the stream early."""
        self.removed = False
        """True once it was removed from its pipeline; unfinished results are discarded."""
        self.observation: Observation | None = None
        """The latest observation."""
        self.analytics = analytics
        """None without filters, tracking and counting; results then pass unchanged."""
        self._threshold = threshold
        if threshold is not None and analytics is not None:
            analytics.threshold = threshold
        self._keep_going = keep_going
        self._failing: set[int] = set()
        self._lock = threading.Lock()
        self._frames = 0
        self._ages_ms: deque[float] = deque(maxlen=KEPT)
        self._times: deque[dict[str, float]] = deque(maxlen=KEPT)
        self._done_s: deque[float] = deque(maxlen=KEPT)

    @property
    def threshold(self) -> Threshold:
        """Minimum confidence of a detection; may be changed during a run."""
        if self._threshold is not None:
            return self._threshold
        return THRESHOLD if self.analytics is None else self.analytics.threshold

    @threshold.setter
    def threshold(self, value: Threshold) -> None:
        self._threshold = value
        if self.analytics is not None:
            self.analytics.threshold = value

    def default_threshold(self, value: Threshold) -> None:
        """Set the threshold unless the stream or its analytics has one."""
        if self._threshold is not None:
            return
        if self.analytics is None:
            self._threshold = value
        else:
            self.analytics.default_threshold(value)

    @property
    def takes_images(self) -> bool:
        """True if a sink uses the image of every frame."""
        return any(sink.takes_images for sink in self.sinks)

    @property
    def ended(self) -> bool:
        """True if the stream supplies no more frames."""
        return self.source.ended or self.failure is not None or self.removed

    def rewire(self, sinks: Sequence[Sink]) -> None:
        """Replace the sinks, from the next result on."""
        self.sinks = tuple(sorted(sinks, key=lambda sink: (sink.annotated, sink.parallel)))

    def handle(
        self,
        spec: ModelSpec,
        outputs: Outputs,
        frame: SourceFrame,
        transform: FrameTransform,
        times: StageTimes,
        *,
        max_age_ms: float | None = None,
    ) -> FrameResult | None:
        """`observe` one row, and `write` its result."""
        result = self.observe(spec, outputs, frame, transform, times, max_age_ms=max_age_ms)
        return None if result is None else self.write(result)

    def observe(
        self,
        spec: ModelSpec,
        outputs: Outputs,
        frame: SourceFrame,
        transform: FrameTransform,
        times: StageTimes,
        *,
        max_age_ms: float | None = None,
    ) -> FrameResult | None:
        """Convert one row of a batch's outputs into a result.

        None if there is none: it is live and older than `max_age_ms`, or the analytics cannot run on this source. The
        error is then in `failure`.
        """
        began_ns = time.perf_counter_ns()
        analytics = self.analytics
        threshold = self.threshold if analytics is None else analytics.min_confidence
        result = results_from_outputs(spec, outputs, (transform,), threshold=threshold)[0]
        if analytics is not None:
            try:
                result, self.observation = analytics.observe(frame, result)
            except EdgevisionError as error:
                self.failure = error
                return None
        finished_ns = time.perf_counter_ns()
        age_ms = (finished_ns - frame.captured_ns) / 1e6
        if max_age_ms is not None and self.source.live and age_ms > max_age_ms:
            self.source.lost.late += 1
            return None
        times = replace(times, results_ns=finished_ns - began_ns)
        return FrameResult(frame, result, times, age_ms, self.observation)

    def displace(self) -> None:
        """Count a prepared frame that a newer one replaced."""
        self.source.lost.dropped += 1

    def write(self, processed: FrameResult) -> FrameResult:
        """Draw if a sink requests it, and write to all sinks; returns the result with its output time."""
        began_ns = time.perf_counter_ns()
        shown: FrameResult | None = None
        for sink in self.sinks:
            if sink.annotated and shown is None:
                shown = drawn(processed)
            self._write(sink, shown if sink.annotated and shown is not None else processed)
        return self.completed(processed, time.perf_counter_ns() - began_ns)

    def write_to(self, sinks: Sequence[Sink], processed: FrameResult) -> None:
        """Write to some of the sinks, without drawing."""
        for sink in sinks:
            self._write(sink, processed)

    def completed(self, processed: FrameResult, output_ns: int) -> FrameResult:
        """Update the statistics; returns the result with its output time."""
        processed = replace(processed, times=replace(processed.times, output_ns=output_ns))
        with self._lock:
            self._frames += 1
            if self.source.live:  # the age means nothing for files
                self._ages_ms.append(processed.age_ms)
            self._times.append(processed.times.in_ms())
            self._done_s.append(time.monotonic())
        return processed

    @property
    def stats(self) -> StreamStats:
        """Current statistics."""
        with self._lock:
            frames, ages_ms = self._frames, list(self._ages_ms)
            times, done_s = list(self._times), list(self._done_s)
        p50, p99 = (float(value) for value in np.percentile(ages_ms, [50, 99])) if ages_ms else (None, None)
        stages = (
            {name: float(np.median([each[name] for each in times])) for name in times[-1]} if times else {}
        )
        return StreamStats(frames, _rate(done_s), p50, p99, stages, self.source.health)

    def _write(self, sink: Sink, processed: FrameResult) -> None:
        try:
            sink.write(processed)
        except SinkError as error:
            if not self._keep_going:
                raise
            if id(sink) not in self._failing:
                self._failing.add(id(sink))
                log.warning("%s: %s; the other sinks continue", self.name, error)
        else:
            self._failing.discard(id(sink))


def _rate(done_s: Sequence[float]) -> float:
    """Results per second over the last `RATE_OVER_S`; the time since the newest result counts too."""
    now_s = time.monotonic()
    recent = [moment_s for moment_s in done_s if now_s - moment_s < RATE_OVER_S]
    if len(recent) < 2:
        return 0.0
    gap_s = (recent[-1] - recent[0]) / (len(recent) - 1)
    return (len(recent) - 1) / max(recent[-1] - recent[0], now_s - recent[0] - gap_s)


def drawn(processed: FrameResult) -> FrameResult:
    """The result for sinks of annotated images: drawn into its frame, in place, or with the image that was made."""
    if isinstance(processed.result, Translation):
        return replace(processed, frame=processed.frame.with_image(processed.result.image))
    annotate(processed.frame.image_bgr, processed.result, processed.observation)
    return processed
