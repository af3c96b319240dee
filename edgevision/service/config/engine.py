"""Opens a deployment's engine and builds it first if permitted and necessary."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from edgevision.builder.builder import BuildCallbacks
from edgevision.builder.engines import build_engines
from edgevision.builder.missing import engine_needed
from edgevision.builder.progress import BuildProgress
from edgevision.builder.proof import verify_here
from edgevision.contract.session import Session
from edgevision.engines.opening import open_session
from edgevision.service.camera_manager import EngineFactory, Report
from edgevision.service.config.settings import ModelSettings

log = logging.getLogger(__name__)

LOG_PERIOD_S = 30.0


def engine_opener(
    bundle: Path,
    model: ModelSettings,
    stopping: Callable[[], bool] = lambda: False,
    opened: Callable[[str], None] = log.info,
) -> EngineFactory:
    """A function that opens the engine of a bundle; `stopping` ends a build.

    `opened` receives one line: the engine and why it was selected.
    """

    def open_engine(report: Report) -> Session:
        if model.build:
            build_unfit(bundle, model, report, stopping)
        report(f"opening {bundle.name}", None)
        session = open_session(bundle, engine=model.engine, options=model.opening)
        opened(session.selection)
        return session

    return open_engine


def build_unfit(bundle: Path, model: ModelSettings, report: Report, stopping: Callable[[], bool]) -> None:
    """Build the engine if none fits this device.

    Raises `UsageError` for an engine that has no build step, `EngineError` if a build would not help, and errors of the
    build.
    """
    need = engine_needed(bundle, model.engine, model.opening, "build")
    if need is None:
        return
    log.info("%s; building", need.rebuild.reason)
    began_s = time.monotonic()
    shown_s = began_s

    def progress(done: BuildProgress) -> None:
        nonlocal shown_s
        report(f"building the engine: {done.phase}", done.fraction)
        now_s = time.monotonic()
        if now_s - shown_s >= LOG_PERIOD_S:
            shown_s = now_s
            log.info(
                "%s: %.0f %% in %.0f s, %s",
                need.library.name,
                100 * done.fraction,
                now_s - began_s,
                done.phase,
            )

    report("building the engine", 0.0)
    watch = BuildCallbacks(lambda text: log.info("%s", text), progress, stopping)
    build_engines(need.bundle, need.library, need.rebuild.request, watch, verify_here)
    log.info("built in %.0f s", time.monotonic() - began_s)
