"""Training of text to image: four networks, one after another, in one run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from edgevision.datasets.captions import Attributes, caption_of, random_attributes
from edgevision.datasets.rendering import reduced
from edgevision.errors import UsageError
from edgevision.evaluation.attributes import agreement, measured
from edgevision.models.generators.diffusion import Denoiser, noisy
from edgevision.models.generators.judge import Judge, read_judge
from edgevision.models.generators.text2image import PairEncoder, Prior, Text2Image
from edgevision.models.generators.words import tokens_of_texts
from edgevision.models.plan import Text2ImagePlan
from edgevision.models.sr import Upscaler
from edgevision.train.data.captioned import (
    STAGES,
    CaptionBatch,
    CaptionDrawer,
    ShapedDigits,
    shaped_digits,
    stage_ends,
    tensor_of,
)
from edgevision.train.data.pictures import Picture
from edgevision.train.generation.diffusion import spread_times
from edgevision.train.generation.generator_task import read_split
from edgevision.train.generation.sampling import made, sheet
from edgevision.train.job import Job, TrainingTask, progress_of, settings_json
from edgevision.train.loop.module import ModuleInTraining
from edgevision.train.loop.schedule import TrainingProgress
from edgevision.train.starting import started

MONITOR = "agreement"
_UPSAMPLED = 16
"""Images of a batch that the upsampler learns from."""
_BLUR = 0.05
"""Largest standard deviation of the noise on the upsampler's inputs, as the decoder's images are not perfect."""
_SHOWN = 60
_PROMPT_SEED = 1_000_003
"""Of the validation's prompts, added to the job's."""


class Text2ImageInTraining(ModuleInTraining[CaptionBatch]):
    """Each batch trains the network of its stage; the others keep the averaged weights of their own stages.

    At the start of a stage all networks take their averages, and the average starts again.
    """

    model: Text2Image

    def __init__(
        self, model: Text2Image, plan: Text2ImagePlan, progress: TrainingProgress, seed: int
    ) -> None:
        super().__init__(model, plan.optimization, progress, seed)
        self.plan, self.stage = plan, STAGES[0]

    @property
    def averaged(self) -> Text2Image:
        """The averaged weights."""
        average = self.average.model
        assert isinstance(average, Text2Image)
        return average

    def on_train_batch_start(self, batch: CaptionBatch, batch_idx: int) -> None:
        """Begin the batch's stage if it is a new one."""
        if batch.stage != self.stage:
            self.model.load_state_dict(self.average.model.state_dict())
            self.average.steps, self.stage = 0, batch.stage
        super().on_train_batch_start(batch, batch_idx)

    def lr_factor(self) -> float:
        """Of the progress within the stage."""
        ends = (0.0, *stage_ends(self.plan))
        place = STAGES.index(self.stage)
        begin, end = ends[place], ends[place + 1]
        return self.schedule.factor(min(max((self.progress.share - begin) / (end - begin), 0.0), 1.0))

    def losses(self, batch: CaptionBatch) -> dict[str, torch.Tensor]:
        """The loss of the batch's stage, under "loss" and under the stage's name."""
        losses = {
            "encoder": self._encoder_loss,
            "prior": self._prior_loss,
            "upsampler": self._upsampler_loss,
            "decoder": self._decoder_loss,
        }
        loss = losses[batch.stage](batch)
        return {"loss": loss, batch.stage: loss}

    def last_layers(self) -> Iterable[nn.Module]:
        """The layers of outputs, and the tables of words and places, whose rows are not a matrix's."""
        text = self.model.encoder.text
        return (
            text.words,
            text.places,
            self.model.prior.last,
            self.model.decoder.last,
            self.model.upsampler.last,
        )

    def moved(self, batch: CaptionBatch, device: torch.device) -> CaptionBatch:
        """The batch on a device."""
        return batch.to(device)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the stage."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["stage"] = self.stage

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the stage."""
        super().on_load_checkpoint(checkpoint)
        self.stage = checkpoint["stage"]

    def _encoder_loss(self, batch: CaptionBatch) -> torch.Tensor:
        return self.model.encoder.loss(batch.small, batch.tokens)

    def _prior_loss(self, batch: CaptionBatch) -> torch.Tensor:
        picture, text = self._vectors(batch)
        time = spread_times(len(text), text.device)
        x, target = noisy(
            picture[:, :, None, None], torch.randn_like(picture)[:, :, None, None], time, "flow"
        )
        return F.mse_loss(self.model.prior(x, time, text).float(), target)

    def _upsampler_loss(self, batch: CaptionBatch) -> torch.Tensor:
        assert batch.large is not None, "the drawer adds it in this stage"
        small, large = batch.small[:_UPSAMPLED], batch.large[:_UPSAMPLED]
        spread = torch.rand((len(small), 1, 1, 1), device=small.device) * _BLUR
        return F.l1_loss(self.model.upsampler(small + spread * torch.randn_like(small)).float(), large)

    def _decoder_loss(self, batch: CaptionBatch) -> torch.Tensor:
        picture, text = self._vectors(batch)
        count, device = len(text), text.device
        draws = torch.rand((2, count, 1), device=device)
        caption = text * (draws[0] >= self.plan.captionless)
        condition = torch.cat((picture, caption), 1) * (draws[1] >= self.plan.unlabelled)
        time = spread_times(count, device)
        x, target = noisy(batch.small, torch.randn_like(batch.small), time, self.model.decoder.objective)
        return F.mse_loss(self.model.decoder(x, time, condition).float(), target)

    @torch.no_grad()
    def _vectors(self, batch: CaptionBatch) -> tuple[torch.Tensor, torch.Tensor]:
        encoder = self.model.encoder
        return encoder.of_images(batch.small).float(), encoder.of_texts(batch.tokens).float()


def prompts(count: int, seed: int) -> list[Attributes]:
    """Random attributes, with the ten digits in turn."""
    rng = np.random.default_rng(seed)
    return [random_attributes(place % 10, rng) for place in range(count)]


def images_of(
    model: Text2Image, asked: list[Attributes], seed: int, device: torch.device | None = None
) -> npt.NDArray[np.uint8]:
    """Images uint8 ``[N,3,56,56]`` of the captions that state these attributes; they depend only on the seed."""
    tokens = tokens_of_texts([caption_of(one) for one in asked])
    return made(model, tokens, model.noise_shape, seed, device)


def shown(images: npt.NDArray[np.uint8], judge: Judge) -> list[Attributes]:
    """The attributes that images uint8 ``[N,3,S,S]`` RGB show; the judge finds the digits."""
    found = [measured(image.transpose(1, 2, 0)) for image in images]
    _, digits = judge.judged(np.stack([one.ink[None] for one in found]))
    return [one.attributes(int(digit)) for one, digit in zip(found, digits, strict=True)]


def matched(encoder: PairEncoder, held: ShapedDigits, plan: Text2ImagePlan, seed: int) -> float:
    """Percent of rendered held-out digits whose own caption is nearer than those of the others."""
    rng, drawer = np.random.default_rng(seed), CaptionDrawer(held, plan)
    drawn = [drawer.drawn(index, rng) for index in range(len(held))]
    texts = [caption_of(attributes) for _, attributes in drawn]
    device = encoder.scale.device
    images = tensor_of(np.stack([reduced(image) for image, _ in drawn]))
    with torch.inference_mode():
        found = (
            encoder.of_images(images.to(device))
            @ encoder.of_texts(torch.from_numpy(tokens_of_texts(texts)).to(device)).T
        )
    nearest = found.argmax(1).tolist()
    return 100 * float(np.mean([texts[near] == text for near, text in zip(nearest, texts, strict=True)]))


def text2image_task(job: Job, plan: Text2ImagePlan) -> TrainingTask:
    """Read and render all data of the job; raises `UsageError` and `SourceError`."""
    split = read_split(job, plan)
    if split.train.channels != 1 or len(split.classes) != 10 or plan.size != 28:
        raise UsageError(
            f"text2image renders grey digits of 28 pixels with attributes; received {len(split.classes)} classes,"
            f" {split.train.channels} channels and --size {plan.size}"
        )
    judge = read_judge(Path(job.judge) if job.judge else None)
    train = shaped_digits(split.train, plan.variants, job.seed)
    held = shaped_digits(split.held, 1, job.seed)
    network = new_network(plan)
    beginning = started(network, job.weights)
    module = Text2ImageInTraining(network, plan, progress_of(job, len(train)), job.seed)
    asked = prompts(plan.samples, job.seed + _PROMPT_SEED)

    def metrics() -> dict[str, float]:
        row = {"matched": matched(module.averaged.encoder, held, plan, job.seed)}
        if module.stage != STAGES[-1]:
            return row
        images = images_of(module.averaged, asked, job.seed, module.device)
        found = agreement(shown(images, judge), asked)
        return {**row, MONITOR: float(np.mean(list(found.values()))), **found}

    def draw() -> Picture:
        return sheet(images_of(module.averaged, asked[:_SHOWN], job.seed, module.device))

    return TrainingTask(
        module=module,
        count=len(train),
        draw=CaptionDrawer(train, plan),
        order=None,
        measure=metrics,
        monitor=MONITOR,
        panels=(
            ("losses of the four networks", STAGES),
            (
                "images that agree with the caption, %",
                (MONITOR, "digit", "thickness", "slant", "ink", "paper"),
            ),
            ("learning rate, share of the peak", ("lr",)),
        ),
        metadata={
            "names": "[]",
            "recipe": job.recipe,
            "torch": torch.__version__,
            "job": settings_json(job),
        },
        facts=(*split.facts, parameters_of(network), *beginning),
        samples=draw,
    )


def new_network(plan: Text2ImagePlan) -> Text2Image:
    """The four networks with random weights."""
    decoder = Denoiser(3, 2 * plan.vector, plan.width, "flow", plan.size, vector=True)
    decoder.keep_sampling(plan.steps, plan.guidance, plan.interval)
    return Text2Image(PairEncoder(plan.vector), Prior(plan.vector), decoder, Upscaler(2, 48, 6))


def parameters_of(network: Text2Image) -> str:
    """Number of parameters of each network, in words."""
    counts = {name: sum(one.numel() for one in part.parameters()) for name, part in network.named_children()}
    return f"parameters: {', '.join(f'{name} {count:,}' for name, count in counts.items())}"
