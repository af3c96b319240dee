"""`edgevision export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from edgevision.cli.extras import require_export, require_pipelines
from edgevision.cli.options.bundles import bundle_options
from edgevision.cli.options.numbers import FiniteRange
from edgevision.cli.options.pixels import PixelOptions, pixel_options
from edgevision.cli.options.sampling import SamplingOptions, sampling_options
from edgevision.cli.options.suppression import check_nms_applies, nms_spec
from edgevision.cli.options.types import BATCH, SIZE
from edgevision.cli.present import Steps, finish_bundle
from edgevision.contract.classes import read_class_names
from edgevision.contract.spec import BatchRange, Layout, NmsSpec, Task
from edgevision.errors import UsageError

if TYPE_CHECKING:
    from edgevision.models.recipe import Recipe

CHECKPOINTS = (".pt", ".pth", ".ckpt", ".safetensors")


@click.command()
@click.argument("model", metavar="RECIPE|CHECKPOINT|FILE.py|PIPELINE")
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    help="Weights: .pt, .pth, .safetensors, or a run folder; required for a built-in recipe without --random-weights.",
)
@click.option(
    "--head",
    help="Head of a checkpoint that has several: one2one (no NMS), one2many (NMS). Default: the checkpoint's choice.",
)
@click.option("--random-weights", is_flag=True, help="Export the recipe's smallest model untrained.")
@click.option("--size", type=SIZE, help="Network input size WxH in pixels. Default: the recipe's.")
@click.option(
    "--batch",
    type=BATCH,
    default="1",
    show_default=True,
    help="Batch size N, or MIN:OPT:MAX for a dynamic batch.",
)
@pixel_options
@click.option(
    "--crop",
    "crop_fraction",
    type=FiniteRange(0, 1, min_open=True),
    help="Share of the shorter side that a classifier's centre crop takes. Default: the recipe's.",
)
@sampling_options
@bundle_options
def command(
    model: str,
    checkpoint: Path | None,
    head: str | None,
    random_weights: bool,
    classes: Path | None,
    size: tuple[int, int] | None,
    frame: tuple[int, int] | None,
    layout: Layout,
    batch: BatchRange,
    pixels: PixelOptions,
    crop_fraction: float | None,
    sampling: SamplingOptions,
    images: Path | None,
    no_fp16: bool,
    tensorrt: tuple[str, ...],
    output: Path,
    **nms: Any,
) -> None:
    """Export a checkpoint as a verified bundle.

    Pass a checkpoint, such as edgevision export yolo11n.pt -o yolo11n; its recipe is recognised. Or pass a recipe by
    name (yolov5, resnet, sr) and --checkpoint. The checkpoint is read without executing code from it; architecture,
    task and classes come from the file.

    Or pass a Python file with the recipe of your own network, my_model.py or my_model.py:NAME; edgevision new-recipe
    writes an example. The file is executed. Or pass a text-to-image pipeline, a folder of diffusers.

    If the results of the graph and of the PyTorch model differ on real images by more than the tolerance, nothing is
    written and the exit code is 2. An FP16 graph for TensorRT is added if it passes its own verification. If it fails,
    the reason is printed and the export still succeeds.
    """
    require_export("edgevision export")
    from edgevision.export.exporter import ExportOptions, export_bundle
    from edgevision.graph.foreign.pixels import PixelChanges

    if _is_pipeline(model, sampling):
        _export_pipeline(Path(model), sampling, size, batch, tensorrt, output, fp16=not no_fp16)
        return
    recipe, checkpoint = _recipe_and_checkpoint(model, checkpoint)
    options = ExportOptions(
        checkpoint=checkpoint,
        head=head,
        random_weights=random_weights,
        classes=read_class_names(classes) if classes else None,
        size_wh=size,
        frame_wh=frame,
        layout=layout,
        batch=batch,
        nms=lambda task: _nms_of(task, nms),
        images=images,
        pixels=PixelChanges(*pixels),
        crop_fraction=crop_fraction,
        tensorrt=tensorrt,
    )
    steps = Steps()
    bundle = export_bundle(recipe, options, output, steps.done)
    finish_bundle(bundle, steps, tensorrt, fp16=not no_fp16)


def _nms_of(task: Task, options: dict[str, Any]) -> NmsSpec:
    check_nms_applies(click.get_current_context(), task)
    return nms_spec(**options, task=task)


def _is_pipeline(model: str, sampling: SamplingOptions) -> bool:
    """True for a folder of diffusers; raises `UsageError` for options of pipelines with another model."""
    from edgevision.export.pipelines.folder import is_pipeline

    found = is_pipeline(Path(model))
    if not found and sampling != SamplingOptions():
        raise UsageError(
            f"--steps, --guidance, --graphs and --memory are for pipelines of diffusers; {model} is none: omit them"
        )
    return found


def _export_pipeline(
    folder: Path,
    sampling: SamplingOptions,
    size: tuple[int, int] | None,
    batch: BatchRange,
    tensorrt: tuple[str, ...],
    output: Path,
    *,
    fp16: bool,
) -> None:
    """Export a pipeline of diffusers; raises `UsageError` for options of other models."""
    require_pipelines("edgevision export PIPELINE")
    _refuse_others(folder)
    from edgevision.export.pipelines.exporter import RunChoices, export_pipeline

    steps = Steps()
    choices = RunChoices(
        sampling.steps,
        sampling.guidance,
        size,
        batch,
        tensorrt,
        sampling.graphs,
        sampling.memory_bytes,
    )
    bundle = export_pipeline(folder, choices, output, steps.done)
    finish_bundle(bundle, steps, tensorrt, fp16=fp16)


def _refuse_others(folder: Path) -> None:
    context = click.get_current_context()
    used = {
        "model",
        "steps",
        "guidance",
        "graphs",
        "memory",
        "size",
        "batch",
        "tensorrt",
        "output",
        "no_fp16",
    }
    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name is not None
        and parameter.name not in used
        and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
    ]
    if given:
        raise UsageError(f"{folder} is a pipeline of diffusers, for which {given[0]} has no effect: omit it")


def _recipe_and_checkpoint(model: str, checkpoint: Path | None) -> tuple[Recipe, Path | None]:
    """A recipe that was named, or the one of a file or run folder that was given in its place."""
    from edgevision.export.recognition import recipe_of
    from edgevision.models.recipe import is_recipe, load_recipe

    path = Path(model)
    if path.suffix == ".onnx":
        raise UsageError(
            f"{model} is an ONNX file, not a checkpoint; run `edgevision adopt {model} -o BUNDLE`"
        )
    if is_recipe(model) or (path.suffix not in CHECKPOINTS and not path.exists()):
        return load_recipe(model), checkpoint
    if checkpoint is not None:
        raise UsageError(f"two checkpoints were given: {model} and --checkpoint {checkpoint}; expected one")
    return recipe_of(path), path
