"""Inpainting: a masked region of an image, filled by a diffusion model that knows the other pixels."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from edgevision.contract.inputs import MASKED
from edgevision.errors import CheckpointError
from edgevision.models.generators.captioned import TextDenoiser
from edgevision.models.generators.diffusion import Denoiser, assigned, denoiser_from_state_dict
from edgevision.models.generators.sampler import Sampler, sampled
from edgevision.models.weights import holds, without_prefix


def known_maps(images: torch.Tensor, hole: torch.Tensor) -> torch.Tensor:
    """The maps ``[B,C+1,H,W]`` that a `Denoiser` gets: known pixels, 0 in the hole, and the hole.

    `images` ``[B,C,H,W]`` are in -1..1; `hole` ``[B,1,H,W]`` is 1 where the image is unknown, else 0.
    """
    return torch.cat((images * (1 - hole), hole), 1)


def inpainting_denoiser(channels: int, classes: int | None, width: int, size: int) -> Denoiser:
    """A `Denoiser` that gets the maps of `known_maps`; without `classes` it takes a text."""
    if classes is None:
        return TextDenoiser(channels, width, size, given=channels + 1)
    return Denoiser(channels, classes, width, "flow", size, given=channels + 1)


class HoleDenoiser:
    """A `Denoiser` that gets the maps ``[B,C+1,H,W]`` of `known_maps`, and no noise outside of the hole."""

    def __init__(self, denoiser: Denoiser) -> None:
        self.denoiser, self.classes = denoiser, denoiser.classes

    def __call__(
        self, x: torch.Tensor, time: torch.Tensor, label: torch.Tensor, *given: torch.Tensor
    ) -> torch.Tensor:
        """Noisy images to predictions; their content outside of the hole has no effect."""
        predicted: torch.Tensor = self.denoiser(x * given[0][:, -1:], time, label, *given)
        return predicted


class Inpainter(Sampler):
    """The whole sampling as one module: it fills the hole of an image and keeps its other pixels.

    | input | |
    |---|---|
    | noise | float32 ``[B,C,H,W]`` |
    | image | uint8 ``[B,H,W,3]``, BGR; a grey model takes the mean of the channels |
    | mask | uint8 ``[B,H,W]``: the image is filled where it is at least `MASKED` |
    | label | ``[B]``: a class, or the number of classes for none; of a `TextDenoiser` tokens ``[B,LENGTH]`` |

    The result is float32 ``[B,3,H,W]``, RGB in 0..1. Outside of the hole, its values are exactly the image's, and the
    network gets neither noise outside of the hole nor the image inside. Settings are those of `Sampler`.
    """

    def __init__(self, denoiser: Denoiser, steps: int | None = None) -> None:
        super().__init__(denoiser, steps)
        if denoiser.given != denoiser.channels + 1:
            raise CheckpointError(
                f"a network that fills holes takes {denoiser.channels + 1} maps of the known pixels; this one takes"
                f" {denoiser.given}: train it with `edgevision train inpaint`"
            )

    def forward(  # type: ignore[override]  # a sampler that is given an image
        self, noise: torch.Tensor, image: torch.Tensor, mask: torch.Tensor, label: torch.Tensor
    ) -> torch.Tensor:
        """Image and mask to the filled image."""
        rgb = image.float()[..., [2, 1, 0]].permute(0, 3, 1, 2) / 255
        hole = (mask.float()[:, None] >= MASKED).float()
        own = rgb if self.denoiser.channels == 3 else rgb.mean(1, keepdim=True)
        given = known_maps(2 * own - 1, hole)
        x = sampled(HoleDenoiser(self.denoiser), noise, label.long(), self.schedule, given)
        filled = ((x + 1) / 2).clamp(0, 1)
        return torch.where(hole > 0, filled, rgb)


def fills_holes(tensors: Mapping[str, torch.Tensor]) -> bool:
    """True for the weights of an `inpainting_denoiser`: its first layer also takes the maps of the known pixels."""
    tensors = without_prefix(tensors, "stem.weight")
    stem, last = (tensors.get(f"{name}.weight") for name in ("stem", "last"))
    return stem is not None and last is not None and stem.shape[1] == 2 * last.shape[0] + 1


def inpainter_from_state_dict(
    tensors: Mapping[str, torch.Tensor],
) -> Inpainter:
    """The `Inpainter` with these weights, in eval mode; raises `CheckpointError` for those of another network."""
    tensors = without_prefix(tensors, "stem.weight")
    if not holds(tensors, "embedding.label.words.weight"):
        return Inpainter(denoiser_from_state_dict(tensors)).eval()
    stem, last, words = (tensors[f"{name}.weight"] for name in ("stem", "last", "embedding.label.words"))
    width, given = 4 * stem.shape[0], stem.shape[1] - last.shape[0]
    model = assigned(TextDenoiser(last.shape[0], width, given=given, words=words.shape[0]), tensors)
    return Inpainter(model).eval()
