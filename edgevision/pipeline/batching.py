"""Choice of the batch size by measuring the engine."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgevision.contract.session import Session
from edgevision.errors import UsageError

LEAST_CALLS = 3
LEAST_S = 0.2
TOLERANCE = 0.95
"""The smallest batch with this share of the best rate is chosen, because each frame then waits for fewer others."""


@dataclass(frozen=True, slots=True)
class BatchChoice:
    """A batch size and the rates measured to choose it."""

    rows: int | None
    """None: the pipeline's default, one frame of a live source or the graph's optimum for files."""
    frames_per_s: tuple[tuple[int, float], ...] = ()
    """(size, frames/s) of each measured size; empty if there was no choice."""

    def __str__(self) -> str:
        rates = ", ".join(f"{rows}: {rate:.1f}" for rows, rate in self.frames_per_s)
        return f"batch {self.rows}" + (f" (frames/s by size: {rates})" if rates else "")


def choose_batch(session: Session, wanted: int | Literal["auto"] | None, live_sources: int) -> BatchChoice:
    """The batch size `wanted`; "auto" measures it if several live sources share the engine.

    Raises `UsageError` for a batch outside the graph's range.
    """
    limits = session.spec.frames.batch
    if wanted is None:
        return BatchChoice(None)
    if wanted == "auto":
        return measure_batch(session, live_sources) if live_sources > 1 else BatchChoice(None)
    if not limits.min <= wanted <= limits.max:
        raise UsageError(
            f"batch {wanted} is out of range; expected {limits} for {session.spec.name}, or a new export with"
            " --batch"
        )
    return BatchChoice(wanted)


def measure_batch(session: Session, sources: int) -> BatchChoice:
    """The smallest batch whose frames/s are within 5 % of the best, for this number of live sources.

    Sizes are powers of two up to the number of sources and the graph's limit. The measurement takes about a second on a
    slow engine. If a large batch is no faster, its frames only wait for each other.
    """
    limits = session.spec.frames.batch
    most = min(max(sources, limits.min), limits.max)
    sizes = sorted({size for size in (1, 2, 4, 8, 16, 32, 64, most) if limits.min <= size <= most})
    if len(sizes) == 1:
        return BatchChoice(sizes[0])
    shape = (sizes[-1], *session.spec.frames.frame_shape)
    frames = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    rates = tuple((size, size / _call_s(session, frames[:size])) for size in sizes)
    best = max(rate for _, rate in rates)
    return BatchChoice(next(size for size, rate in rates if rate >= TOLERANCE * best), rates)


def _call_s(session: Session, frames: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> float:
    """Median time of a call in seconds, after one warm-up call."""
    session.infer(frames)
    times_s: list[float] = []
    while len(times_s) < LEAST_CALLS or sum(times_s) < LEAST_S:
        began_s = time.perf_counter()
        session.infer(frames)
        times_s.append(time.perf_counter() - began_s)
    return statistics.median(times_s)
