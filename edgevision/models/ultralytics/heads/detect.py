"""Head of the detectors."""

from __future__ import annotations

from edgevision.models.layers.part import Part
from edgevision.models.ultralytics.heads.head import HeadKind, TowerHead, bins_of, towers_of


def _detect(part: Part) -> TowerHead:
    return TowerHead(towers_of(part, "cv2", "cv3"), bins_of(part))


DETECT = HeadKind("detect", _detect)
