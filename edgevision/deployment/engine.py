"""Opens a deployment's engine, and builds it first where none fits and it may."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from pathlib import Path

from edgevision.build.builder import BuildWatch
from edgevision.build.engines import EngineRequest, build_engines
from edgevision.build.gpu import gpu_facts
from edgevision.build.library import load_library, running_here
from edgevision.build.manifest import Rebuild, Refuse
from edgevision.build.progress import BuildProgress
from edgevision.build.proof import prove
from edgevision.build.store import choose_engine
from edgevision.build.versions import FLAVOURS
from edgevision.bundle import Bundle
from edgevision.deployment.plans import session_options
from edgevision.deployment.settings import ModelSettings
from edgevision.errors import EngineError, UsageError
from edgevision.session import Session, open_session
from edgevision.station import OpenEngine, Report

log = logging.getLogger(__name__)

LOG_PERIOD_S = 30.0


def engine_opener(
    bundle: Path, model: ModelSettings, stopping: Callable[[], bool] = lambda: False
) -> OpenEngine:
    """What opens the engine of a bundle as the settings say; `stopping` ends a build that is under way."""

    def open_engine(report: Report) -> Session:
        if model.rebuild:
            build_unfit(bundle, model, report, stopping)
        report(f"opening {bundle.name}", None)
        return open_session(bundle, engine=model.engine, options=session_options(model))

    return open_engine


def build_unfit(bundle: Path, model: ModelSettings, report: Report, stopping: Callable[[], bool]) -> None:
    """Build the engine where none fits this device; nothing where one does.

    Raises `UsageError` for an engine that is not built, `EngineError` where building would not help, and whatever the
    build raises.
    """
    flavour = {str(name): name for name in FLAVOURS}.get(model.engine or "")
    if flavour is None:
        raise UsageError(f"rebuild needs engine tensorrt or tensorrt-rtx; received {model.engine or 'none'}")
    library = load_library(flavour, "rebuild")
    opened = Bundle.open(bundle)
    decision = choose_engine(opened, running_here(library), model.graph)
    if isinstance(decision, Refuse):
        raise EngineError(str(decision))
    if not isinstance(decision, Rebuild):
        return
    log.info("%s; building", decision.reason)
    began_s = time.monotonic()
    shown_s = began_s

    def progress(done: BuildProgress) -> None:
        nonlocal shown_s
        report(f"building the engine: {done.phase}", done.fraction)
        now_s = time.monotonic()
        if now_s - shown_s >= LOG_PERIOD_S:
            shown_s = now_s
            log.info(
                "%s: %.0f %% in %.0f s, %s", library.name, 100 * done.fraction, now_s - began_s, done.phase
            )

    report("building the engine", 0.0)
    watch = BuildWatch(lambda text: log.info("%s", text), progress, stopping)
    build_engines(
        opened, library, request_of(decision), watch, lambda b, stored: prove(b, stored, gpu_facts())
    )
    log.info("built in %.0f s", time.monotonic() - began_s)


def request_of(decision: Rebuild) -> EngineRequest:
    """What the command asks for that a decision names."""
    graph = re.search(r" --graph (\w+)", decision.command)
    dla = re.search(r" --dla (\d+)", decision.command)
    return EngineRequest(
        precision=graph[1] if graph else "auto",  # type: ignore[arg-type]  # written by `build_command`
        dla_core=int(dla[1]) if dla else None,
        rebuild=decision.command.endswith(" --rebuild"),
    )
