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
class BestBoxes:
    """Values of the `rows` best boxes; all but `scores` and `further` in strides of the box's map."""

    stride: str
    """float32 ``[B,rows,1]``, in pixels."""
    centre: str
    """Centre of the cell, float32 ``[B,rows,2]``."""
    before: str
    """Distances from the centre to left and top, float32 ``[B,rows,2]``."""
    after: str
    """Distances to right and bottom, float32 ``[B,rows,2]``."""
    scores: str
    """float32 ``[B,rows,C]``."""
    further: str
    """Raw values of the third kind of map, float32 ``[B,rows,V]``; empty if there is none."""
    rows: int
    limit: int
    """Number of box-class pairs to return."""


@dataclass(frozen=True, slots=True)
class AnchorFreeHead:
    """Maps of one kind after the other, each for every stride: boxes, classes, and a third kind if there is one.

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
    def further(self) -> int:
        """Channels of the third kind of map; 0 if there are two kinds."""
        return self.mask_count

    @property
    def values(self) -> tuple[int, ...]:
        """Channels of each kind of map."""
        return (4 * self.bins, self.class_count, *([self.further] if self.further else []))

    def candidates(self, b: GraphBuilder, outputs: Sequence[NetworkOutput], nms: NmsSpec) -> Candidates:
        """Decode the best boxes by their best class; raises `GraphError` if maps and strides do not match."""
        return self.pairs(b, self.best_boxes(b, outputs, nms))

    def pairs(self, b: GraphBuilder, best: BestBoxes) -> Candidates:
        """The best box-class pairs of upright boxes, which carry the raw values of the third maps."""
        sides = b.op(
            "Concat", b.op("Sub", best.centre, best.before), b.op("Add", best.centre, best.after), axis=2
        )
        boxes = b.op("Mul", sides, best.stride)
        return best_pairs(
            b, boxes, best.scores, best.rows, self.class_count, best.limit, carried=best.further
        )

    def best_boxes(self, b: GraphBuilder, outputs: Sequence[NetworkOutput], nms: NmsSpec) -> BestBoxes:
        """The best boxes by their best class; raises `GraphError` if maps and strides do not match."""
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
        scores = b.op("Sigmoid", classes)
        return BestBoxes(stride, centre, before, after, scores, further[0] if further else "", rows, limit)

    def plain(self, arrays: Sequence[Array]) -> tuple[Array, Array]:
        """Every box of every map, without prototypes and coefficients."""
        stride, centre, before, after = self.plain_distances(arrays)
        return np.concatenate([centre - before, centre + after], 1) * stride, self.plain_scores(arrays)

    def plain_coefficients(self, arrays: Sequence[Array]) -> Array:
        """The coefficients of masks ``[N,mask_count]`` of every box."""
        return self.plain_values(arrays, 2)

    def plain_distances(self, arrays: Sequence[Array]) -> tuple[Array, Array, Array, Array]:
        """Of every box: stride ``[N,1]``, the cell's centre ``[N,2]``, the distances to left top, and right bottom."""
        found = []
        for raw, side in zip(arrays, self.strides, strict=False):
            height, width = raw.shape[1:]
            values = raw.astype(np.float64).reshape(4, self.bins, -1)
            if self.bins > 1:
                weights = np.exp(values - values.max(1, keepdims=True))
                shares = weights / weights.sum(1, keepdims=True)
                values = (shares * np.arange(self.bins)[:, None]).sum(1, keepdims=True)
            row, column = (axis.ravel() + 0.5 for axis in np.indices((height, width)))
            found.append(np.stack([np.full_like(row, side), column, row, *values[:, 0]], 1))
        stride, centre, before, after = np.split(np.concatenate(found), (1, 3, 5), axis=1)
        return stride, centre, before, after

    def plain_scores(self, arrays: Sequence[Array]) -> Array:
        """Scores ``[N,C]`` of every box."""
        return logistic(self.plain_values(arrays, 1))

    def plain_values(self, arrays: Sequence[Array], kind: int) -> Array:
        """Raw values of every box of a kind of map, in float64: ``[N,V]``."""
        count = len(self.strides)
        maps = arrays[kind * count : (kind + 1) * count]
        return np.concatenate([map_.reshape(len(map_), -1).T for map_ in maps]).astype(np.float64)

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
