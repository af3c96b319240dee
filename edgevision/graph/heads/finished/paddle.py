"""Head of PaddleDetection's exports that include NMS or need none: PP-YOLOE, PicoDet, RT-DETR.

Facts: github.com/PaddlePaddle/PaddleDetection, deploy/README.md and ppdet/modeling/post_process.py: rows of label,
score, x1 y1 x2 y2 of all frames, and their number for each frame. Boxes are divided by the input ``scale_factor``.
"""

from __future__ import annotations

from edgevision.graph.heads.finished.packed import PackedHead, is_packed
from edgevision.graph.heads.head import SELECTING, NetworkFacts

EXPECTED = "two outputs: rows [M, 6] of class, score, x1 y1 x2 y2 in pixels, and their number [B]; batch 1"


def recognise(facts: NetworkFacts) -> PackedHead | None:
    """The head if there are rows ``[M,6]`` and, as the second output, an integer for each frame."""
    if not is_packed(facts, 6) or len(facts.outputs) > 2:
        return None
    if len(facts.outputs) == 2:
        number = facts.outputs[1]
        if "int" not in number.dtype or number.shape not in ((1,), (None,), (1, 1)):
            return None
    return PackedHead(facts.class_count or facts.label_count or 0, box=2, score=1, label=0)


def doubt(facts: NetworkFacts) -> str | None:
    """Why a network with the shapes of this head probably has another one; None if nothing speaks against it."""
    if len(facts.outputs) == 1 and not facts.operators & SELECTING:
        return "the network selects no boxes"
    return None
