"""Head of YOLOv8 to YOLO26 for their raw maps: distances to the sides of a box for each cell, and class logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgevision.contract.spec import NmsSpec
from edgevision.errors import GraphError
from edgevision.graph.builder import GraphBuilder, ints
from edgevision.graph.heads.head import Array, NetworkOutput, best_pairs, logistic
from edgevision.graph.nms import Candidates


@dataclass(frozen=True, slots=True)
class AnchorFreeHead:
    """Maps of one kind after the other, each for every stride: boxes, classes, and mask coefficients if there are any.

    Boxes are ``[B,4*bins,h,w]``: the distances from a cell's centre to the left, top, right and bottom side in strides,
    each the mean of a distribution over `bins` (arXiv 2006.04388), or the number itself if there is one bin. Classes
    are logits ``[B,C,h,w]``. A model with masks adds ``[B,mask_count,h,w]`` for each stride, and then the prototypes.

    The best boxes are selected by their best class first. The logistic function is monotonic, so only the values of
    these boxes are decoded. `suppressed` is True for one-to-one heads, whose boxes need no NMS.
    """

    strides: tuple[int, ...]
    class_count: int
    bins: int
    suppressed: bool = False
    mask_count: int = 0

    @property
    def values(self) -> tuple[int, ...]:
        """Channels of each kind of map."""
        return (4 * self.bins, self.class_count, *([self.mask_count] if self.mask_count else []))

    def candidates(self, b: GraphBuilder, outputs: Sequence[NetworkOutput], nms: NmsSpec) -> Candidates:
        """Decode the best boxes by their best class; raises `GraphError` if maps and strides do not match."""
        kinds = self._kinds(outputs)
        table = np.concatenate(
            [_cells(map_, stride) for map_, stride in zip(kinds[0], self.strides, strict=True)]
        )
        limit = nms.max_detections if self.suppressed else nms.candidates
        rows = min(limit, len(table))
        flat = [
            b.concat([b.op("Reshape", map_.name, ints(0, count, -1)) for map_ in maps], 2)
            for maps, count in zip(kinds, self.values, strict=True)
        ]
        _, best = b.ops("TopK", [b.reduce_max(flat[1], 1), ints(rows)], 2, axis=1)
        raw, classes, *further = (
            _columns(b, values, best, count) for values, count in zip(flat, self.values, strict=True)
        )
        stride, centre = b.split(b.op("Gather", table, best), 2, (1, 2))
        before, after = b.split(self._distances(b, raw, rows), 2, (2, 2))
        sides = b.op("Concat", b.op("Sub", centre, before), b.op("Add", centre, after), axis=2)
        boxes = b.op("Mul", sides, stride)
        scores = b.op("Sigmoid", classes)
        carried = further[0] if further else ""
        return best_pairs(b, boxes, scores, rows, self.class_count, limit, carried=carried)

    def plain(self, arrays: Sequence[Array]) -> tuple[Array, Array]:
        """Every box of every map, without prototypes and coefficients."""
        count = len(self.strides)
        boxes, scores = [], []
        for raw, classes, stride in zip(arrays[:count], arrays[count : 2 * count], self.strides, strict=True):
            height, width = raw.shape[1:]
            values = raw.astype(np.float64).reshape(4, self.bins, -1)
            if self.bins > 1:
                weights = np.exp(values - values.max(1, keepdims=True))
                shares = weights / weights.sum(1, keepdims=True)
                values = (shares * np.arange(self.bins)[:, None]).sum(1, keepdims=True)
            left, top, right, bottom = values[:, 0]
            row, column = (axis.ravel() + 0.5 for axis in np.indices((height, width)))
            boxes.append(stride * np.stack([column - left, row - top, column + right, row + bottom], 1))
            scores.append(logistic(classes.reshape(self.class_count, -1).T))
        return np.concatenate(boxes), np.concatenate(scores)

    def _distances(self, b: GraphBuilder, raw: str, rows: int) -> str:
        """Distances ``[B,rows,4]`` in strides."""
        if self.bins == 1:
            return raw
        shares = b.op("Softmax", b.op("Reshape", raw, ints(0, rows, 4, self.bins)), axis=3)
        means = b.op("MatMul", shares, np.arange(self.bins, dtype=np.float32).reshape(-1, 1))
        return b.op("Reshape", means, ints(0, rows, 4))

    def _kinds(self, outputs: Sequence[NetworkOutput]) -> list[Sequence[NetworkOutput]]:
        """The outputs by kind; raises `GraphError` if number or shapes are wrong."""
        scales = len(self.strides)
        expected = scales * len(self.values) + (1 if self.mask_count else 0)
        if len(outputs) != expected:
            raise GraphError(
                f"anchor-free maps of {scales} strides are {expected} outputs; received"
                f" {', '.join(map(str, outputs))}"
            )
        kinds = [outputs[place * scales : (place + 1) * scales] for place in range(len(self.values))]
        for maps, channels in zip(kinds, self.values, strict=True):
            for map_ in maps:
                if len(map_.shape) != 4 or map_.shape[1] != channels or None in map_.shape[2:]:
                    raise GraphError(f"expected a map float32 [B, {channels}, h, w]; received {map_}")
        return kinds


def _columns(b: GraphBuilder, values: str, index: str, count: int) -> str:
    """Columns of ``[B,count,N]`` by index ``[B,M]``, as rows ``[B,M,count]``."""
    # Adding zeros broadcasts an index to every value of its column; Expand would need the batch size.
    places = b.op("Add", b.op("Unsqueeze", index, ints(1)), np.zeros((1, count, 1), np.int64))
    return b.op("Transpose", b.op("GatherElements", values, places, axis=2), perm=[0, 2, 1])


def _cells(map_: NetworkOutput, stride: int) -> npt.NDArray[np.float32]:
    """Stride, centre x and centre y in strides of each cell of a map: ``[h*w,3]``."""
    height, width = (length or 0 for length in map_.shape[2:])
    y, x = (axis.ravel() + 0.5 for axis in np.indices((height, width)))
    return np.stack([np.full_like(x, stride), x, y], 1).astype(np.float32)
