"""Rewrites the first nodes of a graph for ONNX Runtime on CPUs, where they take 1 to 2 ms of each call at 640x640.

The graph casts ``frames`` ``[B,H,W,3]`` to float and transposes the result to ``[B,3,H,W]``, because TensorRT allows
only a Cast on ``uint8``. Two forms are faster on a CPU, and return the same tensor to the network:

- A convolution that reads the transposed image reads the untransposed one instead, as ``[B,1,H,3W]``. Its kernels
  ``[O,3,h,w]`` become ``[O,1,h,3w]``, and its stride and padding along the width three times as long. The products are
  the same; only the order of their sum changes.
- For other readers the ``uint8`` image is transposed before the Cast, which moves a quarter of the bytes.

The file is not changed; its bytes are edited while they are loaded, without the onnx package.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edgevision.engines.protobuf import Field, field, fields, number_field, numbers, packed

LARGEST_BYTES = 64 << 20
"""Larger files are loaded as they are: the gain is small there, and an edited copy takes as much memory as the file."""
LONGEST_KERNEL = 7
"""Longer kernels, such as those of patches, were not measured."""
_INPUT = "frames"
_TO_NCHW = (0, 3, 1, 2)
_CHANNELS = 3

_MODEL_GRAPH = 7
_NODE, _INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT, _VALUE_INFO = 1, 5, 11, 12, 13
_VALUE_NAME = 1
_TO_SHAPE = (2, 1, 2)
"""Fields from a ``ValueInfoProto`` to its shape: type, tensor type, shape."""
_DIM_VALUE = 1
_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _NODE_KIND, _NODE_ATTRIBUTE = 1, 2, 3, 4, 5
_ATTRIBUTE_NAME, _ATTRIBUTE_INT, _ATTRIBUTE_INTS, _ATTRIBUTE_TYPE = 1, 3, 8, 20
_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS = 6, 11
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW, _TENSOR_EXTERNAL = 1, 2, 8, 9, 13
_FLOAT, _INT64, _INTS = 1, 7, 7
"""Two values of ``TensorProto.DataType``, one of ``AttributeProto.AttributeType``."""
_CONV_ATTRIBUTES = {"kernel_shape", "strides", "pads", "dilations", "group"}


@dataclass(frozen=True, slots=True)
class _Node:
    """A node as far as it matters here."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: tuple[tuple[str, Field], ...]

    @classmethod
    def of(cls, entry: Field) -> _Node:
        parts = list(fields(entry.content))
        texts = {
            number: tuple(_text(part) for part in parts if part.number == number)
            for number in (_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _NODE_KIND)
        }
        attributes = tuple((_name_of(p, _ATTRIBUTE_NAME), p) for p in parts if p.number == _NODE_ATTRIBUTE)
        (kind,), name = texts[_NODE_KIND], (*texts[_NODE_NAME], "")[0]
        return cls(kind, name, texts[_NODE_INPUT], texts[_NODE_OUTPUT], attributes)

    def ints(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """An attribute that is a list of integers, or one integer."""
        for known, entry in self.attributes:
            if known == name:
                parts = [p for p in fields(entry.content) if p.number in (_ATTRIBUTE_INTS, _ATTRIBUTE_INT)]
                return tuple(numbers(parts))
        return default

    def serialized(self) -> bytes:
        """The node as a field of its graph."""
        texts = (
            *((_NODE_INPUT, name) for name in self.inputs),
            *((_NODE_OUTPUT, name) for name in self.outputs),
            (_NODE_NAME, self.name),
            (_NODE_KIND, self.kind),
        )
        parts = [field(number, text.encode()) for number, text in texts]
        return field(_NODE, b"".join([*parts, *(bytes(entry.whole) for _, entry in self.attributes)]))


def with_fast_pixels(model: bytes) -> bytes:
    """The serialized model with faster first nodes; the model itself if it does not begin as described, or is large."""
    if len(model) > LARGEST_BYTES:
        return model
    try:
        parts = list(fields(model))
        first, *added = (part for part in parts if part.number == _MODEL_GRAPH)
        entries = list(fields(first.content))
        edited = _edited(entries, [entry for part in added for entry in fields(part.content)])
    except ValueError:  # ONNX Runtime reports what is wrong with the file
        return model
    if edited is None:
        return model
    return b"".join(field(_MODEL_GRAPH, edited) if part is first else bytes(part.whole) for part in parts)


def _edited(entries: list[Field], added: list[Field]) -> bytes | None:
    """The graph with other first nodes; None if they are not those that are known. `added`: fields that extend it."""
    if any(entry.number != _GRAPH_OUTPUT for entry in added):
        return None
    graph = _Graph(entries, added)
    if graph.has_external_weights:
        return None
    cast = graph.only_reader(_INPUT, "Cast")
    if cast is None or graph.nodes[cast].ints("to", ()) != (_FLOAT,):
        return None
    transpose = graph.only_reader(graph.nodes[cast].outputs[0], "Transpose")
    if transpose is None or graph.nodes[transpose].ints("perm", ()) != _TO_NCHW:
        return None
    first, second = graph.nodes[cast], graph.nodes[transpose]
    changed = _one_channel(graph, transpose) or {
        cast: replace(second, inputs=first.inputs, outputs=first.outputs).serialized(),
        transpose: replace(first, inputs=second.inputs, outputs=second.outputs).serialized(),
    }
    stale = {first.outputs[0], second.outputs[0]}
    return b"".join(
        changed.get(place, bytes(entry.whole))
        for place, entry in enumerate(entries)
        if not (entry.number == _VALUE_INFO and _name_of(entry, _VALUE_NAME) in stale)
    )


class _Graph:
    """The fields of a graph, by their places."""

    def __init__(self, entries: list[Field], outputs: list[Field]) -> None:
        self.entries = entries
        self.nodes = {place: _Node.of(entry) for place, entry in enumerate(entries) if entry.number == _NODE}
        self._read = [name for node in self.nodes.values() for name in node.inputs]
        self._read += [
            _name_of(entry, _VALUE_NAME) for entry in (*entries, *outputs) if entry.number == _GRAPH_OUTPUT
        ]
        self._nested = any(
            part.number in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS)
            for node in self.nodes.values()
            for _, entry in node.attributes
            for part in fields(entry.content)
        )

    @property
    def has_external_weights(self) -> bool:
        """True if weights are in another file, which is found by the path of this one."""
        stored = (entry for entry in self.entries if entry.number == _INITIALIZER)
        return any(part.number == _TENSOR_EXTERNAL for entry in stored for part in fields(entry.content))

    def is_read_once(self, name: str) -> bool:
        """True if one node reads a value and nothing else does; a nested graph might read any."""
        return self._read.count(name) == 1 and not self._nested

    def only_reader(self, name: str, kind: str) -> int | None:
        """Place of the node that alone reads a value, if it is of this kind."""
        for place, node in self.nodes.items():
            if name in node.inputs:
                return place if node.kind == kind and self.is_read_once(name) else None
        return None

    def named(self, number: int, name: str, name_field: int) -> int | None:
        """Place of the field with this number whose message has this name."""
        for place, entry in enumerate(self.entries):
            if entry.number == number and _name_of(entry, name_field) == name:
                return place
        return None

    def frame_hw(self) -> tuple[int, int] | None:
        """Height and width of `frames`; None if they are dynamic."""
        place = self.named(_GRAPH_INPUT, _INPUT, _VALUE_NAME)
        message = memoryview(b"") if place is None else self.entries[place].content
        for number in _TO_SHAPE:
            message = next((part.content for part in fields(message) if part.number == number), message[:0])
        dims = [numbers(p for p in fields(dim.content) if p.number == _DIM_VALUE) for dim in fields(message)]
        if len(dims) != 4 or not dims[1] or not dims[2]:
            return None
        return dims[1][0], dims[2][0]


def _one_channel(graph: _Graph, transpose: int) -> dict[int, bytes] | None:
    """Fields that replace those of the graph, so that the first convolution reads the image as ``[B,1,H,3W]``."""
    image = graph.nodes[transpose].outputs[0]
    place = graph.only_reader(image, "Conv")
    if place is None or graph.nodes[place].inputs[0] != image:
        return None
    convolution = graph.nodes[place]
    stored = graph.named(_INITIALIZER, convolution.inputs[1], _TENSOR_NAME)
    frame_hw = graph.frame_hw()
    if stored is None or frame_hw is None or not graph.is_read_once(convolution.inputs[1]):
        return None
    weights = _float_array(graph.entries[stored])
    if weights is None or weights.ndim != 4 or weights.shape[1] != _CHANNELS:
        return None
    height, width = weights.shape[2:]
    stride, pads = convolution.ints("strides", (1, 1)), convolution.ints("pads", (0, 0, 0, 0))
    known = {name for name, _ in convolution.attributes} <= _CONV_ATTRIBUTES
    plain = convolution.ints("dilations", (1, 1)) == (1, 1) and convolution.ints("group", (1,)) == (1,)
    if not (known and plain and max(height, width) <= LONGEST_KERNEL):
        return None
    wide = np.ascontiguousarray(weights.transpose(0, 2, 3, 1)).reshape(-1, 1, height, _CHANNELS * width)
    shape = f"{image}/shape"
    attributes = (
        _ints_attribute("kernel_shape", (height, _CHANNELS * width)),
        _ints_attribute("strides", (stride[0], _CHANNELS * stride[1])),
        _ints_attribute("pads", (pads[0], _CHANNELS * pads[1], pads[2], _CHANNELS * pads[3])),
    )
    before = graph.nodes[transpose]
    reshape = replace(before, kind="Reshape", inputs=(before.inputs[0], shape), attributes=())
    new_shape = np.array((0, 1, frame_hw[0], _CHANNELS * frame_hw[1]), np.int64)
    return {
        transpose: reshape.serialized(),
        place: replace(convolution, attributes=attributes).serialized(),
        stored: _tensor(convolution.inputs[1], _FLOAT, wide) + _tensor(shape, _INT64, new_shape),
    }


def _float_array(entry: Field) -> npt.NDArray[np.float32] | None:
    """A float32 tensor that is stored as raw bytes; None for any other."""
    parts = list(fields(entry.content))
    dims = numbers(part for part in parts if part.number == _TENSOR_DIMS)
    raw = next((part.content for part in parts if part.number == _TENSOR_RAW), None)
    kind = next((part.value for part in parts if part.number == _TENSOR_TYPE), 0)
    if raw is None or kind != _FLOAT or len(raw) != 4 * int(np.prod(dims)):
        return None
    return np.frombuffer(raw, "<f4").reshape(dims)


def _tensor(name: str, kind: int, array: npt.NDArray[np.float32] | npt.NDArray[np.int64]) -> bytes:
    """A tensor as a field of its graph."""
    raw = array.astype(array.dtype.newbyteorder("<")).tobytes()
    parts = (
        packed(_TENSOR_DIMS, array.shape),
        number_field(_TENSOR_TYPE, kind),
        field(_TENSOR_NAME, name.encode()),
        field(_TENSOR_RAW, raw),
    )
    return field(_INITIALIZER, b"".join(parts))


def _ints_attribute(name: str, values: tuple[int, ...]) -> tuple[str, Field]:
    content = b"".join(
        (
            field(_ATTRIBUTE_NAME, name.encode()),
            packed(_ATTRIBUTE_INTS, values),
            number_field(_ATTRIBUTE_TYPE, _INTS),
        )
    )
    (made,) = fields(field(_NODE_ATTRIBUTE, content))
    return name, made


def _name_of(entry: Field, number: int) -> str:
    """The text in a field of a message; empty if there is none."""
    return next((_text(part) for part in fields(entry.content) if part.number == number), "")


def _text(part: Field) -> str:
    return bytes(part.content).decode()
