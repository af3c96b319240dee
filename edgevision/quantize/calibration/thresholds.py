"""Computes saturation thresholds from histograms of magnitudes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

BINS = 2048
"""As in TensorRT's own calibration."""
LEVELS = 128
"""Magnitudes of symmetric INT8, 0 included."""
STEP = 16
"""Distance in bins between the tested thresholds: under 1 % of the largest magnitude."""
PERCENT = 99.99

Histogram = npt.NDArray[np.float64]


def threshold_by_percentile(histogram: Histogram, largest: float, percent: float = PERCENT) -> float:
    """The upper edge of the bin at the `percent` percentile of all magnitudes."""
    whole = histogram.sum()
    if whole == 0:
        return largest
    reached = np.cumsum(histogram) / whole
    return float((int(np.searchsorted(reached, percent / 100)) + 1) * largest / BINS)


def threshold_by_entropy(histogram: Histogram, largest: float) -> float:
    """The threshold whose quantized distribution loses the least information about the real one.

    For each candidate the histogram is cut there, and the counts above are added to the last bin. The measure is the
    Kullback-Leibler divergence from it to its quantization in 128 levels (Migacz, "8-bit inference with TensorRT", GTC
    2017). Exact zeros are excluded: every scale represents them without loss, and after a ReLU they would outweigh all
    other values.
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
    # A bin that was empty and now holds the saturated values has no counterpart: a small value keeps the divergence
    # finite.
    seen = p > 0
    return float(np.sum(p[seen] * np.log(p[seen] / np.maximum(q[seen], 1e-6))))


def threshold_by_squared_error(histogram: Histogram, largest: float) -> float:
    """The threshold with the least expected squared error of a value, rounding and saturation together.

    Below the threshold, a value is off by up to half a step, on average by a twelfth of the step's square; values under
    half a step become 0. Above it, the error is the excess over the threshold (Banner et al., arXiv 1810.05723).
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
