"""INT8 on this CPU: latency and largest score difference of each form of the graph in each engine.

    python benchmarks/int8_cpu.py BUNDLE --images DIR [--seconds S] [--json FILE]

The forms are float, INT8 with uint8 activations around 128 (what `quantize --target cpu` writes) and INT8 with int8
activations around 0 and a float32 remainder (what other tools write). ONNX Runtime runs each with and without
`session.x64quantprecision`, which this package sets (`edgevision/engines/ort_settings.py`). In each round every form is
called once on the same frame. The ratio is float latency over the form's latency in one engine, as the median of the
rounds. For a detector, sorted scores are compared. "fused" is the largest difference to the same graph without ONNX
Runtime's optimizations: the effect of fused kernels.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import openvino

from edgevision.bundle.folder import Bundle
from edgevision.contract.image import fit_frame
from edgevision.contract.spec import utc_now
from edgevision.device.facts import device_facts
from edgevision.engines.openvino import shared_core
from edgevision.engines.ort_settings import cpu_session, session_settings
from edgevision.quantize.signedness import with_signed_activations, with_unsigned_activations
from edgevision.sources.image_files import images_in, read_image
from edgevision.storage.codec import json_from_dataclass

Floats = npt.NDArray[np.float32]
Call = Callable[[npt.NDArray[np.uint8]], Floats]
FRAMES = 16
WARM_UP = 3


@dataclass(frozen=True, slots=True)
class Row:
    """One form of the graph in one engine."""

    form: str
    engine: str
    exact: bool | None
    """True if ONNX Runtime ran with the option; None for OpenVINO, which has no such option."""
    p50_ms: float
    ratio: float
    """Float latency in the same engine over this latency, median of the rounds."""
    to_float: float
    """Largest difference of scores to the float graph in ONNX Runtime, over all frames."""
    fused: float | None
    """Largest difference to the unoptimized graph; None for OpenVINO."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A form of the graph and the function that runs it."""

    form: str
    engine: str
    exact: bool | None
    call: Call


def in_onnxruntime(graph: bytes, *, exact: bool, optimized: bool = True) -> Call:
    """A function that returns a frame's scores from ONNX Runtime, with the package's option or with the default."""
    if exact:
        session = cpu_session(graph, session_settings(spin=True))
    else:
        settings = ort.SessionOptions()
        settings.log_severity_level = 3
        if not optimized:
            settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = ort.InferenceSession(graph, settings, providers=["CPUExecutionProvider"])
    return lambda frame: np.asarray(session.run(["scores"], {"frames": frame})[0])


def in_openvino(graph: bytes) -> Call:
    """The same in OpenVINO with float32 kernels."""
    core = shared_core()
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    # From a file: OpenVINO reads its weights in place.
    with tempfile.TemporaryDirectory(prefix="edgevision-") as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(graph)
        compiled = core.compile_model(core.read_model(path), "CPU", hints)
    request, port = compiled.create_infer_request(), compiled.output("scores")
    return lambda frame: np.array(request.infer({"frames": frame})[port])


def variants(bundle: Bundle) -> tuple[list[Variant], dict[str, Call]]:
    """All timed variants, and the unoptimized call of each form."""
    int8 = onnx.load(bundle.graph_path("int8"))
    forms = {
        "float": bundle.graph_path("float").read_bytes(),
        "int8, uint8 activations": with_unsigned_activations(int8).SerializeToString(),
        "int8, int8 activations": with_signed_activations(int8).SerializeToString(),
    }
    found = []
    for form, graph in forms.items():
        found += [
            Variant(form, "onnxruntime", exact, in_onnxruntime(graph, exact=exact)) for exact in (False, True)
        ]
        found.append(Variant(form, "openvino", None, in_openvino(graph)))
    return found, {form: in_onnxruntime(graph, exact=False, optimized=False) for form, graph in forms.items()}


def measured(bundle: Bundle, frames: list[npt.NDArray[np.uint8]], seconds: float) -> list[Row]:
    """Time all variants in turns for at least 30 rounds and `seconds`, then compare their outputs."""
    found, unoptimized = variants(bundle)
    for variant in found:
        for frame in frames[:WARM_UP]:
            variant.call(frame)
    times: list[list[float]] = [[] for _ in found]
    began = time.perf_counter()
    while len(times[0]) < 30 or time.perf_counter() - began < seconds:
        frame = frames[len(times[0]) % len(frames)]
        order = range(len(found)) if len(times[0]) % 2 else reversed(range(len(found)))
        for index in order:
            before_ns = time.perf_counter_ns()
            found[index].call(frame)
            times[index].append((time.perf_counter_ns() - before_ns) / 1e6)
    reference = [unoptimized["float"](frame) for frame in frames]
    plain = {form: [call(frame) for frame in frames] for form, call in unoptimized.items()}
    # The reference is float with the option: a session of this package runs it.
    floats = {v.engine: t for v, t in zip(found, times, strict=True) if v.form == "float"}
    rows = []
    for variant, own in zip(found, times, strict=True):
        answers = [variant.call(frame) for frame in frames]
        ratio = statistics.median(f / t for f, t in zip(floats[variant.engine], own, strict=True))
        fused = None if variant.exact is None else largest(plain[variant.form], answers)
        rows.append(
            Row(
                variant.form,
                variant.engine,
                variant.exact,
                statistics.median(own),
                ratio,
                largest(reference, answers),
                fused,
            )
        )
    return rows


def largest(left: list[Floats], right: list[Floats]) -> float:
    """The largest difference between two lists of outputs."""
    return max(float(np.abs(a - b).max()) for a, b in zip(left, right, strict=True))


def main() -> None:
    """Measure a bundle and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path, help="bundle with a float and an INT8 graph, batch 1")
    parser.add_argument("--images", type=Path, required=True, help="folder of images to run")
    parser.add_argument("--seconds", type=float, default=20.0, help="minimum time [20]")
    parser.add_argument("--json", type=Path, help="write the record to this file")
    arguments = parser.parse_args()
    bundle = Bundle.open(arguments.bundle)
    frames = [
        fit_frame(read_image(path), bundle.spec.frames)[0][None]
        for path in images_in(arguments.images)[0][:FRAMES]
    ]
    rows = measured(bundle, frames, arguments.seconds)
    facts = device_facts()
    print(f"{bundle.spec.name}: {facts.cpu}, {facts.cpu_class}, {facts.cores_usable:g} cores")
    print(f"onnxruntime {ort.__version__}, openvino {openvino.__version__}, {len(frames)} frames")
    print(
        f"{'form':<24} {'engine':<12} {'option':<7} {'p50 ms':>8} {'ratio':>6} {'to float':>9} {'fused':>9}"
    )
    for row in rows:
        option = {None: "-", True: "on", False: "off"}[row.exact]
        fused = "-" if row.fused is None else f"{row.fused:.4f}"
        print(
            f"{row.form:<24} {row.engine:<12} {option:<7} {row.p50_ms:>8.1f} {row.ratio:>6.2f}"
            f" {row.to_float:>9.4f} {fused:>9}"
        )
    if arguments.json is not None:
        record = {
            "created": utc_now(),
            "model": bundle.spec.name,
            "device": json_from_dataclass(facts),
            "frames": len(frames),
            "rows": [json_from_dataclass(row) for row in rows],
        }
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
