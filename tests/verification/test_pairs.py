"""The local check of NMS accepts greedy NMS and nothing else, except decisions within the tolerance."""

from __future__ import annotations

import numpy as np
import pytest

from edgevision.bundle.candidates import boxes_in_frame
from edgevision.contract.nms import greedy_nms
from edgevision.contract.rotated import prob_iou_matrix
from edgevision.contract.transform import FrameTransform
from edgevision.verification.pairs import (
    NmsFaults,
    NmsRule,
    Pairs,
    Slack,
    box_differences,
    nms_faults,
    partners,
    score_differences,
)

EXACT = Slack(1e-9, 1e-9, 1.0, 1e-9)
ROWS = 60
RULE = NmsRule(0.5, 0.1, ROWS)


def crowd(seed: int, count: int = 60, classes: int = 2) -> Pairs:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 30, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 30, (count, 2))], 1)
    order = np.sort(rng.uniform(0.01, 1, count))[::-1]
    return Pairs(boxes, order, rng.integers(0, classes, count))


def kept(candidates: Pairs, threshold: float = 0.5) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    rows = greedy_nms(candidates.boxes, candidates.scores, candidates.labels, threshold)
    return np.asarray(rows[candidates.scores[rows] >= RULE.score_floor][:ROWS])


def faults(found: Pairs, candidates: Pairs, slack: Slack = EXACT, rule: NmsRule = RULE) -> NmsFaults:
    source = partners(found, candidates, slack)
    present = partners(candidates, found, slack).equal(slack)
    certain = np.ones(len(candidates), np.bool_)
    return nms_faults(found, source, candidates, certain, rule, slack, present)


@pytest.mark.parametrize("seed", range(20))
def test_greedy_nms_passes_and_every_change_of_it_is_seen(seed: int) -> None:
    candidates = crowd(seed)
    rows = kept(candidates)
    assert faults(candidates[rows], candidates) == NmsFaults(0, 0)
    for gone in range(len(rows)):
        assert faults(candidates[np.delete(rows, gone)], candidates) != NmsFaults(0, 0)
    others = [row for row in range(len(candidates)) if row not in rows and candidates.scores[row] >= 0.1]
    for more in others[:10]:
        assert faults(candidates[np.sort([*rows, more])], candidates).duplicates > 0


@pytest.mark.parametrize("threshold", [0.3, 0.45, 0.55, 0.7])
def test_another_threshold_is_seen(threshold: float) -> None:
    seen = [faults(c[kept(c, threshold)], c) != NmsFaults(0, 0) for c in map(crowd, range(10))]
    assert sum(seen) >= 8


def test_classes_are_apart() -> None:
    candidates = crowd(3)
    together = Pairs(candidates.boxes, candidates.scores, np.zeros(len(candidates), np.int64))
    assert faults(candidates[kept(together)], candidates).missing > 0


def test_either_decision_at_the_threshold_is_right() -> None:
    """Two boxes of an IoU of 0.5 up to rounding: one list has the second one, one has not."""
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5.000001], [0, 2.5, 10, 5]], np.float64)
    candidates = Pairs(boxes, np.array([0.9, 0.8, 0.7]), np.zeros(3, np.int64))
    slack = Slack(1e-3, 1e-3, 1.0, 1e-5)
    assert faults(candidates[np.array([0, 2])], candidates, slack) == NmsFaults(0, 0)
    assert faults(candidates[np.array([0, 1])], candidates, slack) == NmsFaults(0, 0)
    assert faults(candidates[np.array([0, 1])], candidates) == NmsFaults(1, 1)


def test_a_full_list_may_end_at_any_of_equal_scores() -> None:
    boxes = np.arange(80)[:, None] * 20 + np.array([0.0, 0, 10, 10])
    candidates = Pairs(boxes, np.full(80, 0.5), np.zeros(80, np.int64))
    assert faults(candidates[np.arange(5, 65)], candidates) == NmsFaults(0, 0)
    assert faults(candidates[np.arange(5, 64)], candidates).missing > 0


def test_a_network_without_nms_keeps_everything() -> None:
    candidates = crowd(1, 20)
    rule = NmsRule(1.0, 0.1, ROWS)
    found = candidates[candidates.scores >= 0.1]
    assert faults(found, candidates, rule=rule) == NmsFaults(0, 0)
    assert faults(found[np.arange(len(found) - 1)], candidates, rule=rule) == NmsFaults(0, 1)


def test_an_oriented_box_that_is_turned_by_a_quarter_is_the_same_box() -> None:
    box = np.array([[50, 40, 30, 10, 0.3]])
    same = np.array([[50, 40, 10, 30, 0.3 + np.pi / 2]])
    assert box_differences(same, box, 1.0) == pytest.approx([0], abs=1e-12)
    along = box + np.array([np.cos(0.3) * 3, np.sin(0.3) * 3, 0, 0, 0])
    across = box + np.array([-np.sin(0.3) * 3, np.cos(0.3) * 3, 0, 0, 0])
    assert box_differences(along, box, 1.0) == pytest.approx([3 / 30])
    assert box_differences(across, box, 1.0) == pytest.approx([3 / 10])
    assert box_differences(box + np.array([0, 0, 0, 0, 0.1]), box, 1.0) == pytest.approx([0.15], abs=0.02)


@pytest.mark.parametrize("seed", range(5))
def test_greedy_nms_of_oriented_boxes_passes_and_every_change_of_it_is_seen(seed: int) -> None:
    random = np.random.default_rng(seed)
    boxes = np.concatenate(
        [random.uniform(0, 50, (80, 2)), random.uniform(8, 40, (80, 2)), random.uniform(0, 1.5, (80, 1))], 1
    )
    candidates = Pairs(boxes, np.sort(random.uniform(0.1, 1, 80))[::-1], random.integers(0, 2, 80))
    over = prob_iou_matrix(boxes, boxes) > RULE.iou_threshold
    rows: list[int] = []
    for row in range(len(boxes)):
        if not any(over[row, k] and candidates.labels[row] == candidates.labels[k] for k in rows):
            rows.append(row)
    removed = [row for row in range(len(boxes)) if row not in rows]
    assert len(rows) < ROWS
    assert len(removed) > 5
    assert faults(candidates[np.array(rows)], candidates) == NmsFaults(0, 0)
    for gone in range(len(rows)):
        assert faults(candidates[np.delete(rows, gone)], candidates).missing > 0
    for more in removed:
        assert faults(candidates[np.sort([*rows, more])], candidates).duplicates > 0


def test_partners_have_the_label_and_may_be_clipped() -> None:
    one = Pairs(
        np.array([[0, 0, 10, 10], [0, 0, 10, 10]], np.float64), np.array([0.5, 0.5]), np.array([0, 2])
    )
    other = Pairs(np.array([[-5, 0, 10, 10]], np.float64), np.array([0.5]), np.array([0]))
    slack = Slack(1e-3, 1e-3, 1.0, 0.0)
    assert partners(one, other, slack).equal(slack).tolist() == [False, False]
    found = partners(one, other, slack, (100, 100))
    assert found.equal(slack).tolist() == [True, False]
    assert found.index.tolist() == [0, -1]


def test_weak_scores_are_compared_in_proportion() -> None:
    left, right = np.array([0.8, 0.025, 1e-6]), np.array([0.81, 0.026, 2e-6])
    assert score_differences(left, right) == pytest.approx([0.01, 0.01, 0], rel=0.1)


def test_oriented_boxes_of_a_letterbox_with_unequal_scales() -> None:
    """A frame of 300x170 in 192x128 is scaled to 192x109: its two scales differ by a quarter of a percent."""
    placement = FrameTransform((300, 170), (192 / 300, 109 / 170), (0.0, 9.0))
    rng = np.random.default_rng(0)
    boxes = np.hstack([rng.uniform(5, 120, (50, 4)), rng.uniform(-1.5, 1.5, (50, 1))])
    found = boxes_in_frame(boxes, np.array([placement.scale_xy, placement.offset_xy]))
    np.testing.assert_allclose(found, placement.frame_from_input_oriented(boxes), rtol=1e-6, atol=1e-5)
