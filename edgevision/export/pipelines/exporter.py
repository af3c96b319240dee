"""Exports a pipeline folder of diffusers to a verified bundle: tokens and noise in, images out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from edgevision.bundle.folder import Bundle, CheckRecord, check_destination
from edgevision.contract.inputs import BatchRange, Tensors, sample_tensors
from edgevision.contract.spec import ModelSpec, Provenance, translate_outputs
from edgevision.errors import UsageError
from edgevision.export.generators.exporter import export_generator
from edgevision.export.generators.job import GeneratorJob
from edgevision.export.generators.network import SEED, generator_inputs
from edgevision.export.pipelines.folder import INDEX, PipelineFolder, read_pipeline_folder
from edgevision.export.pipelines.loading import PROMPTS, LoadedPipeline, load_pipeline
from edgevision.export.pipelines.module import PipelineModule, SamplingRun, reference_images
from edgevision.export.pipelines.sampler import SamplerTable, read_sampler
from edgevision.export.pipelines.several import SeveralJob, export_several, reference_check
from edgevision.export.runs import provenance_of_file
from edgevision.export.verify import Progress
from edgevision.graph.preprocess import PixelFormat
from edgevision.models.recipe import SourceModel

IMAGES_OF_PIPELINE = PixelFormat("rgb", 1 / 255, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""The decoder's images: RGB in -1..1."""
GOLDEN_TEXTS = PROMPTS[1:5]
SEVERAL_TEXTS = 2
"""Golden texts of pipelines in several graphs, which are large: a run takes minutes on a CPU."""
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
    graphs: Literal["one", "several"] | None = None
    """None: several if the weights do not fit one file, or if there is a limit of memory."""
    memory_bytes: int | None = None
    """Memory of the device for several graphs; None: no limit."""


def export_pipeline(path: Path, choices: RunChoices, output: Path, progress: Progress) -> Bundle:
    """Load the folder, export the run as one graph or several, verify it, and write the bundle at `output`.

    The reference of the graphs is a PyTorch module of the same parts; the module's images are compared with those of
    diffusers' own pipeline for the same noise. Raises `CheckpointError`, `GraphError`, `UsageError`, `BundleError`, and
    `VerificationError` if images differ.
    """
    check_destination(output)
    folder = read_pipeline_folder(path)
    loaded = load_pipeline(folder)
    several = _several(loaded, choices)
    options = run_options(loaded, choices)
    sampler = read_sampler(loaded.scheduler, options.steps)
    progress(
        f"{folder.kind} with {folder.scheduler}: {options.size_wh[0]}x{options.size_wh[1]}, {options.steps} steps,"
        f" guidance {options.guidance:g}{_origin(choices)}"
    )
    source = pipeline_source(loaded, sampler, options)
    name = path.resolve().name
    provenance = _provenance(folder, source)
    inputs = generator_inputs(source, path.name, choices.batch)
    texts = GOLDEN_TEXTS[: SEVERAL_TEXTS if several else None]
    drawn = sample_tensors(inputs, SEED, len(texts))
    golden = Tensors((drawn.arrays[0], loaded.tokens(texts).numpy()))
    if several:
        assert isinstance(source.module, PipelineModule), "made above"
        expected = reference_images(loaded, options, torch.from_numpy(golden.arrays[0]), texts)
        parts = SeveralJob(
            ModelSpec(name, "generate", inputs, translate_outputs(options.size_wh), (), provenance),
            source.module,
            golden,
            expected,
            IMAGES_OF_PIPELINE,
            tuple(one.to_str() for one in loaded.tokenizers),
            choices.memory_bytes,
            choices.tensorrt,
        )
        return export_several(parts, output, progress)
    check = _reference_check(loaded, source, options, golden)
    job = GeneratorJob(
        name=name,
        source=source,
        classes=(),
        pixels=IMAGES_OF_PIPELINE,
        batch=choices.batch,
        provenance=provenance,
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


def _several(loaded: LoadedPipeline, choices: RunChoices) -> bool:
    """True for several graphs; raises `UsageError` if one graph was requested and is not possible."""
    parts = (loaded.unet, loaded.vae.decoder, *loaded.encoders)
    size = sum(4 * parameter.numel() for part in parts for parameter in part.parameters())
    if choices.graphs == "one" and choices.memory_bytes is not None:
        raise UsageError(
            "--memory plans the loading of several graphs; received --graphs one: omit one of them"
        )
    if choices.graphs == "one" and size > MOST_WEIGHTS:
        raise UsageError(
            f"{loaded.folder.path} has {size / 1e9:.1f} GB of weights in float32; one ONNX file holds at most"
            f" {MOST_WEIGHTS / 1e9:.1f} GB: use --graphs several"
        )
    return choices.graphs == "several" or choices.memory_bytes is not None or size > MOST_WEIGHTS


def _reference_check(
    loaded: LoadedPipeline, source: SourceModel, options: SamplingRun, golden: Tensors
) -> CheckRecord:
    noise, tokens = (torch.from_numpy(array) for array in golden.arrays)
    expected = reference_images(loaded, options, noise, GOLDEN_TEXTS)
    with torch.no_grad():
        return reference_check(expected, source.module(noise, tokens.long()))


def _provenance(folder: PipelineFolder, source: SourceModel) -> Provenance:
    return provenance_of_file(
        folder.path / INDEX, f"diffusers: {source.variant}", ("diffusers", "transformers")
    )
