"""Tiny networks with enough of the contract for conversion: frames in, scores out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgevision.engines.ort_settings import cpu_session
from edgevision.quantize.signedness import DEQUANTIZE

SIDE = 8
CLASSES = 5


def frames(count: int = 1, seed: int = 0) -> npt.NDArray[np.uint8]:
    shape = (count, SIDE, SIDE, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def network(
    *middle: tuple[str, dict[str, npt.NDArray[Any]]],
    opset: int = 17,
    weights: npt.NDArray[np.float32] | None = None,
) -> onnx.ModelProto:
    """A convolution, `middle`, a convolution, and a softmax of the contract's own.

    Each of `middle` is an operator and its further inputs by name.
    """
    rng = np.random.default_rng(1)
    stored: dict[str, npt.NDArray[Any]] = {
        "first.weight": rng.normal(0, 0.02, (4, 3, 3, 3)).astype(np.float32) if weights is None else weights,
        "last.weight": rng.normal(0, 0.3, (CLASSES, 4, 1, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["frames"], ["pixels"], name="pre/Cast", to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels"], ["image"], name="pre/Transpose", perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["image", "first.weight"], ["first"], name="first"),
    ]
    value = "first"
    for index, (kind, inputs) in enumerate(middle):
        name = f"{kind.lower()}{index}"
        stored |= inputs
        nodes.append(helper.make_node(kind, [value, *inputs], [name], name=name))
        value = name
    nodes += [
        helper.make_node("Conv", [value, "last.weight"], ["last"], name="last"),
        helper.make_node("GlobalAveragePool", ["last"], ["pooled"], name="pooled"),
        helper.make_node("Flatten", ["pooled"], ["logits"], name="logits"),
        helper.make_node("Softmax", ["logits"], ["scores"], name="post/Softmax"),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, [1, SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in stored.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def factor(value: float) -> dict[str, npt.NDArray[np.float32]]:
    return {f"factor_{value:g}": np.array(value, np.float32)}


def answers(model: onnx.ModelProto, batches: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
    """The scores of all frames, by ONNX Runtime."""
    session = cpu_session(model.SerializeToString())
    return np.concatenate([session.run(None, {"frames": batch})[0] for batch in batches])


def values(model: onnx.ModelProto, name: str, batch: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
    """A value from inside the network."""
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    if name not in [output.name for output in model.graph.output]:
        inferred = onnx.shape_inference.infer_shapes(model).graph.value_info
        probed.graph.output.append(next(value for value in inferred if value.name == name))
    session = cpu_session(probed.SerializeToString())
    return np.asarray(session.run([name], {"frames": batch})[0])


def with_int8_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Both convolutions with int8 weights behind a DequantizeLinear, ``<layer>.scale`` for each channel."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    for layer in ("first", "last"):
        stored = next(tensor for tensor in graph.initializer if tensor.name == f"{layer}.weight")
        weights = numpy_helper.to_array(stored)
        scales = np.abs(weights).max(axis=(1, 2, 3)) / 127
        steps = np.rint(weights / scales.reshape(-1, 1, 1, 1)).astype(np.int8)
        graph.initializer.remove(stored)
        for name, array in (("int8", steps), ("scale", scales), ("zero", np.zeros(len(scales), np.int8))):
            graph.initializer.append(numpy_helper.from_array(array, f"{layer}.{name}"))
        inputs = [f"{layer}.int8", f"{layer}.scale", f"{layer}.zero"]
        node = helper.make_node(DEQUANTIZE, inputs, [f"{layer}.weight"], name=f"{layer}.dequantize", axis=0)
        graph.node.insert(0, node)
    onnx.checker.check_model(result, full_check=True)
    return result


def with_fault(model: onnx.ModelProto, layer: str, channel: int | None, by: float = 4.0) -> onnx.ModelProto:
    """The same with one scale of a layer's weights multiplied, or with all of them."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    stored = next(tensor for tensor in result.graph.initializer if tensor.name == f"{layer}.scale")
    scales = numpy_helper.to_array(stored).copy()
    scales[slice(None) if channel is None else channel] *= by
    stored.CopyFrom(numpy_helper.from_array(scales, stored.name))
    return result
