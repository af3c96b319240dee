"""Head of RF-DETR (arXiv 2511.09554) as its authors export it: outputs ``dets`` and ``labels``.

Decoding is that of `detr`; the pixels are normalised with ImageNet's mean and deviation (github.com/roboflow/rf-detr,
rfdetr/detr.py). Its logits have one column more than there are classes.
"""

from __future__ import annotations

from edgevision.graph.heads.head import NetworkFacts
from edgevision.graph.heads.queries import detr
from edgevision.graph.heads.queries.detr import DetrHead

EXPECTED = (
    "outputs dets [B, Q, 4] x y w h in fractions of the image, and labels [B, Q, C], logits for a Sigmoid"
)


def recognise(facts: NetworkFacts) -> DetrHead | None:
    """The head if there are boxes and logits of queries."""
    return detr.recognise(facts)


def doubt(facts: NetworkFacts) -> str | None:
    """Why a network with the shapes of this head probably has another one; None if nothing speaks against it."""
    if not detr.is_rfdetr(facts):
        return "the outputs are not named dets and labels"
    return detr.doubt_of_queries(facts)
