"""Converts camera frames to the network's tensor inside the graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from edgevision.contract.image import LetterboxGeometry
from edgevision.contract.inputs import MASKED, TensorInput
from edgevision.contract.pixels import UNSPECIFIED, WEIGHTS, YuvColour
from edgevision.contract.spec import Fit, FrameInput
from edgevision.errors import GraphError
from edgevision.graph.builder import FLOAT, FLOAT16, INT32, UINT8, GraphBuilder, ints
from edgevision.graph.resample import Matrix, Scaling, Taps, scaling_of
from edgevision.graph.surgery import BATCH, network_input, redirect, walk

FRAMES = "frames"
_REPEATED = {
    "mode": "nearest",
    "coordinate_transformation_mode": "asymmetric",
    "nearest_mode": "floor",
}
"""Attributes of a Resize that repeats values."""


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """A network's pixel format: ``(value * scale - mean) / std`` for values of 0..255.

    `mean` and `std` are in the network's own channel order.
    """

    order: Literal["rgb", "bgr"] = "rgb"
    scale: float = 1 / 255
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        if self.order not in ("rgb", "bgr"):
            raise ValueError(f"order is {self.order!r}; expected rgb or bgr")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if np.shape(values) != (3,):
                raise ValueError(f"{name} is {values!r}; expected three values, one for each channel")
        if not np.isfinite([self.scale, *self.mean, *self.std]).all():
            raise ValueError(f"scale {self.scale}, mean {self.mean} and std {self.std} must be finite")
        if self.scale <= 0 or min(self.std) <= 0:
            raise ValueError(f"scale {self.scale} and std {self.std} must be positive")


@dataclass(frozen=True, slots=True)
class _Affine:
    """``(value - offset) * factor`` for channels in BGR order, the order of frames."""

    offset: npt.NDArray[np.float32]
    factor: npt.NDArray[np.float32]
    flip: bool

    @classmethod
    def of(cls, pixels: PixelFormat) -> _Affine:
        step = -1 if pixels.order == "rgb" else 1
        mean, std = np.array(pixels.mean[::step]), np.array(pixels.std[::step])
        return cls(
            (mean / pixels.scale).astype(np.float32), (pixels.scale / std).astype(np.float32), step < 0
        )


def graft_preprocess(
    model: onnx.ModelProto,
    *,
    pixels: PixelFormat,
    frames: FrameInput,
    network_size_wh: tuple[int, int],
    network_fit: Fit = "letterbox",
) -> None:
    """Replace the network's only input by ``frames``, in place.

    Frames of the layout "nv12" are converted to BGR by the matrix and the range in their last row. If frames have
    another size than the network (`frames.fit` "exact"), the graph scales them by `network_fit`. Channel order and
    factor are folded into the weights of the first convolutions if nothing else reads the input. That is exact, because
    zero padding stays zero, and saves two passes over the image. Raises `GraphError` if the network has another number
    of inputs, or one that is not an image of `network_size_wh`.
    """
    graph = model.graph
    value = network_input(graph)
    elem_type = _check_input(value, network_size_wh)
    affine = _Affine.of(pixels)
    b = GraphBuilder(graph, "pre/")
    # The cast comes first: TensorRT allows no other operation on a uint8 tensor.
    image = b.op("Cast", FRAMES, to=FLOAT)
    placing = _Placing.of(frames, network_size_wh, network_fit)
    planar = frames.layout == "nv12"
    image = _from_nv12(b, image, frames, placing) if planar else placing.scaled(b, image)
    image = placing.padded(b, image, frames.pad_value)
    if affine.offset.any():
        image = b.op("Sub", image, affine.offset.reshape(1, 3, 1, 1))
    convolutions = _first_convolutions(graph, value.name) if elem_type == FLOAT else []
    if convolutions:
        _fold(graph, convolutions, affine)
    else:
        if affine.flip:
            image = b.op("Gather", image, ints(2, 1, 0), axis=1)
        factor = affine.factor[::-1] if affine.flip else affine.factor
        if (factor != 1).any():
            image = b.op("Mul", image, factor.reshape(1, 3, 1, 1))
    if elem_type == FLOAT16:
        image = b.op("Cast", image, to=FLOAT16)
    redirect(graph, value.name, image)
    b.flush(first=True)
    batch = frames.batch.max if frames.batch.static else BATCH
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info(FRAMES, UINT8, [batch, *frames.frame_shape]))


def _check_input(value: onnx.ValueInfoProto, size_wh: tuple[int, int]) -> int:
    """The element type of a network input that is an image of this size."""
    tensor = value.type.tensor_type
    shape = [d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim]
    fits = len(shape) == 4 and all(
        known is None or known == wanted
        for known, wanted in zip(shape[1:], (3, size_wh[1], size_wh[0]), strict=True)
    )
    if not fits or tensor.elem_type not in (FLOAT, FLOAT16):
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type)
        raise GraphError(
            f"the network's input {value.name} is {kind} {shape};"
            f" expected float32 or float16 [B, 3, {size_wh[1]}, {size_wh[0]}]"
        )
    return int(tensor.elem_type)


@dataclass(frozen=True, slots=True)
class _Placing:
    """How a frame is scaled to the network's size, and its padding: left, top, right and bottom in pixels."""

    rows: Scaling
    columns: Scaling
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)

    @classmethod
    def of(cls, frames: FrameInput, network_wh: tuple[int, int], network_fit: Fit) -> _Placing:
        width, height = frames.size_wh
        if frames.size_wh == network_wh:
            return cls.unscaled(width, height)
        if frames.fit != "exact":
            raise GraphError(
                f"frames of {frames.size_wh} do not fit a network of {network_wh}; the graph scales only with fit"
                " 'exact'"
            )
        if network_fit != "letterbox":
            return cls(*scaling_of(frames.size_wh, network_wh, network_fit, frames.crop_fraction))
        geometry = LetterboxGeometry.of(frames.size_wh, network_wh)
        (left, top), (content_w, content_h) = geometry.pad_xy, geometry.content_wh
        padding = (left, top, network_wh[0] - content_w - left, network_wh[1] - content_h - top)
        return cls(Scaling.whole(height, content_h), Scaling.whole(width, content_w), padding)

    @classmethod
    def unscaled(cls, width: int, height: int) -> _Placing:
        """An image that keeps its size."""
        return cls(Scaling.whole(height), Scaling.whole(width))

    @property
    def of_chroma(self) -> _Placing:
        """The same for planes of half the size; unscaled planes keep theirs."""
        if not self.scales:
            return self.unscaled(self.columns.source // 2, self.rows.source // 2)
        rows, columns = (replace(side, source=side.source // 2) for side in (self.rows, self.columns))
        return _Placing(rows, columns, self.padding)

    @property
    def scales(self) -> bool:
        """True unless the frame has the network's size."""
        return any(side != Scaling.whole(side.source) for side in (self.rows, self.columns))

    def scaled(self, b: GraphBuilder, image: str) -> str:
        """Scale frames float32 ``[B,H,W,C]`` to ``[B,C,h,w]``, without the padding."""
        return (_averaged if self.rows.area else _sampled)(b, image, self.rows, self.columns)

    def padded(self, b: GraphBuilder, image: str, value: int) -> str:
        """Add the padding to ``[B,3,h,w]``."""
        if not any(self.padding):
            return image
        left, top, right, bottom = self.padding
        return b.op("Pad", image, ints(0, 0, top, left, 0, 0, bottom, right), np.float32(value))


def _from_nv12(b: GraphBuilder, frames: str, target: FrameInput, placing: _Placing) -> str:
    """Scale frames float32 ``[B, H * 3/2 + 1, W]`` and convert them to BGR ``[B,3,h,w]``, limited to 0..255.

    Luma, Cb and Cr are multiplied by their factors and added. If the frame is not scaled, chroma's part is computed at
    chroma's own size, a quarter of the pixels, and each result covers four pixels. The factors are multiplied element
    by element: TensorRT computes this together with the Cast, but a MatMul in a kernel of its own.
    """
    width, height = target.size_wh
    luma, chroma, data = b.split(frames, 1, [height, height // 2, 1])
    offset, gain, blue, red = _colour(b, data)
    luma = placing.scaled(b, b.op("Reshape", luma, ints(0, 0, width, 1)))
    chroma = b.op("Reshape", chroma, ints(0, 0, width // 2, 2))
    chroma = placing.of_chroma.scaled(b, chroma)
    from_blue, from_red = (
        b.op("Mul", plane, factors)
        for plane, factors in zip(b.split(chroma, 1, [1, 1]), (blue, red), strict=True)
    )
    mixed = b.op("Add", b.op("Add", from_blue, offset), from_red)
    if not placing.scales:
        mixed = b.op("Resize", mixed, "", np.array([1, 1, 2, 2], np.float32), **_REPEATED)
    image = b.op("Add", b.op("Mul", luma, gain), mixed)
    return b.op("Clip", image, np.float32(0), np.float32(255))


def _colour(b: GraphBuilder, data: str) -> tuple[str, str, str, str]:
    """The conversion to BGR that the last row of each frame, ``[B,1,W]``, names.

    Returns the offset of each channel ``[B,3,1,1]``, the factor of luma ``[B,1,1,1]``, and the factors of Cb and of Cr
    ``[B,3,1,1]``. Numbers without a matrix count as unspecified.
    """
    highest = max(WEIGHTS) + 1
    colours = [
        YuvColour(matrix if matrix in WEIGHTS else UNSPECIFIED, full_range=full).to_bgr
        for matrix in range(highest + 1)
        for full in (False, True)
    ]
    table = np.array(colours, np.float32)[..., None, None]  # [colours, 3, 4, 1, 1]
    numbers = b.op("Min", b.slice(data, 2, 0, 2), np.array([highest, 1], np.float32))
    place = b.op("MatMul", numbers, np.array([[2], [1]], np.float32))
    place = b.op("Cast", b.op("Reshape", place, ints(-1)), to=INT32)
    offset, gain, blue, red = (
        b.op("Gather", np.ascontiguousarray(part), place, axis=0)
        for part in (table[:, :, 3], table[:, :1, 0], table[:, :, 1], table[:, :, 2])
    )
    return offset, gain, blue, red


def _sampled(b: GraphBuilder, image: str, rows: Scaling, columns: Scaling) -> str:
    """Bilinear scaling of ``[B,H,W,C]`` to ``[B,C,h,w]``, which reads only the pixels that it needs.

    TensorRT computes it in the same kernel as the Cast before it, so no float image of the camera's size is written. A
    ratio of 1:3 is one slice, which is exact. Along an axis with a ratio such as 1:2 the result is the mean of two
    slices. In all other cases two pixels are gathered along each axis and blended.
    """
    axes = [(axis, side) for axis, side in ((1, rows), (2, columns)) if side != Scaling.whole(side.source)]
    taps = [side.taps for _, side in axes]
    if axes and all(one.step and not one.share.any() for one in taps):
        image = _strided(b, image, [axis for axis, _ in axes], taps)
    else:
        for (axis, _), one in zip(axes, taps, strict=True):
            image = _blended(b, image, axis, one)
        halves = sum(1 for one in taps if one.step and one.share.any())
        image = b.op("Mul", image, np.float32(0.5**halves)) if halves else image
    return b.op("Transpose", image, perm=[0, 3, 1, 2])


def _blended(b: GraphBuilder, image: str, axis: int, taps: Taps) -> str:
    """Bilinear scaling along one axis of ``[B,H,W,C]``; twice the result if it is the mean of two slices."""
    if taps.step:
        low = _strided(b, image, [axis], [taps])
        return b.op("Add", low, _strided(b, image, [axis], [taps], 1)) if taps.share.any() else low
    low = b.op("Gather", image, taps.low, axis=axis)
    if not taps.share.any():
        return low
    # The pixel after the last has a share of 0.
    high = b.op("Gather", image, np.where(taps.share > 0, taps.low + 1, taps.low), axis=axis)
    share = taps.share.reshape(-1, *[1] * (3 - axis))
    return b.op("Add", low, b.op("Mul", b.op("Sub", high, low), share))


def _strided(b: GraphBuilder, image: str, axes: Sequence[int], taps: Sequence[Taps], offset: int = 0) -> str:
    """The pixels `low` of constant distance along axes, or those `offset` after them."""
    starts = [int(one.low[0]) + offset for one in taps]
    ends = [int(one.low[-1]) + offset + 1 for one in taps]
    return b.op(
        "Slice", image, ints(*starts), ints(*ends), ints(*axes), ints(*(one.step or 1 for one in taps))
    )


def _averaged(b: GraphBuilder, image: str, rows: Scaling, columns: Scaling) -> str:
    """Scaling by areas of ``[B,H,W,C]`` to ``[B,C,h,w]``: products with matrices ``[h,H]`` and ``[w,W]``."""
    matrices: list[Matrix] = []
    for axis, matrix in ((1, rows.matrix), (2, columns.matrix)):
        used = np.flatnonzero(matrix.any(axis=0))
        first, last = int(used[0]), int(used[-1])
        if (first, last) != (0, matrix.shape[1] - 1):
            image = b.slice(image, axis, first, last + 1)
        matrices.append(np.ascontiguousarray(matrix[:, first : last + 1]))
    (height, _), (_, width) = (matrix.shape for matrix in matrices)
    # Rows first, with the channels beside the columns: the image of the camera's size is not transposed.
    image = b.op("MatMul", matrices[0], b.op("Reshape", image, ints(0, 0, -1)))
    image = b.op("Transpose", b.op("Reshape", image, ints(0, height, width, -1)), perm=[0, 3, 2, 1])
    # The weights are on the left: OpenVINO cannot fuse the channels' factors into a product with weights on the right.
    return b.op("Transpose", b.op("MatMul", matrices[1], image), perm=[0, 1, 3, 2])


def _first_convolutions(graph: onnx.GraphProto, name: str) -> list[onnx.NodeProto]:
    """The convolutions that read `name`, if they are its only readers and their weights can be rewritten; else none."""
    stored = {tensor.name for tensor in graph.initializer}
    readers = [node for part in walk(graph) for node in part.node if name in node.input]
    for node in readers:
        groups = next((a.i for a in node.attribute if a.name == "group"), 1)
        if node.op_type != "Conv" or groups != 1 or node.input[0] != name or node.input[1] not in stored:
            return []
    return readers


def _fold(graph: onnx.GraphProto, convolutions: list[onnx.NodeProto], affine: _Affine) -> None:
    """Give convolutions new weights for BGR values of 0..255; shared old weights stay."""
    for index, node in enumerate(convolutions):
        tensor = next(t for t in graph.initializer if t.name == node.input[1])
        weights = numpy_helper.to_array(tensor)
        if affine.flip:
            weights = weights[:, ::-1]
        weights = weights * affine.factor.reshape(1, 3, 1, 1)
        node.input[1] = f"pre/weights_{index}"
        graph.initializer.append(numpy_helper.from_array(weights.astype(np.float32), node.input[1]))
        if not any(tensor.name in n.input for part in walk(graph) for n in part.node):
            graph.initializer.remove(tensor)


def kept_outside(b: GraphBuilder, image: str, inputs: TensorInput) -> str:
    """Levels ``[B,h,w,3]`` whose pixels outside of the mask are those of the given image; without inputs of them, all.

    They are copied, so that they are exact in every precision.
    """
    given, mask = (inputs.of_kind(kind) for kind in ("image", "mask"))
    if given is None or mask is None:
        return image
    inside = b.op("Unsqueeze", b.op("Cast", mask.name, to=FLOAT), np.array([3], np.int64))
    kept = b.op("Cast", given.name, to=FLOAT)
    return b.op("Where", b.op("GreaterOrEqual", inside, np.float32(MASKED)), image, kept)
