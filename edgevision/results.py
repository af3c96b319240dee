"""Answers: frozen arrays of stated shape, sliceable, with an empty value instead of None."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgevision.image import Placement
from edgevision.spec import ModelSpec

Float32 = npt.NDArray[np.float32]
Index = slice | Sequence[int] | npt.NDArray[np.bool_] | npt.NDArray[np.integer]


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Boxes of one frame, highest score first.

    `boxes` float32 ``[N,4]`` xyxy in frame pixels, `scores` float32 ``[N]`` in 0..1, `labels` int32 ``[N]``, indices
    into `classes`.
    """

    boxes: Float32
    scores: Float32
    labels: npt.NDArray[np.int32]
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.boxes)
        if self.boxes.shape != (count, 4) or self.scores.shape != (count,) or self.labels.shape != (count,):
            raise ValueError(
                f"expected boxes [N,4], scores [N], labels [N]; received {self.boxes.shape}, {self.scores.shape},"
                f" {self.labels.shape}"
            )

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: Index) -> Detections:
        return Detections(self.boxes[index], self.scores[index], self.labels[index], self.classes)

    @classmethod
    def empty(cls, classes: tuple[str, ...] = ()) -> Detections:
        """No boxes."""
        return cls(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int32), classes)

    def class_name(self, label: int) -> str:
        """The name of a label, or its number where the model names none."""
        return self.classes[label] if 0 <= label < len(self.classes) else str(label)


@dataclass(frozen=True, slots=True, eq=False)
class Classification:
    """Scores of one frame: float32 ``[C]``, summing to 1."""

    scores: Float32
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.scores)

    def top(self, k: int = 5) -> tuple[tuple[int, float], ...]:
        """The `k` best (label, score) pairs, best first."""
        best = np.argsort(-self.scores, kind="stable")[:k]
        return tuple((int(label), float(self.scores[label])) for label in best)

    def class_name(self, label: int) -> str:
        """The name of a label, or its number where the model names none."""
        return self.classes[label] if 0 <= label < len(self.classes) else str(label)


Result = Detections | Classification
Outputs = tuple[npt.NDArray[Any], ...]
"""What a session returns: one array for each of the spec's outputs, in their order, batch first."""


def results_from_outputs(
    spec: ModelSpec, outputs: Outputs, placements: Sequence[Placement], *, threshold: float
) -> list[Result]:
    """Threshold a batch's answers and return boxes to frame pixels; one result for each placement.

    The batch may be longer than `placements` (a filled-up last batch); what is beyond them is dropped. A score
    equal to `threshold` is kept; a score of 0 (suppressed) never is. Boxes are cut at the frame's edges.
    """
    if spec.task == "classify":
        return [
            Classification(scores, spec.classes)
            for scores in outputs[0][: len(placements)].astype(np.float32)
        ]
    boxes, scores, labels = outputs
    results: list[Result] = []
    for row, placement in enumerate(placements):
        keep = (scores[row] >= threshold) & (scores[row] > 0)
        results.append(
            Detections(
                placement.frame_from_input(boxes[row][keep]),
                scores[row][keep].astype(np.float32),
                labels[row][keep].astype(np.int32),
                spec.classes,
            )
        )
    return results
