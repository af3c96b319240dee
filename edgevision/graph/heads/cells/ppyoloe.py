"""Head of PP-YOLOE (arXiv 2203.16250) exported without NMS: boxes, and scores with the classes first.

Facts: github.com/PaddlePaddle/PaddleDetection, ppdet/modeling/heads/ppyoloe_head.py and configs/ppyoloe: boxes are
divided by the input ``scale_factor``; frames are stretched; PP-YOLOE+ takes RGB 0..1, PP-YOLOE ImageNet's
normalisation.
"""

from __future__ import annotations

from edgevision.graph.heads.cells.two_outputs import TwoOutputsHead, doubt_of_cells
from edgevision.graph.heads.head import NetworkFacts
from edgevision.graph.heads.pairs import pair_of

EXPECTED = "two outputs: boxes [B, N, 4] x1 y1 x2 y2 in pixels, and scores [B, C, N]"


def recognise(facts: NetworkFacts) -> TwoOutputsHead | None:
    """The head if there are boxes ``[B,N,4]`` and scores ``[B,C,N]``."""
    pair = pair_of(facts, classes_first=True)
    if pair is None or not facts.allows(pair.columns):
        return None
    return TwoOutputsHead(pair, classes_first=True)


def doubt(facts: NetworkFacts) -> str | None:
    """Why a network with the shapes of this head probably has another one; None if nothing speaks against it."""
    return doubt_of_cells(facts, pair_of(facts, classes_first=True))
