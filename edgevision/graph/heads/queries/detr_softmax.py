"""Head of DETR (arXiv 2005.12872), YOLOS (arXiv 2106.00666) and Table Transformer: a Softmax with "no object".

The last of the C+1 logits is "no object". Each query gives one detection: its best class among the others, with the
probability of the Softmax over all of them (section 3.1 and `DetrImageProcessor.post_process_object_detection` of
`transformers`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgevision.contract.spec import NmsSpec
from edgevision.graph.builder import INT32, GraphBuilder, ints
from edgevision.graph.heads.head import Array, NetworkFacts, NetworkOutput
from edgevision.graph.heads.pairs import Pair, pair_of
from edgevision.graph.heads.queries import detr
from edgevision.graph.nms import Candidates

EXPECTED = (
    "two outputs: boxes [B, Q, 4] x y w h in fractions of the image, and logits [B, Q, C+1], for a Softmax whose last"
    " class is no object"
)


@dataclass(frozen=True, slots=True)
class DetrSoftmaxHead:
    """Queries with boxes ``[B,Q,4]`` x y w h in fractions, and logits ``[B,Q,C+1]``."""

    size_wh: tuple[int, int]
    pair: Pair
    class_count: int
    suppressed: bool = True

    def candidates(self, b: GraphBuilder, outputs: Sequence[NetworkOutput], nms: NmsSpec) -> Candidates:
        """The best queries by the probability of their best class."""
        rows = min(nms.max_detections, self.pair.rows)
        probabilities = b.op("Softmax", outputs[self.pair.scores].name, axis=2)
        probabilities = b.slice(probabilities, 2, 0, self.class_count)
        scores, index = b.ops("TopK", [b.reduce_max(probabilities, 2), ints(rows)], 2, axis=1)
        best = b.op("Cast", b.op("ArgMax", probabilities, axis=2, keepdims=0), to=INT32)
        labels = b.op("GatherElements", best, index, axis=1)
        boxes = detr.query_boxes(b, outputs[self.pair.boxes].name, index, self.size_wh)
        return Candidates(boxes, scores, labels, rows)

    def plain(self, arrays: Sequence[Array]) -> tuple[Array, Array]:
        """Every query; each has a score only in its best class."""
        logits = arrays[self.pair.scores].astype(np.float64)
        values = np.exp(logits - logits.max(axis=1, keepdims=True))
        values = values[:, :-1] / values.sum(axis=1, keepdims=True)
        best = values.argmax(axis=1)[:, None] == np.arange(self.class_count)
        return detr.plain_query_boxes(arrays[self.pair.boxes], self.size_wh), np.where(best, values, 0)


def recognise(facts: NetworkFacts) -> DetrSoftmaxHead | None:
    """The head if there are boxes ``[B,Q,4]`` and logits ``[B,Q,C+1]``."""
    pair = pair_of(facts)
    if pair is None or not facts.allows(pair.columns - 1):
        return None
    return DetrSoftmaxHead(facts.size_wh, pair, pair.columns - 1)


def doubt(facts: NetworkFacts) -> str | None:
    """Why a network with the shapes of this head probably has another one; None if nothing speaks against it."""
    pair = pair_of(facts)
    reason = detr.doubt_of_queries(facts)
    if reason is not None or pair is None:
        return reason
    if "Sigmoid" in facts.end(pair.scores):
        return "scores pass a Sigmoid"
    if facts.operators & detr.QUERY_OPERATORS:
        return "the network selects queries or has deformable attention: its classes are scored one by one"
    if facts.class_count is None and detr.is_single_count(pair.columns):
        return f"{pair.columns} classes of a public data set leave none for no object"
    return None
