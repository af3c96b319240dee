"""OpenCV's DNN module: `readNetFromONNX`, `blobFromImage`, `forward`, OpenCV's NMS."""

from __future__ import annotations

import cv2
import numpy as np

from benchmarks.peers.runners import yolo
from benchmarks.peers.runners.job import read_job


def main() -> None:
    """Measure."""
    job = read_job()
    network = cv2.dnn.readNetFromONNX(str(job.model))

    def detect(frame: yolo.Frame) -> yolo.Boxes:
        square, factor, padding = yolo.letterbox(frame)
        network.setInput(cv2.dnn.blobFromImage(square, 1 / 255, (yolo.SIZE, yolo.SIZE), swapRB=True))
        output = np.asarray(network.forward(), np.float32)
        found = yolo.in_image(yolo.candidates(output, job.confidence), factor, padding)
        return yolo.after_nms(found, job)

    yolo.run(job, detect).print(
        engine=f"OpenCV {cv2.__version__}", threads=f"OpenCV: its default, {cv2.getNumThreads()}"
    )


if __name__ == "__main__":
    main()
