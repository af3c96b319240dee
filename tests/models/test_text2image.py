"""Text to image: the networks depend on noise and caption, and their weights state their sizes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgevision.errors import CheckpointError
from edgevision.models.generators.diffusion import Denoiser, denoiser_from_state_dict
from edgevision.models.generators.sampler import guided
from edgevision.models.generators.text2image import (
    PairEncoder,
    Prior,
    Text2Image,
    text2image_from_state_dict,
)
from edgevision.models.generators.words import tokens_of_texts
from edgevision.models.sr import Upscaler

SEVEN, TWO = (
    torch.from_numpy(tokens_of_texts([text])) for text in ("a thick red seven on white", "a thin blue two")
)


def network() -> Text2Image:
    """Small networks with random weights, also where training starts at zero."""
    torch.manual_seed(0)
    decoder = Denoiser(3, 32, 16, vector=True)
    decoder.steps.fill_(2)
    decoder.guidance.fill_(2.0)
    model = Text2Image(PairEncoder(16, 16), Prior(16, 32, 2), decoder, Upscaler(2, 8, 2))
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and not module.weight.any():
            nn.init.normal_(module.weight, std=0.05)
    return model.eval()


def noise(seed: int) -> torch.Tensor:
    return torch.randn((1, 4, 28, 28), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_images_depend_on_each_input() -> None:
    model = network()
    first = model(noise(0), SEVEN)
    assert first.shape == (1, 3, 56, 56)
    assert first.min() >= 0
    assert first.max() <= 1
    assert torch.equal(first, model(noise(0), SEVEN))
    assert not torch.allclose(first, model(noise(0), TWO), atol=1e-3)
    other = noise(0)
    other[:, :3] = noise(1)[:, :3]
    assert not torch.allclose(first, model(other, SEVEN), atol=1e-3)


@torch.no_grad()
def test_the_prior_takes_the_first_values_of_the_last_channel() -> None:
    model, used, unused = network(), noise(0), noise(0)
    used[:, 3, 0, :16] += 3
    unused[:, 3, 0, 16:] += 3
    first = model(noise(0), SEVEN)
    assert not torch.allclose(first, model(used, SEVEN), atol=1e-4)
    assert torch.equal(first, model(unused, SEVEN))


@torch.no_grad()
def test_weights_state_their_sizes() -> None:
    model = network()
    again = text2image_from_state_dict(model.state_dict())
    assert torch.equal(model(noise(0), SEVEN), again(noise(0), SEVEN))
    assert (int(again.decoder.steps), float(again.decoder.guidance)) == (2, 2.0)


def test_other_weights_are_an_error() -> None:
    with pytest.raises(CheckpointError, match="not the weights of a Text2Image"):
        text2image_from_state_dict(Denoiser(1, 2, 16).state_dict())
    mixed = network().state_dict() | {
        f"prior.{name}": value for name, value in Prior(8, 32, 2).state_dict().items()
    }
    with pytest.raises(CheckpointError, match="the decoder takes 32"):
        text2image_from_state_dict(mixed)


def test_vectors_have_the_scale_of_noise() -> None:
    encoder = PairEncoder(16, 16)
    for vectors in (encoder.of_texts(SEVEN), encoder.of_images(torch.rand((1, 3, 28, 28)))):
        assert float(vectors.square().mean().detach()) == pytest.approx(1, rel=1e-5)


def test_word_order_matters() -> None:
    """Ink and paper differ only by their places."""
    torch.manual_seed(0)
    encoder = PairEncoder(16, 16)
    pair = encoder.of_texts(torch.from_numpy(tokens_of_texts(["red on white", "white on red"])))
    assert not torch.allclose(pair[0], pair[1], atol=1e-3)


def test_loss_of_pairs() -> None:
    """Equal vectors of each pair and orthogonal ones of others: e^s against n - 1 times e^0."""

    class Known(PairEncoder):
        def of_images(self, images: torch.Tensor) -> torch.Tensor:
            return torch.eye(4, 16) * 4

        def of_texts(self, tokens: torch.Tensor) -> torch.Tensor:
            return torch.eye(4, 16) * 4

    encoder = Known(16, 16)
    nn.init.constant_(encoder.scale, 0.0)
    expected = torch.log(torch.tensor(torch.e + 3)) - 1
    assert torch.allclose(encoder.loss(SEVEN, SEVEN), expected, atol=1e-5)


def test_a_denoiser_of_vectors_is_guided_from_zeros() -> None:
    torch.manual_seed(0)
    model = Denoiser(3, 6, 16, vector=True).eval()
    nn.init.normal_(model.last.weight)
    x, time, label = torch.rand((2, 3, 8, 8)), torch.tensor([0.4]), torch.rand((2, 6))
    with torch.no_grad():
        given, none = model(x, time, label), model(x, time, torch.zeros_like(label))
        assert torch.allclose(guided(model, x, time, label, 3.0), none + 3 * (given - none), atol=1e-4)
        again = denoiser_from_state_dict(model.state_dict())
        assert torch.equal(again(x, time, label), given)
    assert again.classes == 6
