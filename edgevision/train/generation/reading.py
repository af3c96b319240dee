"""Reads a trained generator of any kind from its run or its weights."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from edgevision.checkpoint.reading import read_run
from edgevision.errors import UsageError
from edgevision.models.generators.dcgan import generator_from_state_dict
from edgevision.models.generators.diffusion import denoiser_from_state_dict
from edgevision.models.generators.inpainting import fills_holes
from edgevision.models.generators.sampler import Sampler
from edgevision.models.generators.vae import vae_from_state_dict
from edgevision.models.weights import holds


def read_generator(
    path: Path,
    *,
    steps: int | None = None,
    guidance: float | None = None,
    interval: tuple[float, float] | None = None,
) -> tuple[nn.Module, tuple[int, ...]]:
    """The module (noise, label) -> image of a run folder or a checkpoint, and the shape of one image's noise."""
    tensors = read_run(path).tensors
    if fills_holes(tensors):
        raise UsageError(
            f"{path} fills regions of images; expected a model that makes whole images from noise"
        )
    if holds(tensors, "encoder.first.weight"):
        vae = vae_from_state_dict(tensors)
        return vae, (vae.decoder.noise, 1, 1)
    if not holds(tensors, "stem.weight", "down1.weight"):
        generator = generator_from_state_dict(tensors)
        return generator, (generator.noise, 1, 1)
    denoiser = denoiser_from_state_dict(tensors)
    return Sampler(denoiser, steps, guidance, interval).eval(), denoiser.noise_shape
