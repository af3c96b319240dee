"""Images and their reduced versions, for training of networks that enlarge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgevision.datasets.boxes import BY_THE_SEED, held_tenth
from edgevision.datasets.cubic import shrunk
from edgevision.datasets.image_check import accept, decode_all
from edgevision.errors import UsageError
from edgevision.evaluation.images import images_of
from edgevision.models.plan import UpscalerPlan
from edgevision.sources.image_files import IMAGE_SUFFIXES, read_image
from edgevision.train.data.pictures import Picture


@dataclass(frozen=True, slots=True, eq=False)
class PairDataset:
    """Targets uint8 ``[H*factor,W*factor,3]`` BGR, and inputs uint8 ``[H,W,3]`` made from them."""

    targets: tuple[Picture, ...]
    inputs: tuple[Picture, ...]
    warnings: tuple[str, ...] = ()
    """Skipped files, one line each."""

    def __len__(self) -> int:
        return len(self.targets)

    def subset(self, indices: Sequence[int]) -> PairDataset:
        """A part of the pairs."""
        targets, inputs = (tuple(part[i] for i in indices) for part in (self.targets, self.inputs))
        return PairDataset(targets, inputs, self.warnings)


def read_pairs(folder: Path, plan: UpscalerPlan, *, reduce: float, strict: bool) -> PairDataset:
    """Read all images of a folder; `reduce` is the share of their size that targets have.

    Images smaller than a training sample are skipped, and counted in a warning. Raises `UsageError` for a folder
    without images, `SourceError` if too many cannot be decoded.
    """
    files = images_of(folder)
    if not files:
        raise UsageError(f"{folder} holds no image ({' '.join(sorted(IMAGE_SUFFIXES))})")
    decoded, broken = decode_all(
        lambda place: _pair(read_image(files[place]), plan.factor, reduce), len(files)
    )
    warnings = accept(broken, len(files), strict=strict)
    pairs = [pair for pair in decoded if pair is not None and min(pair[1].shape[:2]) >= plan.side]
    small = len(files) - len(broken) - len(pairs)
    if small:
        warnings = (
            *warnings,
            f"{small} images of {folder} are too small for samples of {plan.size} px: not used",
        )
    if not pairs:
        raise UsageError(
            f"no image of {folder} is large enough for samples of {plan.size} px after reduction to"
            f" {reduce:g} of its size; lower --size"
        )
    targets, inputs = zip(*pairs, strict=True)
    return PairDataset(targets, inputs, warnings)


def read_pair_split(
    data: Path, held: Path | None, plan: UpscalerPlan, *, seed: int, strict: bool
) -> tuple[PairDataset, PairDataset, str]:
    """Training and validation pairs, and a description of the split: `held`, unreduced, or a tenth by the seed."""
    train = read_pairs(data, plan, reduce=plan.reduce, strict=strict)
    if held is not None:
        return train, read_pairs(held, plan, reduce=1.0, strict=strict), f"validation on {held} (--val)"
    kept, measured = held_tenth(len(train), seed)
    return train.subset(kept), train.subset(measured), BY_THE_SEED


def draw_pair(
    dataset: PairDataset, index: int, plan: UpscalerPlan, rng: np.random.Generator
) -> tuple[Picture, Picture]:
    """A random square of an input, uint8 ``[S,S,3]``, with its target, in one of eight orientations."""
    small, factor, side = dataset.inputs[index], plan.factor, plan.side
    top, left = (int(rng.integers(0, length - side + 1)) for length in small.shape[:2])
    turns, flip = int(rng.integers(0, 4)), rng.random() < 0.5
    parts = []
    for image, scale in ((small, 1), (dataset.targets[index], factor)):
        part = image[top * scale : (top + side) * scale, left * scale : (left + side) * scale]
        part = np.rot90(part, turns)
        parts.append(np.ascontiguousarray(part[:, ::-1] if flip else part))
    return parts[0], parts[1]


def _pair(image: Picture, factor: int, reduce: float) -> tuple[Picture, Picture]:
    """A target whose sides are multiples of the factor, and its input."""
    height, width = (max(round(side * reduce) // factor, 1) * factor for side in image.shape[:2])
    target = image[:height, :width] if reduce == 1 else shrunk(image, (width, height))
    return target, shrunk(target, (width // factor, height // factor))
