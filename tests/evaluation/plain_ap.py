"""COCO's average precision in plain Python: greedy matching, 101-point interpolation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

T = TypeVar("T")

THRESHOLDS = np.linspace(0.5, 0.95, 10)


@dataclass(frozen=True)
class Truth(Generic[T]):
    image: int
    label: int
    value: T
    ignored: bool = False


@dataclass(frozen=True)
class Answer(Generic[T]):
    image: int
    label: int
    value: T
    score: float


def plain_ap(
    truths: Sequence[Truth[T]], answers: Sequence[Answer[T]], similarity: Callable[[T, T], float]
) -> dict[str, float]:
    """AP over all thresholds, at 0.50 and at 0.75, in percent; `similarity` takes an answer and a truth."""
    labels = sorted({truth.label for truth in truths if not truth.ignored})
    of_class = [
        [
            _one(
                [t for t in truths if t.label == k],
                [a for a in answers if a.label == k],
                similarity,
                float(limit),
            )
            for limit in THRESHOLDS
        ]
        for k in labels
    ]
    values = 100 * np.array(of_class).mean(axis=0)
    return {"ap": float(values.mean()), "ap50": float(values[0]), "ap75": float(values[5])}


def _one(
    truths: Sequence[Truth[T]],
    answers: Sequence[Answer[T]],
    similarity: Callable[[T, T], float],
    limit: float,
) -> float:
    taken: set[int] = set()
    outcomes: list[bool] = []
    for answer in sorted(answers, key=lambda one: -one.score):
        here = [k for k, truth in enumerate(truths) if truth.image == answer.image]
        alike = {k: similarity(answer.value, truths[k].value) for k in here}
        free = [k for k in here if k not in taken and not truths[k].ignored and alike[k] >= limit]
        if free:
            best = max(free, key=lambda k: alike[k])
            taken.add(best)
            outcomes.append(True)
        elif not any(truths[k].ignored and alike[k] >= limit for k in here):
            outcomes.append(False)
    count = sum(not truth.ignored for truth in truths)
    hits = np.cumsum(outcomes) if outcomes else np.zeros(0)
    precision = hits / np.arange(1, len(hits) + 1)
    recall = hits / count
    points = [precision[recall >= at].max(initial=0.0) for at in np.linspace(0, 1, 101)]
    return float(np.mean(points))
