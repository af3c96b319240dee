"""Head of files whose last node is an NMS plugin of TensorRT: the plugin is cut, and its inputs are decoded here.

Facts: github.com/NVIDIA/TensorRT, plugin/efficientNMSPlugin/README.md and plugin/batchedNMSPlugin/README.md. Boxes are
``[B,N,4]``, or ``[B,N,1,4]``: corners, or centre and size (``box_coding`` 1). Scores are ``[B,N,C]``, before a Sigmoid
with ``score_activation``. The class ``background_class`` is never found. NMS is by class, after a score threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgevision.contract.spec import NmsSpec
from edgevision.graph.builder import GraphBuilder, ints
from edgevision.graph.heads.head import (
    Array,
    NetworkFacts,
    NetworkOutput,
    NmsPlugin,
    best_pairs,
    corners_from_xywh,
    logistic,
    plain_corners,
    take_rows,
)
from edgevision.graph.heads.pairs import best_by_class
from edgevision.graph.nms import Candidates

EXPECTED = "a node EfficientNMS_TRT or BatchedNMS_TRT of boxes [B, N, 4] in pixels and scores [B, N, C]; it is replaced"
_NEVER = np.float32(-1e4)
"""A logit whose logistic value is 0."""


@dataclass(frozen=True, slots=True)
class TensorRtNmsHead:
    """The inputs of the plugin: boxes, then scores of `columns` classes."""

    rows: int
    columns: int
    size_wh: tuple[int, int]
    plugin: NmsPlugin
    named_background: bool = True
    """True if labels keep the plugin's numbers; False if the class names leave the background out."""
    suppressed: bool = False

    @property
    def class_count(self) -> int:
        """Number of classes that labels index."""
        return self.columns - (not self.named_background)

    def candidates(self, b: GraphBuilder, outputs: Sequence[NetworkOutput], nms: NmsSpec) -> Candidates:
        """The best boxes by their best class, then their best box-class pairs."""
        rows = min(nms.candidates, self.rows)
        boxes, scores = outputs[0].name, outputs[1].name
        if len(outputs[0].shape) == 4:
            boxes = b.op("Squeeze", boxes, ints(2))
        if self.plugin.background is not None:
            scores = self._without_background(b, scores, self.plugin.background)
        taken, index = best_by_class(b, scores, rows)
        if self.plugin.logits:
            taken = b.op("Sigmoid", taken)
        boxes = take_rows(b, boxes, index)
        if self.plugin.centres:
            boxes = corners_from_xywh(b, b.slice(boxes, 2, 0, 2), b.slice(boxes, 2, 2, 4))
        if self.plugin.fractions:
            boxes = b.op("Mul", boxes, np.array(self.size_wh * 2, np.float32))
        return best_pairs(b, boxes, taken, rows, self.class_count, nms.candidates)

    def _without_background(self, b: GraphBuilder, scores: str, background: int) -> str:
        if self.named_background:
            others = (np.arange(self.columns) != background)[None, None]
            return b.op("Where", others, scores, _NEVER if self.plugin.logits else np.float32(0))
        return b.op("Gather", scores, np.delete(np.arange(self.columns), background), axis=2)

    def plain(self, arrays: Sequence[Array]) -> tuple[Array, Array]:
        """Every box."""
        boxes = arrays[0].reshape(-1, 4).astype(np.float64)
        scores = logistic(arrays[1]) if self.plugin.logits else arrays[1].astype(np.float64)
        if self.plugin.background is not None and self.named_background:
            scores[:, self.plugin.background] = 0
        elif self.plugin.background is not None:
            scores = np.delete(scores, self.plugin.background, axis=1)
        if self.plugin.centres:
            boxes = plain_corners(boxes[:, :2], boxes[:, 2:])
        return boxes * (self.size_wh * 2 if self.plugin.fractions else 1), scores


def recognise(facts: NetworkFacts) -> TensorRtNmsHead | None:
    """The head if a plugin was cut from the file, and its inputs are boxes that all classes share, and scores."""
    if facts.plugin is None or len(facts.outputs) != 2:
        return None
    boxes, scores = (output.shape[1:] for output in facts.outputs)
    if (
        len(boxes) not in (2, 3)
        or boxes[1:] not in ((4,), (1, 4))
        or len(scores) != 2
        or boxes[0] != scores[0]
    ):
        return None
    rows, columns = scores
    if not rows or not columns:
        return None
    background = facts.plugin.background
    if background is not None and not 0 <= background < columns:
        return None
    if facts.allows(columns):
        return TensorRtNmsHead(rows, columns, facts.size_wh, facts.plugin)
    if background is not None and facts.allows(columns - 1):
        return TensorRtNmsHead(rows, columns, facts.size_wh, facts.plugin, named_background=False)
    return None


def doubt(facts: NetworkFacts) -> str | None:
    """Nothing else has such a node."""
    del facts
    return None
