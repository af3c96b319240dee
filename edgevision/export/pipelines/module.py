"""A whole text-to-image pipeline as one PyTorch module: text encoders, all steps of the sampler, and the decoder.

The computation is that of diffusers' pipelines. Guidance runs both halves of a batch in one call (Ho & Salimans,
Classifier-Free Diffusion Guidance, arXiv 2207.12598).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from edgevision.export.pipelines.loading import LoadedPipeline
from edgevision.export.pipelines.sampler import SamplerTable, drawn_noises, next_sample


@dataclass(frozen=True, slots=True)
class SamplingRun:
    """Settings of a run."""

    steps: int
    guidance: float
    """Guidance scale; at most 1: none."""
    size_wh: tuple[int, int]


class PipelineModule(torch.nn.Module):
    """Noise ``[B, N, C, h, w]`` and tokens int64 ``[B, *token_shape]`` to images ``[B,3,H,W]``, RGB in -1..1."""

    def __init__(self, loaded: LoadedPipeline, sampler: SamplerTable, options: SamplingRun) -> None:
        super().__init__()
        self.unet, self.vae = loaded.unet, loaded.vae
        self.encoders = torch.nn.ModuleList(loaded.encoders)
        self.sampler, self.large = sampler, len(loaded.encoders) == 2
        self.embeds_guidance = loaded.unet.config.time_cond_proj_dim is not None
        self.guidance = 1.0 if self.embeds_guidance else options.guidance
        with torch.no_grad():
            states, pooled = self._encoded(loaded.tokens(("",)).long())
            if pooled is not None and loaded.folder.zeros_for_empty_text:
                states, pooled = torch.zeros_like(states), torch.zeros_like(pooled)
        self.register_buffer("empty_states", states)
        self.register_buffer("empty_pooled", pooled)
        self.register_buffer("guidance_embedding", self._guidance_embedding(loaded, options.guidance))
        width, height = options.size_wh
        self.register_buffer(
            "time_ids", torch.tensor([[height, width, 0, 0, height, width]], dtype=torch.float32)
        )

    @property
    def guided(self) -> bool:
        """True if each call of the network has a half without the text."""
        return self.guidance > 1

    def forward(self, noise: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """The images."""
        states, pooled = self._encoded(tokens)
        if self.guided:
            states = self._with_empty(self.empty_states, states)
            pooled = None if pooled is None else self._with_empty(self.empty_pooled, pooled)
        sample = self.sampler.first * noise[:, 0]
        outputs: list[torch.Tensor] = []
        further = iter(noise[:, place] for place in range(1, self.sampler.noises))
        for step in self.sampler.steps:
            outputs.append(self._predicted(step.input_scale * sample, step.timestep, states, pooled))
            sample = next_sample(step, sample, outputs, further)
        return self._decoded(sample)

    def _encoded(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Hidden states ``[B,L,D]``, and with two encoders the pooled output ``[B,P]`` of the second."""
        if not self.large:
            states: torch.Tensor = self.encoders[0](tokens)[0]
            return states, None
        found = [
            encoder(tokens[:, place], output_hidden_states=True)
            for place, encoder in enumerate(self.encoders)
        ]
        return torch.cat([one.hidden_states[-2] for one in found], dim=-1), found[1][0]

    def _with_empty(self, empty: Any, given: torch.Tensor) -> torch.Tensor:
        return torch.cat([empty.expand(given.shape[0], *empty.shape[1:]), given])

    def _predicted(
        self, sample: torch.Tensor, timestep: float, states: torch.Tensor, pooled: torch.Tensor | None
    ) -> torch.Tensor:
        """One call of the network, with guidance."""
        given = torch.cat([sample, sample]) if self.guided else sample
        rows = given.shape[0]
        added = None
        if pooled is not None:
            added = {"text_embeds": pooled, "time_ids": self._rows(self.time_ids, rows)}
        condition = self._rows(self.guidance_embedding, rows) if self.embeds_guidance else None
        found: torch.Tensor = self.unet(
            given,
            torch.tensor(timestep),
            encoder_hidden_states=states,
            timestep_cond=condition,
            added_cond_kwargs=added,
            return_dict=False,
        )[0]
        if not self.guided:
            return found
        without, with_text = found.chunk(2)
        return without + self.guidance * (with_text - without)

    def _rows(self, constant: Any, rows: int) -> torch.Tensor:
        repeated: torch.Tensor = constant.expand(rows, constant.shape[1])
        return repeated

    def _decoded(self, latents: torch.Tensor) -> torch.Tensor:
        config = self.vae.config
        mean, std = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
        latents = latents / config.scaling_factor
        if self.large and mean is not None and std is not None:
            latents = latents * torch.tensor(std).view(1, -1, 1, 1) + torch.tensor(mean).view(1, -1, 1, 1)
        image: torch.Tensor = self.vae.decode(latents, return_dict=False)[0]
        return image

    def _guidance_embedding(self, loaded: LoadedPipeline, guidance: float) -> torch.Tensor | None:
        """Of networks that receive the guidance scale instead of being guided (latent consistency models)."""
        if not self.embeds_guidance:
            return None
        embedding: torch.Tensor = loaded.reference.get_guidance_scale_embedding(
            torch.tensor([guidance - 1]), embedding_dim=loaded.unet.config.time_cond_proj_dim
        )
        return embedding.float()


def reference_images(
    loaded: LoadedPipeline, options: SamplingRun, noise: torch.Tensor, texts: tuple[str, ...]
) -> torch.Tensor:
    """Images ``[B,3,H,W]`` in -1..1 that the pipeline of diffusers itself makes from the noise and texts."""
    width, height = options.size_wh
    images = []
    for row, text in zip(noise, texts, strict=True):
        with drawn_noises(loaded.scheduler, [one[None] for one in row[1:]]), torch.no_grad():
            found = loaded.reference(
                text,
                height=height,
                width=width,
                num_inference_steps=options.steps,
                guidance_scale=options.guidance,
                latents=row[:1].clone(),
                output_type="pt",
            )
        images.append(found[0] * 2 - 1)
    return torch.cat(images)
