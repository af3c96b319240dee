"""Head of exports with the outputs of TensorRT's EfficientNMS plugin, in standard operators.

Facts: github.com/NVIDIA/TensorRT, plugin/efficientNMSPlugin/README.md: ``num_dets`` [B, 1], boxes as corners in the
network's units, scores, and labels; rows from ``num_dets`` on hold nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgevision.contract.spec import NmsSpec
from edgevision.graph.builder import FLOAT, INT32, GraphBuilder, ints
from edgevision.graph.heads.head import Array, NetworkFacts, NetworkOutput, take_rows
from edgevision.graph.nms import Candidates

EXPECTED = (
    "four outputs: num_dets [B, 1], boxes [B, N, 4] x1 y1 x2 y2 in pixels, scores [B, N], labels [B, N]"
)


@dataclass(frozen=True, slots=True)
class EfficientNmsHead:
    """Positions of the number of detections, boxes, scores and labels among the outputs."""

    class_count: int
    number: int
    boxes: int
    scores: int
    labels: int
    rows: int
    suppressed: bool = True

    def candidates(self, b: GraphBuilder, outputs: Sequence[NetworkOutput], nms: NmsSpec) -> Candidates:
        """The valid rows, best first."""
        rows = min(nms.max_detections, self.rows)
        number = b.op("Reshape", outputs[self.number].name, ints(-1, 1))
        valid = b.op("Less", np.arange(self.rows, dtype=np.float32)[None], b.op("Cast", number, to=FLOAT))
        scores = b.op("Where", valid, outputs[self.scores].name, np.float32(0))
        scores, index = b.ops("TopK", [scores, ints(rows)], 2, axis=1)
        labels = b.op("Cast", outputs[self.labels].name, to=INT32)
        labels = b.op("GatherElements", labels, index, axis=1)
        return Candidates(take_rows(b, outputs[self.boxes].name, index), scores, labels, rows)

    def plain(self, arrays: Sequence[Array]) -> tuple[Array, Array]:
        """The valid rows; each has a score only in its own class."""
        count = int(arrays[self.number].reshape(-1)[0])
        boxes = arrays[self.boxes][:count].astype(np.float64)
        matrix = np.zeros((count, self.class_count))
        labels = arrays[self.labels][:count].astype(int)
        matrix[np.arange(count), labels] = arrays[self.scores][:count]
        return boxes, matrix


def recognise(facts: NetworkFacts) -> EfficientNmsHead | None:
    """The head if there are a number, boxes, float scores and integer labels, in any order.

    Without class names or a visible number of classes it has 0 classes, and the caller must set them.
    """
    shapes = [output.shape[1:] for output in facts.outputs]
    if len(shapes) != 4:
        return None
    integer = ["int" in output.dtype for output in facts.outputs]
    number = [i for i, shape in enumerate(shapes) if integer[i] and shape in ((1,), ())]
    boxes = [i for i, shape in enumerate(shapes) if len(shape) == 2 and shape[1] == 4]
    if len(number) != 1 or len(boxes) != 1:
        return None
    rows = shapes[boxes[0]][0]
    same = [i for i in range(4) if i not in (number[0], boxes[0]) and shapes[i] == (rows,)]
    labels = [i for i in same if integer[i]]
    scores = [i for i in same if not integer[i]]
    if rows is None or rows == 0 or len(labels) != 1 or len(scores) != 1:
        return None
    count = facts.class_count or facts.label_count or 0
    return EfficientNmsHead(count, number[0], boxes[0], scores[0], labels[0], rows)


def doubt(facts: NetworkFacts) -> str | None:
    """Nothing else has these four outputs."""
    del facts
    return None
