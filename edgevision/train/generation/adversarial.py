"""Training of GANs: a generator against a critic, by the non-saturating loss or by Wasserstein's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from edgevision.errors import UsageError
from edgevision.models.generators.dcgan import Critic, ImageGenerator
from edgevision.models.plan import GanPlan
from edgevision.train.data.image_arrays import ImageBatch
from edgevision.train.generation.generator_task import GeneratorParts, generator_task, read_split
from edgevision.train.job import Job, TrainingTask, progress_of
from edgevision.train.loop.module import ModuleInTraining
from edgevision.train.loop.schedule import TrainingProgress


class AdversarialInTraining(ModuleInTraining[ImageBatch]):
    """Each batch updates the critic; one of `critic_steps` also updates the generator.

    `dcgan`: binary cross entropy, and for the generator the loss that does not saturate (arXiv 1406.2661, section 3).
    `wgan`: the difference of means, and a penalty of gradients whose norm is not 1 (arXiv 1704.00028).
    """

    model: ImageGenerator

    def __init__(
        self, model: ImageGenerator, critic: Critic, plan: GanPlan, progress: TrainingProgress, seed: int
    ) -> None:
        super().__init__(model, plan.optimization, progress, seed)
        self.critic, self.plan = critic, plan
        self.automatic_optimization = False
        self._last_loss: dict[str, torch.Tensor] = {}

    def training_step(self, batch: ImageBatch, batch_idx: int) -> torch.Tensor:  # noqa: ARG002  # Lightning's signature
        """Update the critic, and in its turn the generator against the updated critic."""
        of_generator, of_critic = self.all_optimizers()
        due = self.progress.step % self.plan.critic_steps == 0
        with torch.set_grad_enabled(due):
            made = self._made(batch)
        parts = self.critic_losses(batch, made.detach())
        of_critic.zero_grad()
        self.manual_backward(parts["critic"])
        of_critic.step()
        if due:
            self.critic.requires_grad_(False)
            loss = self.generator_losses(made, batch.labels)["loss"]
            of_generator.zero_grad()
            self.manual_backward(loss)
            of_generator.step()
            self._last_loss = {"loss": loss.detach()}
            self.critic.requires_grad_(True)
        self.record({**self._last_loss, **parts})
        return parts["critic"].detach()

    def losses(self, batch: ImageBatch) -> dict[str, torch.Tensor]:
        """The generator's loss on new noise."""
        return self.generator_losses(self._made(batch), batch.labels)

    def generator_losses(self, made: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """The generator's loss on images that it made."""
        judged = self.critic(made, labels)
        return {"loss": -judged.mean() if self.plan.model == "wgan" else F.softplus(-judged).mean()}

    def critic_losses(self, batch: ImageBatch, made: torch.Tensor) -> dict[str, torch.Tensor]:
        """The critic's loss under "critic"."""
        real, fake = self.critic(batch.images, batch.labels), self.critic(made, batch.labels)
        if self.plan.model == "dcgan":
            return {"critic": F.softplus(-real).mean() + F.softplus(fake).mean()}
        penalty = gradient_penalty(self.critic, batch.images, made, batch.labels)
        gap = fake.mean() - real.mean()
        return {"critic": gap + self.plan.penalty * penalty, "penalty": penalty}

    def peak_lr(self, group: dict[str, Any]) -> float:  # noqa: ARG002  # that of all groups
        """The plan's."""
        return self.plan.lr

    def configure_optimizers(self) -> Any:
        """Adam for each network."""
        betas = (self.plan.first_moment, 0.99)
        return [
            torch.optim.Adam(network.parameters(), lr=self.plan.lr, betas=betas)
            for network in (self.model, self.critic)
        ]

    def last_layers(self) -> Iterable[nn.Module]:
        """The generator's last convolution."""
        return (self.model.last,)

    def moved(self, batch: ImageBatch, device: torch.device) -> ImageBatch:
        """The batch on a device."""
        return batch.to(device)

    def _made(self, batch: ImageBatch) -> torch.Tensor:
        noise = torch.randn((len(batch.labels), self.model.noise, 1, 1), device=batch.labels.device)
        return self.model.signed(noise, batch.labels)


def gradient_penalty(
    critic: nn.Module, real: torch.Tensor, made: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """The mean of ``(|gradient| - 1)^2`` at random points between real and made images (arXiv 1704.00028, eq. 3)."""
    share = torch.rand((len(real), 1, 1, 1), device=real.device)
    between = (real + share * (made - real)).requires_grad_()
    (slopes,) = torch.autograd.grad(critic(between, labels).sum(), between, create_graph=True)
    penalty: torch.Tensor = (slopes.flatten(1).norm(dim=1) - 1).square().mean()
    return penalty


def adversarial_task(job: Job, plan: GanPlan) -> TrainingTask:
    """Read all data of the job; raises `UsageError` and `SourceError`."""
    if job.weights is not None:
        raise UsageError(
            "a GAN does not start from weights, because they lack the critic: omit --weights, or continue a run with"
            " --resume"
        )
    split = read_split(job, plan)
    channels, classes = split.train.channels, len(split.classes)
    generator = ImageGenerator(channels, classes, plan.noise, plan.width, plan.size)
    critic = Critic(channels, classes, plan.width, plan.size, normalised=plan.model == "dcgan")
    module = AdversarialInTraining(generator, critic, plan, progress_of(job, len(split.train)), job.seed)
    parts = GeneratorParts(
        module=module,
        generator=lambda: module.average.model,
        noise=(plan.noise, 1, 1),
        losses=("losses of generator and critic", ("loss", "critic")),
    )
    return generator_task(job, plan, split, parts)
