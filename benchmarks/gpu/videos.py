"""Decoding by NVDEC and by the CPU, and eight videos end to end beside inference alone."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu.record import NotHereError, Part
from edgevision.benchmark.bench import RepeatedSource
from edgevision.bundle.folder import CheckRecord
from edgevision.contract.session import Session
from edgevision.device.facts import FactReading
from edgevision.pipeline.options import PipelineOptions
from edgevision.pipeline.pipeline import run_streams
from edgevision.pipeline.streams import SourceStream
from edgevision.sources.opening import open_source

SIZE_WH = (1920, 1080)
FRAMES = 90
VIDEOS = 8
BATCH = 8
LEAST_SHARE = 0.9


def write_h264(path: Path, size_wh: tuple[int, int] = SIZE_WH, frames: int = FRAMES) -> Path:
    """A video of a moving pattern in H.264. Raises `NotHereError` without PyAV."""
    av = _av()
    width, height = size_wh
    noise = np.random.default_rng(0).integers(0, 256, (height // 8 + 1, width // 8 + frames, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "ultrafast", "crf": "28"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            part = noise[:, number : number + width // 8].repeat(8, 0).repeat(8, 1)[:height, :width]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(part), "bgr24")))
        container.mux(stream.encode(None))
    return path


def decoding(video: Path) -> Part:
    """The same video by the CPU and by NVDEC, to BGR arrays and to the decoder's own planes."""
    av = _av()
    from av.codec.hwaccel import HWAccel

    def hardware(**more: Any) -> Any:
        return av.open(str(video), hwaccel=HWAccel("cuda", allow_software_fallback=False, **more))

    ways: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
        "software, BGR": (lambda: av.open(str(video)), lambda frame: frame.to_ndarray(format="bgr24")),
        "NVDEC, BGR": (hardware, lambda frame: frame.to_ndarray(format="bgr24")),
        "NVDEC, planes on the host": (hardware, lambda frame: frame.to_ndarray()),
        "NVDEC, frames stay on the GPU": (lambda: hardware(is_hw_owned=True), lambda frame: frame),
    }
    figures: list[FactReading] = []
    notes: list[str] = []
    first: dict[str, Any] = {}
    for name, (opened, taken) in ways.items():
        try:
            count, wall_s, cpu_s, first[name] = _decoded(opened, taken)
        except (av.FFmpegError, RuntimeError, ValueError, NotImplementedError, TypeError) as error:
            notes.append(f"{name}: not run: {error}")
            continue
        figures.append(FactReading(f"{name}, frames/s", count / wall_s))
        figures.append(FactReading(f"{name}, ms of CPU a frame", cpu_s / count * 1e3))
    if len(figures) <= 2:
        raise NotHereError("; ".join(notes) or "nothing was decoded")
    checks = []
    if "NVDEC, BGR" in first:
        differences = np.abs(first["NVDEC, BGR"].astype(int) - first["software, BGR"])
        checks.append(CheckRecord("mean difference of a value, of 255", float(differences.mean()), "<=", 2.0))
    return Part("NVDEC and software", checks=tuple(checks), figures=tuple(figures), notes=tuple(notes))


def _decoded(opened: Callable[[], Any], taken: Callable[[Any], object]) -> tuple[int, float, float, Any]:
    """Number of frames, wall and CPU seconds, and the first frame."""
    wall_s, cpu_s, count, first = time.perf_counter(), time.process_time(), 0, None
    with opened() as container:
        for frame in container.decode(video=0):
            value = taken(frame)
            first = value if first is None else first
            count += 1
    return count, time.perf_counter() - wall_s, time.process_time() - cpu_s, first


def eight_videos(session: Session, video: Path, seconds: float, rounds: int = 2) -> Part:
    """Eight videos through the pipeline beside inference alone on prepared batches of eight, alternately."""
    batch = session.spec.frames.batch
    if not batch.min <= BATCH <= batch.max:
        raise NotHereError(f"the bundle takes batches of {batch}; export it with --batch 1:{BATCH}:{BATCH}")
    ring = [session.new_batch(BATCH) for _ in range(2)]
    for number, frames in enumerate(ring):
        frames[...] = np.random.default_rng(number).integers(0, 256, frames.shape, np.uint8)
    alone, whole = [], []
    for _ in range(rounds):
        alone.append(_alone(session, ring, seconds))
        whole.append(_end_to_end(session, video, seconds))
    share = statistics.median(one / other for one, other in zip(whole, alone, strict=True))
    return Part(
        "eight videos",
        checks=(CheckRecord("end to end over inference alone", share, ">=", LEAST_SHARE),),
        figures=(
            FactReading("inference alone, frames/s", statistics.median(alone)),
            FactReading("eight videos end to end, frames/s", statistics.median(whole)),
        ),
        notes=(session.info.engine, *session.info.notes),
    )


def _alone(session: Session, ring: list[Any], seconds: float) -> float:
    session.infer(ring[0])
    began, count = time.perf_counter(), 0
    for frames in itertools.cycle(ring):
        session.infer(frames)
        count += len(frames)
        if time.perf_counter() - began >= seconds:
            break
    return count / (time.perf_counter() - began)


def _end_to_end(session: Session, video: Path, seconds: float) -> float:
    streams = [SourceStream(RepeatedSource(lambda: open_source(video))) for _ in range(VIDEOS)]
    ends = time.perf_counter() + seconds
    options = PipelineOptions(batch=BATCH)
    return run_streams(
        session, streams, options=options, stop=lambda: time.perf_counter() >= ends
    ).frames_per_s


def _av() -> Any:
    try:
        import av
    except ModuleNotFoundError as error:
        raise NotHereError("PyAV is not installed: pip install 'edgevision[rtsp]'") from error
    return av
