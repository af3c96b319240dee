"""ONNX Runtime's CUDA provider on bundles: plain, captured and in TF32, beside the network alone."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.gpu.record import NotHereError, Part
from edgevision.bundle.folder import Bundle, CheckRecord
from edgevision.contract.results import Outputs
from edgevision.contract.session import Session, SessionOptions
from edgevision.contract.spec import Precision
from edgevision.device.facts import FactReading
from edgevision.errors import EdgevisionError, MissingExtraError
from edgevision.verification.golden import verify_session

SECONDS = 1.5
"""Of timed calls of each variant."""
LEAST_CALLS = 20


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to run a graph."""

    name: str
    precision: Precision
    captured: bool


def variants_of(precision: Precision) -> list[Variant]:
    """Plain and captured; the float graph in TF32 as well."""
    found = [Variant("plain", precision, False), Variant("captured", precision, True)]
    return found if precision != "float" else [*found, Variant("captured, TF32, NHWC", "tf32", True)]


def provider_parts(bundle: Bundle, seconds: float = SECONDS) -> list[Part]:
    """One part for each graph of the bundle that the provider runs. Raises `NotHereError` without the provider."""
    try:
        import onnxruntime as ort
    except ModuleNotFoundError as error:
        raise NotHereError("onnxruntime-gpu is not installed") from error
    from edgevision.engines.onnxruntime import CUDA

    if CUDA not in ort.get_available_providers():
        raise NotHereError(f"onnxruntime {ort.__version__} has no {CUDA}: pip install onnxruntime-gpu")
    held = [entry.precision for entry in bundle.manifest.graphs]
    return [_part(bundle, precision, seconds) for precision in ("float", "fp16") if precision in held]


def _part(bundle: Bundle, precision: Precision, seconds: float) -> Part:
    checks: list[CheckRecord] = []
    figures: list[FactReading] = []
    notes: list[str] = []
    answers: dict[str, Outputs] = {}
    samples: tuple[int, ...] = ()
    for variant in variants_of(precision):
        try:
            with _opened(bundle, variant) as session:
                answers[variant.name], times_ns = _measured(bundle, session, variant, seconds, checks)
                notes += [f"{variant.name}: {note}" for note in session.info.notes]
        except EdgevisionError as error:
            notes.append(f"{variant.name}: {error}")
            checks.append(CheckRecord(f"{variant.name}: runs", 0.0, ">=", 1.0))
            continue
        figures.append(FactReading(f"{variant.name}, ms", statistics.median(times_ns) / 1e6))
        samples = tuple(times_ns) if variant.name == "captured" else samples
    if {"plain", "captured"} <= set(answers):
        pairs = zip(answers["plain"], answers["captured"], strict=True)
        differing = sum(not np.array_equal(plain, captured) for plain, captured in pairs)
        figures.append(FactReading("outputs whose bits differ, plain and captured", float(differing)))
    try:
        figures += _network_figures(bundle, precision, seconds)
    except (EdgevisionError, ModuleNotFoundError, ValueError) as error:
        notes.append(f"network alone: not run: {error}")
    return Part(
        f"onnxruntime-cuda, {bundle.spec.name} {precision}",
        checks=tuple(checks),
        figures=tuple(figures),
        notes=tuple(notes),
        samples_ns=samples,
    )


def _opened(bundle: Bundle, variant: Variant) -> Session:
    from edgevision.engines.onnxruntime import ON_CUDA, open_on

    options = SessionOptions(precision=variant.precision, allow_fallback=True)
    graph = bundle.graph_path(variant.precision)
    return open_on(ON_CUDA, graph, bundle.spec, options, captured=variant.captured)


def _measured(
    bundle: Bundle, session: Session, variant: Variant, seconds: float, checks: list[CheckRecord]
) -> tuple[Outputs, list[int]]:
    """Golden frames, then timed calls on a batch in the session's memory; adds checks."""
    record = verify_session(session, bundle.golden(), precision=variant.precision)
    failed = sum(not check.passed for check in record.checks)
    checks.append(CheckRecord(f"{variant.name}: failed checks of golden frames", float(failed), "<=", 0.0))
    frames = session.new_batch(session.spec.frames.batch.opt)
    golden = bundle.golden().frames
    frames[...] = golden[np.arange(len(frames)) % len(golden)]
    outputs = session.infer(frames)
    times = timed(lambda: session.infer(frames), seconds)
    if variant.captured:
        captured = any(note.startswith("CUDA graphs for batches of ") for note in session.info.notes)
        checks.append(CheckRecord(f"{variant.name}: is captured", float(captured), ">=", 1.0))
    return outputs, times


def timed(call: Callable[[], object], seconds: float) -> list[int]:
    """Nanoseconds of calls for that time, after three more."""
    for _ in range(3):
        call()
    times: list[int] = []
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends or len(times) < LEAST_CALLS:
        began = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - began)
    return times


NETWORK_VARIANTS: Mapping[str, dict[str, str]] = {
    "network alone": {"use_tf32": "0"},
    "network alone, captured": {"use_tf32": "0", "enable_cuda_graph": "1"},
    "network alone, captured, NHWC": {"use_tf32": "0", "enable_cuda_graph": "1", "prefer_nhwc": "1"},
    "network alone, captured, NHWC, TF32": {"use_tf32": "1", "enable_cuda_graph": "1", "prefer_nhwc": "1"},
}


def _network_figures(bundle: Bundle, precision: Precision, seconds: float) -> list[FactReading]:
    """The network without pre- and post-processing, inputs and outputs on the GPU."""
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise MissingExtraError("onnx", "export", "the network alone") from error
    from benchmarks.graph_parts import network_alone

    rows = bundle.spec.frames.batch.opt
    golden = bundle.golden().frames
    frames = golden[np.arange(rows) % len(golden)]
    alone, inputs = network_alone(onnx.load(bundle.graph_path(precision)), frames)
    model = alone.SerializeToString()
    found = []
    for name, options in NETWORK_VARIANTS.items():
        try:
            call = _network_call(model, inputs, options)
            found.append(FactReading(f"{name}, ms", statistics.median(timed(call, seconds)) / 1e6))
        except Exception as error:  # ONNX Runtime's errors share no base class
            print(f"{name}: {error}")
    return found


def _network_call(
    model: bytes, inputs: Mapping[str, npt.NDArray[Any]], options: dict[str, str]
) -> Callable[[], object]:
    """A call with all tensors on the GPU; its outputs are allocated by a first call."""
    import onnxruntime as ort

    from edgevision.engines.onnxruntime import CUDA
    from edgevision.engines.ort_captures import GATE
    from edgevision.engines.ort_settings import CPU, open_inference, session_settings

    plain = open_inference(model, session_settings(), [(CUDA, {"use_tf32": "0"}), (CPU, {})])
    shapes = {
        meta.name: np.asarray(value)
        for meta, value in zip(plain.get_outputs(), plain.run(None, dict(inputs)), strict=True)
    }
    session = open_inference(model, session_settings(), [(CUDA, options), (CPU, {})])
    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array, "cuda", 0))
    for name, array in shapes.items():
        binding.bind_ortvalue_output(name, ort.OrtValue.ortvalue_from_numpy(array, "cuda", 0))
    with GATE.capture():  # the first call captures
        session.run_with_iobinding(binding)
    return lambda: session.run_with_iobinding(binding)
