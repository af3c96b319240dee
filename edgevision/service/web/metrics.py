"""Prometheus metrics of the camera manager at the time of the scrape, in base units."""

from __future__ import annotations

import bisect
import math
import platform
import threading
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import get_args

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

import edgevision
from edgevision.analytics.observation import LineState
from edgevision.contract.thresholds import least_of
from edgevision.service.camera_manager import CameraManager
from edgevision.service.camera_plan import CameraState, CameraStatus
from edgevision.service.watchdog import WatchdogOptions
from edgevision.service.web.machine_metrics import machine_metrics
from edgevision.service.web.state import trouble
from edgevision.sinks.frame_result import FrameResult

AGE_BUCKETS_S = (0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0)
CAMERA = ("camera",)


class Ages:
    """Ages of results as a histogram. `offer` is called in the pipeline's thread."""

    def __init__(self) -> None:
        self._counts: dict[str, list[int]] = {}
        self._sums_s: dict[str, float] = {}

    def offer(self, camera: str, processed: FrameResult) -> None:
        """Count a result."""
        age_s = processed.age_ms / 1e3
        counts = self._counts.get(camera)
        if counts is None:
            counts = self._counts[camera] = [0] * (len(AGE_BUCKETS_S) + 1)
        self._sums_s[camera] = self._sums_s.get(camera, 0.0) + age_s
        counts[bisect.bisect_left(AGE_BUCKETS_S, age_s)] += 1

    def buckets(self, camera: str) -> tuple[list[tuple[str, float]], float]:
        """Bounds with cumulative counts, and the sum in seconds."""
        counts = list(self._counts.get(camera, [0] * (len(AGE_BUCKETS_S) + 1)))
        bounds = [*map(str, AGE_BUCKETS_S), "+Inf"]
        return list(zip(bounds, map(float, accumulate(counts)), strict=True)), self._sums_s.get(camera, 0.0)


class PageCounts:
    """Counters of the page itself; the server updates them."""

    def __init__(self) -> None:
        self.viewers = 0
        self.clients = 0
        self.pictures = 0
        self.missed = 0
        self.refused = 0


class MonotonicCounters:
    """Counters that never fall, even if a stopped or changed camera restarts its counts at 0."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, ...], float] = {}
        self._before: dict[tuple[str, ...], float] = {}

    def __call__(self, key: tuple[str, ...], value: float) -> float:
        """The total of `key` over all restarts."""
        last = self._last.get(key, 0.0)
        if value < last:
            self._before[key] = self._before.get(key, 0.0) + last
        self._last[key] = value
        return self._before.get(key, 0.0) + value


class CameraCollector(Collector):
    """Reads a camera manager at each scrape. Only one thread at a time may call it."""

    def __init__(
        self, camera_manager: CameraManager, ages: Ages, page: PageCounts, watchdog: WatchdogOptions
    ) -> None:
        self._camera_manager = camera_manager
        self._ages = ages
        self._page = page
        self._watchdog = watchdog
        self._steady = MonotonicCounters()

    def describe(self) -> list[Metric]:
        """Return nothing, so that registration does not read the camera manager."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All metrics; docs/live.md lists them."""
        cameras = self._camera_manager.cameras
        yield from self._frames(cameras)
        yield from self._outages(cameras)
        yield from self._times(cameras)
        yield from self._places(cameras)
        yield from self._sinks()
        yield from self._engine()
        yield from machine_metrics(self._steady)
        yield from self._served()

    def _counter(
        self, name: str, text: str, labels: tuple[str, ...], rows: Sequence[tuple[tuple[str, ...], float]]
    ) -> Metric:
        family = CounterMetricFamily(f"edgevision_{name}", text, labels=labels)
        for values, count in rows:
            family.add_metric(values, self._steady((name, *values), count))
        return family

    def _frames(self, cameras: tuple[CameraStatus, ...]) -> Iterator[Metric]:
        stats = [((camera.name,), camera.stats) for camera in cameras]
        yield self._counter("frames", "Frames with a result.", CAMERA, [(n, s.frames) for n, s in stats])
        yield self._counter(
            "frames_dropped",
            "Frames replaced by newer ones before inference.",
            CAMERA,
            [(n, s.lost.dropped) for n, s in stats],
        )
        yield self._counter(
            "frames_late",
            "Frames dropped because their result was, or would have been, too old.",
            CAMERA,
            [(n, s.lost.late) for n, s in stats],
        )
        yield self._counter(
            "frames_missed",
            "Frames that the camera captured and that never reached the pipeline.",
            CAMERA,
            [(n, s.lost.missed) for n, s in stats],
        )
        withheld = [
            ((camera.name, reason), float(count))
            for camera in cameras
            for reason, count in (
                ("frozen", camera.stats.health.frozen_frames),
                ("black", camera.stats.health.black_frames),
                ("damaged", camera.stats.health.damaged_frames),
            )
        ]
        yield self._counter(
            "frames_withheld",
            "Frozen, black or damaged frames, which were not passed to the model.",
            (*CAMERA, "reason"),
            withheld,
        )

    def _outages(self, cameras: tuple[CameraStatus, ...]) -> Iterator[Metric]:
        health = [((camera.name,), camera.stats.health) for camera in cameras]
        yield self._counter("outages", "Number of outages.", CAMERA, [(n, h.outages) for n, h in health])
        yield self._counter(
            "outage_seconds",
            "Total length of outages, including the current one.",
            CAMERA,
            [(n, h.outage_s) for n, h in health],
        )
        state = GaugeMetricFamily(
            "edgevision_camera_state", "1 for the current state of the camera.", labels=(*CAMERA, "state")
        )
        running = GaugeMetricFamily("edgevision_camera_up", "1 while frames arrive.", labels=CAMERA)
        threshold = GaugeMetricFamily(
            "edgevision_threshold_ratio",
            "Minimum confidence of a detection; the lowest of all classes.",
            labels=CAMERA,
        )
        for camera in cameras:
            for one in get_args(CameraState):
                state.add_metric((camera.name, one), float(camera.state == one))
            running.add_metric((camera.name,), float(camera.state == "running"))
            if camera.threshold is not None:
                threshold.add_metric((camera.name,), least_of(camera.threshold))
        yield from (state, running, threshold)

    def _times(self, cameras: tuple[CameraStatus, ...]) -> Iterator[Metric]:
        age = HistogramMetricFamily(
            "edgevision_result_age_seconds", "Time from the capture of a frame to its result.", labels=CAMERA
        )
        stage = GaugeMetricFamily(
            "edgevision_stage_seconds", "Recent median time of a stage.", labels=(*CAMERA, "stage")
        )
        for camera in cameras:
            buckets, sum_s = self._ages.buckets(camera.name)
            age.add_metric((camera.name,), buckets, sum_s)
            for name, ms in camera.stats.stages_ms.items():
                stage.add_metric((camera.name, name), ms / 1e3)
        yield from (age, stage)

    def _places(self, cameras: tuple[CameraStatus, ...]) -> Iterator[Metric]:
        crossings: list[tuple[tuple[str, ...], float]] = []
        zones = GaugeMetricFamily(
            "edgevision_zone_inside", "Objects inside a zone.", labels=(*CAMERA, "zone")
        )
        for camera in cameras:
            for state in camera.counts:
                if isinstance(state, LineState):
                    crossings.append(((camera.name, state.line.name, "in"), state.crossed_in))
                    crossings.append(((camera.name, state.line.name, "out"), state.crossed_out))
                else:
                    zones.add_metric((camera.name, state.zone.name), state.inside)
        yield self._counter(
            "line_crossings", "Objects that crossed a line.", (*CAMERA, "line", "direction"), crossings
        )
        yield zones

    def _sinks(self) -> Iterator[Metric]:
        sinks = self._camera_manager.sinks
        yield self._counter(
            "sink_written",
            "Results written by a sink.",
            ("sink",),
            [((s.name,), s.written) for s in sinks],
        )
        yield self._counter(
            "sink_lost", "Results lost by a sink.", ("sink",), [((s.name,), s.lost) for s in sinks]
        )
        waiting = GaugeMetricFamily(
            "edgevision_sink_waiting", "Results in the queue of a sink.", labels=("sink",)
        )
        working = GaugeMetricFamily("edgevision_sink_up", "0 while a sink fails.", labels=("sink",))
        for sink in sinks:
            waiting.add_metric((sink.name,), sink.waiting)
            working.add_metric((sink.name,), float(sink.state == "working"))
        yield from (waiting, working)

    def _engine(self) -> Iterator[Metric]:
        camera_manager = self._camera_manager
        readiness, session = camera_manager.readiness, camera_manager.session
        yield InfoMetricFamily(
            "edgevision_build",
            "Version of the program.",
            {"version": edgevision.__version__, "python": platform.python_version()},
        )
        engine = InfoMetricFamily(
            "edgevision_engine",
            "Model and engine.",
            labels=("model", "task", "engine", "library", "device", "precision"),
        )
        if session is not None:
            spec, info = session.spec, session.info
            names = (spec.name, spec.task, info.engine, info.library, info.device, session.precision or "")
            engine.add_metric(names, {})
        yield engine
        yield GaugeMetricFamily("edgevision_ready", "1 while frames are processed.", float(readiness.ready))
        share = 1.0 if readiness.ready else readiness.share
        yield GaugeMetricFamily(
            "edgevision_ready_ratio",
            "Progress of opening or building the engine; NaN if unknown.",
            math.nan if share is None else share,
        )
        yield GaugeMetricFamily(
            "edgevision_healthy",
            "0 if processing has ended or the engine hangs.",
            float(trouble(camera_manager, self._watchdog) is None),
        )
        yield GaugeMetricFamily(
            "edgevision_inference_running_seconds",
            "Duration of the current engine call.",
            camera_manager.stuck_s,
        )

    def _served(self) -> Iterator[Metric]:
        page = self._page
        clients = GaugeMetricFamily("edgevision_page_clients", "Connected clients.", labels=("kind",))
        clients.add_metric(("video",), page.viewers)
        clients.add_metric(("results",), page.clients)
        yield clients
        for name, text, count in (
            ("page_pictures", "Frames drawn and encoded for viewers.", page.pictures),
            ("page_results_missed", "Results not sent to slow clients.", page.missed),
            ("page_refused", "Rejected requests.", page.refused),
        ):
            yield CounterMetricFamily(f"edgevision_{name}", text, count)


class Metrics:
    """A registry with one collector. Thread-safe."""

    def __init__(
        self,
        camera_manager: CameraManager,
        ages: Ages,
        page: PageCounts,
        watchdog: WatchdogOptions | None = None,
    ) -> None:
        self._lock = threading.Lock()
        self.registry = CollectorRegistry()
        self.registry.register(CameraCollector(camera_manager, ages, page, watchdog or WatchdogOptions()))

    def text(self, accept: str) -> tuple[bytes, str]:
        """All metrics in a format that the scraper accepts, with its content type."""
        encoder, content_type = choose_encoder(accept)
        with self._lock:
            return encoder(self.registry), content_type
