"""Decoded boxes and scores of every cell in two outputs: what YOLO-NAS, DAMO-YOLO and PP-YOLOE share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgevision.contract.spec import NmsSpec
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.heads.head import (
    SELECTING,
    Array,
    NetworkFacts,
    NetworkOutput,
    best_pairs,
    boxes_per_cell,
    take_rows,
)
from edgevision.graph.heads.pairs import Pair, best_by_class
from edgevision.graph.nms import Candidates


@dataclass(frozen=True, slots=True)
class TwoOutputsHead:
    """Boxes ``[B,N,4]`` xyxy in pixels, and scores ``[B,N,C]``, or ``[B,C,N]`` if `classes_first`."""

    pair: Pair
    classes_first: bool = False
    suppressed: bool = False

    @property
    def class_count(self) -> int:
        """Number of classes."""
        return self.pair.columns

    def candidates(self, b: GraphBuilder, outputs: Sequence[NetworkOutput], nms: NmsSpec) -> Candidates:
        """The best boxes by their best class, then their best box-class pairs."""
        boxes, scores = outputs[self.pair.boxes].name, outputs[self.pair.scores].name
        if self.classes_first:
            scores = b.op("Transpose", scores, perm=[0, 2, 1])
        rows = min(nms.candidates, self.pair.rows)
        taken, index = best_by_class(b, scores, rows)
        return best_pairs(b, take_rows(b, boxes, index), taken, rows, self.class_count, nms.candidates)

    def plain(self, arrays: Sequence[Array]) -> tuple[Array, Array]:
        """Every box."""
        scores = arrays[self.pair.scores].astype(np.float64)
        return arrays[self.pair.boxes].astype(np.float64), scores.T if self.classes_first else scores


def doubt_of_cells(facts: NetworkFacts, pair: Pair | None) -> str | None:
    """Why outputs are not decoded boxes and scores of all cells; None if nothing speaks against it."""
    if pair is None:
        return "boxes and scores are not clear"
    if facts.tail & SELECTING:
        return "the network selects its boxes itself"
    if boxes_per_cell(facts.size_wh, pair.rows) != 1:
        return f"{pair.rows} rows do not match the cells of an input of {facts.size_wh[0]}x{facts.size_wh[1]}"
    if "Sigmoid" not in facts.end(pair.scores):
        return "scores do not pass a Sigmoid"
    if facts.end(pair.boxes) == {"Sigmoid"}:
        return "boxes come from a Sigmoid: they are fractions"
    return None
