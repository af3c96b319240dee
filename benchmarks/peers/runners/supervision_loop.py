"""The loop of `supervision`: its frame generator, its `Detections` and its NMS, around ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import onnxruntime
import supervision

from benchmarks.peers.runners import yolo
from benchmarks.peers.runners.job import Job, read_job
from benchmarks.peers.runners.onnxruntime_loop import raw_detector


def frames_of(job: Job) -> Iterator[yolo.Frame]:
    """Frames of the video, by supervision."""
    yield from supervision.get_video_frames_generator(source_path=str(job.source))


def main() -> None:
    """Measure."""
    job = read_job()
    raw = raw_detector(job.model, job.confidence)

    def detect(frame: yolo.Frame) -> yolo.Boxes:
        boxes, scores, labels = raw(frame)
        found = supervision.Detections(xyxy=boxes, confidence=scores, class_id=labels)
        found = found.with_nms(threshold=job.iou)
        assert found.confidence is not None
        assert found.class_id is not None
        order = np.argsort(-found.confidence)[: job.most]
        boxes, scores = (np.asarray(part[order], np.float32) for part in (found.xyxy, found.confidence))
        return boxes, scores, np.asarray(found.class_id[order], np.int64)

    yolo.run(job, detect, frames_of).print(
        engine=f"ONNX Runtime {onnxruntime.__version__}",
        tool=f"supervision {supervision.__version__}",
        threads=f"ONNX Runtime: its default, one for each physical core; OpenCV: {cv2.getNumThreads()}",
        opencv=cv2.__version__,
    )


if __name__ == "__main__":
    main()
