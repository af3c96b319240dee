"""INT8 in ONNX Runtime with Q/DQ where its CPU provider fuses them: time of the network, and the fused operations.

    python benchmarks/int8_fused.py MODEL.onnx --images DIR [--threads N] [--rounds N] [--json FILE]

MODEL.onnx is a raw network with one input float32 [1,3,H,W], such as YOLOv5's `export.py` writes. ONNX Runtime's own
quantizer places the Q/DQ, up to the last convolution: around the convolutions only, and around every operation that has
an INT8 kernel. In each round every form is called once on the same image. The ratio is the float form's CPU time over
the form's, as the median of the rounds; other programs on the machine change it less than wall time. Accuracy is not
measured: a few images calibrate by their minimum and maximum, because time does not depend on the ranges.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from edgevision.contract.image import fit_frame
from edgevision.contract.spec import FrameInput, utc_now
from edgevision.device.facts import device_facts
from edgevision.sources.image_files import images_in, read_image
from edgevision.storage import atomic
from edgevision.storage.codec import json_from_dataclass

Floats = npt.NDArray[np.float32]
IMAGES, CALIBRATION = 12, 6
FORMS = {
    "convolutions": ("Conv",),
    "every INT8 kernel": ("Conv", "Sigmoid", "Mul", "Add", "Concat", "MaxPool", "Resize"),
}


class Images(CalibrationDataReader):  # type: ignore[misc]  # without types
    """Feeds images to the quantizer."""

    def __init__(self, name: str, tensors: list[Floats]) -> None:
        self._feeds: Iterator[dict[str, Floats]] = iter([{name: tensor} for tensor in tensors])

    def get_next(self) -> dict[str, Floats] | None:
        """The next input, or None."""
        return next(self._feeds, None)


def quantized(model: Path, target: Path, kinds: tuple[str, ...], reader: Images) -> None:
    """Write the network with Q/DQ around operations of these kinds, before its last convolution."""
    nodes = onnx.load(model).graph.node
    last = max(number for number, node in enumerate(nodes) if node.op_type == "Conv")
    quantize_static(
        model,
        target,
        reader,
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=list(kinds),
        nodes_to_quantize=[node.name for node in nodes[:last] if node.op_type in kinds],
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


def opened(model: Path, threads: int) -> tuple[Any, dict[str, int]]:
    """A session, and the number of operations of each kind after its optimizations."""
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    settings.intra_op_num_threads = threads
    written = model.with_suffix(".optimized.onnx")
    settings.optimized_model_filepath = str(written)
    session = onnxruntime.InferenceSession(str(model), settings, providers=["CPUExecutionProvider"])
    counts = Counter(node.op_type for node in onnx.load(written).graph.node)
    return session, dict(counts.most_common())


def cpu_times(
    sessions: dict[str, Any], name: str, tensors: list[Floats], rounds: int
) -> dict[str, list[float]]:
    """CPU time in ms of one call of each session in each round, after a round as warm-up."""
    times: dict[str, list[float]] = {form: [] for form in sessions}
    for number in range(rounds + 1):
        for form, session in sessions.items():
            began_ns = time.process_time_ns()
            session.run(None, {name: tensors[number % len(tensors)]})
            if number:
                times[form].append((time.process_time_ns() - began_ns) / 1e6)
    return times


def letterboxed(model: Path, images: Path) -> tuple[str, list[Floats]]:
    """Name of the network's input, and tensors float32 `[1,3,H,W]`, RGB from 0 to 1."""
    (tensor,) = onnx.load(model).graph.input
    height, width = (one.dim_value for one in tensor.type.tensor_type.shape.dim[2:])
    frames = FrameInput((width, height), "letterbox")
    fitted = [fit_frame(read_image(path), frames)[0] for path in images_in(images)[0][:IMAGES]]
    planes = [np.ascontiguousarray(one[:, :, ::-1].transpose(2, 0, 1), np.float32)[None] for one in fitted]
    return tensor.name, [one / np.float32(255) for one in planes]


def measured(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Quantize and measure; one row for each form."""
    name, tensors = letterboxed(options.model, options.images)
    sessions, counts = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "float.onnx"
        quant_pre_process(options.model, source, skip_symbolic_shape=True)
        files = {"float": source}
        for number, (form, kinds) in enumerate(FORMS.items()):
            files[form] = Path(folder) / f"{number}.onnx"
            quantized(source, files[form], kinds, Images(name, tensors[:CALIBRATION]))
        for form, file in files.items():
            sessions[form], counts[form] = opened(file, options.threads)
    times = cpu_times(sessions, name, tensors, options.rounds)
    return [
        {
            "form": form,
            "cpu_ms": round(statistics.median(values), 2),
            "ratio": round(statistics.median(a / b for a, b in zip(times["float"], values, strict=True)), 3),
            "operations": counts[form],
        }
        for form, values in times.items()
    ]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="raw ONNX file")
    parser.add_argument("--images", type=Path, required=True, help="folder of images")
    parser.add_argument("--threads", type=int, default=1, help="threads of ONNX Runtime [1]")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", type=Path, help="write the record to this file")
    options = parser.parse_args()
    rows = measured(options)
    facts = device_facts()
    print(f"{options.model.name}: {facts.cpu}, {facts.cpu_class}, {options.threads} threads")
    for row in rows:
        most = ", ".join(f"{count} {kind}" for kind, count in list(row["operations"].items())[:6])
        print(f"{row['form']:<18} {row['cpu_ms']:>7} ms  {row['ratio']:>6} times as fast as float  {most}")
    if options.json is not None:
        head = {"created": utc_now(), "model": options.model.name, "threads": options.threads}
        record = {**head, "rounds": options.rounds, "device": json_from_dataclass(facts), "rows": rows}
        atomic.write_file(options.json, (json.dumps(record, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
