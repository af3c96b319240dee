"""Decodes the raw maps of anchor-free heads in plain PyTorch: the reference for the graph's decoding."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch


def decode(
    boxes: Sequence[torch.Tensor], classes: Sequence[torch.Tensor], strides: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes ``[B,N,4]`` xyxy in input pixels, and their scores ``[B,N,C]`` in 0..1, ordered by scale, row, column.

    `boxes` are ``[B,4*bins,h,w]``, `classes` logits ``[B,C,h,w]``, one for each stride. A distance is the mean of its
    distribution over the bins 0, 1, ... (arXiv 2006.04388, equation 6), in strides from the centre of the cell.
    """
    stride, centres, distances = _distances(boxes, strides)
    sides = torch.cat((centres - distances[..., :2], centres + distances[..., 2:]), -1)
    return sides * stride, rows_of(classes).sigmoid()


def decode_oriented(
    boxes: Sequence[torch.Tensor],
    classes: Sequence[torch.Tensor],
    angles: Sequence[torch.Tensor],
    strides: Sequence[int],
    *,
    logit: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Oriented boxes ``[B,N,5]`` x y w h in input pixels and angle in radians, and their scores, as `decode` does.

    `angles` are ``[B,1,h,w]``; with `logit`, an angle is (logistic(value) - 1/4) * pi. Distances are along the axes of
    the box, so its centre is the cell's plus half of their differences, rotated by the angle.
    """
    stride, centres, distances = _distances(boxes, strides)
    angle = rows_of(angles)
    if logit:
        angle = (angle.sigmoid() - 0.25) * math.pi
    before, after = distances[..., :2], distances[..., 2:]
    along, across = ((after - before) / 2).chunk(2, -1)
    cos, sin = angle.cos(), angle.sin()
    offset = torch.cat((along * cos - across * sin, along * sin + across * cos), -1)
    found = torch.cat(((centres + offset) * stride, (before + after) * stride, angle), -1)
    return found, rows_of(classes).sigmoid()


def decode_keypoints(
    maps: Sequence[torch.Tensor], strides: Sequence[int], shape: tuple[int, int], *, centred: bool
) -> torch.Tensor:
    """Keypoints ``[B,N,K,3]``: x and y in input pixels, and a confidence in 0..1, which is 1 if D is 2.

    `maps` are ``[B,K*D,h,w]`` with K and D of `shape`. x and y are in strides: from the cell's centre if `centred`,
    else half of the distance from its corner.
    """
    stride, centres = _cells(maps, strides)
    rows = rows_of(maps)
    points = rows.reshape(*rows.shape[:2], *shape)
    origin, stride = centres.unsqueeze(-2), stride.unsqueeze(-2)
    xy = (points[..., :2] + origin if centred else points[..., :2] * 2 + (origin - 0.5)) * stride
    confidence = points[..., 2:].sigmoid() if shape[1] == 3 else torch.ones_like(xy[..., :1])
    return torch.cat((xy, confidence), -1)


def _distances(
    boxes: Sequence[torch.Tensor], strides: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of each box its stride ``[N,1]``, the cell's centre ``[N,2]`` and the distances ``[B,N,4]``, in strides."""
    rows = rows_of(boxes)
    values = rows.reshape(*rows.shape[:2], 4, -1)
    bins = values.shape[-1]
    if bins > 1:
        values = (values.softmax(-1) * torch.arange(bins, dtype=values.dtype)).sum(-1, keepdim=True)
    return *_cells(boxes, strides), values.squeeze(-1)


def _cells(maps: Sequence[torch.Tensor], strides: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """The stride ``[N,1]`` and the centre x y ``[N,2]``, in strides, of each cell."""
    sizes, centres = [], []
    for map_, stride in zip(maps, strides, strict=True):
        height, width = map_.shape[2:]
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        centres.append(torch.stack((columns, rows), -1).reshape(-1, 2) + 0.5)
        sizes.append(torch.full((height * width, 1), stride))
    return torch.cat(sizes), torch.cat(centres)


def rows_of(maps: Sequence[torch.Tensor]) -> torch.Tensor:
    """Maps ``[B,V,h,w]`` as ``[B,N,V]``, in the order of `decode`'s boxes."""
    return torch.cat([map_.flatten(2) for map_ in maps], 2).transpose(1, 2)
