"""INT8 in OpenVINO: the error of signed activations around a Concat, and AP and latency of a bundle's INT8 graph.

    python benchmarks/openvino_int8.py --minimal concat.onnx
    python benchmarks/openvino_int8.py BUNDLE --images DIR --annotations FILE.json

The first command writes the minimal graph of docs/openvino-int8.md and prints the outputs of ONNX Runtime and OpenVINO,
with signed and with unsigned activations. The second measures AP and latency of the float and the INT8 graph in
OpenVINO. Each round calls both graphs on the same frame, one after the other; the ratio is the median of the pairs.
Exit code 1 if INT8 loses more than 0.7 AP or is less than 1.3 times as fast.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import openvino

from edgevision.bundle.folder import Bundle
from edgevision.contract.image import fit_frame
from edgevision.contract.session import Session, SessionOptions
from edgevision.device.facts import device_facts
from edgevision.engines.opening import open_session
from edgevision.engines.openvino import shared_core
from edgevision.evaluation.detection import (
    PROTOCOL_FLOOR,
    PROTOCOL_IOU,
    accuracy_from_detections,
    detect_all,
    read_annotations,
)
from edgevision.quantize.signedness import with_signed_activations, with_unsigned_activations
from edgevision.sources.image_files import read_image

Floats = npt.NDArray[np.float32]

CHANNELS, SIDE, WEIGHT = 16, 8, 100
SCALES = (1.0, 0.5, 0.1)
FRAMES = 16
MOST_LOST_AP, LEAST_GAIN = 0.7, 1.3


def concat_graph(scale: float) -> onnx.ModelProto:
    """Two inputs, concatenated, quantized and dequantized, then an identity convolution."""
    channels = 2 * CHANNELS
    weights = np.zeros((channels, channels, 1, 1), np.int8)
    weights[np.arange(channels), np.arange(channels)] = WEIGHT
    stored = {
        "scale": np.float32(scale),
        "zero_point": np.int8(0),
        "weights": weights,
        "weight_scale": np.full(channels, 1 / WEIGHT, np.float32),
        "weight_zero_point": np.zeros(channels, np.int8),
    }
    node, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    shape = [1, CHANNELS, SIDE, SIDE]
    graph = onnx.helper.make_graph(
        [
            node("Concat", ["left", "right"], ["joined"], axis=1),
            node("QuantizeLinear", ["joined", "scale", "zero_point"], ["quantized"]),
            node("DequantizeLinear", ["quantized", "scale", "zero_point"], ["dequantized"]),
            node("DequantizeLinear", ["weights", "weight_scale", "weight_zero_point"], ["kernel"], axis=0),
            node("Conv", ["dequantized", "kernel"], ["answer"]),
        ],
        "concat",
        [value(name, onnx.TensorProto.FLOAT, shape) for name in ("left", "right")],
        [value("answer", onnx.TensorProto.FLOAT, [1, channels, SIDE, SIDE])],
        [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in stored.items()],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


def minimal(path: Path) -> None:
    """Write the graph with scale 0.5 and print the table."""
    onnx.save(concat_graph(0.5), path)
    values = np.linspace(-12.9, 12.9, CHANNELS * SIDE * SIDE, dtype=np.float32)
    inputs = dict.fromkeys(("left", "right"), values.reshape(1, CHANNELS, SIDE, SIDE))
    print(f"onnxruntime {onnxruntime.__version__}, openvino {openvino.__version__}")
    print(f"{'scale':>6}  {'activations':<11}  {'largest error':>13}  {'distinct values':>15}  of")
    for scale in SCALES:
        signed = concat_graph(scale)
        for kind, model in (
            ("int8, 0", with_signed_activations(signed)),
            ("uint8, 128", with_unsigned_activations(signed)),
        ):
            expected = by_onnxruntime(model, inputs)
            actual = by_openvino(model, inputs)
            error = float(np.abs(actual - expected).max())
            counts = f"{len(np.unique(actual)):>15}  {len(np.unique(expected))}"
            print(f"{scale:>6}  {kind:<11}  {error:>13.3f}  {counts}")


def by_onnxruntime(model: onnx.ModelProto, inputs: dict[str, Floats]) -> Floats:
    """The output, rounded to the resolution of float32 in this range."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, inputs)[0]).round(3)


def by_openvino(model: onnx.ModelProto, inputs: dict[str, Floats]) -> Floats:
    """The same in OpenVINO."""
    core = shared_core()
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU", hint)
    return np.array(compiled(inputs)[compiled.output(0)]).round(3)


def measured(arguments: argparse.Namespace) -> bool:
    """Measure AP and paired latencies of both graphs; True if the limits hold."""
    spec = Bundle.open(arguments.bundle).spec
    labelled = read_annotations(arguments.annotations, arguments.images, spec.classes)
    ap, sessions = {}, {}
    for precision in ("float", "int8"):
        protocol = SessionOptions(
            iou_threshold=PROTOCOL_IOU, score_floor=PROTOCOL_FLOOR, precision=precision, force=True
        )
        with open_session(arguments.bundle, engine="openvino", options=protocol) as session:
            ap[precision] = accuracy_from_detections(labelled, detect_all(session, labelled)).ap
        options = SessionOptions(precision=precision, force=True)
        sessions[precision] = open_session(arguments.bundle, engine="openvino", options=options)
    files = sorted(arguments.images.iterdir())[:FRAMES]
    frames = np.empty((len(files), spec.frames.size_wh[1], spec.frames.size_wh[0], 3), np.uint8)
    for row, file in zip(frames, files, strict=True):
        fit_frame(read_image(file), spec.frames, out=row)
    pairs = list(paired_ms(sessions, frames, arguments.seconds))
    ratio = statistics.median(float_ms / int8_ms for float_ms, int8_ms in pairs)
    quartiles = statistics.quantiles((float_ms / int8_ms for float_ms, int8_ms in pairs), n=4)
    facts = device_facts()
    print(f"{facts.cpu}, {facts.cores_usable:g} cores; {sessions['float'].info.library}; {len(pairs)} pairs")
    medians = [statistics.median(column) for column in zip(*pairs, strict=True)]
    print(f"float  {ap['float']:.2f} AP  {medians[0]:.2f} ms")
    print(f"int8   {ap['int8']:.2f} AP  {medians[1]:.2f} ms")
    lost = ap["float"] - ap["int8"]
    claims = {
        f"INT8 loses {lost:.2f} AP (<= {MOST_LOST_AP})": lost <= MOST_LOST_AP,
        f"INT8 is {ratio:.2f} times as fast (quartiles {quartiles[0]:.2f}, {quartiles[2]:.2f}; >= {LEAST_GAIN})": (
            ratio >= LEAST_GAIN
        ),
    }
    for claim, holds in claims.items():
        print("ok   " if holds else "FAIL ", claim)
    return all(claims.values())


def paired_ms(
    sessions: dict[str, Session], frames: npt.NDArray[np.uint8], seconds: float
) -> Iterator[tuple[float, float]]:
    """Latencies of both graphs on the same frame, for at least 60 pairs and `seconds`."""
    for session in sessions.values():
        for _ in range(5):
            session.infer(frames[:1])
    began_ns, count = time.perf_counter_ns(), 0
    while count < 60 or time.perf_counter_ns() - began_ns < seconds * 1e9:
        frame = frames[count % len(frames)][None]
        times = {}
        # The order alternates, because the second call finds the frame in the cache.
        for precision in ("float", "int8") if count % 2 else ("int8", "float"):
            before_ns = time.perf_counter_ns()
            sessions[precision].infer(frame)
            times[precision] = (time.perf_counter_ns() - before_ns) / 1e6
        yield times["float"], times["int8"]
        count += 1


def main() -> None:
    """Run the selected measurement."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path, nargs="?", help="detector with a float and an INT8 graph")
    parser.add_argument("--images", type=Path)
    parser.add_argument("--annotations", type=Path)
    parser.add_argument("--seconds", type=float, default=20.0, help="minimum time for the pairs")
    parser.add_argument(
        "--minimal", type=Path, metavar="FILE.onnx", help="write the minimal graph to this file"
    )
    arguments = parser.parse_args()
    if arguments.minimal is not None:
        minimal(arguments.minimal)
    if arguments.bundle is not None:
        if arguments.images is None or arguments.annotations is None:
            parser.error("BUNDLE requires --images and --annotations")
        if not measured(arguments):
            sys.exit(1)


if __name__ == "__main__":
    main()
