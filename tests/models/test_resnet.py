"""ResNet with torchvision's names and published parameter counts."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from edgevision.errors import CheckpointError, UsageError
from edgevision.models.resnet import resnet, resnet_from_state_dict

PUBLISHED_PARAMETERS = {18: 11_689_512, 34: 21_797_672, 50: 25_557_032}
"""As torchvision documents them, for 1,000 classes."""


def _image(size: int) -> torch.Tensor:
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("depth", PUBLISHED_PARAMETERS)
def test_parameters_and_names(depth: int) -> None:
    with torch.device("meta"):
        model = resnet(depth)
    assert sum(parameter.numel() for parameter in model.parameters()) == PUBLISHED_PARAMETERS[depth]
    names = set(model.state_dict())
    assert {
        "conv1.weight",
        "bn1.running_mean",
        "layer1.0.bn2.bias",
        "layer4.1.conv1.weight",
        "fc.bias",
    } <= names
    assert ("layer1.0.downsample.0.weight" in names) == (depth == 50)
    assert "layer2.0.downsample.1.num_batches_tracked" in names
    assert not any(name.startswith(("maxpool", "avgpool")) for name in names)


@pytest.mark.parametrize(("depth", "stem", "size"), [(18, "imagenet", 64), (50, "cifar", 16)])
def test_from_a_state_dict(depth: int, stem: Any, size: int) -> None:
    torch.manual_seed(0)
    source = resnet(depth, 7, stem=stem).eval()
    found = resnet_from_state_dict(source.state_dict())
    assert (found.depth, found.class_count, found.stem, found.training) == (depth, 7, stem, False)
    with torch.no_grad():
        assert found(_image(size)).shape == (2, 7)
        assert torch.equal(found(_image(size)), source(_image(size)))


def test_resolution_within_the_network() -> None:
    shapes = {}
    for stem, size in (("imagenet", 64), ("cifar", 32)):
        model = resnet(18, 2, stem=stem).eval()  # type: ignore[arg-type]  # a literal in a loop
        layer = model.get_submodule("layer4")
        layer.register_forward_hook(lambda _m, _i, out, key=stem: shapes.update({key: tuple(out.shape[2:])}))
        with torch.no_grad():
            model(_image(size))
    assert shapes == {"imagenet": (2, 2), "cifar": (4, 4)}


def test_a_training_wrapper_prefix_is_removed() -> None:
    source = resnet(18, 3)
    wrapped = {f"model.{name}": tensor for name, tensor in source.state_dict().items()}
    assert resnet_from_state_dict(wrapped).class_count == 3


def test_what_is_no_known_resnet() -> None:
    with pytest.raises(UsageError, match="depth 19 is not one of 18, 34, 50"):
        resnet(19)
    state = resnet(18, 3).state_dict()
    with pytest.raises(CheckpointError, match=r"not the weights of a ResNet"):
        resnet_from_state_dict({"a": torch.ones(1)})
    deeper = {**state, "layer3.2.conv1.weight": torch.ones(1)}
    with pytest.raises(
        CheckpointError, match=r"a ResNet of \(2, 2, 3, 2\) basic blocks is not one of ResNet 18, 34, 50"
    ):
        resnet_from_state_dict(deeper)
    wide = {**state, "layer1.0.conv1.weight": torch.ones(128, 64, 3, 3)}
    with pytest.raises(
        CheckpointError, match=r"layer1\.0\.conv1\.weight \[128, 64, 3, 3\] instead of \[64, 64, 3, 3\]"
    ):
        resnet_from_state_dict(wide)
    del state["bn1.bias"]
    with pytest.raises(CheckpointError, match=r"missing: bn1\.bias"):
        resnet_from_state_dict(state)


def test_weights_of_whole_numbers_are_an_error() -> None:
    """Such as those of a model that was quantized in PyTorch."""
    tensors = resnet(18, 2).state_dict()
    tensors["layer1.0.conv1.weight"] = tensors["layer1.0.conv1.weight"].to(torch.int8)
    with pytest.raises(CheckpointError, match="ResNet; not floating-point: layer1.0.conv1.weight int8"):
        resnet_from_state_dict(tensors)
