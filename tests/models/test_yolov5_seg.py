"""YOLOv5's segmentation models: published shape, checkpoints and masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgevision.checkpoint.reading import read_checkpoint
from edgevision.contract.image import LetterboxGeometry
from edgevision.contract.spec import NmsSpec
from edgevision.errors import CheckpointError, UsageError
from edgevision.export.sources import yolov5_seg_source, yolov5_source
from edgevision.models.masks import Mixture, answers_from_mixture, over_frame
from edgevision.models.yolov5.masks import mixture_from_outputs
from edgevision.models.yolov5.model import PUBLISHED_MASKS, YoloV5, yolov5, yolov5_from_checkpoint
from edgevision.models.yolov5.plan import YoloV5Config, layers_from_plan, plan_from_config

MULTIPLES = {"n": (0.33, 0.25), "s": (0.33, 0.5), "m": (0.67, 0.75), "l": (1.0, 1.0), "x": (1.33, 1.25)}
ANCHORS = ((10, 13, 16, 30), (30, 61, 62, 45))


@pytest.fixture(scope="module")
def nano() -> YoloV5:
    torch.manual_seed(0)
    return yolov5("n", class_count=2, mask_count=PUBLISHED_MASKS, names=("cat", "dog")).eval()


# Millions of parameters as published with v7.0: 2.0, 7.6, 22.0, 47.9, 88.8.
@pytest.mark.parametrize(
    ("size", "millions"), [("n", 2.0), ("s", 7.6), ("m", 22.0), ("l", 47.9), ("x", 88.8)]
)
def test_the_published_sizes(size: str, millions: float) -> None:
    config = YoloV5Config(*MULTIPLES[size], 80, mask_count=PUBLISHED_MASKS)
    with torch.device("meta"):
        layers = layers_from_plan(
            plan_from_config(config), torch.ones(3, 3, 2), 80, mask_count=PUBLISHED_MASKS
        )
    count = sum(parameter.numel() for layer in layers for parameter in layer.parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.051)


def test_maps_and_prototypes(nano: YoloV5) -> None:
    with torch.no_grad():
        outputs = nano(torch.zeros(2, 3, 64, 96))
    assert [tuple(values.shape) for values in outputs] == [
        (2, 3 * 39, 8, 12),
        (2, 3 * 39, 4, 6),
        (2, 3 * 39, 2, 3),
        (2, 32, 16, 24),
    ]
    names = set(nano.state_dict())
    # As in the published checkpoints.
    assert {"model.24.m.0.weight", "model.24.anchors", "model.24.proto.cv1.conv.weight"} <= names
    assert {"model.24.proto.cv2.bn.running_var", "model.24.proto.cv3.conv.weight"} <= names
    assert nano.variant == "YOLOv5n-seg, 2 classes"


def test_bare_weights_survive_a_round_trip(nano: YoloV5, tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    torch.save(nano.state_dict(), file)
    again = yolov5_from_checkpoint(read_checkpoint(file))
    assert (again.variant, again.mask_count, again.class_count) == ("YOLOv5n-seg, 2 classes", 32, 2)
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        for left, right in zip(nano(image), again(image), strict=True):
            assert torch.equal(left, right)


def _rows(forge: Any) -> list[tuple[Any, ...]]:
    return [
        (-1, forge.Conv, 3, 16, 6, 2, 2),
        (-1, forge.Conv, 16, 16, 3, 2),
        (-1, forge.Conv, 16, 24, 3, 2),
        ([1, 2], forge.Segment, 2, ANCHORS, 8, 12, [16, 24]),
    ]


@pytest.mark.parametrize("fused", [False, True])
def test_a_pickled_model_is_rebuilt(forge: Any, fused: bool) -> None:
    source = forge.model(_rows(forge), strides=(4, 8), kind=forge.SegmentationModel)
    if fused:
        source.fuse()
    model = yolov5_from_checkpoint(read_checkpoint(forge.save({"model": source})))
    assert (model.class_count, model.mask_count, model.strides, model.names) == (
        2,
        8,
        (4, 8),
        ("cat", "dog"),
    )
    assert model.variant == "YOLOv5-seg of another size, 2 classes"
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected, found, folded = source(image), model(image), model.fuse()(image)
    assert len(expected) == 3
    for left, right, third in zip(expected, found, folded, strict=True):
        assert float(left.std()) > 1e-3
        assert float((left - right).abs().max()) < 1e-5
        assert float((left - third).abs().max()) < 1e-4


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("another count", "layer 3: Segment of 7 masks whose prototypes do not end in a Conv of as many"),
        ("another end", "layer 3: Segment of 8 masks whose prototypes do not end in a Conv"),
        ("no prototypes", "layer 3: Segment without its part 'proto'"),
        ("prototypes of another kind", "layer 3: Segment: part 'proto' is Identity, expected Proto"),
        ("a lost part", "layer 3: Proto without its part 'cv2'"),
    ],
)
def test_a_head_that_cannot_be_right_is_named(forge: Any, change: str, reason: str) -> None:
    source = forge.model(_rows(forge), strides=(4, 8), kind=forge.SegmentationModel)
    head = source.model[3]
    if change == "another count":
        head.nm = 7
    elif change == "another end":
        head.proto.cv3 = torch.nn.Identity()
    elif change == "no prototypes":
        del head.proto
    elif change == "prototypes of another kind":
        head.proto = torch.nn.Identity()
    else:
        del head.proto.cv2
    with pytest.raises(CheckpointError, match=reason):
        yolov5_from_checkpoint(read_checkpoint(forge.save({"model": source})))


def test_each_kind_has_its_recipe(nano: YoloV5) -> None:
    with pytest.raises(
        CheckpointError, match="YOLOv5n-seg, 2 classes, which has masks; use recipe yolov5-seg"
    ):
        yolov5_source(nano)
    with pytest.raises(CheckpointError, match="which has no masks; use recipe yolov5"):
        yolov5_seg_source(yolov5("n", class_count=2))
    with pytest.raises(UsageError, match="not one of n, s, m, l, x"):
        yolov5("q", mask_count=32)  # type: ignore[arg-type]  # what is wrong is what is tested


def test_coefficients_belong_to_their_boxes(nano: YoloV5) -> None:
    torch.manual_seed(3)
    maps = [torch.randn(1, 3 * 39, side, side) for side in (8, 4, 2)]
    prototypes = torch.randn(1, 32, 16, 16)
    nms = NmsSpec(max_detections=20, iou_threshold=0.6)
    mixture = mixture_from_outputs([*maps, prototypes], nano.anchors_px, nano.strides, nms)
    assert (mixture.scores > 0).sum() == 20
    flat = np.concatenate([m.view(3, 39, -1).permute(0, 2, 1).reshape(-1, 39).numpy() for m in maps])
    for row in range(20):
        (match,) = np.flatnonzero((flat[:, 7:] == mixture.coefficients[0, row]).all(1))
        s = 1 / (1 + np.exp(-flat[match].astype(np.float64)))
        assert mixture.scores[0, row] == pytest.approx(s[4] * s[5 + mixture.labels[0, row]], rel=1e-5)


def _mixture(boxes: list[list[float]], coefficients: list[list[float]], prototypes: Any) -> Mixture:
    count = len(boxes)
    return Mixture(
        np.array([boxes], np.float32),
        np.full((1, count), 0.5, np.float32),
        np.zeros((1, count), np.int32),
        np.array([coefficients], np.float32),
        np.asarray(prototypes, np.float32)[None],
    )


def test_masks_are_mixed_inside_the_cells_that_their_boxes_touch() -> None:
    prototypes = np.zeros((2, 4, 6))
    prototypes[0], prototypes[1, :, 3:] = 1.0, 1.0
    mixture = _mixture([[4, 5, 17, 12], [0, 0, 24, 16]], [[2, 0], [0, -1]], prototypes)
    masks = answers_from_mixture(mixture, (24, 16))[3]
    assert masks.shape == (1, 2, 4, 6)
    assert masks.dtype == np.uint8
    inside = round(255 / (1 + np.exp(-2)))
    # x 4..17 touches columns 1..4, y 5..12 rows 1 and 2.
    expected = np.zeros((4, 6), int)
    expected[1:3, 1:5] = inside
    assert masks[0, 0].tolist() == expected.tolist()
    assert masks[0, 1, :, :3].tolist() == np.full((4, 3), 128).tolist()
    assert masks[0, 1, :, 3:].tolist() == np.full((4, 3), round(255 / (1 + np.e))).tolist()


def test_where_nothing_is_found_masks_are_empty() -> None:
    mixture = _mixture([[0, 0, 8, 8]], [[9.0]], np.ones((1, 2, 2)))
    mixture.scores[:] = 0
    assert not answers_from_mixture(mixture, (8, 8))[3].any()


def test_over_a_frame_prototypes_are_those_of_its_pixels() -> None:
    """A ramp is interpolated exactly: its value at a cell's centre is that of the place in the network's input."""
    columns, rows = np.meshgrid(np.arange(16) * 4 + 2.0, np.arange(16) * 4 + 2.0)
    placement = LetterboxGeometry.of((128, 64), (64, 64)).placement
    mixture = _mixture([[0, 16, 64, 48]], [[1, 1]], np.stack([columns, rows]))
    seen = over_frame(mixture, placement, (16, 8), 4)
    assert seen.boxes[0, 0].tolist() == [0, 0, 128, 64]
    assert seen.prototypes.shape == (1, 2, 8, 16)
    assert seen.prototypes[0, 0, 0].tolist() == pytest.approx((np.arange(16) * 4 + 2).tolist())
    assert seen.prototypes[0, 1, :, 0].tolist() == pytest.approx((16 + np.arange(8) * 4 + 2).tolist())
