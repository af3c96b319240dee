"""Matching and loss of the YOLOv5 head, against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from edgevision.train.tasks.box_validation import decode_maps
from edgevision.train.tasks.yolo_loss import LossWeights, Targets, YoloLoss, complete_iou, match

ANCHORS = (((8.0, 8.0), (16.0, 16.0)), ((40.0, 40.0), (80.0, 40.0)))
STRIDES = (8, 16)


def targets(*rows: tuple[int, int, float, float, float, float]) -> Targets:
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
    return Targets(table[:, 0].long(), table[:, 1].long(), table[:, 2:])


def empty_maps(batch: int = 1, size: int = 64, classes: int = 3) -> list[torch.Tensor]:
    return [torch.zeros(batch, 2 * (5 + classes), size // stride, size // stride) for stride in STRIDES]


def test_no_boxes_match_nothing() -> None:
    found = match(targets(), torch.ones(2, 2), (8, 8), 4.0)
    assert found.xywh.shape == (0, 4)


def test_a_box_is_assigned_to_its_cell_and_the_two_nearest() -> None:
    found = match(targets((0, 1, 3.3, 2.8, 1, 1)), torch.ones(1, 2), (8, 8), 4.0)
    cells = {(int(x), int(y)) for x, y in zip(found.column, found.row, strict=True)}
    assert cells == {(3, 2), (2, 2), (3, 3)}
    for column, row, xywh in zip(found.column, found.row, found.xywh, strict=True):
        assert xywh.tolist() == pytest.approx([3.3 - int(column), 2.8 - int(row), 1, 1])


def test_at_the_edge_there_is_no_neighbour_outside() -> None:
    found = match(targets((0, 0, 0.2, 7.9, 1, 1)), torch.ones(1, 2), (8, 8), 4.0)
    assert [(int(x), int(y)) for x, y in zip(found.column, found.row, strict=True)] == [(0, 7)]


@pytest.mark.parametrize(("side", "matches"), [(3.9, True), (4.1, False), (1 / 3.9, True), (1 / 4.1, False)])
def test_anchors_within_the_ratio_limit_match(side: float, matches: bool) -> None:
    found = match(targets((0, 0, 3.5, 3.5, side, 1)), torch.ones(1, 2), (8, 8), 4.0)
    assert bool(len(found.image)) is matches


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ((0, 0, 2, 2), (0, 0, 2, 2), 1.0),
        # Apart by 4 with sides 2: no overlap, centre distance 16 over a hull diagonal of 36 + 4.
        ((0, 0, 2, 2), (4, 0, 2, 2), -16 / 40),
        # A third overlaps; centres 1 apart in a hull of 3 x 2.
        ((0, 0, 2, 2), (1, 0, 2, 2), 1 / 3 - 1 / 13),
    ],
)
def test_complete_iou(left: tuple[float, ...], right: tuple[float, ...], expected: float) -> None:
    got = complete_iou(torch.tensor([left], dtype=torch.float32), torch.tensor([right], dtype=torch.float32))
    assert float(got) == pytest.approx(expected, abs=1e-5)


def test_complete_iou_punishes_another_aspect_ratio() -> None:
    left, right = torch.tensor([[0.0, 0, 4, 1]]), torch.tensor([[0.0, 0, 1, 4]])
    iou = 1 / 7
    aspect = 4 / math.pi**2 * (math.atan(1 / 4) - math.atan(4)) ** 2
    assert float(complete_iou(left, right)) == pytest.approx(
        iou - aspect * aspect / (1 - iou + aspect), abs=1e-5
    )


def test_predictions_that_decode_to_the_boxes_have_almost_no_loss() -> None:
    """Write the inverse of the decoding at the matched cells; what is left is objectness elsewhere."""
    loss = YoloLoss(ANCHORS, STRIDES, 3, LossWeights())
    wanted = targets((0, 2, 20, 28, 10, 9), (0, 1, 40, 30, 50, 44))
    maps = empty_maps()
    for index, (values, stride) in enumerate(zip(maps, STRIDES, strict=True)):
        view = values.view(1, 2, 8, *values.shape[2:])
        view[:, :, 4] = -20
        anchors = torch.tensor(ANCHORS[index]) / stride
        found = match(
            Targets(wanted.image, wanted.label, wanted.xywh / stride),
            anchors,
            (values.shape[2], values.shape[3]),
            4.0,
        )
        for m in range(len(found.image)):
            xy = (found.xywh[m, :2] + 0.5) / 2
            wh = (found.xywh[m, 2:] / anchors[found.anchor[m]]).sqrt() / 2
            cell = view[0, found.anchor[m], :, found.row[m], found.column[m]]
            cell[:4] = torch.logit(torch.cat([xy, wh]), eps=1e-6)
            cell[4] = 20
            cell[5:] = 40 * F.one_hot(found.label[m], 3) - 20
    parts = loss(maps, wanted)
    assert float(parts.box) < 1e-3
    assert float(parts.objectness) < 1e-3
    assert float(parts.classes) < 1e-6
    best = decode_maps(maps, ANCHORS, STRIDES)[0]
    confident = best[best[:, 4] > 0.5]
    assert len(confident) >= 4
    nearest = torch.cdist(confident[:, :4], wanted.xywh).amin(1)
    assert float(nearest.max()) < 0.05


def test_the_loss_falls_when_its_gradient_is_followed() -> None:
    torch.manual_seed(0)
    loss = YoloLoss(ANCHORS, STRIDES, 3, LossWeights())
    maps = [values.normal_().requires_grad_() for values in empty_maps(2)]
    wanted = targets((0, 0, 20, 28, 10, 9), (1, 2, 40, 30, 50, 44), (1, 1, 12, 12, 9, 20))
    optimizer = torch.optim.Adam(maps, lr=0.1)
    first = loss(maps, wanted).total.item()
    for _ in range(150):
        optimizer.zero_grad()
        loss(maps, wanted).total.backward()  # type: ignore[no-untyped-call]  # torch's own
        optimizer.step()
    assert loss(maps, wanted).total.item() < 0.1 * first


def test_an_empty_batch_of_boxes_still_trains_objectness() -> None:
    loss = YoloLoss(ANCHORS, STRIDES, 3, LossWeights())
    maps = [values.requires_grad_() for values in empty_maps()]
    parts = loss(maps, targets())
    parts.total.backward()  # type: ignore[no-untyped-call]  # torch's own
    assert float(parts.box) == 0
    assert float(parts.objectness) == pytest.approx((4.0 + 1.0) * math.log(2))
    assert all(
        values.grad is not None and bool((values.grad.view(1, 2, 8, -1)[:, :, 4] > 0).all())
        for values in maps
    )
