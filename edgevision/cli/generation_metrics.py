"""Accuracy of generators of classes, for `edgevision eval`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from edgevision.cli.evaluations import heading_of, shown
from edgevision.cli.extras import require_export
from edgevision.cli.present import table
from edgevision.contract.session import Session, SessionOptions
from edgevision.contract.spec import ModelSpec
from edgevision.engines.opening import open_session
from edgevision.errors import UsageError
from edgevision.evaluation.generation import GenerationAccuracy, generation_accuracy
from edgevision.inference.generation import GenerateOptions, generate_each, refuse_editing
from edgevision.storage.codec import json_from_dataclass

if TYPE_CHECKING:
    from edgevision.train.data.class_images import ClassDataset

_LEAST = 16
"""Real images, half of which are compared with the other half."""


def generation_metrics(
    bundle: Path,
    images: Path,
    judge: Path | None,
    limit: int | None,
    engine: str | None,
    options: SessionOptions,
) -> tuple[object, list[str]]:
    """The record of `eval`, and its lines.

    One half of the real images, in random order, is compared with the other half, and with as many generated images of
    the other half's classes. Raises `UsageError` for a model without classes, and for data or a classifier of other
    classes.
    """
    require_export("edgevision eval of a generator")
    from edgevision.models.generators.judge import read_judge
    from edgevision.train.data.class_images import read_classes

    with open_session(bundle, engine=engine, options=options) as session:
        spec = session.spec
        refuse_editing(spec)
        if spec.tensors.of_kind("label") is None or spec.tensors.of_kind("tokens") is not None:
            raise UsageError(
                f"{spec.name} makes no images of classes; eval compares generated images of each class with real ones"
            )
        classifier = read_judge(judge)
        if classifier.class_count != len(spec.classes):
            raise UsageError(
                f"the classifier that compares images has {classifier.class_count} classes, {spec.name}"
                f" {len(spec.classes)}; train one on the same data with `edgevision train cnn` and pass its run as"
                " --judge"
            )
        data = read_classes(images, images, longest_side=1 << 20).train
        labels = _labels(spec, data)
        order = np.random.default_rng(0).permutation(len(data))
        count = min(len(data) // 2, limit or len(data))
        if len(data) < _LEAST:
            raise UsageError(f"{images} has {len(data)} images; expected at least {_LEAST}")
        asked = labels[order[:count]]
        made = _as_channels(list(shown(_made(session, asked), count)))
        real = _as_channels([_scaled(data.pictures[place], made.shape[2:]) for place in order[: 2 * count]])
        heading = heading_of(session, f"{count} generated and {2 * count} real images")
    features, predicted = classifier.judged(made)
    known, answers = classifier.judged(real)
    accuracy = generation_accuracy(
        features,
        predicted,
        asked,
        real=known[count:],
        others=known[:count],
        class_count=classifier.class_count,
    )
    right = float((answers == labels[order[: 2 * count]]).mean())
    return json_from_dataclass(accuracy), [heading, *_lines(spec, accuracy, right)]


def _lines(spec: ModelSpec, accuracy: GenerationAccuracy, right: float) -> list[str]:
    rows = [[name, str(count)] for name, count in zip(spec.classes, accuracy.classes, strict=True)]
    return [
        *table(["class", "images"], rows),
        f"feature distance {accuracy.distance:.4g}, of real images {accuracy.floor:.4g}: {accuracy.ratio:.2f} times",
        f"class asked for {100 * accuracy.agreement:.2f} %  (real images {100 * right:.2f} %)"
        f"  precision {100 * accuracy.precision:.1f} %  recall {100 * accuracy.recall:.1f} %",
    ]


def _made(session: Session, labels: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.uint8]]:
    options = GenerateOptions(tuple(labels.tolist()), count=len(labels))
    return (item.image for item in generate_each(session, options))


def _labels(spec: ModelSpec, data: ClassDataset) -> npt.NDArray[np.int64]:
    """Labels of the data as labels of the model, by the names of the classes."""
    unknown = [name for name in data.classes if name not in spec.classes]
    if unknown:
        raise UsageError(
            f"{spec.name} has no class {unknown[0]!r}; classes of the model: {', '.join(spec.classes[:10])}"
        )
    return np.array([spec.classes.index(name) for name in data.classes], np.int64)[data.labels]


def _scaled(picture: npt.NDArray[np.uint8], size_hw: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    if picture.shape[:2] == tuple(size_hw):
        return picture
    return np.asarray(cv2.resize(picture, size_hw[::-1], interpolation=cv2.INTER_AREA), np.uint8)


def _as_channels(images: list[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    """Images ``[H,W,3]`` BGR as ``[N,3,H,W]`` RGB."""
    return np.ascontiguousarray(np.stack(images)[..., ::-1].transpose(0, 3, 1, 2))
