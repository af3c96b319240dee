"""The bootstrap and its metrics."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from edgevision.evaluation.bootstrap import AveragePrecision, MeanIou, TopOne, paired_drop


def test_equal_outputs_have_no_drop() -> None:
    scores = [TopOne([True, False, True, True])]
    drop = paired_drop(scores, scores)
    assert (drop.points, drop.low, drop.high) == (0.0, 0.0, 0.0)


def test_the_interval_of_a_drop_is_that_of_the_differing_images() -> None:
    rng = np.random.default_rng(1)
    right = rng.random(2000) < 0.8
    worse = right & (rng.random(2000) > 0.05)  # one right answer in twenty is lost
    drop = paired_drop([TopOne(list(right))], [TopOne(list(worse))])
    share = float((right & ~worse).mean())
    spread = 100 * np.sqrt(share * (1 - share) / 2000)
    assert drop.points == pytest.approx(100 * share)
    assert drop.high - drop.points == pytest.approx(1.645 * spread, rel=0.15)
    assert drop.points - drop.low == pytest.approx(1.645 * spread, rel=0.15)


def test_sets_count_by_their_images() -> None:
    good, bad = TopOne([True] * 30), TopOne([False] * 10)
    drop = paired_drop([good, TopOne([True] * 10)], [good, bad])
    assert drop.points == pytest.approx(25)
    assert paired_drop([good], [good], 0.5).sure == 1
    assert paired_drop([good], [TopOne([False] * 30)], 0.5).sure == 0
    assert drop.low == drop.high == pytest.approx(25)


def test_mean_iou_by_hand() -> None:
    confusions = np.array([[[8, 2, 0], [0, 10, 0], [0, 0, 0]], [[4, 0, 0], [6, 0, 0], [0, 0, 0]]])
    scores = MeanIou(confusions)
    # Class 0: 12 of 20 pixels that either has; class 1: 10 of 18; class 2 is nowhere labelled.
    assert scores.whole == pytest.approx(100 * (12 / 20 + 10 / 18) / 2)
    assert scores.values(np.array([[2, 0]]))[0] == pytest.approx(100 * (8 / 10 + 10 / 12) / 2)


def evaluated(seed: int, images: int) -> tuple[Any, list[int]]:
    """A COCOeval of random boxes over three classes, crowds among them."""
    rng = np.random.default_rng(seed)
    truths: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for image in range(1, images + 1):
        for _ in range(rng.integers(0, 6)):
            xywh = [*rng.uniform(0, 80, 2), *rng.uniform(5, 40, 2)]
            category, crowd = int(rng.integers(1, 4)), int(rng.random() < 0.1)
            truths.append(
                {
                    "id": len(truths) + 1,
                    "image_id": image,
                    "category_id": category,
                    "bbox": xywh,
                    "area": xywh[2] * xywh[3],
                    "iscrowd": crowd,
                }
            )
            for _ in range(2):
                moved = [float(v) for v in np.asarray(xywh) + rng.normal(0, 3, 4)]
                moved[2:] = [max(value, 1.0) for value in moved[2:]]
                score = float(rng.random())
                rows.append({"image_id": image, "category_id": category, "bbox": moved, "score": score})
    dataset: Any = {
        "info": {},
        "images": [{"id": image, "width": 120, "height": 120} for image in range(1, images + 1)],
        "categories": [{"id": label, "name": str(label)} for label in (1, 2, 3)],
        "annotations": truths,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = dataset
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(rows), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation, list(range(1, images + 1))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_average_precision_is_cocos(seed: int) -> None:
    evaluation, ids = evaluated(seed, 25)
    scores = AveragePrecision.of(evaluation, ids)
    assert scores.whole == pytest.approx(100 * evaluation.stats[0], abs=1e-6)


def test_a_drawn_image_counts_as_often_as_it_was_drawn() -> None:
    evaluation, ids = evaluated(3, 12)
    scores = AveragePrecision.of(evaluation, ids)
    once, twice = np.ones((1, 12), np.int64), np.full((1, 12), 2)
    assert scores.values(once)[0] == pytest.approx(scores.values(twice)[0])
    without = once.copy()
    without[0, 0] = 0
    assert scores.values(without)[0] != scores.values(once)[0]


def test_a_class_without_detections_scores_nothing() -> None:
    assert AveragePrecision([], 5).whole == 0
