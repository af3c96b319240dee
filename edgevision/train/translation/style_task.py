"""The task of training style transfer: data, validation and samples."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from edgevision.datasets.boxes import BY_THE_SEED, held_tenth
from edgevision.errors import UsageError
from edgevision.evaluation.images import images_of
from edgevision.graph.preprocess import PixelFormat
from edgevision.models.images import images_bgr
from edgevision.models.plan import StylePlan
from edgevision.models.translators.perception import read_perception
from edgevision.models.translators.style import StyleNetwork
from edgevision.sources.image_files import read_image
from edgevision.train.data.pictures import Picture, tiled
from edgevision.train.data.unpaired import MARGIN, centre, read_scaled
from edgevision.train.job import Job, TrainingTask, progress_of, settings_json
from edgevision.train.starting import started
from edgevision.train.tasks.detector import TensorOf
from edgevision.train.translation.stylization import StyleDrawer, StyleInTraining, StyleLoss

_MEASURED = 32
"""Images of the validation data that are measured, each in every style."""
_ROWS = 4
"""Images on the sheet of samples."""


def style_task(job: Job, plan: StylePlan, tensor_of: TensorOf, pixels: PixelFormat) -> TrainingTask:
    """Read all data of the job; raises `UsageError`, `SourceError` and `CheckpointError`."""
    if job.classes is not None or job.monitor is not None or job.balance:
        raise UsageError("style transfer has no classes: omit --classes, --monitor and --balance")
    names, styles = _styles(job)
    train, held, facts = _images(job, plan)
    loss = StyleLoss(
        read_perception(Path(job.judge) if job.judge else None),
        [tensor_of(torch.from_numpy(style[None])) for style in styles],
        plan,
    )
    network = StyleNetwork(len(names), plan.width, plan.depth)
    beginning = started(network, job.weights)
    module = StyleInTraining(network, loss, plan, progress_of(job, len(train)), job.seed, tensor_of)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    measured = np.stack([centre(image, plan.size) for image in held[:_MEASURED]])

    def average() -> StyleNetwork:
        assert isinstance(module.average.model, StyleNetwork)
        return module.average.model

    return TrainingTask(
        module=module,
        count=len(train),
        draw=StyleDrawer(train, plan.size, len(names)),
        order=None,
        measure=lambda: style_metrics(average(), loss, measured, names, tensor_of, module.device),
        monitor=None,
        panels=(
            ("loss", ("loss",)),
            ("its parts, relative differences", ("content", "style", "colours")),
            ("loss on the validation data", ("held loss",)),
        ),
        metadata={
            "names": json.dumps(names),
            "recipe": job.recipe,
            "torch": torch.__version__,
            "job": settings_json(job),
        },
        facts=(
            f"{len(train)} images, {len(held)} held; styles {', '.join(names)}; {parameters:,} parameters",
            *facts,
            *beginning,
        ),
        samples=lambda: _sheet(average(), measured[:_ROWS], styles, tensor_of, module.device, pixels),
    )


def _styles(job: Job) -> tuple[list[str], list[Picture]]:
    """Names and images of the styles; raises `UsageError` without any."""
    if job.styles is None:
        raise UsageError("no styles were given; expected --styles FOLDER, with one image for each style")
    files = images_of(Path(job.styles))
    if not files:
        raise UsageError(f"{job.styles} holds no image; expected one for each style")
    return [file.stem for file in files], [read_image(file) for file in files]


def _images(job: Job, plan: StylePlan) -> tuple[tuple[Picture, ...], tuple[Picture, ...], tuple[str, ...]]:
    """Training and validation images, and facts about them."""

    def read(folder: str) -> tuple[tuple[Picture, ...], tuple[str, ...]]:
        files = images_of(Path(folder))
        if not files:
            raise UsageError(f"{folder} holds no image")
        return read_scaled(files, round(plan.size * MARGIN), strict=job.strict)

    images, warnings = read(job.data)
    if job.held is not None:
        held, more = read(job.held)
        return images, held, (f"validation on {job.held} (--val)", *warnings, *more)
    kept, measured = held_tenth(len(images), job.seed)
    return tuple(images[i] for i in kept), tuple(images[i] for i in measured), (BY_THE_SEED, *warnings)


def style_metrics(
    network: StyleNetwork,
    loss: StyleLoss,
    images: npt.NDArray[np.uint8],
    names: list[str],
    tensor_of: TensorOf,
    device: torch.device,
) -> dict[str, float]:
    """The mean loss over images uint8 ``[N,S,S,3]`` in every style, and that of each style."""
    sums = np.zeros(len(names))
    with torch.inference_mode():
        for image in images:
            frame = tensor_of(torch.from_numpy(image[None]).to(device))
            for label in range(len(names)):
                number = torch.tensor([label], device=device)
                sums[label] += float(loss(network(frame, number), frame, number)["loss"])
    means = sums / len(images)
    return {
        "held loss": float(means.mean()),
        **{f"held {name}": float(mean) for name, mean in zip(names, means, strict=True)},
    }


def _sheet(
    network: StyleNetwork,
    images: npt.NDArray[np.uint8],
    styles: list[Picture],
    tensor_of: TensorOf,
    device: torch.device,
    pixels: PixelFormat,
) -> Picture:
    """Each image in each style, one column a style; above each column its style."""
    side = images.shape[1]
    blank = np.full_like(images[:1], 96)
    columns = [np.concatenate((blank, images))]
    with torch.inference_mode():
        frames = tensor_of(torch.from_numpy(images).to(device))
        for label, style in enumerate(styles):
            numbers = torch.full((len(images),), label, device=device)
            made = images_bgr(network(frames, numbers).float().cpu(), pixels)
            columns.append(np.concatenate((centre(style, side)[None], made)))
    return tiled(list(itertools.zip_longest(*columns)))
