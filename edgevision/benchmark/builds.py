"""Builds under test: a bundle or graph with the engine and options that open it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from edgevision.benchmark.bench import BenchOptions, Subject, bench, prepared_batches
from edgevision.benchmark.inputs import NOISE, noise_batches, write_batches
from edgevision.benchmark.records import BenchRecord
from edgevision.bundle.folder import Bundle
from edgevision.contract.inputs import Batch, TensorInput
from edgevision.contract.session import EngineInfo, Session, SessionOptions
from edgevision.contract.spec import FrameInput, Precision
from edgevision.engines.opening import open_session
from edgevision.sinks.files.video import VideoSink
from edgevision.sources.frames import Source
from edgevision.storage.sha256 import sha256_of_file

FrameOpener = Callable[[FrameInput], Callable[[], Source]]
"""Gives the function that opens the frames for a graph of this input."""


@dataclass(frozen=True, slots=True)
class Build:
    """A bundle or graph, and how to open it."""

    path: Path
    engine: str | None
    options: SessionOptions

    def open(self) -> Session:
        """Open a session; raises the errors of `open_session`."""
        return open_session(self.path, engine=self.engine, options=self.options)

    @property
    def name(self) -> str:
        """Path, engine and precision."""
        parts = (self.path.name, self.engine, self.options.precision)
        return " ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Contender:
    """One build under test."""

    name: str
    """For messages."""
    open: Callable[[], Session]
    """Opens the session in the process; must be picklable."""
    inputs_file: Path
    """Batches in the format of the graph, written by `inputs.write_batches`."""


@dataclass(frozen=True, slots=True)
class BuildRecord:
    """A build in a record."""

    name: str
    """As the command line named it."""
    model: str
    graph_sha256: str | None
    precision: Precision | None
    engine: EngineInfo
    input_wh: tuple[int, int]
    """Of frames; 0 for a model that takes none."""
    batch: int


def settled(build: Build) -> Build:
    """The build with the engine and precision that opening it selects here. Raises the errors of `open_session`."""
    with build.open() as session:
        return replace(
            build,
            engine=session.info.engine,
            options=replace(build.options, precision=session.precision or build.options.precision),
        )


def graph_sha256(path: Path, precision: Precision | None) -> str:
    """Hash of the graph's file: of a bundle, or of an ``.onnx`` file."""
    if path.suffix == ".onnx":
        return sha256_of_file(path)
    return Bundle.open(path).graph(precision or "float").file.sha256


def build_record(build: Build, session: Session) -> BuildRecord:
    """Describe an open build."""
    given = session.spec.input
    return BuildRecord(
        name=build.name,
        model=session.spec.name,
        graph_sha256=graph_sha256(build.path, session.precision),
        precision=session.precision,
        engine=session.info,
        input_wh=given.size_wh if isinstance(given, FrameInput) else (0, 0),
        batch=given.batch.opt,
    )


def bench_build(
    build: Build,
    options: BenchOptions,
    frames: FrameOpener,
    scratch: Path,
    progress: Callable[[str], None] = lambda _: None,
) -> BenchRecord:
    """Open a build and run the benchmark; its video output goes into `scratch`. Raises the errors of `open_session`."""
    with build.open() as session:
        open_frames = frames(session.spec.frames)
        digest = graph_sha256(build.path, session.precision)
        subject = Subject(session, digest, build.options, open_frames)

        def throw_away(source: Source) -> VideoSink:
            return VideoSink(scratch / "output.mp4", source.size_wh, source.fps)

        return bench(subject, options, throw_away, progress)


def prepared(build: Build, frames: FrameOpener, file: Path) -> tuple[BuildRecord, Contender, str]:
    """Open the build once, to prepare its inputs and to report errors here instead of in its process.

    Returns its description, the contender for a process, and the name of the inputs' source: frames, or noise for a
    model that takes none.
    """
    with build.open() as session:
        batches: tuple[Batch, ...]
        if isinstance(session.spec.input, TensorInput):
            batches, name = noise_batches(session.spec.input), NOISE
        else:
            open_frames = frames(session.spec.frames)
            batches, _ = prepared_batches(Subject(session, None, build.options, open_frames))
            with open_frames() as source:
                name = Path(source.name).name
        write_batches(file, batches)
        record = build_record(build, session)
    return record, Contender(build.name, build.open, file), name
