"""Masks from the graph's cells to the frame's pixels, compared, drawn and written."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from edgevision.bundle.folder import CheckRecord
from edgevision.contract.image import LetterboxGeometry, fit_frame
from edgevision.contract.results import Instances, Mask, Outputs, Result, Segmentation, results_from_outputs
from edgevision.contract.spec import (
    FrameInput,
    ModelSpec,
    NmsSpec,
    Provenance,
    instances_outputs,
    segment_outputs,
)
from edgevision.contract.transform import FrameTransform
from edgevision.drawing.annotate import class_colour, draw_result
from edgevision.verification.comparison import compare_answers

PROVENANCE = Provenance("m.pt", None, "r", "2026-01-01T00:00:00+00:00")
SIDE, CELLS = 64, 16
SEGMENTER = ModelSpec(
    "m", "segment", FrameInput((SIDE, SIDE)), segment_outputs((SIDE, SIDE)), ("a", "b"), PROVENANCE
)
INSTANCES = ModelSpec(
    "m",
    "instances",
    FrameInput((SIDE, SIDE)),
    instances_outputs(3, (CELLS, CELLS)),
    ("a", "b"),
    PROVENANCE,
    NmsSpec(candidates=3, max_detections=3),
)


@pytest.mark.parametrize("frame_wh", [(64, 64), (128, 96), (37, 90), (640, 11)])
def test_a_pixel_has_the_class_of_the_input_pixel_that_it_lies_in(frame_wh: tuple[int, int]) -> None:
    placement = LetterboxGeometry.of(frame_wh, (SIDE, SIDE)).placement
    mask = np.random.default_rng(0).integers(0, 9, (SIDE, SIDE), dtype=np.uint8)
    found = placement.frame_from_input_mask(mask)
    assert found.shape == (frame_wh[1], frame_wh[0])
    rng = np.random.default_rng(1)
    for x, y in zip(rng.integers(0, frame_wh[0], 50), rng.integers(0, frame_wh[1], 50), strict=True):
        column = int((x + 0.5) * placement.scale_xy[0] + placement.offset_xy[0])
        row = int((y + 0.5) * placement.scale_xy[1] + placement.offset_xy[1])
        assert found[y, x] == mask[row, column]


def test_a_mask_of_the_frame_is_returned_unchanged() -> None:
    """What a perfect model would answer to a letterboxed frame."""
    truth = np.zeros((96, 128, 3), np.uint8)
    truth[20:60, 30:100] = 1
    fitted, placement = fit_frame(truth, FrameInput((256, 256)))
    (result,) = results_from_outputs(
        ModelSpec(
            "m", "segment", FrameInput((256, 256)), segment_outputs((256, 256)), ("a", "b"), PROVENANCE
        ),
        (fitted[None, :, :, 0],),
        [placement],
        threshold=0.5,
    )
    assert isinstance(result, Segmentation)
    assert np.array_equal(result.mask, truth[:, :, 0])
    share = 40 * 70 / (96 * 128)
    assert [label for label, _ in result.shares()] == [0, 1]
    assert dict(result.shares())[1] == pytest.approx(share)
    assert result.class_name(1) == "b"


def disc(cells: int, side: float, centre: float, radius: float) -> npt.NDArray[np.uint8]:
    """The share of each cell that a disc covers, times 255; centre and radius in pixels of an input of `side`."""
    fine = 16
    at = (np.arange(cells * fine) + 0.5) * side / (cells * fine)
    inside = (at[:, None] - centre) ** 2 + (at - centre) ** 2 <= radius**2
    shares = inside.reshape(cells, fine, cells, fine).mean((1, 3))
    return np.asarray(np.round(shares * 255), np.uint8)


def instance_outputs(masks: npt.NDArray[np.uint8]) -> Outputs:
    """Two detections and a suppressed one."""
    boxes = np.array([[[12, 12, 52, 52], [0, 0, 20, 20], [0, 0, 0, 0]]], np.float32)
    masks = np.concatenate([masks, np.zeros_like(masks[:, :1])], axis=1)
    return boxes, np.array([[0.9, 0.6, 0]], np.float32), np.array([[1, 0, 0]], np.int32), masks


@pytest.mark.parametrize("frame_wh", [(64, 64), (256, 256), (256, 192), (90, 200)])
def test_a_disc_of_cells_is_a_disc_of_pixels(frame_wh: tuple[int, int]) -> None:
    placement = LetterboxGeometry.of(frame_wh, (SIDE, SIDE)).placement
    masks = np.stack([disc(CELLS, SIDE, 32, 18)] * 2)[None]
    (result,) = results_from_outputs(INSTANCES, instance_outputs(masks), [placement], threshold=0.7)
    assert isinstance(result, Instances)
    assert len(result) == 1
    assert result[:0].masks == ()
    whole = result.masks[0].of_frame(frame_wh)
    y, x = np.mgrid[: frame_wh[1], : frame_wh[0]] + 0.5
    inside = (x * placement.scale_xy[0] + placement.offset_xy[0] - 32) ** 2 + (
        y * placement.scale_xy[1] + placement.offset_xy[1] - 32
    ) ** 2 <= 18**2
    overlap = np.count_nonzero(whole & inside) / np.count_nonzero(whole | inside)
    assert overlap > 0.95, "cells of four pixels, interpolated"
    outside = result.boxes[0]
    assert result.masks[0].left == int(np.floor(outside[0]))
    (polygon,) = result.masks[0].polygons()
    assert abs(polygon[:, 0].mean() - x[inside].mean()) < 2 / placement.scale_xy[0]


def test_slices_keep_masks_with_their_boxes() -> None:
    masks = tuple(Mask(n, n, np.ones((2, 3), np.bool_)) for n in range(3))
    found = Instances(
        np.zeros((3, 4), np.float32), np.ones(3, np.float32), np.arange(3, dtype=np.int32), ("a",), masks
    )
    assert [m.left for m in found[np.array([True, False, True])].masks] == [0, 2]
    assert [m.left for m in found[[2, 0]].masks] == [2, 0]
    assert masks[0].area == 6
    with pytest.raises(ValueError, match="a mask for each box; received 0 for 3"):
        Instances(found.boxes, found.scores, found.labels)
    assert len(Instances.empty(("a",))) == 0


def failed(checks: list[CheckRecord]) -> set[str]:
    return {check.name for check in checks if not check.passed}


@pytest.mark.parametrize(("wrong", "passes"), [(4, True), (5, False)])
def test_segmentations_are_compared_by_the_worst_frame(wrong: int, passes: bool) -> None:
    expected = np.zeros((3, SIDE, SIDE), np.uint8)
    actual = expected.copy()
    actual[1].flat[:wrong] = 1  # of 4,096 pixels
    checks = compare_answers(SEGMENTER, (expected,), (actual,), "float")
    assert (not failed(checks)) == passes


@pytest.mark.parametrize("planted", ["nothing", "mask", "empty mask", "box"])
def test_instances_are_compared_with_their_masks(planted: str) -> None:
    masks = np.stack([disc(CELLS, SIDE, 32, 18), disc(CELLS, SIDE, 10, 9)])[None]
    boxes, scores, labels, _ = expected = instance_outputs(masks)
    changed, moved = expected[3].copy(), boxes.copy()
    if planted == "mask":
        changed[0, 0] = np.roll(changed[0, 0], 1, axis=1)
    elif planted == "empty mask":
        changed[0, 1] = 0
    elif planted == "box":
        moved[0, 0] += 1
    found = failed(compare_answers(INSTANCES, expected, (moved, scores, labels, changed), "float"))
    wanted = {
        "nothing": set(),
        "mask": {"share of partners' mask cells in just one"},
        "empty mask": {"share of partners' mask cells in just one"},
        "box": {"detections without a partner"},
    }
    assert found == wanted[planted]


@pytest.mark.parametrize("size_wh", [(160, 120), (8, 8), (900, 700)])
def test_masks_tint_their_pixels_and_no_others(size_wh: tuple[int, int]) -> None:
    width, height = size_wh
    mask = np.zeros((height, width), np.uint8)
    mask[height // 2 :] = 1
    frame = np.full((height, width, 3), 100, np.uint8)
    draw_result(frame, Segmentation(mask, ("sky", "road")))
    for row, label in ((height // 2 - 1, 0), (height - 1, 1)):
        expected = [(100 + channel) / 2 for channel in class_colour(label)]
        assert frame[row, width - 1].tolist() == pytest.approx(expected, abs=1)


def test_an_instance_tints_its_own_part() -> None:
    pixels = np.zeros((40, 40), np.bool_)
    pixels[10:30, 10:30] = True
    result: Result = Instances(
        np.array([[50, 60, 90, 100]], np.float32),
        np.array([0.9], np.float32),
        np.array([0], np.int32),
        ("a",),
        (Mask(50, 60, pixels),),
    )
    frame = np.full((200, 200, 3), 100, np.uint8)
    draw_result(frame, result)
    expected = [(100 + channel) / 2 for channel in class_colour(0)]
    assert frame[80, 70].tolist() == pytest.approx(expected, abs=1)
    assert frame[62, 55].tolist() == [100, 100, 100]
    assert frame[150, 150].tolist() == [100, 100, 100]


def test_a_mask_beyond_the_frame_is_cut() -> None:
    frame = np.full((30, 30, 3), 100, np.uint8)
    placement = FrameTransform((30, 30), (2.0, 2.0), (0.0, 0.0))
    masks = np.full((1, 2, CELLS, CELLS), 255, np.uint8)
    boxes = np.array([[[40, 40, 64, 64], [0, 0, 0, 0]]], np.float32)
    outputs: Outputs = (boxes, np.array([[0.9, 0.0]], np.float32), np.zeros((1, 2), np.int32), masks)
    (result,) = results_from_outputs(INSTANCES, outputs, [placement], threshold=0.1)
    assert isinstance(result, Instances)
    assert result.masks[0].of_frame((30, 30)).sum() == 100
    draw_result(frame, result)
