"""Compares two bundles of one model: frames in BGR, and frames in nv12, the planes of video decoders.

``python -m benchmarks.nv12 BGR_BUNDLE NV12_BUNDLE --images DIR --annotations FILE`` encodes each labelled image as an
H.264 key frame, decodes it with PyAV, and runs it through both. `--height 1080` first enlarges the images to a camera's
size. Then it measures the CPU time of preparing and of inference, both layouts in turns, on one thread. Exit code 1 if
AP differs by more than `MOST_AP` points.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scaled_planes import MOST_AP, as_video_frame, detect, enlarged
from edgevision.contract.image import fit_frame
from edgevision.contract.results import Detections
from edgevision.contract.session import Session, SessionOptions
from edgevision.device.facts import device_facts
from edgevision.engines.opening import open_session
from edgevision.errors import UsageError
from edgevision.evaluation.detection import (
    PROTOCOL_FLOOR,
    PROTOCOL_IOU,
    accuracy_from_detections,
    read_annotations,
)
from edgevision.sources.feeds.picture import Converters, PictureFrame
from edgevision.sources.image_files import read_image
from edgevision.storage import atomic
from edgevision.storage.codec import json_from_dataclass

TIMED_IMAGES = 8
ROUNDS = 15
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


def main() -> int:
    """Measure, print the figures, and check the difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bgr", type=Path)
    parser.add_argument("nv12", type=Path)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--height", type=int, help="enlarge the images to this height")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--engine", default="onnxruntime")
    parser.add_argument("--record", type=Path, help="write the figures to this JSON file")
    options = parser.parse_args()
    bundles = {"bgr": options.bgr, "nv12": options.nv12}
    measuring = SessionOptions(iou_threshold=PROTOCOL_IOU, score_floor=PROTOCOL_FLOOR)
    sessions = open_both(bundles, options.engine, measuring)
    spec = sessions["bgr"].spec
    labelled = read_annotations(options.annotations, options.images, spec.classes, limit=options.limit)
    files = dict(labelled.files)
    found = found_by_both(sessions, files, options.height)
    accuracy = {layout: accuracy_from_detections(labelled, found[layout]) for layout in LAYOUTS}
    one_thread = SessionOptions(threads=1, spin=False)
    timed = times_of(open_both(bundles, options.engine, one_thread), list(files.values()), options.height)
    name = f"{spec.name} {spec.frames.size_wh[0]} px"
    print(
        f"{name}, {len(files)} images as H.264 frames, height {options.height or 'unchanged'}, {options.engine}"
    )
    for layout in LAYOUTS:
        ap = accuracy[layout]
        prepare, infer = (timed["median_ms"][f"{part} {layout}"] for part in ("prepare", "infer"))
        print(
            f"{layout:<5} AP {ap.ap:.2f}, AP50 {ap.ap50:.2f}; prepare {prepare:.2f}, infer {infer:.2f} ms of CPU"
        )
    ratios = timed["median_ratio_nv12_to_bgr"]
    print(f"nv12 to bgr, in turns: prepare {ratios['prepare']:.2f}, infer {ratios['infer']:.2f}")
    difference = accuracy["nv12"].ap - accuracy["bgr"].ap
    holds = abs(difference) <= MOST_AP
    print(f"{'ok   ' if holds else 'FAILS'} AP differs by {difference:+.3f}, limit {MOST_AP}")
    if options.record is not None:
        record = {
            "model": name,
            "engine": options.engine,
            "images": len(files),
            "height": options.height,
            "ap": {layout: accuracy[layout].ap for layout in LAYOUTS},
            "ap50": {layout: accuracy[layout].ap50 for layout in LAYOUTS},
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
