"""The check of a machine with a GPU: every step in a process of its own, under a time limit of its own.

A step whose libraries are missing is reported as not run. One that fails, hangs or crashes is reported as failed. The
other steps run in both cases.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.gpu import engines, memory, providers, stand_in, training, videos
from benchmarks.gpu.record import NotHereError, Part
from edgevision.bundle.folder import Bundle
from edgevision.bundle.packaged import packaged_names
from edgevision.contract.session import Session
from edgevision.engines.opening import open_session
from edgevision.engines.tensorrt import cuda
from edgevision.engines.tensorrt.versions import FLAVOURS
from edgevision.errors import EdgevisionError, MissingExtraError
from edgevision.storage.codec import dataclass_from_json, json_from_dataclass

TOTAL_S = 235.0
"""Of the whole check; later steps get what is left."""
STREET = "street"
CALLS = 200
TRAINING_SHARE = 0.7
"""Of the time limit; the rest is for the start and the end of the process."""
ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = ROOT / "edgevision" / "weights" / "street.safetensors"


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """What the check runs on, and how long."""

    bundles: tuple[Path, ...]
    """Besides the packaged `street`."""
    video: Path | None = None
    calls: int = CALLS
    """Of each loop on the execution slot, and of each of the eight threads."""
    seconds: float = 3.0
    """Of each of the two parts of a round of eight videos; half of it for each way to run a graph."""
    train_s: float = 60.0
    limit_s: float = TOTAL_S
    """Time limit of the step's process."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step, which may have several parts."""

    name: str
    limit_s: float
    run: Callable[[CheckOptions], Sequence[Part]]


def _memory(_: CheckOptions) -> list[Part]:
    return [memory.every_call(), memory.copies(), memory.graphs()]


def _slots(options: CheckOptions) -> list[Part]:
    return stand_in.slot_parts(options.calls)


def _lost(_: CheckOptions) -> list[Part]:
    return [stand_in.lost_part(stand_in.lost_messages())]


def _providers(path: Path, options: CheckOptions) -> list[Part]:
    return providers.provider_parts(Bundle.open(path), options.seconds / 6)


def _tensorrt(options: CheckOptions) -> list[Part]:
    amounts = engines.Amounts(options.calls, 10 * options.calls, 3)
    found = []
    for flavour in FLAVOURS:
        found += list(engines.engine_parts(Bundle.open(_bundles(options)[0]), flavour, amounts))
    return found


def _decoding(_: CheckOptions) -> list[Part]:
    with tempfile.TemporaryDirectory() as folder:
        return [videos.decoding(videos.write_h264(Path(folder) / "video.mp4"))]


def _videos(options: CheckOptions) -> list[Part]:
    with tempfile.TemporaryDirectory() as folder:
        video = options.video or videos.write_h264(Path(folder) / "video.mp4", (768, 576), 120)
        bundles = [Bundle.open(path) for path in _bundles(options)]
        batched = [one for one in bundles if one.spec.frames.batch.max >= videos.BATCH]
        if not batched:
            _gpu_session(bundles[0]).close()  # exporting takes long: first, is there an engine?
        bundle = batched[0] if batched else _batched_street(Path(folder) / STREET)
        with _gpu_session(bundle) as session:
            return [videos.eight_videos(session, video, options.seconds)]


def _batched_street(folder: Path) -> Bundle:
    """Export `street` for batches of eight; raises `NotHereError` without the packages of `export`."""
    batch = f"1:{videos.BATCH}:{videos.BATCH}"
    command = [sys.executable, "-m", "edgevision", "export", str(WEIGHTS), "-o", str(folder)]
    command += ["--batch", batch]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise NotHereError(
            f"no bundle takes batches of {videos.BATCH}, and none can be exported: {lines[-1]}"
        )
    return Bundle.open(folder)


def _training(options: CheckOptions) -> list[Part]:
    use = training.gpu_use()
    seconds = min(options.train_s, TRAINING_SHARE * options.limit_s)
    with tempfile.TemporaryDirectory() as folder:
        data = training.write_images(Path(folder) / "data")
        command = training.train_command(data, Path(folder) / "run", seconds)
        return [training.training(command, use, seconds)]


def steps_of(options: CheckOptions) -> tuple[Step, ...]:
    """All steps in their order. Those that need most time come last and get what is left."""
    try:
        of_bundles = [
            Step(f"onnxruntime-cuda, {path.name}", 60, functools.partial(_providers, path))
            for path in _bundles(options)
        ]
    except NotHereError as error:
        of_bundles = [Step("onnxruntime-cuda", 60, functools.partial(_raised, error))]
    return (
        Step("memory", 30, _memory),
        Step("slots", 60, _slots),
        Step("lost device", 30, _lost),
        *of_bundles,
        Step("decoding", 30, _decoding),
        Step("videos", 75, _videos),
        Step("training", 90, _training),
        Step("tensorrt", 120, _tensorrt),
    )


def _raised(error: NotHereError, _: CheckOptions) -> list[Part]:
    raise error


def _bundles(options: CheckOptions) -> list[Path]:
    """Those given, and `street`; raises `NotHereError` if there is none."""
    paths = [*options.bundles, *([Path(STREET)] if STREET in packaged_names() else [])]
    if not paths:
        raise NotHereError(
            f"no bundle was given, and this installation has no {STREET}: python -m edgevision.export.packaged"
        )
    return paths


def _gpu_session(bundle: Bundle) -> Session:
    """A session on the GPU: TensorRT's if an engine fits, else ONNX Runtime's. Raises `NotHereError` if none opens."""
    reasons = []
    for engine in (*FLAVOURS, "onnxruntime-cuda"):
        try:
            return open_session(bundle.path, engine=engine)
        except EdgevisionError as error:
            reasons.append(str(error))
    raise NotHereError("; ".join(reasons))


def run_step(step: Step, options: CheckOptions) -> list[Part]:
    """Run a step in this process; an error becomes a part."""
    began = time.monotonic()
    try:
        parts = list(step.run(options))
    except (NotHereError, MissingExtraError) as error:
        parts = [Part(step.name, not_run=str(error))]
    except Exception as error:  # a check reports whatever happens
        parts = [Part(step.name, failed=f"{type(error).__name__}: {error}")]
    seconds = (time.monotonic() - began) / max(len(parts), 1)
    return [replace(part, seconds=round(seconds, 2)) for part in parts]


def run_apart(step: Step, arguments: Sequence[str], limit_s: float) -> list[Part]:
    """Run a step in a process of its own, which is killed at the limit."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "parts.json"
        command = [sys.executable, "-m", "benchmarks.gpu", *arguments]
        command += ["--step", step.name, "--into", str(file), f"--limit={limit_s}"]
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            _, errors = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with the processes that it started
            process.communicate()
            return [Part(step.name, failed=f"took longer than {limit_s:.0f} s", seconds=limit_s)]
        if file.is_file():
            return parts_from_json(file.read_text())
        lines = [line for line in errors.splitlines() if line.strip()]
        reason = lines[-1] if lines else "no message"
        failed = f"ended with {process.returncode}: {reason}"
        return [Part(step.name, failed=failed, seconds=round(time.monotonic() - began, 2))]


def parts_to_json(parts: Sequence[Part]) -> str:
    """What a step's process writes."""
    return json.dumps([json_from_dataclass(part) for part in parts])


def parts_from_json(text: str) -> list[Part]:
    """The parts of `parts_to_json`."""
    return [dataclass_from_json(Part, each) for each in json.loads(text)]


def check(
    steps: Sequence[Step],
    launch: Callable[[Step, float], list[Part]],
    done: Callable[[Part], None],
    total_s: float = TOTAL_S,
) -> list[Part]:
    """Run steps with `launch`, which takes a step and its time limit; `done` is called with each part."""
    found: list[Part] = []
    ends = time.monotonic() + total_s
    no_gpu = _no_gpu()
    for step in steps:
        left_s = ends - time.monotonic()
        if no_gpu is not None:
            parts = [Part(step.name, not_run=no_gpu)]
        elif left_s < 1:
            parts = [Part(step.name, failed=f"no time is left of {total_s:.0f} s")]
        else:
            parts = launch(step, min(step.limit_s, left_s))
        for part in parts:
            done(part)
        found += parts
    return found


def _no_gpu() -> str | None:
    """The reason why CUDA cannot be used here."""
    try:
        cuda.cuda_device()
    except EdgevisionError as error:
        return str(error)
    return None
