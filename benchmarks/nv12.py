"""Compares two bundles of one model: frames in BGR, and frames in nv12, the planes of video decoders.

``python -m benchmarks.nv12 BGR_BUNDLE NV12_BUNDLE --images DIR --annotations FILE`` encodes each labelled image as an
H.264 key frame, decodes it with PyAV, and runs it through both. With ``--heights 0 720 1080`` it does so for unchanged
images, and for images enlarged to these heights. Rounding alone changes AP: a paired bootstrap gives the interval of
each difference. Then it measures the CPU time of preparing and of inference, both layouts in turns, on one thread. Exit
code 1 if the mean difference of AP exceeds `MOST_AP` points.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.cocoeval import COCOeval

from benchmarks.scaled_planes import MOST_AP, as_video_frame, detect, enlarged
from edgevision.contract.image import fit_frame
from edgevision.contract.results import Detections
from edgevision.contract.session import Session, SessionOptions
from edgevision.device.facts import device_facts
from edgevision.engines.opening import open_session
from edgevision.errors import UsageError
from edgevision.evaluation.bootstrap import AveragePrecision, paired_drop
from edgevision.evaluation.detection import (
    PROTOCOL_FLOOR,
    PROTOCOL_IOU,
    LabelledImages,
    accuracy_from_detections,
    read_annotations,
    rows_for_coco,
)
from edgevision.sources.feeds.picture import Converters, PictureFrame
from edgevision.sources.image_files import read_image
from edgevision.storage import atomic
from edgevision.storage.codec import json_from_dataclass

TIMED_IMAGES = 8
ROUNDS = 10
LAYOUTS = ("bgr", "nv12")


def found_by_both(
    sessions: dict[str, Session], files: dict[int, Path], height: int | None
) -> dict[str, list[tuple[int, Detections]]]:
    """Detections of each image by layout, in pixels of the image file."""
    found: dict[str, list[tuple[int, Detections]]] = {layout: [] for layout in LAYOUTS}
    for key, file in files.items():
        image = read_image(file)
        large = enlarged(image, height)
        picture = as_video_frame(large)
        for layout in LAYOUTS:
            frame = PictureFrame(picture, Converters())
            found[layout].append((key, detect(sessions[layout], frame, large.shape[0] / image.shape[0])))
    return found


def cpu_ms(call: Callable[[], object]) -> float:
    """CPU time of a call, of all threads."""
    began_ns = time.process_time_ns()
    call()
    return (time.process_time_ns() - began_ns) / 1e6


def times_of(sessions: dict[str, Session], files: list[Path], height: int | None) -> dict[str, Any]:
    """Median CPU time in ms of preparing and of inference, and the median of the ratios of paired calls."""
    pictures = [as_video_frame(enlarged(read_image(file), height)) for file in files[:TIMED_IMAGES]]
    samples: dict[str, list[float]] = {
        f"{part} {layout}": [] for part in ("prepare", "infer") for layout in LAYOUTS
    }
    for number in range(ROUNDS + 1):
        for picture in pictures:
            for layout in LAYOUTS[:: 1 if number % 2 else -1]:
                session = sessions[layout]
                batch, frame = session.new_batch(1), PictureFrame(picture, Converters())
                prepared = cpu_ms(lambda: fit_frame(frame, session.spec.frames, out=batch[0]))  # noqa: B023  # called now
                inferred = cpu_ms(lambda: session.infer(batch))  # noqa: B023
                if number:  # the first round is warm-up
                    samples[f"prepare {layout}"].append(prepared)
                    samples[f"infer {layout}"].append(inferred)
    ratios = {
        part: statistics.median(np.array(samples[f"{part} nv12"]) / np.maximum(samples[f"{part} bgr"], 1e-3))
        for part in ("prepare", "infer")
    }
    return {
        "frame_wh": [pictures[0].width, pictures[0].height],
        "samples": len(samples["infer bgr"]),
        "median_ms": {name: round(statistics.median(values), 3) for name, values in samples.items()},
        "median_ratio_nv12_to_bgr": {part: round(float(ratio), 3) for part, ratio in ratios.items()},
    }


def open_both(bundles: dict[str, Path], engine: str, options: SessionOptions) -> dict[str, Session]:
    """A session for each layout; raises `UsageError` for bundles in the wrong order."""
    sessions = {}
    for layout, path in bundles.items():
        sessions[layout] = open_session(path, engine=engine, options=options)
        if sessions[layout].spec.frames.layout != layout:
            raise UsageError(f"{path} takes {sessions[layout].spec.frames.layout}; expected {layout}")
    return sessions


def scores_of(labelled: LabelledImages, found: list[tuple[int, Detections]]) -> AveragePrecision:
    """COCO's AP of all images, for the bootstrap."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(labelled.coco, labelled.coco.loadRes(rows_for_coco(labelled, found)), "bbox")
        evaluation.params.imgIds = list(labelled.image_ids)
        evaluation.params.catIds = labelled.known
        evaluation.params.areaRng = evaluation.params.areaRng[:1]
        evaluation.params.areaRngLbl = evaluation.params.areaRngLbl[:1]
        evaluation.evaluate()
    return AveragePrecision.of(evaluation, labelled.image_ids)


def accuracy_case(
    sessions: dict[str, Session], labelled: LabelledImages, height: int | None
) -> dict[str, Any]:
    """AP of both layouts for images of one height, and the interval of the difference; printed as well."""
    found = found_by_both(sessions, dict(labelled.files), height)
    accuracy = {layout: accuracy_from_detections(labelled, found[layout]) for layout in LAYOUTS}
    drop = paired_drop([scores_of(labelled, found["bgr"])], [scores_of(labelled, found["nv12"])])
    difference, low, high = accuracy["nv12"].ap - accuracy["bgr"].ap, -drop.high, -drop.low
    case = {
        "height": height,
        "ap": {layout: accuracy[layout].ap for layout in LAYOUTS},
        "ap50": {layout: accuracy[layout].ap50 for layout in LAYOUTS},
        "difference": difference,
        "interval_90": [low, high],
    }
    texts = [f"{layout} AP {accuracy[layout].ap:.2f} AP50 {accuracy[layout].ap50:.2f}" for layout in LAYOUTS]
    print(
        f"height {height or 'unchanged'}: {', '.join(texts)}; {difference:+.2f} ({low:+.2f} to {high:+.2f})",
        flush=True,
    )
    return case


def main() -> int:
    """Measure, print the figures, and check the difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bgr", type=Path)
    parser.add_argument("nv12", type=Path)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument(
        "--heights", type=int, nargs="+", default=[0], help="heights of the images; 0: unchanged"
    )
    parser.add_argument("--limit", type=int)
    parser.add_argument("--engine", default="onnxruntime")
    parser.add_argument("--record", type=Path, help="write the figures to this JSON file")
    options = parser.parse_args()
    bundles = {"bgr": options.bgr, "nv12": options.nv12}
    measuring = SessionOptions(iou_threshold=PROTOCOL_IOU, score_floor=PROTOCOL_FLOOR, threads=1, spin=False)
    sessions = open_both(bundles, options.engine, measuring)
    spec = sessions["bgr"].spec
    labelled = read_annotations(options.annotations, options.images, spec.classes, limit=options.limit)
    name = f"{spec.name} {spec.frames.size_wh[0]} px"
    print(f"{name}, {len(labelled.files)} images as H.264 frames, {options.engine}")
    heights = [height or None for height in options.heights]
    cases = [accuracy_case(sessions, labelled, height) for height in heights]
    mean = statistics.fmean(case["difference"] for case in cases)
    holds = abs(mean) <= MOST_AP
    print(
        f"{'ok   ' if holds else 'FAILS'} AP differs by {mean:+.3f} on average, limit {MOST_AP}", flush=True
    )
    files = list(dict(labelled.files).values())
    timed = [times_of(sessions, files, height) for height in heights]
    for times in timed:
        width, height = times["frame_wh"]
        ms, ratios = times["median_ms"], times["median_ratio_nv12_to_bgr"]
        print(
            f"{width}x{height}: prepare {ms['prepare bgr']:.2f} and {ms['prepare nv12']:.2f} ms of CPU,"
            f" infer {ms['infer bgr']:.2f} and {ms['infer nv12']:.2f};"
            f" in turns nv12 / bgr {ratios['prepare']:.2f} and {ratios['infer']:.2f}"
        )
    if options.record is not None:
        record = {
            "model": name,
            "engine": options.engine,
            "images": len(files),
            "accuracy": cases,
            "mean_difference": mean,
            "input_bytes": {
                layout: int(np.prod(sessions[layout].spec.frames.frame_shape)) for layout in LAYOUTS
            },
            "cpu_time": timed,
            "device": json_from_dataclass(device_facts()),
        }
        atomic.write_file(options.record, (json.dumps(record, indent=1) + "\n").encode())
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
