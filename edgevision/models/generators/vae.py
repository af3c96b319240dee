"""A variational autoencoder of small images (arXiv 1312.6114): an encoder, a decoder, and codes by class."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from edgevision.errors import CheckpointError
from edgevision.models.generators.dcgan import ImageGenerator, generator_from_state_dict
from edgevision.models.weights import assign_weights, without_prefix


class ImageEncoder(nn.Module):
    """Images float32 ``[B,C,size,size]`` in 0..1 to mean and logarithm of the variance, each ``[B,noise]``."""

    def __init__(self, channels: int = 1, noise: int = 16, width: int = 32, size: int = 28) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, width, 4, 2, 1)
        self.second = nn.Conv2d(width, 2 * width, 4, 2, 1)
        self.norm = nn.BatchNorm2d(2 * width)
        self.code = nn.Linear(2 * width * (size // 4) ** 2, 2 * noise)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Images to the distribution of their codes."""
        x = F.relu(self.norm(self.second(F.relu(self.first(2 * x - 1)))))
        mean, log_variance = self.code(x.flatten(1)).chunk(2, 1)
        return mean, log_variance


class Vae(nn.Module):
    """An `ImageEncoder`, and an `ImageGenerator` as the decoder of its codes.

    Codes of each class are normally distributed, with a mean and a variance that are learned. So noise float32
    ``[B,noise,1,1]`` becomes codes of the labels ``[B]``, and the decoder makes images in 0..1 of them. With one normal
    distribution for all classes, codes would hold the class too, and a decoder that follows them ignores the label.
    """

    def __init__(
        self, channels: int = 1, classes: int = 10, noise: int = 16, width: int = 32, size: int = 28
    ) -> None:
        super().__init__()
        self.encoder = ImageEncoder(channels, noise, width, size)
        self.decoder = ImageGenerator(channels, classes, noise, width, size)
        self.prior = nn.Embedding(classes, 2 * noise)
        nn.init.zeros_(self.prior.weight)

    def forward(self, noise: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Noise to images."""
        mean, log_variance = self.code_distribution(label)
        images: torch.Tensor = self.decoder(mean + (log_variance / 2).exp() * noise.flatten(1), label)
        return images

    def code_distribution(self, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and logarithm of the variance of the codes of a class, each ``[B,noise]``."""
        mean, log_variance = self.prior(label.long()).chunk(2, 1)
        return mean, log_variance


class MeanEncoder(nn.Module):
    """Images uint8 ``[B,size,size,3]`` BGR to codes float32 ``[B,noise]``, the means of their distributions.

    A grey model takes the mean of the channels.
    """

    def __init__(self, model: Vae) -> None:
        super().__init__()
        self.encoder, self.grey = model.encoder, model.decoder.channels == 1

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Images to codes."""
        rgb = image.float()[..., [2, 1, 0]].permute(0, 3, 1, 2) / 255
        mean: torch.Tensor = self.encoder(rgb.mean(1, keepdim=True) if self.grey else rgb)[0]
        return mean


def elbo_parts(
    model: Vae, images: torch.Tensor, label: torch.Tensor, draws: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Reconstruction and divergence, each ``[B]`` in nats, of images ``[B,C,H,W]`` in 0..1.

    Their sum is the negative ELBO (arXiv 1312.6114, section 3): the cross entropy of pixels taken as probabilities, and
    the Kullback-Leibler divergence of the code from the distribution of its class. `draws` ``[B,noise]`` are normal.
    """
    mean, log_variance = model.encoder(images)
    code = mean + (log_variance / 2).exp() * draws
    logits = 2 * model.decoder.unbounded(code, label)  # sigmoid(2 a) = (tanh(a) + 1) / 2
    crossed = F.binary_cross_entropy_with_logits(logits, images, reduction="none").flatten(1).sum(1)
    of_class, log_class_variance = model.code_distribution(label)
    ratio = log_variance - log_class_variance
    divergence = (((mean - of_class).square() / log_class_variance.exp()) + ratio.exp() - 1 - ratio).sum(
        1
    ) / 2
    return crossed, divergence


def vae_from_state_dict(tensors: Mapping[str, torch.Tensor]) -> Vae:
    """The `Vae` with these weights, in eval mode; its sizes are read from the shapes.

    Raises `CheckpointError` if the weights belong to another network.
    """
    tensors = without_prefix(tensors, "encoder.first.weight")
    inner = {
        name.removeprefix("decoder."): value for name, value in tensors.items() if name.startswith("decoder.")
    }
    if "encoder.first.weight" not in tensors:
        raise CheckpointError("not the weights of a Vae: expected encoder.first.weight")
    decoder = generator_from_state_dict(inner)
    model = Vae(decoder.channels, decoder.classes, decoder.noise, decoder.width, decoder.size)
    assign_weights(model, tensors)
    return model.eval()
