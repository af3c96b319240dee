"""A running deployment: camera manager, sinks, page and watchdog, which follow one file."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgevision.bundle.folder import Bundle
from edgevision.errors import EdgevisionError
from edgevision.service.camera_manager import CameraManager, EngineFactory
from edgevision.service.camera_plan import CameraStatus, Readiness
from edgevision.service.config.engine import engine_opener
from edgevision.service.config.page import Page
from edgevision.service.config.plans import (
    camera_limits,
    camera_plans,
    page_options,
)
from edgevision.service.config.reading import DeploymentReading, read_deployment
from edgevision.service.config.reload import differences
from edgevision.service.config.settings import ModelSettings, Settings
from edgevision.service.config.wiring import SinkOpener, Wiring, open_live
from edgevision.service.systemd import ServiceManager
from edgevision.service.watchdog import Watchdog, WatchdogFinding
from edgevision.service.web.options import PageOptions
from edgevision.sinks.sink import SinkHealth

log = logging.getLogger(__name__)

LOOK_S = 0.5
"""Maximum period of the watchdog."""
STATUS_S = 5.0
"""Period of the status line for the service manager."""
OPENING_S = 60.0
"""Extension requested repeatedly from the service manager while the engine opens."""

EngineOpener = Callable[[Path, ModelSettings, Callable[[], bool]], EngineFactory]


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """Dependencies of a service; tests replace them."""

    every_s: float = 60.0
    """Period of the status line in the log."""
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    manager: ServiceManager = field(default_factory=ServiceManager.from_environment)
    open_engine: EngineOpener = engine_opener
    open_sink: SinkOpener = open_live


class Service:
    """Runs a deployment file until it is closed; one thread calls its methods, and `tick` often.

    The constructor raises `UsageError` for a file with mistakes, and `EdgevisionError` if a sink or the page cannot be
    opened.
    """

    def __init__(self, file: Path, options: ServiceOptions | None = None) -> None:
        self._file = file
        self._options = options or ServiceOptions()
        self._manager = self._options.manager
        self._closing = threading.Event()
        reading = self._read()
        self._settings = settings = reading.require()
        self._model = _model_of(settings)
        self._ready = False
        self._look_due_s = self._status_due_s = 0.0
        self._line_due_s = time.monotonic() + self._options.every_s
        self._phase = ""
        self._watchdog = Watchdog(settings.watchdog, camera_limits(settings))
        self._wiring = Wiring(settings, self._options.environment, self._options.open_sink)
        try:
            self.camera_manager = CameraManager(
                self._opener(settings),
                camera_plans(settings),
                self._wiring.sinks,
                settings.budgets,
            )
            self.page = Page(self.camera_manager)
            self.page.follow(self._page_options(settings))
        except BaseException:
            self._wiring.close()
            raise

    def start(self) -> None:
        """Start the cameras; returns at once."""
        self.camera_manager.start()

    def close(self) -> None:
        """Close everything within 2 s; a second call does nothing."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._manager.stopping()
        page = threading.Thread(target=self.page.close, name="closing the page", daemon=True)
        page.start()
        self.camera_manager.close()
        page.join(1.0)

    def tick(self) -> WatchdogFinding:
        """Run the periodic checks that are due; the caller must end the process on a `fatal` finding."""
        now_s = time.monotonic()
        if now_s < self._look_due_s:
            return WatchdogFinding(opening=not self._ready)
        period_s = LOOK_S if self._manager.watchdog_s is None else min(LOOK_S, self._manager.watchdog_s / 4)
        self._look_due_s = now_s + period_s
        finding = self._watchdog.look(self.camera_manager)
        if finding.fatal is not None:
            self._manager.status(finding.fatal)
            return finding
        if finding.opening:
            self._manager.extend(OPENING_S)
        else:
            if not self._ready:
                self._ready = True
                self._manager.ready()
                log.info("ready: %s", self._engine())
            self._manager.alive()
        for name, silent_s in finding.reopen:
            log.warning("%s: no valid frame for %.0f s; reopening the camera", name, silent_s)
            self.camera_manager.stop_camera(name)
            self.camera_manager.start_camera(name)
        self._report_status(now_s)
        return finding

    def reload(self) -> bool:
        """Apply the current file; True on success. A file with mistakes changes nothing and is logged."""
        announce = self._ready
        if announce:
            self._manager.reloading()
        try:
            changes = self._apply(self._read().require())
        except EdgevisionError as error:
            for line in str(error).splitlines():
                log.error("reload: %s", line)
            log.error("reload: the configuration is unchanged")
            return False
        finally:
            if announce:
                self._manager.ready()
        for change in changes:
            log.info("reload: %s", change)
        log.info("reload: %s", "done" if changes else "no differences")
        return True

    def status_line(self) -> str:
        """The current state in one line."""
        readiness = self.camera_manager.readiness
        if not readiness.ready:
            return opening_line(readiness)
        return manager_line(self.camera_manager.cameras, self.camera_manager.sinks)

    def _read(self) -> DeploymentReading:
        reading = read_deployment(self._file, self._options.environment)
        for warning in reading.warnings:
            log.warning("%s", warning)
        return reading

    def _apply(self, settings: Settings) -> tuple[str, ...]:
        before, model = self._settings, _model_of(settings)
        changes = list(differences(before, settings))
        page = self._page_options(settings)
        new_engine = settings.model != before.model or model != self._model
        if model != self._model and settings.model == before.model:
            changes.append(f"model: {settings.model.bundle} contains another model")
        change = self._wiring.prepare(settings)
        try:
            opener = self._opener(settings) if new_engine else None
            self.camera_manager.apply(camera_plans(settings), change.sinks, opener, settings.budgets)
        except BaseException:
            change.discard()
            raise
        change.keep()
        self._settings, self._model = settings, model
        self._watchdog.options = settings.watchdog
        self._watchdog.limits = camera_limits(settings)
        self.page.follow_if_it_can(page)
        return tuple(changes)

    def _opener(self, settings: Settings) -> EngineFactory:
        bundle = settings.path(settings.model.bundle)
        return self._options.open_engine(bundle, settings.model, self._closing.is_set)

    def _page_options(self, settings: Settings) -> PageOptions | None:
        if settings.page is None:
            return None
        page = page_options(settings.page, settings.folder, self._options.environment)
        return replace(page, watchdog=settings.watchdog)

    def _engine(self) -> str:
        session = self.camera_manager.session
        if session is None:
            return "no engine"
        info = session.info
        return f"{session.spec.name} in {info.library} on {info.device}"

    def _report_status(self, now_s: float) -> None:
        phase = self.camera_manager.readiness.phase
        if now_s >= self._status_due_s or phase != self._phase:
            self._phase = phase
            self._status_due_s = now_s + STATUS_S
            self._manager.status(self.status_line())
        if now_s >= self._line_due_s:
            self._line_due_s = now_s + self._options.every_s
            log.info("%s", self.status_line())


def opening_line(readiness: Readiness) -> str:
    """Current activity until the engine is ready."""
    share = "" if readiness.share is None else f", {readiness.share:.0%}"
    return f"{readiness.detail or readiness.phase}{share}"


def manager_line(cameras: tuple[CameraStatus, ...], sinks: tuple[SinkHealth, ...]) -> str:
    """Number and rate of running cameras, and problems of the others."""
    running = sum(camera.state == "running" for camera in cameras)
    rate = sum(camera.stats.frames_per_s for camera in cameras)
    parts = [f"{running} of {len(cameras)} cameras run, {rate:.1f} results/s"]
    away = [camera for camera in cameras if camera.state != "running"]
    parts += [f"{one.name}: {one.state}{f' ({one.detail})' if one.detail else ''}" for one in away]
    failing = [sink for sink in sinks if sink.state == "failing"]
    parts += [f"sink {one.name} fails, {one.lost} results lost: {one.last_error}" for one in failing]
    return "; ".join(parts)


def _model_of(settings: Settings) -> tuple[object, ...]:
    """Identity of the model, which changes if its bundle is replaced."""
    manifest = Bundle.open(settings.path(settings.model.bundle)).manifest
    return (manifest.spec, *((entry.precision, entry.file.sha256) for entry in manifest.graphs))
