"""The decoding's formulas by hand, and the reference NMS."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from edgevision.contract.spec import NmsSpec
from edgevision.models.detections import detections
from edgevision.models.yolov5.decode import decode


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def test_a_cell_is_decoded_by_the_formulas() -> None:
    # Scale 0: 3 x 2 cells of 8 px, scale 1: 1 x 1 cell of 16 px; 2 anchors, 3 classes, all far from any object.
    maps = [torch.full((1, 16, 2, 3), -20.0), torch.full((1, 16, 1, 1), -20.0)]
    # Anchor 1, row 1, column 2: centre (2 * 0.75 - 0.5 + 2, 2 * 0.5 - 0.5 + 1) * 8, size (2 * 0.5)^2, (2 * 0.25)^2.
    values = [0.75, 0.5, 0.5, 0.25, 0.8, 0.1, 0.5, 0.9]
    maps[0][0, 8:, 1, 2] = torch.tensor([_logit(value) for value in values])
    anchors = torch.tensor([[[10.0, 13.0], [16.0, 32.0]], [[30.0, 61.0], [62.0, 45.0]]])
    boxes, scores = decode(maps, anchors, (8, 16))
    assert boxes.shape == (1, 14, 4)
    assert scores.shape == (1, 14, 3)
    index = 6 + 1 * 3 + 2  # after the first anchor's 6 cells, row by row
    centre_x, centre_y, width, height = 3.0 * 8, 1.5 * 8, 16.0, 8.0
    expected = [centre_x - width / 2, centre_y - height / 2, centre_x + width / 2, centre_y + height / 2]
    assert boxes[0, index].tolist() == pytest.approx(expected, abs=1e-4)
    assert scores[0, index].tolist() == pytest.approx([0.08, 0.4, 0.72], abs=1e-6)
    assert float(scores[0].sum(1).topk(2).values[1]) < 1e-6


def test_rows_of_a_batch_are_decoded_alike() -> None:
    maps = [torch.randn(2, 21, 4, 4), torch.randn(2, 21, 2, 2)]
    anchors = torch.rand(2, 3, 2) * 50
    boxes, scores = decode(maps, anchors, (8, 16))
    for row in range(2):
        alone = decode([map_[row : row + 1] for map_ in maps], anchors, (8, 16))
        # The logistic function's vectorised and remaining elements may differ in their last bit.
        assert torch.allclose(alone[0][0], boxes[row], atol=1e-4)
        assert torch.allclose(alone[1][0], scores[row], atol=1e-6)


LOOSE = NmsSpec(candidates=100, max_detections=10, iou_threshold=0.5, score_floor=0.1)


def _answer(boxes: list[list[float]], scores: list[list[float]], nms: NmsSpec = LOOSE) -> list[list[float]]:
    """Kept (score, label, left edge)."""
    out = detections(torch.tensor([boxes]), torch.tensor([scores]), nms)
    assert [array.dtype for array in out] == [np.float32, np.float32, np.int32]
    assert [array.shape for array in out] == [(1, nms.max_detections, 4), *[(1, nms.max_detections)] * 2]
    kept = int((out[1][0] > 0).sum())
    assert not out[0][0, kept:].any()
    assert not out[2][0, kept:].any()
    return [[round(float(out[1][0, i]), 4), int(out[2][0, i]), float(out[0][0, i, 0])] for i in range(kept)]


BOXES = [[0.0, 0, 10, 10], [1.0, 0, 11, 10], [50.0, 0, 60, 10]]


def test_suppression_is_per_class() -> None:
    assert _answer(BOXES, [[0.9, 0.0], [0.8, 0.0], [0.7, 0.0]]) == [[0.9, 0, 0], [0.7, 0, 50]]
    assert _answer(BOXES, [[0.9, 0.0], [0.0, 0.8], [0.7, 0.0]]) == [[0.9, 0, 0], [0.8, 1, 1], [0.7, 0, 50]]


def test_every_class_of_a_box_is_a_candidate() -> None:
    assert _answer(BOXES[:1], [[0.3, 0.6]]) == [[0.6, 1, 0], [0.3, 0, 0]]


def test_floor_candidates_and_limit() -> None:
    scores = [[0.9, 0.05], [0.2, 0.1], [0.7, 0.0]]
    assert _answer(BOXES, scores, replace(LOOSE, iou_threshold=0.99)) == [
        [0.9, 0, 0],
        [0.7, 0, 50],
        [0.2, 0, 1],
        [0.1, 1, 1],
    ]
    assert _answer(BOXES, scores, replace(LOOSE, iou_threshold=0.99, candidates=3, max_detections=3))[-1] == [
        0.2,
        0,
        1,
    ]
    assert _answer(BOXES, scores, replace(LOOSE, max_detections=1)) == [[0.9, 0, 0]]
    # A suppressed candidate takes a place among the candidates.
    assert _answer(BOXES, scores, replace(LOOSE, candidates=2, max_detections=2)) == [
        [0.9, 0, 0],
        [0.7, 0, 50],
    ]


def test_nothing_found() -> None:
    assert _answer(BOXES, [[0.0, 0.0]] * 3, replace(LOOSE, score_floor=0.0)) == []


def test_three_thousand_candidates_take_well_under_a_second() -> None:
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(1, 25200, 2, generator=generator) * 600
    boxes = torch.cat([corner, corner + 20 + 80 * torch.rand(1, 25200, 2, generator=generator)], 2)
    scores = torch.rand(1, 25200, 80, generator=generator) ** 8
    started = time.process_time()
    detections(boxes, scores, NmsSpec(candidates=3000, iou_threshold=0.65))
    assert time.process_time() - started < 3, "the limit allows for a machine that is busy with other work"
