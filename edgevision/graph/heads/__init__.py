"""What turns a network's raw outputs into candidates for suppression, one head per file."""

from edgevision.graph.heads.anchor_free import AnchorFreeHead
from edgevision.graph.heads.head import DetectionHead, MaskHead, NetworkOutput
from edgevision.graph.heads.yolov5_raw import YoloV5RawHead

__all__ = ["AnchorFreeHead", "DetectionHead", "MaskHead", "NetworkOutput", "YoloV5RawHead"]
