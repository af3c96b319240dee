"""Runs many cameras on one engine; cameras, sinks and the engine can change at run time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from edgevision.contract.session import Session
from edgevision.errors import EdgevisionError, EngineError, UsageError
from edgevision.pipeline.batching import choose_batch
from edgevision.pipeline.broadcast import Listener, ResultBroadcast
from edgevision.pipeline.options import PipelineOptions
from edgevision.pipeline.pipeline import Pipeline
from edgevision.pipeline.streams import SourceStream
from edgevision.service.camera_plan import Camera, CameraPlan, CameraStatus, Phase, Readiness
from edgevision.service.periodic_gc import PeriodicGc
from edgevision.sinks.sink import Sink, SinkHealth
from edgevision.sources.opening import open_source

log = logging.getLogger(__name__)

Report = Callable[[str, float | None], None]
"""Receives the current activity and its progress from 0 to 1, or None if unknown."""
EngineFactory = Callable[[Report], Session]

CLOSE_S = 1.2
"""Time limit for the pipeline to end."""
OPENING_CLOSE_S = 0.5
"""The same before the first frame: a library that opens an engine does not return early."""


class CameraManager:
    """Runs cameras on one engine in its own threads until it is closed.

    A camera that cannot be opened or that fails gets the state "failed"; the others continue. Cameras that are away
    reconnect. `open_engine` runs in the manager's thread, because it may take minutes; cameras connect meanwhile. All
    methods are thread-safe.
    """

    def __init__(
        self,
        open_engine: EngineFactory,
        cameras: Sequence[CameraPlan],
        sinks: Mapping[str, Sink] | None = None,
        options: PipelineOptions | None = None,
    ) -> None:
        """Raises `UsageError` for duplicate names and unknown sinks."""
        self._options = options or PipelineOptions()
        self._sinks = dict(sinks or {})
        _check(cameras, self._sinks)
        self._cameras = {plan.name: Camera(plan, plan.threshold) for plan in cameras}
        self._lock = threading.RLock()
        self._broadcast = ResultBroadcast()
        self._readiness = Readiness("opening", None, "opening the engine")
        self._pipeline: Pipeline | None = None
        self._session: Session | None = None
        self._next: Session | None = None
        self._again = False
        self._failure: BaseException | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(open_engine,), name="cameras", daemon=True)

    def start(self) -> None:
        """Start the cameras and the engine; returns at once."""
        with self._lock:
            for camera in self._cameras.values():
                self._open(camera)
        self._thread.start()

    def close(self) -> None:
        """Close sources, sinks and the engine; a second call does nothing.

        An engine that hangs in a call is abandoned, because it cannot be closed safely.
        """
        if self._closing.is_set():
            return
        self._closing.set()
        with self._lock:
            sources = [camera.source for camera in self._cameras.values() if camera.source is not None]
            sinks, self._sinks = list(self._sinks.values()), {}
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(CLOSE_S if self._readiness.phase == "running" else OPENING_CLOSE_S)
        _close_all([*(source.close for source in sources), *(sink.close for sink in sinks)])
        if self._readiness.phase != "failed":
            self._readiness = Readiness("closed")

    @property
    def readiness(self) -> Readiness:
        """State of the engine: opening, building, running, failed or closed."""
        return self._readiness

    @property
    def session(self) -> Session | None:
        """The engine; None until it is open."""
        return self._session

    @property
    def failure(self) -> BaseException | None:
        """The error that ended processing: the engine could not be opened, or failed."""
        return self._failure

    @property
    def stuck_s(self) -> float:
        """Duration of the current engine call so far; 0 if there is none."""
        pipeline = self._pipeline
        return 0.0 if pipeline is None else pipeline.pace.busy_s

    @property
    def expected_inference_s(self) -> float:
        """Expected duration of an engine call, from recent calls; 0 before the first."""
        pipeline = self._pipeline
        return 0.0 if pipeline is None else pipeline.pace.expected_ns() / 1e9

    @property
    def cameras(self) -> tuple[CameraStatus, ...]:
        """Status of all cameras, in the given order."""
        with self._lock:
            default = None if self._session is None else self._session.threshold
            return tuple(camera.status(default) for camera in self._cameras.values())

    @property
    def sinks(self) -> tuple[SinkHealth, ...]:
        """State and counts of the sinks, in the given order."""
        with self._lock:
            return tuple(replace(sink.health, name=name) for name, sink in self._sinks.items())

    def start_camera(self, name: str) -> None:
        """Open a camera that was stopped, has ended or has failed; do nothing if it runs."""
        with self._lock:
            camera = self._camera(name)
            camera.stopped = False
            if camera.stream is not None and camera.stream.ended:
                self._shut(camera)
            if camera.source is None:
                self._open(camera)
                self._serve(camera)

    def stop_camera(self, name: str) -> None:
        """Close a camera; it stays in the list."""
        with self._lock:
            camera = self._camera(name)
            camera.stopped = True
            self._shut(camera)

    def set_threshold(self, value: float | None, name: str | None = None) -> None:
        """Set the minimum confidence of a detection, for one camera or all; None: the model's own."""
        if value is not None and not 0 <= value <= 1:
            raise UsageError(f"the threshold is {value:g}; expected 0 to 1")
        with self._lock:
            for camera in self._cameras.values() if name is None else [self._camera(name)]:
                camera.threshold = value
                if camera.stream is not None and self._session is not None:
                    camera.stream.threshold = camera.threshold_in(self._session)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with the camera's name and each result, before drawing; the returned function removes it.

        It runs in the pipeline's thread: it must be fast, and copy the image if it keeps it.
        """
        return self._broadcast.add(listener)

    def apply(
        self,
        cameras: Sequence[CameraPlan],
        sinks: Mapping[str, Sink] | None = None,
        open_engine: EngineFactory | None = None,
        options: PipelineOptions | None = None,
    ) -> tuple[str, ...]:
        """Apply new plans, sinks, engine and options (None: unchanged); returns one line per change.

        Cameras with an unchanged plan and unchanged sinks are not interrupted; a stopped camera stays stopped. Removed
        sinks are closed. A new engine is opened beside the old one, which runs until then, and continues if the new one
        fails to open. Raises `UsageError` like the constructor; nothing has changed then.
        """
        with self._lock:
            after = self._sinks if sinks is None else dict(sinks)
            _check(cameras, after)
            if options is not None and self._session is not None and open_engine is None:
                options.check(self._session.spec)
            before, self._sinks = self._sinks, after
            gone = [sink for sink in before.values() if all(sink is not other for other in after.values())]
            changes = [f"sink {name}: removed" for name in before if name not in after]
            changes += [f"sink {name}: added" for name in after if name not in before]
            changes += [
                f"sink {name}: changed"
                for name in after
                if name in before and after[name] is not before[name]
            ]
            changes += self._change_cameras(cameras, before)
            if options is not None and options != self._options:
                self._options = options
                self._again = True  # restarts the pipeline with the same engine
                changes.append("budgets: changed")
        _close_all([sink.close for sink in gone])
        if open_engine is not None:
            changes.append("engine: opening a new one")
            threading.Thread(target=self._replace_engine, args=(open_engine,), daemon=True).start()
        return tuple(changes)

    def _change_cameras(self, plans: Sequence[CameraPlan], sinks_before: Mapping[str, Sink]) -> list[str]:
        known, changes = self._cameras, []
        self._cameras = {}
        for name, camera in known.items():
            if all(plan.name != name for plan in plans):
                self._shut(camera)
                changes.append(f"camera {name}: removed")
        for plan in plans:
            camera = known.get(plan.name) or Camera(plan, plan.threshold)
            self._cameras[plan.name] = camera
            if plan.name not in known:
                self._open(camera)
                self._serve(camera)
                changes.append(f"camera {plan.name}: added")
                continue
            rewired = any(sinks_before.get(sink) is not self._sinks[sink] for sink in plan.sinks)
            if plan != camera.plan or rewired:
                self._change(camera, plan)
                changes.append(f"camera {plan.name}: changed")
        return changes

    def _change(self, camera: Camera, plan: CameraPlan) -> None:
        """Apply another plan; identities and counts continue if only the threshold or the sinks differ."""
        before, camera.plan = camera.plan, plan
        if plan.threshold != before.threshold:
            camera.threshold = plan.threshold
        if (
            camera.stream is not None
            and self._session is not None
            and replace(plan, threshold=before.threshold, sinks=before.sinks) == before
        ):
            camera.stream.threshold = camera.threshold_in(self._session)
            camera.stream.rewire(self._sinks_of(plan))
            return
        if (plan.address, plan.connection) != (before.address, before.connection) or camera.failure:
            self._shut(camera)
            if not camera.stopped:
                self._open(camera)
        self._serve(camera)

    def _camera(self, name: str) -> Camera:
        if name not in self._cameras:
            raise UsageError(f"there is no camera {name!r}; expected one of: {', '.join(self._cameras)}")
        return self._cameras[name]

    def _open(self, camera: Camera) -> None:
        """Open the camera's source, or store the error."""
        plan = camera.plan
        camera.failure = ""
        try:
            live = replace(plan.connection, wait_first=False)
            camera.source = open_source(plan.address, live, name=plan.name)
        except EdgevisionError as error:
            camera.failure = str(error)
            log.warning("camera %s: %s", plan.name, error)

    def _serve(self, camera: Camera) -> None:
        """Add the camera to the pipeline, replacing its previous stream; do nothing without a pipeline."""
        pipeline, session, plan = self._pipeline, self._session, camera.plan
        if camera.stream is not None and pipeline is not None:
            pipeline.remove(camera.stream)
        camera.stream = None
        if pipeline is None or session is None or camera.source is None:
            return
        try:
            threshold = camera.threshold_in(session)
            analytics = plan.analytics.open_if_wanted(session.spec, camera.source.fps, threshold)
        except EdgevisionError as error:
            self._shut(camera)
            camera.failure = str(error)
            log.warning("camera %s: %s", plan.name, error)
            return
        camera.stream = SourceStream(
            camera.source,
            self._sinks_of(plan),
            threshold=threshold,
            analytics=analytics,
            keep_going=True,
        )
        pipeline.add(camera.stream)

    def _sinks_of(self, plan: CameraPlan) -> list[Sink]:
        return [self._broadcast.of(plan.name), *(self._sinks[name] for name in plan.sinks)]

    def _shut(self, camera: Camera) -> None:
        """Remove the camera from the pipeline and close its source in the background."""
        if camera.stream is not None and self._pipeline is not None:
            self._pipeline.remove(camera.stream)
        if camera.source is not None:
            threading.Thread(
                target=camera.source.close, name=f"closing {camera.plan.name}", daemon=True
            ).start()
        camera.source = camera.stream = None

    def _work(self, open_engine: EngineFactory) -> None:
        """The camera manager's thread: open the engine, run pipelines until closed."""
        try:
            session: Session | None = open_engine(self._report)
            while session is not None and not self._closing.is_set():
                session = self._run(session)
            if not self._closing.is_set():
                raise EngineError("the pipeline ended unexpectedly")
        except BaseException as error:  # `failure` reports it, whatever its type
            self._failure = error
            self._readiness = Readiness("failed", None, str(error) or type(error).__name__)
            log.error("the camera manager has failed: %s", error)

    def _run(self, session: Session) -> Session | None:
        """Run one pipeline until the manager is closed or another engine is ready, which is returned."""
        if self._options.batch == "auto":
            self._report("measuring batch sizes", None)
        batch = choose_batch(session, self._options.batch, len(self._cameras))
        log.info("%s", batch)
        garbage = PeriodicGc()
        options = replace(self._options, batch=batch.rows)
        pipeline = Pipeline(session, options=options, stay=True)
        follower: Session | None = None
        with self._lock:
            self._session, self._pipeline = session, pipeline
            for camera in self._cameras.values():
                self._serve(camera)
            self._readiness = Readiness("running")

        def is_over() -> bool:
            garbage.collect_if_due()
            return self._closing.is_set() or self._next is not None or self._again

        try:
            pipeline.run(is_over)
            with self._lock:
                follower, self._next = self._next, None
                if follower is None and self._again and not self._closing.is_set():
                    follower = session
                self._again = False
        finally:
            garbage.close()
            with self._lock:
                self._pipeline = None
            if pipeline.hung:
                log.error("the engine hangs in a call; it cannot be closed")
            elif follower is not session:
                session.close()
        return follower

    def _replace_engine(self, open_engine: EngineFactory) -> None:
        try:
            session = open_engine(lambda detail, share: self._set_readiness("running", detail, share))
            self._options.check(session.spec)
        except EdgevisionError as error:
            log.error("the new engine cannot be opened; the old one continues: %s", error)
        else:
            self._next = session
        finally:
            if self._readiness.phase == "running":
                self._set_readiness("running", "", None)

    def _report(self, detail: str, share: float | None) -> None:
        self._set_readiness("opening" if share is None else "building", detail, share)

    def _set_readiness(self, phase: Phase, detail: str, share: float | None) -> None:
        if self._readiness.phase not in ("failed", "closed"):
            self._readiness = Readiness(phase, share, detail)


def _check(cameras: Sequence[CameraPlan], sinks: Mapping[str, Sink]) -> None:
    names = [plan.name for plan in cameras]
    for plan in cameras:
        if not plan.name or names.count(plan.name) > 1:
            raise UsageError(
                "two cameras have the same name, or one has none; expected different names, received"
                f" {', '.join(map(repr, names))}"
            )
        for sink in plan.sinks:
            if sink not in sinks:
                known = ", ".join(sinks) or "none"
                raise UsageError(
                    f"camera {plan.name} refers to the unknown sink {sink!r}; expected one of: {known}"
                )


def _close_all(closings: Sequence[Callable[[], None]]) -> None:
    """Close all in parallel, because each may wait for a thread or a peer; slow ones finish in the background."""
    threads = [threading.Thread(target=_close, args=(closing,), daemon=True) for closing in closings]
    for thread in threads:
        thread.start()
    until_s = time.monotonic() + CLOSE_S
    for thread in threads:
        thread.join(max(until_s - time.monotonic(), 0))


def _close(closing: Callable[[], None]) -> None:
    try:
        closing()
    except EdgevisionError as error:
        log.warning("%s", error)


__all__ = ["CameraManager", "CameraPlan", "CameraStatus", "EngineFactory", "Readiness", "Report"]
