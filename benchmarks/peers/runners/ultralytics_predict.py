"""The Ultralytics package: `YOLO(model).predict(source, stream=True)`."""

from __future__ import annotations

import cv2
import onnxruntime
import torch
import ultralytics

from benchmarks.peers.runners.job import Meter, Row, read_job


def main() -> None:
    """Measure."""
    job = read_job()
    model = ultralytics.YOLO(str(job.model), task="detect")
    meter = Meter(job)
    results = model.predict(
        str(job.source),
        stream=True,
        imgsz=640,
        conf=job.confidence,
        iou=job.iou,
        max_det=job.most,
        verbose=False,
        save=False,
    )
    for found in results:
        if job.images:
            rows: list[Row] = [
                (*box, score, int(label))
                for box, score, label in zip(
                    found.boxes.xyxy.tolist(),
                    found.boxes.conf.tolist(),
                    found.boxes.cls.tolist(),
                    strict=True,
                )
            ]
            meter.add_rows(found.path, rows)
        elif meter.add(len(found.boxes)):
            break
    threads = f"{cv2.getNumThreads()} (OpenCV), {torch.get_num_threads()} (torch), the engine's default"
    meter.print(
        tool=f"ultralytics {ultralytics.__version__}",
        engine=f"{model.predictor.model.format}, onnxruntime {onnxruntime.__version__}",
        torch=torch.__version__,
        opencv=cv2.__version__,
        threads=threads,
    )


if __name__ == "__main__":
    main()
