"""Training of style transfer: perceptual losses of content and style, and total variation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from edgevision.models.plan import StylePlan
from edgevision.models.translators.perception import CONTENT, Perception, statistics
from edgevision.models.translators.style import StyleNetwork
from edgevision.train.data.pictures import Picture
from edgevision.train.data.unpaired import draw_sample
from edgevision.train.loop.module import ModuleInTraining
from edgevision.train.loop.schedule import TrainingProgress
from edgevision.train.tasks.detector import TensorOf


@dataclass(frozen=True, slots=True, eq=False)
class StyleBatch:
    """`images` uint8 ``[B,S,S,3]`` BGR and `labels` int64 ``[B]``, the style that each one gets."""

    images: torch.Tensor
    labels: torch.Tensor


class StyleDrawer:
    """Draws samples of images, each with a random style."""

    def __init__(self, images: Sequence[Picture], size: int, styles: int) -> None:
        self.images, self.size, self.styles = images, size, styles

    def __call__(
        self,
        indices: list[int],
        generators: list[np.random.Generator],
        share: float,  # noqa: ARG002  # all of the training is alike
    ) -> StyleBatch:
        """One sample for each index, from its own generator."""
        drawn = [
            draw_sample(self.images[place], self.size, rng)
            for place, rng in zip(indices, generators, strict=True)
        ]
        labels = [int(rng.integers(self.styles)) for rng in generators]
        return StyleBatch(torch.from_numpy(np.stack(drawn)), torch.tensor(labels))


class StyleLoss(nn.Module):
    """Compares images with their content and with a style; all parts are relative to the size of what they compare."""

    def __init__(self, perception: Perception, styles: Sequence[torch.Tensor], plan: StylePlan) -> None:
        """`styles` are images ``[1,3,H,W]`` RGB in 0..1, of any size."""
        super().__init__()
        self.perception, self.plan = perception, plan
        with torch.no_grad():
            found = [statistics(style, perception(style)) for style in styles]
        self.count = len(found[0])
        for place, parts in enumerate(zip(*found, strict=True)):
            self.register_buffer(f"style{place}", torch.cat(parts), persistent=False)

    def forward(
        self, made: torch.Tensor, images: torch.Tensor, labels: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """The loss under "loss" and its parts: content, style (of features), colours and variation."""
        with torch.no_grad():
            wanted = self.perception(images)[CONTENT]
        features = self.perception(made)
        content = (features[CONTENT] - wanted).square().mean() / wanted.square().mean()
        differences = []
        for place, found in enumerate(statistics(made, features)):
            target = self.get_buffer(f"style{place}")[labels]
            differences.append(((found - target).square().sum((1, 2)) / target.square().sum((1, 2))).mean())
        colours, style = differences[0], torch.stack(differences[1:]).sum()
        across, down = made.diff(dim=3).square().mean(), made.diff(dim=2).square().mean()
        parts = {"content": content, "style": style, "colours": colours, "variation": across + down}
        weights = (self.plan.content, self.plan.style, self.plan.colours, self.plan.variation)
        total = sum(
            (w * part for w, part in zip(weights, parts.values(), strict=True)), content.new_zeros(())
        )
        return {"loss": total, **parts}


def _even(images: torch.Tensor) -> torch.Tensor:
    """Without the last row and column of odd sides."""
    height, width = (side // 2 * 2 for side in images.shape[2:])
    return images[..., :height, :width]


class StyleInTraining(ModuleInTraining[StyleBatch]):
    """A style network with perceptual losses (arXiv 1603.08155, section 3)."""

    def __init__(
        self,
        model: StyleNetwork,
        loss: StyleLoss,
        plan: StylePlan,
        progress: TrainingProgress,
        seed: int,
        tensor_of: TensorOf,
    ) -> None:
        super().__init__(model, plan.optimization, progress, seed)
        self.tensor_of = tensor_of
        # In a tuple, because it is no part of what is trained and saved.
        self._loss = (loss,)

    def on_fit_start(self) -> None:
        """Move the features' network to the device, too."""
        super().on_fit_start()
        self._loss[0].to(self.device)

    def losses(self, batch: StyleBatch) -> dict[str, torch.Tensor]:
        """The loss and its parts."""
        images = self.tensor_of(batch.images)
        made = self.model(images, batch.labels)
        down, across = (int(value) for value in torch.randint(2, (2,)))
        # The features' first layer has a stride: patterns that it cannot see would grow at fixed places.
        parts = (part[..., down:, across:] for part in (made, images))
        (loss,) = self._loss
        found: dict[str, torch.Tensor] = loss(*(_even(part) for part in parts), batch.labels)
        return found

    def last_layers(self) -> Iterable[nn.Module]:
        """The last convolution, and the table of styles, whose rows are learned one by one."""
        assert isinstance(self.model, StyleNetwork)
        return (self.model.last, self.model.styles)

    def moved(self, batch: StyleBatch, device: torch.device) -> StyleBatch:
        """The batch on a device."""
        return StyleBatch(
            batch.images.to(device, non_blocking=True), batch.labels.to(device, non_blocking=True)
        )
