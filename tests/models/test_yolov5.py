"""Whole pickled models: every rebuilt model computes the same as its source."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from edgevision.checkpoint.reading import read_checkpoint
from edgevision.errors import CheckpointError, UnsafeCheckpointError
from edgevision.export.network import onnx_from_module, run_network
from edgevision.models.yolov5.model import YoloV5, yolov5_from_checkpoint

ANCHORS = ((10, 13, 16, 30), (30, 61, 62, 45))
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
        assert float(expected[0].std()) > 1e-3, "a constant map would verify_engine nothing"
        assert _differ(expected, rebuilt.fuse()(image)) < 1e-4
    assert rebuilt.strides == (64 // expected[0].shape[2],)


@pytest.mark.parametrize("kind", KINDS)
def test_each_layer_is_exported(kind: str, forge: Any, random_image: Image) -> None:
    model = _load(forge.save({"model": forge.model(_kinds(forge)[kind])}))
    network = onnx_from_module(model, (64, 64), 1, dynamic_batch=True)
    images = torch.cat([random_image(), random_image().flip(2)])
    with torch.no_grad():
        expected = model(images)
    assert _differ(expected, [torch.from_numpy(map_) for map_ in run_network(network, images.numpy())]) < 1e-4


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
def test_names_strides_and_anchors_are_read_from_the_file(
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


def test_the_averaged_weights_are_used(forge: Any) -> None:
    last, average = (forge.model(_two_scales(forge), strides=(4, 8)) for _ in range(2))
    nn.init.constant_(average.model[8].m[0].bias, 7)
    model = _load(forge.save({"model": last, "ema": average}))
    assert model.state_dict()["model.8.m.0.bias"].unique().tolist() == [7]


def test_bn_settings_are_read_from_the_file(forge: Any) -> None:
    source = forge.model(_two_scales(forge), strides=(4, 8))
    for module in source.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps, module.momentum = 0.25, 0.5
    normalisations = [
        m for m in _load(forge.save({"model": source})).modules() if isinstance(m, nn.BatchNorm2d)
    ]
    assert {(m.eps, m.momentum) for m in normalisations} == {(0.25, 0.5)}


def test_hub_wrappers_are_removed(forge: Any, random_image: Image) -> None:
    source = forge.model(_two_scales(forge), strides=(4, 8))
    wrapped = forge.AutoShape(forge.DetectMultiBackend(source))
    for value in (wrapped, {"model": wrapped}, forge.AutoShape(source)):
        model = _load(forge.save(value))
        with torch.no_grad():
            assert _differ(source(random_image()), model(random_image())) < 1e-5


def test_cached_anchors_of_older_versions_are_ignored(forge: Any) -> None:
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
        ("unknown layer", r"layer 2: unknown layer 'models\.common\.Mystery'"),
        ("segmentation", "layer 8: Segment without its part 'proto'"),
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
        ("padding mode", "padding other than zeros"),
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
    with pytest.raises(CheckpointError, match=r"bare weights without a published YOLOv5 layout"):
        _load(tmp_path / "a.safetensors")
