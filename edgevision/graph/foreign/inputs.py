"""Brings a third-party network to one image input in NCHW order, and undoes that for the unmodified file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from edgevision.contract.spec import BatchRange
from edgevision.errors import GraphError
from edgevision.graph.heads.head import NetworkOutput
from edgevision.graph.surgery import RENAMED, describe_value, redirect

_Pair = Callable[[tuple[int, int]], tuple[int, int]]

KNOWN_INPUTS: Mapping[str, _Pair] = {
    # github.com/lyuwenyu/RT-DETR, rtdetr_pytorch/tools/export_onnx.py: boxes are multiplied by width and height.
    "orig_target_sizes": lambda size_wh: size_wh,
    # PaddleDetection, deploy/python/preprocess.py: height and width of the network's input, and its ratio to the frame.
    "im_shape": lambda size_wh: (size_wh[1], size_wh[0]),
    "scale_factor": lambda _: (1, 1),
    # github.com/onnx/models, YOLOv3: height and width in which boxes are given.
    "image_shape": lambda size_wh: (size_wh[1], size_wh[0]),
}
"""Names of second inputs ``[B,2]`` and their values for boxes in pixels of the network's input, by its size."""


@dataclass(frozen=True, slots=True)
class SecondInput:
    """An input ``[B,2]`` beside the image, as the file declares it; its values depend only on the network's size."""

    name: str
    dtype: str
    elem_type: int

    def values(self, size_wh: tuple[int, int], batch: int) -> npt.NDArray[np.generic]:
        """The values ``[batch,2]`` that give boxes in pixels of the network's input."""
        pair = KNOWN_INPUTS[self.name](size_wh)
        return np.tile(np.array([pair], self.dtype), (batch, 1))


@dataclass(frozen=True, slots=True)
class FileInputs:
    """The inputs of the unmodified file."""

    image: str
    nhwc: bool
    """True if the file takes ``[B,H,W,3]``."""
    others: tuple[SecondInput, ...] = ()

    def feeds(
        self, tensor_nchw: npt.NDArray[np.float32], size_wh: tuple[int, int]
    ) -> dict[str, npt.NDArray[np.generic]]:
        """Everything that the file takes for images ``[B,3,h,w]``."""
        image = np.ascontiguousarray(tensor_nchw.transpose(0, 2, 3, 1)) if self.nhwc else tensor_nchw
        rest = {other.name: other.values(size_wh, len(tensor_nchw)) for other in self.others}
        return {self.image: image, **rest}


def reduce_to_image(graph: onnx.GraphProto) -> FileInputs:
    """Leave only the image as an input, in NCHW order, in place; `bind` then replaces the others.

    Raises `GraphError` if an input is neither an image nor one of `KNOWN_INPUTS`.
    """
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in stored]
    images = [value for value in inputs if _own(value.name) not in KNOWN_INPUTS]
    others = [value for value in inputs if _own(value.name) in KNOWN_INPUTS]
    if len(images) != 1:
        listed = "; ".join(_own(str(describe_value(value))) for value in inputs) or "none"
        known = ", ".join(KNOWN_INPUTS)
        raise GraphError(
            f"the network has {len(inputs)} inputs ({listed}); expected one, the image, and beside it only {known}"
        )
    second = tuple(_second(value) for value in others)
    (image,) = images
    nhwc = _is_nhwc(describe_value(image))
    del graph.input[:]
    graph.input.append(image)
    name = _own(image.name)
    if nhwc:
        _put_transpose(graph)
    return FileInputs(name, nhwc, second)


def bind(graph: onnx.GraphProto, inputs: FileInputs, size_wh: tuple[int, int], batch: BatchRange) -> None:
    """Give the second inputs their values for this size, in place."""
    for other in inputs.others:
        name = _graph_name(graph, other.name)
        if batch.static:
            value = other.values(size_wh, batch.max)
            graph.initializer.append(numpy_helper.from_array(value, name))
            continue
        graph.initializer.append(numpy_helper.from_array(other.values(size_wh, 1), f"{name}/one"))
        graph.initializer.append(numpy_helper.from_array(np.array([0], np.int64), f"{name}/first"))
        graph.initializer.append(numpy_helper.from_array(np.array([2], np.int64), f"{name}/two"))
        nodes = (
            helper.make_node("Shape", [graph.input[0].name], [f"{name}/shape"], end=1, start=0),
            helper.make_node("Concat", [f"{name}/shape", f"{name}/two"], [f"{name}/size"], axis=0),
            helper.make_node("Expand", [f"{name}/one", f"{name}/size"], [name]),
        )
        _prepend(graph, nodes)


def _own(name: str) -> str:
    """The name in the file, which may be one that the contract reserves."""
    return name.removeprefix(RENAMED)


def _graph_name(graph: onnx.GraphProto, name: str) -> str:
    used = {value for node in graph.node for value in node.input}
    return f"{RENAMED}{name}" if f"{RENAMED}{name}" in used else name


def _second(value: onnx.ValueInfoProto) -> SecondInput:
    described = describe_value(value)
    if len(described.shape) != 2 or described.shape[1] not in (2, None):
        raise GraphError(
            f"the network's input is {_own(str(described))}; expected [B, 2] for an input of this name"
        )
    if described.dtype not in ("float32", "float16", "int64", "int32"):
        raise GraphError(f"the network's input is {_own(str(described))}; expected floats or integers")
    return SecondInput(_own(value.name), described.dtype, value.type.tensor_type.elem_type)


def _is_nhwc(value: NetworkOutput) -> bool:
    shape = value.shape
    return len(shape) == 4 and shape[3] == 3 and shape[1] != 3


def _put_transpose(graph: onnx.GraphProto) -> None:
    """Turn the input ``[B,H,W,3]`` into one of the same name ``[B,3,H,W]``, with a Transpose behind it, in place."""
    value = graph.input[0]
    inner = f"{value.name}/nhwc"
    redirect(graph, value.name, inner)
    _prepend(graph, (helper.make_node("Transpose", [value.name], [inner], perm=[0, 2, 3, 1]),))
    dims = value.type.tensor_type.shape.dim
    copies = [onnx.TensorShapeProto.Dimension() for _ in dims]
    for copy, place in zip(copies, (0, 3, 1, 2), strict=True):
        copy.CopyFrom(dims[place])
    del dims[:]
    dims.extend(copies)


def _prepend(graph: onnx.GraphProto, nodes: tuple[onnx.NodeProto, ...]) -> None:
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])
