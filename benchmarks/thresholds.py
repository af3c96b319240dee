"""Does an operating point hold on other images, and how do the rules for choosing it compare?

``python benchmarks/thresholds.py BUNDLE --images DIR --annotations FILE.json``. The images are halved at random,
`--halvings` times: each half chooses thresholds, and the other one measures them. With `--video FILE` of a fixed
camera, detections that stay in one place for much of the video are counted apart from the others, at the bundle's
operating point and at each of `--at`. `--record FILE` writes all figures. Exit code 1 if the bundle's rule has less
precision than a threshold of 0.25, or loses more than 3 points of F1 against the rule of the best F1.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

import edgevision
from edgevision.bundle.folder import Bundle
from edgevision.cli.present import table
from edgevision.contract.boxes import iou_matrix
from edgevision.contract.results import Detections, reached
from edgevision.contract.session import Session
from edgevision.contract.thresholds import THRESHOLD, Threshold
from edgevision.engines.opening import open_session
from edgevision.evaluation.detection import detect_all, read_annotations
from edgevision.evaluation.operating_point import (
    MIN_BOXES,
    SLACK,
    ClassMatches,
    at_thresholds,
    choose_thresholds,
    match_detections,
)
from edgevision.sources.opening import open_source
from edgevision.storage import atomic
from edgevision.storage.codec import json_text

Rule = Callable[[Sequence[ClassMatches]], Mapping[str, float]]
FEW = 10
"""A lower minimum number of boxes, for comparison."""
STAY_IOU, STAY_SHARE = 0.6, 0.3
"""A place is one of the still objects if boxes of one class overlap it by this IoU in this share of the frames."""
LOOK = 0.1
"""Minimum confidence of the boxes by which still objects are found."""


def chosen(*, slack: float, min_boxes: int) -> Rule:
    """A rule that measures a threshold for each class."""

    def rule(matches: Sequence[ClassMatches]) -> Mapping[str, float]:
        found, _ = choose_thresholds(matches, slack=slack, min_boxes=min_boxes)
        return {one.name: one.threshold for one in found}

    return rule


RULES: dict[str, Rule] = {
    f"{THRESHOLD:g} for all": lambda matches: {one.name: THRESHOLD for one in matches},
    f"best F1, {FEW} boxes": chosen(slack=0, min_boxes=FEW),
    f"best F1, {MIN_BOXES} boxes": chosen(slack=0, min_boxes=MIN_BOXES),
    f"one standard error, {FEW} boxes": chosen(slack=SLACK, min_boxes=FEW),
    f"one standard error, {MIN_BOXES} boxes": chosen(slack=SLACK, min_boxes=MIN_BOXES),
}
OURS, BEST = f"one standard error, {MIN_BOXES} boxes", f"best F1, {MIN_BOXES} boxes"


def compare(matches: Sequence[ClassMatches], halvings: int) -> dict[str, dict[str, float]]:
    """Precision, recall and F1 of all classes together, and F1 of each class, in percent: means over the halves."""
    generator, images = np.random.default_rng(0), len(matches[0].boxes)
    figures: dict[str, dict[str, list[float]]] = {name: {} for name in RULES}
    for _ in range(halvings):
        half = np.zeros(images, bool)
        half[generator.permutation(images)[: images // 2]] = True
        parts = [[one.of_images(mask) for one in matches] for mask in (half, ~half)]
        for choosing, measuring in (parts, parts[::-1]):
            for name, rule in RULES.items():
                for each in at_thresholds(measuring, rule(choosing)):
                    kept = figures[name].setdefault(f"F1 of {each.name}", [])
                    kept += [] if each.f1 is None else [100 * each.f1]
                    if each.name == "all":
                        for what, value in (("precision", each.precision), ("recall", each.recall)):
                            figures[name].setdefault(what, []).append(100 * (value or 0.0))
    return {
        name: {what: round(float(np.mean(values)), 1) for what, values in found.items()}
        for name, found in figures.items()
    }


def still(session: Session, video: Path, every: int) -> list[tuple[Detections, npt.NDArray[np.bool_]]]:
    """The detections of every n-th frame, and which of them belong to still objects."""
    found: list[Detections] = []
    with open_source(video) as source:
        for frame in source:
            if frame.index % every == 0:
                (result,) = session([frame.image_bgr], threshold=LOOK)
                assert isinstance(result, Detections)
                found.append(result)
    kept = []
    for number, result in enumerate(found):
        frames = np.zeros(len(result), np.int64)
        for other in found:
            same = result.labels[:, None] == other.labels[None]
            frames += ((iou_matrix(result.boxes, other.boxes) >= STAY_IOU) & same).any(axis=1)
        kept.append((found[number], frames >= STAY_SHARE * len(found)))
    return kept


def counts(found: list[tuple[Detections, npt.NDArray[np.bool_]]], threshold: Threshold) -> dict[str, int]:
    """Number of detections by class, of still objects and of others."""
    total: dict[str, int] = {}
    for result, stays in found:
        kept = reached(threshold, result.scores, result.labels)
        for label, resting in zip(result.labels[kept].tolist(), stays[kept].tolist(), strict=True):
            name = f"{result.class_name(label)}, {'still' if resting else 'moving'}"
            total[name] = total.get(name, 0) + 1
    return dict(sorted(total.items()))


def main() -> None:
    """Measure, print, and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--halvings", type=int, default=25)
    parser.add_argument("--video", type=Path)
    parser.add_argument("--every", type=int, default=10, help="Use every n-th frame of the video.")
    parser.add_argument("--at", type=float, nargs="+", default=[THRESHOLD], help="Thresholds for the video.")
    parser.add_argument("--engine")
    parser.add_argument("--record", type=Path)
    arguments = parser.parse_args()
    bundle = Bundle.open(arguments.bundle)
    with open_session(arguments.bundle, engine=arguments.engine) as session:
        labelled = read_annotations(arguments.annotations, arguments.images, session.spec.classes)
        matches = match_detections(labelled, session.spec, detect_all(session, labelled))
        watched = still(session, arguments.video, arguments.every) if arguments.video else []
        ran, own = f"{session.spec.name}, {session.info.library}", session.threshold
    figures = compare(matches, arguments.halvings)
    columns = list(figures[OURS])
    print(f"{ran}: {len(labelled.files)} images, {2 * arguments.halvings} halves; percent")
    rows = [[name, *(f"{found[what]:.1f}" for what in columns)] for name, found in figures.items()]
    print("\n".join(table(["rule", *columns], rows)))
    levels: dict[str, Threshold] = {f"{value:g}": value for value in arguments.at} | {"operating point": own}
    video = {name: counts(watched, level) for name, level in levels.items()}
    if watched:
        print(f"{arguments.video.name}: {len(watched)} frames")
        names = sorted({name for found in video.values() for name in found})
        print(
            "\n".join(
                table(
                    ["detections", *video], [[n, *(str(f.get(n, 0)) for f in video.values())] for n in names]
                )
            )
        )
    if arguments.record:
        record = {
            "edgevision": edgevision.__version__,
            "model": ran,
            "graph_sha256": bundle.graph("float").file.sha256,
            "images": len(labelled.files),
            "halves": 2 * arguments.halvings,
            "percent": figures,
            "video": {"frames": len(watched), "detections": video} if watched else None,
        }
        atomic.write_file(arguments.record, json_text(record).encode())
    better = figures[OURS]["precision"] >= figures[f"{THRESHOLD:g} for all"]["precision"]
    close = figures[OURS]["F1 of all"] >= figures[BEST]["F1 of all"] - 3
    print(f"{'ok   ' if better else 'FAIL '} precision of the rule against {THRESHOLD:g} for all")
    print(f"{'ok   ' if close else 'FAIL '} F1 of the rule within 3 points of the best")
    sys.exit(0 if better and close else 1)


if __name__ == "__main__":
    main()
