"""Share of one detector's objects in a video that another detector also finds.

    python benchmarks/training/agreement.py REFERENCE_BUNDLE BUNDLE VIDEO [--class person] [--every 5]

Counts the reference's boxes of the class with at least `--reference-score`, and how many of them match a box of the
other detector: same frame, same class, at least `--score`, IoU of at least 0.5, one-to-one.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from edgevision.contract.boxes import iou_matrix
from edgevision.contract.results import Detections
from edgevision.contract.session import Session
from edgevision.engines.opening import open_session

IOU = 0.5


def frames(video: Path, every: int) -> Iterator[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    """Each `every`-th frame."""
    capture = cv2.VideoCapture(str(video))
    if not capture.isOpened():
        raise SystemExit(f"{video} cannot be opened as a video")
    number = 0
    while True:
        good, frame = capture.read()
        if not good:
            break
        if number % every == 0:
            yield np.asarray(frame, np.uint8)
        number += 1
    capture.release()


def found(
    session: Session, frame: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], name: str, score: float
) -> Detections:
    """Boxes of one class, best first."""
    (result,) = session([frame], threshold=score)
    assert isinstance(result, Detections), "a detector returns boxes"
    return result[result.labels == session.spec.classes.index(name)]


def matches(reference: Detections, other: Detections) -> int:
    """Number of matched boxes of the reference; boxes of the other detector match in order of score."""
    overlaps = iou_matrix(reference.boxes, other.boxes)
    free = np.ones(len(reference), np.bool_)
    for column in range(len(other)):
        candidates = np.where(free, overlaps[:, column], 0)
        if len(candidates) and candidates.max() >= IOU:
            free[int(candidates.argmax())] = False
    return int((~free).sum())


def main() -> None:
    """Print the counts and the share."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("reference", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("video", type=Path)
    parser.add_argument("--class", dest="name", default="person")
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument("--reference-score", type=float, default=0.4)
    parser.add_argument("--score", type=float, default=0.25)
    options = parser.parse_args()
    wanted = shared = extra = count = 0
    with open_session(options.reference) as reference, open_session(options.bundle) as other:
        for frame in frames(options.video, options.every):
            theirs = found(reference, frame, options.name, options.reference_score)
            ours = found(other, frame, options.name, options.score)
            matched = matches(theirs, ours)
            wanted, shared, count = wanted + len(theirs), shared + matched, count + 1
            extra += len(ours) - matched
        print(f"{options.video.name}: every {options.every}th frame, {count} frames, class {options.name}")
        print(f"{reference.spec.name} (score {options.reference_score:g} and more): {wanted} boxes")
        print(
            f"{other.spec.name} (score {options.score:g} and more): finds {shared} of them,"
            f" {100 * shared / max(wanted, 1):.1f} %; {extra} boxes without a match"
        )


if __name__ == "__main__":
    main()
