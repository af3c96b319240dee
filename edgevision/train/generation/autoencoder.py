"""Training of variational autoencoders."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from edgevision.models.generators.vae import Vae, elbo_parts
from edgevision.models.plan import VaePlan
from edgevision.train.data.image_arrays import ImageArrays, ImageBatch
from edgevision.train.generation.generator_task import GeneratorParts, generator_task, read_split
from edgevision.train.job import Job, TrainingTask, progress_of
from edgevision.train.loop.module import ModuleInTraining
from edgevision.train.loop.schedule import TrainingProgress
from edgevision.train.starting import started


class AutoencoderInTraining(ModuleInTraining[ImageBatch]):
    """A VAE with the negative ELBO per image as the loss; `beta` weights its divergence."""

    model: Vae

    def __init__(self, model: Vae, plan: VaePlan, progress: TrainingProgress, seed: int) -> None:
        super().__init__(model, plan.optimization, progress, seed)
        self.plan = plan

    def losses(self, batch: ImageBatch) -> dict[str, torch.Tensor]:
        """The loss, and its two parts."""
        draws = torch.randn((len(batch.labels), self.plan.noise), device=batch.labels.device)
        crossed, divergence = elbo_parts(self.model, (batch.images + 1) / 2, batch.labels, draws)
        loss = (crossed + self.plan.beta * divergence).mean()
        return {"loss": loss, "reconstruction": crossed.mean(), "divergence": divergence.mean()}

    def last_layers(self) -> Iterable[nn.Module]:
        """The layers of code and image, and the tables of classes, whose rows are not a matrix's."""
        decoder = self.model.decoder
        return (self.model.encoder.code, decoder.last, decoder.label, self.model.prior)

    def moved(self, batch: ImageBatch, device: torch.device) -> ImageBatch:
        """The batch on a device."""
        return batch.to(device)


def elbo(model: Vae, data: ImageArrays, seed: int, device: torch.device) -> float:
    """The mean ELBO of images, in nats, with one draw of each code."""
    rng, found = torch.Generator().manual_seed(seed), []
    with torch.inference_mode():
        for start in range(0, len(data), 256):
            images = torch.from_numpy(data.images[start : start + 256]).to(device).float() / 255
            labels = torch.from_numpy(data.labels[start : start + 256]).to(device)
            draws = torch.randn((len(labels), model.decoder.noise), generator=rng).to(device)
            crossed, divergence = elbo_parts(model, images, labels, draws)
            found.append((crossed + divergence).cpu().numpy())
    return -float(np.concatenate(found).mean())


def vae_task(job: Job, plan: VaePlan) -> TrainingTask:
    """Read all data of the job; raises `UsageError` and `SourceError`."""
    split = read_split(job, plan)
    network = Vae(split.train.channels, len(split.classes), plan.noise, plan.width, plan.size)
    beginning = started(network, job.weights)
    module = AutoencoderInTraining(network, plan, progress_of(job, len(split.train)), job.seed)
    average = module.average.model
    assert isinstance(average, Vae)
    parts = GeneratorParts(
        module=module,
        generator=lambda: average,
        noise=(plan.noise, 1, 1),
        losses=("loss, nats", ("loss", "reconstruction", "divergence")),
        further=lambda: {"ELBO": elbo(average, split.held, job.seed, module.device)},
        facts=beginning,
    )
    return generator_task(job, plan, split, parts)
