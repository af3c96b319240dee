"""The work of one device: keep the bundle, build and verify an engine, run the benchmark."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import edgevision
from edgevision.benchmark.bench import BenchOptions
from edgevision.benchmark.builds import Build, bench_build
from edgevision.benchmark.comparison import ComparisonOptions, compare_engines
from edgevision.benchmark.frames import BenchFrames
from edgevision.benchmark.timing import MeasureSettings
from edgevision.bundle.fastest import fastest
from edgevision.bundle.folder import Bundle
from edgevision.contract.session import SessionOptions
from edgevision.contract.spec import Precision
from edgevision.device.gpu import gpu_names
from edgevision.engines.opening import open_session
from edgevision.engines.tensorrt.library import is_installed, load_library
from edgevision.engines.tensorrt.versions import MODULES, Flavour
from edgevision.errors import EdgevisionError, VerificationError
from edgevision.fleet.package import keep, kept
from edgevision.storage.codec import json_text
from edgevision.verification.golden import verify_session

COMMAND = "edgevision fleet bench"


@dataclass(frozen=True, slots=True)
class NodeOptions:
    """What each device runs."""

    engine: str | None
    """None: the fastest of a comparison on the device."""
    precision: Precision | None
    threads: int | None
    seconds: float
    rounds: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a step on a device. Errors are texts, because a device may have others than this machine."""

    text: str = ""
    """A version, a description, or a record as JSON."""
    problem: str | None = None
    """The reason why the step failed."""
    differs: bool = False
    """True if the results differ from the golden ones."""


class FleetNode:
    """Runs the steps on a device, as a Ray actor; every method returns an `Answer`."""

    def __init__(self) -> None:
        self._build: Build | None = None

    def version(self) -> Answer:
        """The device's version of edgevision."""
        return Answer(edgevision.__version__)

    def has(self, digest: str) -> Answer:
        """The folder of the bundle if the device has it, else an empty text."""
        return _answered(lambda: str(kept(digest) or ""))

    def store(self, digest: str, data: bytes) -> Answer:
        """Keep the bundle."""
        return _answered(lambda: str(keep(digest, data)))

    def prepare(self, digest: str, options: NodeOptions) -> Answer:
        """Build a TensorRT engine if this is a machine for it, choose engine and graph, and run the golden frames."""
        return _answered(lambda: self._prepare(digest, options))

    def bench(self, options: NodeOptions) -> Answer:
        """Run the benchmark on a generated clip; the text is its record."""
        return _answered(lambda: self._bench(options))

    def _prepare(self, digest: str, options: NodeOptions) -> str:
        path = kept(digest)
        if path is None:
            raise VerificationError(f"the bundle {digest[:12]} is no longer in the device's cache folder")
        bundle = Bundle.open(path)
        flavour = _flavour(options.engine)
        if flavour is not None:
            _build_engine(bundle, flavour)
            bundle = Bundle.open(path)
        opening = SessionOptions(threads=options.threads, precision=options.precision)
        engine = options.engine
        if engine is None and options.precision is None:
            compared = ComparisonOptions(COMMAND, options.seconds, threads=options.threads)
            chosen = fastest(compare_engines(bundle, compared).timings)
            engine, opening = chosen.engine, replace(opening, precision=chosen.precision)
        with open_session(path, engine=engine, options=opening) as session:
            precision = session.precision or "float"
            record = verify_session(session, bundle.golden(), precision=precision)
            self._build = Build(path, session.info.engine, replace(opening, precision=precision))
            described = f"{session.info.library} on {session.info.device}, {precision}"
        if not record.passed:
            raise VerificationError(f"{described} differs from the golden frames: {record.finding}")
        return described

    def _bench(self, options: NodeOptions) -> str:
        if self._build is None:
            raise VerificationError("the benchmark was started before the bundle was prepared")
        settings = MeasureSettings(options.seconds, 30 * options.rounds, min(1.0, options.seconds), 5)
        with tempfile.TemporaryDirectory(prefix="edgevision-fleet-") as scratch:
            frames = BenchFrames(None, Path(scratch), lambda _: None)
            measured = BenchOptions(settings, options.rounds)
            record = bench_build(self._build, measured, frames.opener, Path(scratch))
        return json_text(replace(record, warnings=(*record.warnings, *_priority())))


def _priority() -> tuple[str, ...]:
    """A warning if Ray has lowered the priority of this process."""
    niceness = os.nice(0)
    if niceness <= 0:
        return ()
    return (
        f"Ray runs the benchmark with niceness {niceness}, so other programs slow it down; start the node with"
        " RAY_worker_niceness=0 in its environment",
    )


def _answered(work: Callable[[], str]) -> Answer:
    try:
        return Answer(work())
    except EdgevisionError as error:
        return Answer(problem=str(error), differs=isinstance(error, VerificationError))


def _flavour(engine: str | None) -> Flavour | None:
    """The library to build an engine with: the one that was requested, or one that is installed beside a GPU."""
    for flavour, module in MODULES.items():
        if engine == flavour or (engine is None and is_installed(module) and gpu_names()):
            return flavour
    return None


def _build_engine(bundle: Bundle, flavour: Flavour) -> None:
    from edgevision.builder.builder import BuildCallbacks
    from edgevision.builder.engines import build_engines
    from edgevision.builder.proof import verify_here
    from edgevision.engines.tensorrt.request import EngineRequest

    watch = BuildCallbacks(lambda _: None, lambda _: None, lambda: False)
    build_engines(bundle, load_library(flavour, COMMAND), EngineRequest(), watch, verify_here)
