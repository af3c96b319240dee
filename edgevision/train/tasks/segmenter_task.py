"""The task of training a segmenter: data, network and validation."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import torch

from edgevision.contract.spec import FrameInput
from edgevision.datasets.boxes import ClassNames
from edgevision.errors import UsageError
from edgevision.models.plan import SegmenterPlan
from edgevision.models.segformer import SegFormer
from edgevision.models.unet import UNet
from edgevision.train.data.label_masks import MaskDataset, read_mask_split
from edgevision.train.job import Job, TrainingTask, progress_of, settings_json
from edgevision.train.starting import started
from edgevision.train.tasks.detector import TensorOf
from edgevision.train.tasks.segmenter import MaskDrawer, SegmenterInTraining, class_weights, measure_segmenter


def segmenter_task(job: Job, plan: SegmenterPlan, tensor_of: TensorOf) -> TrainingTask:
    """Read all data of the job; raises `UsageError` and `SourceError`."""
    if job.classes is None:
        raise UsageError(
            "masks contain numbers: list the class of each value with --classes sky,building,... ; greater values"
            " are void"
        )
    wanted = ClassNames.parse(job.classes)
    if wanted.aliases:
        raise UsageError(
            f"--classes {job.classes!r}: masks contain numbers; NAME=OTHER is not supported here"
        )
    held_path = Path(job.held) if job.held else None
    split = read_mask_split(Path(job.data), held_path, wanted.names, seed=job.seed, strict=job.strict)
    train, held = split.train, split.held
    if job.monitor is not None and job.monitor not in wanted.names:
        raise UsageError(f"--monitor {job.monitor!r} is not one of {', '.join(wanted.names)}")
    network = _network(plan, len(wanted.names))
    beginning = started(network, job.weights)
    size_wh = _size_wh(train, plan.size, network.stride)
    shares = train.shares()
    weights = class_weights(shares.values()) if job.balance else torch.ones(len(shares))
    module = SegmenterInTraining(network, plan, progress_of(job, len(train)), job.seed, tensor_of, weights)
    frames = FrameInput(size_wh)
    rarest = min(shares, key=lambda name: shares[name])
    return TrainingTask(
        module=module,
        count=len(train),
        draw=MaskDrawer(train, plan),
        order=None,
        measure=lambda: measure_segmenter(module.average.model, held, frames, tensor_of, module.device),
        monitor=f"IoU {job.monitor}" if job.monitor else "mIoU",
        panels=(
            ("losses", ("loss", "entropy", "dice")),
            ("on the validation data, %", ("mIoU", "pixels")),
            ("learning rate, share of the peak", ("lr",)),
        ),
        metadata={
            "names": json.dumps(wanted.names),
            "recipe": job.recipe,
            "size": json.dumps(size_wh),
            "torch": torch.__version__,
            "job": settings_json(job),
        },
        facts=(
            f"{len(train)} images of {len(shares)} classes, {len(held)} held; input {size_wh[0]}x{size_wh[1]}",
            split.source,
            *beginning,
            *dict.fromkeys((*train.warnings, *held.warnings)),
            f"the rarest class, {rarest}, has {100 * shares[rarest]:.2f} % of the labelled pixels",
        ),
    )


def _network(plan: SegmenterPlan, class_count: int) -> SegFormer | UNet:
    return SegFormer(class_count) if plan.model == "segformer" else UNet(class_count)


def _size_wh(data: MaskDataset, longest: int, stride: int) -> tuple[int, int]:
    """The input size with the data's most common shape: longest side `longest`, both sides rounded up to the stride."""
    ratio = statistics.median(mask.shape[1] / mask.shape[0] for mask in data.masks)
    sides = (longest, longest / ratio) if ratio >= 1 else (longest * ratio, longest)
    width, height = (max(stride, -(-round(side) // stride) * stride) for side in sides)
    return width, height
