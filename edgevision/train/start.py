"""Builds a training task from a recipe and a job, and selects its devices."""

from __future__ import annotations

import logging
import warnings
from typing import Literal

import cv2
import lightning
import torch

from edgevision.device.facts import usable_cores
from edgevision.errors import RecipeError, UsageError
from edgevision.models.plan import (
    ClassifierPlan,
    CycleGanPlan,
    DetectorPlan,
    DiffusionPlan,
    GanPlan,
    InpaintPlan,
    InstancePlan,
    SegmenterPlan,
    StylePlan,
    Text2ImagePlan,
    UpscalerPlan,
    VaePlan,
)
from edgevision.models.recipe import Recipe
from edgevision.train.data.workers import worker_count
from edgevision.train.generation.adversarial import adversarial_task
from edgevision.train.generation.autoencoder import vae_task
from edgevision.train.generation.diffusion_task import diffusion_task
from edgevision.train.generation.inpaint_task import inpaint_task
from edgevision.train.generation.text2image import text2image_task
from edgevision.train.job import Hardware, Job, TrainingTask
from edgevision.train.loop.module import tensor_from_frames
from edgevision.train.tasks.classifier_task import classifier_task
from edgevision.train.tasks.detector_task import detector_task
from edgevision.train.tasks.segmenter_task import segmenter_task
from edgevision.train.tasks.upscaler import upscaler_task
from edgevision.train.translation.style_task import style_task
from edgevision.train.translation.unpaired_task import cyclegan_task


def task_for(job: Job, recipe: Recipe) -> TrainingTask:
    """Build the task of the recipe's plan; raises `RecipeError` if plan and recipe do not match."""
    pixels = recipe.pixels
    if pixels.order != "rgb":
        raise RecipeError(f"recipe {recipe.name} takes {pixels.order}; training supports only rgb")

    def tensor_of(frames: torch.Tensor) -> torch.Tensor:
        return tensor_from_frames(frames, pixels.scale, pixels.mean, pixels.std)

    fits = "instances" if isinstance(job.plan, InstancePlan) else "detect"
    if isinstance(job.plan, DetectorPlan) and recipe.task == fits:
        return detector_task(job, job.plan, tensor_of)
    if isinstance(job.plan, ClassifierPlan) and recipe.task == "classify":
        return classifier_task(job, job.plan, tensor_of, recipe.fit, recipe.crop_fraction)
    if isinstance(job.plan, SegmenterPlan) and recipe.task == "segment":
        return segmenter_task(job, job.plan, tensor_of)
    if isinstance(job.plan, UpscalerPlan) and recipe.task == "translate":
        return upscaler_task(job, job.plan, tensor_of)
    if isinstance(job.plan, CycleGanPlan) and recipe.task == "translate":
        return cyclegan_task(job, job.plan, tensor_of, pixels)
    if isinstance(job.plan, StylePlan) and recipe.task == "translate":
        return style_task(job, job.plan, tensor_of, pixels)
    if isinstance(job.plan, InpaintPlan) and recipe.task == "generate":
        return inpaint_task(job, job.plan)
    if isinstance(job.plan, DiffusionPlan) and recipe.task == "generate":
        return diffusion_task(job, job.plan)
    if isinstance(job.plan, GanPlan) and recipe.task == "generate":
        return adversarial_task(job, job.plan)
    if isinstance(job.plan, VaePlan) and recipe.task == "generate":
        return vae_task(job, job.plan)
    if isinstance(job.plan, Text2ImagePlan) and recipe.task == "generate":
        return text2image_task(job, job.plan)
    raise RecipeError(
        f"recipe {recipe.name} is for {recipe.task}; a {type(job.plan).__name__} does not fit it"
    )


def hardware_for(
    device: str,
    devices: int,
    nodes: int = 1,
    workers: int | None = None,
    precision: Literal["auto", "float", "bf16"] = "auto",
) -> Hardware:
    """Resolve "auto", and `workers` None; raises `UsageError` for missing devices.

    GPUs that support bfloat16 use it by default. CPUs use float32 by default: one without bfloat16 instructions takes
    five times as long in bfloat16, and one with AVX512-BF16 takes 0.55 (`sr`) to 0.75 (`diffusion`) of the time.
    """
    here = torch.cuda.device_count()
    if device == "auto":
        device = "cuda" if here else "cpu"
    count = worker_count(workers, gpu=device == "cuda", devices=devices, cores=usable_cores())
    if device == "cpu":
        return Hardware("cpu", devices, "bf16-mixed" if precision == "bf16" else "32-true", nodes, count)
    if devices > here:
        raise UsageError(
            f"--device cuda --devices {devices}: torch {torch.__version__} sees {here} GPUs here"
        )
    mixed = "bf16-mixed" if precision == "bf16" or torch.cuda.is_bf16_supported() else "16-mixed"
    return Hardware("gpu", devices, "32-true" if precision == "float" else mixed, nodes, count)


def prepare_process(job: Job, hardware: Hardware) -> None:
    """Set seed and thread counts, and silence Lightning: processes that share a CPU share its cores."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    # Lightning 2.6 uses a name that torch 2.13 deprecates; neither we nor a user can change that.
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*", category=FutureWarning)
    warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=DeprecationWarning)
    lightning.seed_everything(job.seed, verbose=False)
    # A separate thread or process draws the samples; OpenCV's pool would only take cores from the network.
    cv2.setNumThreads(1)
    if hardware.accelerator == "cpu" and hardware.devices > 1:
        torch.set_num_threads(max(1, torch.get_num_threads() // hardware.devices))
