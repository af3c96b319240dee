"""Head of RF-DETR, Deformable DETR and Conditional DETR: decoding of `detr`, pixels with ImageNet's normalisation.

RF-DETR (arXiv 2511.09554) is exported with outputs ``dets`` and ``labels`` (github.com/roboflow/rf-detr), and its
logits have one column more than there are classes. Deformable DETR (arXiv 2010.04159) and Conditional DETR (arXiv
2108.06152) select no queries, unlike RT-DETR and its successors, whose pixels are 0..1.
"""

from __future__ import annotations

from edgevision.graph.heads.head import NetworkFacts
from edgevision.graph.heads.pairs import pair_of
from edgevision.graph.heads.queries import detr
from edgevision.graph.heads.queries.detr import DetrHead

EXPECTED = (
    "as detr, for pixels with ImageNet's normalisation: RF-DETR (outputs dets and labels), Deformable DETR"
)


def recognise(facts: NetworkFacts) -> DetrHead | None:
    """The head if there are boxes and logits of queries."""
    return detr.recognise(facts)


def doubt(facts: NetworkFacts) -> str | None:
    """Why a network with the shapes of this head probably has another one; None if nothing speaks against it."""
    pair = pair_of(facts)
    reason = detr.doubt_of_queries(facts)
    if reason is not None or pair is None:
        return reason
    if not detr.has_imagenet_pixels(facts):
        return "the network selects queries, and its outputs are not named dets and labels: RT-DETR's kind"
    return detr.doubt_of_sigmoid(facts, pair)
