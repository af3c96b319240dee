"""What the comparison must show, checked for every model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.peers.programs import INT8, OURS, ULTRALYTICS
from benchmarks.peers.record import Row, ratio

FIRST_S = 1.0
MEMORY_SHARE = 0.5
MOST_LOSS = 0.5
INT8_GAIN = {True: 1.6, False: 1.25}
"""Frames/s of INT8 over the float frames/s of the Ultralytics package, on a CPU with VNNI and without."""


@dataclass(frozen=True, slots=True)
class Target:
    """A statement, and whether the figures meet it."""

    text: str
    holds: bool


def targets(rows: Sequence[Row], *, vnni: bool) -> Iterator[Target]:
    """The statements on one model, of rows that were measured."""
    by_name = {row.peer: row for row in rows if row.runs}
    ours, int8, other = (by_name.get(name) for name in (OURS, INT8, ULTRALYTICS))
    if ours is not None:
        yield from _float_targets(ours, [row for name, row in by_name.items() if "edgevision" not in name])
    if ours is not None and other is not None:
        yield _memory(ours, other)
    if int8 is not None and other is not None:
        gain, wanted = ratio(int8, other), INT8_GAIN[vnni]
        if gain is not None:
            text = f"INT8: {gain} times the frames/s of {ULTRALYTICS} (at least {wanted:g})"
            yield Target(text, gain.median >= wanted)
    if ours is not None and int8 is not None and ours.ap is not None and int8.ap is not None:
        loss = ours.ap - int8.ap
        yield Target(f"INT8: {loss:+.2f} AP lost (at most {MOST_LOSS:g})", loss <= MOST_LOSS)


def _float_targets(ours: Row, others: Sequence[Row]) -> Iterator[Target]:
    for row in others:
        share = ratio(ours, row)
        if share is not None and row.median(lambda run: run.first_s) is not None:  # not of inference alone
            yield Target(f"float: {share} times the frames/s of {row.peer} (at least 1)", share.median >= 1)
    first_s = ours.median(lambda run: run.first_s)
    if first_s is not None:
        yield Target(f"float: first result after {first_s:.2f} s (less than {FIRST_S:g})", first_s < FIRST_S)


def _memory(ours: Row, other: Row) -> Target:
    mine, its = (row.median(lambda run: run.peak_mib) or 0.0 for row in (ours, other))
    text = f"float: {mine:.0f} MiB, {ULTRALYTICS} {its:.0f} MiB (at most {MEMORY_SHARE:g} of it)"
    return Target(text, mine <= MEMORY_SHARE * its)
