"""Makes a detector with transformers hard for FP16 without changing what it computes in float32.

``python benchmarks/hard_detr.py MODEL.onnx OUT.onnx`` writes a file with two properties of large trained transformers:

- Layer normalizations as separate operators, as exporters write them for opset 16. Their inputs are multiplied by the
  factors of `FEATURES` in turn, which the normalization cancels. In FP16, the square of 256 overflows, and the square
  of 3e-4 has only one or two bits.
- Attention keys with a large bias. It adds the same number to all logits of a query, so Softmax cancels it. In FP16,
  the logits then lose their fractional part.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

FEATURES = (300.0, 3e-4)
KEYS = 400.0
"""Added to, or subtracted from, every bias of a key."""


def hardened(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with both properties; raises `ValueError` if it has no attention with biased keys."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    _enlarge_keys(graph)
    nodes: list[onnx.NodeProto] = []
    graph.initializer.append(numpy_helper.from_array(np.array(2, np.float32), "hard/two"))
    found = 0
    for node in graph.node:
        if node.op_type == "LayerNormalization":
            nodes += _normalization(graph, node, FEATURES[found % len(FEATURES)])
            found += 1
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(result, full_check=True)
    return result


def _normalization(graph: onnx.GraphProto, node: onnx.NodeProto, factor: float) -> list[onnx.NodeProto]:
    epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
    prefix = f"{node.name}/"
    constants = {"epsilon": epsilon * factor**2, "factor": factor}
    for name, value in constants.items():
        graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), prefix + name))
    steps = [
        ("Mul", [node.input[0], "factor"], "large"),
        ("ReduceMean", ["large"], "mean"),
        ("Sub", ["large", "mean"], "centred"),
        ("Pow", ["centred", "hard/two"], "squared"),
        ("ReduceMean", ["squared"], "variance"),
        ("Add", ["variance", "epsilon"], "guarded"),
        ("Sqrt", ["guarded"], "deviation"),
        ("Div", ["centred", "deviation"], "normal"),
        ("Mul", ["normal", node.input[1]], "scaled"),
    ]
    outside = {node.input[0], node.input[1], "hard/two"}
    made = []
    for operator, inputs, output in steps:
        names = [name if name in outside else prefix + name for name in inputs]
        step = helper.make_node(operator, names, [prefix + output], name=prefix + output)
        if operator == "ReduceMean":
            step.attribute.append(helper.make_attribute("axes", [-1]))
        made.append(step)
    last = [f"{prefix}scaled", node.input[2]]
    return [*made, helper.make_node("Add", last, [node.output[0]], name=f"{prefix}shifted")]


def _enlarge_keys(graph: onnx.GraphProto) -> None:
    producer = {name: node for node in graph.node for name in node.output}
    stored = {tensor.name: tensor for tensor in graph.initializer}
    rng = np.random.default_rng(0)
    found = 0
    for softmax in graph.node:
        if softmax.op_type != "Softmax":
            continue
        product = producer[softmax.input[0]]
        while product.op_type in ("Add", "Mul", "Div", "Reshape"):
            product = producer[product.input[0]]
        if product.op_type != "MatMul" or product.input[1] not in producer:
            continue
        keys = producer[product.input[1]]
        while keys.op_type in ("Transpose", "Reshape", "Mul", "Unsqueeze"):
            keys = producer[keys.input[0]]
        bias = next(
            (stored[name] for name in keys.input if name in stored and len(stored[name].dims) == 1), None
        )
        if keys.op_type in ("Add", "Gemm") and bias is not None:
            values = numpy_helper.to_array(bias)
            large = values + KEYS * rng.choice([-1, 1], values.shape)
            bias.CopyFrom(numpy_helper.from_array(large.astype(np.float32), bias.name))
            found += 1
    if not found:
        raise ValueError("expected a Softmax of a product whose keys have a stored bias; found none")


if __name__ == "__main__":
    onnx.save(hardened(onnx.load(Path(sys.argv[1]))), Path(sys.argv[2]))
