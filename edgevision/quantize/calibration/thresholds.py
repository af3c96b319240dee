"""From a histogram of magnitudes to the threshold above which values saturate."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

BINS = 2048
"""As in TensorRT's own calibration."""
LEVELS = 128
"""Magnitudes that symmetric INT8 tells apart, 0 included."""
STEP = 16
"""Distance in bins between the thresholds that are tried: under 1 % of the largest magnitude."""
PERCENT = 99.99

Histogram = npt.NDArray[np.float64]


def threshold_by_percentile(histogram: Histogram, largest: float, percent: float = PERCENT) -> float:
    """The upper edge of the bin up to which `percent` % of all magnitudes lie."""
    whole = histogram.sum()
    if whole == 0:
        return largest
    reached = np.cumsum(histogram) / whole
    return float((int(np.searchsorted(reached, percent / 100)) + 1) * largest / BINS)


def threshold_by_entropy(histogram: Histogram, largest: float) -> float:
    """The threshold whose quantized distribution loses the least information about the real one.

    For each candidate the histogram is cut there, what lies above is added to the last bin, and the Kullback-Leibler
    divergence from it to its picture in 128 levels is taken (Migacz, "8-bit inference with TensorRT", GTC 2017).
    Exact zeros are left out: they are represented without loss whatever the scale, and after a ReLU they would
    outweigh everything else.
    """
    counts = histogram.copy()
    counts[0] = min(counts[0], counts[1])
    if counts.sum() == 0:
        return largest
    ends = range(LEVELS, BINS + 1, STEP)
    divergences = [_divergence(counts, end) for end in ends]
    best = ends[int(np.argmin(divergences))]
    return float(best * largest / BINS)


def _divergence(counts: Histogram, end: int) -> float:
    real = counts[:end].copy()
    real[-1] += counts[end:].sum()
    within = counts[:end]
    level = np.arange(end) * LEVELS // end
    occupied = (within > 0).astype(np.float64)
    sums = np.bincount(level, within, LEVELS)
    bins = np.bincount(level, occupied, LEVELS)
    picture = np.where(occupied > 0, (sums / np.maximum(bins, 1))[level], 0.0)
    if picture.sum() == 0:
        return np.inf
    p, q = real / real.sum(), picture / picture.sum()
    # A bin that was empty and now holds what saturated has no picture: a small one keeps the divergence finite.
    seen = p > 0
    return float(np.sum(p[seen] * np.log(p[seen] / np.maximum(q[seen], 1e-6))))


def threshold_by_squared_error(histogram: Histogram, largest: float) -> float:
    """The threshold with the least expected squared error of a value, rounding and saturation together.

    Inside, a value is off by up to half a step, a twelfth of the step's square on the average; values under half a step
    become 0. Outside, it is off by what lies above the threshold (Banner et al., arXiv 1810.05723).
    """
    if histogram.sum() == 0:
        return largest
    centres = (np.arange(BINS) + 0.5) * largest / BINS
    errors = []
    ends = range(LEVELS, BINS + 1, STEP)
    for end in ends:
        threshold = end * largest / BINS
        step = threshold / (LEVELS - 1)
        inside = np.minimum(centres**2, step**2 / 12)
        outside = (centres - threshold) ** 2
        errors.append(float((histogram * np.where(centres <= threshold, inside, outside)).sum()))
    return float(ends[int(np.argmin(errors))] * largest / BINS)
