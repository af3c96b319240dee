"""Described models and bare weights: sizes, inference of the architecture, and the official checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import safetensors.torch
import torch

from edgevision.checkpoint.reading import read_checkpoint
from edgevision.contract.boxes import iou_matrix
from edgevision.contract.image import letterbox
from edgevision.contract.spec import NmsSpec
from edgevision.errors import CheckpointError, UsageError
from edgevision.models.detections import detections
from edgevision.models.yolov5.decode import decode
from edgevision.models.yolov5.model import YoloV5, yolov5, yolov5_from_checkpoint, yolov5_from_config
from edgevision.models.yolov5.plan import COCO_ANCHORS_P6, YoloV5Config

PUBLISHED_PARAMETERS = {"n": 1_872_157, "s": 7_235_389, "m": 21_190_557}
"""As YOLOv5's releases print them for 80 classes."""

Image = Callable[..., torch.Tensor]


def _load(path: Path) -> YoloV5:
    return yolov5_from_checkpoint(read_checkpoint(path))


def _differ(expected: Any, actual: list[torch.Tensor]) -> float:
    assert [map_.shape for map_ in expected] == [map_.shape for map_ in actual]
    return max(float((left - right).abs().max()) for left, right in zip(expected, actual, strict=True))


@pytest.mark.parametrize("size", PUBLISHED_PARAMETERS)
def test_published_sizes(size: Any) -> None:
    model = yolov5(size)
    assert sum(parameter.numel() for parameter in model.parameters()) == PUBLISHED_PARAMETERS[size]
    assert model.variant == f"YOLOv5{size}, 80 classes"
    assert model.strides == (8, 16, 32)


def test_unknown_size() -> None:
    with pytest.raises(UsageError, match="size 'z' is not one of n, s, m, l, x"):
        yolov5("z")  # type: ignore[arg-type]  # that is the point


def test_p6(random_image: Image) -> None:
    model = yolov5("n", 3, anchors_px=COCO_ANCHORS_P6).eval()
    assert model.strides == (8, 16, 32, 64)
    assert model.variant == "YOLOv5n6, 3 classes"
    with torch.no_grad():
        assert [tuple(map_.shape) for map_ in model(random_image(128))] == [
            (1, 24, s, s) for s in (16, 8, 4, 2)
        ]


CONFIGS = {
    "n": YoloV5Config(0.33, 0.25, 80),
    "P6": YoloV5Config(0.33, 0.25, 1, anchors_px=COCO_ANCHORS_P6),
    "own width and depth": YoloV5Config(
        1.0, 0.1, 7, anchors_px=(((5.0, 6.0),), ((20.0, 9.0),), ((40.0, 40.0),))
    ),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("fused", [False, True])
def test_the_architecture_is_inferred_from_bare_weights(
    config: YoloV5Config, fused: bool, tmp_path: Path, random_image: Image
) -> None:
    torch.manual_seed(0)
    source = yolov5_from_config(config).eval()
    if fused:
        source.fuse()
    names = [f"class {number}" for number in range(config.class_count)]
    torch.save({"state_dict": source.state_dict(), "names": names}, tmp_path / "a.pth")
    model = _load(tmp_path / "a.pth")
    assert model.names == tuple(names)
    assert (model.strides, model.sources) == (source.strides, source.sources)
    assert torch.allclose(model.anchors_px, torch.tensor(config.anchors_px, dtype=torch.float32))
    with torch.no_grad():
        assert _differ(source(random_image(128)), model(random_image(128))) == 0


def test_anchors_stored_in_pixels_are_recognised(tmp_path: Path) -> None:
    state = yolov5("n", 2).state_dict()
    state["model.24.anchors"] *= torch.tensor([8.0, 16, 32]).view(-1, 1, 1)
    safetensors.torch.save_file(state, tmp_path / "a.safetensors")
    assert _load(tmp_path / "a.safetensors").anchors_px[2].tolist() == [[116, 90], [156, 198], [373, 326]]


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("model.24.anchors", None, r"expected model\.24\.anchors"),
        ("model.24.anchors", torch.ones(2, 3, 2), r"expected anchors \[3, anchors, 2\]"),
        ("model.24.m.0.weight", None, "number of classes"),
        ("model.24.m.0.weight", torch.ones(16, 64, 1, 1), "the head has 16 channels for 3 anchors"),
        ("model.4.cv3.conv.weight", None, r"without model\.4\.cv3\.conv\.weight"),
        ("model.4.cv1.bn.bias", None, r"missing: model\.4\.cv1\.bn\.bias"),
        ("model.4.extra", torch.ones(1), r"not expected: model\.4\.extra"),
        (
            "model.9.cv1.conv.weight",
            torch.ones(8, 256, 1, 1),
            r"of shape: model\.9\.cv1\.conv\.weight \[8, 256, 1, 1\]",
        ),
    ],
)
def test_bare_weights_that_do_not_fit(
    name: str, value: torch.Tensor | None, reason: str, tmp_path: Path
) -> None:
    state = yolov5("n", 2).state_dict()
    if value is None:
        del state[name]
    else:
        state[name] = value
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=reason):
        _load(tmp_path / "a.pth")


def test_a_new_model_expects_few_objects(random_image: Image) -> None:
    torch.manual_seed(0)
    model = yolov5("n", 4).eval()
    with torch.no_grad():
        _, scores = decode(model(random_image(320)), model.anchors_px, model.strides)
    assert float(scores.mean()) < 0.02


@pytest.fixture(scope="module")
def official(data_dir: Path) -> YoloV5:
    return _load(data_dir / "weights" / "yolov5n.pt")


def test_the_official_checkpoint(official: YoloV5) -> None:
    assert official.variant == "YOLOv5n, 80 classes"
    assert official.names[:2] == ("person", "bicycle")
    assert official.strides == (8, 16, 32)
    assert official.anchors_px[0].tolist() == [[10, 13], [16, 30], [33, 23]]
    assert sum(parameter.numel() for parameter in official.parameters()) == PUBLISHED_PARAMETERS["n"]


def test_the_official_checkpoint_finds_what_is_labelled(official: YoloV5, data_dir: Path) -> None:
    import json

    labels = json.loads((data_dir / "coco" / "eval.json").read_text())
    order = {category["id"]: label for label, category in enumerate(labels["categories"])}
    found = large = 0
    for image in labels["images"][:5]:
        frame = np.asarray(cv2.imread(str(data_dir / "coco" / "eval" / image["file_name"])), np.uint8)
        canvas, placement = letterbox(frame, (416, 416))
        tensor = torch.from_numpy(canvas[..., ::-1].transpose(2, 0, 1).copy()).float()[None] / 255
        with torch.no_grad():
            maps = official(tensor)
        boxes, scores, classes = detections(*decode(maps, official.anchors_px, official.strides), NmsSpec())
        kept = scores[0] > 0.25
        boxes_in_frame = placement.frame_from_input(boxes[0][kept])
        for annotation in labels["annotations"]:
            x, y, width, height = annotation["bbox"]
            if (
                annotation["image_id"] == image["id"]
                and width * height > 96**2
                and not annotation.get("iscrowd")
            ):
                overlap = iou_matrix(np.array([[x, y, x + width, y + height]]), boxes_in_frame)[0]
                large += 1
                found += bool(
                    ((overlap > 0.5) & (classes[0][kept] == order[annotation["category_id"]])).any()
                )
    assert large >= 8, large
    assert found / large > 0.6
