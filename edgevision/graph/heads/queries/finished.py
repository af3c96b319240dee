"""Head of RT-DETR as newer versions of the Ultralytics package export it: the best pairs of query and class.

Facts: the package's exports of version 8.4: rows are x y w h in fractions of the image, score, label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgevision.contract.spec import NmsSpec
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.heads import end2end
from edgevision.graph.heads.end2end import End2EndHead
from edgevision.graph.heads.head import Array, NetworkFacts, NetworkOutput, corners_from_xywh
from edgevision.graph.heads.queries.detr import plain_query_boxes
from edgevision.graph.nms import Candidates

EXPECTED = "one output [B, N, 6]: x y w h in fractions of the image, score, class"


@dataclass(frozen=True, slots=True)
class QueryFinishedHead:
    """Rows ``[B,N,6]``: x y w h in fractions, score, label."""

    size_wh: tuple[int, int]
    class_count: int
    suppressed: bool = True

    def candidates(self, b: GraphBuilder, outputs: Sequence[NetworkOutput], nms: NmsSpec) -> Candidates:
        """The best `nms.max_detections` rows by score."""
        boxes, rest = b.split(outputs[0].name, 2, (4, 2))
        xy, wh = b.split(b.op("Mul", boxes, np.array(self.size_wh * 2, np.float32)), 2, (2, 2))
        rows = b.op("Concat", corners_from_xywh(b, xy, wh), rest, axis=2)
        output = NetworkOutput(rows, "float32", outputs[0].shape)
        return End2EndHead(self.class_count, (0,)).candidates(b, [output], nms)

    def plain(self, arrays: Sequence[Array]) -> tuple[Array, Array]:
        """Every row; each has a score only in its own class."""
        boxes = plain_query_boxes(arrays[0][:, :4], self.size_wh)
        rows = np.concatenate([boxes, arrays[0][:, 4:]], axis=1)
        return End2EndHead(self.class_count, (0,)).plain([rows])


def recognise(facts: NetworkFacts) -> QueryFinishedHead | None:
    """The head if there is one output ``[B,N,6]``."""
    found = end2end.recognise(facts)
    if found is None or len(facts.outputs) != 1:
        return None
    return QueryFinishedHead(facts.size_wh, found.class_count)


def doubt(facts: NetworkFacts) -> str | None:
    """Why a network with the shapes of this head probably has another one; None if nothing speaks against it."""
    if facts.leading != {"Sigmoid"}:
        return "boxes do not come from a Sigmoid"
    return "all values come from a Sigmoid: none is a label" if facts.end(0) == {"Sigmoid"} else None
