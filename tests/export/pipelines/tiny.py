"""Tiny pipelines of diffusers with random weights, written by the real libraries."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DDIMScheduler,
    EulerAncestralDiscreteScheduler,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

LENGTH = 77
BETAS: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
PLAIN: dict[str, Any] = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
MERGES = ("t h", "th e</w>", "c a", "ca t</w>", "d o", "do g</w>")


def vocabulary() -> list[str]:
    """Bytes as CLIP writes them, with and without the end of a word, merged pairs, and the two marks."""
    printed = [*range(33, 127), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printed]
    letters = [chr(byte) for byte in printed] + [chr(256 + place) for place in range(len(others))]
    merged = [pair.replace(" ", "") for pair in MERGES]
    return [*letters, *(f"{letter}</w>" for letter in letters), *merged, "<|startoftext|>", "<|endoftext|>"]


WORDS = vocabulary()


def tokenizer(folder: Path, pad: str = "<|endoftext|>") -> CLIPTokenizer:
    """A tokenizer of CLIP's kind."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: place for place, word in enumerate(WORDS)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES, ""]))
    files = (str(folder / "vocab.json"), str(folder / "merges.txt"))
    return CLIPTokenizer(*files, model_max_length=LENGTH, pad_token=pad)


def encoder(kind: Any = CLIPTextModel, seed: int = 0) -> Any:
    """A text encoder of two layers."""
    torch.manual_seed(seed)
    count = len(WORDS)
    config = CLIPTextConfig(
        vocab_size=count,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=LENGTH,
        projection_dim=32,
        bos_token_id=count - 2,
        eos_token_id=count - 1,
        pad_token_id=count - 1,
    )
    return kind(config).eval()


def unet(states: int = 32, **further: Any) -> Any:
    """A network of two resolutions with attention to the text in one."""
    torch.manual_seed(1)
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(16, 32),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=states,
        attention_head_dim=8,
        norm_num_groups=8,
        **further,
    ).eval()


def decoder() -> Any:
    """An autoencoder that halves the resolution once."""
    torch.manual_seed(2)
    return AutoencoderKL(
        block_out_channels=(16, 32),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=8,
    ).eval()


def tiny_decoder() -> Any:
    """An autoencoder of TAESD's kind."""
    torch.manual_seed(3)
    return AutoencoderTiny(
        encoder_block_out_channels=(16, 16),
        decoder_block_out_channels=(16, 16),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
        upsampling_scaling_factor=2,
    ).eval()


def stable_diffusion(folder: Path) -> Any:
    """Stable Diffusion 1.5: noise prediction, PLMS."""
    scheduler = PNDMScheduler(skip_prk_steps=True, steps_offset=1, **BETAS)
    return StableDiffusionPipeline(
        decoder(), encoder(), tokenizer(folder), unet(), scheduler=scheduler, **PLAIN
    )


def stable_diffusion_2(folder: Path) -> Any:
    """Stable Diffusion 2.1: velocity prediction, DDIM, another padding."""
    scheduler = DDIMScheduler(
        prediction_type="v_prediction", clip_sample=False, set_alpha_to_one=False, steps_offset=1, **BETAS
    )
    network = unet(use_linear_projection=True)
    return StableDiffusionPipeline(
        decoder(), encoder(), tokenizer(folder, "!"), network, scheduler=scheduler, **PLAIN
    )


def turbo(folder: Path) -> Any:
    """SD-Turbo with TAESD: one step."""
    scheduler = EulerAncestralDiscreteScheduler(timestep_spacing="trailing", steps_offset=1, **BETAS)
    return StableDiffusionPipeline(
        tiny_decoder(), encoder(), tokenizer(folder), unet(), scheduler=scheduler, **PLAIN
    )


def large_turbo(folder: Path) -> Any:
    """SDXL-Turbo: two text encoders, the image's size as a condition, new noise in each step."""
    network = unet(
        64,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 32,
        use_linear_projection=True,
    )
    return StableDiffusionXLPipeline(
        decoder(),
        encoder(),
        encoder(CLIPTextModelWithProjection, 4),
        tokenizer(folder / "1"),
        tokenizer(folder / "2", "!"),
        network,
        EulerAncestralDiscreteScheduler(timestep_spacing="trailing", **BETAS),
        add_watermarker=False,
    )


def latent_consistency(folder: Path) -> Any:
    """A latent consistency model: the guidance scale as a condition, new noise in each step."""
    network = unet(time_cond_proj_dim=32)
    return LatentConsistencyModelPipeline(
        decoder(), encoder(), tokenizer(folder), network, scheduler=LCMScheduler(**BETAS), **PLAIN
    )


KINDS: dict[str, Callable[[Path], Any]] = {
    "sd15": stable_diffusion,
    "sd21": stable_diffusion_2,
    "turbo": turbo,
    "sdxl-turbo": large_turbo,
    "lcm": latent_consistency,
}


def write_pipeline(kind: str, folder: Path) -> Path:
    """Write a pipeline of the kind into ``folder/kind``; returns the path."""
    path = folder / kind
    pipeline = KINDS[kind](folder / "words")
    pipeline.set_progress_bar_config(disable=True)
    pipeline.save_pretrained(path, safe_serialization=True)
    return path
