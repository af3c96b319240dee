"""The record of a quantization: ``quantize.json`` in the bundle."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgevision.errors import BundleError
from edgevision.quantize.calibration.ranges import INT8_MAX, Method
from edgevision.quantize.search.latency import PairedSpeed
from edgevision.quantize.search.search import Candidate
from edgevision.storage import atomic
from edgevision.storage.codec import DecodeError, dataclass_from_json, json_text

RECORD = "quantize.json"
Target = Literal["cpu", "tensorrt"]
TARGETS: tuple[Target, ...] = ("cpu", "tensorrt")


def write_record(path: Path, record: object) -> None:
    """Write a dataclass as JSON; raises `BundleError`."""
    try:
        atomic.write_file(path, json_text(record).encode())
    except OSError as error:
        raise BundleError(f"cannot write {path}: {error.strerror or error}") from error


@dataclass(frozen=True, slots=True)
class Layer:
    """One weighted node: its share of the work, and the noise removed by returning only this node to float."""

    node: str
    work_share: float
    noise: float
    """Noise power over signal power at the network's outputs."""


@dataclass(frozen=True, slots=True)
class MeasuredCandidate:
    """A graph of the search and its speed."""

    candidate: Candidate
    speeds: tuple[PairedSpeed, ...]


@dataclass(frozen=True, slots=True)
class QuantizeRecord:
    """One run of ``edgevision quantize --precision int8``."""

    created: str
    edgevision: str
    model: str
    target: Target
    method: Method
    calibration_images: int
    search_images: int
    max_drop: float
    confidence: float
    """Minimum share of the bootstrap's draws that must keep the budget."""
    metric: str
    float_accuracy: float
    """In percent, on the images of the search; not comparable with results on other images."""
    chosen: Candidate
    kept_float: tuple[Layer, ...]
    """Layers that were returned to float, most noise first."""
    candidates: tuple[MeasuredCandidate, ...]
    speeds: tuple[PairedSpeed, ...]
    versions: tuple[tuple[str, str], ...]
    seconds: float
    largest_weight: int = INT8_MAX
    """Largest magnitude of stored weights."""

    def write(self, bundle: Path) -> None:
        """Write the record into a bundle."""
        write_record(bundle / RECORD, self)


def read_record(bundle: Path) -> QuantizeRecord:
    """Read a bundle's record; raises `BundleError` if it is missing or invalid."""
    path = bundle / RECORD
    try:
        return dataclass_from_json(QuantizeRecord, json.loads(path.read_bytes()))
    except OSError as error:
        raise BundleError(
            f"{path} cannot be read: {error.strerror}; it is written by edgevision quantize"
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError, DecodeError) as error:
        raise BundleError(f"{path}: {error}; quantize the bundle again") from error
