"""edgevision: the pipeline on a video, or the session on images."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import cv2

from benchmarks.peers.runners.job import Job, Meter, read_job
from edgevision.contract.results import Detections
from edgevision.contract.session import Session, SessionOptions
from edgevision.contract.spec import Precision
from edgevision.engines.opening import open_session
from edgevision.evaluation.running import run_all
from edgevision.pipeline.options import PipelineOptions
from edgevision.pipeline.pipeline import run_pipeline
from edgevision.sinks.frame_result import FrameResult
from edgevision.sources.opening import open_source


def run_video(job: Job, session: Session, meter: Meter) -> None:
    """Run the pipeline."""

    def note(done: FrameResult) -> None:
        meter.add(len(done.result.scores) if isinstance(done.result, Detections) else 0)

    options = PipelineOptions(limit=job.frames, threshold=job.confidence)
    run_pipeline(session, open_source(job.source), options=options, on_frame=note)


def run_images(job: Job, session: Session, meter: Meter) -> None:
    """Run every image."""
    for file, found in run_all(session, job.files(), Path, Detections, "detect", threshold=job.confidence):
        best = slice(0, job.most)  # sorted by score
        columns = (found.boxes[best].tolist(), found.scores[best].tolist(), found.labels[best].tolist())
        meter.add_rows(file, [(*box, score, label) for box, score, label in zip(*columns, strict=True)])


def main() -> None:
    """Measure."""
    job = read_job()
    options = SessionOptions(
        iou_threshold=job.iou,
        precision=cast(Precision | None, job.precision),
        score_floor=job.confidence if job.images else None,
    )
    meter = Meter(job)
    with open_session(job.model, options=options) as session:
        (run_images if job.images else run_video)(job, session, meter)
        meter.print(
            engine=session.info.library,
            precision=session.precision,
            selected=session.selection,
            threads="pipeline: one thread for each stage; OpenCV: 1; engine: every usable core",
            opencv=cv2.__version__,
        )


if __name__ == "__main__":
    main()
