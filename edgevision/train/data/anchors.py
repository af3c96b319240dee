"""Fits anchors to a data set: k-means of box sizes, then a random search of the matching metric.

The method is that of YOLOv2 (arXiv 1612.08242, section 2, k-means) with YOLOv5's extension. It maximises not an IoU but
the fit of the best anchor's width and height ratios to each box, which decides the matching.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Sizes = npt.NDArray[np.float64]
"""``[N,2]`` widths and heights in pixels."""


def ratio_fit(sizes_wh: Sizes, anchors_wh: Sizes) -> Sizes:
    """For each box and anchor ``[N,A]`` the worse of its two side ratios, in 0..1; 1 is the same shape and size."""
    ratio = sizes_wh[:, None] / anchors_wh[None]
    return np.asarray(np.minimum(ratio, 1 / ratio).min(2))


def fitness(sizes_wh: Sizes, anchors_wh: Sizes, ratio_limit: float = 4.0) -> float:
    """Mean over boxes of the best anchor's fit; a box that no anchor matches within the limit counts 0."""
    best = ratio_fit(sizes_wh, anchors_wh).max(1)
    return float(np.where(best > 1 / ratio_limit, best, 0).mean())


def fit_anchors(sizes_wh: Sizes, count: int, *, seed: int = 0, generations: int = 500) -> Sizes:
    """`count` anchors ``[count,2]`` for these box sizes, smallest area first."""
    rng = np.random.default_rng(seed)
    anchors = _k_means(np.log(sizes_wh), count, rng)
    best, score = np.exp(anchors), 0.0
    score = fitness(sizes_wh, best)
    for _ in range(generations):
        trial = best * np.exp(rng.normal(0, 0.1, best.shape) * (rng.random(best.shape) < 0.5))
        trial_score = fitness(sizes_wh, trial)
        if trial_score > score:
            best, score = trial, trial_score
    return np.asarray(best[np.argsort(best.prod(1))])


def _k_means(points: Sizes, count: int, rng: np.random.Generator, rounds: int = 50) -> Sizes:
    """Lloyd's algorithm from k-means++ starts (Arthur and Vassilvitskii, 2007)."""
    centres = points[rng.integers(len(points))][None]
    while len(centres) < count:
        distance = ((points[:, None] - centres[None]) ** 2).sum(2).min(1) + 1e-12
        centres = np.concatenate(
            [centres, points[rng.choice(len(points), p=distance / distance.sum())][None]]
        )
    for _ in range(rounds):
        nearest = ((points[:, None] - centres[None]) ** 2).sum(2).argmin(1)
        centres = np.stack(
            [points[nearest == k].mean(0) if (nearest == k).any() else centres[k] for k in range(count)]
        )
    return np.asarray(centres)
