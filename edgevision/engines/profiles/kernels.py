"""Single operations as ONNX models, and engines that run them, to measure the arithmetic peak of a machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgevision.contract.spec import Precision
from edgevision.engines.protobuf import field, number_field, packed
from edgevision.errors import MissingExtraError

KernelEngine = Literal["onnxruntime", "openvino"]
KERNEL_ENGINES: tuple[KernelEngine, ...] = ("onnxruntime", "openvino")

_FLOAT, _UINT8, _INT8 = 1, 2, 3
"""``TensorProto.DataType``."""
_IR, _OPSET = 8, 17
_SCALE = 0.02


@dataclass(frozen=True, slots=True)
class Kernel:
    """A model of one product, its input ``x``, and the operations of one call."""

    name: str
    model: bytes
    x: npt.NDArray[np.float32] | npt.NDArray[np.uint8]
    flops: int
    """Multiplications and additions, counted separately."""


def matmul(size: int, precision: Precision) -> Kernel:
    """A product of two square matrices, of which the second is stored."""
    return _kernel(f"MatMul {size}", "MatMul", (size, size), (size, size), precision, 2 * size**3)


def convolution(channels: int, side: int, precision: Precision) -> Kernel:
    """A 3x3 convolution with as many input as output channels."""
    flops = 2 * channels * channels * 9 * side * side
    shape, weights = (1, channels, side, side), (channels, channels, 3, 3)
    return _kernel(f"Conv 3x3 {channels} at {side}x{side}", "Conv", shape, weights, precision, flops)


def opened(
    engine: KernelEngine, kernel: Kernel, precision: Precision, threads: int | None
) -> Callable[[], object]:
    """A function that runs the kernel once; raises `MissingExtraError` if the engine is not installed."""
    try:
        return (_in_openvino if engine == "openvino" else _in_onnxruntime)(kernel, precision, threads)
    except ModuleNotFoundError as error:
        if error.name != engine:
            raise
        raise MissingExtraError(
            engine, "cpu" if engine == "onnxruntime" else engine, f"engine {engine}"
        ) from error


def library_version(engine: KernelEngine) -> str:
    """Name and version of the engine's library; raises `MissingExtraError` if it is not installed."""
    try:
        return f"{engine} {import_module(engine).__version__}"
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            engine, "cpu" if engine == "onnxruntime" else engine, f"engine {engine}"
        ) from error


def _in_onnxruntime(kernel: Kernel, precision: Precision, threads: int | None) -> Callable[[], object]:
    from edgevision.engines.ort_settings import cpu_session, session_settings

    del precision  # it is in the model
    session = cpu_session(kernel.model, session_settings(threads, spin=True))
    return lambda: session.run(None, {"x": kernel.x})


def _in_openvino(kernel: Kernel, precision: Precision, threads: int | None) -> Callable[[], object]:
    from edgevision.engines.openvino import shared_core

    hint = {"bf16": "bf16", "fp16": "f16"}.get(precision, "f32")
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": hint}
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    core = shared_core()
    request = core.compile_model(core.read_model(kernel.model), "CPU", settings).create_infer_request()
    return lambda: request.infer({"x": kernel.x}, share_inputs=True, share_outputs=True)


def _kernel(
    name: str, kind: str, shape: Sequence[int], weights: Sequence[int], precision: Precision, flops: int
) -> Kernel:
    random = np.random.default_rng(0)
    pads = _ints("pads", (1, 1, 1, 1)) if kind == "Conv" else b""
    if precision != "int8":
        w = (random.standard_normal(weights) * 0.02).astype(np.float32)
        nodes = _node(kind, ("x", "w"), "y", pads)
        x = random.standard_normal(shape).astype(np.float32)
        return Kernel(name, _model(nodes, {"w": w}, _FLOAT, shape), x, flops)
    stored: dict[str, npt.NDArray[Any]] = {
        "w": random.integers(-127, 128, weights, np.int8),
        "scale": np.array(_SCALE, np.float32),
        "coarse": np.array(1.0, np.float32),
        "zero": np.array(128, np.uint8),
        "none": np.array(0, np.int8),
    }
    nodes = b"".join(
        (
            _node("DequantizeLinear", ("x", "scale", "zero"), "xf"),
            _node("DequantizeLinear", ("w", "scale", "none"), "wf"),
            _node(kind, ("xf", "wf"), "yf", pads),
            _node("QuantizeLinear", ("yf", "coarse", "zero"), "y"),
        )
    )
    return Kernel(name, _model(nodes, stored, _UINT8, shape), random.integers(0, 256, shape, np.uint8), flops)


def _model(nodes: bytes, stored: dict[str, npt.NDArray[Any]], kind: int, shape: Sequence[int]) -> bytes:
    """A ``ModelProto`` from ``x`` to ``y``, both of this type and shape; `nodes` are fields of its graph."""
    tensors = b"".join(field(5, _tensor(name, array)) for name, array in stored.items())
    ports = field(11, _value("x", kind, shape)) + field(12, _value("y", kind, shape))
    graph = nodes + field(2, b"kernel") + tensors + ports
    return number_field(1, _IR) + field(7, graph) + field(8, number_field(2, _OPSET))


def _node(kind: str, inputs: Sequence[str], output: str, attribute: bytes = b"") -> bytes:
    texts = [*((1, name) for name in inputs), (2, output), (3, f"{kind}_{output}"), (4, kind)]
    return field(1, b"".join(field(number, text.encode()) for number, text in texts) + attribute)


def _ints(name: str, values: Sequence[int]) -> bytes:
    return field(5, field(1, name.encode()) + packed(8, values) + number_field(20, 7))


def _tensor(name: str, array: npt.NDArray[Any]) -> bytes:
    kind = {"float32": _FLOAT, "uint8": _UINT8, "int8": _INT8}[array.dtype.name]
    parts = (
        packed(1, array.shape),
        number_field(2, kind),
        field(8, name.encode()),
        field(9, array.tobytes()),
    )
    return b"".join(parts)


def _value(name: str, kind: int, shape: Sequence[int]) -> bytes:
    dims = field(2, b"".join(field(1, number_field(1, length)) for length in shape))
    return field(1, name.encode()) + field(2, field(1, number_field(1, kind) + dims))
