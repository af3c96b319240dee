"""Images from captions in the structure of DALL-E 2 (Ramesh et al., arXiv 2204.06125): four networks, one module.

| network | maps |
|---|---|
| `encoder` | captions and images to vectors, near each other for pairs (contrastive, arXiv 2103.00020) |
| `prior` | a caption's vector and noise to the vector of an image, by flow matching |
| `decoder` | both vectors and noise to a small image, by flow matching |
| `upsampler` | a small image to one of twice the side |

Vectors have the length of the square root of their size, so that their values have the scale of the noise.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from edgevision.errors import CheckpointError
from edgevision.models.generators.diffusion import (
    ADAMS_ORDER,
    Denoiser,
    MapAttention,
    TimeEmbedding,
    denoiser_from_state_dict,
)
from edgevision.models.generators.sampler import SamplingSchedule, sampled, schedule_of, times
from edgevision.models.generators.words import LENGTH, WORDS
from edgevision.models.sr import Upscaler, upscaler_from_state_dict
from edgevision.models.weights import assign_weights

PRIOR_SCHEDULE = SamplingSchedule(times(10, "flow"), (1.0,) * 10, ADAMS_ORDER, "flow")
"""The prior's sampling, whose steps are cheap."""
_GROUPS = 8
_FIRST_SCALE = 2.66
"""Logarithm of the contrastive loss's first scale, 1 / 0.07; its limit is 100 (arXiv 2103.00020, section 2.5)."""
_LARGEST_SCALE = 4.6


class WordEncoder(nn.Module):
    """Tokens int64 ``[B,LENGTH]`` to vectors ``[B,size]``: convolutions over three words, and attention over all."""

    def __init__(self, size: int, width: int, words: int = len(WORDS)) -> None:
        super().__init__()
        self.words = nn.Embedding(words, width)
        self.places = nn.Embedding(LENGTH, width)
        self.near1 = nn.Conv2d(width, width, (1, 3), padding=(0, 1))
        self.attention = MapAttention(width)
        self.near2 = nn.Conv2d(width, width, (1, 3), padding=(0, 1))
        self.norm = nn.GroupNorm(_GROUPS, width)
        self.output = nn.Linear(width, size)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens to vectors of any length."""
        x = (self.words(tokens) + self.places.weight).transpose(1, 2)[:, :, None]  # a map of one row
        x = self.attention(x + F.silu(self.near1(x)))
        x = self.norm(x + F.silu(self.near2(x)))
        out: torch.Tensor = self.output(x.mean((2, 3)))
        return out


class PictureEncoder(nn.Module):
    """Images ``[B,3,28,28]`` in -1..1 to vectors ``[B,size]``: five convolutions, the map halved three times."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        wide = 2 * width
        shapes = ((3, width, 2), (width, width, 1), (width, wide, 2), (wide, wide, 1), (wide, wide, 2))
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride, 1) for before, after, stride in shapes
        )
        self.norms = nn.ModuleList(nn.GroupNorm(_GROUPS, after) for _, after, _ in shapes)
        self.output = nn.Linear(2 * width * 16, size)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images to vectors of any length."""
        x = images
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = F.silu(norm(convolution(x)))
        out: torch.Tensor = self.output(x.flatten(1))
        return out


class PairEncoder(nn.Module):
    """Encodes captions and images to vectors of one space."""

    def __init__(self, size: int = 64, width: int = 48) -> None:
        super().__init__()
        self.size, self.width = size, width
        self.text, self.picture = WordEncoder(size, width), PictureEncoder(size, width)
        self.scale = nn.Parameter(torch.tensor(_FIRST_SCALE))

    def of_texts(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens ``[B,LENGTH]`` to vectors ``[B,size]``."""
        return scaled(self.text(tokens.long()))

    def of_images(self, images: torch.Tensor) -> torch.Tensor:
        """Images ``[B,3,28,28]`` in -1..1 to vectors ``[B,size]``."""
        return scaled(self.picture(images))

    def loss(self, images: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """The symmetric cross entropy of all pairs of a batch (arXiv 2103.00020, figure 3)."""
        scale = self.scale.clamp(max=_LARGEST_SCALE).exp() / self.size
        alike = scale * self.of_images(images) @ self.of_texts(tokens).T
        own = torch.arange(len(alike), device=alike.device)
        loss: torch.Tensor = (F.cross_entropy(alike, own) + F.cross_entropy(alike.T, own)) / 2
        return loss


def scaled(vectors: torch.Tensor) -> torch.Tensor:
    """Vectors ``[B,N]`` of the length of the square root of N."""
    found: torch.Tensor = F.normalize(vectors) * vectors.shape[1] ** 0.5
    return found


class Prior(nn.Module):
    """Noisy vectors ``[B,size,1,1]``, times and captions' vectors ``[B,size]`` to velocities: residual layers."""

    def __init__(self, size: int = 64, width: int = 192, depth: int = 3) -> None:
        super().__init__()
        self.classes, self.width, self.depth = size, width, depth
        self.embedding = TimeEmbedding(width, size, vector=True)
        self.first = nn.Linear(size, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.last = nn.Linear(width, size)

    def forward(self, x: torch.Tensor, time: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Noisy vectors to velocities."""
        condition = self.embedding(time, label)
        inner = self.first(x.flatten(1)) + condition
        for norm, layer in zip(self.norms, self.layers, strict=True):
            inner = inner + F.silu(layer(norm(inner)) + condition)
        out: torch.Tensor = self.last(inner)[:, :, None, None]
        return out


class Text2Image(nn.Module):
    """Noise ``[B,4,28,28]`` and tokens ``[B,LENGTH]`` to images ``[B,3,56,56]`` in 0..1.

    The last channel of the noise is the prior's: its first values, as many as a vector has.
    """

    def __init__(self, encoder: PairEncoder, prior: Prior, decoder: Denoiser, upsampler: Upscaler) -> None:
        super().__init__()
        self.encoder, self.prior, self.decoder, self.upsampler = encoder, prior, decoder, upsampler

    @property
    def noise_shape(self) -> tuple[int, int, int]:
        """Shape of the noise of one image."""
        channels, height, width = self.decoder.noise_shape
        return (channels + 1, height, width)

    def forward(self, noise: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Noise and captions to images."""
        large: torch.Tensor = self.upsampler(self.small(noise, tokens))
        return ((large + 1) / 2).clamp(0, 1)

    def small(self, noise: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Noise and captions to images of the decoder ``[B,3,28,28]`` in -1..1."""
        text = self.encoder.of_texts(tokens)
        of_prior = noise[:, -1].flatten(1)[:, : self.encoder.size, None, None]
        picture = scaled(sampled(self.prior, of_prior, text, PRIOR_SCHEDULE).flatten(1))
        condition = torch.cat((picture, text), 1)
        return sampled(self.decoder, noise[:, :-1], condition, schedule_of(self.decoder)).clamp(-1, 1)


def text2image_from_state_dict(tensors: Mapping[str, torch.Tensor]) -> Text2Image:
    """The `Text2Image` with these weights, in eval mode; its sizes are read from the shapes.

    Raises `CheckpointError` if the weights belong to another network.
    """
    parts = {name: _part(tensors, name) for name in ("encoder", "prior", "decoder", "upsampler")}
    text, first = parts["encoder"].get("text.output.weight"), parts["prior"].get("first.weight")
    known = all(name.partition(".")[0] in parts for name in tensors)
    if text is None or first is None or text.ndim != 2 or first.ndim != 2 or not known:
        raise CheckpointError(
            "not the weights of a Text2Image: expected tensors of encoder, prior, decoder and upsampler"
        )
    depth = sum(name.startswith("layers.") and name.endswith(".weight") for name in parts["prior"])
    encoder, prior = PairEncoder(*text.shape), Prior(first.shape[1], first.shape[0], depth)
    assign_weights(encoder, parts["encoder"])
    assign_weights(prior, parts["prior"])
    decoder = denoiser_from_state_dict(parts["decoder"])
    if decoder.classes != 2 * encoder.size or prior.classes != encoder.size:
        raise CheckpointError(
            f"the vectors have {encoder.size} values, and the decoder takes {decoder.classes}; expected"
            f" {2 * encoder.size}"
        )
    return Text2Image(encoder, prior, decoder, upscaler_from_state_dict(parts["upsampler"])).eval()


def _part(tensors: Mapping[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    return {
        key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")
    }
