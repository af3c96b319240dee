"""Head of RT-DETR as the Ultralytics package exports it: boxes and scores of the queries in one output.

Facts: docs.ultralytics.com/models/rtdetr; boxes are x y w h in fractions of the image, scores have passed the logistic
function, and there is no NMS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgevision.contract.spec import NmsSpec
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.heads.head import Array, NetworkFacts, NetworkOutput
from edgevision.graph.heads.pairs import Pair
from edgevision.graph.heads.queries.detr import QUERY_OPERATORS, DetrHead
from edgevision.graph.nms import Candidates

EXPECTED = "one output [B, Q, 4+C]: x y w h in fractions of the image, class scores"


@dataclass(frozen=True, slots=True)
class QueryRowsHead:
    """Queries ``[B,Q,4+C]``: x y w h in fractions, and class scores."""

    size_wh: tuple[int, int]
    rows: int
    class_count: int
    suppressed: bool = True

    def candidates(self, b: GraphBuilder, outputs: Sequence[NetworkOutput], nms: NmsSpec) -> Candidates:
        """The best pairs of query and class."""
        boxes, scores = b.split(outputs[0].name, 2, (4, self.class_count))
        parts = [NetworkOutput(name, "float32", (None, self.rows, None)) for name in (boxes, scores)]
        return self._apart.candidates(b, parts, nms)

    def plain(self, arrays: Sequence[Array]) -> tuple[Array, Array]:
        """Every query."""
        return self._apart.plain(np.split(arrays[0], [4], axis=1))

    @property
    def _apart(self) -> DetrHead:
        return DetrHead(self.size_wh, Pair(0, 1, self.rows, self.class_count), self.class_count, scored=True)


def recognise(facts: NetworkFacts) -> QueryRowsHead | None:
    """The head if there is one output ``[B,Q,4+C]``."""
    lengths = facts.single(3)
    if not lengths or not facts.allows(lengths[1] - 4) or lengths[0] == 0:
        return None
    return QueryRowsHead(facts.size_wh, lengths[0], lengths[1] - 4)


def doubt(facts: NetworkFacts) -> str | None:
    """Why a network with the shapes of this head probably has another one; None if nothing speaks against it."""
    if not facts.operators & QUERY_OPERATORS:
        return "the network selects no queries"
    if facts.end(0) != {"Sigmoid"}:
        return "boxes and scores do not both come from a Sigmoid"
    return None
