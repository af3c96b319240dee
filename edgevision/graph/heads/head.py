"""What every detection head offers, and the steps that they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edgevision.graph.builder import GraphBuilder, ints
from edgevision.graph.nms import Candidates
from edgevision.spec import NmsSpec


@dataclass(frozen=True, slots=True)
class NetworkOutput:
    """An output of a bare network: its name and shape, None where a length is not fixed."""

    name: str
    dtype: str
    """As numpy names it."""
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} [{', '.join('?' if n is None else str(n) for n in self.shape)}]"


class DetectionHead(Protocol):
    """Turns raw outputs into candidates."""

    @property
    def class_count(self) -> int:
        """Number of classes that labels index."""

    def candidates(self, b: GraphBuilder, outputs: Sequence[NetworkOutput], nms: NmsSpec) -> Candidates:
        """Append nodes that give up to `nms.candidates` candidates; raises `GraphError` for other outputs."""


def best_pairs(b: GraphBuilder, boxes: str, scores: str, rows: int, classes: int, limit: int) -> Candidates:
    """The best `limit` box-class pairs of boxes ``[B,rows,4]`` with scores ``[B,rows,classes]``.

    One class for each box would be cheaper and costs half a point of AP.
    """
    count = min(limit, rows * classes)
    flat = b.op("Reshape", scores, ints(0, rows * classes))
    pair_scores, pair = b.ops("TopK", [flat, ints(count)], 2, axis=1)
    row = b.op("Div", pair, np.int64(classes))
    label = b.op("Cast", b.op("Sub", pair, b.op("Mul", row, np.int64(classes))), to=6)
    return Candidates(take_rows(b, boxes, row), pair_scores, label, count)


def take_rows(b: GraphBuilder, values: str, index: str) -> str:
    """Rows ``[B,M,D]`` of values ``[B,N,D]`` by index ``[B,M]``."""
    return b.op("GatherND", values, b.op("Unsqueeze", index, ints(2)), batch_dims=1)


def corners(b: GraphBuilder, centre: str, half_size: str) -> str:
    """Boxes ``[B,N,4]`` xyxy from centres and half sizes, each ``[B,N,2]``."""
    return b.op("Concat", b.op("Sub", centre, half_size), b.op("Add", centre, half_size), axis=2)
