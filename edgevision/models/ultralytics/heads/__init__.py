"""Heads by the name of their class in the package; each file adds one task."""

from edgevision.models.ultralytics.heads.classify import CLASSIFY
from edgevision.models.ultralytics.heads.detect import DETECT
from edgevision.models.ultralytics.heads.head import HeadKind, TowerHead
from edgevision.models.ultralytics.heads.segment import SEGMENT, Segment

HEADS: dict[str, HeadKind] = {
    "Classify": CLASSIFY,
    "Detect": DETECT,
    "Segment": SEGMENT,
    "Segment26": SEGMENT,
    "v10Detect": DETECT,
}

__all__ = ["HEADS", "HeadKind", "Segment", "TowerHead"]
