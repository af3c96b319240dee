"""Heads by the name of their class in the package; each file adds one task."""

from edgevision.models.ultralytics.heads.classify import CLASSIFY
from edgevision.models.ultralytics.heads.detect import DETECT
from edgevision.models.ultralytics.heads.head import HeadKind, TowerHead
from edgevision.models.ultralytics.heads.obb import OBB, PLAIN_OBB, ObbHead
from edgevision.models.ultralytics.heads.pose import POSE, SPLIT_POSE, PoseTowers
from edgevision.models.ultralytics.heads.segment import SEGMENT, SegmentHead

HEADS: dict[str, HeadKind] = {
    "Classify": CLASSIFY,
    "Detect": DETECT,
    "OBB": OBB,
    "OBB26": PLAIN_OBB,
    "Pose": POSE,
    "Pose26": SPLIT_POSE,
    "Segment": SEGMENT,
    "Segment26": SEGMENT,
    "v10Detect": DETECT,
}

__all__ = ["HEADS", "HeadKind", "ObbHead", "PoseTowers", "SegmentHead", "TowerHead"]
