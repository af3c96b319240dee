"""Head of SSD (arXiv 1512.02325) with decoded boxes: a Softmax whose first class is the background.

Facts: github.com/qfgaohao/pytorch-ssd, convert_to_caffe2_models.py and vision/ssd/config: boxes are corners in
fractions of the image, pixels RGB (value - 127) / 128, frames stretched. Label files name the background or
leave it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgevision.contract.spec import NmsSpec
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.heads.head import SELECTING, Array, NetworkFacts, NetworkOutput, best_pairs, take_rows
from edgevision.graph.heads.pairs import Pair, best_by_class, pair_of
from edgevision.graph.nms import Candidates

EXPECTED = (
    "two outputs: boxes [B, N, 4] x1 y1 x2 y2 in fractions of the image, and probabilities [B, N, 1+C], the background"
    " first"
)


@dataclass(frozen=True, slots=True)
class SsdHead:
    """Boxes ``[B,N,4]`` xyxy in fractions, and probabilities ``[B,N,1+C]``."""

    size_wh: tuple[int, int]
    pair: Pair
    named_background: bool = False
    """True if class names include the background, so that labels keep the network's numbers."""
    suppressed: bool = False

    @property
    def class_count(self) -> int:
        """Number of classes that labels index."""
        return self.pair.columns - (not self.named_background)

    def candidates(self, b: GraphBuilder, outputs: Sequence[NetworkOutput], nms: NmsSpec) -> Candidates:
        """The best boxes by their best class, then their best box-class pairs."""
        rows, columns = min(nms.candidates, self.pair.rows), self.pair.columns
        scores = outputs[self.pair.scores].name
        if self.named_background:
            mask = np.ones((1, 1, columns), np.float32)
            mask[..., 0] = 0
            scores = b.op("Mul", scores, mask)
        else:
            scores = b.slice(scores, 2, 1, columns)
        taken, index = best_by_class(b, scores, rows)
        boxes = take_rows(b, outputs[self.pair.boxes].name, index)
        boxes = b.op("Mul", boxes, np.array(self.size_wh * 2, np.float32))
        return best_pairs(b, boxes, taken, rows, self.class_count, nms.candidates)

    def plain(self, arrays: Sequence[Array]) -> tuple[Array, Array]:
        """Every box."""
        scores = arrays[self.pair.scores].astype(np.float64)
        if self.named_background:
            scores[:, 0] = 0
        else:
            scores = scores[:, 1:]
        return arrays[self.pair.boxes].astype(np.float64) * (self.size_wh * 2), scores


def recognise(facts: NetworkFacts) -> SsdHead | None:
    """The head if there are boxes ``[B,N,4]`` and probabilities ``[B,N,1+C]``."""
    pair = pair_of(facts)
    if pair is None or pair.columns < 2:
        return None
    if facts.allows(pair.columns - 1):
        return SsdHead(facts.size_wh, pair)
    return SsdHead(facts.size_wh, pair, named_background=True) if facts.allows(pair.columns) else None


def doubt(facts: NetworkFacts) -> str | None:
    """Why a network with the shapes of this head probably has another one; None if nothing speaks against it."""
    pair = pair_of(facts)
    if pair is None:
        return "boxes and scores are not clear"
    if facts.tail & SELECTING:
        return "the network selects its boxes itself"
    if "Softmax" not in facts.end(pair.scores):
        return "scores do not pass a Softmax"
    return None
