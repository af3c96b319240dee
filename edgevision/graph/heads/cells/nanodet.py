"""Head of NanoDet (github.com/RangiLyu/nanodet): scores and binned distances in one output.

Facts: nanodet/model/head/nanodet_plus_head.py: scores have passed the logistic function, eight bins a side, strides 8
to 64, and a cell's point is its corner. nanodet/model/head/gfl_head.py, without "plus": strides 8 to 32, and the point
is the centre. config/*.yml: BGR with ImageNet's normalisation, frames stretched.
"""

from __future__ import annotations

from edgevision.graph.heads.cells.distances import DistanceHead, cell_counts
from edgevision.graph.heads.head import NetworkFacts

EXPECTED = (
    "one output [B, N, C+32] with N cells at strides 8 to 64: class scores, logits of distances in 4 x 8 bins"
)
BINS = 8
_LEVELS = {(8, 16, 32, 64): 0.0, (8, 16, 32): 0.5}
"""Place of the point in its cell by the strides."""


def recognise(facts: NetworkFacts) -> DistanceHead | None:
    """The head if there is one output ``[B,N,C+32]`` with the number of cells of the input's size."""
    lengths = facts.single(3)
    if not lengths or not facts.allows(lengths[1] - 4 * BINS):
        return None
    for strides, centre in _LEVELS.items():
        if sum(cell_counts(facts.size_wh, strides)) == lengths[0] > 0:
            return DistanceHead(facts.size_wh, strides, lengths[1] - 4 * BINS, BINS, centre)
    return None


def doubt(facts: NetworkFacts) -> str | None:
    """Why a network with the shapes of this head probably has another one; None if nothing speaks against it."""
    if facts.leading != {"Sigmoid"}:
        return "the first values do not pass a Sigmoid"
    if facts.end(0) == {"Sigmoid"}:
        return "all values pass a Sigmoid"
    return None
