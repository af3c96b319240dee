"""The small classifier: size, free input size, and reading its architecture back."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from edgevision.errors import CheckpointError, UsageError
from edgevision.models.cnn import Cnn, cnn_from_state_dict


def test_it_is_small() -> None:
    assert sum(parameter.numel() for parameter in Cnn().parameters()) < 1_000_000


@pytest.mark.parametrize("size_hw", [(8, 8), (32, 32), (33, 50), (224, 160)])
def test_any_input_size(size_hw: tuple[int, int]) -> None:
    with torch.no_grad():
        assert Cnn(5).eval()(torch.rand(2, 3, *size_hw)).shape == (2, 5)


@pytest.mark.parametrize("widths", [(32, 64, 64, 128, 128, 256), (8,), (8, 8, 16)])
def test_from_a_state_dict(widths: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    source = Cnn(4, widths).eval()
    for prefix in ("", "net."):
        found = cnn_from_state_dict(
            {f"{prefix}{name}": tensor for name, tensor in source.state_dict().items()}
        )
        assert (found.class_count, found.widths, found.training) == (4, widths, False)
        image = torch.rand(1, 3, 16, 16)
        with torch.no_grad():
            assert torch.equal(found(image), source(image))


def test_it_learns() -> None:
    # Stripes that lie from stripes that stand: two classes that no average colour can separate.
    torch.manual_seed(0)
    labels = torch.arange(32) % 2
    stripes = ((torch.arange(8) % 2).float() * 2 - 1).expand(32, 3, 8, 8).clone()
    stripes[labels == 1] = stripes[labels == 1].transpose(2, 3)
    images = stripes + 0.5 * torch.randn(32, 3, 8, 8)
    model = Cnn(2, (8, 16))
    rate = 0.1
    for _ in range(20):
        loss: Any = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                assert parameter.grad is not None
                parameter.sub_(parameter.grad, alpha=rate)
                parameter.grad = None
    with torch.no_grad():
        assert (model.eval()(images).argmax(1) == labels).all()


def test_what_is_no_cnn() -> None:
    with pytest.raises(CheckpointError, match="not the weights of a Cnn"):
        cnn_from_state_dict({"conv1.weight": torch.ones(1)})
    state = Cnn(3).state_dict()
    del state["features.2.bn.weight"]
    with pytest.raises(CheckpointError, match=r"missing: features\.2\.bn\.weight"):
        cnn_from_state_dict(state)
    with pytest.raises(UsageError, match="must be positive"):
        Cnn(0)
