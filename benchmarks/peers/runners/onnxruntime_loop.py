"""A plain loop around ONNX Runtime: OpenCV's VideoCapture, letterbox, `session.run`, OpenCV's NMS."""

from __future__ import annotations

from pathlib import Path

import cv2
import onnxruntime

from benchmarks.peers.runners import yolo
from benchmarks.peers.runners.job import Job, read_job


def raw_detector(model: Path, confidence: float) -> yolo.Detector:
    """A function that returns the boxes of a frame before NMS, in pixels of the frame."""
    session = onnxruntime.InferenceSession(str(model), providers=onnxruntime.get_available_providers())
    name = session.get_inputs()[0].name

    def detect(frame: yolo.Frame) -> yolo.Boxes:
        square, factor, padding = yolo.letterbox(frame)
        (output, *_) = session.run(None, {name: yolo.blob_of(square)})
        return yolo.in_image(yolo.candidates(output, confidence), factor, padding)

    return detect


def main() -> None:
    """Measure."""
    job: Job = read_job()
    detect = raw_detector(job.model, job.confidence)
    yolo.run(job, lambda frame: yolo.after_nms(detect(frame), job)).print(
        engine=f"ONNX Runtime {onnxruntime.__version__}",
        threads=f"ONNX Runtime: its default, one for each physical core; OpenCV: {cv2.getNumThreads()}",
        opencv=cv2.__version__,
    )


if __name__ == "__main__":
    main()
