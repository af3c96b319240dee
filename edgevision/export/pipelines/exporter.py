"""Exports a pipeline folder of diffusers to a verified bundle: tokens and noise in, images out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from edgevision.bundle.folder import Bundle, CheckRecord, check_destination
from edgevision.contract.inputs import BatchRange, Tensors, sample_tensors
from edgevision.contract.spec import Provenance
from edgevision.errors import CheckpointError, UsageError
from edgevision.export.generators.exporter import GeneratorJob, export_generator
from edgevision.export.generators.network import SEED, generator_inputs
from edgevision.export.pipelines.folder import INDEX, PipelineFolder, read_pipeline_folder
from edgevision.export.pipelines.loading import PROMPTS, LoadedPipeline, load_pipeline
from edgevision.export.pipelines.module import PipelineModule, SamplingRun, reference_images
from edgevision.export.pipelines.sampler import SamplerTable, read_sampler
from edgevision.export.runs import provenance_of_file
from edgevision.export.verify import Progress
from edgevision.graph.preprocess import PixelFormat
from edgevision.models.recipe import SourceModel

IMAGES_OF_PIPELINE = PixelFormat("rgb", 1 / 255, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""The decoder's images: RGB in -1..1."""
GOLDEN_TEXTS = PROMPTS[1:5]
REFERENCE_TOLERANCE = 1e-3
"""Largest difference of an image in -1..1 from the image of diffusers' own pipeline."""
MOST_WEIGHTS = 1_900_000_000
"""Bytes: a larger ONNX file exceeds what one protobuf message holds."""


@dataclass(frozen=True, slots=True)
class RunChoices:
    """The user's choices; None leaves one to the pipeline."""

    steps: int | None = None
    guidance: float | None = None
    size_wh: tuple[int, int] | None = None
    batch: BatchRange = field(default_factory=BatchRange)
    tensorrt: tuple[str, ...] = ()


def export_pipeline(path: Path, choices: RunChoices, output: Path, progress: Progress) -> Bundle:
    """Load the folder, export the whole run as one graph, verify it, and write the bundle at `output`.

    The reference of the graph is a PyTorch module of the same parts; the module's images are compared with those of
    diffusers' own pipeline for the same noise. Raises `CheckpointError`, `GraphError`, `UsageError`, `BundleError`, and
    `VerificationError` if images differ.
    """
    check_destination(output)
    folder = read_pipeline_folder(path)
    loaded = load_pipeline(folder)
    _check_weights(loaded)
    options = run_options(loaded, choices)
    sampler = read_sampler(loaded.scheduler, options.steps)
    progress(
        f"{folder.kind} with {folder.scheduler}: {options.size_wh[0]}x{options.size_wh[1]}, {options.steps} steps,"
        f" guidance {options.guidance:g}{_origin(choices)}"
    )
    source = pipeline_source(loaded, sampler, options)
    inputs = generator_inputs(source, path.name, choices.batch)
    drawn = sample_tensors(inputs, SEED, len(GOLDEN_TEXTS))
    noise = drawn.arrays[0]
    golden = Tensors((noise, loaded.tokens(GOLDEN_TEXTS).numpy()))
    check = _reference_check(loaded, source, options, golden)
    job = GeneratorJob(
        name=path.resolve().name,
        source=source,
        classes=(),
        pixels=IMAGES_OF_PIPELINE,
        batch=choices.batch,
        provenance=_provenance(folder, source),
        tensorrt=choices.tensorrt,
        golden=golden,
        checks=(check,),
        tokenizers=tuple(one.to_str() for one in loaded.tokenizers),
    )
    return export_generator(job, output, progress)


def run_options(loaded: LoadedPipeline, choices: RunChoices) -> SamplingRun:
    """The run of the pipeline, with defaults of its kind; raises `UsageError` for a size that it cannot make."""
    steps, guidance = _usual_run(loaded)
    side = int(loaded.unet.config.sample_size) * loaded.scale
    width, height = choices.size_wh or (side, side)
    unit = loaded.scale * 2 ** (len(loaded.unet.config.block_out_channels) - 1)
    if width % unit or height % unit:
        raise UsageError(
            f"--size {width}x{height}: this pipeline makes images with sides that are multiples of {unit}"
        )
    return SamplingRun(
        choices.steps or steps, guidance if choices.guidance is None else choices.guidance, (width, height)
    )


def pipeline_source(loaded: LoadedPipeline, sampler: SamplerTable, options: SamplingRun) -> SourceModel:
    """The whole run as a generator that takes tokens."""
    channels = int(loaded.unet.config.in_channels)
    width, height = (side // loaded.scale for side in options.size_wh)
    return SourceModel(
        PipelineModule(loaded, sampler, options).eval(),
        f"{loaded.folder.kind}, {options.steps} steps of {loaded.folder.scheduler}, guidance {options.guidance:g}",
        (),
        noise_shape=(sampler.noises, channels, height, width),
        token_shape=loaded.token_shape,
        token_count=int(min(encoder.config.vocab_size for encoder in loaded.encoders)),
    )


def _usual_run(loaded: LoadedPipeline) -> tuple[int, float]:
    """Steps and guidance scale as the pipelines' authors use them."""
    if loaded.unet.config.time_cond_proj_dim is not None:
        return 4, 8.5  # latent consistency models (arXiv 2310.04378)
    turbo = loaded.folder.scheduler.startswith("EulerAncestral")
    if turbo and loaded.folder.config("scheduler").get("timestep_spacing") == "trailing":
        return 1, 0.0  # adversarial diffusion distillation (arXiv 2311.17042)
    return 20, 7.5


def _origin(choices: RunChoices) -> str:
    unstated = [name for name in ("steps", "guidance") if getattr(choices, name) is None]
    return f"; {' and '.join(unstated)} by default" if unstated else ""


def _check_weights(loaded: LoadedPipeline) -> None:
    parts = (loaded.unet, loaded.vae.decoder, *loaded.encoders)
    size = sum(4 * parameter.numel() for part in parts for parameter in part.parameters())
    if size > MOST_WEIGHTS:
        raise CheckpointError(
            f"{loaded.folder.path} has {size / 1e9:.1f} GB of weights in float32; expected at most"
            f" {MOST_WEIGHTS / 1e9:.1f} GB, which one ONNX file holds. Choose a smaller pipeline"
        )


def _reference_check(
    loaded: LoadedPipeline, source: SourceModel, options: SamplingRun, golden: Tensors
) -> CheckRecord:
    noise, tokens = (torch.from_numpy(array) for array in golden.arrays)
    expected = reference_images(loaded, options, noise, GOLDEN_TEXTS)
    with torch.no_grad():
        actual = source.module(noise, tokens.long()).clamp(-1, 1)
    worst = float(np.abs(expected.numpy() - actual.numpy()).max())
    return CheckRecord(
        "largest difference of the PyTorch images from diffusers' pipeline",
        worst,
        "<=",
        REFERENCE_TOLERANCE,
        "network",
    )


def _provenance(folder: PipelineFolder, source: SourceModel) -> Provenance:
    return provenance_of_file(
        folder.path / INDEX, f"diffusers: {source.variant}", ("diffusers", "transformers")
    )
