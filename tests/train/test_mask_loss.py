"""The loss of masks, compared with the same computed cell by cell."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from edgevision.train.tasks.mask_loss import MaskAnswers, mask_loss
from edgevision.train.tasks.yolo_loss import LossWeights, Targets, YoloLoss

ANCHORS = (((8.0, 8.0), (16.0, 16.0)), ((40.0, 40.0), (80.0, 40.0)))


def example() -> tuple[list[MaskAnswers], torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two maps' answers for three targets of two images; masks of 6 x 8 cells."""
    torch.manual_seed(0)
    answers = [
        MaskAnswers(torch.randn(5, 3, requires_grad=True), torch.tensor([2, 0, 0, 1, 2])),
        MaskAnswers(torch.randn(2, 3, requires_grad=True), torch.tensor([1, 1])),
    ]
    prototypes = torch.randn(2, 3, 6, 8, requires_grad=True)
    masks = torch.randint(0, 256, (3, 6, 8), dtype=torch.uint8)
    xywh = torch.tensor([[10.0, 8, 8, 8], [30, 22, 9, 6], [16, 12, 32, 24]])
    return answers, prototypes, masks, xywh, torch.tensor([0, 1, 1])


def by_hand(logits: torch.Tensor, mask: torch.Tensor, window: tuple[int, int, int, int]) -> torch.Tensor:
    left, top, right, bottom = window
    cut, truth = logits[top:bottom, left:right], mask[top:bottom, left:right] / 255
    return F.binary_cross_entropy_with_logits(cut, truth)


def test_each_mask_loss_is_averaged_over_its_own_box() -> None:
    answers, prototypes, masks, xywh, image = example()
    # x 6..14 and y 4..12; x 25.5..34.5 and y 19..25, cut at the edge; everything.
    windows = [(1, 1, 4, 3), (6, 4, 8, 6), (0, 0, 8, 6)]
    expected = 0.0
    for part in answers:
        losses = [
            by_hand(torch.einsum("m,mhw->hw", mixing, prototypes[image[t]]), masks[t], windows[t])
            for mixing, t in zip(part.coefficients, part.target.tolist(), strict=True)
        ]
        expected += float(torch.stack(losses).mean().detach())
    loss = mask_loss(answers, prototypes, masks, xywh, image)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    torch.autograd.backward(loss)
    assert prototypes.grad is not None
    # No box of the first image touches its last row.
    assert not prototypes.grad[0, :, 5].any()
    assert prototypes.grad[1].abs().min() > 0


def test_nothing_matched_costs_nothing() -> None:
    _, prototypes, masks, xywh, image = example()
    assert float(mask_loss([], prototypes, masks, xywh, image)) == 0


@pytest.mark.parametrize("xywh", [(-3.0, -3.0, 2.0, 2.0), (40.0, 30.0, 0.5, 0.5), (4.0, 4.0, 0.0, 0.0)])
def test_a_box_at_the_edge_or_of_no_size_still_has_a_cell(xywh: tuple[float, ...]) -> None:
    answers = [MaskAnswers(torch.ones(1, 3), torch.tensor([0]))]
    masks = torch.full((1, 6, 8), 255, dtype=torch.uint8)
    loss = mask_loss(answers, torch.ones(1, 3, 6, 8), masks, torch.tensor([xywh]), torch.tensor([0]))
    assert float(loss) == pytest.approx(math.log(1 + math.exp(-3)), rel=1e-5)


def test_the_total_loss_adds_masks_and_keeps_the_other_terms() -> None:
    torch.manual_seed(1)
    targets = Targets(torch.tensor([0]), torch.tensor([1]), torch.tensor([[20.0, 20, 14, 14]]))
    masked = Targets(
        targets.image, targets.label, targets.xywh, torch.randint(0, 256, (1, 16, 16), dtype=torch.uint8)
    )
    plain = YoloLoss(ANCHORS, (8, 16), 3, LossWeights())
    both = YoloLoss(ANCHORS, (8, 16), 3, LossWeights(masks=0.5), mask_count=4)
    maps = [torch.randn(1, 2 * 12, side, side, requires_grad=True) for side in (8, 4)]
    boxes = [m.view(1, 2, 12, *m.shape[2:])[:, :, :8].reshape(1, 16, *m.shape[2:]) for m in maps]
    prototypes = torch.randn(1, 4, 16, 16, requires_grad=True)
    without, found = plain(boxes, targets), both(maps, masked, prototypes)
    assert float(found.box) == pytest.approx(float(without.box))
    assert float(found.objectness) == pytest.approx(float(without.objectness))
    assert float(found.masks) > 0.1
    expected = float(without.total.detach()) + 0.5 * float(found.masks)
    assert float(found.total.detach()) == pytest.approx(expected, rel=1e-5)
    torch.autograd.backward(found.total)
    assert prototypes.grad is not None
    assert prototypes.grad.abs().sum() > 0
    assert masked.to(torch.device("cpu")).masks is not None
