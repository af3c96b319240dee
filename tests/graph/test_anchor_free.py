"""The anchor-free head of raw maps: its formulas by hand, and maps that it refuses."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgevision.contract.spec import NmsSpec
from edgevision.errors import GraphError
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.heads import AnchorFreeHead, NetworkOutput


def test_anchor_free_by_hand() -> None:
    """One cell of the second map, two bins: a distance is the probability of bin 1, in strides from the centre."""
    head = AnchorFreeHead((8, 16), 2, 2)
    boxes_raw = [np.zeros((8, 4, 8)), np.zeros((8, 2, 4))]
    classes = [np.full((2, 4, 8), -20.0), np.full((2, 2, 4), -20.0)]
    shares = np.array([0.25, 0.5, 0.75, 0.9])  # left, top, right, bottom
    boxes_raw[1][1::2, 1, 3] = np.log(shares / (1 - shares))
    classes[1][:, 1, 3] = np.log([0.8 / 0.2, 0.3 / 0.7])
    boxes, scores = head.plain([*boxes_raw, *classes])
    best = int(scores[:, 0].argmax())
    assert best == 32 + 7
    assert np.allclose(scores[best], [0.8, 0.3])
    assert np.allclose(
        boxes[best], [(3.5 - 0.25) * 16, (1.5 - 0.5) * 16, (3.5 + 0.75) * 16, (1.5 + 0.9) * 16]
    )


@pytest.mark.parametrize(
    ("shapes", "match"),
    [
        ([(None, 64, 4, 8)], "are 4 outputs; received map0"),
        (
            [(None, 64, 4, 8), (None, 64, 2, 4), (None, 3, 4, 8), (None, 4, 2, 4)],
            r"\[B, 4, h, w\]; received map2",
        ),
        ([(None, 64, 4, None), *[(None, 64, 2, 4)] * 3], r"\[B, 64, h, w\]; received map0"),
    ],
)
def test_anchor_free_maps_that_do_not_fit_are_refused(
    shapes: list[tuple[int | None, ...]], match: str
) -> None:
    outputs = [NetworkOutput(f"map{i}", "float32", shape) for i, shape in enumerate(shapes)]
    with pytest.raises(GraphError, match=match):
        AnchorFreeHead((8, 16), 4, 16).candidates(
            GraphBuilder(onnx.GraphProto(), "post/"), outputs, NmsSpec()
        )
