"""Head of the models for oriented boxes: a detector's, and the angle of each box."""

from __future__ import annotations

from torch import nn

from edgevision.models.layers.part import Part
from edgevision.models.ultralytics.heads.head import HeadKind, TowerHead, bins_of, towers_of


class ObbHead(TowerHead):
    """A head whose third tower gives ``[B,1,h,w]``: a box's angle in radians, or its logit if `logit`.

    From a logit, the angle is (logistic(logit) - 1/4) * pi.
    """

    further = 1

    def __init__(self, towers: dict[str, nn.ModuleList], bins: int, *, logit: bool) -> None:
        super().__init__(towers, bins)
        self.logit = logit


def _obb(part: Part) -> ObbHead:
    return ObbHead(towers_of(part, "cv2", "cv3", "cv4"), bins_of(part), logit=True)


def _plain_obb(part: Part) -> ObbHead:
    return ObbHead(towers_of(part, "cv2", "cv3", "cv4"), bins_of(part), logit=False)


OBB = HeadKind("obb", _obb)
PLAIN_OBB = HeadKind("obb", _plain_obb)
