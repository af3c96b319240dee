"""Records of profiles: the layers of a graph in one engine, with their costs and limits."""

from __future__ import annotations

import csv
import io
import itertools
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgevision.benchmark.builds import BuildRecord
from edgevision.benchmark.layers.parts import NETWORK, POST, PRE
from edgevision.benchmark.layers.roofline import Roofline
from edgevision.benchmark.packed import PackedSamples
from edgevision.benchmark.records import StageRecord
from edgevision.benchmark.source_state import GitState
from edgevision.contract.spec import Precision
from edgevision.device.facts import DeviceFacts
from edgevision.sinks.files.csv_table import harmless

PROFILE_SCHEMA = 1
HEADER = ("layer", "kind", "ms", "share", "GFLOP/s", "of limit", "fused into it")

_COSTS = ("flops", "bytes", "gflops", "limit_ms", "of_limit")
COLUMNS = ("layer", "kind", "part", "precision", "ms", "mean_ms", "share", *_COSTS, "nodes")
"""Of the CSV file."""


@dataclass(frozen=True, slots=True)
class LayerRecord:
    """One operation that the engine ran."""

    name: str
    """Of the node with the most operations, or the engine's name of an operation of its own."""
    kind: str
    """The engine's operator."""
    nodes: tuple[str, ...]
    """All nodes of the graph that it computes; empty for an operation of the engine's own."""
    part: str
    """One of `parts.PARTS`."""
    precision: Precision | None
    ms: float
    """Median of the calls."""
    mean_ms: float
    share: float
    """Share of the sum of all medians."""
    flops: int | None
    """Multiplications and additions of one call; None if they are unknown."""
    bytes: int | None
    """Read and written in one call, each value once."""
    limit_ms: float | None
    """Minimum time by the roofline; None without one."""
    samples: PackedSamples
    """Of OpenVINO, whose averages are rounded, a sample can be off by microseconds, and even negative."""

    @property
    def gflops(self) -> float | None:
        """10^9 operations per second; None if they are unknown, or if the layer has none."""
        return self.flops / self.ms / 1e6 if self.flops and self.ms > 0 else None

    @property
    def of_limit(self) -> float | None:
        """Reached share of the roofline's limit; above 1 if the data come from a cache."""
        return self.limit_ms / self.ms if self.limit_ms is not None and self.ms > 0 else None

    @property
    def fused(self) -> tuple[str, ...]:
        """The nodes besides the one that names the layer."""
        return tuple(name for name in self.nodes if name != self.name)


@dataclass(frozen=True, slots=True)
class ProfileRecord:
    """One profile of one build on one machine."""

    created: str
    """UTC, ISO 8601."""
    edgevision: str
    build: BuildRecord
    device: DeviceFacts
    source: str
    threads: int | None
    spin: bool
    layers: tuple[LayerRecord, ...]
    """In the order of execution."""
    layers_ms: float
    """Sum of the layers' means."""
    engine_ms: float
    """Mean time of the same calls."""
    calls: PackedSamples
    """Time of each of them."""
    inference_alone: StageRecord
    """Calls without profile, in turns with the profiled ones."""
    roofline: Roofline | None
    """None for an engine whose limits are not measured."""
    notes: tuple[str, ...] = ()
    git: GitState | None = None
    kind: Literal["profile"] = "profile"
    schema: int = PROFILE_SCHEMA

    @property
    def layers_share(self) -> float:
        """Share of a call's time that its layers explain: the median of all calls."""
        sums = np.sum([layer.samples.values_ns() for layer in self.layers], axis=0)
        return float(np.median(sums / np.array(self.calls.values_ns())))

    def part_ms(self, *parts: str) -> float:
        """Sum of the medians of the layers of some parts."""
        return sum(layer.ms for layer in self.layers if layer.part in parts)

    def costliest(self, count: int | None = None) -> tuple[LayerRecord, ...]:
        """The layers that take the most time, all by default."""
        return tuple(sorted(self.layers, key=lambda layer: -layer.ms)[:count])


def layer_cells(layer: LayerRecord) -> tuple[str, ...]:
    """Cells of a table, in the order of `HEADER`; empty where a figure is unknown."""
    return (
        layer.name,
        layer.kind,
        f"{layer.ms:.3f}",
        f"{layer.share:.1%}",
        "" if layer.gflops is None else f"{layer.gflops:.1f}",
        "" if layer.of_limit is None else f"{layer.of_limit:.0%}",
        fused_text(layer),
    )


def fused_text(layer: LayerRecord, most: int = 3) -> str:
    """The fused nodes on one line: the first ones without the path that they share with the layer, then a number."""
    names = []
    for name in layer.fused[:most]:
        pairs = zip(layer.name.split("/"), name.split("/"), strict=False)
        shared = len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)))
        names.append("/".join(name.split("/")[shared:]))
    left = len(layer.fused) - most
    return ", ".join(names) + (f" and {left} more" if left > 0 else "")


def total_lines(record: ProfileRecord) -> list[str]:
    """Times of pre-processing, network and post-processing, and how far the layers explain the calls."""
    total = sum(layer.ms for layer in record.layers)
    lines = []
    for name, parts in ((PRE, (PRE,)), (NETWORK, (NETWORK,)), ("post-processing", POST)):
        ms = record.part_ms(*parts)
        finer = ", ".join(f"{part} {record.part_ms(part):.2f}" for part in parts if record.part_ms(part))
        lines.append(
            f"{name}: {ms:.2f} ms, {ms / total:.1%}" + (f" ({finer})" if len(parts) > 1 and finer else "")
        )
    alone = record.inference_alone
    lines.append(
        f"sum of the layers: {record.layers_share:.1%} of a call (median); means {record.layers_ms:.2f} of"
        f" {record.engine_ms:.2f} ms; without profile: p50 {alone.p50_ms:.2f} ms ({alone.count} calls each)"
    )
    return lines


def layers_csv(record: ProfileRecord) -> str:
    """All layers in the order of execution, one line each."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for layer in record.layers:
        texts = (harmless(layer.name), layer.kind, layer.part, layer.precision or "")
        figures = (layer.flops, layer.bytes, layer.gflops, layer.limit_ms, layer.of_limit)
        known = ["" if value is None else value for value in figures]
        times = (layer.ms, layer.mean_ms, layer.share)
        writer.writerow([*texts, *times, *known, harmless(" ".join(layer.nodes))])
    return out.getvalue()
