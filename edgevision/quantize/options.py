"""Options of quantization."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edgevision.device.cpu_class import saturates
from edgevision.errors import UsageError
from edgevision.quantize.calibration.ranges import INT7_MAX, INT8_MAX, Method
from edgevision.quantize.record import Target
from edgevision.quantize.search.search import Budget


@dataclass(frozen=True, slots=True)
class EvalSet:
    """Labelled images for the search; annotations as for `trials.trial_for`."""

    images: Path
    annotations: Path | None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class QuantizeOptions:
    """Options for the quantization of a bundle."""

    calib: Path | None = None
    """Folder of real images; None for a model that makes images from noise."""
    calib_images: int = 128
    method: Method = "percentile"
    budget: Budget = field(default_factory=Budget)
    """Points of the task's metric that may be lost."""
    eval_sets: tuple[EvalSet, ...] = ()
    target: Target = "cpu"
    threads: int | None = None
    strict: bool = False
    """Stop at the first image that cannot be decoded instead of skipping a few."""
    tensorrt: tuple[str, ...] = ()
    """TensorRT versions, as `graph.limits` names them, that must be able to read the graph or its form."""
    weight_bits: Literal[7, 8] | None = None
    """7 keeps sums of pairs of products within 16 bits; None: 7 for CPU targets on a CPU without VNNI, else 8."""

    def largest_weight(self) -> int:
        """Largest magnitude of stored weights."""
        narrow = self.target == "cpu" and saturates() if self.weight_bits is None else self.weight_bits == 7
        return INT7_MAX if narrow else INT8_MAX


def eval_sets(
    images: Sequence[Path], annotations: Sequence[Path], limits: Sequence[int]
) -> tuple[EvalSet, ...]:
    """Pair folders with their annotations and limits; raises `UsageError` if their numbers differ."""
    if annotations and len(annotations) != len(images):
        raise UsageError(
            f"received {len(images)} --eval-images and {len(annotations)} --annotations; pass one for each folder"
        )
    if limits and len(limits) != len(images):
        raise UsageError(
            f"received {len(images)} --eval-images and {len(limits)} --eval-limit; pass one for each folder"
        )
    return tuple(
        EvalSet(folder, annotations[index] if annotations else None, limits[index] if limits else None)
        for index, folder in enumerate(images)
    )
