"""What turns a network's raw outputs into candidates for suppression, one head per file."""

from edgevision.graph.heads.head import DetectionHead, NetworkOutput
from edgevision.graph.heads.yolov5_raw import YoloV5RawHead

__all__ = ["DetectionHead", "NetworkOutput", "YoloV5RawHead"]
