"""Keypoints of final detections, and the change of their pixels from the network's to the frame's."""

from __future__ import annotations

import numpy as np

from edgevision.contract.transform import FrameTransform
from edgevision.graph.builder import GraphBuilder, ints
from edgevision.graph.heads.head import take_rows
from edgevision.graph.nms import Candidates


def final_keypoints(
    b: GraphBuilder, found: Candidates, shape: tuple[int, int], placement: FrameTransform | None
) -> str:
    """Keypoints float32 ``[B,R,K,3]`` of detections that carry K*D values each; rows of score 0 are zeros.

    With a `placement` they are in the frame's pixels, not clipped. The confidence is 1 if D is 2.
    """
    assert found.carried is not None, "a head for poses carries its keypoints"
    points = take_rows(b, found.carried.values, found.carried.row)
    points = b.op("Reshape", points, ints(0, 0, *shape))
    if shape[1] == 2:
        points = b.op("Pad", points, ints(0, 0, 0, 0, 0, 0, 0, 1), np.float32(1))
    if placement is not None:
        offset, scale = (*placement.offset_xy, 0.0), (*placement.scale_xy, 1.0)
        points = b.op("Div", b.op("Sub", points, np.array(offset, np.float32)), np.array(scale, np.float32))
    kept = b.op("Unsqueeze", b.op("Greater", found.scores, np.float32(0)), ints(2, 3))
    return b.op("Where", kept, points, np.float32(0))


def oriented_to_frame(b: GraphBuilder, found: Candidates, placement: FrameTransform) -> str:
    """Oriented boxes ``[B,R,5]`` from the network's pixels to the frame's, as `FrameTransform` does it.

    Rows of score 0 stay zeros.
    """
    offset, scale = (np.array(pair, np.float32) for pair in (placement.offset_xy, placement.scale_xy))
    xy, width, height, angle = b.split(found.boxes, 2, (2, 1, 1, 1))
    kept = b.op("Unsqueeze", b.op("Greater", found.scores, np.float32(0)), ints(2))
    xy = b.op("Where", kept, b.op("Div", b.op("Sub", xy, offset), scale), np.float32(0))
    cos, sin = b.op("Cos", angle), b.op("Sin", angle)
    cos, sin = b.op("Mul", cos, cos), b.op("Mul", sin, sin)
    x, y = (np.float32(1 / side**2) for side in placement.scale_xy)
    along = b.op("Sqrt", b.op("Add", b.op("Mul", cos, x), b.op("Mul", sin, y)))
    across = b.op("Sqrt", b.op("Add", b.op("Mul", sin, x), b.op("Mul", cos, y)))
    return b.concat((xy, b.op("Mul", width, along), b.op("Mul", height, across), angle), 2)
