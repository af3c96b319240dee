"""YOLOv5's `detect.py`, unchanged, as a user starts it; a result is a line that it logs for a frame.

Detections of images come from the text files that it writes with `--save-txt --save-conf`.
"""

from __future__ import annotations

import logging
import runpy
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2

from benchmarks.peers.runners.job import Job, Meter, Row, read_job


class Lines(logging.Handler):
    """Counts the lines of frames; raises `SystemExit` after the last frame to measure."""

    def __init__(self, meter: Meter) -> None:
        super().__init__()
        self._meter = meter

    def emit(self, record: logging.LogRecord) -> None:
        """Note a line such as `video 1/1 (3/795) street.avi: 640x640 2 persons, 30.1ms`."""
        if record.getMessage().startswith(("video ", "image ")) and self._meter.add(0):
            raise SystemExit


def run(job: Job, meter: Meter, folder: Path) -> None:
    """Run the program; its results are written to `folder`."""
    assert job.program is not None
    options = {
        "weights": job.model,
        "source": job.source,
        "conf-thres": job.confidence,
        "iou-thres": job.iou,
        "max-det": job.most,
        "project": folder,
        "name": "run",
    }
    program = job.program / "detect.py"
    sys.argv = [
        str(program),
        *(word for name, value in options.items() for word in (f"--{name}", str(value))),
    ]
    sys.argv += ["--nosave", *(("--save-txt", "--save-conf") if job.images else ())]
    sys.path.insert(0, str(job.program))  # as `python detect.py` does
    for name in ("yolov5", "ultralytics"):
        logging.getLogger(name).addHandler(Lines(meter))
    try:
        runpy.run_path(str(program), run_name="__main__")
    except SystemExit as ended:
        if ended.code not in (None, 0):
            raise


def read_rows(job: Job, folder: Path) -> dict[str, list[Row]]:
    """Boxes by image: its lines are class, centre, width and height as shares of the image, and confidence."""
    found: dict[str, list[Row]] = {}
    for file in job.files():
        image = cv2.imread(file)
        assert image is not None
        height, width = image.shape[:2]
        lines = folder / "run" / "labels" / f"{Path(file).stem}.txt"
        rows = lines.read_text().splitlines() if lines.exists() else []
        found[file] = []
        for row in rows:
            label, x, y, w, h, score = map(float, row.split())
            box = ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
            found[file].append((*box, score, int(label)))
    return found


def main() -> None:
    """Measure."""
    job = read_job()
    meter = Meter(job)
    with tempfile.TemporaryDirectory() as folder:
        run(job, meter, Path(folder))
        if job.images:
            meter.found = read_rows(job, Path(folder))
            meter.detections = sum(len(rows) for rows in meter.found.values())
    torch: Any = sys.modules.get("torch")  # imported by the program
    threads = "" if torch is None else f", {torch.get_num_threads()} (torch)"
    meter.print(
        engine="ONNX Runtime" if job.model.suffix == ".onnx" else "OpenVINO",
        torch=None if torch is None else torch.__version__,
        opencv=cv2.__version__,
        threads=f"{cv2.getNumThreads()} (OpenCV){threads}, the engine's default",
    )


if __name__ == "__main__":
    main()
