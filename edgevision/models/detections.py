"""Selects final detections in PyTorch and numpy: the reference for the NMS of graphs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from edgevision.contract.nms import greedy_nms
from edgevision.contract.results import Outputs
from edgevision.contract.spec import NmsSpec


def detections(boxes: torch.Tensor, scores: torch.Tensor, nms: NmsSpec, *, suppress: bool = True) -> Outputs:
    """The graph contract's answer: ``boxes [B,K,4]``, sorted ``scores [B,K]``, ``labels [B,K]``, K = `max_detections`.

    `boxes` are ``[B,N,4]``, or ``[B,N,5]`` for oriented boxes, which NMS compares by ProbIoU; `scores` ``[B,N,C]``.

    Every class of a box is a separate candidate. The best `candidates` with a score of at least `score_floor` enter
    greedy NMS for each class; without `suppress` they are final. Unused rows are 0. Of equal scores, the earlier box
    ranks higher.
    """
    return detections_and_rows(boxes, scores, nms, suppress=suppress)[0]


def detections_and_rows(
    boxes: torch.Tensor, scores: torch.Tensor, nms: NmsSpec, *, suppress: bool = True
) -> tuple[Outputs, list[npt.NDArray[np.int64]]]:
    """The answer of `detections`, and for each image the indices of its boxes, without the unused rows."""
    count = nms.max_detections
    out_boxes = np.zeros((len(boxes), count, boxes.shape[2]), np.float32)
    out_scores = np.zeros((len(boxes), count), np.float32)
    out_labels = np.zeros((len(boxes), count), np.int32)
    rows: list[npt.NDArray[np.int64]] = []
    for row in range(len(boxes)):
        flat = scores[row].flatten()
        eligible = torch.nonzero((flat >= nms.score_floor) & (flat > 0)).flatten()
        best = flat[eligible].sort(descending=True, stable=True).indices[: nms.candidates]
        pairs = eligible[best]
        labels = (pairs % scores.shape[2]).to(torch.int32).numpy()
        pair_boxes = boxes[row, pairs // scores.shape[2]].numpy()
        pair_scores = flat[pairs].numpy()
        kept = np.arange(len(pairs))
        if suppress:
            kept = greedy_nms(pair_boxes, pair_scores, labels, nms.iou_threshold)
        kept = kept[:count]
        out_boxes[row, : len(kept)] = pair_boxes[kept]
        out_scores[row, : len(kept)] = pair_scores[kept]
        out_labels[row, : len(kept)] = labels[kept]
        rows.append((pairs // scores.shape[2]).numpy()[kept])
    return (out_boxes, out_scores, out_labels), rows


def values_of_rows(
    values: torch.Tensor, rows: list[npt.NDArray[np.int64]], count: int
) -> npt.NDArray[np.float32]:
    """Further values ``[B,N,...]`` of the boxes that `detections_and_rows` returns: ``[B,count,...]``, 0 if unused."""
    found = np.zeros((len(values), count, *values.shape[2:]), np.float32)
    for place, row in enumerate(rows):
        found[place, : len(row)] = values[place, row].numpy()
    return found
