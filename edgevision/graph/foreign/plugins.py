"""Cuts NMS plugins of TensorRT from third-party files: only TensorRT runs them.

Facts: github.com/NVIDIA/TensorRT, plugin/efficientNMSPlugin and plugin/batchedNMSPlugin, README.md and the creators'
fields. Exporters write the nodes in the domain ``TRT``, or in that of the standard operators.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from edgevision.errors import GraphError
from edgevision.graph.contract import load_model
from edgevision.graph.heads.head import NmsPlugin
from edgevision.graph.surgery import walk

_EFFICIENT = "EfficientNMS_TRT"
_BATCHED = ("BatchedNMS_TRT", "BatchedNMSDynamic_TRT")
PLUGINS = (_EFFICIENT, *_BATCHED)
_DOMAIN = "TRT"

_MOVING = frozenset(
    (
        "Identity",
        "Cast",
        "Reshape",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Transpose",
        "Concat",
        "Split",
        "Slice",
        "Gather",
    )
)
"""Operators after the plugin that only move its results."""


def without_plugin(path: Path) -> onnx.ModelProto:
    """The network of a file with a plugin: its outputs are the plugin's boxes and scores. Raises `GraphError`."""
    model = load_model(path)
    cut_plugin(model)
    return model


def cut_plugin(model: onnx.ModelProto) -> NmsPlugin | None:
    """Make the boxes and scores that a plugin takes the outputs of the graph, in place; None without a plugin.

    Raises `GraphError` if there are several, if values that the plugin does not compute are outputs too, if its results
    are changed after it, or if its form is not supported.
    """
    graph = model.graph
    found = [node for node in graph.node if node.op_type in PLUGINS]
    if not found:
        return None
    node = found[0]
    if len(found) > 1:
        raise GraphError(f"the graph has {len(found)} nodes {node.op_type}; expected one")
    _check_outputs(graph, node)
    attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    plugin = _efficient(node, attributes) if node.op_type == _EFFICIENT else _batched(node, attributes)
    _end_at(model, list(node.input[:2]))
    return plugin


def _efficient(node: onnx.NodeProto, attributes: Mapping[str, Any]) -> NmsPlugin:
    if len([name for name in node.input if name]) != 2:
        raise _unsupported(node, "decodes boxes by anchors, its third input", "export decoded boxes")
    if attributes.get("class_agnostic"):
        raise _unsupported(node, "suppresses across classes (class_agnostic)", "set class_agnostic to 0")
    background = int(attributes.get("background_class", -1))
    return NmsPlugin(
        node.op_type,
        score_threshold=float(attributes.get("score_threshold", 0.25)),
        iou_threshold=float(attributes.get("iou_threshold", 0.5)),
        max_detections=int(attributes.get("max_output_boxes", 100)),
        background=background if background >= 0 else None,
        centres=int(attributes.get("box_coding", 0)) == 1,
        logits=bool(attributes.get("score_activation", 0)),
    )


def _batched(node: onnx.NodeProto, attributes: Mapping[str, Any]) -> NmsPlugin:
    background = int(attributes.get("backgroundLabelId", -1))
    # Clipping at 1 is only useful for fractions; `isNormalized` alone is often left at its default for pixels.
    fractions = bool(attributes.get("isNormalized", 1)) and bool(attributes.get("clipBoxes", 1))
    return NmsPlugin(
        node.op_type,
        score_threshold=float(attributes.get("scoreThreshold", 0.25)),
        iou_threshold=float(attributes.get("iouThreshold", 0.5)),
        max_detections=int(attributes.get("keepTopK", 100)),
        background=background if background >= 0 else None,
        fractions=fractions,
    )


def _unsupported(node: onnx.NodeProto, what: str, remedy: str) -> GraphError:
    return GraphError(f"the node {node.op_type} {what}, which is not supported; {remedy}")


def _check_outputs(graph: onnx.GraphProto, plugin: onnx.NodeProto) -> None:
    """Raise `GraphError` unless every output is a result of the plugin, unchanged."""
    results = {name for name in plugin.output if name}
    for node in graph.node:
        if results.isdisjoint(node.input):
            continue
        if node.op_type not in _MOVING:
            raise GraphError(
                f"{node.op_type} {node.name!r} changes the results of {plugin.op_type}; expected a file whose outputs"
                " are those of the plugin"
            )
        results.update(node.output)
    others = [value.name for value in graph.output if value.name not in results]
    if others:
        raise GraphError(
            f"the outputs {', '.join(others)} do not come from {plugin.op_type}; expected only its results: export"
            " without the plugin"
        )


def _end_at(model: onnx.ModelProto, names: list[str]) -> None:
    """Make values the outputs of the graph, and remove the nodes that they do not need."""
    graph = model.graph
    needed, kept = set(names), []
    for node in reversed(graph.node):
        if needed.isdisjoint(node.output):
            continue
        kept.append(node)
        needed.update(node.input)
        for attribute in node.attribute:
            for nested in (attribute.g, *attribute.graphs):
                needed.update(name for part in walk(nested) for inner in part.node for name in inner.input)
    nodes = kept[::-1]
    del graph.node[:], graph.output[:]
    graph.node.extend(nodes)
    if not any(node.domain == _DOMAIN for node in nodes):
        standard = [entry for entry in model.opset_import if entry.domain != _DOMAIN]
        del model.opset_import[:]
        model.opset_import.extend(standard)
    try:
        inferred = onnx.shape_inference.infer_shapes(model).graph
    except Exception as error:  # it raises its own errors, and protobuf's for a model above 2 GiB
        raise GraphError(f"the inputs of the plugin cannot be inferred: {error}") from error
    values = {value.name: value for value in inferred.value_info}
    missing = [name for name in names if name not in values]
    if missing:
        raise GraphError(f"the inputs {', '.join(missing)} of the plugin are not computed by the network")
    graph.output.extend(values[name] for name in names)
