"""The Lightning module that training of all tasks shares."""

from __future__ import annotations

import abc
import math
from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

import lightning
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import nn

from edgevision.errors import EdgevisionError
from edgevision.models.plan import Optimization
from edgevision.train.loop.ema import WeightAverage
from edgevision.train.loop.optimizer import MuonAdamW, build_optimizer
from edgevision.train.loop.schedule import Schedule, TrainingProgress

Batch = TypeVar("Batch")


class ModuleInTraining(lightning.LightningModule, abc.ABC, Generic[Batch]):
    """Optimizer, learning rate schedule, moving average of weights and sums of the losses.

    A task defines its losses, its last layers and the transfer of its batches to a device.
    """

    def __init__(
        self, model: nn.Module, settings: Optimization, progress: TrainingProgress, seed: int
    ) -> None:
        super().__init__()
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stubs want a tensor
        self.settings, self.progress, self.seed = settings, progress, seed
        self.schedule = Schedule(settings.warmup, settings.final_lr)
        self.average = WeightAverage(self.model, settings.ema_decay, settings.ema_ramp_steps)
        self._sums: dict[str, torch.Tensor] = {}
        self._counts: dict[str, int] = {}

    @abc.abstractmethod
    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The loss to be differentiated under "loss", and further values to plot."""

    @abc.abstractmethod
    def last_layers(self) -> Iterable[nn.Module]:
        """The layers that compute the outputs."""

    @abc.abstractmethod
    def moved(self, batch: Batch, device: torch.device) -> Batch:
        """The batch on a device."""

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:  # noqa: ARG002  # Lightning's signature
        """The loss of one batch."""
        parts = self.losses(batch)
        self.record(parts)
        return parts["loss"]

    def record(self, parts: Mapping[str, torch.Tensor]) -> None:
        """Add a step's values to the epoch's sums."""
        for name, value in parts.items():
            self._sums[name] = self._sums.get(name, torch.zeros((), device=value.device)) + value.detach()
            self._counts[name] = self._counts.get(name, 0) + 1

    def on_fit_start(self) -> None:
        """Move the average to the network's device."""
        self.average.model.to(self.device)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002
        """Set the learning rates; random draws of the network depend on seed and step."""
        factor = self.lr_factor()
        for optimizer in self.all_optimizers():
            for group in optimizer.param_groups:
                group["lr"] = self.peak_lr(group) * factor
        torch.manual_seed(self.seed * 1_000_003 + self.progress.step * 64 + self.global_rank)

    def lr_factor(self) -> float:
        """Share of the peak learning rates at the present progress."""
        return self.schedule.factor(self.progress.share)

    def peak_lr(self, group: dict[str, Any]) -> float:
        """The peak learning rate of a group of parameters."""
        return float(group["peak_lr"])

    def all_optimizers(self) -> list[LightningOptimizer]:
        """The optimizers, in the order of `configure_optimizers`."""
        found = self.optimizers()
        return found if isinstance(found, list) else [found]

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002
        """Count the step, update the average, and stop on time."""
        self.average.update(self.model)
        self.progress.advance(self.trainer.strategy)
        if self.progress.share >= 1:
            self.trainer.should_stop = True

    def mean_losses(self) -> dict[str, float]:
        """Means since the last call; raises if the loss is no longer finite."""
        means = {name: float(value) / self._counts[name] for name, value in self._sums.items()}
        self._sums, self._counts = {}, {}
        if not math.isfinite(means.get("loss", 0.0)):
            raise EdgevisionError(
                f"the loss is not finite at step {self.progress.step}: lower the learning rate or look for broken"
                " labels; the last checkpoint is older, and --resume would fail at the same step"
            )
        return means

    def configure_optimizers(self) -> MuonAdamW:
        """Muon for hidden filters, AdamW for the rest."""
        return build_optimizer(
            self.model,
            lr_matrix=self.settings.lr_filters,
            lr_vector=self.settings.lr_others,
            weight_decay=self.settings.weight_decay,
            output=self.last_layers(),
        )

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:  # noqa: ARG002
        """Move a batch; Lightning does not support our records."""
        return self.moved(batch, device)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the state that Lightning does not save."""
        checkpoint["average"] = self.average.state_dict()
        checkpoint["progress"] = self.progress.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the state that Lightning does not save."""
        self.average.load_state_dict(checkpoint["average"])
        self.progress.load_state_dict(checkpoint["progress"])


def tensor_from_frames(
    frames: torch.Tensor, scale: float, mean: Iterable[float], std: Iterable[float]
) -> torch.Tensor:
    """Frames uint8 ``[B,H,W,3]`` BGR to float32 ``[B,3,H,W]`` RGB, ``(value * scale - mean) / std``, channels last."""
    images = frames.permute(0, 3, 1, 2).flip(1).float() * scale
    mean, std = images.new_tensor(list(mean)).view(-1, 1, 1), images.new_tensor(list(std)).view(-1, 1, 1)
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)
