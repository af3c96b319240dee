"""Head of networks with finished boxes: YOLOv10 and later, RT-DETR, and exports that include NMS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgevision.contract.spec import NmsSpec
from edgevision.graph.builder import FLOAT, INT32, GraphBuilder, ints
from edgevision.graph.heads.head import (
    SELECTING,
    Array,
    NetworkFacts,
    NetworkOutput,
    boxes_per_cell,
    take_rows,
)
from edgevision.graph.nms import Candidates

EXPECTED = (
    "one output [B, N, 6]: x1 y1 x2 y2 in pixels, score, class; or three, boxes [B, N, 4] in pixels and"
    " scores and labels [B, N]"
)

_SCORE_NAMES = ("score", "conf", "prob")
_LABEL_NAMES = ("label", "class", "cls")


@dataclass(frozen=True, slots=True)
class End2EndHead:
    """Finished boxes xyxy in pixels with scores and labels; their number may depend on the frame."""

    class_count: int
    order: tuple[int, ...]
    """Positions of boxes, scores and labels among the outputs, or of the one output that holds all three."""
    suppressed: bool = True

    def candidates(self, b: GraphBuilder, outputs: Sequence[NetworkOutput], nms: NmsSpec) -> Candidates:
        """The best `nms.max_detections` boxes by score, padded with rows of score 0."""
        if len(self.order) == 1:
            boxes, scores, labels = b.split(outputs[self.order[0]].name, 2, (4, 1, 1))
            scores, labels = (b.op("Squeeze", value, ints(2)) for value in (scores, labels))
        else:
            boxes, scores, labels = (outputs[place].name for place in self.order)
            scores, labels = (
                b.op("Squeeze", name, ints(2)) if len(outputs[place].shape) == 3 else name
                for name, place in zip((scores, labels), self.order[1:], strict=True)
            )
            labels = b.op("Cast", labels, to=FLOAT)
        return _best(b, (boxes,), scores, labels, nms.max_detections)[0]

    def plain(self, arrays: Sequence[Array]) -> tuple[Array, Array]:
        """Every box; each has a score only in its own class."""
        if len(self.order) == 1:
            boxes, scores, labels = np.split(arrays[self.order[0]].astype(np.float64), (4, 5), axis=1)
        else:
            boxes, scores, labels = (arrays[place].astype(np.float64) for place in self.order)
        return boxes, plain_scores(scores, labels, self.class_count)


def best_finished(
    b: GraphBuilder, values: Sequence[str], scores: str, labels: str, rows: int
) -> tuple[Candidates, tuple[str, ...], str]:
    """The best `rows` of boxes, the first of `values` ``[B,N,D]``, by their scores and float labels ``[B,N,1]``.

    Returns candidates, the other values padded by `rows`, and each candidate's index ``[B,rows]`` into them.
    """
    scores, labels = (b.op("Squeeze", value, ints(2)) for value in (scores, labels))
    return _best(b, values, scores, labels, rows)


def _best(
    b: GraphBuilder, values: Sequence[str], scores: str, labels: str, rows: int
) -> tuple[Candidates, tuple[str, ...], str]:
    # The number of boxes is arbitrary, zero included, and TopK needs a fixed one: pad first, then select.
    boxes, *others = (b.op("Pad", value, ints(0, 0, 0, 0, rows, 0)) for value in values)
    scores = b.op("Pad", scores, ints(0, 0, 0, rows))
    labels = b.op("Pad", labels, ints(0, 0, 0, rows))
    scores, index = b.ops("TopK", [scores, ints(rows)], 2, axis=1)
    labels = b.op("Cast", b.op("GatherElements", labels, index, axis=1), to=INT32)
    return Candidates(take_rows(b, boxes, index), scores, labels, rows), tuple(others), index


def plain_scores(scores: Array, labels: Array, class_count: int) -> Array:
    """Scores ``[N,class_count]`` in which each box has one only in its own class."""
    matrix = np.zeros((scores.size, class_count))
    matrix[np.arange(scores.size), labels.reshape(-1).astype(int)] = scores.reshape(-1)
    return matrix


def recognise(facts: NetworkFacts) -> End2EndHead | None:
    """The head if there is one output ``[B, N, 6]``, or boxes, scores and labels in any order.

    Integers are labels; names distinguish floats. The outputs do not show the number of classes: without `class_count`
    the head has 0 classes, and the caller must set them.
    """
    shapes = [output.shape for output in facts.outputs]
    count = facts.class_count or 0
    if len(shapes) == 1 and len(shapes[0]) == 3 and shapes[0][2] == 6:
        return End2EndHead(count, (0,))
    boxes = [i for i, shape in enumerate(shapes) if len(shape) == 3 and shape[2] == 4]
    others = [i for i, shape in enumerate(shapes) if len(shape) == 2 or (len(shape) == 3 and shape[2] == 1)]
    if len(shapes) != 3 or len(boxes) != 1 or len(others) != 2:
        return None
    labels = [i for i in others if "int" in facts.outputs[i].dtype]
    if not labels and all(_named(facts.outputs[i], _SCORE_NAMES + _LABEL_NAMES) for i in others):
        labels = [i for i in others if _named(facts.outputs[i], _LABEL_NAMES)]
    scores = [i for i in others if i not in labels and "float" in facts.outputs[i].dtype]
    if len(labels) != 1 or len(scores) != 1:
        return None
    return End2EndHead(count, (boxes[0], scores[0], labels[0]))


def _named(output: NetworkOutput, parts: tuple[str, ...]) -> bool:
    return any(part in output.name.lower() for part in parts)


def doubt(facts: NetworkFacts) -> str | None:
    """Why a network with the shapes of this head probably has another one; None if nothing speaks against it."""
    rows = facts.outputs[0].shape[1]
    if len(facts.outputs) > 1 or rows is None or facts.tail & SELECTING:
        return None
    if rows == 0:
        return "the output has no rows"
    if boxes_per_cell(facts.size_wh, rows) in (1, 3):
        return f"{rows} rows are all boxes of a network of {facts.size_wh[0]}x{facts.size_wh[1]}"
    return None
