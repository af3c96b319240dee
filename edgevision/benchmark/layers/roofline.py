"""The roofline of a machine: arithmetic peak and memory bandwidth, which limit every layer.

A layer of F operations that moves B bytes takes at least max(F / peak, B / bandwidth). Source: S. Williams,
A. Waterman, D. Patterson, "Roofline: An Insightful Visual Performance Model for Multicore Architectures",
Communications of the ACM 52(4), 2009.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edgevision.benchmark.timing import MeasureSettings, measure
from edgevision.contract.spec import Precision, utc_now
from edgevision.device.cpu_class import cpu_class, cpu_computes
from edgevision.device.facts import machine_name, usable_cores
from edgevision.engines.profiles.kernels import (
    Kernel,
    KernelEngine,
    convolution,
    library_version,
    matmul,
    opened,
)
from edgevision.errors import EngineError, first_line
from edgevision.storage import atomic
from edgevision.storage.cache import cache_folder
from edgevision.storage.codec import DecodeError, dataclass_from_json, json_text

LOG = logging.getLogger(__name__)

SECONDS = 0.4
"""Minimum time for each measurement."""
SIZE, CHANNELS, SIDE = 512, 128, 28
"""Of the smallest matrix product and convolution. A call is short, so that some calls are not interrupted."""
SCALES = (1, 2, 4)
"""Sizes are multiplied by these until a call takes `LEAST_S`, so that all cores have work."""
LEAST_S = 0.001
BLOCK_BYTES = 4 << 20
"""Bytes of each array that one call of the triad covers, for each thread."""
LEAST_BYTES, MOST_BYTES = 64 << 20, 256 << 20
"""Of each of the three arrays for the bandwidth; between these, four times the largest cache in all (STREAM's rule)."""
_CACHE = "sys/devices/system/cpu/cpu0/cache/index3/size"


@dataclass(frozen=True, slots=True)
class Peak:
    """The highest rate of products in one type."""

    precision: Precision
    gflops: float
    """10^9 multiplications and additions per second."""
    kernel: str
    """The operation that reached it."""


@dataclass(frozen=True, slots=True)
class MeasuredOn:
    """Facts that a roofline depends on."""

    machine: str
    """Result of `device.machine_name`."""
    cpu_class: str
    engine: KernelEngine
    library: str
    """Name and version."""
    threads: int


@dataclass(frozen=True, slots=True)
class Roofline:
    """Limits of one engine on this machine; each is the best of its calls."""

    created: str
    """UTC, ISO 8601."""
    facts: MeasuredOn
    peaks: tuple[Peak, ...]
    bandwidth_gb_s: float
    """10^9 bytes per second between memory and cores."""
    seconds: float
    """Duration of the measurement."""

    def peak(self, precision: Precision | None) -> Peak | None:
        """The peak of a type; None for one that was not measured."""
        return next((peak for peak in self.peaks if peak.precision == precision), None)

    def limit_ms(self, flops: int, size: int, precision: Precision | None) -> float:
        """The minimum time of a layer. Without a peak of this type, operations count as float32."""
        peak = self.peak(precision) or self.peak("float")
        arithmetic_ms = 0.0 if peak is None else flops / peak.gflops / 1e6
        return max(arithmetic_ms, size / self.bandwidth_gb_s / 1e6)


def stored_or_measured(
    engine: KernelEngine,
    threads: int | None,
    *,
    again: bool,
    progress: Callable[[str], None] = lambda _: None,
) -> Roofline:
    """The stored roofline of this machine, else a new one, which is stored. `again` always measures.

    Raises `MissingExtraError` if the engine is not installed, `EngineError` if it runs none of the operations.
    """
    facts = facts_here(engine, threads)
    found = None if again else _read(facts)
    if found is None:
        found = measure_roofline(facts, progress)
        _store(found)
    return found


def facts_here(engine: KernelEngine, threads: int | None) -> MeasuredOn:
    """The facts of this machine; `threads` None: one for each usable core."""
    cores = max(1, int(usable_cores()))
    return MeasuredOn(machine_name(), cpu_class(), engine, library_version(engine), threads or cores)


def measure_roofline(facts: MeasuredOn, progress: Callable[[str], None] = lambda _: None) -> Roofline:
    """Measure now; takes a few seconds. Raises `EngineError` if the engine runs none of the operations."""
    began = time.perf_counter()
    peaks = []
    for precision in precisions_of(facts.engine):
        peak = _peak(facts, precision)
        if peak is not None:
            peaks.append(peak)
            progress(f"{facts.engine} {precision}: {peak.gflops:.1f} GFLOP/s")
    if not peaks:
        raise EngineError(
            f"{facts.library} ran none of the operations that measure its peak; run with --traceback"
        )
    bandwidth = measure_bandwidth(facts.threads)
    progress(f"memory: {bandwidth:.1f} GB/s")
    seconds = time.perf_counter() - began
    return Roofline(utc_now(), facts, tuple(peaks), round(bandwidth, 3), round(seconds, 2))


def precisions_of(engine: KernelEngine) -> tuple[Precision, ...]:
    """The types that an engine computes products in on this CPU."""
    lower: tuple[Precision, ...] = ("bf16", "fp16") if engine == "openvino" else ()
    return ("float", *(precision for precision in lower if precision in cpu_computes()), "int8")


def measure_bandwidth(threads: int, size: int | None = None) -> float:
    """The rate of ``a = b + s * c`` in GB/s, three transfers for each element.

    It is the triad of J. McCalpin's STREAM: https://www.cs.virginia.edu/stream/. Calls go through the arrays block by
    block, so that each block was displaced from the caches. `size`: bytes of each array.
    """
    columns = 1 << 14
    block = max(1, BLOCK_BYTES // (4 * columns)) * threads
    blocks = max(1, (size or _array_bytes()) // (4 * columns * block))
    a, b, c = (np.full((blocks * block, columns), value, np.float32) for value in (0.0, 1.0, 2.0))
    order = itertools.cycle(range(blocks))

    def triad(part: slice) -> None:
        cv2.scaleAdd(c[part], 3.0, b[part], a[part])

    with ThreadPoolExecutor(threads) as pool:

        def call() -> None:
            rows = np.linspace(0, block, threads + 1).astype(int) + block * next(order)
            parts = [slice(first, last) for first, last in itertools.pairwise(rows)]
            if threads == 1:
                triad(parts[0])
            else:
                list(pool.map(triad, parts))

        samples = measure(call, MeasureSettings(SECONDS, blocks, 0.0, 2))
    return 3 * 4 * columns * block / min(samples.values_ns)


def _array_bytes(root: Path = Path("/")) -> int:
    """Bytes of each array, from the size of the largest cache."""
    try:
        text = (root / _CACHE).read_text().strip()
        cache = int(text.removesuffix("K")) << 10
    except (OSError, ValueError):
        cache = 0
    return min(max(LEAST_BYTES, 4 * cache // 3), MOST_BYTES)


def _peak(facts: MeasuredOn, precision: Precision) -> Peak | None:
    """The best rate of a matrix product and a convolution; None if the engine runs neither."""
    found: list[Peak] = []
    makers: tuple[Callable[[int], Kernel], ...] = (
        lambda scale: matmul(SIZE * scale, precision),
        lambda scale: convolution(CHANNELS, SIDE * scale, precision),
    )
    for make in makers:
        for scale in SCALES:
            kernel = make(scale)
            seconds = _best_s(facts, kernel, precision)
            if seconds is None:
                break
            found.append(Peak(precision, round(kernel.flops / seconds / 1e9, 2), kernel.name))
            if seconds >= LEAST_S:
                break
    return max(found, key=lambda peak: peak.gflops, default=None)


def _best_s(facts: MeasuredOn, kernel: Kernel, precision: Precision) -> float | None:
    try:
        call = opened(facts.engine, kernel, precision, facts.threads)
        samples = measure(call, MeasureSettings(SECONDS, 5, 0.0, 2))
    except RuntimeError as error:
        LOG.warning("%s cannot run %s in %s: %s", facts.library, kernel.name, precision, first_line(error))
        return None
    return min(samples.values_ns) / 1e9


def _file(facts: MeasuredOn) -> Path:
    digest = hashlib.sha256(json_text(facts).encode()).hexdigest()[:32]
    return cache_folder() / "rooflines" / f"{digest}.json"


def _read(facts: MeasuredOn) -> Roofline | None:
    try:
        found = dataclass_from_json(Roofline, json.loads(_file(facts).read_bytes()))
    except (OSError, ValueError, DecodeError, RecursionError):  # absent, damaged, or of another version
        return None
    return found if found.facts == facts and found.bandwidth_gb_s > 0 and found.peaks else None


def _store(roofline: Roofline) -> None:
    path = _file(roofline.facts)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_file(path, json_text(roofline).encode())
    except OSError as error:
        LOG.warning(
            "cannot store the roofline in %s (%s); set EDGEVISION_CACHE to a writable folder",
            path.parent,
            error.strerror or error,
        )


def roofline_lines(roofline: Roofline) -> list[str]:
    """The roofline in readable form."""
    facts = roofline.facts
    lines = [f"{facts.library}, {facts.threads} threads, {facts.cpu_class}, measured {roofline.created}"]
    lines += [
        f"  {peak.precision:<6} {peak.gflops:10.1f} GFLOP/s  ({peak.kernel})" for peak in roofline.peaks
    ]
    return [*lines, f"  memory {roofline.bandwidth_gb_s:10.1f} GB/s  (triad)"]
