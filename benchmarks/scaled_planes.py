"""Compares the accuracy of frames scaled before their conversion to BGR with that of frames converted first.

``python -m benchmarks.scaled_planes BUNDLE --images DIR --annotations FILE`` encodes each labelled image as an H.264
key frame, decodes it with PyAV, and runs it both ways through the same session. `--height 1080` first enlarges the
images to a camera's size. Exit code 1 if AP differs by more than `MOST_AP` points.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from edgevision.contract.image import Frame, fit_frame
from edgevision.contract.pixels import FramePixels
from edgevision.contract.results import Detections, results_from_outputs
from edgevision.contract.session import Session, SessionOptions
from edgevision.engines.opening import open_session
from edgevision.evaluation.detection import (
    PROTOCOL_FLOOR,
    PROTOCOL_IOU,
    accuracy_from_detections,
    read_annotations,
)
from edgevision.sources.feeds.picture import Converters, PictureFrame
from edgevision.sources.image_files import read_image
from edgevision.storage import atomic

MOST_AP = 0.1
QUALITY = "20"
"""CRF of x264."""


def as_video_frame(image: Frame) -> av.VideoFrame:
    """The image after encoding and decoding; its sides are cut to even numbers."""
    height, width = (side // 2 * 2 for side in image.shape[:2])
    encoder: Any = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base = Fraction(1, 25)
    encoder.options = {"preset": "veryfast", "tune": "zerolatency", "crf": QUALITY, "threads": "1"}
    decoder: Any = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image[:height, :width]), "bgr24")
    packets = [*encoder.encode(frame), *encoder.encode(None)]
    decoded: list[av.VideoFrame] = [
        picture for packet in [*packets, None] for picture in decoder.decode(packet)
    ]
    return decoded[0]


def enlarged(image: Frame, height: int | None) -> Frame:
    """The image at that height; None: unchanged."""
    if height is None:
        return image
    width = round(image.shape[1] * height / image.shape[0])
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def detect(session: Session, frame: Frame | FramePixels, scale: float) -> Detections:
    """Detections in pixels of the image before it was enlarged by `scale`."""
    batch, transform = fit_frame(frame, session.spec.frames)
    (result,) = results_from_outputs(session.spec, session.infer(batch[None]), [transform], threshold=0.0)
    assert isinstance(result, Detections)
    return Detections(result.boxes / np.float32(scale), result.scores, result.labels, result.classes)


def both_ways(
    session: Session, files: dict[int, Path], height: int | None
) -> Iterator[tuple[int, Detections, Detections, float]]:
    """By image: detections converted first, scaled first, and the mean difference of their pixels in levels."""
    for key, file in files.items():
        image = read_image(file)
        large = enlarged(image, height)
        picture = as_video_frame(large)
        scale = large.shape[0] / image.shape[0]
        whole, scaled = (PictureFrame(picture, Converters()) for _ in range(2))
        first = fit_frame(whole.image_bgr, session.spec.frames)[0]
        second = fit_frame(scaled, session.spec.frames)[0]
        difference = float(np.abs(first.astype(np.int16) - second).mean())
        yield key, detect(session, whole.image_bgr, scale), detect(session, scaled, scale), difference


def main() -> int:
    """Measure, print the figures, and check the difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--height", type=int, help="enlarge the images to this height")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--record", type=Path, help="write the figures to this JSON file")
    options = parser.parse_args()
    measuring = SessionOptions(iou_threshold=PROTOCOL_IOU, score_floor=PROTOCOL_FLOOR)
    with open_session(options.bundle, engine="onnxruntime", options=measuring) as session:
        labelled = read_annotations(
            options.annotations, options.images, session.spec.classes, limit=options.limit
        )
        found = list(both_ways(session, dict(labelled.files), options.height))
        name = f"{session.spec.name} {session.spec.frames.size_wh[0]} px"
    before = accuracy_from_detections(labelled, [(key, first) for key, first, _, _ in found])
    after = accuracy_from_detections(labelled, [(key, second) for key, _, second, _ in found])
    mean = float(np.mean([difference for *_, difference in found]))
    print(f"{name}, {len(found)} images, height {options.height or 'unchanged'}")
    print(f"converted first: AP {before.ap:.2f}, AP50 {before.ap50:.2f}")
    print(f"scaled first:    AP {after.ap:.2f}, AP50 {after.ap50:.2f}")
    print(f"mean difference of the network's pixels: {mean:.2f} of 255 levels")
    holds = abs(after.ap - before.ap) <= MOST_AP
    print(f"{'ok   ' if holds else 'FAILS'} AP differs by {after.ap - before.ap:+.3f}, limit {MOST_AP}")
    if options.record is not None:
        record = {
            "model": name,
            "images": len(found),
            "height": options.height,
            "ap": [before.ap, after.ap],
            "ap50": [before.ap50, after.ap50],
            "mean_difference": mean,
        }
        atomic.write_file(options.record, (json.dumps(record, indent=1) + "\n").encode())
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
