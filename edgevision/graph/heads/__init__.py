"""What turns a network's raw outputs into candidates for suppression, one head per file."""

from edgevision.graph.heads.anchor_free import AnchorFreeHead
from edgevision.graph.heads.anchor_free_obb import AnchorFreeObbHead
from edgevision.graph.heads.anchor_free_pose import AnchorFreePoseHead
from edgevision.graph.heads.head import DetectionHead, MaskHead, NetworkOutput, PoseHead
from edgevision.graph.heads.yolov5_raw import YoloV5RawHead

__all__ = [
    "AnchorFreeHead",
    "AnchorFreeObbHead",
    "AnchorFreePoseHead",
    "DetectionHead",
    "MaskHead",
    "NetworkOutput",
    "PoseHead",
    "YoloV5RawHead",
]
