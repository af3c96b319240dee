"""`edgevision train`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from edgevision.cli.options.defined import WordOrNumber
from edgevision.cli.options.numbers import FiniteRange
from edgevision.cli.options.types import SIZE
from edgevision.errors import RecipeError, UsageError
from edgevision.settings.kinds import Number
from edgevision.storage.codec import DecodeError, dataclass_from_json, json_from_dataclass

if TYPE_CHECKING:
    from edgevision.models.plan import Plan
    from edgevision.models.recipe import Recipe
    from edgevision.train.job import Job


@click.command()
@click.argument("recipe")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Data set: COCO .json, data.yaml, YOLO or Pascal VOC folder, class folders, zip or idx.",
)
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    help="Image folder of a COCO file. Default: the folder of that name.",
)
@click.option(
    "--val",
    "held",
    type=click.Path(path_type=Path),
    help="Validation data. Default: the data set's own, or a tenth of it.",
)
@click.option(
    "--val-images",
    "held_images",
    type=click.Path(path_type=Path),
    help="Image folder of a COCO file given as --val.",
)
@click.option(
    "--classes", help="Classes to learn, such as person,car,motorcycle=motorbike (NAME=NAME_IN_DATA)."
)
@click.option(
    "--names",
    type=click.Path(path_type=Path),
    help="File of a YOLO folder's class names. Default: its classes.txt.",
)
@click.option(
    "--weights", type=click.Path(path_type=Path), help="Checkpoint to start from, as far as its weights fit."
)
@click.option(
    "--augment",
    type=FiniteRange(0, 1),
    help="Strength of random augmentation; 0: none. Default: 1 for detectors, 0 for generators.",
)
@click.option(
    "--generated",
    type=click.Path(path_type=Path),
    help="Run of a generator whose images a classifier learns too; half of the samples are of them.",
)
@click.option("--generated-count", type=click.IntRange(min=1), help="Number of generated images.")
@click.option("--monitor", metavar="CLASS", help="Class whose metric selects the best weights. Default: all.")
@click.option("--balance", is_flag=True, help="Sample rare classes as often as frequent ones.")
@click.option(
    "--epochs", type=click.IntRange(min=1), help="Number of epochs; the result depends only on the seed."
)
@click.option("--minutes", type=FiniteRange(min=0, min_open=True), help="Training time by the clock.")
@click.option(
    "--patience",
    type=click.IntRange(min=1),
    help="Stop after this number of measurements without improvement.",
)
@click.option(
    "--size", type=SIZE, help="Side of the model's square input. Default: the recipe's training size."
)
@click.option("--model", help="Model of the family, such as n, s (yolov5) or resnet18, resnet34 (resnet).")
@click.option("--batch", type=click.IntRange(min=1), help="Images per step. Default: the recipe's.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of all random choices."
)
@click.option(
    "--device",
    type=click.Choice(("auto", "cpu", "cuda")),
    default="auto",
    show_default=True,
    help="Device to train on.",
)
@click.option(
    "--devices",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Number of GPUs or CPU processes.",
)
@click.option(
    "--nodes",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Number of machines, under torchrun.",
)
@click.option(
    "--workers",
    type=WordOrNumber(Number(0, 64, whole=True, word="auto")),
    default="auto",
    show_default=True,
    help="Processes that prepare samples; 0: a thread. auto: 0 on a CPU, else the cores per GPU minus one, at most 8.",
)
@click.option(
    "--precision",
    type=click.Choice(("auto", "float", "bf16")),
    default="auto",
    show_default=True,
    help="Precision of the network's products. auto: bf16 on GPUs that have it, float on CPUs.",
)
@click.option(
    "--distill-from",
    "teacher",
    type=click.Path(path_type=Path),
    help="Run of a diffusion model to distill into one of fewer steps (--steps).",
)
@click.option("--steps", type=click.IntRange(min=1), help="Sampling steps of a diffusion model. Default: 10.")
@click.option(
    "--guidance",
    type=FiniteRange(min=0),
    help="Guidance of a diffusion model's sampling; 1: none. Default: 1.5; inpaint: 1.25; text2image: 3.",
)
@click.option(
    "--guidance-times",
    type=(FiniteRange(0, 1), FiniteRange(0, 1)),
    metavar="FROM TO",
    help="Times of the sampling at which guidance acts: 1 is noise, 0 the image. Default: 0.5 0.8; inpaint and"
    " text2image: 0 1.",
)
@click.option(
    "--identity",
    type=FiniteRange(min=0),
    help="Weight of the identity loss of `cyclegan`, relative to the cycle's; 0: none, which takes less time."
    " Default: 0.5.",
)
@click.option(
    "--judge",
    type=click.Path(path_type=Path),
    help="Run whose features measure images: of `cnn` or `digits` for generators, of `yolov5` for styles. Default: the"
    " included one. With --generated, it selects the images of the right class. Default: no selection.",
)
@click.option(
    "--styles",
    type=click.Path(path_type=Path),
    help="Folder of a style network's styles, one image for each.",
)
@click.option("--strict", is_flag=True, help="Stop at the first image that cannot be decoded.")
@click.option("--resume", is_flag=True, help="Continue the run in -o with its original settings.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Run folder.")
def command(
    recipe: str,
    output: Path,
    resume: bool,
    device: str,
    devices: int,
    nodes: int,
    workers: int | str,
    precision: Literal["auto", "float", "bf16"],
    **options: object,
) -> None:
    """Train a recipe's model and write a run folder.

    The folder contains the settings, metrics.csv, curves.png, last.ckpt (complete state for --resume) and
    best.safetensors, which `edgevision export RECIPE --checkpoint RUN` reads. A killed run continues after its last
    complete epoch and gives the same result as an uninterrupted one.
    """
    from edgevision.cli.extras import require_train

    require_train("edgevision train")
    from edgevision.models.recipe import load_recipe
    from edgevision.train.job import run_job
    from edgevision.train.loop.run_folder import RunFolder
    from edgevision.train.start import hardware_for, prepare_process, task_for

    loaded = load_recipe(recipe)
    run = RunFolder(output)
    job = _stored_job(run.read_config(), loaded) if resume else _new_job(loaded, recipe, options)
    count = None if workers == "auto" else int(workers)
    hardware = hardware_for(device, devices, nodes, count, precision)
    prepare_process(job, hardware)
    run_job(job, task_for(job, loaded), run, hardware, resume=resume, report=_report)


def _report(line: str) -> None:
    click.echo(line, err=True)


def _stored_job(content: object, recipe: Recipe) -> Job:
    from edgevision.train.job import Job

    try:
        job = dataclass_from_json(Job, content)
    except DecodeError as error:
        raise UsageError(
            f"the run's config.json does not match this version of edgevision: {error}"
        ) from error
    if job.recipe != recipe.name:
        raise UsageError(f"the run was started with recipe {job.recipe}; received {recipe.name}")
    return job


def _new_job(recipe: Recipe, name: str, options: dict[str, object]) -> Job:
    from edgevision.models.plan import ClassifierPlan, CycleGanPlan, DetectorPlan, GeneratorPlan
    from edgevision.train.job import Job

    if recipe.training is None:
        raise RecipeError(f"recipe {name} has no training; it only exports trained checkpoints")
    if options["data"] is None:
        raise UsageError("no data was given; expected --data PATH")
    if (options["epochs"] is None) == (options["minutes"] is None):
        raise UsageError("no training length was given, or two; expected either --epochs N or --minutes N")
    size, batch, model = options.pop("size"), options.pop("batch"), options.pop("model")
    plan = _plan(recipe.training, size, batch, model, recipe.stride)
    plan = _sampling(plan, recipe, options)
    identity = options.pop("identity")
    if identity is not None:
        if not isinstance(plan, CycleGanPlan):
            raise UsageError(f"--identity is for recipe cyclegan; received recipe {recipe.name}")
        plan = replace(plan, identity=float(str(identity)))
    augment = options.pop("augment")
    if augment is not None:
        if not isinstance(plan, DetectorPlan | GeneratorPlan):
            raise UsageError(
                f"--augment is for detectors and generators; recipe {recipe.name} is for {recipe.task}"
            )
        plan = replace(plan, augment=float(str(augment)))
    if options["generated"] is not None and not isinstance(plan, ClassifierPlan):
        raise UsageError(f"--generated is for classifiers; recipe {recipe.name} is for {recipe.task}")
    texts = {key: str(value) if isinstance(value, Path) else value for key, value in options.items()}
    return dataclass_from_json(Job, {"recipe": recipe.name, **texts, "plan": json_from_dataclass(plan)})


def _plan(plan: Plan, size: object, batch: object, model: object, stride: int) -> Plan:
    changes: dict[str, object] = {}
    if isinstance(size, tuple):
        if size[0] != size[1] or size[0] % stride:
            raise UsageError(
                f"--size {size[0]}x{size[1]} is not a training size; expected a square whose side is a multiple of"
                f" {stride} px"
            )
        changes["size"] = size[0]
    if batch is not None:
        changes["optimization"] = replace(plan.optimization, batch=batch)  # type: ignore[arg-type]  # click made it an int
    if model is not None:
        changes["model"] = model
    changed = replace(plan, **changes)  # type: ignore[arg-type]  # checked below against the annotations
    try:
        checked = dataclass_from_json(type(plan), json_from_dataclass(changed))
    except DecodeError as error:
        raise UsageError(f"--model {model}: {error}") from error
    _require_same_family(plan, checked)
    return checked


def _sampling(plan: Plan, recipe: Recipe, options: dict[str, object]) -> Plan:
    """The plan with the options of diffusion models, which are taken from the others, all but the teacher."""
    from edgevision.models.plan import DiffusionPlan, Text2ImagePlan

    teacher = options["teacher"]
    steps, guidance, interval = (options.pop(name) for name in ("steps", "guidance", "guidance_times"))
    given = {
        "--steps": steps,
        "--guidance": guidance,
        "--guidance-times": interval,
        "--distill-from": teacher,
    }
    used = [name for name, value in given.items() if value is not None]
    if not isinstance(plan, DiffusionPlan | Text2ImagePlan):
        if used:
            raise UsageError(f"{used[0]} is for diffusion models; recipe {recipe.name} is for {recipe.task}")
        return plan
    if teacher is not None and isinstance(plan, Text2ImagePlan):
        raise UsageError(f"--distill-from is for recipe diffusion; {recipe.name} has no distillation")
    if steps is not None:
        plan = replace(plan, steps=int(str(steps)))
    if isinstance(interval, tuple):
        if interval[0] > interval[1]:
            raise UsageError(
                f"--guidance-times {interval[0]:g} {interval[1]:g}: the first time must not be the larger one"
            )
        plan = replace(plan, interval=interval)
    return plan if guidance is None else replace(plan, guidance=float(str(guidance)))


def _require_same_family(plan: Plan, chosen: Plan) -> None:
    """Another family's model would be trained with this recipe's pixel format, and exported with its own."""
    from edgevision.models.plan import DetectorPlan, DiffusionPlan

    if isinstance(plan, DiffusionPlan):
        return  # its objectives have the same network
    own, other = plan.model.rstrip("0123456789"), chosen.model.rstrip("0123456789")
    if not isinstance(plan, DetectorPlan) and own != other:
        raise UsageError(
            f"--model {chosen.model} is not of the recipe's family {own}; for this model run: edgevision train {other}"
        )
