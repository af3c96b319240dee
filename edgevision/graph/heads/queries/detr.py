"""Head of DETR's successors with one logistic score for each class: RT-DETR, RT-DETRv2, D-FINE, DEIM.

Boxes are centre and size in fractions of the image, scores the logistic function of the logits, and the best pairs of
query and class are the result, without NMS (RT-DETR, arXiv 2304.08069; D-FINE, arXiv 2410.13842; Deformable DETR, arXiv
2010.04159, appendix A). Of `transformers`, `RTDetrImageProcessor.post_process_object_detection` is the reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgevision.contract.spec import NmsSpec
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.heads.head import (
    Array,
    NetworkFacts,
    NetworkOutput,
    best_pairs,
    corners_from_xywh,
    logistic,
    plain_corners,
)
from edgevision.graph.heads.pairs import Pair, best_by_class, pair_of
from edgevision.graph.nms import Candidates

EXPECTED = "two outputs: boxes [B, Q, 4] x y w h in fractions of the image, and class logits [B, Q, C], for a Sigmoid"

QUERY_OPERATORS = frozenset(("TopK", "GridSample"))
"""Selection of queries, and deformable attention: networks with either score each class by itself."""
_SINGLE_COUNTS = (80, 91, 365)
"""Classes of COCO, of COCO by id, and of Objects365, without one for "no object"."""
COCO_WITH_NO_OBJECT = 92


@dataclass(frozen=True, slots=True)
class DetrHead:
    """Queries with boxes ``[B,Q,4]`` x y w h in fractions, and logits or probabilities ``[B,Q,C]``.

    A network may have one class more than it has names: RF-DETR's last column is never trained.
    """

    size_wh: tuple[int, int]
    pair: Pair
    class_count: int
    scored: bool = False
    """True if the network applies the logistic function itself."""
    suppressed: bool = True

    def candidates(self, b: GraphBuilder, outputs: Sequence[NetworkOutput], nms: NmsSpec) -> Candidates:
        """The best pairs of query and class."""
        boxes, scores = outputs[self.pair.boxes].name, outputs[self.pair.scores].name
        if self.class_count < self.pair.columns:
            scores = b.slice(scores, 2, 0, self.class_count)
        rows = min(nms.max_detections, self.pair.rows)
        taken, index = best_by_class(b, scores, rows)
        boxes = query_boxes(b, boxes, index, self.size_wh)
        taken = taken if self.scored else b.op("Sigmoid", taken)
        return best_pairs(b, boxes, taken, rows, self.class_count, nms.max_detections)

    def plain(self, arrays: Sequence[Array]) -> tuple[Array, Array]:
        """Every query."""
        scores = arrays[self.pair.scores][:, : self.class_count].astype(np.float64)
        boxes = plain_query_boxes(arrays[self.pair.boxes], self.size_wh)
        return boxes, scores if self.scored else logistic(scores)


def query_boxes(b: GraphBuilder, boxes: str, index: str, size_wh: tuple[int, int]) -> str:
    """The boxes xyxy in pixels of the queries `index` ``[B,rows]``."""
    values = b.op("GatherND", boxes, b.op("Unsqueeze", index, np.array([2])), batch_dims=1)
    values = b.op("Mul", values, np.array(size_wh * 2, np.float32))
    xy, wh = b.split(values, 2, (2, 2))
    return corners_from_xywh(b, xy, wh)


def plain_query_boxes(boxes: Array, size_wh: tuple[int, int]) -> Array:
    """`query_boxes` of all queries in numpy."""
    values = boxes.astype(np.float64) * (size_wh * 2)
    return plain_corners(values[:, :2], values[:, 2:])


def recognise(facts: NetworkFacts) -> DetrHead | None:
    """The head if there are boxes ``[B,Q,4]`` and logits ``[B,Q,C]``; C may exceed the number of class names by one."""
    pair = pair_of(facts)
    if pair is None:
        return None
    counts = [count for count in (pair.columns, pair.columns - 1) if facts.allows(count)]
    if not counts:
        return None
    return DetrHead(facts.size_wh, pair, counts[0], "Sigmoid" in facts.end(pair.scores))


def doubt(facts: NetworkFacts) -> str | None:
    """Why a network with the shapes of this head probably has another one; None if nothing speaks against it."""
    pair = pair_of(facts)
    reason = doubt_of_queries(facts)
    if reason is not None or pair is None:
        return reason
    if has_imagenet_pixels(facts):
        return "RF-DETR, Deformable DETR and Conditional DETR are trained with ImageNet's normalisation"
    return doubt_of_sigmoid(facts, pair)


def doubt_of_sigmoid(facts: NetworkFacts, pair: Pair) -> str | None:
    """Why the last class of queries probably is "no object"; None if nothing speaks for that."""
    if facts.operators & QUERY_OPERATORS or "Sigmoid" in facts.end(pair.scores):
        return None
    if facts.class_count == pair.columns - 1:
        return f"{pair.columns} logits are the {facts.class_count} class names and one for no object"
    if facts.class_count is None and pair.columns == COCO_WITH_NO_OBJECT:
        return "92 logits are the 91 ids of COCO and one for no object"
    return None


def doubt_of_queries(facts: NetworkFacts) -> str | None:
    """Why outputs are no boxes in fractions and logits of queries."""
    pair = pair_of(facts)
    if pair is None:
        return "boxes and scores are not clear"
    if "Softmax" in facts.end(pair.scores):
        return "scores pass a Softmax: SSD"
    if not facts.operators & QUERY_OPERATORS and facts.end(pair.boxes) != {"Sigmoid"}:
        return "the network selects no queries, and its boxes do not pass a Sigmoid"
    return None


def is_single_count(columns: int) -> bool:
    """True for the number of classes of a public data set without one for "no object"."""
    return columns in _SINGLE_COUNTS


def has_imagenet_pixels(facts: NetworkFacts) -> bool:
    """True for RF-DETR by the names of its outputs, and for networks that select no queries: see `imagenet`."""
    names = {output.name.removeprefix("network/") for output in facts.outputs}
    return {"dets", "labels"} <= names or "TopK" not in facts.operators
