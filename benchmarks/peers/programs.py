"""The compared programs: environment, runner, and kind of file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Peer:
    """One row of the table."""

    name: str
    environment: str
    runner: str
    """Module in `runners/`."""
    file: str
    """Kind of file, of `models.prepared`."""
    precision: str | None = None
    """Of edgevision: the graph or number format."""
    gpu: bool = False
    """Needs an NVIDIA GPU."""
    accuracy: bool = True
    families: tuple[str, ...] = ("yolov5", "ultralytics")
    """Families of models that it runs."""


OURS = "edgevision, float"
INT8 = "edgevision, INT8"
ULTRALYTICS = "Ultralytics, ONNX"
PEERS = (
    Peer(OURS, "edgevision", "ours", "bundle", "float"),
    Peer("edgevision, bf16", "edgevision", "ours", "bundle", "bf16"),
    Peer(INT8, "edgevision", "ours", "int8", "int8"),
    Peer(ULTRALYTICS, "ultralytics", "ultralytics_predict", "columns"),
    Peer(
        "Ultralytics, OpenVINO", "ultralytics", "ultralytics_predict", "openvino", families=("ultralytics",)
    ),
    Peer("YOLOv5 detect.py, ONNX", "yolov5", "yolov5_detect", "raw", families=("yolov5",)),
    Peer("YOLOv5 detect.py, OpenVINO", "yolov5", "yolov5_detect", "openvino", families=("yolov5",)),
    Peer("OpenCV DNN", "opencv", "opencv_dnn", "raw"),
    Peer("loop around ONNX Runtime", "onnxruntime", "onnxruntime_loop", "raw"),
    Peer("supervision, ONNX Runtime", "supervision", "supervision_loop", "raw"),
    Peer("trtexec (inference alone)", "onnxruntime", "trtexec", "raw", gpu=True, accuracy=False),
    Peer(
        "Ultralytics, TensorRT",
        "ultralytics",
        "ultralytics_predict",
        "engine",
        gpu=True,
        families=("ultralytics",),
    ),
)
