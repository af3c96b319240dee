"""The anchor-free head of raw maps: its formulas by hand, and maps that it refuses."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgevision.contract.spec import NmsSpec
from edgevision.errors import GraphError
from edgevision.graph.builder import GraphBuilder
from edgevision.graph.heads import AnchorFreeHead, AnchorFreeObbHead, AnchorFreePoseHead, NetworkOutput
from edgevision.graph.heads.head import Array


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


def _one_cell(third: list[float]) -> list[Array]:
    """Maps of one bin whose best box is row 1, column 3 of stride 16: distances 1, 0.5, 2, 1.5, class 0."""
    maps = [np.full((count, *hw), -20.0) for count in (4, 1, len(third)) for hw in ((4, 8), (2, 4))]
    maps[1][:, 1, 3], maps[3][0, 1, 3], maps[5][:, 1, 3] = (1, 0.5, 2, 1.5), 0, third
    return maps


def test_keypoints_by_hand() -> None:
    """YOLOv8: (2 v + cell) * stride; YOLO26: (v + cell + 1/2) * stride."""
    maps = _one_cell([0.25, -0.5, 0.0, 1.0, 2.0, np.log(3)])
    head = AnchorFreePoseHead((8, 16), 1, 1, keypoint_shape=(2, 3))
    assert np.allclose(head.plain_keypoints(maps)[39], [[3.5 * 16, 0, 0.5], [5 * 16, 5 * 16, 0.75]])
    head = AnchorFreePoseHead((8, 16), 1, 1, keypoint_shape=(3, 2), centred=True)
    points = head.plain_keypoints(maps)[39]
    assert np.allclose(points[:2], [[3.75 * 16, 16, 1], [3.5 * 16, 2.5 * 16, 1]])
    assert np.allclose(head.plain(maps)[0][39], [2.5 * 16, 16, 5.5 * 16, 3 * 16])


def test_oriented_boxes_by_hand() -> None:
    """The centre is half a stride along both axes of the box from the cell's; a quarter turn makes that (-1/2, 1/2)."""
    head = AnchorFreeObbHead((8, 16), 1, 1, logit=False)
    boxes, scores = head.plain(_one_cell([np.pi / 2]))
    assert np.allclose(boxes[39], [3 * 16, 2 * 16, 3 * 16, 2 * 16, np.pi / 2])
    assert scores[39] == 0.5
    boxes, _ = AnchorFreeObbHead((8, 16), 1, 1).plain(_one_cell([np.log(3)]))  # 3/4 - 1/4 of pi
    assert np.allclose(boxes[39], [3 * 16, 2 * 16, 3 * 16, 2 * 16, np.pi / 2])


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
