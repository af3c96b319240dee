"""Recognition of classifiers, the input that is expected of them, and errors about foreign weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from edgevision.errors import CheckpointError, UsageError
from edgevision.models.classifiers.family import Library, classifier_from_state_dict
from tests.models.classifiers.library_names import CASES, FAMILIES, family_with, library_of, library_sizes


def _state(case: str, classes: int = 3) -> dict[str, torch.Tensor]:
    sizes = library_sizes(CASES[case][1], classes, library_of(case))
    with torch.device("meta"):
        return {name: torch.empty(size) for name, size in sizes.items()}


@pytest.mark.parametrize(
    ("family", "member", "library", "size", "crop", "mean"),
    [
        ("efficientnet", 0, "timm", 224, 0.875, 0.485),
        ("efficientnet", 2, "torchvision", 288, 1.0, 0.485),
        ("efficientnet", 4, "torchvision", 380, 380 / 384, 0.485),
        ("efficientnet", 4, "timm", 320, 0.875, 0.485),
        ("regnet", 0, "timm", 224, 0.875, 0.485),
    ],
)
def test_expected_input(
    family: str, member: int, library: Library, size: int, crop: float, mean: float
) -> None:
    found = FAMILIES[family]
    assert not callable(found.shapes)
    expected = found.expected(found.shapes[member], library)
    assert expected.size_wh == (size, size)
    assert expected.crop_fraction == pytest.approx(crop)
    assert expected.mean[0] == mean


def test_a_vit_s_input_follows_its_position_embeddings() -> None:
    timm = classifier_from_state_dict(FAMILIES["vit"], _state("timm/vit"))
    assert timm.expected.size_wh == (64, 64)
    assert (timm.expected.mean, timm.expected.std) == ((0.5,) * 3, (0.5,) * 3)
    torchvision = classifier_from_state_dict(FAMILIES["vit"], _state("torchvision/vit"))
    assert torchvision.expected.mean == (0.485, 0.456, 0.406)
    with (
        torch.device("meta"),
        pytest.raises(UsageError, match="64x64 px; received 96x64; export it without --size"),
    ):
        timm.module(torch.empty(1, 3, 64, 96))


@pytest.mark.parametrize("name", FAMILIES)
def test_other_weights(name: str) -> None:
    assert FAMILIES[name].library({"a": torch.ones(1, 1)}) is None
    with pytest.raises(
        CheckpointError, match=r"not the weights of a .*expected .* \(torchvision\) or .* \(timm\)"
    ):
        classifier_from_state_dict(FAMILIES[name], {"a": torch.ones(1, 1)})


@pytest.mark.parametrize(
    ("case", "changes", "message"),
    [
        ("timm/mobilenetv2_035", {"classifier.weight": (0, 1280)}, "classifier.weight has shape"),
        ("timm/vit", {"patch_embed.proj.weight": (192, 3, 0, 0)}, "expected a multiple of 64"),
        ("timm/convnext", {"stages.1.blocks.0.conv_dw.weight": ()}, "not weights of depthwise convolutions"),
        ("timm/convnext", {"stages.1.blocks.0.conv_dw.weight": (0, 1, 7, 7)}, "not weights of depthwise"),
        (
            "timm/mobilenetv2_035",
            {"classifier.weight": (3, 999)},
            "a MobileNetV2 whose last layer takes 999 features is not one of MobileNetV2, MobileNetV2 x0.35",
        ),
        (
            "timm/mobilenetv2_035",
            {"blocks.1.0.conv_dw.bias": (48,)},
            "not expected: features.2.conv.1.0.bias",
        ),
        (
            "timm/regnetx_002",
            {"s1.b2.conv1.conv.weight": (24, 24, 1, 1)},
            "not expected: s1.b2.conv1.conv.weight",
        ),
        ("timm/vit", {"blocks.0.ls1.gamma": (192,)}, "not expected: blocks.0.ls1.gamma"),
        (
            "timm/vit",
            {"pos_embed": (1, 18, 192)},
            "18 position embeddings: expected a multiple of 64, and a square",
        ),
        (
            "torchvision/convnext",
            {"features.1.0.block.0.weight": (16, 1, 5, 5)},
            "of shape: features.1.0.block.0.weight",
        ),
    ],
)
def test_similar_weights_of_another_network(case: str, changes: dict[str, Any], message: str) -> None:
    family = family_with(*CASES[case])
    state = _state(case) | {name: torch.empty(size, device="meta") for name, size in changes.items()}
    with pytest.raises(CheckpointError, match=message.replace(".", r"\.")):
        classifier_from_state_dict(family, state)


def test_a_missing_tensor_is_named_as_torchvision_s() -> None:
    state = _state("timm/efficientnet_b0")
    del state["blocks.3.1.bn2.running_var"]
    with pytest.raises(CheckpointError, match=r"missing: features\.4\.1\.block\.1\.1\.running_var"):
        classifier_from_state_dict(FAMILIES["efficientnet"], state)


def test_a_convnext_s_blocks_and_channels_are_read() -> None:
    family = FAMILIES["convnext"]
    assert callable(family.shapes)
    (shape,) = family.shapes(_state("timm/convnext"), "timm")
    assert (shape.depths, shape.widths) == ((1, 1, 2, 1), (16, 32, 64, 128))
    assert shape.name == "ConvNeXt 16-32-64-128"
    assert family.expected(family.smallest, "torchvision").crop_fraction == pytest.approx(224 / 236)
    state = {
        name: value for name, value in _state("timm/convnext").items() if not name.startswith("stages.3")
    }
    with pytest.raises(CheckpointError, match=r"a ConvNeXt of \[1, 1, 2, 0\] blocks: expected four stages"):
        classifier_from_state_dict(family, state)
