"""Decodes YOLOv5's raw maps in plain PyTorch: the reference for the graph's decoding."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def decode(
    maps: Sequence[torch.Tensor], anchors_px: torch.Tensor, strides: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes ``[B,N,4]`` xyxy in input pixels, and their scores ``[B,N,C]``: objectness times class, in 0..1.

    `maps` are ``[B,A*(5+C),h,w]`` of logits, `anchors_px` ``[scales,A,2]``. Boxes are ordered by scale,
    anchor, row, column. With s the logistic function of the four box logits, a cell (x, y) holds the centre
    (2s - 0.5 + (x, y)) * stride and the size (2s)^2 * anchor.
    """
    boxes, scores = [], []
    for raw, anchors, stride in zip(maps, anchors_px, strides, strict=True):
        batch, channels, height, width = raw.shape
        values = channels // len(anchors)
        logits = raw.view(batch, len(anchors), values, height, width).permute(0, 1, 3, 4, 2)
        s = logits.sigmoid()
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        cells = torch.stack((columns, rows), -1).to(s)
        centres = (2 * s[..., :2] - 0.5 + cells) * stride
        halves = (2 * s[..., 2:4]) ** 2 * anchors.view(-1, 1, 1, 2) / 2
        boxes.append(torch.cat((centres - halves, centres + halves), -1).reshape(batch, -1, 4))
        scores.append((s[..., 4:5] * s[..., 5:]).reshape(batch, -1, values - 5))
    return torch.cat(boxes, 1), torch.cat(scores, 1)


def without_coefficients(
    maps: Sequence[torch.Tensor], anchors_each: int, mask_count: int
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """A segmentation model's maps as a detector's, and the coefficients ``[B,N,mask_count]`` in the order of boxes."""
    plain, coefficients = [], []
    for raw in maps:
        batch, channels, height, width = raw.shape
        values = raw.view(batch, anchors_each, channels // anchors_each, height, width)
        logits, mixing = torch.split(values, [values.shape[2] - mask_count, mask_count], 2)
        plain.append(logits.reshape(batch, -1, height, width))
        coefficients.append(mixing.permute(0, 1, 3, 4, 2).reshape(batch, -1, mask_count))
    return plain, torch.cat(coefficients, 1)
