"""The task of training super-resolution: data, loss and validation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from edgevision.errors import UsageError
from edgevision.evaluation.images import luma, psnr
from edgevision.graph.preprocess import PixelFormat
from edgevision.models.images import images_bgr
from edgevision.models.plan import UpscalerPlan
from edgevision.models.sr import Upscaler
from edgevision.train.data.image_pairs import PairDataset, draw_pair, read_pair_split
from edgevision.train.job import Job, TrainingTask, progress_of, settings_json
from edgevision.train.loop.module import ModuleInTraining
from edgevision.train.loop.schedule import TrainingProgress
from edgevision.train.starting import started
from edgevision.train.tasks.detector import TensorOf

LUMA_OF_RGB = (0.299, 0.587, 0.114)
"""ITU-R BT.601."""


@dataclass(frozen=True, slots=True, eq=False)
class PairBatch:
    """`inputs` uint8 ``[B,S,S,3]`` and `targets` uint8 ``[B,S*factor,S*factor,3]``, both BGR."""

    inputs: torch.Tensor
    targets: torch.Tensor


class PairDrawer:
    """Draws batches from pairs in memory."""

    def __init__(self, dataset: PairDataset, plan: UpscalerPlan) -> None:
        self.dataset, self.plan = dataset, plan

    def __call__(self, indices: list[int], generators: list[np.random.Generator], share: float) -> PairBatch:  # noqa: ARG002  # all of the training is alike
        """One sample for each index, from its own generator."""
        drawn = [
            draw_pair(self.dataset, index, self.plan, rng)
            for index, rng in zip(indices, generators, strict=True)
        ]
        inputs, targets = (torch.from_numpy(np.stack(part)) for part in zip(*drawn, strict=True))
        return PairBatch(inputs, targets)


class UpscalerInTraining(ModuleInTraining[PairBatch]):
    """An upscaler whose loss is the mean absolute difference (arXiv 1707.02921, section 3.3), also of luma.

    PSNR of super-resolution is that of luma, and a small network learns it at the cost of chroma.
    """

    def __init__(
        self, model: nn.Module, plan: UpscalerPlan, progress: TrainingProgress, seed: int, tensor_of: TensorOf
    ) -> None:
        super().__init__(model, plan.optimization, progress, seed)
        self.tensor_of = tensor_of

    def losses(self, batch: PairBatch) -> dict[str, torch.Tensor]:
        """The loss: the sum of the two differences."""
        error = self.model(self.tensor_of(batch.inputs)).float() - self.tensor_of(batch.targets)
        luma_error = torch.einsum("bchw,c->bhw", error, error.new_tensor(LUMA_OF_RGB))
        return {"loss": error.abs().mean() + luma_error.abs().mean()}

    def last_layers(self) -> Iterable[nn.Module]:
        """The last convolution."""
        return [module for module in self.model.modules() if isinstance(module, nn.Conv2d)][-1:]

    def moved(self, batch: PairBatch, device: torch.device) -> PairBatch:
        """The batch on a device."""
        return PairBatch(
            batch.inputs.to(device, non_blocking=True), batch.targets.to(device, non_blocking=True)
        )


def upscaler_task(job: Job, plan: UpscalerPlan, tensor_of: TensorOf) -> TrainingTask:
    """Read all data of the job; raises `UsageError` and `SourceError`."""
    if job.classes is not None or job.monitor is not None or job.balance:
        raise UsageError("super-resolution has no classes: omit --classes, --monitor and --balance")
    train, held, source = read_pair_split(
        Path(job.data), Path(job.held) if job.held else None, plan, seed=job.seed, strict=job.strict
    )
    network = Upscaler(plan.factor, plan.width, plan.depth)
    beginning = started(network, job.weights)
    module = UpscalerInTraining(network, plan, progress_of(job, len(train)), job.seed, tensor_of)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return TrainingTask(
        module=module,
        count=len(train),
        draw=PairDrawer(train, plan),
        order=None,
        measure=lambda: {"PSNR": measured(module.average.model, held, tensor_of, plan.factor, module.device)},
        monitor="PSNR",
        panels=(
            ("mean absolute difference of RGB and luma", ("loss",)),
            ("PSNR on the validation data, dB", ("PSNR",)),
            ("learning rate, share of the peak", ("lr",)),
        ),
        metadata={"names": "[]", "recipe": job.recipe, "torch": torch.__version__, "job": settings_json(job)},
        facts=(
            f"{len(train)} images, {len(held)} held; x{plan.factor}, {parameters:,} parameters",
            source,
            *beginning,
            *dict.fromkeys((*train.warnings, *held.warnings)),
        ),
    )


def measured(
    model: nn.Module, held: PairDataset, tensor_of: TensorOf, factor: int, device: torch.device
) -> float:
    """Mean PSNR of luma over whole images, without `factor` pixels at the edge."""
    values = []
    with torch.inference_mode():
        for small, target in zip(held.inputs, held.targets, strict=True):
            made = model(tensor_of(torch.from_numpy(small[None]).to(device))).float().cpu()
            values.append(psnr(luma(target), luma(images_bgr(made, PixelFormat("rgb"))[0]), factor))
    return float(np.mean(values))
