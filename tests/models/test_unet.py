"""U-Net, from its shapes and back."""

from __future__ import annotations

import pytest
import torch

from edgevision.errors import CheckpointError, UsageError
from edgevision.models.unet import DoubleConv, UNet, unet_from_state_dict


@pytest.mark.parametrize("widths", [(4, 8), (4, 8, 8, 16)])
def test_logits_of_the_input_s_size_and_back_from_a_state_dict(widths: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    source = UNet(3, widths).eval()
    found = unet_from_state_dict({f"model.{k}": v for k, v in source.state_dict().items()})
    assert (found.class_count, found.widths, found.stride) == (3, widths, 2 ** len(widths))
    image = torch.rand(2, 3, 2 * found.stride, 3 * found.stride)
    with torch.no_grad():
        logits = found(image)
        assert logits.shape == (2, 3, *image.shape[2:])
        assert torch.equal(logits, source(image))


def test_skip_connections_reach_the_output() -> None:
    """With the deep path cut off, the rest still distinguishes places."""
    torch.manual_seed(0)
    model = UNet(2, (8, 8, 8)).eval()
    image = torch.rand(1, 3, 32, 32)
    levels = [level for level in model.down if isinstance(level, DoubleConv)]
    with torch.no_grad():
        before = model(image)
        torch.nn.init.zeros_(levels[-1].bn2.weight)
        cut = model(image)
        assert not torch.equal(before, cut)
        assert cut.std() > 1e-4
        for level in levels:
            torch.nn.init.zeros_(level.bn2.weight)
        # Away from the border, whose padding can be seen, nothing is left to tell places by.
        assert model(image)[0, 0, 14:18, 14:18].std() < 1e-6


@pytest.mark.parametrize(
    "left_out", ["down.0.conv1.weight", "down.1.conv1.weight", "classifier.weight", "up.0.conv.bn1.bias"]
)
def test_another_network_s_weights(left_out: str) -> None:
    tensors = UNet(2, (4, 4)).state_dict()
    del tensors[left_out]
    with pytest.raises(CheckpointError):
        unet_from_state_dict(tensors)


def test_impossible_shapes() -> None:
    with pytest.raises(UsageError, match="at least two widths"):
        UNet(2, (4,))
