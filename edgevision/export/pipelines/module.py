"""A whole text-to-image pipeline as one PyTorch module: text encoders, all steps of the sampler, and the decoder.

The computation is that of diffusers' pipelines. Guidance runs both halves of a batch in one call (Ho & Salimans,
Classifier-Free Diffusion Guidance, arXiv 2207.12598).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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


class TextEncoder(torch.nn.Module):
    """Tokens int64 ``[B,L]`` to hidden states ``[B,L,D]``, and with `pooled` the projection ``[B,P]`` of the text."""

    def __init__(self, encoder: Any, *, large: bool, pooled: bool) -> None:
        super().__init__()
        self.encoder, self.large, self.pooled = encoder, large, pooled

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The states; of the larger pipelines those before the last layer."""
        if not self.large:
            return (self.encoder(tokens)[0],)
        found = self.encoder(tokens, output_hidden_states=True)
        return (found.hidden_states[-2], found[0]) if self.pooled else (found.hidden_states[-2],)


class GuidedDenoiser(torch.nn.Module):
    """One call of the network, with guidance: sample ``[B,C,h,w]``, time, and the text encoders' outputs."""

    def __init__(self, loaded: LoadedPipeline, encoders: Sequence[TextEncoder], options: SamplingRun) -> None:
        super().__init__()
        self.unet = loaded.unet
        self.embeds_guidance = loaded.unet.config.time_cond_proj_dim is not None
        self.guidance = 1.0 if self.embeds_guidance else options.guidance
        self.large = len(encoders) == 2
        self.size_wh = options.size_wh
        with torch.no_grad():
            empty = encoded(encoders, loaded.tokens(("",)).long())
            if self.large and loaded.folder.zeros_for_empty_text:
                empty = tuple(torch.zeros_like(one) for one in empty)
        for place, one in enumerate(empty if self.guided else ()):
            self.register_buffer(f"empty{place}", one)
        self.register_buffer("guidance_embedding", self._guidance_embedding(loaded, options.guidance))

    @property
    def guided(self) -> bool:
        """True if each call of the network has a half without the text."""
        return self.guidance > 1

    def forward(
        self, sample: torch.Tensor, timestep: torch.Tensor, *conditions: torch.Tensor
    ) -> torch.Tensor:
        """The network's output; `timestep` is one number, or one for each row."""
        if self.guided:
            empty = (getattr(self, f"empty{place}") for place in range(len(conditions)))
            pairs = zip(empty, conditions, strict=True)
            conditions = tuple(torch.cat([e.expand(one.shape[0], *e.shape[1:]), one]) for e, one in pairs)
            sample = torch.cat([sample, sample])
            timestep = torch.cat([timestep, timestep]) if timestep.ndim else timestep
        rows, added = sample.shape[0], None
        states = conditions[0]
        if self.large:
            width, height = self.size_wh
            size = torch.tensor([[height, width, 0, 0, height, width]], dtype=torch.float32)
            states = torch.cat(conditions[:2], dim=-1)
            added = {"text_embeds": conditions[2], "time_ids": size.expand(rows, 6)}
        embedding: Any = self.guidance_embedding
        found: torch.Tensor = self.unet(
            sample,
            timestep,
            encoder_hidden_states=states,
            timestep_cond=embedding.expand(rows, embedding.shape[1]) if self.embeds_guidance else None,
            added_cond_kwargs=added,
            return_dict=False,
        )[0]
        if not self.guided:
            return found
        without, with_text = found.chunk(2)
        return without + self.guidance * (with_text - without)

    def _guidance_embedding(self, loaded: LoadedPipeline, guidance: float) -> torch.Tensor | None:
        """Of networks that receive the guidance scale instead of being guided (latent consistency models)."""
        if not self.embeds_guidance:
            return None
        embedding: torch.Tensor = loaded.reference.get_guidance_scale_embedding(
            torch.tensor([guidance - 1]), embedding_dim=loaded.unet.config.time_cond_proj_dim
        )
        return embedding.float()


class LatentDecoder(torch.nn.Module):
    """Latents ``[B,C,h,w]`` to images ``[B,3,H,W]``, RGB in -1..1."""

    def __init__(self, vae: Any, *, large: bool) -> None:
        super().__init__()
        self.vae, self.large = vae, large

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """The images."""
        config = self.vae.config
        mean, std = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
        latents = latents / config.scaling_factor
        if self.large and mean is not None and std is not None:
            latents = latents * torch.tensor(std).view(1, -1, 1, 1) + torch.tensor(mean).view(1, -1, 1, 1)
        image: torch.Tensor = self.vae.decode(latents, return_dict=False)[0]
        return image


class PipelineModule(torch.nn.Module):
    """Noise ``[B, N, C, h, w]`` and tokens int64 ``[B, *token_shape]`` to images ``[B,3,H,W]``, RGB in -1..1."""

    def __init__(self, loaded: LoadedPipeline, sampler: SamplerTable, options: SamplingRun) -> None:
        super().__init__()
        large = len(loaded.encoders) == 2
        parts = [
            TextEncoder(encoder, large=large, pooled=place == 1)
            for place, encoder in enumerate(loaded.encoders)
        ]
        self.encoders = torch.nn.ModuleList(parts)
        self.denoiser = GuidedDenoiser(loaded, parts, options)
        self.decoder = LatentDecoder(loaded.vae, large=large)
        self.sampler = sampler

    def forward(self, noise: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """The images."""
        conditions = encoded(self.encoders, tokens)
        sample = self.sampler.first * noise[:, 0]
        outputs: list[torch.Tensor] = []
        further = iter(noise[:, place] for place in range(1, self.sampler.noises))
        for step in self.sampler.steps:
            time = torch.tensor(step.timestep)
            outputs.append(self.denoiser(step.input_scale * sample, time, *conditions))
            sample = next_sample(step, sample, outputs, further)
        image: torch.Tensor = self.decoder(sample)
        return image


def encoded(encoders: Iterable[torch.nn.Module], tokens: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The states of each text encoder, then the projection of the text if the last one has it."""
    found = []
    for place, encoder in enumerate(encoders):
        found += encoder(tokens if tokens.ndim == 2 else tokens[:, place])
    return tuple(found)


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
