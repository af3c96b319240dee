"""Instance masks: prototypes, combined for each detection inside its box (YOLACT, arXiv 1904.02689, section 3.1)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgevision.contract.image import LetterboxGeometry
from edgevision.contract.spec import Fit
from edgevision.contract.transform import FrameTransform
from edgevision.errors import GraphError
from edgevision.graph.builder import FLOAT, GraphBuilder, ints
from edgevision.graph.heads.head import NetworkOutput

MASK_STRIDE = 4
"""Pixels of the network's input for each cell of a mask, in both directions."""


def mask_size_wh(frame_wh: tuple[int, int], network_wh: tuple[int, int], fit: Fit) -> tuple[int, int]:
    """Mask size for a whole frame: as many cells as the network has for the part that the frame fills."""
    filled = network_wh
    if frame_wh != network_wh and fit == "letterbox":
        filled = LetterboxGeometry.of(frame_wh, network_wh).content_wh
    return -(-filled[0] // MASK_STRIDE), -(-filled[1] // MASK_STRIDE)


def check_prototypes(output: NetworkOutput, mask_count: int, network_wh: tuple[int, int]) -> None:
    """Raise `GraphError` unless the output is ``[B,mask_count,H/4,W/4]``."""
    expected = (mask_count, network_wh[1] // MASK_STRIDE, network_wh[0] // MASK_STRIDE)
    if output.shape[1:] != expected:
        raise GraphError(f"prototypes are float32 [B, {', '.join(map(str, expected))}]; received {output}")


def prototypes_over_frame(
    b: GraphBuilder,
    prototypes: str,
    placement: FrameTransform,
    network_wh: tuple[int, int],
    mask_wh: tuple[int, int],
) -> str:
    """Prototypes of the network's input, interpolated at the mask cells of the frame.

    Interpolation is linear, so masks can be combined afterwards; there are fewer prototypes than masks.
    """
    columns, rows = (
        _sampling(placement, axis, network_wh[axis] // MASK_STRIDE, mask_wh[axis]) for axis in (0, 1)
    )
    return b.op("MatMul", b.op("MatMul", rows, prototypes), np.ascontiguousarray(columns.T))


def mixed_masks(
    b: GraphBuilder,
    prototypes: str,
    coefficients: str,
    boxes: str,
    mask_wh: tuple[int, int],
    input_wh: tuple[int, int],
) -> str:
    """Masks float32 ``[B,K,h,w]``: round(255 * probability) in the cells that a box touches, 0 in the others.

    `prototypes` float32 ``[B,M,h,w]``, `coefficients` ``[B,K,M]``, `boxes` ``[B,K,4]`` xyxy in pixels of the input,
    which the masks cover. Rows of zeros give empty masks.
    """
    width, height = mask_wh
    flat = b.op("Reshape", prototypes, ints(0, 0, -1))
    mixed = b.op("Sigmoid", b.op("MatMul", coefficients, flat))
    mixed = b.op("Reshape", mixed, ints(0, 0, height, width))
    cells = np.array([width / input_wh[0], height / input_wh[1]] * 2, np.float32)
    x1, y1, x2, y2 = b.split(b.op("Mul", boxes, cells), 2, (1, 1, 1, 1))
    columns = b.op("Unsqueeze", _touched(b, x1, x2, width), ints(2))
    rows = b.op("Mul", b.op("Unsqueeze", _touched(b, y1, y2, height), ints(3)), np.float32(255))
    return b.op("Round", b.op("Mul", b.op("Mul", mixed, rows), columns))


def _touched(b: GraphBuilder, low: str, high: str, count: int) -> str:
    """1 for the cells ``[B,K,count]`` that overlap the range `low` to `high` ``[B,K,1]``, else 0."""
    cell = np.arange(count, dtype=np.float32).reshape(1, 1, count)
    inside = b.op("And", b.op("Less", low, cell + 1), b.op("Greater", high, cell))
    return b.op("Cast", inside, to=FLOAT)


def _sampling(placement: FrameTransform, axis: int, source: int, target: int) -> npt.NDArray[np.float32]:
    """Weights ``[target,source]`` that interpolate between the centres of the network's cells along one axis."""
    centres = (np.arange(target) + 0.5) * placement.frame_wh[axis] / target
    places = (centres * placement.scale_xy[axis] + placement.offset_xy[axis]) / MASK_STRIDE - 0.5
    distance = np.abs(places.clip(0, source - 1)[:, None] - np.arange(source))
    return np.asarray((1 - distance).clip(0), np.float32)
