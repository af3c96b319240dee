"""Head of YOLOv7 (arXiv 2207.02696) exported with ``--end2end`` for ONNX Runtime.

Facts: github.com/WongKinYiu/yolov7, models/experimental.py, class ONNX_ORT: rows of frame, x1 y1 x2 y2, label, score.
"""

from __future__ import annotations

from edgevision.graph.heads.finished.packed import PackedHead, is_packed
from edgevision.graph.heads.head import SELECTING, NetworkFacts

EXPECTED = "one output [M, 7]: frame, x1 y1 x2 y2 in pixels, class, score; batch 1"


def recognise(facts: NetworkFacts) -> PackedHead | None:
    """The head if there is one output ``[M,7]``."""
    if not is_packed(facts, 7) or len(facts.outputs) != 1:
        return None
    return PackedHead(facts.class_count or facts.label_count or 0, box=1, score=6, label=5)


def doubt(facts: NetworkFacts) -> str | None:
    """Why a network with the shapes of this head probably has another one; None if nothing speaks against it."""
    return None if facts.operators & SELECTING else "the network selects no boxes"
