"""Adds outputs to a serialized ONNX graph without the onnx package, so that a device can verify values inside it.

Protocol Buffers merge a message that occurs twice: repeated fields are concatenated (Encoding, "Last One Wins"). A
second ``GraphProto`` behind the model's bytes that holds only outputs therefore adds these outputs.
"""

from __future__ import annotations

from pathlib import Path

from edgevision.contract.overrides import carries
from edgevision.engines.protobuf import field, number_field

CANDIDATES = ("nms.boxes", "nms.scores", "nms.labels")
"""Inputs of NMS, as `edgevision.graph.nms` names them."""

_FLOAT, _INT32 = 1, 6
"""``TensorProto.DataType``."""
_TYPES = (_FLOAT, _FLOAT, _INT32)
_MODEL_GRAPH, _GRAPH_OUTPUT = 7, 12
_VALUE_NAME, _VALUE_TYPE = 1, 2
_TYPE_TENSOR, _TENSOR_ELEM = 1, 1


def graph_with_candidates(graph: Path) -> bytes | None:
    """The ONNX file with the further outputs `CANDIDATES`; None if it has no NMS of ours."""
    if not carries(graph, CANDIDATES[1]):
        return None
    outputs = b"".join(
        field(_GRAPH_OUTPUT, _value(name, kind)) for name, kind in zip(CANDIDATES, _TYPES, strict=True)
    )
    return graph.read_bytes() + field(_MODEL_GRAPH, outputs)


def _value(name: str, elem_type: int) -> bytes:
    """A ``ValueInfoProto``: a name and an element type, without a shape."""
    tensor = number_field(_TENSOR_ELEM, elem_type)
    return field(_VALUE_NAME, name.encode()) + field(_VALUE_TYPE, field(_TYPE_TENSOR, tensor))
