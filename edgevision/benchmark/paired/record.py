"""Records of interleaved comparisons."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Literal

from edgevision.benchmark.builds import BuildRecord
from edgevision.benchmark.paired.pairs import TimedPair
from edgevision.benchmark.source_state import GitState
from edgevision.benchmark.stability import Snapshot
from edgevision.device.facts import DeviceFacts
from edgevision.device.power.state import PowerState

PAIRED_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class PairSettings:
    """All settings of an interleaved comparison."""

    source: str
    pairs: int
    """Of one group."""
    seconds: float
    """Minimum time of each build in one group."""
    turns: int
    seed: int
    threads: int | None
    spin: bool
    groups: int = 1
    """Maximum number of groups of `pairs` pairs; the measurement could end after each."""


@dataclass(frozen=True, slots=True)
class PairedRecord:
    """One interleaved comparison on one machine."""

    created: str
    """UTC, ISO 8601."""
    edgevision: str
    base: BuildRecord
    new: BuildRecord
    device: DeviceFacts
    settings: PairSettings
    pairs: tuple[TimedPair, ...]
    unstable: tuple[str, ...]
    power: PowerState | None = None
    warnings: tuple[str, ...] = ()
    snapshots: tuple[Snapshot, ...] = ()
    """The machine before, during and after the measurement."""
    git: GitState | None = None
    kind: Literal["pairs"] = "pairs"
    schema: int = PAIRED_SCHEMA

    def frame_medians_ms(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Values of base and new in each pair, in ms per frame; raises `ValueError` for damaged samples."""
        medians = [pair.medians_ms() for pair in self.pairs]
        return (
            tuple(base / self.base.batch for base, _ in medians),
            tuple(new / self.new.batch for _, new in medians),
        )


def paired_lines(record: PairedRecord) -> list[str]:
    """Both builds with their medians, and what disturbed the measurement."""
    base, new = record.frame_medians_ms()
    lines = [
        f"{role}: {side.name}: {side.engine.library} on {side.engine.device}, {side.precision or 'one graph'},"
        f" batch {side.batch}, {statistics.median(medians):.2f} ms a frame"
        for role, side, medians in (("base", record.base, base), ("new", record.new, new))
    ]
    lines += [f"WARNING: {warning}" for warning in record.warnings]
    return lines + [f"UNSTABLE: {reason}" for reason in record.unstable]
