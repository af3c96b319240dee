"""Head of networks with finished oriented boxes, such as YOLO26's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgevision.contract.spec import NmsSpec
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.heads import end2end
from edgevision.graph.heads.head import Array, NetworkFacts, NetworkOutput
from edgevision.graph.nms import Candidates

EXPECTED = "one output [B, N, 7]: x y w h in pixels, score, class, angle in radians"


@dataclass(frozen=True, slots=True)
class End2EndObbHead:
    """Rows ``[B, N, 7]`` of finished boxes: x y w h in pixels, score, label, and the angle of w in radians."""

    class_count: int
    suppressed: bool = True

    def candidates(self, b: GraphBuilder, outputs: Sequence[NetworkOutput], nms: NmsSpec) -> Candidates:
        """The best `nms.max_detections` boxes by score, oriented."""
        xywh, scores, labels, angle = b.split(outputs[0].name, 2, (4, 1, 1, 1))
        boxes = b.concat((xywh, angle), 2)
        found, _, _ = end2end.best_finished(b, (boxes,), scores, labels, nms.max_detections)
        return replace(found, oriented=True)

    def plain(self, arrays: Sequence[Array]) -> tuple[Array, Array]:
        """Every box ``[N,5]`` x y w h angle; each has a score only in its own class."""
        values = arrays[0].astype(np.float64)
        scores = end2end.plain_scores(values[:, 4], values[:, 5], self.class_count)
        return np.concatenate([values[:, :4], values[:, 6:]], 1), scores


def recognise(facts: NetworkFacts) -> End2EndObbHead | None:
    """The head if there is one output ``[B, N, 7]``, and the network turns boxes by sines and cosines.

    Without `class_count` it has 0 classes.
    """
    shape = facts.outputs[0].shape if len(facts.outputs) == 1 else ()
    fits = len(shape) == 3 and shape[2] == 7 and {"Sin", "Cos"} <= facts.tail
    return End2EndObbHead(facts.class_count or 0) if fits else None


def doubt(facts: NetworkFacts) -> str | None:
    """Why a network with the shapes of this head probably has another one; None if nothing speaks against it."""
    return end2end.doubt(facts)
