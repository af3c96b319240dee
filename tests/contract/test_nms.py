"""The reference NMS in numpy."""

from __future__ import annotations

import numpy as np
import pytest

from edgevision.contract.nms import block_edges, chain_depth, greedy_nms, steps_needed


def chain(links: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A row of boxes of which each overlaps just its neighbours by IoU 0.6, in the order of their scores."""
    left = np.arange(links + 1) * 25.0
    boxes = np.stack([left, np.zeros_like(left), left + 100, np.full_like(left, 50)], 1).astype(np.float32)
    return boxes, np.linspace(0.9, 0.1, links + 1).astype(np.float32), np.zeros(links + 1, np.int32)


def test_greedy_keeps_every_other_box_of_a_chain() -> None:
    boxes, scores, labels = chain(6)
    assert greedy_nms(boxes, scores, labels, 0.5).tolist() == [0, 2, 4, 6]


def test_greedy_nms_returns_boxes_in_order_of_score() -> None:
    boxes, scores, labels = chain(6)
    assert greedy_nms(boxes[::-1], scores[::-1], labels, 0.5).tolist() == [6, 4, 2, 0]


def test_greedy_of_nothing_is_nothing() -> None:
    empty = greedy_nms(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int32), 0.5)
    assert empty.shape == (0,)
    assert empty.dtype == np.int64


@pytest.mark.parametrize(
    ("first", "second", "label", "kept"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 0, 1),
        ((0, 0, 10, 10), (0, 0, 10, 10), 1, 2),
        # IoU of exactly one half does not exceed one half.
        ((0, 0, 10, 10), (0, 0, 10, 5), 0, 2),
        ((0, 0, 10, 10), (0, 0, 10, 5.01), 0, 1),
        # Boxes without area overlap nothing, themselves included.
        ((5, 5, 5, 5), (5, 5, 5, 5), 0, 2),
        ((0, 0, 10, 0), (0, 0, 10, 0), 0, 2),
        ((10, 10, 0, 0), (10, 10, 0, 0), 0, 2),
        # Apart in both directions: both sides of the "intersection" are negative.
        ((0, 0, 10, 10), (1000, 1000, 1010, 1010), 0, 2),
    ],
)
def test_pairs(first: tuple[float, ...], second: tuple[float, ...], label: int, kept: int) -> None:
    boxes = np.array([first, second], np.float32)
    labels = np.array([0, label], np.int32)
    assert len(greedy_nms(boxes, np.array([0.9, 0.8], np.float32), labels, 0.5)) == kept


def test_equal_scores_go_to_the_lower_index() -> None:
    boxes = np.zeros((3, 4), np.float32) + np.array([0, 0, 10, 10], np.float32)
    assert greedy_nms(boxes, np.full(3, 0.5, np.float32), np.zeros(3, np.int32), 0.5).tolist() == [0]


@pytest.mark.parametrize("links", [1, 2, 3, 8, 15])
def test_a_chain_needs_as_many_steps_as_it_has_links(links: int) -> None:
    assert chain_depth(*chain(links), 0.5) == links


def test_a_crowd_around_one_box_needs_one_step() -> None:
    boxes = np.zeros((50, 4), np.float32) + np.array([0, 0, 10, 10], np.float32)
    scores = np.linspace(0.9, 0.1, 50).astype(np.float32)
    assert chain_depth(boxes, scores, np.zeros(50, np.int32), 0.5) == 1


def test_blocks_cut_chains() -> None:
    # 16 boxes in blocks of four: the first of a later block is decided by the block before it.
    boxes, scores, labels = chain(15)
    assert steps_needed(boxes, scores, labels, 0.5, block=16) == 15
    assert steps_needed(boxes, scores, labels, 0.5, block=4) <= 3
    assert steps_needed(boxes, scores, labels, 0.5, block=1) == 1


def test_candidates_of_score_zero_hold_a_place_and_take_no_part() -> None:
    boxes, scores, labels = chain(9)
    scores[4:] = 0
    assert steps_needed(boxes, scores, labels, 0.5, block=10) == 3


@pytest.mark.parametrize(
    ("count", "block", "edges"),
    [(300, 300, (0, 300)), (1000, 300, (0, 250, 500, 750, 1000)), (10, 4, (0, 3, 6, 10)), (0, 4, (0, 0))],
)
def test_blocks_are_few_and_equal(count: int, block: int, edges: tuple[int, ...]) -> None:
    assert block_edges(count, block) == edges
