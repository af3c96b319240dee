"""Training of CycleGAN: unpaired translation between two kinds of images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from edgevision.models.plan import CycleGanPlan
from edgevision.models.translators.cyclegan import PatchCritic, TranslatorPair
from edgevision.train.data.pictures import Picture
from edgevision.train.data.unpaired import UnpairedImages, draw_sample
from edgevision.train.loop.module import ModuleInTraining
from edgevision.train.loop.schedule import TrainingProgress
from edgevision.train.tasks.detector import TensorOf
from edgevision.train.translation.buffer import ImageBuffer


@dataclass(frozen=True, slots=True, eq=False)
class UnpairedBatch:
    """`first` and `second` uint8 ``[B,S,S,3]`` BGR; their rows do not correspond."""

    first: torch.Tensor
    second: torch.Tensor


class UnpairedDrawer:
    """Draws batches; samples of the smaller kind are random ones."""

    def __init__(self, images: UnpairedImages, size: int) -> None:
        self.images, self.size = images, size

    def __call__(
        self,
        indices: list[int],
        generators: list[np.random.Generator],
        share: float,  # noqa: ARG002  # all of the training is alike
    ) -> UnpairedBatch:
        """One sample of each kind for each index, from its own generator."""
        kinds = (self.images.first, self.images.second)
        larger = 0 if len(kinds[0]) >= len(kinds[1]) else 1
        drawn: tuple[list[Picture], list[Picture]] = ([], [])
        for index, rng in zip(indices, generators, strict=True):
            for kind, images in enumerate(kinds):
                place = index if kind == larger else int(rng.integers(len(images)))
                drawn[kind].append(draw_sample(images[place], self.size, rng))
        first, second = (torch.from_numpy(np.stack(part)) for part in drawn)
        return UnpairedBatch(first, second)


class CycleGanInTraining(ModuleInTraining[UnpairedBatch]):
    """Each batch updates both generators, then both critics on images of the past.

    Losses: least squares of the critics (arXiv 1611.04076); mean absolute differences of the cycle and, with the plan's
    share of its weight, of images that are already of the target's kind (arXiv 1703.10593, sections 3 and 5.2).
    """

    model: TranslatorPair

    def __init__(
        self,
        model: TranslatorPair,
        plan: CycleGanPlan,
        progress: TrainingProgress,
        seed: int,
        tensor_of: TensorOf,
    ) -> None:
        super().__init__(model, plan.optimization, progress, seed)
        self.plan, self.tensor_of = plan, tensor_of
        self.critics = nn.ModuleDict({"first": PatchCritic(plan.critic), "second": PatchCritic(plan.critic)})
        self.earlier = {kind: ImageBuffer(plan.buffer) for kind in ("first", "second")}
        self.automatic_optimization = False

    def training_step(self, batch: UnpairedBatch, batch_idx: int) -> torch.Tensor:  # noqa: ARG002  # Lightning's signature
        """Update the generators against the critics, then the critics."""
        of_generators, of_critics = self.all_optimizers()
        real = {"first": self.tensor_of(batch.first), "second": self.tensor_of(batch.second)}
        self.critics.requires_grad_(False)
        parts, made = self.generator_losses(real)
        of_generators.zero_grad()
        self.manual_backward(parts["loss"])
        of_generators.step()
        self.critics.requires_grad_(True)
        parts["critic"] = self.critic_loss(real, made)
        of_critics.zero_grad()
        self.manual_backward(parts["critic"])
        of_critics.step()
        self.record(parts)
        return parts["loss"].detach()

    def losses(self, batch: UnpairedBatch) -> dict[str, torch.Tensor]:
        """The losses of the generators."""
        return self.generator_losses(
            {"first": self.tensor_of(batch.first), "second": self.tensor_of(batch.second)}
        )[0]

    def generator_losses(
        self, real: dict[str, torch.Tensor]
    ) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """The losses of the generators, their sum under "loss"; and the images that they made."""
        first, second, count = real["first"], real["second"], len(real["first"])
        same_kind = self.plan.identity > 0
        forth = self.model.forth(torch.cat((first, second)) if same_kind else first)
        back = self.model.back(torch.cat((second, first)) if same_kind else second)
        made = {"second": forth[:count], "first": back[:count]}
        fooled = sum(
            ((self.critics[kind](image) - 1).square().mean() for kind, image in made.items()),
            first.new_zeros(()),
        )
        cycle = F.l1_loss(self.model.back(made["second"]), first) + F.l1_loss(
            self.model.forth(made["first"]), second
        )
        same = first.new_zeros(())
        if same_kind:
            same = F.l1_loss(forth[count:], second) + F.l1_loss(back[count:], first)
        loss = fooled + self.plan.cycle * (cycle + self.plan.identity * same)
        return {"loss": loss, "fooled": fooled, "cycle": cycle, "identity": same}, made

    def critic_loss(self, real: dict[str, torch.Tensor], made: dict[str, torch.Tensor]) -> torch.Tensor:
        """The loss of both critics, on real images and on made ones of this step and of earlier ones."""
        total = next(iter(real.values())).new_zeros(())
        for kind, critic in self.critics.items():
            fake = self.earlier[kind].exchange(made[kind].detach())
            total = total + (critic(real[kind]) - 1).square().mean() + critic(fake).square().mean()
        return total / 2

    def peak_lr(self, group: dict[str, Any]) -> float:  # noqa: ARG002  # that of all groups
        """The plan's."""
        return self.plan.lr

    def configure_optimizers(self) -> Any:
        """Adam for the generators, and for the critics."""
        return [
            torch.optim.Adam(networks.parameters(), lr=self.plan.lr, betas=(0.5, 0.999))
            for networks in (self.model, self.critics)
        ]

    def last_layers(self) -> Iterable[nn.Module]:
        """The last convolutions of both generators."""
        return (self.model.forth.last, self.model.back.last)

    def moved(self, batch: UnpairedBatch, device: torch.device) -> UnpairedBatch:
        """The batch on a device."""
        return UnpairedBatch(
            batch.first.to(device, non_blocking=True), batch.second.to(device, non_blocking=True)
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the images of the past."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["made"] = {kind: buffer.images for kind, buffer in self.earlier.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the images of the past."""
        super().on_load_checkpoint(checkpoint)
        for kind, buffer in self.earlier.items():
            buffer.images = list(checkpoint["made"][kind])
