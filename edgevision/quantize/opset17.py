"""The form of an INT8 graph for TensorRT 8.6: opset 17, with float32 scales and a float32 remainder.

Its parser (onnx-tensorrt release/8.6-GA, ``QuantDequantLinearHelper``) reads opset 17 and interprets a scale's bytes as
float32; FP16 scales need opset 19. Typing is weak there: the builder's FP16 flag, not a type in the graph, converts the
remainder to FP16. Scales and weights equal those of the graph with an FP16 remainder, rounding included, so that both
compute the same INT8 products.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from edgevision.bundle.folder import Golden, Verification
from edgevision.contract.embedded_spec import FLOAT32_KEY
from edgevision.engines.opening import open_session
from edgevision.errors import GraphError, VerificationError
from edgevision.graph.builder import OPSET
from edgevision.graph.contract import check_graph, opset_of
from edgevision.verification.golden import verify_session

ROUNDED = "/rounded"


def opset17_form(quantized: onnx.ModelProto, half: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `quantized`, which has a float32 remainder, with the scales and weights of `half`, its FP16 version.

    Raises `GraphError` if `quantized` needs a newer opset, or `half` was not made from it.
    """
    if opset_of(quantized) > OPSET:
        raise GraphError(
            f"the graph has opset {opset_of(quantized)}; TensorRT 8.6 supports {OPSET}: export the model with that"
            " opset"
        )
    copy = onnx.ModelProto()
    copy.CopyFrom(quantized)
    stored = {tensor.name: tensor for tensor in copy.graph.initializer}
    theirs = {tensor.name: tensor for tensor in half.graph.initializer}
    nodes = {node.name: node for node in half.graph.node}
    for node in copy.graph.node:
        twin = nodes.get(node.name)
        if twin is None or twin.op_type != node.op_type:
            continue  # a folded Q of a weight, or a cast of a type that only the other graph has
        # Opset 18 changed some attributes to inputs: axes of reductions.
        for index, (name, other) in enumerate(zip(node.input, twin.input, strict=False)):
            tensor = theirs.get(other)
            if name in stored and tensor is not None and tensor.data_type == onnx.TensorProto.FLOAT16:
                node.input[index] = _rounded(copy, stored, name, tensor)
    read = {name for node in copy.graph.node for name in node.input}
    kept = [t for t in copy.graph.initializer if t.name in read or f"{t.name}{ROUNDED}" not in stored]
    copies = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
    del copy.graph.initializer[:]
    copy.graph.initializer.extend(copies)
    copy.metadata_props.extend(entry for entry in half.metadata_props if entry.key == FLOAT32_KEY)
    check_graph(copy)
    return copy


def _rounded(
    model: onnx.ModelProto, stored: dict[str, onnx.TensorProto], name: str, half: onnx.TensorProto
) -> str:
    """The name of a float32 constant with the values of an FP16 one."""
    rounded = f"{name}{ROUNDED}"
    if rounded not in stored:
        values = numpy_helper.to_array(half).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, rounded))
        stored[rounded] = model.graph.initializer[-1]
    return rounded


def verified_form(form: onnx.ModelProto, golden: Golden) -> Verification:
    """Compare the form with the golden answers in ONNX Runtime, within INT8's limits; raises `VerificationError`."""
    with tempfile.TemporaryDirectory(prefix="edgevision-") as folder:
        file = Path(folder) / "model.onnx"
        onnx.save(form, file)
        with open_session(file, engine="onnxruntime") as session:
            record = replace(verify_session(session, golden, precision="int8"), stage="export")
    if not record.passed:
        raise VerificationError(
            f"the form of opset {OPSET} for TensorRT 8.6 does not match the source model: {record.failures}"
        )
    return record
