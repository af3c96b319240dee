"""Whole pickled models, bare weights and described models: every one must compute what its source computes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from edgevision.boxes import iou_matrix
from edgevision.errors import CheckpointError, UnsafeCheckpointError, UsageError
from edgevision.export.checkpoint import read_checkpoint
from edgevision.image import letterbox
from edgevision.models.yolov5 import YoloV5, yolov5, yolov5_from_checkpoint, yolov5_from_config
from edgevision.models.yolov5_decode import decode, detections
from edgevision.models.yolov5_plan import COCO_ANCHORS_P6, YoloV5Config
from edgevision.spec import NmsSpec

ANCHORS = ((10, 13, 16, 30), (30, 61, 62, 45))
PUBLISHED_PARAMETERS = {"n": 1_872_157, "s": 7_235_389, "m": 21_190_557}
"""As YOLOv5's releases print them for 80 classes."""

Image = Callable[..., torch.Tensor]


def _load(path: Path) -> YoloV5:
    return yolov5_from_checkpoint(read_checkpoint(path))


def _differ(expected: Any, actual: list[torch.Tensor]) -> float:
    assert [map_.shape for map_ in expected] == [map_.shape for map_ in actual]
    return max(float((left - right).abs().max()) for left, right in zip(expected, actual, strict=True))


def _kinds(forge: Any) -> dict[str, list[tuple[Any, ...]]]:
    """For each kind of layer a model of a stem, that layer, and a head."""
    stem = (-1, forge.Conv, 3, 16, 6, 2, 2)

    def detect(channels: int, *sources: int) -> tuple[Any, ...]:
        return (list(sources) or [1], forge.Detect, 2, ANCHORS[:1], [channels])

    blocks = {
        "C3": ((forge.C3, 16, 32, 2), 32),
        "C3 without shortcut": ((forge.C3, 16, 32, 2, False), 32),
        "C3x": ((forge.C3x, 16, 32, 2), 32),
        "C3TR": ((forge.C3TR, 16, 32, 2), 32),
        "C3SPP": ((forge.C3SPP, 16, 32), 32),
        "C3Ghost": ((forge.C3Ghost, 16, 32, 2), 32),
        "BottleneckCSP": ((forge.BottleneckCSP, 16, 32, 2), 32),
        "Bottleneck": ((forge.Bottleneck, 16, 16), 16),
        "CrossConv": ((forge.CrossConv, 16, 16, 3, 1, 2, 0.5, True), 16),
        "CrossConv of stride 2": ((forge.CrossConv, 16, 32, 5, 2), 32),
        "DWConv": ((forge.DWConv, 16, 24, 3), 24),
        "DWConvTranspose2d": ((forge.DWConvTranspose2d, 16, 16, 4, 2, 1), 16),
        "SPP": ((forge.SPP, 16, 32), 32),
        "SPPF": ((forge.SPPF, 16, 32), 32),
        "Focus": ((forge.Focus, 16, 32, 3), 32),
        "GhostConv": ((forge.GhostConv, 16, 32), 32),
        "GhostBottleneck of stride 2": ((forge.GhostBottleneck, 16, 32, 3, 2), 32),
        "TransformerBlock": ((forge.TransformerBlock, 16, 32, 4, 1), 32),
        "MixConv2d": ((forge.MixConv2d, 16, 32, (1, 3, 5, 7)), 32),
        "Contract": ((forge.Contract,), 64),
        "Expand": ((forge.Expand,), 4),
        "nn.ConvTranspose2d": ((nn.ConvTranspose2d, 16, 8, 2, 2), 8),
        "nn.Upsample": ((nn.Upsample, None, 2, "bilinear", False), 16),
        "nn.MaxPool2d": ((nn.MaxPool2d, 3, 2, 1), 16),
        "nn.BatchNorm2d": ((nn.BatchNorm2d, 16), 16),
        "nn.Hardswish": ((nn.Hardswish,), 16),
        "nn.ZeroPad2d": ((nn.ZeroPad2d, (2, 2, 2, 2)), 16),
    }
    models = {name: [stem, (-1, *layer), detect(channels)] for name, (layer, channels) in blocks.items()}
    models["nn.ZeroPad2d"].insert(2, (-1, nn.MaxPool2d, 5, 1))
    models["nn.ZeroPad2d"][3] = detect(16, 2)
    twice: list[tuple[Any, ...]] = [stem, (-1, forge.Conv, 16, 16, 3), (0, forge.Conv, 16, 16, 3)]
    models["Sum"] = [*twice, ([-1, 1, 0], forge.Sum, 3), detect(16, 3)]
    models["Sum with weights"] = [*twice, ([-1, 1, 0], forge.Sum, 3, True), detect(16, 3)]
    models["Concat"] = [*twice, ([-1, 1], forge.Concat), detect(32, 3)]
    models["repeated layer"] = [
        stem,
        (-1, nn.Sequential, *(forge.Conv(16, 16, 3) for _ in range(3))),
        detect(16),
    ]
    return models


KINDS = (
    *(
        "C3",
        "C3 without shortcut",
        "C3x",
        "C3TR",
        "C3SPP",
        "C3Ghost",
        "BottleneckCSP",
        "Bottleneck",
        "CrossConv",
    ),
    *("CrossConv of stride 2", "DWConv", "DWConvTranspose2d", "SPP", "SPPF", "Focus", "GhostConv"),
    *(
        "GhostBottleneck of stride 2",
        "TransformerBlock",
        "MixConv2d",
        "Contract",
        "Expand",
        "nn.ConvTranspose2d",
    ),
    *(
        "nn.Upsample",
        "nn.MaxPool2d",
        "nn.BatchNorm2d",
        "nn.Hardswish",
        "nn.ZeroPad2d",
        "Sum",
        "Sum with weights",
    ),
    *("Concat", "repeated layer"),
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fused", [False, True])
def test_each_layer_is_rebuilt(kind: str, fused: bool, forge: Any, random_image: Image) -> None:
    source = forge.model(_kinds(forge)[kind])
    if fused:
        source.fuse()
    image = random_image()
    with torch.no_grad():
        expected = source(image)
        rebuilt = _load(forge.save({"ema": None, "model": source}))
        # The same operations in the same order: rounding alone may differ, by the layout of the weights in memory.
        assert _differ(expected, rebuilt(image)) < 1e-5
        assert float(expected[0].std()) > 1e-3, "a constant map would prove nothing"
        assert _differ(expected, rebuilt.fuse()(image)) < 1e-4
    assert rebuilt.strides == (64 // expected[0].shape[2],)


def test_every_kind_is_covered(forge: Any) -> None:
    assert set(_kinds(forge)) == set(KINDS)


def _two_scales(forge: Any, class_count: int = 2) -> list[tuple[Any, ...]]:
    return [
        (-1, forge.Conv, 3, 16, 6, 2, 2),
        (-1, forge.Conv, 16, 24, 3, 2),
        (-1, forge.C3, 24, 24, 1),
        (-1, forge.Conv, 24, 32, 3, 2),
        (-1, forge.SPPF, 32, 32, 5),
        (-1, nn.Upsample, None, 2, "nearest"),
        ([-1, 2], forge.Concat, 1),
        (-1, forge.C3, 56, 24, 1, False),
        ([7, 4], forge.Detect, class_count, ANCHORS, [24, 32]),
    ]


@pytest.mark.parametrize("names", [("cat", "dog"), {0: "cat", 1: "dog"}])
@pytest.mark.parametrize("kind", ["Model", "DetectionModel"])
def test_names_strides_and_anchors_come_from_the_file(
    names: Any, kind: str, forge: Any, random_image: Image
) -> None:
    source = forge.model(_two_scales(forge), names, (4, 8), getattr(forge, kind))
    model = _load(forge.save({"model": copy.deepcopy(source).half(), "ema": None}))
    assert model.names == ("cat", "dog")
    assert model.class_count == 2
    assert model.strides == (4, 8)
    assert model.anchors_px.flatten(1).tolist() == [list(map(float, scale)) for scale in ANCHORS]
    assert model.variant == "YOLOv5 of another size, 2 classes"
    assert not model.training
    image = random_image()
    with torch.no_grad():
        assert _differ(copy.deepcopy(source).half().float()(image), model(image)) < 1e-5


def test_without_usable_names_classes_are_numbered(forge: Any) -> None:
    source = forge.model(_two_scales(forge, class_count=3), ("only", "two"), (4, 8))
    assert _load(forge.save({"model": source})).names == ("0", "1", "2")


def test_the_average_is_taken(forge: Any) -> None:
    last, average = (forge.model(_two_scales(forge), strides=(4, 8)) for _ in range(2))
    nn.init.constant_(average.model[8].m[0].bias, 7)
    model = _load(forge.save({"model": last, "ema": average}))
    assert model.state_dict()["model.8.m.0.bias"].unique().tolist() == [7]


def test_bn_settings_come_from_the_file(forge: Any) -> None:
    source = forge.model(_two_scales(forge), strides=(4, 8))
    for module in source.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps, module.momentum = 0.25, 0.5
    normalisations = [
        m for m in _load(forge.save({"model": source})).modules() if isinstance(m, nn.BatchNorm2d)
    ]
    assert {(m.eps, m.momentum) for m in normalisations} == {(0.25, 0.5)}


def test_older_versions_cached_anchors_beside_the_weights(forge: Any) -> None:
    source = forge.model(_two_scales(forge), strides=(4, 8))
    source.model[8].register_buffer("anchor_grid", torch.ones(2, 1, 2, 1, 1, 2))
    source.model[0].register_buffer("total_ops", torch.zeros(1))
    assert _load(forge.save({"model": source})).strides == (4, 8)


def _altered(forge: Any, change: Callable[[Any], None]) -> Path:
    source = forge.model(_two_scales(forge), strides=(4, 8))
    change(source)
    path: Path = forge.save({"model": source})
    return path


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("unknown layer", r"layer 2: layer 'models\.common\.Mystery' is not known"),
        ("segmentation", "layer 8: Segment: a segmentation head"),
        ("classification", "layer 8: Classify: a classification head"),
        ("anchor-free", "layer 8: Detect without anchors, the anchor-free head of YOLOv8"),
        ("no head", "the last layer is not Detect"),
        ("inputs from the future", "layer 3: its inputs are not earlier layers"),
        ("inputs that do not fit", "its layers do not fit together"),
        ("unknown part", "layer 2: C3 with an unknown part 'extra'"),
        ("missing part", "layer 2: C3 without its part 'cv3'"),
        ("attribute of another type", r"layer 0: nn\.Conv2d\.in_channels is a str, expected a whole number"),
        ("absurd attribute", "of shape"),
        ("impossible attribute", r"layer 0: nn\.Conv2d with attributes that do not fit"),
        ("missing weight", r"missing: model\.0\.conv\.weight"),
        ("weight left over", r"not expected: model\.0\.conv\.extra"),
        ("mixed convolution of v5", "MixConv2d from before v6"),
        ("padding mode", "pads with something else than zeros"),
    ],
)
def test_what_cannot_be_rebuilt_is_named(change: str, reason: str, forge: Any) -> None:
    def alter(source: Any) -> None:
        layers = source.model
        if change == "unknown layer":
            _replace(layers, 2, forge.Mystery())
        elif change == "segmentation":
            layers[8].__class__ = forge.Segment
        elif change == "classification":
            layers[8].__class__ = forge.Classify
        elif change == "anchor-free":
            del layers[8].anchors
        elif change == "no head":
            del layers[8]
        elif change == "inputs from the future":
            layers[3].f = 5
        elif change == "inputs that do not fit":
            layers[4].f = 0
        elif change == "unknown part":
            layers[2].extra = nn.ReLU()
        elif change == "missing part":
            del layers[2].cv3
        elif change == "attribute of another type":
            layers[0].conv.in_channels = "3"
        elif change == "absurd attribute":
            # 4 TB if it were allocated before it is compared.
            layers[0].conv.out_channels = layers[0].bn.num_features = layers[1].conv.in_channels = (
                1_000_000_000
            )
        elif change == "impossible attribute":
            layers[0].conv.groups = 7
        elif change == "missing weight":
            del layers[0].conv.weight
        elif change == "weight left over":
            layers[0].conv.extra = nn.Parameter(torch.ones(1))
        elif change == "mixed convolution of v5":
            mixed = forge.MixConv2d(24, 24)
            mixed.act = nn.LeakyReLU(0.1)
            _replace(layers, 2, mixed)
        elif change == "padding mode":
            layers[0].conv.padding_mode = "reflect"

    with pytest.raises(CheckpointError, match=reason):
        _load(_altered(forge, alter))


def _replace(layers: Any, index: int, layer: Any) -> None:
    layer.i, layer.f = index, layers[index].f
    layers[index] = layer


def test_a_layer_that_names_code_is_refused_before_anything_else(forge: Any) -> None:
    with pytest.raises(UnsafeCheckpointError, match=r"posix\.getcwd"):
        _load(_altered(forge, lambda source: setattr(source.model[0], "hook", __import__("os").getcwd)))


def test_a_model_of_another_architecture_is_named(forge: Any, tmp_path: Path) -> None:
    torch.save(nn.Sequential(nn.Conv2d(3, 4, 1)), tmp_path / "a.pt")
    with pytest.raises(
        CheckpointError, match=r"'torch\.nn\.modules\.container\.Sequential', expected YOLOv5's Model"
    ):
        _load(tmp_path / "a.pt")
    safetensors.torch.save_file({"conv1.weight": torch.ones(4, 3, 1, 1)}, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=r"bare weights that are not of a published YOLOv5 layout"):
        _load(tmp_path / "a.safetensors")


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
def test_bare_weights_tell_their_architecture(
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
