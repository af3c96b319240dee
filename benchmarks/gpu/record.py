"""Parts of a record, their printed lines, and the file."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import edgevision
from edgevision.bundle.folder import CheckRecord
from edgevision.cli.present import table
from edgevision.contract.spec import utc_now
from edgevision.device.facts import DeviceFacts, FactReading, device_facts
from edgevision.engines.tensorrt.cuda import CudaDevice
from edgevision.errors import EdgevisionError
from edgevision.storage import atomic
from edgevision.storage.codec import json_from_dataclass


class NotHereError(EdgevisionError):
    """This machine lacks what a part needs; that is no failure."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the program: checks and figures, or the reason why it did not run."""

    name: str
    not_run: str | None = None
    failed: str | None = None
    """The error that ended it."""
    checks: tuple[CheckRecord, ...] = ()
    figures: tuple[FactReading, ...] = ()
    """Measured values; units are in the names."""
    notes: tuple[str, ...] = ()
    samples_ns: tuple[int, ...] = ()
    """All samples of the part's main figure, in order."""
    seconds: float = 0.0
    """Wall time of its step."""

    @property
    def passed(self) -> bool:
        """True unless it failed or exceeded a limit."""
        return self.failed is None and all(check.passed for check in self.checks)

    @property
    def verdict(self) -> str:
        """One or two words for the table."""
        if self.not_run is not None:
            return "not run"
        return "passed" if self.passed else "FAILED"


@dataclass(frozen=True, slots=True)
class GpuRecord:
    """Contents of the record's file."""

    created: str
    edgevision: str
    device: DeviceFacts
    cuda: CudaDevice | None
    settings: tuple[FactReading, ...]
    parts: tuple[Part, ...]


def guarded(name: str, part: Callable[[], Part]) -> Part:
    """Run a part; an error becomes a part that did not run."""
    try:
        return part()
    except EdgevisionError as error:
        return Part(name, not_run=str(error))


def part_lines(part: Part) -> list[str]:
    """Printed lines of a part."""
    if part.not_run is not None:
        return [f"{part.name}: not run: {part.not_run}"]
    lines = [part.name if part.failed is None else f"{part.name}: FAILED: {part.failed}"]
    for check in part.checks:
        verdict = "ok  " if check.passed else "FAIL"
        lines.append(
            f"  {verdict} {check.name}: {check.measured:.4g}, must be {check.relation} {check.limit:g}"
        )
    lines += [f"       {figure.name}: {figure.value:.4g}" for figure in part.figures]
    return lines + [f"       {note}" for note in part.notes]


def summary_lines(parts: Sequence[Part]) -> list[str]:
    """A table of all parts: verdict, checks passed, time."""
    rows = [
        [
            part.name,
            part.verdict,
            f"{sum(check.passed for check in part.checks)}/{len(part.checks)}",
            f"{part.seconds:.1f} s",
        ]
        for part in parts
    ]
    return table(["part", "verdict", "checks", "time"], rows)


def write_record(
    folder: Path,
    name: str,
    device: CudaDevice,
    settings: Sequence[FactReading],
    parts: Sequence[Part],
) -> Path:
    """Write the record under the GPU's name; returns its path."""
    record = GpuRecord(
        utc_now(), edgevision.__version__, device_facts(), device, tuple(settings), tuple(parts)
    )
    path = folder / re.sub(r"[^a-z0-9]+", "-", device.name.lower()).strip("-") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_file(path, (json.dumps(json_from_dataclass(record), indent=1) + "\n").encode())
    return path
