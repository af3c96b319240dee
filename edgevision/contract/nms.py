"""NMS in numpy: the reference for every graph."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt

from edgevision.contract.boxes import Boxes, overlaps
from edgevision.contract.rotated import prob_iou_matrix

ScoreArray = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.integer[Any]]
Matrix = npt.NDArray[np.bool_]


def greedy_nms(
    boxes: Boxes, scores: ScoreArray, labels: Labels, iou_threshold: float
) -> npt.NDArray[np.int64]:
    """Indices of the boxes that greedy NMS keeps, highest score first.

    A box is removed if its IoU with a kept box of the same label and a higher score exceeds `iou_threshold`. Of equal
    scores, the lower index counts as the higher. An upright box without area overlaps nothing. Oriented boxes ``[N,5]``
    are compared by ProbIoU.
    """
    order = np.argsort(-scores, kind="stable")
    overlaps = _suppression_matrix(boxes[order], labels[order], iou_threshold)
    alive = np.ones(len(order), np.bool_)
    for row in range(len(order)):
        if alive[row]:
            alive &= ~overlaps[row]
    return order[alive].astype(np.int64)


def chain_depth(boxes: Boxes, scores: ScoreArray, labels: Labels, iou_threshold: float) -> int:
    """Steps of Cluster-NMS (arXiv 2005.03572) until the result equals greedy NMS; at least 1."""
    return steps_needed(boxes, scores, labels, iou_threshold, block=max(1, len(boxes)))


def steps_needed(
    boxes: Boxes, scores: ScoreArray, labels: Labels, iou_threshold: float, *, block: int
) -> int:
    """The minimum `NmsSpec.depth` of a graph with blocks of `block` candidates; at least 1.

    It is the maximum over the blocks. Pass all candidates of the graph, because their number determines the blocks.
    Candidates of score 0 occupy a position but take no part.
    """
    order = np.argsort(-scores, kind="stable")
    overlaps = _suppression_matrix(boxes[order], labels[order], iou_threshold)
    alive = scores[order] > 0
    kept = np.zeros(len(order), np.bool_)
    needed = 1
    edges = block_edges(len(order), block)
    for start, stop in itertools.pairwise(edges):
        available = alive[start:stop] & ~overlaps[:start, start:stop][kept[:start]].any(axis=0)
        inside = overlaps[start:stop, start:stop]
        keep, steps = available, 0
        while True:
            following = available & ~inside[keep].any(axis=0)
            if np.array_equal(following, keep):
                break
            keep, steps = following, steps + 1
        kept[start:stop] = keep
        needed = max(needed, steps)
    return needed


def block_edges(count: int, block: int) -> tuple[int, ...]:
    """Limits of the blocks: the fewest of at most `block` candidates, with equal sizes as far as possible."""
    blocks = max(1, -(-count // block))
    return tuple(count * i // blocks for i in range(blocks + 1))


def _suppression_matrix(boxes: Boxes, labels: Labels, iou_threshold: float) -> Matrix:
    """``[i,j]`` is true if box i, when kept, suppresses the later box j."""
    if boxes.shape[1] == 5:
        over = prob_iou_matrix(boxes, boxes) > iou_threshold
    else:
        intersection, union = overlaps(boxes, boxes)
        # Without a division, because the union of two boxes without area is 0.
        over = intersection > iou_threshold * union
    return np.triu(over & (labels[:, None] == labels), 1)
