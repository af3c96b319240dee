"""A run of the PyTorch pipeline, with the inputs and outputs of each of its parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from edgevision.bundle.folder import Golden
from edgevision.contract.inputs import Tensors
from edgevision.engines.programs.session import SAMPLE, TIMESTEP
from edgevision.export.pipelines.module import PipelineModule, encoded
from edgevision.export.pipelines.sampler import next_sample

STATES, POOLED = "states", "pooled"
TEXT_ENCODER, DENOISER, DECODER = "text_encoder", "denoiser", "decoder"
MOST_ROWS = 8
"""Golden rows of the denoiser, from the first, middle and last steps."""


@dataclass(frozen=True, slots=True, eq=False)
class RecordedPart:
    """One part: its module, the names of its tensors, and what it received and returned."""

    module: torch.nn.Module
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    golden: Golden


def encoder_name(place: int) -> str:
    """Folder of a text encoder's graph."""
    return TEXT_ENCODER if place == 0 else f"{TEXT_ENCODER}_{place + 1}"


def recorded_run(module: PipelineModule, golden: Tensors) -> tuple[torch.Tensor, Mapping[str, RecordedPart]]:
    """Images ``[B,3,H,W]`` of the golden noise and tokens, and the parts by name in the order of their calls."""
    noise, tokens = (torch.from_numpy(array) for array in golden.arrays)
    with torch.no_grad():
        parts, names, conditions = _encoders(module, tokens)
        calls, sample = _sampled(module, noise, conditions)
        image = module.decoder(sample)
    chosen = sorted({0, len(calls) // 2, len(calls) - 1})
    rows = max(1, min(len(noise), MOST_ROWS // len(chosen)))
    given = tuple(
        np.concatenate([calls[step][0][place][:rows].numpy() for step in chosen])
        for place in range(2 + len(conditions))
    )
    answers = np.concatenate([calls[step][1][:rows].numpy() for step in chosen])
    parts[DENOISER] = RecordedPart(
        module.denoiser, (SAMPLE, TIMESTEP, *names), ("output",), Golden(Tensors(given), (answers,))
    )
    latents = Golden(Tensors((sample.numpy(),)), (image.numpy(),))
    parts[DECODER] = RecordedPart(module.decoder, ("latents",), ("image",), latents)
    return image, parts


def _encoders(
    module: PipelineModule, tokens: torch.Tensor
) -> tuple[dict[str, RecordedPart], tuple[str, ...], tuple[torch.Tensor, ...]]:
    """The text encoders, and all their outputs by name."""
    parts: dict[str, RecordedPart] = {}
    names: list[str] = []
    for place, encoder in enumerate(module.encoders):
        rows = tokens if tokens.ndim == 2 else tokens[:, place]
        found = encoder(rows.long())
        outputs = (f"{STATES}_{place + 1}", POOLED)[: len(found)]
        names += outputs
        given = Tensors((rows.int().numpy(),))
        parts[encoder_name(place)] = RecordedPart(
            encoder, ("tokens",), outputs, Golden(given, tuple(one.numpy() for one in found))
        )
    return parts, tuple(names), encoded(module.encoders, tokens.long())


_Call = tuple[tuple[torch.Tensor, ...], torch.Tensor]
"""Inputs and output of the denoiser."""


def _sampled(
    module: PipelineModule, noise: torch.Tensor, conditions: tuple[torch.Tensor, ...]
) -> tuple[list[_Call], torch.Tensor]:
    """All calls of the denoiser, and the last sample."""
    sample = module.sampler.first * noise[:, 0]
    further = iter(noise[:, place] for place in range(1, module.sampler.noises))
    calls: list[_Call] = []
    for step in module.sampler.steps:
        time = torch.full((len(sample),), step.timestep)
        given = (step.input_scale * sample, time, *conditions)
        calls.append((given, module.denoiser(*given)))
        sample = next_sample(step, sample, [output for _, output in calls], further)
    return calls, sample
