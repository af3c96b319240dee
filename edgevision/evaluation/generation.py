"""Metrics of generated images, from the features that a classifier computes for real and for generated ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgevision.errors import UsageError

Features = npt.NDArray[np.floating]
"""``[N,D]``: one row for each image."""

NEIGHBOURS = 3
"""The neighbour whose distance is the radius around an image (arXiv 1904.06991, section 3)."""


def feature_distance(first: Features, second: Features) -> float:
    """Frechet's distance between two sets of features, as if both were normally distributed.

    ``|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))``: FID's formula (arXiv 1706.08500), on features of another network,
    so values compare only with those of the same network and of sets of the same size. Raises `UsageError` for fewer
    than two images.
    """
    for features in (first, second):
        if features.ndim != 2 or len(features) < 2:
            raise UsageError(
                f"a feature distance needs two or more images; received features of shape {features.shape}"
            )
    a, b = first.astype(np.float64), second.astype(np.float64)
    apart = a.mean(0) - b.mean(0)
    covariances = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # tr (C1 C2)^(1/2) = tr (C1^(1/2) C2 C1^(1/2))^(1/2), whose matrix is symmetric.
    root = _root(covariances[0])
    values = np.linalg.eigvalsh(root @ covariances[1] @ root)
    shared = np.sqrt(values.clip(0)).sum()
    return float(apart @ apart + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * shared)


def _root(matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The square root of a symmetric matrix without negative eigenvalues, except for rounding."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.sqrt(values.clip(0))) @ vectors.T, np.float64)


def precision_and_recall(real: Features, made: Features, neighbours: int = NEIGHBOURS) -> tuple[float, float]:
    """Shares of generated images near a real one, and of real images near a generated one (arXiv 1904.06991).

    An image is near another one if it lies within that one's distance to its `neighbours`-th neighbour among its own
    kind. Sets should have the same size. Raises `UsageError` for sets without as many neighbours.
    """
    if min(len(real), len(made)) <= neighbours:
        raise UsageError(
            f"precision and recall need more than {neighbours} images; received {len(real)} and {len(made)}"
        )
    between = _squared_distances(made, real)
    inside_real = between <= _radii(real, neighbours)[None]
    inside_made = between <= _radii(made, neighbours)[:, None]
    return float(inside_real.any(1).mean()), float(inside_made.any(0).mean())


def _radii(features: Features, neighbours: int) -> npt.NDArray[np.float64]:
    """Squared distance of each image to its neighbour; an image is the nearest one to itself."""
    return np.partition(_squared_distances(features, features), neighbours, 1)[:, neighbours]


def _squared_distances(rows: Features, columns: Features) -> npt.NDArray[np.float64]:
    a, b = rows.astype(np.float64), columns.astype(np.float64)
    found = (a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * a @ b.T
    return np.asarray(found.clip(0), np.float64)


@dataclass(frozen=True, slots=True)
class GenerationAccuracy:
    """Metrics of generated images.

    `distance` is the feature distance to the real images, `floor` that of as many other real ones. `agreement` is the
    share of images that the classifier assigns to the class that was asked for; `classes` are the numbers of images
    that it assigns to each class.
    """

    images: int
    distance: float
    floor: float
    precision: float
    recall: float
    agreement: float
    classes: tuple[int, ...]

    @property
    def ratio(self) -> float:
        """The distance as a multiple of that of real images."""
        return self.distance / self.floor


def generation_accuracy(
    made: Features,
    predicted: npt.NDArray[np.int64],
    asked: npt.NDArray[np.int64],
    *,
    real: Features,
    others: Features,
    class_count: int,
) -> GenerationAccuracy:
    """Compare generated images with `real` ones, and `others`, which are real too, with the same ones.

    `predicted` and `asked` are classes ``[N]`` of the generated images. `others` must be as many as the generated
    images, because the distance depends on the size of the sets; raises `UsageError` if they are not.
    """
    if not len(made) == len(others) == len(predicted) == len(asked):
        raise UsageError(
            f"{len(made)} generated images with {len(predicted)} and {len(asked)} classes are compared with"
            f" {len(others)} real ones; expected equal numbers"
        )
    near, covered = precision_and_recall(real[: len(made)], made)
    return GenerationAccuracy(
        images=len(made),
        distance=feature_distance(made, real),
        floor=feature_distance(others, real),
        precision=near,
        recall=covered,
        agreement=float((predicted == asked).mean()),
        classes=tuple(int(count) for count in np.bincount(predicted, minlength=class_count)),
    )
