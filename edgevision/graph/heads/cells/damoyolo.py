"""Head of DAMO-YOLO (arXiv 2211.15444): decoded boxes and class scores in two outputs.

Facts: github.com/tinyvision/DAMO-YOLO, tools/demo.py and damo/dataset/transforms: scores come first, pixels are RGB
0..255 in a letterbox.
"""

from __future__ import annotations

from edgevision.graph.heads.cells.two_outputs import TwoOutputsHead, doubt_of_cells
from edgevision.graph.heads.head import NetworkFacts
from edgevision.graph.heads.pairs import pair_of

EXPECTED = "two outputs: scores [B, N, C], then boxes [B, N, 4] x1 y1 x2 y2 in pixels"


def recognise(facts: NetworkFacts) -> TwoOutputsHead | None:
    """The head if there are boxes ``[B,N,4]`` and scores ``[B,N,C]``."""
    pair = pair_of(facts)
    return TwoOutputsHead(pair) if pair is not None and facts.allows(pair.columns) else None


def doubt(facts: NetworkFacts) -> str | None:
    """Why a network with the shapes of this head probably has another one; None if nothing speaks against it."""
    pair = pair_of(facts)
    if pair is not None and not pair.boxes > pair.scores:
        return "boxes come before scores: YOLO-NAS"
    return doubt_of_cells(facts, pair)
