"""Finished boxes of one frame as rows of one output without a batch, in any order of columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgevision.contract.spec import NmsSpec
from edgevision.graph.builder import INT32, GraphBuilder, ints
from edgevision.graph.heads.head import Array, NetworkFacts, NetworkOutput, take_rows
from edgevision.graph.nms import Candidates


@dataclass(frozen=True, slots=True)
class PackedHead:
    """Rows ``[M,columns]``: where the box xyxy in pixels, the score and the label begin."""

    class_count: int
    box: int
    score: int
    label: int
    suppressed: bool = True

    def candidates(self, b: GraphBuilder, outputs: Sequence[NetworkOutput], nms: NmsSpec) -> Candidates:
        """The best `nms.max_detections` rows by score, padded with rows of score 0."""
        rows = nms.max_detections
        # The number of rows is arbitrary, zero included, and TopK needs a fixed one: pad first, then select.
        values = b.op("Pad", b.op("Unsqueeze", outputs[0].name, ints(0)), ints(0, 0, 0, 0, rows, 0))
        boxes = b.slice(values, 2, self.box, self.box + 4)
        score, label = (
            b.op("Squeeze", b.slice(values, 2, start, start + 1), ints(2))
            for start in (self.score, self.label)
        )
        scores, index = b.ops("TopK", [score, ints(rows)], 2, axis=1)
        labels = b.op("Cast", b.op("GatherElements", label, index, axis=1), to=INT32)
        return Candidates(take_rows(b, boxes, index), scores, labels, rows)

    def plain(self, arrays: Sequence[Array]) -> tuple[Array, Array]:
        """Every row with a positive score, which it has only in its own class."""
        values = arrays[0].astype(np.float64)
        values = values[values[:, self.score] > 0]
        matrix = np.zeros((len(values), self.class_count))
        matrix[np.arange(len(values)), values[:, self.label].astype(int)] = values[:, self.score]
        return values[:, self.box : self.box + 4], matrix


def is_packed(facts: NetworkFacts, columns: int) -> bool:
    """True if the first output is ``[M,columns]`` in float, of one frame."""
    first = facts.outputs[0]
    return facts.batch == 1 and "float" in first.dtype and len(first.shape) == 2 and first.shape[1] == columns
