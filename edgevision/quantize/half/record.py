"""The record of an FP16 search: ``quantize.fp16.json`` in the bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgevision.quantize.record import write_record
from edgevision.quantize.search.search import Candidate

HALF_RECORD = "quantize.fp16.json"


@dataclass(frozen=True, slots=True)
class KeptGroup:
    """Operations that stay FP32 together."""

    name: str
    """The name of its first node."""
    kind: str
    nodes: tuple[str, ...]
    work_share: float
    reason: str


@dataclass(frozen=True, slots=True)
class HalfRecord:
    """One search of ``edgevision quantize --precision fp16``."""

    created: str
    edgevision: str
    model: str
    calibration_images: int
    search_images: int
    max_drop: float
    confidence: float
    """Minimum share of the bootstrap's draws that must keep the budget."""
    metric: str
    float_accuracy: float
    """In percent, on the images of the search; not comparable with results on other images."""
    plain: Candidate
    """Every operation in FP16 that can be."""
    chosen: Candidate
    kept: tuple[KeptGroup, ...]
    candidates: tuple[Candidate, ...]
    half_share: float
    """Share of the network's work in FP16, 0..1, of all operations between ``pre/`` and ``post/``."""
    seconds: float

    def write(self, bundle: Path) -> None:
        """Write the record into a bundle."""
        write_record(bundle / HALF_RECORD, self)
