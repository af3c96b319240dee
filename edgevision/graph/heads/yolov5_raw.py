"""Anchor head of YOLOv5 v6 and v7 for its three or four maps of logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgevision.contract.spec import NmsSpec
from edgevision.errors import GraphError
from edgevision.graph.builder import INT32, GraphBuilder, ints
from edgevision.graph.heads.head import Array, NetworkOutput, best_pairs, corners, logistic, plain_corners
from edgevision.graph.nms import Candidates


@dataclass(frozen=True, slots=True)
class YoloV5RawHead:
    """Maps ``[B, A*(5+C), h, w]`` of logits, one for each stride, of values x y w h objectness classes.

    The best boxes are selected by objectness first. The logistic function is monotonic, so only the 5+C values of these
    boxes are read from the maps (2.1 million floats at 640x640) and decoded.

    Maps of a segmentation model hold `mask_count` additional values for each box, and the prototypes follow the maps.
    Candidates then carry their coefficients.
    """

    anchors_px: tuple[tuple[tuple[float, float], ...], ...]
    """Width and height of each anchor of each stride, in pixels."""
    strides: tuple[int, ...]
    class_count: int
    suppressed: bool = False
    mask_count: int = 0

    @property
    def values(self) -> int:
        """Channels of each anchor."""
        return 5 + self.class_count + self.mask_count

    def candidates(self, b: GraphBuilder, outputs: Sequence[NetworkOutput], nms: NmsSpec) -> Candidates:
        """Decode the best boxes by objectness; raises `GraphError` if maps and anchors do not match."""
        outputs = outputs[:-1] if self.mask_count else outputs
        maps = [(output.name, *self._map_hw(output, i)) for i, output in enumerate(outputs)]
        if not len(maps) == len(self.strides) == len(self.anchors_px):
            raise GraphError(
                f"yolov5-raw has {len(self.strides)} strides and {len(self.anchors_px)} sets of anchors;"
                f" the network has {len(maps)} outputs: {', '.join(map(str, outputs))}"
            )
        objectness = []
        for (name, _, _), anchors in zip(maps, self.anchors_px, strict=True):
            stop = len(anchors) * self.values
            objectness.append(b.op("Reshape", b.slice(name, 1, 4, stop, self.values), ints(0, -1)))
        table = np.concatenate([self._table(i, h, w) for i, (_, h, w) in enumerate(maps)])
        rows = min(nms.candidates, len(table))
        _, best = b.ops("TopK", [b.concat(objectness, 1), ints(rows)], 2, axis=1)
        best = b.op("Cast", best, to=INT32)
        taken, coefficients = self._take(b, maps, best, rows), ""
        if self.mask_count:
            taken, coefficients = b.split(taken, 2, (5 + self.class_count, self.mask_count))
        taken = b.op("Sigmoid", taken)
        xy, wh, confidence, classes = b.split(taken, 2, (2, 2, 1, self.class_count))
        stride, corner, anchor = b.split(b.op("Gather", table, best), 2, (1, 2, 2))
        # xy = (2 s - 0.5 + cell) * stride and wh = (2 s)^2 * anchor; the table holds cell - 0.5 and 2 *
        # anchor.
        centre = b.op("Mul", b.op("Add", b.op("Add", xy, xy), corner), stride)
        boxes = corners(b, centre, b.op("Mul", b.op("Mul", wh, wh), anchor))
        scores = b.op("Mul", confidence, classes)
        return best_pairs(b, boxes, scores, rows, self.class_count, nms.candidates, carried=coefficients)

    def plain(self, arrays: Sequence[Array]) -> tuple[Array, Array]:
        """Every box of every map, without prototypes and coefficients."""
        arrays = arrays[:-1] if self.mask_count else arrays
        boxes, scores = [], []
        for array, stride, anchors in zip(arrays, self.strides, self.anchors_px, strict=True):
            height, width = array.shape[1:]
            values = array.reshape(len(anchors), self.values, height, width)
            values = logistic(values[:, : 5 + self.class_count])
            x, y, w, h, objectness, *classes = np.moveaxis(values, 1, 0)
            row, column = np.indices((height, width))
            anchor = np.array(anchors)[:, :, None, None]
            xy = np.stack([2 * x - 0.5 + column, 2 * y - 0.5 + row], -1).reshape(-1, 2) * stride
            wh = np.stack([(2 * w) ** 2 * anchor[:, 0], (2 * h) ** 2 * anchor[:, 1]], -1).reshape(-1, 2)
            boxes.append(plain_corners(xy, wh))
            scores.append((objectness[..., None] * np.stack(classes, -1)).reshape(-1, self.class_count))
        return np.concatenate(boxes), np.concatenate(scores)

    def plain_coefficients(self, arrays: Sequence[Array]) -> Array:
        """The coefficients of masks ``[N,mask_count]`` of every box."""
        found = []
        for array, anchors in zip(arrays, self.anchors_px, strict=False):
            values = array.reshape(len(anchors), self.values, -1)[:, 5 + self.class_count :]
            found.append(np.moveaxis(values, 1, 2).reshape(-1, self.mask_count))
        return np.concatenate(found).astype(np.float64)

    def ranks(self, arrays: Sequence[Array]) -> Array:
        """Objectness of every box, in the order of `plain`."""
        ranks = []
        for array, anchors in zip(arrays, self.anchors_px, strict=False):
            values = array.reshape(len(anchors), self.values, -1)
            ranks.append(logistic(values[:, 4]).ravel())
        return np.concatenate(ranks)

    def _map_hw(self, output: NetworkOutput, index: int) -> tuple[int, int]:
        channels = len(self.anchors_px[min(index, len(self.anchors_px) - 1)]) * self.values
        if len(output.shape) == 4:
            _, depth, height, width = output.shape
            if depth == channels and height is not None and width is not None:
                return height, width
        raise GraphError(f"yolov5-raw expects maps float32 [B, {channels}, h, w]; received {output}")

    def _table(self, index: int, height: int, width: int) -> npt.NDArray[np.float32]:
        """Stride, cell x and y - 0.5, w and h of two anchors, for each box of a map: ``[A*h*w, 5]``."""
        anchors = np.array(self.anchors_px[index], np.float32)
        which, y, x = (axis.ravel() for axis in np.indices((len(anchors), height, width), np.float32))
        stride = np.full_like(x, self.strides[index])
        return np.stack([stride, x - 0.5, y - 0.5, *(2 * anchors[which.astype(int)]).T], 1)

    def _take(self, b: GraphBuilder, maps: list[tuple[str, int, int]], best: str, rows: int) -> str:
        """All values of the boxes `best`, float32 ``[B,rows,values]``.

        Values are gathered from every map for every box, at a clamped index where the box belongs to another map, and
        then selected. This moves less memory than joining the maps.
        """
        values = self.values
        taken, start = "", 0
        for (name, height, width), anchors in zip(maps, self.anchors_px, strict=True):
            cells = height * width
            count = len(anchors) * cells
            local = b.op("Sub", best, np.int32(start))
            local = b.op("Min", b.op("Max", local, np.int32(0)), np.int32(count - 1))
            # Flat index of the first of a box's values; the others follow at a distance of one channel each.
            first = (np.arange(len(anchors))[:, None] * values * cells + np.arange(cells)).ravel()
            places = b.op("Unsqueeze", b.op("Gather", first.astype(np.int32), local), ints(2))
            places = b.op("Add", places, (np.arange(values) * cells).astype(np.int32))
            flat = b.op("Reshape", name, ints(0, -1))
            here = b.op("GatherElements", flat, b.op("Reshape", places, ints(0, rows * values)), axis=1)
            here = b.op("Reshape", here, ints(0, rows, values))
            if start:
                earlier = b.op("Unsqueeze", b.op("Less", best, np.int32(start)), ints(2))
                here = b.op("Where", earlier, taken, here)
            taken, start = here, start + count
        return taken
